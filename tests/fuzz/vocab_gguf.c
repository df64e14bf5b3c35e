/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "tests/fuzz/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_vocab v;
  tri_gguf *g;
  tri_error err;
  void *aligned = malloc(size ? size : 1);
  if (!aligned) abort();
  if (size) memcpy(aligned, data, size);
  if (tri_gguf_open_memory(&g, aligned, size, "fuzz", &err) == TRI_OK) {
    if (tri_vocab_from_gguf(&v, g, &err) == TRI_OK) vocab_check(&v);
    tri_gguf_close(&g);
  }
  free(aligned);
  return 0;
}
