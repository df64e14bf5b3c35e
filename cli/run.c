/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/sampling.h"
#include "engine/stream.h"

static const char *model_path, *prompt_option, *kv_name = "f16";
static int64_t threads, context;
static bool no_bos, no_prompt, special, verbose;
static tri_sampling_args sampling = TRI_SAMPLING_ARGS_DEFAULTS;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"prompt", 'p', TRI_ARG_STRING, &prompt_option, "TEXT", "The text to go on from; - reads standard input.", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, 1 << 20},
    TRI_SAMPLING_ARGS(sampling),
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"special", 0, TRI_ARG_FLAG, &special, NULL, "Read tokens such as <|eot_id|> in the prompt as such.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Do not put the begin-of-text token before the prompt.", 0, 0},
    {"no-prompt", 0, TRI_ARG_FLAG, &no_prompt, NULL, "Print the answer only, not the prompt before it.", 0, 0},
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show load time, seed and kernels on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme run", "Generate text in this process, without a cluster.", "-m FILE -p PROMPT [options]",
    "  trireme run -m models/story-bitnet.gguf -p \"Once upon a time\" -n 100\n"
    "  trireme run -m model.gguf -p - -n 200 -t 4 --temp 0.7 < question.txt\n",
    args, sizeof args / sizeof *args};

typedef struct run {
  tri_single single;
  const tri_tokenizer *tokenizer;
  tri_sampler *sampler;
  tri_stream *stream;
  tri_sampler_params params;
  tri_buf prompt, text;
  tri_ids ids;
  float *logits;
  size_t prompt_tokens;
  int64_t start_us, prefilled_us, end_us;
} run;

static tri_status prepare(run *r, tri_error *err) {
  tri_ftype kv;
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
  tri_status status = tri_kv_parse(kv_name, &kv, err);
  if (status == TRI_OK) status = tri_sampling_resolve(&sampling, &r->params, err);
  if (status == TRI_OK) status = tri_sampling_prompt(prompt_option, &r->prompt, err);
  if (status != TRI_OK) return status;
  int64_t start = tri_clock_ms();
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context, .kv_type = kv, .progress = tri_progress_update,
                          .progress_arg = &progress};
  status = tri_single_open(&r->single, model_path, &o, err);
  tri_progress_end(&progress);
  if (status == TRI_OK) status = tri_model_need_tokenizer(r->single.model, &r->tokenizer, err);
  if (status != TRI_OK) return status;
  size_t vocab = (size_t)tri_model_shape(r->single.model)->vocab;
  if (!(r->logits = malloc(vocab * sizeof *r->logits))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (verbose)
    fprintf(stderr, "loaded in %.2f s; %s kernels, %d threads, seed %llu\n", (double)(tri_clock_ms() - start) / 1000,
            r->single.kernels->name, tri_pool_threads(r->single.pool), (unsigned long long)r->params.seed);
  status = tri_sampler_create(&r->sampler, vocab, r->single.kernels, err);
  if (status == TRI_OK) status = tri_stream_open(&r->stream, r->tokenizer, sampling.stops.items, (size_t)sampling.stops.count, err);
  return status;
}

static tri_status tokenise(run *r, tri_error *err) {
  int32_t limit = tri_stage_get_spec(r->single.stage)->context;
  tri_status status = TRI_OK;
  if (!no_bos && tri_tokenizer_adds_bos(r->tokenizer)) status = tri_ids_push(&r->ids, tri_tokenizer_bos(r->tokenizer));
  if (status == TRI_OK) status = tri_tokenizer_encode(r->tokenizer, (const char *)r->prompt.data, r->prompt.len, special, &r->ids, err);
  if (status != TRI_OK) return status;
  if (r->ids.len == 0) return tri_status_fail(err, TRI_E_INVALID, "the prompt is empty");
  if (r->ids.len >= (size_t)limit)
    return tri_status_fail(err, TRI_E_INVALID,
                           "the prompt has %zu tokens, which leaves no room in the context of %d; shorten it or raise --ctx", r->ids.len,
                           limit);
  r->prompt_tokens = r->ids.len;
  return TRI_OK;
}

static void show(tri_buf *text) {
  if (text->len) fwrite(text->data, 1, text->len, stdout), fflush(stdout);
  tri_buf_clear(text);
}

static tri_status generate(run *r, tri_error *err) {
  int32_t limit = tri_stage_get_spec(r->single.stage)->context;
  r->start_us = tri_clock_us();
  if (!no_prompt) fwrite(r->prompt.data, 1, r->prompt.len, stdout), fflush(stdout);
  tri_status status = tri_single_feed(&r->single, 0, 0, r->ids.data, r->ids.len, r->logits, err);
  bool stopped = false;
  for (int64_t i = 0; status == TRI_OK && !stopped && i < sampling.predict; i++) {
    tri_sample s = tri_sampler_pick(r->sampler, &r->params, r->logits, r->ids.data, r->ids.len, r->ids.len);
    if (i == 0) r->prefilled_us = tri_clock_us();
    if ((status = tri_ids_push(&r->ids, s.token)) != TRI_OK) break;
    if (tri_tokenizer_is_end(r->tokenizer, s.token) && !sampling.ignore_end) break;
    status = tri_stream_push(r->stream, s.token, &r->text, &stopped);
    show(&r->text);
    if (r->ids.len >= (size_t)limit) break;
    if (status == TRI_OK && !stopped && i + 1 < sampling.predict)
      status = tri_single_feed(&r->single, 0, (int32_t)r->ids.len - 1, &s.token, 1, r->logits, err);
  }
  if (status == TRI_OK) status = tri_stream_finish(r->stream, &r->text);
  show(&r->text);
  putchar('\n');
  r->end_us = tri_clock_us();
  return status;
}

static void report(const run *r) {
  fputc('\n', stderr);
  tri_cli_print_speed(stderr, r->prompt_tokens, (uint64_t)(r->prefilled_us - r->start_us), r->ids.len - r->prompt_tokens,
                      (uint64_t)(r->end_us - r->prefilled_us));
}

int tri_cli_run(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  run r = {0};
  tri_status status = prepare(&r, &err);
  if (status == TRI_OK) status = tokenise(&r, &err);
  if (status == TRI_OK) status = generate(&r, &err);
  if (status == TRI_OK) report(&r);
  tri_stream_close(&r.stream);
  tri_sampler_destroy(&r.sampler);
  tri_single_close(&r.single);
  tri_ids_free(&r.ids);
  tri_buf_free(&r.prompt);
  tri_buf_free(&r.text);
  free(r.logits);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
