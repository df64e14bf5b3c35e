/* SPDX-License-Identifier: MIT */
/* Ternary tensors of any file: what opens can be read to the end, holds only trits, and where every code was right, packing
 * the trits again gives the same bytes. */
#include "engine/ternary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_rows(const tri_ternary *x, int8_t *trits, uint8_t *again) {
  const tri_ternary_form *f = &x->form;
  bool good = true;
  for (size_t first = 0; first < f->m; first += TRI_TERNARY_ROWS) {
    size_t last = f->m - first < TRI_TERNARY_ROWS ? f->m : first + TRI_TERNARY_ROWS;
    if (!tri_ternary_rows(x, first, last, trits)) {
      good = false;
      continue;
    }
    for (size_t i = 0; i < (last - first) * f->k; i++)
      if (trits[i] < -1 || trits[i] > 1) abort();
    tri_ternary_put(f, first, last, trits, again);
  }
  return good;
}

static void read_tensor(const tri_ternary *x) {
  enum { GARBAGE = 28 };
  const tri_ternary_form *f = &x->form;
  size_t bytes = tri_ternary_bytes(f);
  if (bytes != x->tensor->bytes || !(x->scale > 0) || !isfinite(x->scale)) abort();
  int8_t *trits = malloc(TRI_TERNARY_ROWS * f->k);
  uint8_t *again = malloc(bytes); /* exact sizes, so that a sanitizer sees any overrun */
  if (!trits || !again) abort();
  if (read_rows(x, trits, again)) {
    tri_ternary_finish(f, x->scale, again);
    if (memcmp(again, x->tensor->data, bytes - GARBAGE) != 0) abort();
  } else {
    tri_error err;
    if (tri_ternary_damaged(x, &err) == TRI_OK) abort();
  }
  free(trits), free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tri_tiles_given given[] = {{64, 288, {32, 48, 32}}, {32, 256, {32, 96, 0}}};
  tri_gguf *g;
  tri_error err;
  if (tri_gguf_open_memory(&g, data, size, "fuzz", &err) != TRI_OK) return 0;
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    tri_ternary x;
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    if (tri_ternary_open(&x, g, t, NULL, 0, &err) == TRI_OK) read_tensor(&x);
    if (tri_ternary_open(&x, g, t, given, 2, &err) == TRI_OK) read_tensor(&x);
  }
  tri_gguf_close(&g);
  return 0;
}
