/* SPDX-License-Identifier: MIT */
#include "cli/talk.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"

typedef struct said {
  const char *role;
  char *text;
  size_t len;
} said;

struct tri_talk {
  const tri_tokenizer *tokenizer;
  tri_template *template;
  int32_t context;
  said *messages;
  size_t n, cap;
  size_t fixed; /* 1: the first is the system's */
  size_t first; /* of those after it, the first that the prompt still has */
};

/* --- the template --- */

static tri_status read_named(tri_talk *t, const char *name, tri_error *err) {
  const char *text = tri_template_known(name);
  tri_buf file = {0};
  if (text) return tri_template_open(&t->template, (tri_str){text, strlen(text)}, err);
  tri_status status = tri_file_read(&file, name, TRI_TEMPLATE_BYTES, err);
  if (status == TRI_E_NOT_FOUND)
    status = tri_status_fail(err, TRI_E_INVALID, "--template %s: neither a file nor one of %s", name, tri_template_names());
  if (status == TRI_OK && (status = tri_template_open(&t->template, (tri_str){(char *)file.data, file.len}, err)) != TRI_OK)
    tri_status_prefix(err, status, "%s", name);
  tri_buf_free(&file);
  return status;
}

/* What the model carries. bitnet.cpp's converter writes the same template of its own ("Human: ... BITNETAssistant: ") into each file,
 * the published one of BitNet 2B4T too, whose model was trained on that in its tokenizer_config.json. */
static tri_status read_own(tri_talk *t, tri_error *err) {
  const char *text = tri_tokenizer_chat_template(t->tokenizer);
  if (!text)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "the model has no chat template; if it is made for talk, name one: --template, with "
                           "%s, or a file", tri_template_names());
  if (strstr(text, "BITNETAssistant")) {
    fputs("[the file's chat template is bitnet.cpp's makeshift, which the model was not trained on: --template bitnet is taken]\n", stderr);
    text = tri_template_known("bitnet");
  }
  tri_error why;
  tri_status status = tri_template_open(&t->template, (tri_str){text, strlen(text)}, &why);
  if (status == TRI_OK) return TRI_OK;
  return tri_status_fail(err, status, "%s; --template takes another (%s, or a file)", why.text, tri_template_names());
}

/* --- the messages --- */

tri_status tri_talk_add(tri_talk *t, const char *role, const char *text, size_t len, tri_error *err) {
  if (t->n == t->cap) {
    size_t cap = t->cap ? 2 * t->cap : 16;
    said *grown = realloc(t->messages, cap * sizeof *grown);
    if (!grown) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the conversation");
    t->messages = grown, t->cap = cap;
  }
  char *copy = malloc(len + 1);
  if (!copy) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the conversation");
  if (len) memcpy(copy, text, len);
  copy[len] = 0;
  t->messages[t->n++] = (said){role, copy, len};
  return TRI_OK;
}

void tri_talk_undo(tri_talk *t) {
  if (t->n > t->fixed) free(t->messages[--t->n].text);
  if (t->first > t->n) t->first = t->n;
}

void tri_talk_reset(tri_talk *t) {
  while (t->n > t->fixed) tri_talk_undo(t);
  t->first = t->fixed;
}

tri_status tri_talk_open(tri_talk **out, const tri_talk_options *o, tri_error *err) {
  tri_talk *t = calloc(1, sizeof *t);
  if (!t) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the conversation");
  t->tokenizer = o->tokenizer, t->context = o->context;
  tri_status status = o->template ? read_named(t, o->template, err) : read_own(t, err);
  if (status == TRI_OK && o->system) status = tri_talk_add(t, "system", o->system, strlen(o->system), err);
  if (status != TRI_OK) return tri_talk_close(&t), status;
  t->fixed = t->first = t->n;
  *out = t;
  return TRI_OK;
}

void tri_talk_close(tri_talk **talk) {
  tri_talk *t = *talk;
  if (!t) return;
  for (size_t i = 0; i < t->n; i++) free(t->messages[i].text);
  free(t->messages);
  tri_template_close(&t->template);
  free(t);
  *talk = NULL;
}

/* --- the prompt --- */

static tri_str piece(const tri_tokenizer *t, int32_t id) { return tri_tokenizer_piece(t, id, true); }

static tri_status make_prompt(const tri_talk *t, tri_ids *ids, tri_error *err) {
  tri_buf text = {0}, plain = {0};
  size_t n = 0;
  tri_message *list = malloc((t->n + 1) * sizeof *list);
  if (!list) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the prompt");
  for (size_t i = 0; i < t->n; i++)
    if (i < t->fixed || i >= t->first) list[n++] = (tri_message){t->messages[i].role, {t->messages[i].text, t->messages[i].len}};
  tri_template_input in = {.messages = list, .n = n, .answer = true, .bos = piece(t->tokenizer, tri_tokenizer_bos(t->tokenizer)),
                           .eos = piece(t->tokenizer, tri_tokenizer_eos(t->tokenizer))};
  tri_status status = tri_template_render(t->template, &in, &text, &plain, err);
  ids->len = 0;
  if (status == TRI_OK && text.len)
    status = tri_tokenizer_encode_prompt(t->tokenizer, (char *)text.data, plain.data, text.len, ids, err);
  free(list);
  tri_buf_free(&text);
  tri_buf_free(&plain);
  return status;
}

/* The next question after the first one that is still in the prompt; t->n if that is the last. */
static size_t next_turn(const tri_talk *t) {
  size_t i = t->first + 1;
  while (i < t->n && strcmp(t->messages[i].role, "user") != 0) i++;
  return i < t->n ? i : t->n;
}

tri_status tri_talk_prompt(tri_talk *t, int32_t room, tri_ids *ids, tri_talk_dropped *dropped, tri_error *err) {
  *dropped = (tri_talk_dropped){0};
  tri_status status = make_prompt(t, ids, err);
  size_t whole = ids->len;
  while (status == TRI_OK && ids->len + (size_t)room > (size_t)t->context) {
    size_t next = next_turn(t);
    if (next >= t->n) break;
    t->first = next, dropped->turns++;
    status = make_prompt(t, ids, err);
  }
  if (status != TRI_OK) return status;
  dropped->tokens = whole - ids->len;
  if (ids->len < (size_t)t->context) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID,
                         "the message makes a prompt of %zu tokens, which leaves no room in the context of %d; shorten it or raise --ctx",
                         ids->len, t->context);
}

tri_status tri_talk_save(const tri_talk *t, const char *path, tri_error *err) {
  json_t *list = json_array();
  for (size_t i = 0; i < t->n; i++)
    json_array_append_new(list, json_pack("{s:s, s:s%}", "role", t->messages[i].role, "content", t->messages[i].text, t->messages[i].len));
  char *text = json_array_size(list) == t->n ? json_dumps(list, JSON_INDENT(2)) : NULL;
  json_decref(list);
  if (!text) return tri_status_fail(err, TRI_E_FORMAT, "%s: the conversation has text that is not UTF-8, or there is no memory", path);
  tri_file_writer *w = NULL;
  tri_status status = tri_file_writer_open(&w, path, 0600, err);
  if (status == TRI_OK) status = tri_file_writer_write(w, text, strlen(text), err);
  if (status == TRI_OK) status = tri_file_writer_write(w, "\n", 1, err);
  if (status == TRI_OK) status = tri_file_writer_commit(&w, err);
  else tri_file_writer_abort(&w);
  free(text);
  return status;
}
