/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"

#include <jansson.h>

static const size_t row_counts[] = {1, 2, 4, 8, 16, 24};
enum { ROW_COUNTS = sizeof row_counts / sizeof *row_counts, PASS_LIMIT_MS = 1000, MAX_SHAPES = 16 };

typedef struct table {
  const tri_kernels *k;
  tri_pool *pool;
  int repeats;
  double read_gbs, gops; /* the limits */
  json_t *rows;          /* NULL: print as text */
} table;

static tri_status add_line(table *t, const tri_tune_matrix *x, size_t rows, tri_error *err) {
  double us;
  tri_status status = tri_tune_time(x, rows, t->k, t->pool, t->repeats, PASS_LIMIT_MS, &us, err);
  if (status != TRI_OK) return status;
  double gbs = (double)x->bytes / us / 1e3, gops = 2.0 * (double)x->m * (double)x->k * (double)rows / us / 1e3;
  double by_bytes = gbs / t->read_gbs, by_arithmetic = gops / t->gops, share = by_bytes > by_arithmetic ? by_bytes : by_arithmetic;
  const char *bound = by_bytes > by_arithmetic ? "bytes" : "arithmetic";
  if (t->rows)
    json_array_append_new(t->rows, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:s}", "form", tri_form_name(x->form), "isa",
                                             t->k->name, "m", (json_int_t)x->m, "k", (json_int_t)x->k, "rows", (json_int_t)rows, "us", us,
                                             "gb_s", gbs, "gop_s", gops, "share_of_limit", share, "limit", bound));
  else
    printf("%-5s %-9s %6zu x %-6zu %4zu %10.1f %8.1f %8.0f %6.0f %% %s\n", tri_form_name(x->form), t->k->name, x->m, x->k, rows, us, gbs,
           gops, 100 * share, bound);
  return TRI_OK;
}

static tri_status add_form(table *t, tri_form form, size_t m, size_t k, tri_error *err) {
  tri_tune_matrix x;
  tri_status status = tri_tune_fill(&x, form, m, k, tri_tune_room(), err);
  if (status != TRI_OK) return status;
  for (size_t i = 0; i < ROW_COUNTS && status == TRI_OK; i++) status = add_line(t, &x, row_counts[i], err);
  tri_tune_free(&x);
  return status;
}

/* The distinct shapes of a model's matrices, or of BitNet 2B4T and Llama-3 8B. */
static tri_status shapes_of(const char *model_path, size_t shapes[MAX_SHAPES][2], int *n, tri_error *err) {
  static const size_t usual[][2] = {{2560, 2560}, {6912, 2560}, {2560, 6912}, {4096, 4096}, {14336, 4096}, {4096, 14336}};
  *n = 0;
  if (!model_path) {
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) shapes[*n][0] = usual[i][0], shapes[(*n)++][1] = usual[i][1];
    return TRI_OK;
  }
  tri_model *m;
  tri_status status = tri_model_open(&m, model_path, err);
  if (status != TRI_OK) return status;
  for (int i = 0; i < TRI_LINEARS; i++) {
    size_t rows, cols;
    int seen = 0;
    tri_shape_linear(tri_model_shape(m), (tri_linear)i, &rows, &cols);
    while (seen < *n && (shapes[seen][0] != rows || shapes[seen][1] != cols)) seen++;
    if (seen == *n) shapes[*n][0] = rows, shapes[(*n)++][1] = cols;
  }
  tri_model_close(&m);
  return TRI_OK;
}

static tri_status fill_table(table *t, const char *model_path, tri_error *err) {
  size_t shapes[MAX_SHAPES][2];
  int n;
  tri_status status = shapes_of(model_path, shapes, &n, err);
  for (int i = 0; i < n && status == TRI_OK; i++)
    for (int f = 0; f < TRI_FORM_COUNT && status == TRI_OK; f++)
      if (t->k->gemm[f]) status = add_form(t, (tri_form)f, shapes[i][0], shapes[i][1], err);
  return status;
}

tri_status tri_bench_kernels(const char *model_path, const tri_kernels *k, int threads, int repeats, bool as_json, tri_error *err) {
  table t = {.k = k, .repeats = repeats};
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
      printf("%d threads; limits: reading %.1f GB/s, int8 arithmetic %.0f GOP/s\n\n%-5s %-9s %-15s %4s %10s %8s %8s %8s %s\n", threads,
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
