/* SPDX-License-Identifier: MIT */
/* Ternary tensors of any file: what opens can be read to the end, holds only trits, and where every code was right, packing
 * the trits again gives the same bytes. */
#include "engine/ternary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Packs in `again` what it reads, if the type can be written. */
static bool read_rows(const tri_ternary *x, int8_t *trits, uint8_t *again) {
  const tri_ternary_form *f = &x->form;
  float scales[TRI_TERNARY_ROWS];
  bool good = true;
  for (size_t first = 0; first < f->m; first += TRI_TERNARY_ROWS) {
    size_t last = f->m - first < TRI_TERNARY_ROWS ? f->m : first + TRI_TERNARY_ROWS;
    if (!tri_ternary_rows(x, first, last, trits, scales)) {
      good = false;
      continue;
    }
    for (size_t i = 0; i < (last - first) * f->k; i++)
      if (trits[i] < -1 || trits[i] > 1) abort();
    for (size_t r = 0; r < last - first; r++)
      if (!(scales[r] >= 0) || !isfinite(scales[r])) abort();
    if (tri_ternary_writable(f->type)) tri_ternary_put(f, first, last, trits, scales, again);
  }
  return good;
}

/* Rows' scales may stand beside weights that are all zero, and be multiplied: only the trits must be the same. */
static void check_rows(const tri_ternary *x, const int8_t *trits, const uint8_t *again) {
  const tri_ternary_form *f = &x->form;
  size_t rows = (f->m - 1) % TRI_TERNARY_ROWS + 1; /* of the last group, which `trits` has */
  float scales[TRI_TERNARY_ROWS];
  int8_t *other = malloc(rows * f->k);
  if (!other) abort();
  tri_layouts_unpack(f->type, again, f->k, f->m - rows, f->m, other, scales);
  if (memcmp(other, trits, rows * f->k) != 0) abort();
  free(other);
}

static void read_tensor(const tri_ternary *x) {
  enum { GARBAGE = 28 };
  const tri_ternary_form *f = &x->form;
  size_t bytes = tri_ternary_bytes(f);
  if (bytes != x->tensor->bytes || (!x->by_rows && (!(x->scale > 0) || !isfinite(x->scale)))) abort();
  int8_t *trits = malloc(TRI_TERNARY_ROWS * f->k);
  uint8_t *again = malloc(bytes); /* exact sizes, so that a sanitizer sees any overrun */
  if (!trits || !again) abort();
  if (!read_rows(x, trits, again)) {
    tri_error err;
    if (tri_ternary_damaged(x, &err) == TRI_OK) abort();
  } else if (tri_layouts_is(f->type) && tri_ternary_writable(f->type)) {
    check_rows(x, trits, again);
  } else if (tri_ternary_writable(f->type)) {
    float scale;
    memcpy(&scale, x->tensor->data + bytes - GARBAGE - sizeof scale, sizeof scale);
    tri_ternary_finish(f, scale, again);
    if (memcmp(again, x->tensor->data, bytes - GARBAGE) != 0) abort();
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
