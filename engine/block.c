/* SPDX-License-Identifier: MIT */
/* One transformer layer. Every thread of the pool runs the same code on its part of each step; barriers stand where a step
 * reads what other threads wrote. What a row's result depends on: its own values and its sequence's cache, never the
 * thread count or the rows beside it. */
#include "engine/stage_impl.h"

#include <math.h>
#include <string.h>

/* Weight rows of a run of row blocks that stay in the level-2 cache while every panel of activations passes over them. */
enum { TILE_BYTES = 128 << 10 };

typedef struct step {
  tri_stage *s;
  const tri_layer *layer;
  int index; /* of the layer within the stage */
  const tri_row *rows;
  size_t n;
  float *x; /* [n, d] the residual stream */
  int thread, threads;
} step;

static float *norm_scratch(const step *st) { return (float *)st->s->norm.data + (size_t)st->thread * st->s->norm_ld; }

/* Quantise rows of src [n, ld] (k values each) into the activation panels, through RMSNorm when weight is given. */
static void quantise_rows(const step *st, const float *src, size_t ld, size_t k, const float *weight) {
  tri_stage *s = st->s;
  size_t first, last, kpad = tri_round_up(k, TRI_K_ALIGN);
  tri_pool_split(st->n, st->thread, st->threads, &first, &last);
  float *normed = norm_scratch(st);
  for (size_t r = first; r < last; r++) {
    const float *x = src + r * ld;
    if (weight) s->k->rmsnorm(x, weight, s->shape.eps, normed, k), x = normed;
    size_t panel = tri_panel_of(s->k, st->n, r), row0 = tri_panel_first(s->k, st->n, panel);
    size_t rows = tri_panel_first(s->k, st->n, panel + 1) - row0;
    int8_t *q = (int8_t *)s->acts.q.data + row0 * kpad + 4 * (r - row0);
    s->acts.s[r] = s->k->quant_row(x, k, q, rows, &s->acts.sum[r]);
  }
}

/* What rows of a matrix have besides the product: scales of their own and biases. */
static void scale_and_add(const step *st, const tri_packed *w, size_t first, size_t last, float *y, size_t ld) {
  size_t a = first * TRI_BLOCK_ROWS, b = last * TRI_BLOCK_ROWS < w->m ? last * TRI_BLOCK_ROWS : w->m;
  for (size_t r = 0; r < st->n; r++) {
    float *row = y + r * ld;
    for (size_t i = a; w->scales && i < b; i++) row[i] *= w->scales[i];
    if (w->bias) st->s->k->add(row + a, w->bias + a, b - a);
  }
}

/* y[r * ld + i] = matrix row i . activation row r, for this matrix's row blocks [first, last). */
static void multiply(const step *st, const tri_packed *w, size_t first, size_t last, float *y, size_t ld) {
  tri_stage *s = st->s;
  size_t kpad = tri_round_up(w->k, TRI_K_ALIGN), tile = TILE_BYTES / tri_form_bytes(w->form, TRI_BLOCK_ROWS, w->k);
  if (tile < 1) tile = 1;
  if (tri_panel_count(s->k, st->n) == 1) tile = last - first; /* nothing passes twice */
  for (size_t b = first; b < last; b += tile) {
    size_t end = b + tile < last ? b + tile : last;
    for (size_t p = 0; p < tri_panel_count(s->k, st->n); p++) {
      size_t row0 = tri_panel_first(s->k, st->n, p), rows = tri_panel_first(s->k, st->n, p + 1) - row0;
      s->k->gemm[w->form](w->w.data, w->k, (int8_t *)s->acts.q.data + row0 * kpad, rows, b, end, (int32_t *)(void *)(y + row0 * ld), ld);
      for (size_t r = row0; r < row0 + rows; r++)
        s->k->dequant(y + r * ld + b * TRI_BLOCK_ROWS, (end - b) * TRI_BLOCK_ROWS, s->acts.sum[r], s->acts.s[r], w->scale);
    }
  }
  if (w->scales || w->bias) scale_and_add(st, w, first, last, y, ld);
}

static size_t blocks(const tri_packed *w) { return tri_round_up(w->m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS; }

/* q, k and v as one matrix: this thread's share of all their row blocks. */
static void project_qkv(const step *st) {
  float *y = st->s->qkv.data;
  size_t first, last, base = 0;
  const tri_packed *w = st->layer->linear;
  tri_pool_split(blocks(&w[TRI_Q]) + blocks(&w[TRI_K]) + blocks(&w[TRI_V]), st->thread, st->threads, &first, &last);
  for (int i = TRI_Q; i <= TRI_V; base += blocks(&w[i]), i++) {
    size_t count = blocks(&w[i]), a = first > base ? first - base : 0, b = last > base ? last - base : 0;
    if (b > count) b = count;
    if (a < b) multiply(st, &w[i], a, b, y + base * TRI_BLOCK_ROWS, st->s->qkv_ld);
  }
}

/* Rotate q and k, and put k and v into the cache: items are the (row, head) pairs of all three. */
static void rotate_and_store(const step *st) {
  tri_stage *s = st->s;
  size_t hd = (size_t)s->shape.hd, heads = (size_t)s->shape.n_heads, kv_heads = (size_t)s->shape.n_kv;
  size_t k_at = blocks(&st->layer->linear[TRI_Q]) * TRI_BLOCK_ROWS, v_at = k_at + blocks(&st->layer->linear[TRI_K]) * TRI_BLOCK_ROWS;
  size_t per_row = heads + 2 * kv_heads, first, last;
  tri_pool_split(st->n * per_row, st->thread, st->threads, &first, &last);
  for (size_t item = first; item < last; item++) {
    size_t r = item / per_row, h = item % per_row;
    const tri_row *row = &st->rows[r];
    float *base = (float *)s->qkv.data + r * s->qkv_ld;
    const float *cosines = s->rope_cos + (size_t)row->pos * (hd / 2), *sines = s->rope_sin + (size_t)row->pos * (hd / 2);
    if (h < heads) {
      s->k->rope(base + h * hd, cosines, sines, 1, hd, s->shape.neox);
      continue;
    }
    size_t g = (h - heads) % kv_heads;
    bool key = h < heads + kv_heads;
    float *vector = base + (key ? k_at : v_at) + g * hd;
    if (key) {
      s->k->rope(vector, cosines, sines, 1, hd, s->shape.neox);
      tri_kv_put_key(s->kv, s->k, st->index, row->slot, g, row->pos, vector);
    } else {
      tri_kv_put_value(s->kv, s->k, st->index, row->slot, g, row->pos, vector);
    }
  }
}

/* x += matrix . activations, for this thread's columns. */
static void project_residual(const step *st, const tri_packed *w) {
  tri_stage *s = st->s;
  size_t first, last, d = (size_t)s->shape.d;
  tri_pool_split(blocks(w), st->thread, st->threads, &first, &last);
  if (first == last) return;
  multiply(st, w, first, last, s->y.data, s->d_ld);
  size_t a = first * TRI_BLOCK_ROWS, b = last * TRI_BLOCK_ROWS < d ? last * TRI_BLOCK_ROWS : d;
  for (size_t r = 0; r < st->n; r++) s->k->add(st->x + r * d + a, (float *)s->y.data + r * s->d_ld + a, b - a);
}

static void gate_and_up(const step *st) {
  tri_stage *s = st->s;
  size_t first, last;
  float *gate = s->gate.data, *up = s->up.data;
  tri_pool_split(blocks(&st->layer->linear[TRI_GATE]), st->thread, st->threads, &first, &last);
  if (first == last) return;
  multiply(st, &st->layer->linear[TRI_GATE], first, last, gate, s->ffn_ld);
  multiply(st, &st->layer->linear[TRI_UP], first, last, up, s->ffn_ld);
  size_t a = first * TRI_BLOCK_ROWS, count = (last - first) * TRI_BLOCK_ROWS;
  for (size_t r = 0; r < st->n; r++) {
    if (s->shape.gate == TRI_GATE_RELU2) s->k->relu2_gate(gate + r * s->ffn_ld + a, up + r * s->ffn_ld + a, count);
    else s->k->silu_gate(gate + r * s->ffn_ld + a, up + r * s->ffn_ld + a, count);
  }
}

void tri_block_run(tri_stage *s, int layer, const tri_row *rows, size_t n, float *hidden, int thread, int threads) {
  const tri_layer *l = &s->layers[layer];
  const step st = {s, l, layer, rows, n, hidden, thread, threads};
  size_t d = (size_t)s->shape.d, width = (size_t)s->shape.n_heads * (size_t)s->shape.hd;
  quantise_rows(&st, hidden, d, d, l->norm[TRI_NORM_ATTN]);
  tri_pool_barrier(s->pool, thread);
  project_qkv(&st);
  tri_pool_barrier(s->pool, thread);
  rotate_and_store(&st);
  tri_pool_barrier(s->pool, thread);
  tri_attend_run(s, layer, rows, n, thread, threads);
  tri_pool_barrier(s->pool, thread);
  quantise_rows(&st, s->ctx.data, width, width, l->norm[TRI_NORM_ATTN_SUB]);
  tri_pool_barrier(s->pool, thread);
  project_residual(&st, &l->linear[TRI_O]);
  tri_pool_barrier(s->pool, thread);
  quantise_rows(&st, hidden, d, d, l->norm[TRI_NORM_FFN]);
  tri_pool_barrier(s->pool, thread);
  gate_and_up(&st);
  tri_pool_barrier(s->pool, thread);
  quantise_rows(&st, s->gate.data, s->ffn_ld, (size_t)s->shape.ffn, l->norm[TRI_NORM_FFN_SUB]);
  tri_pool_barrier(s->pool, thread);
  project_residual(&st, &l->linear[TRI_DOWN]);
  tri_pool_barrier(s->pool, thread);
}
