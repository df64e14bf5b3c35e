/* SPDX-License-Identifier: MIT */
#include "engine/vocab.h"

#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
/* Not in GGUF's list: llama-bpe implies it, so the key is only written for a vocabulary that does otherwise.
 */
#define KEY_IGNORE_MERGES "trireme.tokenizer.ignore_merges"

static bool same(tri_str s, const char *text) {
  return s.len == strlen(text) && !memcmp(s.data, text, s.len);
}

const char *tri_vocab_pre(tri_str name) {
  static const char *const aliases[] = {"llama-bpe", "llama3", "llama-v3"};
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    if (same(name, aliases[i])) return aliases[0];
  return NULL;
}

static tri_status check_kind(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_str model, pre;
  char shown[64];
  if (!tri_gguf_get_str(g, KEY("model"), &model))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: no string " KEY("model"), tri_gguf_path(g));
  tri_str_printable(model, shown, sizeof shown);
  if (!same(model, "gpt2"))
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: tokenizer model \"%s\"; only \"gpt2\" (byte-level BPE) is supported",
                           tri_gguf_path(g), shown);
  if (!tri_gguf_get_str(g, KEY("pre"), &pre))
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: no string " KEY("pre") "; only \"llama-bpe\" is supported", tri_gguf_path(g));
  v->pre = tri_vocab_pre(pre);
  tri_str_printable(pre, shown, sizeof shown);
  if (!v->pre)
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: pre-tokenizer \"%s\"; only \"llama-bpe\" is supported", tri_gguf_path(g),
                           shown);
  return TRI_OK;
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

static tri_status read_types(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  v->types = malloc(v->n_tokens * sizeof *v->types);
  if (!v->types)
    return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for token types", tri_gguf_path(g));
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, KEY("token_type"));
  if (kv &&
      (kv->type != TRI_GGUF_ARRAY || (kv->element_type != TRI_GGUF_I32 && kv->element_type != TRI_GGUF_U32) ||
       kv->count != v->n_tokens || kv->bytes != v->n_tokens * sizeof *v->types))
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: " KEY("token_type") " is not an array of %zu int32, one for each token",
                           tri_gguf_path(g), v->n_tokens);
  if (kv) memcpy(v->types, kv->data, v->n_tokens * sizeof *v->types);
  for (size_t i = 0; i < v->n_tokens; i++) {
    if (!kv) v->types[i] = TRI_TOKEN_NORMAL;
    if (v->types[i] < TRI_TOKEN_NORMAL || v->types[i] > TRI_TOKEN_BYTE)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: type %d of token %zu is not in 1..6", tri_gguf_path(g),
                             v->types[i], i);
  }
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

static tri_status read_all(tri_vocab *v, const tri_gguf *g, tri_error *err) {
  tri_status st = check_kind(v, g, err);
  if (st == TRI_OK) st = read_strings(g, KEY("tokens"), TRI_VOCAB_TOKENS, &v->tokens, &v->n_tokens, err);
  if (st == TRI_OK && !v->n_tokens)
    st = tri_status_fail(err, TRI_E_FORMAT, "%s: " KEY("tokens") " is empty", tri_gguf_path(g));
  if (st == TRI_OK) st = read_types(v, g, err);
  if (st == TRI_OK) st = read_strings(g, KEY("merges"), TRI_VOCAB_MERGES, &v->merges, &v->n_merges, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("bos_token_id"), &v->bos, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("eos_token_id"), &v->eos, err);
  if (st == TRI_OK) st = read_id(v, g, KEY("eot_token_id"), &v->eot, err);
  if (st != TRI_OK) return st;
  if (!tri_gguf_get_bool(g, KEY("add_bos_token"), &v->add_bos)) v->add_bos = v->bos >= 0;
  if (!tri_gguf_get_bool(g, KEY_IGNORE_MERGES, &v->ignore_merges)) v->ignore_merges = true;
  if (v->add_bos && v->bos < 0)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: " KEY("add_bos_token") " is true but there is no " KEY("bos_token_id"),
                           tri_gguf_path(g));
  return TRI_OK;
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

void tri_vocab_write(const tri_vocab *v, tri_gguf_writer *w) {
  tri_gguf_writer_str(w, KEY("model"), "gpt2");
  tri_gguf_writer_str(w, KEY("pre"), v->pre);
  tri_gguf_writer_strs(w, KEY("tokens"), v->tokens, v->n_tokens);
  tri_gguf_writer_i32s(w, KEY("token_type"), v->types, v->n_tokens);
  tri_gguf_writer_strs(w, KEY("merges"), v->merges, v->n_merges);
  if (v->bos >= 0) tri_gguf_writer_u32(w, KEY("bos_token_id"), (uint32_t)v->bos);
  if (v->eos >= 0) tri_gguf_writer_u32(w, KEY("eos_token_id"), (uint32_t)v->eos);
  if (v->eot >= 0) tri_gguf_writer_u32(w, KEY("eot_token_id"), (uint32_t)v->eot);
  tri_gguf_writer_bool(w, KEY("add_bos_token"), v->add_bos);
  if (!v->ignore_merges) tri_gguf_writer_bool(w, KEY_IGNORE_MERGES, false);
}

void tri_vocab_free(tri_vocab *v) {
  free(v->tokens);
  free(v->types);
  free(v->merges);
  free(v->arena);
  *v = (tri_vocab){0};
}
