/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "engine/draw.h"
#include "engine/stream.h"

static const char *model_path, *prompt_option, *kv_name = "f16";
static int64_t threads, context;
static bool as_json, no_bos, no_prompt, special, verbose;
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
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document at the end.", 0, 0},
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show load time, seed and kernels on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme run", "Generate text in this process, without a cluster.", "-m FILE -p PROMPT [options]",
    "  trireme run -m models/story-bitnet.gguf -p \"Once upon a time\" -n 100\n"
    "  trireme run -m model.gguf -p - -n 200 -t 4 --temp 0.7 < question.txt\n"
    "  trireme run -m model.gguf -p \"One, two,\" --temp 0 --stop five --logprobs 3 --logit-bias 42-inf\n",
    args, sizeof args / sizeof *args};

typedef struct run {
  tri_single single;
  const tri_tokenizer *tokenizer;
  tri_sampler *sampler;
  tri_stream *stream;
  tri_msg_submit request;
  tri_draw draw;
  tri_lexicon *lexicon;
  tri_buf payload, fresh; /* fresh: text that has not been shown */
  tri_ids ids;           /* prompt and answer */
  float *logits;
  tri_follow out;
} run;

static tri_status prepare(run *r, tri_error *err) {
  tri_ftype kv;
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
  tri_status status = tri_kv_parse(kv_name, &kv, err);
  if (status == TRI_OK) status = tri_sampling_resolve(&sampling, &r->request, &r->payload, err);
  if (status == TRI_OK) status = tri_sampling_prompt(prompt_option, &r->payload, err);
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
            r->single.kernels->name, tri_pool_threads(r->single.pool), (unsigned long long)r->request.sampling.seed);
  status = tri_sampler_check_tokens(&r->request.sampling, vocab, err);
  if (status == TRI_OK) status = tri_sampler_create(&r->sampler, vocab, r->single.kernels, err);
  if (status == TRI_OK) status = tri_stream_open(&r->stream, r->tokenizer, sampling.stops.items, (size_t)sampling.stops.count, err);
  return status;
}

static tri_status tokenise(run *r, tri_error *err) {
  int32_t limit = tri_stage_get_spec(r->single.stage)->context;
  tri_status status = TRI_OK;
  if (!no_bos && tri_tokenizer_adds_bos(r->tokenizer)) status = tri_ids_push(&r->ids, tri_tokenizer_bos(r->tokenizer));
  if (status == TRI_OK) status = tri_tokenizer_encode(r->tokenizer, (const char *)r->payload.data + r->request.grammar_bytes,
                                                        r->payload.len - r->request.grammar_bytes, special, &r->ids, err);
  if (status != TRI_OK) return status;
  if (r->ids.len == 0) return tri_status_fail(err, TRI_E_INVALID, "the prompt is empty");
  if (r->ids.len >= (size_t)limit)
    return tri_status_fail(err, TRI_E_INVALID,
                           "the prompt has %zu tokens, which leaves no room in the context of %d; shorten it or raise --ctx", r->ids.len,
                           limit);
  r->out.done.prompt_tokens = (uint32_t)r->ids.len;
  return TRI_OK;
}

static tri_status begin_answer(run *r, tri_error *err) {
  tri_buf gbnf = {0};
  if (r->request.grammar && sampling.ignore_end)
    return tri_status_fail(err, TRI_E_INVALID, "--ignore-eos: an answer that follows a grammar ends where the grammar does");
  tri_status status = tri_draw_grammar(r->request.grammar, r->payload.data, r->request.grammar_bytes, &gbnf, err);
  if (status == TRI_OK)
    tri_draw_begin(&r->draw, &r->request.sampling, r->out.done.prompt_tokens, (char *)gbnf.data, gbnf.len, &r->lexicon, r->tokenizer,
                   (size_t)tri_model_shape(r->single.model)->vocab);
  tri_buf_free(&gbnf);
  return status;
}

static void show(run *r) {
  tri_buf_append(&r->out.text, r->fresh.data, r->fresh.len);
  if (r->fresh.len && !as_json) fwrite(r->fresh.data, 1, r->fresh.len, stdout), fflush(stdout);
  tri_buf_clear(&r->fresh);
}

/* The next token, noted with all that is asked for. */
static tri_status pick(run *r, int32_t *token, tri_error *err) {
  tri_sample s, top[TRI_SAMPLER_TOP];
  int32_t tokens[TRI_SAMPLER_TOP];
  float logprobs[TRI_SAMPLER_TOP];
  size_t n_top, vocab = (size_t)tri_model_shape(r->single.model)->vocab;
  tri_status status = tri_draw_next(&r->draw, r->sampler, vocab, r->logits, r->ids.data, r->ids.len, &s, top, &n_top, err);
  if (status != TRI_OK) return status;
  for (size_t i = 0; i < n_top; i++) tokens[i] = top[i].token, logprobs[i] = top[i].logprob;
  *token = s.token;
  if (n_top) status = tri_scores_add(&r->out.scores, s, tokens, logprobs, n_top);
  if (status == TRI_OK) status = tri_ids_push(&r->out.ids, s.token);
  if (status == TRI_OK) status = tri_ids_push(&r->ids, s.token);
  return status == TRI_OK ? TRI_OK : tri_status_fail(err, status, "out of memory for the answer");
}

/* Why the token ends it, or TRI_DONE_COUNT if it does not; its text goes to the stream. */
static tri_status take(run *r, int32_t token, tri_done_reason *reason) {
  bool stopped = tri_sampler_holds(r->request.stop_tokens, r->request.n_stop_tokens, token);
  tri_status status = TRI_OK;
  *reason = TRI_DONE_COUNT;
  if (tri_tokenizer_is_end(r->tokenizer, token) && !r->request.ignore_end) return *reason = TRI_DONE_END, TRI_OK;
  if (!stopped) status = tri_stream_push(r->stream, token, &r->fresh, &stopped);
  show(r);
  size_t most = (size_t)tri_stage_get_spec(r->single.stage)->context;
  if (stopped) *reason = TRI_DONE_STOP;
  else if (r->out.ids.len >= r->request.predict || r->ids.len >= most) *reason = TRI_DONE_LENGTH;
  return status;
}

static tri_status generate(run *r, tri_error *err) {
  tri_msg_done *done = &r->out.done;
  int32_t token;
  int64_t start_us = tri_clock_us(), prefilled_us = 0;
  if (!no_prompt && !as_json) tri_follow_show_prompt(&r->out);
  tri_status status = tri_single_feed(&r->single, 0, 0, r->ids.data, r->ids.len, r->logits, err);
  for (done->reason = TRI_DONE_COUNT; status == TRI_OK;) {
    status = pick(r, &token, err);
    if (status != TRI_OK) return status;
    if (!prefilled_us) prefilled_us = tri_clock_us();
    if (take(r, token, &done->reason) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the answer");
    if (done->reason != TRI_DONE_COUNT) break;
    status = tri_single_feed(&r->single, 0, (int32_t)r->ids.len - 1, &token, 1, r->logits, err);
  }
  if (status != TRI_OK) return status;
  if (tri_stream_finish(r->stream, &r->fresh) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the answer");
  show(r);
  done->prefill_us = (uint64_t)(prefilled_us - start_us), done->decode_us = (uint64_t)(tri_clock_us() - prefilled_us);
  done->tokens = (uint32_t)r->out.ids.len;
  return TRI_OK;
}

static void report(const run *r) {
  if (as_json) {
    json_t *doc = tri_follow_json(&r->out);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(doc);
    return;
  }
  fputs("\n", stdout), fflush(stdout);
  fputc('\n', stderr);
  tri_follow_summary(&r->out, stderr);
}

int tri_cli_run(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  run r = {0};
  r.out.request = &r.request, r.out.payload = &r.payload;
  tri_status status = prepare(&r, &err);
  if (status == TRI_OK) status = tokenise(&r, &err);
  if (status == TRI_OK) status = begin_answer(&r, &err);
  if (status == TRI_OK) status = generate(&r, &err);
  if (status == TRI_OK) report(&r);
  tri_follow_free(&r.out);
  tri_draw_end(&r.draw);
  tri_lexicon_destroy(&r.lexicon);
  tri_stream_close(&r.stream);
  tri_sampler_destroy(&r.sampler);
  tri_single_close(&r.single);
  tri_ids_free(&r.ids);
  tri_buf_free(&r.payload);
  tri_buf_free(&r.fresh);
  free(r.logits);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
