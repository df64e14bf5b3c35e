/* SPDX-License-Identifier: MIT */
#include "engine/vocab.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/show.h"

/* Hugging Face's tokenizer.json. Of all that the format can say we take byte-level BPE with Llama 3's
 * pre-tokenizer, and refuse the rest by name: a tokenizer that is nearly right would give wrong ids without a
 * sign. */

typedef struct reader {
  tri_vocab v;
  json_t *root;
  json_t *ids; /* content -> id of every token, added ones too; inside root */
  size_t arena_used, arena_bytes;
} reader;

#define FAIL(status, ...) tri_status_fail(err, status, "tokenizer.json: " __VA_ARGS__)

static const char *get_string(const json_t *object, const char *key) {
  const char *s = json_string_value(json_object_get(object, key));
  return s ? s : "";
}

/* Copy into the arena, which is as long as the JSON text: no string is longer than its JSON form, quotes
 * included. */
static char *arena_take(reader *r, size_t len) {
  if (len > r->arena_bytes - r->arena_used) return NULL;
  char *p = (char *)r->v.arena + r->arena_used;
  r->arena_used += len;
  return p;
}

/* --- what we support --- */

static tri_status check_model(const json_t *model, tri_error *err) {
  const char *type = get_string(model, "type");
  if (strcmp(type, "BPE") != 0)
    return FAIL(TRI_E_UNSUPPORTED, "model type \"%s\"; only \"BPE\" is supported", TRI_SHOW_TEXT(type));
  if (json_is_true(json_object_get(model, "byte_fallback")))
    return FAIL(TRI_E_UNSUPPORTED,
                "BPE with byte_fallback (SentencePiece); only byte-level BPE is supported");
  static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  for (int i = 0; i < 2; i++)
    if (*get_string(model, affixes[i]))
      return FAIL(TRI_E_UNSUPPORTED, "BPE with %s; only byte-level BPE is supported", affixes[i]);
  return TRI_OK;
}

/* The one step of a kind in a pre-tokenizer or post-processor, which may be a Sequence of steps under `list`.
 */
static const json_t *find_step(const json_t *top, const char *list, const char *type) {
  if (strcmp(get_string(top, "type"), type) == 0) return top;
  const json_t *steps = json_object_get(top, list);
  for (size_t i = 0; i < json_array_size(steps); i++)
    if (strcmp(get_string(json_array_get(steps, i), "type"), type) == 0) return json_array_get(steps, i);
  return NULL;
}

static tri_status read_pre(reader *r, tri_error *err) {
  /* Llama 3's pattern as Hugging Face and as llama.cpp's converter write it; they mean the same */
#define LLAMA3_TAIL                                                                                          \
  "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
  static const char *const patterns[] = {
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)" LLAMA3_TAIL,
      "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" LLAMA3_TAIL,
  };
  const json_t *top = json_object_get(r->root, "pre_tokenizer");
  const json_t *split = find_step(top, "pretokenizers", "Split"),
               *bytes = find_step(top, "pretokenizers", "ByteLevel");
  if (!split || !bytes || json_array_size(json_object_get(top, "pretokenizers")) != 2)
    return FAIL(TRI_E_UNSUPPORTED,
                "pre_tokenizer \"%s\"; only a Sequence of Split and ByteLevel is supported",
                TRI_SHOW_TEXT(get_string(top, "type")));
  const char *regex = get_string(json_object_get(split, "pattern"), "Regex");
  if (strcmp(regex, patterns[0]) != 0 && strcmp(regex, patterns[1]) != 0)
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer pattern \"%s\" is not Llama 3's", TRI_SHOW_TEXT(regex));
  if (strcmp(get_string(split, "behavior"), "Isolated") != 0 ||
      json_is_true(json_object_get(split, "invert")))
    return FAIL(TRI_E_UNSUPPORTED,
                "pre-tokenizer Split with behavior \"%s\" or invert; only \"Isolated\" is supported",
                TRI_SHOW_TEXT(get_string(split, "behavior")));
  if (!json_is_false(json_object_get(bytes, "use_regex")) ||
      json_is_true(json_object_get(bytes, "add_prefix_space")))
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer ByteLevel with use_regex or add_prefix_space");
  r->v.pre = tri_vocab_pre((tri_str){"llama-bpe", 9});
  return TRI_OK;
}

/* --- tokens --- */

static tri_status put_token(reader *r, size_t room, const char *content, const json_t *id, int32_t type,
                            tri_error *err) {
  json_int_t i = json_integer_value(id);
  if (!json_is_integer(id) || i < 0 || (uint64_t)i >= room)
    return FAIL(TRI_E_FORMAT, "token \"%s\": its id must be an integer from 0 to %zu", TRI_SHOW_TEXT(content),
                room - 1);
  size_t len = strlen(content);
  tri_str *slot = &r->v.tokens[i];
  if (slot->data && (slot->len != len || memcmp(slot->data, content, len) != 0))
    return FAIL(TRI_E_FORMAT, "tokens \"%s\" and \"%s\" have the same id, %lld", TRI_SHOW_TEXT(content),
                TRI_SHOW_TEXT(slot->data), (long long)i);
  if (!slot->data) {
    char *p = arena_take(r, len + 1); /* with its NUL, so that messages can show it */
    if (!p) return FAIL(TRI_E_INTERNAL, "its strings outgrow its text");
    memcpy(p, content, len + 1);
    *slot = (tri_str){p, len};
  }
  r->v.types[i] = type;
  if ((size_t)i >= r->v.n_tokens) r->v.n_tokens = (size_t)i + 1;
  return TRI_OK;
}

static tri_status read_added(reader *r, const json_t *added, size_t room, tri_error *err) {
  for (size_t i = 0; i < json_array_size(added); i++) {
    const json_t *entry = json_array_get(added, i);
    const char *content = json_string_value(json_object_get(entry, "content"));
    json_t *id = json_object_get(entry, "id");
    if (!content || !*content) return FAIL(TRI_E_FORMAT, "added_tokens[%zu] has no content", i);
    json_t *known = json_object_get(r->ids, content);
    if (known && !json_equal(known, id))
      return FAIL(TRI_E_FORMAT, "token \"%s\" has two different ids", TRI_SHOW_TEXT(content));
    bool special = json_is_true(json_object_get(entry, "special"));
    tri_status status = put_token(r, room, content, id, special ? TRI_TOKEN_CONTROL : TRI_TOKEN_USER, err);
    if (status != TRI_OK) return status;
    if (!known && json_object_set(r->ids, content, id) != 0) return FAIL(TRI_E_NOMEM, "out of memory");
  }
  return TRI_OK;
}

static tri_status read_tokens(reader *r, const json_t *added, tri_error *err) {
  const char *content;
  json_t *id;
  size_t room = json_object_size(r->ids) + json_array_size(added); /* ids without gaps lie below this */
  if (room == 0) return FAIL(TRI_E_FORMAT, "model.vocab is empty");
  if (room > TRI_VOCAB_TOKENS)
    return FAIL(TRI_E_LIMIT, "%zu tokens, more than the limit of %d", room, TRI_VOCAB_TOKENS);
  r->v.tokens = calloc(room, sizeof *r->v.tokens);
  r->v.types = calloc(room, sizeof *r->v.types);
  if (!r->v.tokens || !r->v.types) return FAIL(TRI_E_NOMEM, "out of memory");
  json_object_foreach(r->ids, content, id) {
    tri_status status = put_token(r, room, content, id, TRI_TOKEN_NORMAL, err);
    if (status != TRI_OK) return status;
  }
  tri_status status = read_added(r, added, room, err);
  for (size_t i = 0; i < r->v.n_tokens && status == TRI_OK; i++)
    if (!r->v.tokens[i].data)
      return FAIL(TRI_E_FORMAT, "no token has the id %zu, though larger ids exist", i);
  return status;
}

/* --- merges --- */

/* "left right" from either of the two forms that the format has had: that text, or [left, right]. */
static tri_status read_merge(reader *r, const json_t *entry, size_t i, tri_error *err) {
  const char *left = json_string_value(entry), *right = NULL;
  size_t left_len = 0;
  if (left) {
    const char *space = strchr(left, ' ');
    if (space) left_len = (size_t)(space - left), right = space + 1;
  } else if (json_array_size(entry) == 2) {
    left = json_string_value(json_array_get(entry, 0)), right = json_string_value(json_array_get(entry, 1));
    if (left && !strchr(left, ' ')) left_len = strlen(left);
  }
  if (!right || !left_len || !*right || strchr(right, ' '))
    return FAIL(TRI_E_FORMAT,
                "model.merges[%zu] must be \"left right\" or [\"left\", \"right\"], without other blanks", i);
  size_t right_len = strlen(right), len = left_len + 1 + right_len;
  char *p = arena_take(r, len);
  if (!p) return FAIL(TRI_E_INTERNAL, "its strings outgrow its text");
  memcpy(p, left, left_len), p[left_len] = ' ', memcpy(p + left_len + 1, right, right_len);
  r->v.merges[i] = (tri_str){p, len};
  return TRI_OK;
}

static tri_status read_merges(reader *r, const json_t *merges, tri_error *err) {
  size_t n = json_array_size(merges);
  if (!json_is_array(merges)) return FAIL(TRI_E_FORMAT, "model.merges must be an array");
  if (n > TRI_VOCAB_MERGES)
    return FAIL(TRI_E_LIMIT, "%zu merges, more than the limit of %d", n, TRI_VOCAB_MERGES);
  r->v.merges = calloc(n ? n : 1, sizeof *r->v.merges);
  if (!r->v.merges) return FAIL(TRI_E_NOMEM, "out of memory");
  r->v.n_merges = n;
  for (size_t i = 0; i < n; i++) {
    tri_status status = read_merge(r, json_array_get(merges, i), i, err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

/* --- special tokens --- */

static int32_t find_id(const reader *r, const char *content) {
  const json_t *id = json_object_get(r->ids, content);
  return id ? (int32_t)json_integer_value(id) : -1;
}

/* A template of one special token and then the text is what makes a BOS; other templates we can't follow. */
static tri_status read_template(reader *r, tri_error *err) {
  const json_t *step =
      find_step(json_object_get(r->root, "post_processor"), "processors", "TemplateProcessing");
  const json_t *single = json_object_get(step, "single");
  size_t n = json_array_size(single);
  for (size_t i = 0; i < n; i++) {
    const json_t *special = json_object_get(json_array_get(single, i), "SpecialToken");
    if (!special) continue;
    const char *content = get_string(special, "id");
    if (i > 0)
      return FAIL(TRI_E_UNSUPPORTED, "post_processor puts \"%s\" elsewhere than before the text",
                  TRI_SHOW_TEXT(content));
    r->v.bos = find_id(r, content), r->v.add_bos = true;
    if (r->v.bos < 0)
      return FAIL(TRI_E_FORMAT, "post_processor names \"%s\", which is no token", TRI_SHOW_TEXT(content));
  }
  return TRI_OK;
}

static tri_status read_specials(reader *r, tri_error *err) {
  r->v.bos = -1;
  tri_status status = read_template(r, err);
  if (r->v.bos < 0) r->v.bos = find_id(r, "<|begin_of_text|>");
  r->v.eos = find_id(r, "<|end_of_text|>");
  r->v.eot = find_id(r, "<|eot_id|>");
  return status;
}

static tri_status read_all(reader *r, tri_error *err) {
  const json_t *model = json_object_get(r->root, "model"),
               *normalizer = json_object_get(r->root, "normalizer");
  r->ids = json_object_get(model, "vocab");
  tri_status status = check_model(model, err);
  if (status == TRI_OK && normalizer && !json_is_null(normalizer))
    status = FAIL(TRI_E_UNSUPPORTED, "normalizer \"%s\"; only none is supported",
                  TRI_SHOW_TEXT(get_string(normalizer, "type")));
  if (status == TRI_OK && !json_is_object(r->ids))
    status = FAIL(TRI_E_FORMAT, "model.vocab must be an object");
  if (status == TRI_OK) status = read_pre(r, err);
  if (status == TRI_OK) status = read_tokens(r, json_object_get(r->root, "added_tokens"), err);
  if (status == TRI_OK) status = read_merges(r, json_object_get(model, "merges"), err);
  if (status == TRI_OK) status = read_specials(r, err);
  r->v.ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
  return status;
}

tri_status tri_vocab_from_json(tri_vocab *out, const char *json, size_t len, tri_error *err) {
  reader r = {.arena_bytes = len + 1};
  json_error_t e;
  r.root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
  if (!r.root) return FAIL(TRI_E_FORMAT, "no JSON: %s (line %d)", TRI_SHOW_TEXT(e.text), e.line);
  r.v.arena = malloc(r.arena_bytes);
  tri_status status = r.v.arena ? read_all(&r, err) : FAIL(TRI_E_NOMEM, "out of memory");
  json_decref(r.root);
  if (status == TRI_OK)
    *out = r.v;
  else
    tri_vocab_free(&r.v);
  return status;
}
