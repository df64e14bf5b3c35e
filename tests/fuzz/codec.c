/* SPDX-License-Identifier: MIT */
/* An envelope from a peer: what decodes must encode again, and from then on to the same bytes. */
#include <stdlib.h>
#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const tri_msg *m, tri_buf *out) {
  tri_buf_clear(out);
  if (tri_codec_encode(m, out, NULL) != TRI_OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tri_msg m, again;
  static tri_buf first, second;
  tri_error err;
  if (tri_codec_decode(data, size, &m, &err) != TRI_OK) return 0;
  encode(&m, &first);
  if (tri_codec_decode(first.data, first.len, &again, &err) != TRI_OK) abort();
  encode(&again, &second);
  if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0) abort();
  return 0;
}
