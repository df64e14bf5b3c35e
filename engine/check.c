/* SPDX-License-Identifier: MIT */
#include "engine/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/matrix.h"
#include "engine/show.h"

/* --- tensors --- */

static tri_status read_ternary(const tri_ternary *x, tri_check_tensor *out, tri_error *err) {
  size_t m = x->form.m, k = x->form.k, zeros = 0;
  float scales[TRI_TERNARY_ROWS];
  int8_t *trits = malloc(TRI_TERNARY_ROWS * k);
  tri_status status = trits ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_check_tensor c = {.ternary = true, .form = x->form};
  for (size_t first = 0; first < m && status == TRI_OK; first += TRI_TERNARY_ROWS) {
    size_t last = m - first < TRI_TERNARY_ROWS ? m : first + TRI_TERNARY_ROWS;
    if (!tri_ternary_rows(x, first, last, trits, scales)) status = tri_ternary_damaged(x, err);
    for (size_t i = 0; i < (last - first) * k && status == TRI_OK; i++) zeros += trits[i] == 0;
    for (size_t r = 0; r < last - first && status == TRI_OK; r++) {
      if (scales[r] > 0 && (c.least == 0 || scales[r] < c.least)) c.least = scales[r];
      c.most = fmaxf(c.most, scales[r]);
    }
  }
  free(trits);
  c.zeros = (double)zeros / (double)m / (double)k;
  if (status == TRI_OK) *out = c;
  return status;
}

static tri_status read_values(const tri_gguf *g, const tri_gguf_tensor *t, tri_error *err) {
  enum { CHUNK = 256 }; /* whole blocks of any type */
  const tri_kernels *k = tri_kernels_get(TRI_ISA_PORTABLE);
  uint64_t count = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3], chunk_bytes = 0;
  float x[CHUNK];
  if (!tri_type_bytes(t->type, CHUNK, CHUNK, &chunk_bytes)) return TRI_OK;
  for (uint64_t at = 0; at < count; at += CHUNK) {
    size_t n = count - at < CHUNK ? (size_t)(count - at) : CHUNK;
    tri_matrix_floats(k, t->type, t->data + at / CHUNK * chunk_bytes, n, x);
    for (size_t i = 0; i < n; i++)
      if (!isfinite(x[i]))
        return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: value %llu is not finite", tri_gguf_path(g), TRI_SHOW(t->name),
                               (unsigned long long)(at + i));
  }
  return TRI_OK;
}

tri_status tri_check_read(const tri_gguf *g, const tri_gguf_tensor *t, tri_check_tensor *out, tri_error *err) {
  tri_ternary x;
  *out = (tri_check_tensor){0};
  if (!tri_ternary_is(t->type)) return tri_matrix_is(t->type) ? read_values(g, t, err) : TRI_OK;
  tri_status status = tri_ternary_open(&x, g, t, NULL, 0, err);
  return status == TRI_OK ? read_ternary(&x, out, err) : status;
}
