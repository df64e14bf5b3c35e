/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "engine/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile char sink; /* so that the reads happen */

static void touch(tri_str s) {
  if (!s.data) abort();
  if (s.len) sink = s.data[0], sink = s.data[s.len - 1];
}

/* A vocabulary that is taken has a text and a type for every id and special tokens in range; it may still be
 * no tokenizer, but must not harm the one who tries. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_vocab v;
  tri_tokenizer *t;
  tri_error err;
  if (tri_vocab_from_json(&v, (const char *)data, size, &err) != TRI_OK) return 0;
  for (size_t i = 0; i < v.n_tokens; i++) {
    touch(v.tokens[i]);
    if (v.types[i] < TRI_TOKEN_NORMAL || v.types[i] > TRI_TOKEN_BYTE) abort();
  }
  for (size_t i = 0; i < v.n_merges; i++) touch(v.merges[i]);
  const int32_t ids[] = {v.bos, v.eos, v.eot, v.unk};
  for (int i = 0; i < 4; i++)
    if (ids[i] < -1 || ids[i] >= (int32_t)v.n_tokens) abort();
  if ((v.add_bos && v.bos < 0) || (v.add_eos && v.eos < 0)) abort();
  if (tri_tokenizer_open(&t, &v, &err) == TRI_OK) tri_tokenizer_close(&t);
  tri_vocab_free(&v);
  return 0;
}
