/* SPDX-License-Identifier: MIT */
/* What a stage holds in memory, before it is opened and after. */
#include "base/buf.h"
#include "engine/stage_impl.h"

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* A spec from outside may ask for anything: too much is SIZE_MAX, not a small number. */
static size_t plus(size_t a, size_t b) { return tri_size_add(a, b, &a) ? a : SIZE_MAX; }
static size_t times(size_t a, size_t b) { return tri_size_mul(a, b, &a) ? a : SIZE_MAX; }

void tri_stage_size(const tri_shape *shape, const tri_stage_spec *spec, int threads, tri_stage_sizes *out) {
  size_t rows = most((size_t)spec->max_rows, TRI_PANEL_ROWS), d = (size_t)shape->d, ffn = (size_t)shape->ffn, hd = (size_t)shape->hd;
  size_t q = (size_t)shape->n_heads * hd, kv = (size_t)shape->n_kv * hd, k_most = tri_round_up(most(most(d, ffn), q), TRI_K_ALIGN);
  size_t team = (size_t)threads, context = (size_t)spec->context;
  *out = (tri_stage_sizes){.qkv_ld = tri_round_up(q, TRI_BLOCK_ROWS) + 2 * tri_round_up(kv, TRI_BLOCK_ROWS),
                           .ffn_ld = tri_round_up(ffn, TRI_BLOCK_ROWS), .d_ld = tri_round_up(d, TRI_BLOCK_ROWS), .norm_ld = k_most,
                           .attend_ld = tri_attend_floats(shape, context)};
  size_t *bytes = out->bytes;
  bytes[TRI_BUFFER_ACTS] = rows * k_most;
  bytes[TRI_BUFFER_SCALES] = rows * sizeof(float);
  bytes[TRI_BUFFER_SUMS] = rows * sizeof(int32_t);
  bytes[TRI_BUFFER_QKV] = rows * out->qkv_ld * sizeof(float);
  bytes[TRI_BUFFER_CTX] = rows * most(q, d) * sizeof(float);
  bytes[TRI_BUFFER_GATE] = rows * most(out->ffn_ld, d / TRI_Q8_BLOCK) * sizeof(float);
  bytes[TRI_BUFFER_UP] = rows * out->ffn_ld * sizeof(float);
  bytes[TRI_BUFFER_Y] = rows * out->d_ld * sizeof(float);
  bytes[TRI_BUFFER_NORM] = team * k_most * sizeof(float);
  bytes[TRI_BUFFER_SCORES] = team * out->attend_ld * sizeof(float);
  bytes[TRI_BUFFER_COS] = bytes[TRI_BUFFER_SIN] = context * (hd / 2) * sizeof(float);
}

size_t tri_stage_kv_bytes(const tri_shape *shape, size_t blocks, tri_ftype kv_type) {
  return tri_kv_bytes(1, blocks, tri_stage_kv_shape(shape, kv_type));
}

/* One layer's norms and biases, which are read in place, and scales of rows. */
static size_t vector_bytes(const tri_model *m, int layer) {
  const tri_layer_tensors *t = tri_model_layer(m, layer);
  size_t total = 0;
  for (int i = 0; i < TRI_NORMS; i++)
    if (t->norm[i]) total += t->norm[i]->bytes;
  for (int i = 0; i < TRI_LINEARS; i++) {
    if (t->bias[i]) total += t->bias[i]->bytes;
    if (t->linear[i].by_rows) total += t->linear[i].form.m * sizeof(float);
  }
  return total;
}

/* Of the layers of a spec. */
static size_t vectors_bytes(const tri_model *m, const tri_stage_spec *spec) {
  size_t total = 0;
  for (int i = spec->first; i < spec->last; i++) total += vector_bytes(m, i);
  return total;
}

size_t tri_stage_layer_weights(const tri_shape *shape, const tri_tune *tune) {
  size_t total = 0;
  for (int i = 0; i < TRI_LINEARS; i++) {
    size_t rows, cols;
    tri_shape_linear(shape, (tri_linear)i, &rows, &cols);
    total += tri_form_bytes(tri_tune_form(tune, rows, cols), rows, cols);
  }
  return total;
}

size_t tri_stage_need_bytes(const tri_model *m, const tri_stage_spec *spec, int threads) {
  const tri_shape *shape = tri_model_shape(m);
  tri_stage_sizes sizes;
  tri_stage_size(shape, spec, threads, &sizes);
  size_t blocks = spec->blocks ? (size_t)spec->blocks : tri_kv_blocks(spec->slots, spec->context);
  size_t layer = plus(tri_stage_layer_weights(shape, spec->tune) + sizeof(tri_layer), tri_stage_kv_bytes(shape, blocks, spec->kv_type));
  size_t total = plus(times((size_t)(spec->last - spec->first), layer), vectors_bytes(m, spec));
  total = plus(total, tri_kv_table_bytes(spec->slots, spec->context));
  for (int i = 0; i < TRI_BUFFERS; i++) total = plus(total, sizes.bytes[i]);
  if (spec->head) total = plus(total, tri_model_head_bytes(m));
  if (spec->head && tri_head_is_packed(m))
    total = plus(total, TRI_PANEL_ROWS * tri_round_up((size_t)shape->vocab, TRI_BLOCK_ROWS) * sizeof(float));
  return total;
}

size_t tri_stage_weight_bytes(const tri_stage *s) {
  size_t total = s->spec.head ? tri_model_head_bytes(s->model) : 0;
  for (int i = 0; i < s->spec.last - s->spec.first; i++)
    for (int j = 0; j < TRI_LINEARS; j++) total += s->layers[i].linear[j].w.bytes;
  return total;
}

size_t tri_stage_bytes(const tri_stage *s) {
  size_t layers = (size_t)(s->spec.last - s->spec.first);
  size_t total = tri_kv_held(s->kv) + layers * sizeof *s->layers + vectors_bytes(s->model, &s->spec) + tri_stage_weight_bytes(s) +
                 s->logits.bytes;
  for (int i = 0; i < TRI_BUFFERS; i++) total += s->buffers[i].bytes;
  return total;
}
