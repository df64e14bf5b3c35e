/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/eval.h"

static const char *text_path, *kv_names[2] = {"f16", "f16"}, *wire_names[2];
static int64_t threads, context = 512, most_windows, stages = 3;
static bool as_json;
static const tri_arg args[] = {
    {"text", 0, TRI_ARG_STRING, &text_path, "FILE", "The text that both predict; - reads standard input.", 0, 0},
    {"a-kv", 0, TRI_ARG_STRING, &kv_names[0], "TYPE", "A's KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"b-kv", 0, TRI_ARG_STRING, &kv_names[1], "TYPE", "B's.", 0, 0},
    {"a-wire", 0, TRI_ARG_STRING, &wire_names[0], "TYPE",
     "Cut A into stages, as a cluster would, with rows between them as int8, int4, f16 or f32 (default: not cut).", 0, 0},
    {"b-wire", 0, TRI_ARG_STRING, &wire_names[1], "TYPE", "Cut B into stages.", 0, 0},
    {"stages", 0, TRI_ARG_INT, &stages, "K", "Stages where a wire type is given (default 3).", 2, TRI_CLUSTER_WORKERS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Tokens in a window (default 512).", 2, 1 << 20},
    {"windows", 0, TRI_ARG_INT, &most_windows, "N", "Stop after N windows (default: all).", 1, 1e12},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that may be used).", 1, TRI_POOL_MAX_THREADS},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme compare",
    "Measure how far apart the predictions of two models are on a text, or of one model (B left out) with two KV or wire types: the "
    "Kullback-Leibler divergence of B from A, the largest difference of a logit, how often both have the same likeliest token, and both "
    "losses. Both are held in memory.",
    "A.gguf [B.gguf] --text FILE [options]",
    "  trireme compare model-f16.gguf model-q6_k.gguf --text book.txt --windows 10\n"
    "  trireme compare model.gguf --text book.txt --b-kv int8\n"
    "  trireme compare model.gguf --text book.txt --b-wire int8 --stages 4\n",
    args, sizeof args / sizeof *args};

enum { LOGIT_BYTES = 32 << 20, MOST_ROWS = 256 };

/* A model in one piece or in stages, in this process. */
typedef struct side {
  const char *path;
  tri_model *model;
  tri_stage *stages[TRI_CLUSTER_WORKERS];
  int n_stages;
  tri_wire wire;
  float *hidden, *logits; /* [rows, d], [rows, vocab] */
  uint8_t *bytes;         /* [rows, wire row] */
} side;

typedef struct comparison {
  const tri_kernels *kernels;
  tri_pool *pool;
  side sides[2];
  size_t vocab, rows, windows;
  tri_row *batch; /* [rows] */
  tri_ids ids;
  /* over all predictions */
  double kl, kl_squares, most_kl, most_difference, nll[2];
  size_t count, same_top;
  double seconds;
} comparison;

/* --- setting up --- */

static tri_status open_stages(comparison *c, side *x, tri_ftype kv, tri_progress *progress, tri_error *err) {
  tri_tune tune;
  const tri_shape *shape = tri_model_shape(x->model);
  if (x->n_stages > shape->n_layers)
    return tri_status_fail(err, TRI_E_INVALID, "--stages %d: the model has %d layers", x->n_stages, shape->n_layers);
  tri_status status = tri_tune_choose(&tune, shape, c->kernels, c->pool, err);
  for (int i = 0; i < x->n_stages && status == TRI_OK; i++) {
    int32_t first = shape->n_layers * i / x->n_stages, last = shape->n_layers * (i + 1) / x->n_stages;
    tri_stage_spec part = {.first = first, .last = last, .embed = i == 0, .head = i + 1 == x->n_stages, .slots = 1,
                           .context = (int32_t)context, .max_rows = (int32_t)c->rows, .kv_type = kv, .tune = &tune};
    status = tri_stage_open(&x->stages[i], x->model, c->kernels, c->pool, &part, tri_progress_update, progress, err);
  }
  size_t d = (size_t)shape->d;
  x->hidden = malloc(c->rows * d * sizeof *x->hidden);
  x->logits = malloc(c->rows * c->vocab * sizeof *x->logits);
  x->bytes = malloc(c->rows * tri_wire_row_bytes(x->wire, d));
  if (status == TRI_OK && (!x->hidden || !x->logits || !x->bytes)) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  return status;
}

static tri_status open_side(comparison *c, int which, tri_error *err) {
  side *x = &c->sides[which];
  tri_ftype kv;
  tri_status status = tri_kv_parse(kv_names[which], &kv, err);
  x->n_stages = wire_names[which] ? (int)stages : 1;
  x->wire = TRI_WIRE_F32;
  if (status == TRI_OK && wire_names[which]) status = tri_wire_parse(wire_names[which], &x->wire, err);
  if (status == TRI_OK) status = tri_model_open(&x->model, x->path, err);
  if (status != TRI_OK) return status;
  const tri_shape *shape = tri_model_shape(x->model);
  if (context > shape->context)
    return tri_status_fail(err, TRI_E_INVALID, "--ctx %lld: the context of %s is %d", (long long)context, x->path, shape->context);
  if (which && (size_t)shape->vocab != c->vocab)
    return tri_status_fail(err, TRI_E_INVALID, "%s predicts %d tokens and %s %zu: they can't be compared", x->path, shape->vocab,
                           c->sides[0].path, c->vocab);
  c->vocab = (size_t)shape->vocab;
  c->rows = LOGIT_BYTES / (c->vocab * sizeof(float));
  c->rows = c->rows < 1 ? 1 : c->rows > MOST_ROWS ? MOST_ROWS : c->rows;
  tri_progress progress = tri_progress_begin(which ? "loading B" : "loading A");
  status = open_stages(c, x, kv, &progress, err);
  tri_progress_end(&progress);
  return status;
}

/* The same tokens for both, or there is nothing to compare. */
static tri_status read_text(comparison *c, tri_error *err) {
  const tri_tokenizer *t;
  tri_ids other = {0};
  tri_status status = tri_model_need_tokenizer(c->sides[0].model, &t, err);
  if (status == TRI_OK) status = tri_eval_read(text_path, t, &c->ids, err);
  if (status == TRI_OK && strcmp(text_path, "-") != 0 && (t = tri_model_tokenizer(c->sides[1].model))) {
    status = tri_eval_read(text_path, t, &other, err);
    if (status == TRI_OK && (other.len != c->ids.len || memcmp(other.data, c->ids.data, other.len * sizeof *other.data) != 0))
      status = tri_status_fail(err, TRI_E_INVALID, "the two models cut %s into different tokens: they can't be compared", text_path);
  }
  tri_ids_free(&other);
  if (status != TRI_OK) return status;
  const tri_eval_plan plan = {.context = (size_t)context, .stride = (size_t)context};
  c->windows = tri_eval_windows(&plan, c->ids.len);
  if (most_windows && c->windows > (size_t)most_windows) c->windows = (size_t)most_windows;
  if (c->windows) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s: %zu tokens are less than one window of %lld", text_path, c->ids.len, (long long)context);
}

/* --- comparing --- */

/* Through all stages, and between them over the wire, which keeps float32 as it is. */
static void predict(const comparison *c, side *x, size_t rows) {
  size_t d = (size_t)tri_model_shape(x->model)->d;
  for (int i = 0; i < x->n_stages; i++) {
    if (i) tri_wire_encode(c->kernels, x->wire, x->hidden, rows, d, x->bytes);
    if (i) tri_wire_decode(c->kernels, x->wire, x->bytes, rows, d, x->hidden);
    tri_stage_run(x->stages[i], c->batch, (int32_t)rows, x->hidden);
  }
  tri_stage_logits(x->stages[x->n_stages - 1], x->hidden, (int32_t)rows, x->logits);
}

static size_t largest(const float *z, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (z[i] > z[best]) best = i;
  return best;
}

/* log of the sum of exp(z) */
static double log_sum(const float *z, size_t n, float most) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += exp((double)z[i] - (double)most);
  return log(sum) + (double)most;
}

/* One row of logits of each, and the token that came. */
static void add_row(comparison *c, const float *a, const float *b, int32_t next) {
  size_t top_a = largest(a, c->vocab), top_b = largest(b, c->vocab);
  double total_a = log_sum(a, c->vocab, a[top_a]), total_b = log_sum(b, c->vocab, b[top_b]), kl = 0;
  for (size_t i = 0; i < c->vocab; i++) {
    double log_p = (double)a[i] - total_a, difference = fabs((double)a[i] - (double)b[i]);
    kl += exp(log_p) * (log_p - ((double)b[i] - total_b));
    if (difference > c->most_difference) c->most_difference = difference;
  }
  if (kl < 0) kl = 0; /* equal but for rounding */
  c->kl += kl, c->kl_squares += kl * kl;
  if (kl > c->most_kl) c->most_kl = kl;
  c->same_top += top_a == top_b;
  c->nll[0] += total_a - (double)a[next], c->nll[1] += total_b - (double)b[next];
  c->count++;
}

static tri_status compare_window(comparison *c, const int32_t *ids, tri_error *err) {
  size_t predictions = (size_t)context - 1;
  for (size_t at = 0, rows; at < predictions; at += rows) {
    rows = predictions - at < c->rows ? predictions - at : c->rows;
    for (size_t r = 0; r < rows; r++) c->batch[r] = (tri_row){.pos = (int32_t)(at + r), .token = ids[at + r]};
    for (int s = 0; s < 2; s++) {
      tri_status status = tri_stage_check_rows(c->sides[s].stages[0], c->batch, (int32_t)rows, err);
      if (status != TRI_OK) return status;
      predict(c, &c->sides[s], rows);
    }
    for (size_t r = 0; r < rows; r++) add_row(c, c->sides[0].logits + r * c->vocab, c->sides[1].logits + r * c->vocab, ids[at + r + 1]);
  }
  return TRI_OK;
}

static tri_status compare(comparison *c, tri_error *err) {
  char why[256];
  if (!(c->kernels = tri_kernels_pick(why, sizeof why))) return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s", why);
  tri_status status = tri_pool_create(&c->pool, threads ? (int)threads : tri_single_cores(), err);
  for (int s = 0; s < 2 && status == TRI_OK; s++) status = open_side(c, s, err);
  if (status == TRI_OK) status = read_text(c, err);
  if (status == TRI_OK && !(c->batch = malloc(c->rows * sizeof *c->batch))) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  int64_t start = tri_clock_ms();
  tri_progress progress = tri_progress_begin("comparing");
  for (size_t w = 0; w < c->windows && status == TRI_OK; w++) {
    status = compare_window(c, c->ids.data + w * (size_t)context, err);
    tri_progress_update(&progress, w + 1, c->windows);
  }
  tri_progress_end(&progress);
  c->seconds = (double)(tri_clock_ms() - start) / 1000;
  return status;
}

static void close_all(comparison *c) {
  for (int s = 0; s < 2; s++) {
    side *x = &c->sides[s];
    for (int i = 0; i < x->n_stages; i++) tri_stage_close(&x->stages[i]);
    tri_model_close(&x->model);
    free(x->hidden), free(x->logits), free(x->bytes);
  }
  tri_pool_destroy(&c->pool);
  tri_ids_free(&c->ids);
  free(c->batch);
}

static json_t *side_json(const comparison *c, int s) {
  json_t *doc = json_pack("{s:s, s:s, s:i, s:f}", "model", c->sides[s].path, "kv", kv_names[s], "stages", c->sides[s].n_stages,
                          "nll_per_token", c->nll[s] / (double)c->count);
  if (wire_names[s]) json_object_set_new(doc, "wire", json_string(wire_names[s]));
  return doc;
}

static void report(const comparison *c) {
  double n = (double)c->count, kl = c->kl / n, error = tri_eval_error(kl, c->kl_squares / n, n), top = (double)c->same_top / n;
  double loss = (c->nll[1] - c->nll[0]) / n;
  if (as_json) {
    json_t *doc = json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f}", "a", side_json(c, 0), "b", side_json(c, 1),
                            "mean_kl", kl, "mean_kl_error", error, "max_kl", c->most_kl, "max_logit_difference", c->most_difference,
                            "same_top", top, "nll_difference", loss, "predictions", (json_int_t)c->count, "ctx", (json_int_t)context,
                            "seconds", c->seconds);
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
    return;
  }
  for (int s = 0; s < 2; s++) {
    printf("%c  %s, KV %s", 'A' + s, c->sides[s].path, kv_names[s]);
    if (wire_names[s]) printf(", %d stages over %s", c->sides[s].n_stages, wire_names[s]);
    printf("\n   NLL per token        %.6f\n", c->nll[s] / n);
  }
  printf("\nNLL, B - A              %+.6f (%+.3f %%)\nmean KL(A || B)         %.3e ± %.1e\nlargest KL              %.3e\n", loss,
         100 * loss * n / c->nll[0], kl, error, c->most_kl);
  printf("largest logit change    %.4g\nsame likeliest token    %.3f %%\n", c->most_difference, 100 * top);
  printf("predictions             %zu in %zu windows of %lld\ntime                    %.1f s\n", c->count, c->windows, (long long)context,
         c->seconds);
}

int tri_cli_compare(int argc, char **argv) {
  int code, n;
  if (!tri_cli_parse(&spec, argc, argv, 1, 2, &n, &code)) return code;
  tri_error err = {0};
  static comparison c;
  tri_status status = text_path ? TRI_OK : tri_status_fail(&err, TRI_E_INVALID, "a text is needed: --text FILE");
  c.sides[0].path = argv[1], c.sides[1].path = argv[n];
  if (status == TRI_OK) status = compare(&c, &err);
  if (status == TRI_OK) report(&c);
  close_all(&c);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
