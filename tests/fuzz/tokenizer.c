/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "tests/engine/small_vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* First byte: options. The rest is text, whose ids must be in range and join to the same bytes; without
 * `special` none of them may be a control token, whatever the text says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tri_tokenizer *shared[2];
  if (!size) return 0;
  bool special = data[0] & 1, merges_only = data[0] & 2;
  tri_tokenizer **t = &shared[merges_only];
  if (!*t) {
    tri_vocab v = small_vocab();
    v.ignore_merges = !merges_only;
    if (tri_tokenizer_open(t, &v, NULL) != TRI_OK) abort();
  }
  tri_ids ids = {0};
  if (tri_tokenizer_encode(*t, (const char *)data + 1, size - 1, special, &ids, NULL) != TRI_OK) abort();
  size_t at = 1;
  for (size_t i = 0; i < ids.len; i++) {
    int32_t id = ids.data[i];
    if (id < 0 || id >= SMALL_TOKENS || (!special && (id == SMALL_BOS || id == SMALL_EOS))) abort();
    tri_str piece = tri_tokenizer_piece(*t, id, true);
    if (!piece.len || piece.len > size - at || memcmp(piece.data, data + at, piece.len) != 0) abort();
    at += piece.len;
  }
  if (at != size) abort();
  tri_ids_free(&ids);
  return 0;
}
