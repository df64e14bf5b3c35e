/* SPDX-License-Identifier: MIT */
#include "cli/generate.h"

#include <poll.h>
#include <stdlib.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "engine/draw.h"
#include "engine/stream.h"

struct tri_generator {
  tri_single single;
  const tri_tokenizer *tokenizer;
  tri_sampler *sampler;
  tri_lexicon *lexicon;
  float *logits;
  tri_ids ids;    /* the prompt and the answer so far */
  size_t cached;  /* of these, how many the KV cache holds */
};

/* One answer at work. */
typedef struct answer {
  tri_generator *g;
  tri_follow *f;
  tri_draw draw;
  tri_stream *stream;
  tri_buf fresh; /* text that has not been shown */
  int interrupt_fd;
} answer;

tri_status tri_generator_open(tri_generator **out, const char *model_path, const tri_single_options *options, tri_error *err) {
  tri_generator *g = calloc(1, sizeof *g);
  if (!g) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_progress progress = tri_progress_begin("loading");
  tri_single_options o = *options;
  o.progress = tri_progress_update, o.progress_arg = &progress;
  tri_status status = tri_single_open(&g->single, model_path, &o, err);
  tri_progress_end(&progress);
  if (status == TRI_OK) status = tri_model_need_tokenizer(g->single.model, &g->tokenizer, err);
  if (status != TRI_OK) return tri_generator_close(&g), status;
  size_t vocab = (size_t)tri_model_shape(g->single.model)->vocab;
  status = tri_sampler_create(&g->sampler, vocab, g->single.kernels, err);
  if (status == TRI_OK && !(g->logits = malloc(vocab * sizeof *g->logits))) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status != TRI_OK) return tri_generator_close(&g), status;
  *out = g;
  return TRI_OK;
}

void tri_generator_close(tri_generator **generator) {
  tri_generator *g = *generator;
  if (!g) return;
  tri_lexicon_destroy(&g->lexicon);
  tri_sampler_destroy(&g->sampler);
  tri_single_close(&g->single);
  tri_ids_free(&g->ids);
  free(g->logits);
  free(g);
  *generator = NULL;
}

const tri_single *tri_generator_single(const tri_generator *g) { return &g->single; }
const tri_tokenizer *tri_generator_tokenizer(const tri_generator *g) { return g->tokenizer; }
int32_t tri_generator_context(const tri_generator *g) { return tri_stage_get_spec(g->single.stage)->context; }

/* --- the prompt --- */

tri_status tri_generator_prompt(const tri_generator *g, const tri_msg_submit *request, const tri_buf *payload, tri_ids *ids,
                                tri_error *err) {
  const uint8_t *bytes = payload->data + request->grammar_bytes;
  size_t len = payload->len - request->grammar_bytes;
  tri_status status = TRI_OK;
  int32_t id;
  if (!request->ids && !request->no_bos && tri_tokenizer_adds_bos(g->tokenizer))
    status = tri_ids_push(ids, tri_tokenizer_bos(g->tokenizer));
  for (size_t i = 0; request->ids && status == TRI_OK && i < len; i += sizeof id) {
    memcpy(&id, bytes + i, sizeof id);
    status = tri_ids_push(ids, id);
  }
  if (status != TRI_OK) return tri_status_fail(err, status, "out of memory for the prompt");
  return request->ids || !len ? TRI_OK : tri_tokenizer_encode(g->tokenizer, (const char *)bytes, len, request->special, ids, err);
}

static tri_status begin(answer *a, tri_error *err) {
  const tri_msg_submit *request = a->f->request;
  size_t vocab = (size_t)tri_model_shape(a->g->single.model)->vocab;
  const char *stops[TRI_MAX_STOPS];
  tri_buf gbnf = {0};
  if (request->grammar && request->ignore_end)
    return tri_status_fail(err, TRI_E_INVALID, "--ignore-eos: an answer that follows a grammar ends where the grammar does");
  for (uint32_t i = 0; i < request->n_stops; i++) stops[i] = request->stops[i];
  tri_status status = tri_sampler_check_tokens(&request->sampling, vocab, err);
  if (status == TRI_OK) status = tri_stream_open(&a->stream, a->g->tokenizer, stops, request->n_stops, err);
  if (status == TRI_OK) status = tri_draw_grammar(request->grammar, a->f->payload->data, request->grammar_bytes, &gbnf, err);
  if (status == TRI_OK)
    tri_draw_begin(&a->draw, &request->sampling, a->f->done.prompt_tokens, (char *)gbnf.data, gbnf.len, &a->g->lexicon, a->g->tokenizer,
                   vocab, 1);
  tri_buf_free(&gbnf);
  return status;
}

/* Make *ids the prompt; what the cache holds of it stays. Its last token runs in any case, as its logits are wanted. */
static tri_status set_prompt(tri_generator *g, const tri_ids *prompt, tri_error *err) {
  size_t same = 0;
  while (same < g->cached && same + 1 < prompt->len && g->ids.data[same] == prompt->data[same]) same++;
  g->cached = same, g->ids.len = 0;
  for (size_t i = 0; i < prompt->len; i++)
    if (tri_ids_push(&g->ids, prompt->data[i]) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the prompt");
  return TRI_OK;
}

static bool interrupted(int fd) { return fd >= 0 && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) > 0; }

/* Run the ids that the cache lacks, so few at a time that a wish to stop is soon heard. */
static tri_status feed(answer *a, tri_error *err) {
  enum { ROWS = 64 };
  tri_generator *g = a->g;
  while (g->cached < g->ids.len) {
    size_t n = g->ids.len - g->cached < ROWS ? g->ids.len - g->cached : ROWS;
    if (interrupted(a->interrupt_fd)) return tri_status_fail(err, TRI_E_CANCELLED, "interrupted");
    tri_status status = tri_single_feed(&g->single, 0, (int32_t)g->cached, g->ids.data + g->cached, n,
                                        g->cached + n == g->ids.len ? g->logits : NULL, err);
    if (status != TRI_OK) return status;
    g->cached += n;
  }
  return TRI_OK;
}

/* --- the answer --- */

static void show(answer *a) {
  tri_buf_append(&a->f->text, a->fresh.data, a->fresh.len);
  if (a->fresh.len && !a->f->quiet) fwrite(a->fresh.data, 1, a->fresh.len, stdout), fflush(stdout);
  tri_buf_clear(&a->fresh);
}

/* The next token, noted with all that is asked for. */
static tri_status pick(answer *a, int32_t *token, tri_error *err) {
  tri_generator *g = a->g;
  tri_sample s, top[TRI_SAMPLER_TOP];
  int32_t tokens[TRI_SAMPLER_TOP];
  float logprobs[TRI_SAMPLER_TOP];
  size_t n_top, vocab = (size_t)tri_model_shape(g->single.model)->vocab;
  tri_status status = tri_draw_next(&a->draw, g->sampler, vocab, g->logits, g->ids.data, g->ids.len, &s, top, &n_top, err);
  if (status != TRI_OK) return status;
  for (size_t i = 0; i < n_top; i++) tokens[i] = top[i].token, logprobs[i] = top[i].logprob;
  *token = s.token;
  if (n_top) status = tri_scores_add(&a->f->scores, s, tokens, logprobs, n_top);
  if (status == TRI_OK) status = tri_ids_push(&a->f->ids, s.token);
  if (status == TRI_OK) status = tri_ids_push(&g->ids, s.token);
  return status == TRI_OK ? TRI_OK : tri_status_fail(err, status, "out of memory for the answer");
}

/* Why the token ends it, or TRI_DONE_COUNT if it does not; its text goes to the stream. */
static tri_status take(answer *a, int32_t token, tri_done_reason *reason) {
  const tri_msg_submit *request = a->f->request;
  bool stopped = tri_sampler_holds(request->stop_tokens, request->n_stop_tokens, token);
  tri_status status = TRI_OK;
  *reason = TRI_DONE_COUNT;
  if (tri_tokenizer_is_end(a->g->tokenizer, token) && !request->ignore_end) return *reason = TRI_DONE_END, TRI_OK;
  if (!stopped) status = tri_stream_push(a->stream, token, &a->fresh, &stopped);
  show(a);
  if (stopped) *reason = TRI_DONE_STOP;
  else if (a->f->ids.len >= request->predict || a->g->ids.len >= (size_t)tri_generator_context(a->g)) *reason = TRI_DONE_LENGTH;
  return status;
}

static tri_status generate(answer *a, tri_error *err) {
  tri_msg_done *done = &a->f->done;
  int64_t start_us = tri_clock_us(), prefilled_us = 0;
  tri_status status = feed(a, err);
  for (done->reason = TRI_DONE_COUNT; status == TRI_OK && done->reason == TRI_DONE_COUNT;) {
    int32_t token;
    status = pick(a, &token, err);
    if (status != TRI_OK) break;
    if (!prefilled_us) prefilled_us = tri_clock_us();
    if (take(a, token, &done->reason) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the answer");
    if (done->reason == TRI_DONE_COUNT) status = feed(a, err);
  }
  if (status != TRI_OK && status != TRI_E_CANCELLED) return status;
  if (tri_stream_finish(a->stream, &a->fresh) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the answer");
  show(a);
  if (!prefilled_us) prefilled_us = tri_clock_us();
  done->prefill_us = (uint64_t)(prefilled_us - start_us), done->decode_us = (uint64_t)(tri_clock_us() - prefilled_us);
  done->tokens = (uint32_t)a->f->ids.len;
  return status;
}

tri_status tri_generator_answer(tri_generator *g, const tri_ids *prompt, int interrupt_fd, tri_follow *f, tri_error *err) {
  answer a = {.g = g, .f = f, .interrupt_fd = interrupt_fd};
  if (prompt->len == 0) return tri_status_fail(err, TRI_E_INVALID, "the prompt is empty");
  if (prompt->len >= (size_t)tri_generator_context(g))
    return tri_status_fail(err, TRI_E_INVALID,
                           "the prompt has %zu tokens, which leaves no room in the context of %d; shorten it or raise --ctx", prompt->len,
                           tri_generator_context(g));
  f->done.prompt_tokens = (uint32_t)prompt->len;
  tri_status status = begin(&a, err);
  if (status == TRI_OK) status = set_prompt(g, prompt, err);
  f->kept = (uint32_t)g->cached;
  if (status == TRI_OK && f->show_prompt && !f->quiet) tri_follow_show_prompt(f);
  if (status == TRI_OK) status = generate(&a, err);
  tri_draw_end(&a.draw);
  tri_stream_close(&a.stream);
  tri_buf_free(&a.fresh);
  return status;
}
