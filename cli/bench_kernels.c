/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"

#include <jansson.h>

static const size_t row_counts[] = {1, 2, 4, 8, 16, 24};
enum { ROW_COUNTS = sizeof row_counts / sizeof *row_counts, PASS_LIMIT_MS = 1000, MAX_SHAPES = 16 };

void tri_bench_line(tri_bench_table *t, const char *form, size_t m, size_t k, size_t rows, double us, size_t bytes, double ops,
                    bool is_float) {
  double gbs = (double)bytes / us / 1e3, gops = ops / us / 1e3;
  double by_bytes = gbs / t->read_gbs, by_arithmetic = is_float ? 0 : gops / t->gops;
  double share = by_bytes > by_arithmetic ? by_bytes : by_arithmetic;
  const char *bound = by_bytes > by_arithmetic ? "bytes" : "arithmetic";
  if (t->rows)
    json_array_append_new(t->rows, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s}", "form", form, "isa", t->k->name, "m",
                                             (json_int_t)m, "k", (json_int_t)k, "rows", (json_int_t)rows, "us", us, "gb_s", gbs, "gop_s",
                                             gops, "share_of_limit", share, "limit", bound));
  else
    printf("%-6s %-9s %6zu x %-6zu %4zu %10.1f %8.1f %8.0f %6.0f %% %s\n", form, t->k->name, m, k, rows, us, gbs, gops, 100 * share, bound);
}

static tri_status add_line(tri_bench_table *t, const tri_tune_matrix *x, size_t rows, tri_error *err) {
  double us;
  tri_status status = tri_tune_time(x, rows, t->k, t->pool, t->repeats, PASS_LIMIT_MS, &us, err);
  if (status == TRI_OK)
    tri_bench_line(t, tri_form_name(x->form), x->m, x->k, rows, us, x->bytes, 2.0 * (double)x->m * (double)x->k * (double)rows, false);
  return status;
}

static tri_status add_form(tri_bench_table *t, tri_form form, size_t m, size_t k, tri_error *err) {
  tri_tune_matrix x;
  tri_status status = tri_tune_fill(&x, form, m, k, tri_tune_room(), err);
  if (status != TRI_OK) return status;
  for (size_t i = 0; i < ROW_COUNTS && status == TRI_OK; i++) status = add_line(t, &x, row_counts[i], err);
  tri_tune_free(&x);
  return status;
}

/* The lines of a model's shape, those of matrices that were there before left out. */
static tri_status add_shape(tri_bench_table *t, const tri_shape *s, size_t seen[MAX_SHAPES][2], int *n, tri_error *err) {
  tri_status status = TRI_OK;
  for (int i = 0; i < TRI_LINEARS && status == TRI_OK; i++) {
    size_t m, k;
    int at = 0;
    tri_shape_linear(s, (tri_linear)i, &m, &k);
    while (at < *n && (seen[at][0] != m || seen[at][1] != k)) at++;
    if (at < *n) continue;
    seen[*n][0] = m, seen[(*n)++][1] = k;
    for (int f = 0; f < TRI_FORM_COUNT && status == TRI_OK; f++)
      if (t->k->gemm[f]) status = add_form(t, (tri_form)f, m, k, err);
  }
  return status == TRI_OK ? tri_bench_others(t, s, err) : status;
}

/* A model's shape, or those of BitNet 2B4T and Llama-3 8B. */
static tri_status fill_table(tri_bench_table *t, const char *model_path, tri_error *err) {
  static const tri_shape usual[] = {{.d = 2560, .ffn = 6912, .n_heads = 20, .n_kv = 5, .hd = 128, .vocab = 128256},
                                    {.d = 4096, .ffn = 14336, .n_heads = 32, .n_kv = 8, .hd = 128, .vocab = 128256}};
  size_t seen[MAX_SHAPES][2];
  int n = 0;
  tri_status status = TRI_OK;
  if (!model_path) {
    for (size_t i = 0; i < sizeof usual / sizeof *usual && status == TRI_OK; i++) status = add_shape(t, &usual[i], seen, &n, err);
    return status;
  }
  tri_model *m;
  status = tri_model_open(&m, model_path, err);
  if (status != TRI_OK) return status;
  status = add_shape(t, tri_model_shape(m), seen, &n, err);
  tri_model_close(&m);
  return status;
}

tri_status tri_bench_kernels(const char *model_path, const tri_kernels *k, int threads, int repeats, bool as_json, tri_error *err) {
  tri_bench_table t = {.k = k, .repeats = repeats};
  tri_mem buffer = {0};
  tri_status status = tri_pool_create(&t.pool, threads, err);
  if (status == TRI_OK) status = tri_bench_read_buffer(&buffer, err);
  if (status == TRI_OK) {
    for (int i = 0; i < 3; i++) {
      double rate = tri_bench_read(t.pool, &buffer);
      if (rate > t.read_gbs) t.read_gbs = rate;
    }
    t.gops = tri_bench_arithmetic(t.pool, k);
    if (as_json) t.rows = json_array();
    else
      printf("%d threads; limits: reading %.1f GB/s, int8 arithmetic %.0f GOP/s\n\n%-6s %-9s %-15s %4s %10s %8s %8s %8s %s\n", threads,
             t.read_gbs, t.gops, "form", "ISA", "shape", "rows", "us", "GB/s", "GOP/s", "limit", "by");
    status = fill_table(&t, model_path, err);
  }
  if (status == TRI_OK && as_json) {
    json_t *doc = json_pack("{s:i, s:f, s:f, s:O}", "threads", threads, "read_gb_s", t.read_gbs, "arithmetic_gop_s", t.gops, "rows",
                            t.rows);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(doc);
  }
  json_decref(t.rows);
  tri_mem_free(&buffer);
  tri_pool_destroy(&t.pool);
  return status;
}
