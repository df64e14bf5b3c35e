/* SPDX-License-Identifier: MIT */
#include "cli/eval.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "engine/sampler.h"

static const char *model_path, *text_path, *choices_path, *method = "plain", *kv_name = "f16", *wire_name = "int8";
static int64_t threads, context, stride, skip = -1, most_windows, workers;
static bool as_json, with_bos;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"text", 0, TRI_ARG_STRING, &text_path, "FILE", "The text to predict; - reads standard input.", 0, 0},
    {"choices", 0, TRI_ARG_STRING, &choices_path, "FILE",
     "Instead of a text, questions with choices, one JSON object a line: context, choices (a list), label (the right one's number from 0, "
     "or its letter); or as the files of HellaSwag (ctx, endings, label) and ARC (question, choices, answerKey) have them.", 0, 0},
    {"method", 0, TRI_ARG_STRING, &method, "NAME",
     "How the loss is counted. plain: windows of 512, all predictions. llama.cpp: as its perplexity tool, windows of 512 that begin with "
     "BOS if the model wants it, the second half of each. bitnet: as the BitNet b1.58 papers' script, windows of 2048, all predictions "
     "(default plain).", 0, 0},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Tokens in a window (default: the method's, at most the model's context).", 2, 1 << 20},
    {"stride", 0, TRI_ARG_INT, &stride, "N",
     "Tokens from one window to the next; predictions that the one before has counted are context (default: --ctx).", 1, 1 << 20},
    {"skip", 0, TRI_ARG_INT, &skip, "N", "Predictions at the start of each window that don't count (default: the method's).", 0, 1 << 20},
    {"bos", 0, TRI_ARG_FLAG, &with_bos, NULL, "Put the begin-of-text token in place of each window's first (llama.cpp does).", 0, 0},
    {"windows", 0, TRI_ARG_INT, &most_windows, "N", "Stop after N windows, or questions (default: all).", 1, 1e12},
    {"workers", 'w', TRI_ARG_INT, &workers, "K", "Score a text over a cluster of K worker processes here (default: in this process).", 1,
     TRI_CLUSTER_WORKERS},
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "With --workers: rows between stages as int8, int4, f16 or f32 (default int8).", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads, of each worker if there are (default: the cores that may be used).", 1,
     TRI_POOL_MAX_THREADS},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme eval",
    "Measure a model's loss on a text, as negative log-likelihood per token and perplexity with their standard errors, or how often it "
    "finds the right one of several choices.",
    "-m FILE --text FILE | --choices FILE [options]",
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --windows 20\n"
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --method llama.cpp\n"
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --ctx 256 --stride 128\n"
    "  trireme eval -m models/story-bitnet.gguf --text book.txt --workers 3 --wire f32\n"
    "  trireme eval -m model.gguf --choices arc_easy.jsonl\n",
    args, sizeof args / sizeof *args};

enum { MAX_TEXT_BYTES = TRI_TOKENIZER_TEXT_BYTES, LOGIT_BYTES = 64 << 20 };

/* Options as values of their types, and the text as windows. */
typedef struct inputs {
  tri_ftype kv;
  tri_wire wire;
  tri_ids ids;
} inputs;

/* The options' plan for this model. */
static tri_status make_plan(const tri_model *m, const tri_tokenizer *t, tri_eval_plan *out, tri_error *err) {
  bool llama = strcmp(method, "llama.cpp") == 0, bitnet = strcmp(method, "bitnet") == 0;
  int64_t most = tri_model_shape(m)->context, usual = bitnet ? 2048 : 512;
  if (!llama && !bitnet && strcmp(method, "plain") != 0)
    return tri_status_fail(err, TRI_E_INVALID, "--method %s: known are plain, llama.cpp and bitnet", method);
  if (context > most) return tri_status_fail(err, TRI_E_INVALID, "--ctx %lld: the model's context is %d", (long long)context, (int)most);
  if (!context) context = usual < most ? usual : most;
  if (!stride) stride = context;
  if (stride > context)
    return tri_status_fail(err, TRI_E_INVALID, "--stride %lld: it is at most --ctx, %lld", (long long)stride, (long long)context);
  if (skip < 0) skip = llama ? context / 2 : 0;
  if (skip > context - 2)
    return tri_status_fail(err, TRI_E_INVALID, "--skip %lld: a window has %lld predictions", (long long)skip, (long long)context - 1);
  int32_t bos = with_bos || (llama && tri_tokenizer_adds_bos(t)) ? tri_tokenizer_bos(t) : -1;
  if (with_bos && bos < 0) return tri_status_fail(err, TRI_E_UNSUPPORTED, "--bos: the model has no begin-of-text token");
  *out = (tri_eval_plan){.context = (size_t)context, .stride = (size_t)stride, .skip = (size_t)skip, .bos = bos};
  return TRI_OK;
}

tri_status tri_eval_read(const char *path, const tri_tokenizer *t, tri_ids *out, tri_error *err) {
  tri_buf text = {0};
  tri_status status = tri_file_read(&text, path, MAX_TEXT_BYTES, err);
  if (status == TRI_OK) status = tri_tokenizer_encode(t, (const char *)text.data, text.len, false, out, err);
  tri_buf_free(&text);
  return status;
}

/* llama.cpp puts BOS before the text too, so that its windows are a token ahead. */
static tri_status read_windows(const tri_model *m, inputs *in, tri_eval *e, tri_error *err) {
  const tri_tokenizer *tokenizer;
  tri_status status = tri_model_need_tokenizer(m, &tokenizer, err);
  if (status == TRI_OK) status = make_plan(m, tokenizer, &e->plan, err);
  if (status == TRI_OK && e->plan.bos >= 0 && tri_ids_push(&in->ids, e->plan.bos) != TRI_OK)
    status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = tri_eval_read(text_path, tokenizer, &in->ids, err);
  if (status != TRI_OK) return status;
  e->ids = in->ids.data;
  e->windows = tri_eval_windows(&e->plan, in->ids.len);
  if (most_windows && e->windows > (size_t)most_windows) e->windows = (size_t)most_windows;
  if (e->windows) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s: %zu tokens are less than one window of %lld", text_path, in->ids.len, (long long)context);
}

size_t tri_eval_windows(const tri_eval_plan *p, size_t n) { return n < p->context ? 0 : 1 + (n - p->context) / p->stride; }

void tri_eval_window(const tri_eval *e, size_t w, int32_t *out) {
  memcpy(out, e->ids + w * e->plan.stride, e->plan.context * sizeof *out);
  if (e->plan.bos >= 0) out[0] = e->plan.bos;
}

void tri_eval_add(const tri_eval *e, size_t w, size_t i, float logprob, double *nll, double *squares, size_t *count) {
  const tri_eval_plan *p = &e->plan;
  bool seen = w && i + p->stride + 1 < p->context; /* the window before has predicted this token */
  double loss = -(double)logprob;
  if (i < p->skip || seen) return;
  *nll += loss, *squares += loss * loss, ++*count;
}

/* In rows few enough for the logits buffer. */
static tri_status score_window(tri_eval *e, size_t w, tri_single *s, tri_sampler *sampler, float *logits, size_t rows_at_once,
                               const int32_t *ids, tri_error *err) {
  size_t vocab = (size_t)tri_model_shape(s->model)->vocab, n = e->plan.context;
  double nll = 0, squares = 0;
  for (size_t i = 0; i + 1 < n; i += rows_at_once) {
    size_t rows = n - 1 - i < rows_at_once ? n - 1 - i : rows_at_once;
    tri_status status = tri_single_feed_all(s, 0, (int32_t)i, ids + i, rows, logits, err);
    if (status != TRI_OK) return status;
    for (size_t r = 0; r < rows; r++)
      tri_eval_add(e, w, i + r, tri_sampler_logprob(sampler, logits + r * vocab, ids[i + r + 1]), &nll, &squares, &e->count);
  }
  e->nll += nll, e->squares += squares;
  return TRI_OK;
}

static tri_status score_here(tri_eval *e, tri_single *s, tri_progress *progress, tri_error *err) {
  size_t vocab = (size_t)tri_model_shape(s->model)->vocab, rows = LOGIT_BYTES / (vocab * sizeof(float));
  size_t most = (size_t)tri_stage_get_spec(s->stage)->max_rows;
  rows = rows < 1 ? 1 : rows > most ? most : rows;
  float *logits = malloc(rows * vocab * sizeof *logits);
  int32_t *ids = malloc(e->plan.context * sizeof *ids);
  tri_sampler *sampler = NULL;
  tri_status status = logits && ids ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = tri_sampler_create(&sampler, vocab, s->kernels, err);
  for (size_t w = 0; status == TRI_OK && w < e->windows; w++) {
    tri_eval_window(e, w, ids);
    status = score_window(e, w, s, sampler, logits, rows, ids, err);
    tri_progress_update(progress, w + 1, e->windows);
  }
  tri_sampler_destroy(&sampler);
  free(logits), free(ids);
  return status;
}

/* What is measured: a text's windows or questions, and in what time. */
typedef struct results {
  tri_eval text;
  tri_choices choices;
  double seconds;
} results;

static tri_status score_text(results *r, inputs *in, tri_single *s, tri_progress *progress, tri_error *err) {
  tri_model *m = NULL;
  tri_status status = workers ? tri_model_open(&m, model_path, err) : TRI_OK;
  if (status == TRI_OK) status = read_windows(workers ? m : s->model, in, &r->text, err);
  tri_model_close(&m);
  tri_cluster_options cluster = {.model_path = model_path, .workers = (int)workers, .threads = (int)threads, .wire = in->wire,
                                 .kv_type = in->kv, .context = (int)context};
  if (status == TRI_OK) status = workers ? tri_eval_cluster(&r->text, &cluster, progress, err) : score_here(&r->text, s, progress, err);
  return status;
}

static tri_status evaluate(results *r, inputs *in, tri_error *err) {
  tri_single s = {0};
  const tri_tokenizer *t;
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context, .kv_type = in->kv, .progress = tri_progress_update,
                          .progress_arg = &progress};
  tri_status status = workers ? TRI_OK : tri_single_open(&s, model_path, &o, err);
  tri_progress_end(&progress);
  int64_t start = tri_clock_ms();
  progress = tri_progress_begin("evaluating");
  if (status == TRI_OK && choices_path) status = tri_model_need_tokenizer(s.model, &t, err);
  if (status == TRI_OK)
    status = choices_path ? tri_choices_score(&r->choices, choices_path, (size_t)most_windows, &s, t, &progress, err)
                          : score_text(r, in, &s, &progress, err);
  tri_progress_end(&progress);
  r->seconds = (double)(tri_clock_ms() - start) / 1000;
  tri_single_close(&s);
  return status;
}

static void print_json(json_t *doc) {
  json_dumpf(doc, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(doc);
}

double tri_eval_error(double mean, double mean_square, double n) {
  double variance = mean_square - mean * mean;
  return n > 1 && variance > 0 ? sqrt(variance / (n - 1)) : 0;
}

static void report_text(const results *r) {
  const tri_eval *e = &r->text;
  double count = (double)e->count, nll = e->nll / count, error = tri_eval_error(nll, e->squares / count, count);
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:I, s:f, s:f}", "model", model_path,
                            "method", method, "nll_per_token", nll, "nll_error", error, "perplexity", exp(nll),
                            "perplexity_error", error * exp(nll), "predicted_tokens", (json_int_t)e->count, "windows",
                            (json_int_t)e->windows, "ctx", (json_int_t)context,
                            "stride", (json_int_t)stride, "skip", (json_int_t)skip, "bos", e->plan.bos >= 0, "kv", kv_name, "workers",
                            (json_int_t)workers, "seconds", r->seconds, "tokens_per_second", count / r->seconds);
    if (workers) json_object_set_new(doc, "wire", json_string(wire_name));
    print_json(doc);
    return;
  }
  printf("NLL per token     %.6f ± %.6f\nperplexity        %.4f ± %.4f\npredicted tokens  %.0f in %zu windows of %lld%s",
         nll, error, exp(nll), error * exp(nll), count, e->windows, (long long)context, e->plan.bos >= 0 ? ", each with BOS first" : "");
  if (stride < context) printf(", %lld apart", (long long)stride);
  if (skip) printf(", without the first %lld of each", (long long)skip);
  printf("\ntime              %.1f s, %.0f tokens/s\n", r->seconds, count / r->seconds);
}

static void report_choices(const results *r) {
  const tri_choices *c = &r->choices;
  double n = (double)c->questions, a = (double)c->right / n, b = (double)c->right_by_length / n;
  double a_error = tri_eval_error(a, a, n), b_error = tri_eval_error(b, b, n);
  if (as_json)
    print_json(json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:s, s:f}", "model", model_path, "questions", (json_int_t)c->questions,
                         "accuracy", a, "accuracy_error", a_error, "accuracy_by_length", b, "accuracy_by_length_error", b_error, "kv",
                         kv_name, "seconds", r->seconds));
  else
    printf("questions             %zu\naccuracy              %.4f ± %.4f\naccuracy by length    %.4f ± %.4f\n"
           "time                  %.1f s\n", c->questions, a, a_error, b, b_error, r->seconds);
}

static tri_status check_options(inputs *in, tri_error *err) {
  if (!model_path || !text_path == !choices_path)
    return tri_status_fail(err, TRI_E_INVALID, "a model and a text or questions are needed: -m FILE --text FILE, or --choices FILE");
  if (choices_path && workers) return tri_status_fail(err, TRI_E_INVALID, "--choices are scored in this process: leave --workers out");
  tri_status status = tri_kv_parse(kv_name, &in->kv, err);
  return status == TRI_OK ? tri_wire_parse(wire_name, &in->wire, err) : status;
}

int tri_cli_eval(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  results r = {0};
  inputs in = {0};
  tri_status status = check_options(&in, &err);
  if (status == TRI_OK) status = evaluate(&r, &in, &err);
  if (status == TRI_OK) (choices_path ? report_choices : report_text)(&r);
  tri_ids_free(&in.ids);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
