/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "engine/sampler.h"

static const char *model_path, *text_path, *kv_name = "f16";
static int64_t threads, context = 512, most_windows;
static bool as_json;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"text", 0, TRI_ARG_STRING, &text_path, "FILE", "The text to predict; - reads standard input.", 0, 0},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Tokens in a window (default 512).", 2, 1 << 20},
    {"windows", 0, TRI_ARG_INT, &most_windows, "N", "Stop after N windows (default: all).", 1, 1e12},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16 or f32 (default f16).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme eval",
    "Measure a model's loss on a text: mean negative log-likelihood per token in windows that do not overlap, each "
    "from position 0 without a begin-of-text token; the first token of a window is not predicted.",
    "-m FILE --text FILE [options]", "  trireme eval -m models/story-bitnet.gguf --text book.txt --windows 20\n", args, sizeof args / sizeof *args};

enum { MAX_TEXT_BYTES = 1 << 30, LOGIT_BYTES = 64 << 20 };

/* logprobs[i] = log p(ids[i + 1] | ids[0..i]), i < n - 1: in rows that keep the logits buffer small */
static tri_status score_window(tri_single *s, tri_sampler *sampler, float *logits, size_t rows_at_once, const int32_t *ids, size_t n,
                               double *total, tri_error *err) {
  size_t vocab = (size_t)tri_model_shape(s->model)->vocab;
  for (size_t i = 0; i + 1 < n; i += rows_at_once) {
    size_t rows = n - 1 - i < rows_at_once ? n - 1 - i : rows_at_once;
    tri_status status = tri_single_feed_all(s, 0, (int32_t)i, ids + i, rows, logits, err);
    if (status != TRI_OK) return status;
    for (size_t r = 0; r < rows; r++) *total -= (double)tri_sampler_logprob(sampler, logits + r * vocab, ids[i + r + 1]);
  }
  return TRI_OK;
}

typedef struct evaluation {
  tri_single single;
  tri_buf text;
  tri_ids ids;
  tri_sampler *sampler;
  float *logits;
  size_t rows_at_once, windows;
  double nll; /* sum */
  int64_t start_ms;
} evaluation;

static tri_status prepare(evaluation *e, tri_error *err) {
  tri_ftype kv;
  const tri_tokenizer *tokenizer;
  if (!model_path || !text_path) return tri_status_fail(err, TRI_E_INVALID, "a model and a text are needed: -m FILE --text FILE");
  tri_status status = tri_cli_kv_type(kv_name, &kv, err);
  if (status == TRI_OK) status = tri_file_read(&e->text, text_path, MAX_TEXT_BYTES, err);
  if (status != TRI_OK) return status;
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context, .max_rows = (int32_t)(context < 256 ? context : 256), .kv_type = kv,
                          .progress = tri_progress_update, .progress_arg = &progress};
  status = tri_single_open(&e->single, model_path, &o, err);
  tri_progress_end(&progress);
  if (status == TRI_OK) status = tri_model_need_tokenizer(e->single.model, &tokenizer, err);
  if (status == TRI_OK) status = tri_tokenizer_encode(tokenizer, (const char *)e->text.data, e->text.len, false, &e->ids, err);
  if (status != TRI_OK) return status;
  if (context > tri_stage_get_spec(e->single.stage)->context)
    return tri_status_fail(err, TRI_E_INVALID, "--ctx %lld: the model's context is %d", (long long)context, tri_model_shape(e->single.model)->context);
  e->windows = e->ids.len / (size_t)context;
  if (most_windows && e->windows > (size_t)most_windows) e->windows = (size_t)most_windows;
  if (e->windows == 0)
    return tri_status_fail(err, TRI_E_INVALID, "%s: %zu tokens are less than one window of %lld", text_path, e->ids.len, (long long)context);
  size_t vocab = (size_t)tri_model_shape(e->single.model)->vocab, fit = LOGIT_BYTES / (vocab * sizeof *e->logits);
  e->rows_at_once = (size_t)o.max_rows < fit ? (size_t)o.max_rows : fit ? fit : 1;
  if (!(e->logits = malloc(e->rows_at_once * vocab * sizeof *e->logits))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  return tri_sampler_create(&e->sampler, vocab, e->single.kernels, err);
}

static void report(const evaluation *e) {
  double count = (double)e->windows * (double)(context - 1), nll = e->nll / count, seconds = (double)(tri_clock_ms() - e->start_ms) / 1000;
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:s, s:f, s:f}", "model", model_path, "nll_per_token", nll, "perplexity", exp(nll),
                            "predicted_tokens", (json_int_t)count, "windows", (json_int_t)e->windows, "ctx", (json_int_t)context, "kv", kv_name,
                            "seconds", seconds, "tokens_per_second", count / seconds);
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
    return;
  }
  printf("NLL per token     %.6f\nperplexity        %.4f\npredicted tokens  %.0f in %zu windows of %lld\ntime              %.1f s, %.0f tokens/s\n", nll,
         exp(nll), count, e->windows, (long long)context, seconds, count / seconds);
}

int tri_cli_eval(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  evaluation e = {0};
  tri_status status = prepare(&e, &err);
  e.start_ms = tri_clock_ms();
  tri_progress progress = tri_progress_begin("evaluating");
  for (size_t w = 0; status == TRI_OK && w < e.windows; w++) {
    status = score_window(&e.single, e.sampler, e.logits, e.rows_at_once, e.ids.data + w * (size_t)context, (size_t)context, &e.nll, &err);
    tri_progress_update(&progress, w + 1, e.windows);
  }
  tri_progress_end(&progress);
  if (status == TRI_OK) report(&e);
  tri_sampler_destroy(&e.sampler);
  tri_single_close(&e.single);
  tri_ids_free(&e.ids);
  tri_buf_free(&e.text);
  free(e.logits);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
