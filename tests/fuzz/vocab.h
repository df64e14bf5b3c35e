/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_FUZZ_VOCAB_H
#define TRI_TESTS_FUZZ_VOCAB_H
#include <stdlib.h>
#include "engine/tokenizer.h"

/* A vocabulary that was taken has a text and a type for every id and special tokens in range; it may still be no tokenizer, but must
 * not harm the one who tries. One that is takes any text, and its ids are in range. Frees *v. */

static volatile char vocab_sink; /* so that the reads happen */

static inline void vocab_touch(tri_str s) {
  if (!s.data) abort();
  if (s.len) vocab_sink = s.data[0], vocab_sink = s.data[s.len - 1];
}

static inline void vocab_encode(const tri_tokenizer *t) {
  static const char text[] = " a ab abc<s>the  \xe2\x96\x81 1234\n\xc3\xa9 e\xcc\x81<|x|>\xff\xe2\x82 \xe3\x80\x80zz</s>";
  tri_ids ids = {0};
  tri_buf back = {0};
  if (tri_tokenizer_encode(t, text, sizeof text, true, &ids, NULL) != TRI_OK) abort();
  for (size_t i = 0; i < ids.len; i++)
    if (ids.data[i] < 0 || (size_t)ids.data[i] >= tri_tokenizer_size(t)) abort();
  tri_tokenizer_decode(t, ids.data, ids.len, true, &back);
  tri_buf_free(&back);
  tri_ids_free(&ids);
}

static inline void vocab_check(tri_vocab *v) {
  tri_tokenizer *t;
  tri_error err;
  for (size_t i = 0; i < v->n_tokens; i++) {
    vocab_touch(v->tokens[i]);
    if (v->types[i] < TRI_TOKEN_NORMAL || v->types[i] > TRI_TOKEN_BYTE) abort();
  }
  for (size_t i = 0; i < v->n_merges; i++) vocab_touch(v->merges[i]);
  const int32_t ids[] = {v->bos, v->eos, v->eot, v->unk};
  for (int i = 0; i < 4; i++)
    if (ids[i] < -1 || ids[i] >= (int64_t)v->n_tokens) abort();
  if ((v->add_bos && v->bos < 0) || (v->add_eos && v->eos < 0)) abort();
  if (tri_tokenizer_open(&t, v, &err) == TRI_OK) vocab_encode(t), tri_tokenizer_close(&t);
  tri_vocab_free(v);
}

#endif
