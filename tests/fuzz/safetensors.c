/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "engine/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever opens must lie inside the bytes, be found under its name, and have the size of its shape. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_safetensors *s;
  tri_error err;
  if (tri_safetensors_open_memory(&s, data, size, "fuzz", &err) != TRI_OK) return 0;
  for (size_t i = 0; i < tri_safetensors_count(s); i++) {
    const tri_safetensor *t = tri_safetensors_at(s, i);
    uint64_t n = 1;
    for (int d = 0; d < t->n_dims; d++) n *= t->dims[d];
    if (tri_safetensors_find(s, t->name) != t || n != t->count || n * tri_dtype_bytes(t->dtype) != t->bytes)
      abort();
    if (t->data < data || (size_t)(t->data - data) > size || t->bytes > size - (size_t)(t->data - data))
      abort();
  }
  tri_safetensors_close(&s);
  return 0;
}
