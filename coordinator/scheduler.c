/* SPDX-License-Identifier: MIT */
#include "coordinator/scheduler.h"

#include <string.h>
#include "engine/sampler.h"

void tri_scheduler_init(tri_scheduler *s, tri_jobs *jobs, uint32_t slots, uint32_t max_rows, uint32_t vocab) {
  *s = (tri_scheduler){.jobs = jobs, .slots = slots, .max_rows = max_rows, .vocab = vocab, .next_step = 1};
}

void tri_scheduler_stop(tri_scheduler *s) {
  s->serving = s->paused = false;
  s->oldest = s->n_flights = s->turn = 0;
  memset(s->slot_job, 0, sizeof s->slot_job);
}

void tri_scheduler_start(tri_scheduler *s, uint32_t epoch, uint32_t stages) {
  tri_scheduler_stop(s);
  s->serving = true;
  s->epoch = epoch;
  s->stages = stages;
}

void tri_scheduler_pause(tri_scheduler *s) { s->paused = true; }

/* --- what to send --- */

static uint32_t unsent(const tri_job *job) { return (uint32_t)job->tokens.len - job->sent; }

/* Rows of the next step. Chunks small enough to keep every stage busy with one prompt, but whole panels, so that the kernels lose
 * nothing. */
static uint32_t chunk_rows(const tri_scheduler *s, const tri_job *job) {
  uint32_t left = job->sent < job->told ? job->told - job->sent : unsent(job), rows = s->max_rows;
  if (s->stages > 1) {
    uint32_t share = ((uint32_t)job->tokens.len + 2 * s->stages - 1) / (2 * s->stages);
    share = (uint32_t)tri_round_up(share, TRI_PANEL_ROWS);
    if (share < rows) rows = share;
  }
  if (job->want == TRI_WANT_LOGITS) {
    uint32_t most = TRI_SCHEDULER_LOGITS_BYTES / (s->vocab * (uint32_t)sizeof(float));
    if (most < 1) most = 1;
    if (most < rows) rows = most;
  }
  return left < rows ? left : rows;
}

static tri_flight *push_flight(tri_scheduler *s, const tri_job *job) {
  tri_flight *f = &s->flights[(s->oldest + s->n_flights++) % (TRI_MAX_STAGES + 1)];
  *f = (tri_flight){.step = s->next_step++, .job = job->id, .top = (uint32_t)tri_sampler_top_count(&job->sampling, s->vocab)};
  return f;
}

static void fill_run(const tri_flight *f, uint32_t epoch, uint32_t slot, const int32_t *tokens, int32_t next, tri_msg_step *out) {
  out->epoch = epoch, out->id = f->step, out->n_runs = 1, out->n_rows = f->rows;
  out->runs[0] = (tri_run){.slot = slot, .pos = f->pos, .row = 0, .count = f->rows, .want = f->want, .next = next};
  memcpy(out->tokens, tokens, f->rows * sizeof *tokens);
}

static void send_rows(tri_scheduler *s, uint32_t slot, tri_job *job, tri_scheduler_action *out) {
  tri_flight *f = push_flight(s, job);
  f->pos = job->sent;
  f->rows = chunk_rows(s, job);
  bool final = f->rows == unsent(job), wanted = job->want == TRI_WANT_SAMPLE ? final : f->pos >= job->told;
  f->want = wanted ? job->want : TRI_WANT_NONE;
  int32_t next = f->want == TRI_WANT_SCORE && !final ? job->tokens.data[f->pos + f->rows] : -1;
  f->scored = f->want == TRI_WANT_SCORE ? f->rows - final : 0;
  fill_run(f, s->epoch, slot, job->tokens.data + f->pos, next, &out->step);
  job->sent += f->rows;
  out->opens = f->pos == 0;
  if (!out->opens) return;
  tri_sampler_params defaults = TRI_SAMPLER_DEFAULTS;
  out->grammar = &job->grammar;
  out->open = (tri_msg_open){.epoch = s->epoch, .slot = slot, .prompt = job->prompt,
                             .sampling = job->want == TRI_WANT_SAMPLE ? job->sampling : defaults};
}

/* The job that still has steps to send from this slot; NULL: the slot is free. */
static tri_job *holder(const tri_scheduler *s, uint32_t slot) {
  tri_job *job = s->slot_job[slot] ? tri_jobs_find(s->jobs, s->slot_job[slot]) : NULL;
  bool over = !job || job->state == TRI_JOB_ENDED || (job->want != TRI_WANT_SAMPLE && !unsent(job));
  return over ? NULL : job;
}

/* The holder, or the next job in the queue. */
static tri_job *job_of(tri_scheduler *s, uint32_t slot, int64_t now_us) {
  tri_job *job = holder(s, slot);
  if (!job) job = tri_jobs_take(s->jobs, now_us);
  s->slot_job[slot] = job ? job->id : 0;
  return job;
}

static bool takes_steps(const tri_scheduler *s) { return s->serving && !s->paused && s->n_flights <= s->stages; }

bool tri_scheduler_has_room(const tri_scheduler *s) {
  if (!takes_steps(s)) return false;
  for (uint32_t slot = 0; slot < s->slots; slot++)
    if (!holder(s, slot)) return true;
  return false;
}

bool tri_scheduler_next(tri_scheduler *s, int64_t now_us, tri_scheduler_action *out) {
  if (!takes_steps(s)) return false;
  for (uint32_t i = 0; i < s->slots; i++) {
    uint32_t slot = (s->turn + i) % s->slots;
    tri_job *job = job_of(s, slot, now_us);
    if (!job || !unsent(job)) continue;
    send_rows(s, slot, job, out);
    s->turn = (slot + 1) % s->slots;
    return true;
  }
  return false;
}

/* --- what came back --- */

static tri_status check_tokens(const tri_scheduler *s, const tri_msg_result *m, const int32_t *tokens, uint32_t n, tri_error *err) {
  for (uint32_t i = 0; i < n; i++)
    if ((uint32_t)tokens[i] >= s->vocab)
      return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu: token %d is not in the vocabulary", (unsigned long long)m->id,
                             tokens[i]);
  return TRI_OK;
}

static tri_status check_result(const tri_scheduler *s, const tri_msg_result *m, size_t payload_len, tri_error *err) {
  if (!s->n_flights) return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu, but none is in flight", (unsigned long long)m->id);
  const tri_flight *f = &s->flights[s->oldest];
  if (m->id != f->step)
    return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu, but step %llu is due", (unsigned long long)m->id,
                           (unsigned long long)f->step);
  bool samples = f->want == TRI_WANT_SAMPLE, failed = m->error[0] != 0;
  if (failed && !samples)
    return tri_status_fail(err, TRI_E_PROTOCOL, "result of step %llu failed without a token to draw", (unsigned long long)m->id);
  uint32_t tokens = samples && !failed, logprobs = tokens + f->scored, top = tokens ? f->top : 0;
  size_t payload = f->want == TRI_WANT_LOGITS ? (size_t)f->rows * s->vocab * sizeof(float) : 0;
  if (m->n_tokens != tokens || m->n_logprobs != logprobs || m->n_top != top || payload_len != payload)
    return tri_status_fail(err, TRI_E_PROTOCOL,
                           "result of step %llu has %u tokens, %u logprobs, %u likeliest and %zu bytes, not %u, %u, %u and %zu",
                           (unsigned long long)m->id, m->n_tokens, m->n_logprobs, m->n_top, payload_len, tokens, logprobs, top, payload);
  tri_status status = check_tokens(s, m, m->tokens, m->n_tokens, err);
  return status == TRI_OK ? check_tokens(s, m, m->top_tokens, m->n_top, err) : status;
}

static void tell_rows(const tri_flight *f, tri_job *job, const tri_msg_result *m, tri_scheduler_output *out) {
  if (f->want == TRI_WANT_NONE) return; /* told by an earlier pipeline */
  job->told = f->pos + f->rows;
  job->interrupted = 0;
  out->tells = f->want == TRI_WANT_LOGITS || f->scored > 0;
  out->forwards = f->want == TRI_WANT_LOGITS;
  out->tokens.index = f->pos;
  out->tokens.n_logprobs = m->n_logprobs;
  memcpy(out->tokens.logprobs, m->logprobs, m->n_logprobs * sizeof *m->logprobs);
}

static void tell_token(tri_scheduler *s, tri_job *job, const tri_msg_result *m, int64_t now_us, tri_scheduler_output *out,
                       tri_buf *text) {
  out->tells = true;
  out->tokens.index = tri_jobs_generated(job);
  out->tokens.n_tokens = out->tokens.n_logprobs = 1;
  out->tokens.tokens[0] = m->tokens[0];
  out->tokens.logprobs[0] = m->logprobs[0];
  out->tokens.n_top = m->n_top;
  memcpy(out->tokens.top_tokens, m->top_tokens, m->n_top * sizeof *m->top_tokens);
  memcpy(out->tokens.top_logprobs, m->top_logprobs, m->n_top * sizeof *m->top_logprobs);
  tri_jobs_token(s->jobs, job, m->tokens[0], now_us, text);
}

tri_status tri_scheduler_result(tri_scheduler *s, const tri_msg_result *m, size_t payload_len, int64_t now_us, tri_scheduler_output *out,
                                tri_buf *text, tri_error *err) {
  tri_status status = check_result(s, m, payload_len, err);
  if (status != TRI_OK) return status;
  tri_flight f = s->flights[s->oldest];
  s->oldest = (s->oldest + 1) % (TRI_MAX_STAGES + 1);
  s->n_flights--;
  *out = (tri_scheduler_output){.job = tri_jobs_find(s->jobs, f.job)};
  tri_job *job = out->job;
  if (!job || job->state == TRI_JOB_ENDED) return out->job = NULL, TRI_OK;
  out->tokens.job = job->id;
  job->done += f.rows;
  if (!job->prefilled_us && job->done == job->prompt) job->prefilled_us = now_us;
  if (m->error[0]) return tri_jobs_end(s->jobs, job, TRI_DONE_FAILED, m->error, now_us), TRI_OK;
  if (f.want == TRI_WANT_SAMPLE) return tell_token(s, job, m, now_us, out, text), TRI_OK;
  if (job->want == TRI_WANT_SAMPLE) return TRI_OK;
  tell_rows(&f, job, m, out);
  if (job->done == job->prompt) tri_jobs_end(s->jobs, job, TRI_DONE_LENGTH, NULL, now_us);
  return TRI_OK;
}
