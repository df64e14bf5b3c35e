/* SPDX-License-Identifier: MIT */
#include "cli/eval.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "engine/sampler.h"

static const char *model_path, *text_path, *kv_name = "f16", *wire_name = "int8";
static int64_t threads, context = 512, most_windows, workers;
static bool as_json;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"text", 0, TRI_ARG_STRING, &text_path, "FILE", "The text to predict; - reads standard input.", 0, 0},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Tokens in a window (default 512).", 2, 1 << 20},
    {"windows", 0, TRI_ARG_INT, &most_windows, "N", "Stop after N windows (default: all).", 1, 1e12},
    {"workers", 'w', TRI_ARG_INT, &workers, "K", "Score over a cluster of K worker processes on this machine (default: in this process).",
     1, TRI_CLUSTER_WORKERS},
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "With --workers: rows between stages as int8, f16 or f32 (default int8).", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads, of each worker if there are (default: the cores that may be used).", 1,
     TRI_POOL_MAX_THREADS},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme eval",
    "Measure a model's loss on a text: mean negative log-likelihood per token in windows that do not overlap, each "
    "from position 0 without a begin-of-text token; the first token of a window is not predicted.",
    "-m FILE --text FILE [options]",
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --windows 20\n"
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --workers 3 --wire f32\n",
    args, sizeof args / sizeof *args};

enum { MAX_TEXT_BYTES = TRI_TOKENIZER_TEXT_BYTES, LOGIT_BYTES = 64 << 20 };

/* Options as values of their types, and the text as windows. */
typedef struct inputs {
  tri_ftype kv;
  tri_wire wire;
  tri_ids ids;
} inputs;

static tri_status read_windows(const tri_model *m, inputs *in, tri_eval *e, tri_error *err) {
  const tri_tokenizer *tokenizer;
  tri_buf text = {0};
  if (context > tri_model_shape(m)->context)
    return tri_status_fail(err, TRI_E_INVALID, "--ctx %lld: the model's context is %d", (long long)context, tri_model_shape(m)->context);
  tri_status status = tri_model_need_tokenizer(m, &tokenizer, err);
  if (status == TRI_OK) status = tri_file_read(&text, text_path, MAX_TEXT_BYTES, err);
  if (status == TRI_OK) status = tri_tokenizer_encode(tokenizer, (const char *)text.data, text.len, false, &in->ids, err);
  tri_buf_free(&text);
  if (status != TRI_OK) return status;
  size_t windows = in->ids.len / (size_t)context;
  if (most_windows && windows > (size_t)most_windows) windows = (size_t)most_windows;
  if (windows == 0)
    return tri_status_fail(err, TRI_E_INVALID, "%s: %zu tokens are less than one window of %lld", text_path, in->ids.len,
                           (long long)context);
  *e = (tri_eval){.ids = in->ids.data, .windows = windows, .context = (size_t)context};
  return TRI_OK;
}

/* In rows few enough for the logits buffer. */
static tri_status score_window(tri_single *s, tri_sampler *sampler, float *logits, size_t rows_at_once, const int32_t *ids, size_t n,
                               double *nll, tri_error *err) {
  size_t vocab = (size_t)tri_model_shape(s->model)->vocab;
  for (size_t i = 0; i + 1 < n; i += rows_at_once) {
    size_t rows = n - 1 - i < rows_at_once ? n - 1 - i : rows_at_once;
    tri_status status = tri_single_feed_all(s, 0, (int32_t)i, ids + i, rows, logits, err);
    if (status != TRI_OK) return status;
    for (size_t r = 0; r < rows; r++) *nll -= (double)tri_sampler_logprob(sampler, logits + r * vocab, ids[i + r + 1]);
  }
  return TRI_OK;
}

static tri_status score_here(tri_eval *e, tri_single *s, tri_progress *progress, tri_error *err) {
  size_t vocab = (size_t)tri_model_shape(s->model)->vocab, rows = LOGIT_BYTES / (vocab * sizeof(float));
  size_t most = (size_t)tri_stage_get_spec(s->stage)->max_rows;
  rows = rows < 1 ? 1 : rows > most ? most : rows;
  float *logits = malloc(rows * vocab * sizeof *logits);
  tri_sampler *sampler = NULL;
  tri_status status = logits ? tri_sampler_create(&sampler, vocab, s->kernels, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (size_t w = 0; status == TRI_OK && w < e->windows; w++) {
    double nll = 0;
    status = score_window(s, sampler, logits, rows, e->ids + w * e->context, e->context, &nll, err);
    e->nll += nll;
    tri_progress_update(progress, w + 1, e->windows);
  }
  tri_sampler_destroy(&sampler);
  free(logits);
  return status;
}

static tri_status evaluate(tri_eval *e, inputs *in, double *seconds, tri_error *err) {
  tri_single s = {0};
  tri_model *m = NULL;
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context, .kv_type = in->kv, .progress = tri_progress_update,
                          .progress_arg = &progress};
  tri_status status = workers ? tri_model_open(&m, model_path, err) : tri_single_open(&s, model_path, &o, err);
  tri_progress_end(&progress);
  if (status == TRI_OK) status = read_windows(workers ? m : s.model, in, e, err);
  tri_model_close(&m);
  int64_t start = tri_clock_ms();
  progress = tri_progress_begin("evaluating");
  tri_cluster_options cluster = {.model_path = model_path, .workers = (int)workers, .threads = (int)threads, .wire = in->wire,
                                 .kv_type = in->kv, .context = (int)context};
  if (status == TRI_OK) status = workers ? tri_eval_cluster(e, &cluster, &progress, err) : score_here(e, &s, &progress, err);
  tri_progress_end(&progress);
  *seconds = (double)(tri_clock_ms() - start) / 1000;
  tri_single_close(&s);
  return status;
}

static void report(const tri_eval *e, double seconds) {
  double count = (double)e->windows * (double)(e->context - 1), nll = e->nll / count;
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:s, s:I, s:f, s:f}", "model", model_path, "nll_per_token", nll, "perplexity",
                            exp(nll), "predicted_tokens", (json_int_t)count, "windows", (json_int_t)e->windows, "ctx", (json_int_t)context,
                            "kv", kv_name, "workers", (json_int_t)workers, "seconds", seconds, "tokens_per_second", count / seconds);
    if (workers) json_object_set_new(doc, "wire", json_string(wire_name));
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
    return;
  }
  printf("NLL per token     %.6f\nperplexity        %.4f\npredicted tokens  %.0f in %zu windows of %lld\n"
         "time              %.1f s, %.0f tokens/s\n", nll,
         exp(nll), count, e->windows, (long long)context, seconds, count / seconds);
}

int tri_cli_eval(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_eval e = {0};
  inputs in = {0};
  double seconds = 0;
  tri_status status = TRI_OK;
  if (!model_path || !text_path) status = tri_status_fail(&err, TRI_E_INVALID, "a model and a text are needed: -m FILE --text FILE");
  if (status == TRI_OK) status = tri_kv_parse(kv_name, &in.kv, &err);
  if (status == TRI_OK) status = tri_wire_parse(wire_name, &in.wire, &err);
  if (status == TRI_OK) status = evaluate(&e, &in, &seconds, &err);
  if (status == TRI_OK) report(&e, seconds);
  tri_ids_free(&in.ids);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
