/* SPDX-License-Identifier: MIT */
/* Both ends of the model: the embedding's rows and the vocabulary matrix. */
#include "engine/matrix.h"
#include "engine/stage_impl.h"

#include <stdlib.h>
#include <string.h>
#include "kernels/i2s.h"
#include "kernels/q6.h"

bool tri_head_is_packed(const tri_model *m) { return !tri_matrix_is_float(tri_model_head(m)->type); }

/* Row block `block` of a head in a type without kernels of its own: made Q8_0, whose rounding is small beside theirs. */
static void pack_as_q8(tri_stage *s, const tri_gguf_tensor *t, size_t block) {
  enum { CHUNK = 256 }; /* columns; whole blocks of any type */
  float x[CHUNK];
  uint8_t q8[TRI_BLOCK_ROWS * CHUNK / TRI_Q8_BLOCK * (2 + TRI_Q8_BLOCK)];
  size_t d = (size_t)s->shape.d, row0 = block * TRI_BLOCK_ROWS, left = (size_t)s->shape.vocab - row0, row_bytes = t->bytes / t->dims[1];
  size_t rows = left < TRI_BLOCK_ROWS ? left : TRI_BLOCK_ROWS;
  for (size_t col = 0; col < d; col += CHUNK) {
    size_t n = d - col < CHUNK ? d - col : CHUNK, group = (block * d + col) / TRI_Q8_BLOCK;
    for (size_t r = 0; r < rows; r++) {
      tri_matrix_floats(s->k, t->type, t->data + (row0 + r) * row_bytes + row_bytes * col / d, n, x);
      tri_matrix_encode(s->k, TRI_TYPE_Q8_0, x, n, q8 + r * (n / TRI_Q8_BLOCK) * (2 + TRI_Q8_BLOCK));
    }
    tri_q8_from_file(q8, rows, n, (int8_t *)s->head_q.data + group * TRI_BLOCK_ROWS * TRI_Q8_BLOCK,
                     (float *)s->head_d.data + group * TRI_BLOCK_ROWS, 0, 1);
  }
}

/* In pieces, each of which leaves the file's mapping as soon as it is packed: the head is never resident twice. */
static void pack_fn(void *arg, int thread, int threads) {
  enum { PIECE = 256 }; /* row blocks */
  tri_stage *s = arg;
  const tri_gguf_tensor *t = tri_model_head(s->model);
  size_t first, last, vocab = (size_t)s->shape.vocab, d = (size_t)s->shape.d, row = t->bytes / vocab;
  tri_pool_split(s->vocab_ld / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  for (size_t b = first; b < last; b += PIECE) {
    size_t end = b + PIECE < last ? b + PIECE : last, rows = end * TRI_BLOCK_ROWS < vocab ? end * TRI_BLOCK_ROWS : vocab;
    if (t->type == TRI_TYPE_Q6_K) tri_q6_from_file(t->data, vocab, d, s->head_q.data, b, end);
    else if (t->type == TRI_TYPE_Q8_0) tri_q8_from_file(t->data, vocab, d, s->head_q.data, s->head_d.data, b, end);
    else
      for (size_t block = b; block < end; block++) pack_as_q8(s, t, block);
    tri_file_map_drop(t->data + b * TRI_BLOCK_ROWS * row, (rows - b * TRI_BLOCK_ROWS) * row);
  }
}

tri_status tri_head_open(tri_stage *s, tri_error *err) {
  const tri_gguf_tensor *t = tri_model_head(s->model);
  if (!tri_head_is_packed(s->model)) return TRI_OK; /* float types are read in place */
  size_t vocab = (size_t)s->shape.vocab, d = (size_t)s->shape.d;
  s->vocab_ld = tri_round_up(vocab, TRI_BLOCK_ROWS);
  bool q6 = t->type == TRI_TYPE_Q6_K;
  s->head_q = tri_mem_get(q6 ? tri_q6_bytes(vocab, d) : s->vocab_ld * d);
  s->head_d = tri_mem_get(q6 ? 0 : s->vocab_ld * (d / TRI_Q8_BLOCK) * sizeof(float));
  s->logits = tri_mem_get(TRI_PANEL_ROWS * s->vocab_ld * sizeof(float));
  if (!s->head_q.data || (!q6 && !s->head_d.data) || !s->logits.data)
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the head");
  if (q6) s->head_q6 = (tri_q6){s->head_q.data, vocab, d};
  else s->head_q8 = (tri_q8){s->head_q.data, s->head_d.data, vocab, d};
  tri_pool_run(s->pool, pack_fn, s);
  return TRI_OK;
}

void tri_head_close(tri_stage *s) {
  tri_mem_free(&s->head_q);
  tri_mem_free(&s->head_d);
  tri_mem_free(&s->logits);
}

void tri_head_embed(const tri_stage *s, int32_t token, float *x) {
  const tri_gguf_tensor *t = tri_model_embedding(s->model);
  size_t d = (size_t)s->shape.d;
  tri_matrix_floats(s->k, t->type, t->data + (size_t)token * (t->bytes / t->dims[1]), d, x);
}

typedef struct head_step {
  tri_stage *s;
  const float *hidden;
  size_t n;
  float *logits;
} head_step;

/* Weight rows that stay in cache while every hidden row passes over them. */
enum { FLOAT_TILE_ROWS = 32 };

static void float_fn(void *arg, int thread, int threads) {
  const head_step *st = arg;
  tri_stage *s = st->s;
  const tri_gguf_tensor *t = tri_model_head(s->model);
  size_t vocab = (size_t)s->shape.vocab, d = (size_t)s->shape.d, first, last;
  tri_ftype type = tri_matrix_float_type(t->type);
  tri_pool_split(vocab, thread, threads, &first, &last);
  for (size_t b = first; b < last; b += FLOAT_TILE_ROWS) {
    size_t rows = last - b < FLOAT_TILE_ROWS ? last - b : FLOAT_TILE_ROWS;
    s->k->matmul(t->data + b * tri_ftype_bytes(type, d), type, rows, d, st->hidden, st->n, st->logits + b, vocab);
  }
}

/* One panel of rows: quantise (rows dealt to threads), multiply (vocabulary dealt to threads). */
static void int8_fn(void *arg, int thread, int threads) {
  const head_step *st = arg;
  tri_stage *s = st->s;
  size_t vocab = (size_t)s->shape.vocab, d = (size_t)s->shape.d, first, last;
  float *scales = s->gate.data; /* [n, d/32]; the feed-forward buffers are idle here */
  tri_pool_split(st->n, thread, threads, &first, &last);
  for (size_t r = first; r < last; r++)
    s->k->quant_row_q8(st->hidden + r * d, d, (int8_t *)s->acts.q.data + 4 * r, st->n, scales + r * (d / TRI_Q8_BLOCK));
  tri_pool_barrier(s->pool, thread);
  tri_pool_split(s->vocab_ld / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  if (first == last) return;
  float *y = s->logits.data;
  if (s->head_q6.w) s->k->q6_gemm(&s->head_q6, s->acts.q.data, scales, st->n, first, last, y, s->vocab_ld);
  else s->k->q8_gemm(&s->head_q8, s->acts.q.data, scales, st->n, first, last, y, s->vocab_ld);
  size_t a = first * TRI_BLOCK_ROWS, b = last * TRI_BLOCK_ROWS < vocab ? last * TRI_BLOCK_ROWS : vocab;
  for (size_t r = 0; r < st->n; r++) memcpy(st->logits + r * vocab + a, y + r * s->vocab_ld + a, (b - a) * sizeof *y);
}

void tri_stage_logits(tri_stage *s, const float *hidden, int32_t n, float *logits) {
  size_t d = (size_t)s->shape.d, vocab = (size_t)s->shape.vocab;
  const float *weight = (const float *)(const void *)tri_model_head_norm(s->model)->data;
  float *normed = s->ctx.data; /* [TRI_PANEL_ROWS, d] */
  bool int8 = tri_head_is_packed(s->model);
  for (size_t r0 = 0; r0 < (size_t)n; r0 += TRI_PANEL_ROWS) {
    size_t rows = (size_t)n - r0 < TRI_PANEL_ROWS ? (size_t)n - r0 : TRI_PANEL_ROWS;
    for (size_t r = 0; r < rows; r++) s->k->rmsnorm(hidden + (r0 + r) * d, weight, s->shape.eps, normed + r * d, d);
    head_step st = {s, normed, rows, logits + r0 * vocab};
    tri_pool_run(s->pool, int8 ? int8_fn : float_fn, &st);
  }
}
