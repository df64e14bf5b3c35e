/* SPDX-License-Identifier: MIT */
#include "engine/stage.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/units.h"
#include "engine/show.h"
#include "engine/stage_impl.h"
#include "kernels/i2s.h"

/* --- packing the weights --- */

typedef struct pack_job {
  const tri_ternary *from;
  tri_packed *out;
  int8_t *trits; /* TRI_TERNARY_ROWS rows for each thread; NULL from I2_S to R16, which needs none */
  _Atomic bool bad;
} pack_job;

/* R16 is I2_S in another order: no trits between them. */
static void pack_codes_fn(void *arg, int thread, int threads) {
  pack_job *job = arg;
  const tri_packed *out = job->out;
  size_t first, last;
  tri_pool_split(out->m * out->k / 4, thread, threads, &first, &last);
  if (!tri_ternary_codes_ok(job->from, first, last)) atomic_store(&job->bad, true);
  tri_pool_split(tri_round_up(out->m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  tri_i2s_from_file(job->from->tensor->data, out->m, out->k, out->w.data, first, last);
}

/* Rows [first, last) of a matrix, first a multiple of TRI_BLOCK_ROWS. */
static void pack_rows(const tri_packed *out, size_t first, size_t last, const int8_t *trits) {
  for (size_t row = first; row < last; row += TRI_BLOCK_ROWS) {
    size_t rows = last - row < TRI_BLOCK_ROWS ? last - row : TRI_BLOCK_ROWS;
    tri_form_pack(out->form, trits + (row - first) * out->k, rows, out->k, (uint8_t *)out->w.data + tri_form_bytes(out->form, row, out->k));
  }
}

static void pack_trits_fn(void *arg, int thread, int threads) {
  pack_job *job = arg;
  const tri_packed *out = job->out;
  int8_t *trits = job->trits + (size_t)thread * TRI_TERNARY_ROWS * out->k;
  size_t first, last;
  tri_pool_split((out->m + TRI_TERNARY_ROWS - 1) / TRI_TERNARY_ROWS, thread, threads, &first, &last);
  for (size_t group = first; group < last; group++) {
    size_t row = group * TRI_TERNARY_ROWS, end = row + TRI_TERNARY_ROWS < out->m ? row + TRI_TERNARY_ROWS : out->m;
    if (!tri_ternary_rows(job->from, row, end, trits, out->scales ? out->scales + row : NULL)) atomic_store(&job->bad, true);
    else pack_rows(out, row, end, trits);
  }
}

static tri_status pack_linear(tri_stage *s, const tri_ternary *from, tri_packed *out, tri_error *err) {
  const tri_gguf_tensor *t = from->tensor;
  tri_form form = tri_tune_form(s->spec.tune, from->form.m, from->form.k);
  size_t bytes = tri_form_bytes(form, from->form.m, from->form.k);
  bool rows = from->by_rows, direct = from->form.type == TRI_TYPE_I2_S && form == TRI_FORM_I2S && !rows;
  *out = (tri_packed){.m = from->form.m, .k = from->form.k, .form = form, .scale = rows ? 1 : from->scale, .w = tri_mem_get(bytes)};
  if (rows) out->scales = malloc(out->m * sizeof *out->scales);
  tri_mem trits = tri_mem_get(direct ? 0 : (size_t)tri_pool_threads(s->pool) * TRI_TERNARY_ROWS * out->k);
  pack_job job = {.from = from, .out = out, .trits = trits.data};
  if (!out->w.data || (!direct && !trits.data) || (rows && !out->scales))
    return tri_mem_free(&trits), tri_status_fail(err, TRI_E_NOMEM, "out of memory for tensor %s (%s)", TRI_SHOW(t->name), TRI_UNITS(bytes));
  tri_pool_run(s->pool, direct ? pack_codes_fn : pack_trits_fn, &job);
  tri_mem_free(&trits);
  tri_file_map_drop(t->data, t->bytes);
  return job.bad ? tri_ternary_damaged(from, err) : TRI_OK;
}

static tri_status pack_layers(tri_stage *s, void (*progress)(void *, uint64_t, uint64_t), void *arg, tri_error *err) {
  int n = s->spec.last - s->spec.first;
  if (n && !(s->layers = calloc((size_t)n, sizeof *s->layers))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  uint64_t total = (uint64_t)n * tri_stage_layer_weights(&s->shape, s->spec.tune), done = 0;
  for (int i = 0; i < n; i++) {
    const tri_layer_tensors *t = tri_model_layer(s->model, s->spec.first + i);
    for (int j = 0; j < TRI_LINEARS; j++) {
      tri_status status = pack_linear(s, &t->linear[j], &s->layers[i].linear[j], err);
      if (status != TRI_OK) return status;
      if (t->bias[j]) s->layers[i].linear[j].bias = (const float *)(const void *)t->bias[j]->data;
      done += s->layers[i].linear[j].w.bytes;
      if (progress) progress(arg, done, total);
    }
    for (int j = 0; j < TRI_NORMS; j++)
      if (t->norm[j]) s->layers[i].norm[j] = (const float *)(const void *)t->norm[j]->data;
  }
  return TRI_OK;
}

/* --- buffers --- */

static tri_status make_buffers(tri_stage *s, tri_error *err) {
  tri_stage_sizes sizes;
  tri_mem *b = s->buffers;
  tri_stage_size(&s->shape, &s->spec, tri_pool_threads(s->pool), &sizes);
  for (int i = 0; i < TRI_BUFFERS; i++) {
    b[i] = tri_mem_get(sizes.bytes[i]);
    if (!b[i].data) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the stage's buffers (%s)", TRI_UNITS(sizes.bytes[i]));
  }
  s->qkv_ld = sizes.qkv_ld, s->ffn_ld = sizes.ffn_ld, s->d_ld = sizes.d_ld, s->norm_ld = sizes.norm_ld;
  s->attend_ld = sizes.attend_ld;
  s->acts = (tri_acts){b[TRI_BUFFER_ACTS], b[TRI_BUFFER_SCALES].data, b[TRI_BUFFER_SUMS].data};
  s->qkv = b[TRI_BUFFER_QKV], s->ctx = b[TRI_BUFFER_CTX], s->gate = b[TRI_BUFFER_GATE], s->up = b[TRI_BUFFER_UP], s->y = b[TRI_BUFFER_Y];
  s->norm = b[TRI_BUFFER_NORM], s->scores = b[TRI_BUFFER_SCORES];
  s->rope_cos = b[TRI_BUFFER_COS].data, s->rope_sin = b[TRI_BUFFER_SIN].data;
  return TRI_OK;
}

/* Angles are rounded to float32 before sine and cosine, as training code does. */
static void fill_rope(tri_stage *s) {
  size_t half = (size_t)s->shape.hd / 2;
  for (size_t i = 0; i < half; i++) {
    float step = tri_model_rope_step(s->model, (int)i);
    for (size_t pos = 0; pos < (size_t)s->spec.context; pos++) {
      float angle = (float)pos * step;
      s->rope_cos[pos * half + i] = (float)cos((double)angle);
      s->rope_sin[pos * half + i] = (float)sin((double)angle);
    }
  }
}

static tri_status check_spec(const tri_model *m, const tri_stage_spec *spec, tri_error *err) {
  const tri_shape *s = tri_model_shape(m);
  if (spec->first < 0 || spec->last < spec->first || spec->last > s->n_layers)
    return tri_status_fail(err, TRI_E_INVALID, "layers [%d, %d) are not within the model's %d", spec->first, spec->last, s->n_layers);
  if (spec->context < 1 || spec->context > s->context)
    return tri_status_fail(err, TRI_E_INVALID, "a context of %d is not between 1 and the model's %d", spec->context, s->context);
  if (spec->slots < 1 || spec->max_rows < 1 || spec->blocks < 0)
    return tri_status_fail(err, TRI_E_INVALID, "a stage needs at least one slot and one row, and KV blocks");
  return tri_model_check_present(m, spec->first, spec->last, spec->embed, spec->head, err);
}

tri_status tri_stage_open(tri_stage **out, const tri_model *m, const tri_kernels *k, tri_pool *pool, const tri_stage_spec *spec,
                          void (*progress)(void *, uint64_t, uint64_t), void *arg, tri_error *err) {
  tri_status status = check_spec(m, spec, err);
  if (status != TRI_OK) return status;
  tri_stage *s = calloc(1, sizeof *s);
  if (!s) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  s->model = m, s->k = k, s->pool = pool, s->spec = *spec, s->shape = *tri_model_shape(m);
  status = make_buffers(s, err);
  if (status == TRI_OK)
    status = tri_kv_create(&s->kv, spec->last - spec->first, spec->slots, spec->context, (size_t)spec->blocks,
                           tri_stage_kv_shape(&s->shape, spec->kv_type), err);
  if (status == TRI_OK) status = pack_layers(s, progress, arg, err);
  if (status == TRI_OK && spec->head) status = tri_head_open(s, err);
  if (status != TRI_OK) return tri_stage_close(&s), status;
  fill_rope(s);
  s->spec.tune = NULL; /* the caller may drop it now */
  *out = s;
  return TRI_OK;
}

void tri_stage_close(tri_stage **stage) {
  tri_stage *s = *stage;
  if (!s) return;
  for (int i = 0; s->layers && i < s->spec.last - s->spec.first; i++)
    for (int j = 0; j < TRI_LINEARS; j++) tri_mem_free(&s->layers[i].linear[j].w), free(s->layers[i].linear[j].scales);
  for (int i = 0; i < TRI_BUFFERS; i++) tri_mem_free(&s->buffers[i]);
  free(s->layers);
  tri_head_close(s);
  tri_kv_destroy(&s->kv);
  free(s);
  *stage = NULL;
}

const tri_stage_spec *tri_stage_get_spec(const tri_stage *s) { return &s->spec; }

tri_status tri_stage_map(tri_stage *s, int32_t slot, int32_t first, const uint32_t *blocks, int32_t n, tri_error *err) {
  return tri_kv_map(s->kv, slot, first, blocks, n, err);
}

tri_status tri_stage_check_rows(const tri_stage *s, const tri_row *rows, int32_t n, tri_error *err) {
  if (n < 1 || n > s->spec.max_rows) return tri_status_fail(err, TRI_E_INVALID, "%d rows are not between 1 and %d", n, s->spec.max_rows);
  for (int32_t i = 0; i < n; i++) {
    const tri_row *r = &rows[i];
    if (r->slot < 0 || r->slot >= s->spec.slots)
      return tri_status_fail(err, TRI_E_INVALID, "row %d: slot %d of %d", i, r->slot, s->spec.slots);
    if (r->pos < 0 || r->pos >= s->spec.context)
      return tri_status_fail(err, TRI_E_INVALID, "row %d: position %d of %d", i, r->pos, s->spec.context);
    if (r->pos >= tri_kv_mapped(s->kv, r->slot))
      return tri_status_fail(err, TRI_E_INVALID, "row %d: position %d of slot %d has no KV block, the first %d have", i, r->pos, r->slot,
                             tri_kv_mapped(s->kv, r->slot));
    if (r->token < 0 || r->token >= s->shape.vocab)
      return tri_status_fail(err, TRI_E_INVALID, "row %d: token %d of %d", i, r->token, s->shape.vocab);
  }
  return TRI_OK;
}

/* --- running --- */

typedef struct run_job {
  tri_stage *s;
  const tri_row *rows;
  size_t n;
  float *hidden;
} run_job;

static void run_fn(void *arg, int thread, int threads) {
  const run_job *job = arg;
  tri_stage *s = job->s;
  size_t d = (size_t)s->shape.d, first, last;
  if (s->spec.embed) {
    tri_pool_split(job->n, thread, threads, &first, &last);
    for (size_t r = first; r < last; r++) tri_head_embed(s, job->rows[r].token, job->hidden + r * d);
    tri_pool_barrier(s->pool, thread);
  }
  for (int i = 0; i < s->spec.last - s->spec.first; i++) {
    tri_block_run(s, i, job->rows, job->n, job->hidden, thread, threads);
    if (s->watch && thread == 0) s->watch(s->watch_arg, s->spec.first + i, job->hidden, (int32_t)job->n);
    if (s->watch) tri_pool_barrier(s->pool, thread);
  }
}

void tri_stage_run(tri_stage *s, const tri_row *rows, int32_t n, float *hidden) {
  run_job job = {s, rows, (size_t)n, hidden};
  tri_pool_run(s->pool, run_fn, &job);
}

void tri_stage_watch(tri_stage *s, void (*fn)(void *, int32_t, const float *, int32_t), void *arg) { s->watch = fn, s->watch_arg = arg; }
