/* SPDX-License-Identifier: MIT */
#include "engine/vocab.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "engine/pieces.h"
#include "engine/show.h"
#include "engine/vocab_json.h"

/* Hugging Face's tokenizer.json. Of all that the format can say we take what the models of our families use, and refuse the rest
 * by name: a tokenizer that is nearly right would give wrong ids without a sign. */

#define FAIL(status, ...) tri_status_fail(err, status, "tokenizer.json: " __VA_ARGS__)

typedef struct reader {
  tri_vocab v;
  json_t *root;
  const json_t *model;
  json_t *ids; /* content -> id of every token, added ones too */
  bool normalizes; /* the format has a normalizer, so that a token can be NORMALIZED */
  size_t arena_used, arena_bytes;
} reader;

/* Copy into the arena, which is as long as the JSON text: no string is longer than its JSON form, quotes
 * included. */
static char *arena_take(reader *r, size_t len) {
  if (len > r->arena_bytes - r->arena_used) return NULL;
  char *p = (char *)r->v.arena + r->arena_used;
  r->arena_used += len;
  return p;
}

/* --- what we support --- */

static tri_status check_affixes(const reader *r, tri_error *err) {
  static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
  for (int i = 0; i < 2; i++)
    if (*tri_json_text(r->model, affixes[i])) return FAIL(TRI_E_UNSUPPORTED, "BPE with %s is not supported", affixes[i]);
  return TRI_OK;
}

static tri_status read_kind(reader *r, tri_error *err) {
  const char *type = tri_json_text(r->model, "type");
  bool bpe = strcmp(type, "BPE") == 0;
  tri_json_steps steps;
  if (!bpe && strcmp(type, "Unigram") != 0)
    return FAIL(TRI_E_UNSUPPORTED, "model type \"%s\"; \"BPE\" and \"Unigram\" are supported", TRI_SHOW_TEXT(type));
  tri_status status = tri_json_read_steps(&steps, r->root, err);
  if (status == TRI_OK && bpe) status = check_affixes(r, err);
  if (status != TRI_OK) return status;
  r->v.model = !bpe ? TRI_VOCAB_UNIGRAM : steps.spelled ? TRI_VOCAB_BYTES : TRI_VOCAB_PIECES;
  if (!steps.spelled != (r->v.model != TRI_VOCAB_BYTES) || (r->v.model != TRI_VOCAB_BYTES && !steps.spaces))
    return FAIL(TRI_E_UNSUPPORTED, "a %s model whose text is %s; byte-level BPE or SentencePiece's forms are supported", type,
                steps.spelled ? "spelled in bytes" : "taken as it is");
  r->v.composes = steps.composes, r->v.prefix = steps.prefix, r->v.splits = steps.splits, r->normalizes = steps.normalizes;
  r->v.ignore_merges = json_is_true(json_object_get(r->model, "ignore_merges"));
  if (r->v.model == TRI_VOCAB_BYTES) tri_words_name(&steps.words, r->v.pre);
  else if (r->v.ignore_merges) return FAIL(TRI_E_UNSUPPORTED, "ignore_merges without ByteLevel");
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

static tri_status read_flags(reader *r, const json_t *entry, size_t id, size_t room, tri_error *err) {
  static const struct { const char *key; int32_t flag; } known[] = {{"lstrip", TRI_TOKEN_LSTRIP}, {"rstrip", TRI_TOKEN_RSTRIP},
      {"single_word", TRI_TOKEN_SINGLE_WORD}, {"normalized", TRI_TOKEN_NORMALIZED}};
  int32_t flags = 0;
  for (int i = 0; i < 4; i++)
    if (json_is_true(json_object_get(entry, known[i].key))) flags |= known[i].flag;
  if (!r->normalizes) flags &= ~TRI_TOKEN_NORMALIZED;
  if (!flags) return TRI_OK;
  if (!r->v.flags && !(r->v.flags = calloc(room, sizeof *r->v.flags))) return FAIL(TRI_E_NOMEM, "out of memory");
  r->v.flags[id] = flags;
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
    if (status == TRI_OK) status = read_flags(r, entry, (size_t)json_integer_value(id), room, err);
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
  bool fallback = r->v.model != TRI_VOCAB_BYTES && json_is_true(json_object_get(r->model, "byte_fallback"));
  json_object_foreach(r->ids, content, id) {
    bool byte = fallback && tri_pieces_byte((tri_str){content, strlen(content)}) >= 0;
    tri_status status = put_token(r, room, content, id, byte ? TRI_TOKEN_BYTE : TRI_TOKEN_NORMAL, err);
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

/* --- SentencePiece's models --- */

/* model.vocab of a unigram model is a list of [piece, score], whose place is the id. Here it becomes what BPE has. */
static tri_status list_pieces(reader *r, const json_t *list, tri_error *err) {
  size_t n = json_array_size(list);
  if (!(r->ids = json_object())) return FAIL(TRI_E_NOMEM, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const json_t *entry = json_array_get(list, i), *score = json_array_get(entry, 1);
    const char *piece = json_string_value(json_array_get(entry, 0));
    if (!piece || !json_is_number(score))
      return FAIL(TRI_E_FORMAT, "model.vocab[%zu] must be [piece, score]", i);
    if (json_object_set_new(r->ids, piece, json_integer((json_int_t)i)) != 0) return FAIL(TRI_E_NOMEM, "out of memory");
  }
  return TRI_OK;
}

static tri_status read_scores(reader *r, const json_t *list, tri_error *err) {
  if (!(r->v.scores = calloc(r->v.n_tokens, sizeof *r->v.scores))) return FAIL(TRI_E_NOMEM, "out of memory");
  for (size_t i = 0; i < json_array_size(list) && i < r->v.n_tokens; i++)
    r->v.scores[i] = (float)json_number_value(json_array_get(json_array_get(list, i), 1));
  return TRI_OK;
}

/* A token's score is greater the earlier a merge makes it, as in the files that SentencePiece trains; those that none makes, which
 * are single characters, come last. */
static tri_status score_merges(reader *r, tri_error *err) {
  tri_buf made = {0};
  float next = 0;
  if (!(r->v.scores = calloc(r->v.n_tokens, sizeof *r->v.scores))) return FAIL(TRI_E_NOMEM, "out of memory");
  for (size_t i = 0; i < r->v.n_merges; i++) {
    tri_str m = r->v.merges[i];
    size_t left = (size_t)((const char *)memchr(m.data, ' ', m.len) - m.data);
    tri_buf_clear(&made);
    tri_buf_append(&made, m.data, left);
    tri_buf_append(&made, m.data + left + 1, m.len - left - 1);
    if (!tri_buf_ok(&made)) return tri_buf_free(&made), FAIL(TRI_E_NOMEM, "out of memory");
    const json_t *id = json_object_get(r->ids, (const char *)made.data);
    if (!id) continue; /* the tokenizer refuses it */
    float *score = &r->v.scores[json_integer_value(id)];
    if (*score == 0) *score = --next;
  }
  tri_buf_free(&made);
  for (size_t i = 0; i < r->v.n_tokens; i++)
    if (r->v.types[i] == TRI_TOKEN_NORMAL && r->v.scores[i] == 0) r->v.scores[i] = --next;
  return TRI_OK;
}

static tri_status read_unknown(reader *r, tri_error *err) {
  const json_t *unk = r->v.model == TRI_VOCAB_UNIGRAM ? json_object_get(r->model, "unk_id")
                                                      : json_object_get(r->ids, tri_json_text(r->model, "unk_token"));
  json_int_t id = json_integer_value(unk);
  if (r->v.model == TRI_VOCAB_BYTES || !json_is_integer(unk)) return TRI_OK;
  if (id < 0 || (uint64_t)id >= r->v.n_tokens) return FAIL(TRI_E_FORMAT, "the unknown token's id is not that of a token");
  r->v.unk = (int32_t)id, r->v.types[id] = TRI_TOKEN_UNKNOWN;
  if (r->v.model == TRI_VOCAB_PIECES && !json_is_true(json_object_get(r->model, "fuse_unk")) &&
      !json_is_true(json_object_get(r->model, "byte_fallback")))
    return FAIL(TRI_E_UNSUPPORTED, "unk_token without fuse_unk or byte_fallback");
  return TRI_OK;
}

/* --- special tokens --- */

static int32_t find_id(const reader *r, const char *content) {
  const json_t *id = json_object_get(r->ids, content);
  return id ? (int32_t)json_integer_value(id) : -1;
}

/* A template of the text with at most one special token before it (a BOS) and one after it; others we can't follow. */
static tri_status read_template(reader *r, tri_error *err) {
  const json_t *single = json_object_get(tri_json_step(json_object_get(r->root, "post_processor"), "processors", "TemplateProcessing"),
                                         "single");
  bool after = false;
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *special = json_object_get(json_array_get(single, i), "SpecialToken");
    if (!special) {
      after = true;
      continue;
    }
    const char *content = tri_json_text(special, "id");
    int32_t *id = after ? &r->v.eos : &r->v.bos;
    bool *adds = after ? &r->v.add_eos : &r->v.add_bos;
    if (*adds)
      return FAIL(TRI_E_UNSUPPORTED, "post_processor puts \"%s\" elsewhere than once before and once after the text",
                  TRI_SHOW_TEXT(content));
    *id = find_id(r, content), *adds = true;
    if (*id < 0) return FAIL(TRI_E_FORMAT, "post_processor names \"%s\", which is no token", TRI_SHOW_TEXT(content));
  }
  return TRI_OK;
}

static tri_status read_all(reader *r, tri_error *err) {
  json_t *vocab = json_object_get(r->model, "vocab");
  tri_status status = read_kind(r, err);
  if (status != TRI_OK) return status;
  bool unigram = r->v.model == TRI_VOCAB_UNIGRAM;
  if (unigram ? !json_is_array(vocab) : !json_is_object(vocab))
    return FAIL(TRI_E_FORMAT, "model.vocab must be an %s", unigram ? "array" : "object");
  if (unigram) status = list_pieces(r, vocab, err);
  else r->ids = json_incref(vocab);
  if (status == TRI_OK) status = read_tokens(r, json_object_get(r->root, "added_tokens"), err);
  if (status == TRI_OK && unigram) status = read_scores(r, vocab, err);
  if (status == TRI_OK && !unigram) status = read_merges(r, json_object_get(r->model, "merges"), err);
  if (status == TRI_OK && r->v.model == TRI_VOCAB_PIECES) status = score_merges(r, err);
  if (status == TRI_OK) status = read_unknown(r, err);
  if (status == TRI_OK) status = read_template(r, err);
  if (status == TRI_OK) tri_vocab_find_ends(&r->v);
  return status;
}

tri_status tri_vocab_from_json(tri_vocab *out, const char *json, size_t len, tri_error *err) {
  reader r = {.v = {.bos = -1, .eos = -1, .eot = -1, .unk = -1}, .arena_bytes = len + 1};
  json_error_t e;
  r.root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
  if (!r.root) return FAIL(TRI_E_FORMAT, "no JSON: %s (line %d)", TRI_SHOW_TEXT(e.text), e.line);
  r.model = json_object_get(r.root, "model");
  r.v.arena = malloc(r.arena_bytes);
  tri_status status = r.v.arena ? read_all(&r, err) : FAIL(TRI_E_NOMEM, "out of memory");
  json_decref(r.ids);
  json_decref(r.root);
  if (status == TRI_OK)
    *out = r.v;
  else
    tri_vocab_free(&r.v);
  return status;
}
