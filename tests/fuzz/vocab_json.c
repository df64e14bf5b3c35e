/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_vocab v;
  tri_error err;
  if (tri_vocab_from_json(&v, (const char *)data, size, &err) == TRI_OK) vocab_check(&v);
  return 0;
}
