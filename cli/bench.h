/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_BENCH_H
#define TRI_CLI_BENCH_H
#include "cli/cli.h"

/* The machine's limits, as every share in `trireme bench` is taken of them. */

enum { TRI_BENCH_READ_BYTES = 512 << 20 };

/* Read bandwidth in GB/s: all threads sum a buffer of TRI_BENCH_READ_BYTES that no cache holds. */
double tri_bench_read(tri_pool *pool, const tri_mem *buffer);
/* A filled buffer for it; TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_bench_read_buffer(tri_mem *out, tri_error *err);
/* Integer arithmetic in GOP/s (a multiply and an add are two): the level's own ternary product on operands in level-1 cache. */
double tri_bench_arithmetic(tri_pool *pool, const tri_kernels *k);

/* --- `trireme bench --kernels` --- */

typedef struct json_t json_t;

typedef struct tri_bench_table {
  const tri_kernels *k;
  tri_pool *pool;
  int repeats;
  double read_gbs, gops; /* the limits */
  json_t *rows;          /* NULL: print as text */
} tri_bench_table;

/* A line: what took `us` microseconds reads `bytes` and does `ops` operations. is_float: the limit of int8 arithmetic says nothing
 * about it. */
void tri_bench_line(tri_bench_table *t, const char *form, size_t m, size_t k, size_t rows, double us, size_t bytes, double ops,
                    bool is_float);
/* Lines for heads (q8_0, q6_k, f16: rows of the vocabulary x d) and attention (kv-f16, kv-i8: KV heads x positions, where rows are
 * queries) of a model's shape. */
TRI_MUST_CHECK tri_status tri_bench_others(tri_bench_table *t, const tri_shape *s, tri_error *err);

/* The whole table: a line for each form, shape and row count, then the others. model_path may be NULL: shapes of well-known models. */
TRI_MUST_CHECK tri_status tri_bench_kernels(const char *model_path, const tri_kernels *k, int threads, int repeats, bool as_json,
                                            tri_error *err);

/* `trireme bench --sampling`: microseconds for drawing a token in several ways, and for finding those that a grammar allows. */
TRI_MUST_CHECK tri_status tri_bench_sampling(const tri_kernels *k, bool as_json, tri_error *err);

/* `trireme bench --tokenizer TEXT`: MB/s from a text's bytes to ids, and from those of made-up texts that are awkward. */
TRI_MUST_CHECK tri_status tri_bench_tokenizer(const char *model_path, const char *text_path, bool as_json, tri_error *err);

enum { TRI_BENCH_LOADS = 8, TRI_BENCH_STREAMS = 1024 };

typedef struct tri_bench_cluster {
  const char *model_path;   /* for a cluster of our own; NULL, or to make prompts of its vocabulary: the running one */
  const char *coordinator, *key_dir; /* of that; both NULL: a cluster of our own */
  int64_t workers, threads; /* of our own; threads 0: the cores shared out */
  const char *wire;
  tri_ftype kv;
  int64_t streams[TRI_BENCH_LOADS]; /* one load after the other */
  int n_streams;
  double rate;              /* > 0: one load, of so many jobs a second */
  int64_t requests, seconds; /* of each load; 0: no limit. Both 0: for ten seconds */
  int64_t prompt, predict, seed;
  const char *timeline;     /* a file for the picture of the last load; NULL: none */
  bool as_json;
} tri_bench_cluster;

/* `trireme bench --cluster`: what a cluster does under loads, and how busy its stages are. */
TRI_MUST_CHECK tri_status tri_bench_over_cluster(const tri_bench_cluster *o, tri_error *err);

#endif
