/* SPDX-License-Identifier: MIT */
#include "worker/finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine/draw.h"

/* What was drawn for a run. */
typedef struct drawn {
  tri_sample token, top[TRI_SAMPLER_TOP];
  size_t n_top;
  tri_status status;
  tri_error err;
} drawn;

struct tri_finish {
  tri_stage *stage;
  size_t d, vocab, context;
  int32_t slots;
  const tri_tokenizer *tokenizer; /* NULL: none */
  tri_sampler *sampler;
  tri_draw *draws;      /* [slots] */
  int32_t *history;     /* [slots, context] */
  float *hidden;        /* [TRI_PANEL_ROWS, d]: rows of several runs, brought together so that they read the head once */
  float *logits;        /* [TRI_PANEL_ROWS, vocab] */
  drawn drawn[TRI_MAX_RUNS];
  size_t bytes;         /* of all that */
  tri_lexicon *lexicon; /* once there was a grammar; bounded but not counted, like what grammars take (engine/need.h) */
};

/* Zeroed, and counted. */
static void *get(tri_finish *f, size_t n, size_t size) {
  f->bytes += n * size;
  return calloc(n, size);
}

tri_status tri_finish_create(tri_finish **out, tri_stage *stage, const tri_model *m, const tri_kernels *k, tri_error *err) {
  const tri_shape *shape = tri_model_shape(m);
  const tri_stage_spec *spec = tri_stage_get_spec(stage);
  tri_finish *f = calloc(1, sizeof *f);
  if (!f) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the sampler");
  *f = (tri_finish){.stage = stage, .d = (size_t)shape->d, .vocab = (size_t)shape->vocab, .context = (size_t)spec->context,
                    .slots = spec->slots, .tokenizer = tri_model_tokenizer(m)};
  tri_status status = tri_sampler_create(&f->sampler, f->vocab, k, err);
  f->bytes = tri_sampler_bytes(f->vocab);
  f->draws = get(f, (size_t)f->slots, sizeof *f->draws);
  f->history = get(f, (size_t)f->slots * f->context, sizeof *f->history);
  f->logits = get(f, TRI_PANEL_ROWS * f->vocab, sizeof *f->logits);
  f->hidden = get(f, TRI_PANEL_ROWS * f->d, sizeof *f->hidden);
  if (status == TRI_OK && (!f->draws || !f->history || !f->logits || !f->hidden))
    status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for the sampler");
  if (status != TRI_OK) return tri_finish_destroy(&f), status;
  for (int32_t i = 0; i < f->slots; i++) f->draws[i].params = TRI_SAMPLER_DEFAULTS;
  *out = f;
  return TRI_OK;
}

void tri_finish_destroy(tri_finish **finish) {
  tri_finish *f = *finish;
  if (!f) return;
  for (int32_t i = 0; f->draws && i < f->slots; i++) tri_draw_end(&f->draws[i]);
  tri_lexicon_destroy(&f->lexicon);
  tri_sampler_destroy(&f->sampler);
  free(f->draws);
  free(f->history);
  free(f->hidden);
  free(f->logits);
  free(f);
  *finish = NULL;
}

size_t tri_finish_bytes(const tri_finish *f) { return f->bytes; }

tri_status tri_finish_open(tri_finish *f, const tri_opening *opening, tri_error *err) {
  const tri_msg_open *open = &opening->open;
  if (open->slot >= (uint32_t)f->slots) return tri_status_fail(err, TRI_E_PROTOCOL, "open: slot %u of %d", open->slot, f->slots);
  size_t held = open->held * sizeof(int32_t);
  if (open->held > f->context || opening->payload_len < held)
    return tri_status_fail(err, TRI_E_PROTOCOL, "open: %u tokens held, the context has %zu and the payload %zu bytes", open->held, f->context,
                           opening->payload_len);
  if (tri_sampler_check(&open->sampling, err) != TRI_OK) return tri_status_prefix(err, TRI_E_PROTOCOL, "open");
  size_t grammar_len = opening->payload_len - held;
  if (held) memcpy(f->history + open->slot * f->context, opening->payload + grammar_len, held);
  tri_draw_begin(&f->draws[open->slot], &open->sampling, open->prompt, (const char *)opening->payload, grammar_len, &f->lexicon,
                 f->tokenizer, f->vocab, (size_t)f->slots);
  return TRI_OK;
}

static size_t logits_rows(const tri_msg_step *m) {
  size_t rows = 0;
  for (uint32_t i = 0; i < m->n_runs; i++) rows += m->runs[i].want == TRI_WANT_LOGITS ? m->runs[i].count : 0;
  return rows;
}

tri_status tri_finish_check(const tri_finish *f, const tri_msg_step *m, tri_error *err) {
  for (uint32_t i = 0; i < m->n_runs; i++)
    if (m->runs[i].next >= (int32_t)f->vocab)
      return tri_status_fail(err, TRI_E_PROTOCOL, "a score of token %d, the vocabulary has %zu", m->runs[i].next, f->vocab);
  if (logits_rows(m) * f->vocab * sizeof(float) > TRI_MAX_PAYLOAD)
    return tri_status_fail(err, TRI_E_PROTOCOL, "logits of %zu rows are too many for one message", logits_rows(m));
  return TRI_OK;
}

/* Draw for SAMPLE runs [first, ...), as many as a panel holds; returns the run to go on with. */
static uint32_t draw_panel(tri_finish *f, const tri_msg_step *m, uint32_t first, const float *hidden) {
  uint32_t panel[TRI_PANEL_ROWS], n = 0, i = first;
  for (; i < m->n_runs && n < TRI_PANEL_ROWS; i++) {
    const tri_run *run = &m->runs[i];
    if (run->want != TRI_WANT_SAMPLE) continue;
    memcpy(f->hidden + n * f->d, hidden + (run->row + run->count - 1) * f->d, f->d * sizeof *hidden);
    panel[n++] = i;
  }
  if (n) tri_stage_logits(f->stage, f->hidden, (int32_t)n, f->logits);
  for (uint32_t k = 0; k < n; k++) {
    const tri_run *run = &m->runs[panel[k]];
    drawn *out = &f->drawn[panel[k]];
    out->status = tri_draw_next(&f->draws[run->slot], f->sampler, f->vocab, f->logits + k * f->vocab, f->history + run->slot * f->context,
                                run->pos + run->count, &out->token, out->top, &out->n_top, &out->err);
  }
  return i;
}

static void tell_drawn(const drawn *d, uint32_t run, tri_msg_result *out) {
  if (d->status != TRI_OK) {
    tri_failure *failure = &out->failures[out->n_failures++];
    failure->run = run;
    snprintf(failure->text, sizeof failure->text, "%.*s", TRI_MAX_FAILURE - 1, d->err.text);
    return;
  }
  out->tokens[out->n_tokens++] = d->token.token;
  out->logprobs[out->n_logprobs++] = d->token.logprob;
  for (size_t i = 0; i < d->n_top; i++, out->n_top++)
    out->top_tokens[out->n_top] = d->top[i].token, out->top_logprobs[out->n_top] = d->top[i].logprob;
}

static void score(tri_finish *f, const tri_run *run, const int32_t *tokens, const float *hidden, tri_msg_result *out) {
  uint32_t scored = run->next < 0 ? run->count - 1 : run->count;
  for (uint32_t i = 0; i < scored; i += TRI_PANEL_ROWS) {
    uint32_t n = scored - i < TRI_PANEL_ROWS ? scored - i : TRI_PANEL_ROWS;
    tri_stage_logits(f->stage, hidden + i * f->d, (int32_t)n, f->logits);
    for (uint32_t j = 0; j < n; j++) {
      int32_t next = i + j + 1 < run->count ? tokens[i + j + 1] : run->next;
      out->logprobs[out->n_logprobs++] = tri_sampler_logprob(f->sampler, f->logits + j * f->vocab, next);
    }
  }
}

tri_status tri_finish_step(tri_finish *f, const tri_msg_step *m, const float *hidden, tri_msg_result *out, uint8_t **payload,
                           size_t *payload_len, tri_error *err) {
  size_t bytes = logits_rows(m) * f->vocab * sizeof(float);
  float *logits = bytes ? malloc(bytes) : NULL, *at = logits;
  if (bytes && !logits) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for logits of %zu rows", logits_rows(m));
  out->epoch = m->epoch, out->id = m->id, out->n_tokens = out->n_logprobs = out->n_top = out->n_failures = 0;
  for (uint32_t i = 0; i < m->n_runs; i++) {
    const tri_run *run = &m->runs[i];
    memcpy(f->history + run->slot * f->context + run->pos, m->tokens + run->row, run->count * sizeof *m->tokens);
  }
  for (uint32_t i = 0; i < m->n_runs;) i = draw_panel(f, m, i, hidden);
  for (uint32_t i = 0; i < m->n_runs; i++) {
    const tri_run *run = &m->runs[i];
    const float *rows = hidden + run->row * f->d;
    if (run->want == TRI_WANT_SAMPLE) tell_drawn(&f->drawn[i], i, out);
    if (run->want == TRI_WANT_SCORE) score(f, run, m->tokens + run->row, rows, out);
    if (run->want == TRI_WANT_LOGITS) {
      tri_stage_logits(f->stage, rows, (int32_t)run->count, at);
      at += run->count * f->vocab;
    }
  }
  *payload = (uint8_t *)logits;
  *payload_len = bytes;
  return TRI_OK;
}
