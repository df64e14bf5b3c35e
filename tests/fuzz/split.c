/* SPDX-License-Identifier: MIT */
/* A model in three files: two 32-bit lengths, and the files one after another. */
#include <stdlib.h>
#include <string.h>

#include "engine/gguf.h"

enum { PARTS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint32_t cut[2];
  if (size < sizeof cut) return 0;
  memcpy(cut, data, sizeof cut);
  data += sizeof cut, size -= sizeof cut;
  size_t a = cut[0] < size ? cut[0] : size, b = cut[1] < size - a ? cut[1] : size - a, lens[PARTS] = {a, b, size - a - b};
  uint8_t *bytes[PARTS];
  tri_gguf *g[PARTS] = {NULL};
  tri_error err;
  bool good = true;
  for (int i = 0; i < PARTS; data += lens[i], i++) {
    bytes[i] = malloc(lens[i] + 1); /* exact sizes, but for malloc(0) */
    if (!bytes[i]) abort();
    memcpy(bytes[i], data, lens[i]);
    good = good && tri_gguf_open_memory(&g[i], bytes[i], lens[i], "part", &err) == TRI_OK;
  }
  if (good && tri_gguf_join(&g[0], &g[1], PARTS - 1, &err) == TRI_OK) {
    for (size_t i = 0; i < tri_gguf_tensor_count(g[0]); i++) {
      const tri_gguf_tensor *t = tri_gguf_tensor_at(g[0], i);
      bool inside = false;
      for (int p = 0; p < PARTS; p++) inside |= t->data >= bytes[p] && t->data <= bytes[p] + lens[p] && t->bytes <= lens[p];
      if (!inside) abort();
    }
    if (tri_gguf_part_count(g[0]) != PARTS || tri_gguf_file_bytes(g[0]) != size) abort();
    g[1] = g[2] = NULL; /* the first one's */
  } else if (good) {
    g[0] = g[1] = g[2] = NULL; /* closed */
  }
  for (int i = 0; i < PARTS; i++) tri_gguf_close(&g[i]), free(bytes[i]);
  return 0;
}
