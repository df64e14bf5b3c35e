/* SPDX-License-Identifier: MIT */
/* A model to time: the shape of a real one, and weights that mean nothing. Integer kernels take as long for any values. */
#include <stdlib.h>
#include <string.h>

#include "engine/matrix.h"
#include "engine/model_impl.h"

typedef struct phantom {
  tri_gguf_tensor linear[TRI_LINEARS], norm[TRI_NORMS], embedding, head, head_norm;
  tri_layer_tensors layer;
} phantom;

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static tri_gguf_tensor tensor_of(uint32_t type, size_t rows, size_t cols, const void *data) {
  tri_gguf_tensor t = {.name = {"phantom", 7}, .type = type, .n_dims = 2, .dims = {cols, rows, 1, 1}, .data = data};
  uint64_t bytes = 0;
  if (tri_type_bytes(type, (uint64_t)rows * cols, cols, &bytes)) t.bytes = t.room = (size_t)bytes;
  return t;
}

/* Bytes of four codes from 0 to 2. */
static void fill_codes(uint8_t *out, size_t n) {
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525 + 1013904223;
    uint32_t four = (x >> 16) % 81;
    out[i] = (uint8_t)(four % 3 | four / 3 % 3 << 2 | four / 9 % 3 << 4 | four / 27 << 6);
  }
}

/* Every row the same. Left as calloc gave it, a head that is read in place would be one page of zeros, all of it in the cache. `ones` [d]
 * hold something else meanwhile. */
static void fill_head(uint8_t *out, uint32_t type, size_t rows, size_t d, float *ones) {
  for (size_t i = 0; i < d; i++) ones[i] = (float)((int)(i * 37 % 255) - 127) * 0.01f;
  size_t bytes = tri_matrix_encode(tri_kernels_get(TRI_ISA_PORTABLE), type, ones, d, out);
  for (size_t i = 1; i < rows; i++) memcpy(out + i * bytes, out, bytes);
  for (size_t i = 0; i < d; i++) ones[i] = 1;
}

/* The largest of what the tensors need, which share their bytes: codes, ones, and a head. */
static tri_status fill(tri_model *m, phantom *p, size_t head_rows, uint32_t head_type, tri_error *err) {
  const tri_shape *s = &m->shape;
  size_t d = (size_t)s->d, linear_bytes = 0, values = d, rows, cols;
  for (int i = 0; i < TRI_LINEARS; i++) {
    tri_shape_linear(s, (tri_linear)i, &rows, &cols);
    linear_bytes = most(linear_bytes, rows * cols / 4 + 32);
  }
  for (int i = 0; i < TRI_NORMS; i++) values = most(values, tri_shape_norm(s, (tri_norm)i));
  if (!tri_matrix_writable(head_type)) head_type = TRI_TYPE_Q8_0; /* as which a stage packs it */
  p->head = tensor_of(head_type, head_rows, d, NULL);
  uint8_t *bytes = m->phantom_bytes = calloc(1, linear_bytes + values * sizeof(float) + p->head.bytes);
  if (!bytes) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a timing");
  float *ones = (float *)(void *)(bytes + linear_bytes / sizeof(float) * sizeof(float));
  for (size_t i = 0; i < values; i++) ones[i] = 1;
  fill_codes(bytes, linear_bytes / sizeof(float) * sizeof(float));
  for (int i = 0; i < TRI_LINEARS; i++) {
    tri_shape_linear(s, (tri_linear)i, &rows, &cols);
    p->linear[i] = tensor_of(TRI_TYPE_I2_S, rows, cols, bytes);
    p->layer.linear[i] = (tri_ternary){.form = {.type = TRI_TYPE_I2_S, .m = rows, .k = cols}, .scale = 1, .tensor = &p->linear[i]};
  }
  for (int i = 0; i < TRI_NORMS; i++) {
    p->norm[i] = tensor_of(TRI_TYPE_F32, 1, tri_shape_norm(s, (tri_norm)i), ones);
    if (s->sub_norms || (i != TRI_NORM_ATTN_SUB && i != TRI_NORM_FFN_SUB)) p->layer.norm[i] = &p->norm[i];
  }
  p->head.data = (const uint8_t *)(ones + values);
  fill_head((uint8_t *)(ones + values), head_type, head_rows, d, ones);
  p->head_norm = tensor_of(TRI_TYPE_F32, 1, d, ones);
  m->layers = &p->layer;
  m->embedding = m->head = &p->head, m->head_norm = &p->head_norm;
  return TRI_OK;
}

tri_status tri_model_open_phantom(tri_model **out, const tri_shape *shape, uint32_t head_type, int32_t rows, tri_error *err) {
  tri_model *m = calloc(1, sizeof *m);
  phantom *p = m ? calloc(1, sizeof *p) : NULL;
  if (!p) return free(m), tri_status_fail(err, TRI_E_NOMEM, "out of memory for a timing");
  m->shape = *shape;
  m->shape.n_layers = 1, m->shape.tied = true;
  if (m->shape.context < 64) m->shape.context = 64; /* a shape to time may ask for more positions than a tiny model has */
  if (m->shape.vocab > rows) m->shape.vocab = rows;
  m->phantom = p;
  tri_status status = fill(m, p, (size_t)m->shape.vocab, head_type, err);
  if (status != TRI_OK) return tri_model_close(&m), status;
  *out = m;
  return TRI_OK;
}
