/* SPDX-License-Identifier: MIT */
#include "engine/vocab.h"

#include <stdlib.h>
#include <string.h>
#include "engine/show.h"

#define KEY(name) "tokenizer.ggml." name
/* Not in GGUF's list: what the model or the pre-tokenizer's name implies for other programs. Written only for a vocabulary that
 * does otherwise. */
#define OURS(name) "trireme.tokenizer." name

static bool same(tri_str s, const char *text) { return s.len == strlen(text) && !memcmp(s.data, text, s.len); }
static tri_str str(const char *text) { return (tri_str){text, strlen(text)}; }

static const char *const models[] = {[TRI_VOCAB_BYTES] = "gpt2", [TRI_VOCAB_PIECES] = "llama", [TRI_VOCAB_UNIGRAM] = "t5"};

/* What the names say without being asked, as llama.cpp takes them. */
static void set_defaults(tri_vocab *v) {
  tri_words_list list;
  bool llama3 = v->model == TRI_VOCAB_BYTES && tri_words_find(&list, str(v->pre)) && list.n == 1 && list.steps[0] == TRI_WORDS_LLAMA3;
  v->ignore_merges = llama3;
  v->composes = v->model == TRI_VOCAB_BYTES && tri_words_composes(str(v->pre));
  v->add_bos = llama3 || v->model == TRI_VOCAB_PIECES;
  v->add_eos = v->model == TRI_VOCAB_UNIGRAM;
  v->prefix = v->model == TRI_VOCAB_BYTES ? 0 : TRI_PREFIX_SPACE;
}

static tri_status check_kind(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_words_list list;
  tri_str model, pre;
  if (!tri_gguf_get_str(g, KEY("model"), &model))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: no string " KEY("model"), tri_gguf_path(g));
  int i = 0;
  while (i <= TRI_VOCAB_UNIGRAM && !same(model, models[i])) i++;
  if (i > TRI_VOCAB_UNIGRAM)
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: tokenizer model \"%s\"; \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece) and \"t5\" (unigram) are known",
                           tri_gguf_path(g), TRI_SHOW(model));
  v->model = (tri_vocab_model)i;
  if (v->model != TRI_VOCAB_BYTES) return set_defaults(v), TRI_OK;
  if (!tri_gguf_get_str(g, KEY("pre"), &pre)) return TRI_OK; /* guess_pre */
  if (!tri_words_find(&list, pre))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: pre-tokenizer \"%s\"; known are %s", tri_gguf_path(g), TRI_SHOW(pre),
                           tri_words_names());
  memcpy(v->pre, pre.data, pre.len); /* the known ones fit */
  return set_defaults(v), TRI_OK;
}

/* An array of strings as tri_str's; *out is malloc'ed. */
static tri_status read_strings(const tri_gguf *g, const char *key, size_t limit, tri_str **out, size_t *n,
                               tri_error *err) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  if (!kv || kv->type != TRI_GGUF_ARRAY || kv->element_type != TRI_GGUF_STRING)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: no array of strings %s", tri_gguf_path(g), key);
  if (kv->count > limit)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: %s has %llu entries, more than the limit of %zu",
                           tri_gguf_path(g), key, (unsigned long long)kv->count, limit);
  tri_str *strs = calloc(kv->count ? (size_t)kv->count : 1, sizeof *strs);
  if (!strs) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for %s", tri_gguf_path(g), key);
  size_t pos = 0, i = 0;
  while (i < kv->count && tri_gguf_next_str(kv, &pos, &strs[i])) i++;
  if (i < kv->count) {
    free(strs);
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %s ends at entry %zu of %llu", tri_gguf_path(g), key, i,
                           (unsigned long long)kv->count);
  }
  *out = strs, *n = i;
  return TRI_OK;
}

/* How words are cut, where the file doesn't say: bitnet.cpp's converter leaves it out of BitNet 2B4T's, which has Llama 3's tokens. */
static tri_status guess_pre(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  enum { BEGIN = 128000 };
  if (v->n_tokens > BEGIN && same(v->tokens[BEGIN], "<|begin_of_text|>")) return strcpy(v->pre, "llama-bpe"), set_defaults(v), TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED,
                         "%s: no string " KEY("pre") ", so how words are cut is not known; convert the model again from its "
                         "Hugging Face folder", tri_gguf_path(g));
}

/* An array of n 32-bit values, or NULL where the key is absent. */
static tri_status find_array(const void **out, const tri_vocab *v, const tri_gguf *g, const char *key, uint32_t type,
                             tri_error *err) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  bool integers = type == TRI_GGUF_I32;
  *out = NULL;
  if (!kv) return TRI_OK;
  if (kv->type != TRI_GGUF_ARRAY || (kv->element_type != type && !(integers && kv->element_type == TRI_GGUF_U32)) ||
      kv->count != v->n_tokens || kv->bytes != v->n_tokens * sizeof(int32_t))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %s is not an array of %zu %s, one for each token", tri_gguf_path(g), key,
                           v->n_tokens, integers ? "int32" : "float32");
  *out = kv->data;
  return TRI_OK;
}

static tri_status read_types(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  const void *types, *flags;
  tri_status st = find_array(&types, v, g, KEY("token_type"), TRI_GGUF_I32, err);
  if (st == TRI_OK) st = find_array(&flags, v, g, OURS("flags"), TRI_GGUF_I32, err);
  if (st != TRI_OK) return st;
  v->types = malloc(v->n_tokens * sizeof *v->types);
  if (flags) v->flags = malloc(v->n_tokens * sizeof *v->flags);
  if (!v->types || (flags && !v->flags))
    return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for token types", tri_gguf_path(g));
  if (flags) memcpy(v->flags, flags, v->n_tokens * sizeof *v->flags);
  if (types) memcpy(v->types, types, v->n_tokens * sizeof *v->types);
  for (size_t i = 0; i < v->n_tokens; i++) {
    if (!types) v->types[i] = TRI_TOKEN_NORMAL;
    if (v->types[i] < TRI_TOKEN_NORMAL || v->types[i] > TRI_TOKEN_BYTE)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: type %d of token %zu is not in 1..6", tri_gguf_path(g), v->types[i], i);
  }
  return TRI_OK;
}

static tri_status read_scores(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  const void *scores;
  tri_status st = find_array(&scores, v, g, KEY("scores"), TRI_GGUF_F32, err);
  if (st != TRI_OK) return st;
  if (!scores)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: no array " KEY("scores") ", which a SentencePiece model needs", tri_gguf_path(g));
  v->scores = malloc(v->n_tokens * sizeof *v->scores);
  if (!v->scores) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for scores", tri_gguf_path(g));
  memcpy(v->scores, scores, v->n_tokens * sizeof *v->scores);
  return TRI_OK;
}

/* What the model is made of besides its tokens. Merges in a SentencePiece file are ours: their order says a little more than
 * scores can. */
static tri_status read_model(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  uint64_t prefix;
  bool space;
  tri_status st = TRI_OK;
  if (v->model != TRI_VOCAB_BYTES) st = read_scores(v, g, err);
  if (st == TRI_OK && (v->model == TRI_VOCAB_BYTES || (v->model == TRI_VOCAB_PIECES && tri_gguf_kv_find(g, KEY("merges")))))
    st = read_strings(g, KEY("merges"), TRI_VOCAB_MERGES, &v->merges, &v->n_merges, err);
  if (st != TRI_OK) return st;
  tri_gguf_get_bool(g, OURS("ignore_merges"), &v->ignore_merges);
  tri_gguf_get_bool(g, OURS("composes"), &v->composes);
  tri_gguf_get_bool(g, OURS("splits"), &v->splits);
  if (v->model == TRI_VOCAB_BYTES) return TRI_OK;
  tri_gguf_get_bool(g, KEY("remove_extra_whitespaces"), &v->squeezes);
  if (tri_gguf_get_bool(g, KEY("add_space_prefix"), &space)) v->prefix = space ? TRI_PREFIX_SPACE : 0;
  if (v->prefix && tri_gguf_get_u64(g, OURS("prefix"), &prefix)) v->prefix = (uint8_t)(TRI_PREFIX_SPACE | prefix);
  return TRI_OK;
}

static tri_status read_id(const tri_vocab *v, const tri_gguf *g, const char *key, int32_t *out,
                          tri_error *err) {
  uint64_t id;
  *out = -1;
  if (!tri_gguf_kv_find(g, key)) return TRI_OK;
  if (!tri_gguf_get_u64(g, key, &id) || id >= v->n_tokens)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %s is not the id of one of %zu tokens", tri_gguf_path(g),
                           key, v->n_tokens);
  *out = (int32_t)id;
  return TRI_OK;
}

static tri_status read_ids(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_status st = read_id(v, g, KEY("bos_token_id"), &v->bos, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("eos_token_id"), &v->eos, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("eot_token_id"), &v->eot, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("unknown_token_id"), &v->unk, err);
  if (st != TRI_OK) return st;
  bool said[2] = {tri_gguf_get_bool(g, KEY("add_bos_token"), &v->add_bos), tri_gguf_get_bool(g, KEY("add_eos_token"), &v->add_eos)};
  const int32_t ids[2] = {v->bos, v->eos};
  for (int i = 0; i < 2; i++)
    if (said[i] && (i ? v->add_eos : v->add_bos) && ids[i] < 0)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: %s is true but there is no %s", tri_gguf_path(g),
                             i ? KEY("add_eos_token") : KEY("add_bos_token"), i ? KEY("eos_token_id") : KEY("bos_token_id"));
  v->add_bos = v->add_bos && v->bos >= 0, v->add_eos = v->add_eos && v->eos >= 0;
  return TRI_OK;
}

#define KEY_TEMPLATE "tokenizer.chat_template"

static tri_status read_template(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_str text;
  if (!tri_gguf_get_str(g, KEY_TEMPLATE, &text)) return TRI_OK;
  v->chat_template = strndup(text.data, text.len);
  return v->chat_template ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for the chat template", tri_gguf_path(g));
}

static tri_status read_all(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_status st = check_kind(v, g, err);
  if (st == TRI_OK) st = read_strings(g, KEY("tokens"), TRI_VOCAB_TOKENS, &v->tokens, &v->n_tokens, err);
  if (st == TRI_OK && !v->n_tokens)
    st = tri_status_fail(err, TRI_E_FORMAT, "%s: " KEY("tokens") " is empty", tri_gguf_path(g));
  if (st == TRI_OK && v->model == TRI_VOCAB_BYTES && !*v->pre) st = guess_pre(v, g, err);
  if (st == TRI_OK) st = read_types(v, g, err);
  if (st == TRI_OK) st = read_model(v, g, err);
  if (st == TRI_OK) st = read_ids(v, g, err);
  if (st == TRI_OK) st = read_template(v, g, err);
  for (size_t i = 0; st == TRI_OK && v->model != TRI_VOCAB_BYTES && v->unk < 0 && i < v->n_tokens; i++)
    if (v->types[i] == TRI_TOKEN_UNKNOWN) v->unk = (int32_t)i;
  return st;
}

tri_status tri_vocab_from_gguf(tri_vocab *out, const tri_gguf *g, tri_error *err) {
  tri_vocab v = {0};
  tri_status st = read_all(&v, g, err);
  if (st == TRI_OK)
    *out = v;
  else
    tri_vocab_free(&v);
  return st;
}

static void write_ours(const tri_vocab *v, tri_gguf_writer *w) {
  tri_vocab usual = {.model = v->model};
  memcpy(usual.pre, v->pre, sizeof usual.pre);
  set_defaults(&usual);
  if (v->ignore_merges != usual.ignore_merges) tri_gguf_writer_bool(w, OURS("ignore_merges"), v->ignore_merges);
  if (v->composes != usual.composes) tri_gguf_writer_bool(w, OURS("composes"), v->composes);
  if (v->splits) tri_gguf_writer_bool(w, OURS("splits"), true);
  if (v->prefix & ~TRI_PREFIX_SPACE) tri_gguf_writer_u32(w, OURS("prefix"), v->prefix);
  if (v->flags) tri_gguf_writer_i32s(w, OURS("flags"), v->flags, v->n_tokens);
}

void tri_vocab_write(const tri_vocab *v, tri_gguf_writer *w) {
  bool bytes = v->model == TRI_VOCAB_BYTES;
  tri_gguf_writer_str(w, KEY("model"), models[v->model]);
  tri_gguf_writer_str(w, KEY("pre"), bytes ? v->pre : "default");
  tri_gguf_writer_strs(w, KEY("tokens"), v->tokens, v->n_tokens);
  if (!bytes) tri_gguf_writer_f32s(w, KEY("scores"), v->scores, v->n_tokens);
  tri_gguf_writer_i32s(w, KEY("token_type"), v->types, v->n_tokens);
  if (bytes || v->n_merges) tri_gguf_writer_strs(w, KEY("merges"), v->merges, v->n_merges);
  const struct { const char *key; int32_t id; } ids[] = {{KEY("bos_token_id"), v->bos}, {KEY("eos_token_id"), v->eos},
                                                         {KEY("eot_token_id"), v->eot}, {KEY("unknown_token_id"), v->unk}};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
    if (ids[i].id >= 0) tri_gguf_writer_u32(w, ids[i].key, (uint32_t)ids[i].id);
  tri_gguf_writer_bool(w, KEY("add_bos_token"), v->add_bos);
  tri_gguf_writer_bool(w, KEY("add_eos_token"), v->add_eos);
  if (!bytes) tri_gguf_writer_bool(w, KEY("add_space_prefix"), v->prefix & TRI_PREFIX_SPACE);
  if (v->squeezes) tri_gguf_writer_bool(w, KEY("remove_extra_whitespaces"), true);
  if (v->chat_template) tri_gguf_writer_str(w, KEY_TEMPLATE, v->chat_template);
  write_ours(v, w);
}

/* --- what all readers share --- */

void tri_vocab_find_ends(tri_vocab *v) {
  static const struct { const char *name; int which; } names[] = {
      {"<|begin_of_text|>", 0}, {"<s>", 0}, {"<|end_of_text|>", 1}, {"</s>", 1}, {"<|endoftext|>", 1}, {"<|eot_id|>", 2}, {"<|im_end|>", 2}};
  int32_t *const ids[] = {&v->bos, &v->eos, &v->eot};
  for (size_t n = 0; n < sizeof names / sizeof *names; n++)
    for (size_t i = 0; i < v->n_tokens && *ids[names[n].which] < 0; i++)
      if (v->types[i] == TRI_TOKEN_CONTROL && same(v->tokens[i], names[n].name)) *ids[names[n].which] = (int32_t)i;
}

void tri_vocab_free(tri_vocab *v) {
  free(v->tokens);
  free(v->types);
  free(v->flags);
  free(v->scores);
  free(v->merges);
  free(v->chat_template);
  free(v->arena);
  *v = (tri_vocab){0};
}
