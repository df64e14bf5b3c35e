/* SPDX-License-Identifier: MIT */
/* Lines of `bench --kernels` for what a step does beside the ternary products: the head, and attention. */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/bench.h"

enum { HEAD_ROWS = 16384, POSITIONS = 1024, PASS_LIMIT_MS = 500 };

/* Operands of one op, more bytes than the last-level cache holds. `run` does a thread's part of it. */
typedef struct op {
  const char *name;
  void (*run)(const struct op *o, int thread, int threads);
  const tri_kernels *k;
  size_t rows, m, d; /* m: rows of a head, or KV heads; d: their width, or positions */
  size_t bytes;      /* that it reads */
  double ops;
  tri_mem weights, panel, scales, out;
  tri_attention attention;
} op;

static void run_q8(const op *o, int thread, int threads) {
  size_t first, last;
  tri_pool_split(o->m / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  const tri_q8 w = {o->weights.data, (const float *)(const void *)((const char *)o->weights.data + o->m * o->d), o->m, o->d};
  o->k->q8_gemm(&w, o->panel.data, o->scales.data, o->rows, first, last, o->out.data, o->m);
}

static void run_q6(const op *o, int thread, int threads) {
  size_t first, last;
  tri_pool_split(o->m / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  const tri_q6 w = {o->weights.data, o->m, o->d};
  o->k->q6_gemm(&w, o->panel.data, o->scales.data, o->rows, first, last, o->out.data, o->m);
}

static void run_f16(const op *o, int thread, int threads) {
  size_t first, last;
  tri_pool_split(o->m, thread, threads, &first, &last);
  o->k->matmul((const char *)o->weights.data + first * o->d * 2, TRI_F16, last - first, o->d, o->panel.data, o->rows,
               (float *)o->out.data + first, o->m);
}

/* The rows see all positions of each KV head. */
static void run_attention(const op *o, int thread, int threads) {
  tri_attention a = o->attention;
  size_t block = TRI_KV_BLOCK * tri_ftype_bytes(a.type, a.hd), cache = o->d / TRI_KV_BLOCK * block, queries = a.rows * a.heads, first, last;
  float *scratch = (float *)o->out.data + (size_t)thread * queries * (TRI_ATTENTION_BLOCK + a.hd + 2);
  tri_pool_split(o->m, thread, threads, &first, &last);
  for (size_t head = first; head < last; head++) {
    const char *at = (const char *)o->weights.data + 2 * head * cache;
    for (size_t pos = 0; pos < o->d; pos += TRI_ATTENTION_BLOCK) {
      for (size_t i = 0; i <= TRI_KV_SPAN; i++) a.k[i] = at + i * block, a.v[i] = (const char *)a.k[i] + cache;
      at += TRI_KV_SPAN * block;
      o->k->attend(&a, TRI_ATTENTION_BLOCK, scratch, scratch + queries * TRI_ATTENTION_BLOCK);
    }
  }
}

static void run_fn(void *arg, int thread, int threads) {
  const op *o = arg;
  o->run(o, thread, threads);
}

/* The least of some passes, in microseconds: other processes only ever add time. */
static double time_op(op *o, tri_pool *pool, int passes) {
  int64_t least = INT64_MAX, end = tri_clock_ms() + PASS_LIMIT_MS;
  for (int pass = -1; pass < passes && (pass < 1 || tri_clock_ms() < end); pass++) {
    int64_t start = tri_clock_ns();
    tri_pool_run(pool, run_fn, o);
    int64_t took = tri_clock_ns() - start;
    if (took < least) least = took;
  }
  return (double)least / 1000;
}

static tri_status add_op(tri_bench_table *t, op *o, size_t out_bytes, size_t panel_bytes, tri_error *err) {
  tri_status status = TRI_OK;
  o->k = t->k;
  o->weights = tri_mem_get(tri_round_up(o->bytes, 64) + TRI_KV_SLACK), o->panel = tri_mem_get(panel_bytes);
  o->scales = tri_mem_get(TRI_PANEL_ROWS * o->d * sizeof(float)), o->out = tri_mem_get(out_bytes);
  if (!o->weights.data || !o->panel.data || !o->scales.data || !o->out.data)
    status = tri_status_fail(err, TRI_E_NOMEM, "no memory to time %s (%s)", o->name, TRI_UNITS(o->bytes));
  else {
    /* What the numbers are doesn't matter, but all must be written: untouched pages are one and the same page of zeros. */
    const tri_mem *const read[] = {&o->weights, &o->panel, &o->scales};
    for (size_t i = 0; i < 3; i++) memset(read[i]->data, 0, read[i]->bytes);
    o->attention.q = o->panel.data;
    bool is_float = o->run == run_f16 || o->run == run_attention;
    tri_bench_line(t, o->name, o->m, o->d, o->rows, time_op(o, t->pool, t->repeats), o->bytes, o->ops, is_float);
  }
  tri_mem_free(&o->weights), tri_mem_free(&o->panel), tri_mem_free(&o->scales), tri_mem_free(&o->out);
  return status;
}

static tri_status add_heads(tri_bench_table *t, const tri_shape *s, tri_error *err) {
  static const size_t row_counts[] = {1, 4, 8, 24};
  size_t d = tri_round_up((size_t)s->d, TRI_Q6_BLOCK), vocab = tri_round_up((size_t)s->vocab, TRI_BLOCK_ROWS);
  size_t m = vocab < HEAD_ROWS ? vocab : HEAD_ROWS;
  const struct {
    const char *name;
    void (*run)(const op *, int, int);
    size_t bytes;
  } heads[] = {{"q8_0", run_q8, m * d + m * d / TRI_Q8_BLOCK * sizeof(float)},
               {"q6_k", run_q6, tri_q6_bytes(m, d)},
               {"f16", run_f16, m * d * 2}};
  tri_status status = TRI_OK;
  for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts && status == TRI_OK; r++) {
      size_t rows = row_counts[r];
      op o = {.name = heads[h].name, .run = heads[h].run, .rows = rows, .m = m, .d = d, .bytes = heads[h].bytes,
              .ops = 2.0 * (double)(m * d * rows)};
      status = add_op(t, &o, rows * m * sizeof(float), rows * d * sizeof(float), err);
    }
  return status;
}

static tri_status add_attention(tri_bench_table *t, const tri_shape *s, tri_error *err) {
  static const tri_ftype types[] = {TRI_F16, TRI_INT8};
  static const char *const names[] = {"kv-f16", "kv-i8"};
  size_t hd = (size_t)s->hd, group = (size_t)(s->n_heads / s->n_kv), threads = (size_t)tri_pool_threads(t->pool);
  size_t heads = tri_round_up(tri_tune_room() / (2 * POSITIONS * hd), threads);
  tri_status status = TRI_OK;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    for (size_t rows = 1; rows <= 4 && status == TRI_OK; rows *= 4) {
      size_t queries = rows * group;
      op o = {.name = names[i], .run = run_attention, .rows = queries, .m = heads, .d = POSITIONS,
              .bytes = 2 * heads * POSITIONS * tri_ftype_bytes(types[i], hd), .ops = 4.0 * (double)(heads * POSITIONS * hd * queries),
              .attention = {.type = types[i], .hd = hd, .heads = group, .rows = rows, .q_ld = group * hd, .scale = 1}};
      status = add_op(t, &o, threads * queries * (TRI_ATTENTION_BLOCK + hd + 2) * sizeof(float), queries * hd * sizeof(float), err);
    }
  return status;
}

tri_status tri_bench_others(tri_bench_table *t, const tri_shape *s, tri_error *err) {
  tri_status status = add_heads(t, s, err);
  return status == TRI_OK ? add_attention(t, s, err) : status;
}
