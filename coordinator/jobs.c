/* SPDX-License-Identifier: MIT */
#include "coordinator/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/units.h"
#include "engine/draw.h"

void tri_jobs_init(tri_jobs *j, const tri_tokenizer *tokenizer, uint32_t context, uint32_t vocab,
                   const tri_jobs_limits *limits) {
  *j = (tri_jobs){.tokenizer = tokenizer, .context = context, .vocab = vocab, .limits = *limits, .next_id = 1, .longest_piece = 1};
  for (size_t i = 0; tokenizer && i < tri_tokenizer_size(tokenizer); i++) {
    size_t len = tri_tokenizer_piece(tokenizer, (int32_t)i, true).len;
    if (len > j->longest_piece) j->longest_piece = len;
    j->has_end |= tri_tokenizer_is_end(tokenizer, (int32_t)i);
  }
}

static void free_job(tri_job *job) {
  tri_ids_free(&job->tokens);
  tri_buf_free(&job->grammar);
  tri_stream_close(&job->stream);
  tri_buf_free(&job->rest);
  free(job);
}

void tri_jobs_free(tri_jobs *j) {
  for (tri_job *job = j->first, *next; job; job = next) {
    next = job->next;
    free_job(job);
  }
  *j = (tri_jobs){0};
}

/* --- submit --- */

/* What stands in a payload, which is the grammar and then the prompt. */
typedef struct part {
  const uint8_t *data;
  size_t len;
} part;

static tri_status split(const tri_msg_submit *m, const tri_incoming *from, part *grammar, part *prompt, tri_error *err) {
  if (m->grammar_bytes > from->payload_len)
    return tri_status_fail(err, TRI_E_INVALID, "grammar_bytes: %u, the payload has %zu", m->grammar_bytes, from->payload_len);
  *grammar = (part){from->payload, m->grammar_bytes};
  *prompt = (part){m->grammar_bytes ? from->payload + m->grammar_bytes : from->payload, from->payload_len - m->grammar_bytes};
  return TRI_OK;
}

static tri_status read_grammar(const tri_jobs *j, const tri_msg_submit *m, part text, tri_buf *out, tri_error *err) {
  if (m->grammar == TRI_LANG_NONE) return TRI_OK;
  if (m->want != TRI_WANT_SAMPLE) return tri_status_fail(err, TRI_E_INVALID, "grammar: only what is generated can follow one");
  if (!j->has_end) return tri_status_fail(err, TRI_E_UNSUPPORTED, "grammar: it needs an end-of-text token, and the model file has none");
  if (m->ignore_end) return tri_status_fail(err, TRI_E_INVALID, "ignore_end: an answer that follows a grammar ends where the grammar does");
  tri_status status = tri_draw_grammar(m->grammar, text.data, text.len, out, err);
  if (status == TRI_OK && j->held_grammar_bytes + out->len > TRI_JOBS_GRAMMAR_BYTES)
    return tri_status_fail(err, TRI_E_BUSY, "the queue's grammars are at their limit of %s; try again later",
                           TRI_UNITS(TRI_JOBS_GRAMMAR_BYTES));
  return status;
}

static tri_status read_ids(tri_jobs *j, part prompt, tri_ids *out, tri_error *err) {
  size_t n = prompt.len / sizeof(int32_t);
  if (prompt.len % sizeof(int32_t))
    return tri_status_fail(err, TRI_E_INVALID, "prompt: %zu bytes are no whole number of ids", prompt.len);
  for (size_t i = 0; i < n && i <= j->context; i++) {
    int32_t id;
    memcpy(&id, prompt.data + i * sizeof id, sizeof id);
    if (id < 0 || (uint32_t)id >= j->vocab)
      return tri_status_fail(err, TRI_E_INVALID, "prompt: id %d at %zu is not in the vocabulary of %u", id, i, j->vocab);
    if (tri_ids_push(out, id) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the prompt");
  }
  return TRI_OK;
}

static tri_status too_long(const tri_jobs *j, tri_error *err) {
  return tri_status_fail(err, TRI_E_INVALID,
                         "prompt: longer than the context of %u tokens; shorten it, or where the model allows more start the coordinator "
                         "with a larger --ctx", j->context);
}

static tri_status read_text(tri_jobs *j, const tri_msg_submit *m, part prompt, tri_ids *out, tri_error *err) {
  if (!j->tokenizer) return tri_status_fail(err, TRI_E_UNSUPPORTED, "prompt: the model file has no tokenizer; send token ids");
  /* a token is at most that many bytes, so a longer text cannot fit and need not be tokenised */
  if (prompt.len / j->longest_piece > j->context) return too_long(j, err);
  int32_t bos = tri_tokenizer_bos(j->tokenizer);
  if (!m->no_bos && bos >= 0 && tri_tokenizer_adds_bos(j->tokenizer) && tri_ids_push(out, bos) != TRI_OK)
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the prompt");
  if (!prompt.len) return TRI_OK;
  return tri_tokenizer_encode(j->tokenizer, (const char *)prompt.data, prompt.len, m->special, out, err);
}

tri_status tri_jobs_check_protocol(uint32_t protocol, tri_error *err) {
  if (protocol == TRI_PROTOCOL) return TRI_OK;
  return tri_status_fail(err, TRI_E_PROTOCOL, "protocol: the client speaks %u, this coordinator %d (version %s)", protocol, TRI_PROTOCOL,
                         TRIREME_VERSION);
}

static tri_status check_options(const tri_jobs *j, const tri_msg_submit *m, tri_error *err) {
  tri_status status = tri_jobs_check_protocol(m->protocol, err);
  if (status != TRI_OK) return status;
  if (m->want == TRI_WANT_NONE) return tri_status_fail(err, TRI_E_INVALID, "want: a job wants tokens, logits or scores");
  if (m->want != TRI_WANT_SAMPLE) return TRI_OK;
  if (m->predict == 0) return tri_status_fail(err, TRI_E_INVALID, "predict: 0 tokens are asked for");
  for (uint32_t i = 0; i < m->n_stop_tokens; i++)
    if ((uint32_t)m->stop_tokens[i] >= j->vocab)
      return tri_status_fail(err, TRI_E_INVALID, "stop_tokens: %d is not in the vocabulary of %u", m->stop_tokens[i], j->vocab);
  status = tri_sampler_check(&m->sampling, err);
  return status == TRI_OK ? tri_sampler_check_tokens(&m->sampling, j->vocab, err) : status;
}

static tri_status check_length(const tri_jobs *j, tri_job *job, tri_error *err) {
  size_t n = job->tokens.len, least = job->want == TRI_WANT_SCORE ? 2 : 1;
  if (n < least) return tri_status_fail(err, TRI_E_INVALID, "prompt: %zu token(s), at least %zu are needed", n, least);
  if (n > j->context || (job->want == TRI_WANT_SAMPLE && n == j->context)) return too_long(j, err);
  if (job->want == TRI_WANT_LOGITS && n * sizeof(float) > TRI_JOBS_LOGITS_BYTES / j->vocab)
    return tri_status_fail(err, TRI_E_LIMIT, "prompt: logits of %zu tokens are more than the %s that one job may ask for", n,
                           TRI_UNITS(TRI_JOBS_LOGITS_BYTES));
  if (job->want == TRI_WANT_SAMPLE && job->predict > j->context - n) job->predict = j->context - (uint32_t)n;
  if (j->held_tokens + n > TRI_JOBS_MAX_TOKENS)
    return tri_status_fail(err, TRI_E_BUSY, "the queue's prompts are at their limit of %d tokens; try again later", TRI_JOBS_MAX_TOKENS);
  return TRI_OK;
}

static tri_status open_stream(const tri_jobs *j, const tri_msg_submit *m, tri_job *job, tri_error *err) {
  if (m->want != TRI_WANT_SAMPLE || !j->tokenizer) return TRI_OK;
  const char *stops[TRI_MAX_STOPS];
  for (uint32_t i = 0; i < m->n_stops; i++) stops[i] = m->stops[i];
  return tri_stream_open(&job->stream, j->tokenizer, stops, m->n_stops, err);
}

/* The place of a key that has jobs here, or a free one; there are as many as jobs. */
static uint32_t owner_of(const tri_jobs *j, const uint8_t key[TRI_KEY_BYTES]) {
  uint32_t free_place = 0;
  for (uint32_t i = 0; i < TRI_JOBS_MAX; i++) {
    if (!j->owners[i].held) free_place = i;
    else if (memcmp(j->owners[i].key, key, TRI_KEY_BYTES) == 0) return i;
  }
  return free_place;
}

static tri_status check_room(const tri_jobs *j, uint32_t owner, tri_error *err) {
  if (j->held >= TRI_JOBS_MAX)
    return tri_status_fail(err, TRI_E_BUSY, "the queue is full (%d jobs); try again later", TRI_JOBS_MAX);
  if (j->limits.client_held && j->owners[owner].held >= j->limits.client_held)
    return tri_status_fail(err, TRI_E_BUSY, "this client has %u jobs here, which is the limit; try again when one has ended",
                           j->owners[owner].held);
  return TRI_OK;
}

/* Jobs that will not begin after it. */
static uint32_t ahead_of(const tri_jobs *j, int32_t priority) {
  uint32_t n = j->running;
  for (const tri_job *job = j->first; job; job = job->next) n += job->state == TRI_JOB_QUEUED && job->priority >= priority;
  return n;
}

static void append(tri_jobs *j, tri_job *job) {
  tri_jobs_owner *owner = &j->owners[job->owner];
  memcpy(owner->key, job->client_key, TRI_KEY_BYTES);
  owner->held++;
  tri_job **bucket = &j->bucket[job->id % TRI_JOBS_BUCKETS];
  job->same_bucket = *bucket, *bucket = job;
  job->before = j->last;
  if (j->last) j->last->next = job;
  else j->first = job;
  j->last = job;
  j->held++;
  j->queued++;
  j->held_tokens += job->prompt;
  j->held_grammar_bytes += job->grammar.len;
}

tri_status tri_jobs_submit(tri_jobs *j, const tri_msg_submit *m, const tri_incoming *from, int64_t now_us, tri_job **out, uint32_t *ahead,
                           tri_error *err) {
  part grammar = {0}, prompt = {0};
  uint32_t owner = owner_of(j, from->key);
  tri_status status = check_room(j, owner, err);
  if (status == TRI_OK) status = check_options(j, m, err);
  if (status == TRI_OK) status = split(m, from, &grammar, &prompt, err);
  if (status != TRI_OK) return status;
  tri_job *job = calloc(1, sizeof *job);
  if (!job) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a job");
  *job = (tri_job){.client = from->from, .want = m->want, .predict = m->predict, .ignore_end = m->ignore_end, .detach = m->detach,
                   .owner = owner, .priority = m->priority,
                   .deadline_us = m->deadline_ms ? now_us + 1000ll * m->deadline_ms : INT64_MAX, .sampling = m->sampling, .n_stop_tokens = m->n_stop_tokens, .sends = !m->detach, .submitted_us = now_us};
  memcpy(job->stop_tokens, m->stop_tokens, sizeof job->stop_tokens);
  memcpy(job->client_key, from->key, TRI_KEY_BYTES);
  status = m->ids ? read_ids(j, prompt, &job->tokens, err) : read_text(j, m, prompt, &job->tokens, err);
  if (status == TRI_OK) status = read_grammar(j, m, grammar, &job->grammar, err);
  if (status == TRI_OK) status = check_length(j, job, err);
  if (status == TRI_OK) status = open_stream(j, m, job, err);
  if (status != TRI_OK) return free_job(job), status;
  job->prompt = (uint32_t)job->tokens.len;
  job->id = j->next_id++;
  *ahead = ahead_of(j, job->priority);
  append(j, job);
  *out = job;
  return TRI_OK;
}

/* --- life --- */

tri_job *tri_jobs_find(const tri_jobs *j, uint64_t id) {
  tri_job *job = j->bucket[id % TRI_JOBS_BUCKETS];
  while (job && job->id != id) job = job->same_bucket;
  return job;
}

static bool is_suspect(const tri_job *job) { return job->interrupted >= TRI_JOBS_SUSPECT; }

/* Does a go before b, which is older? */
static bool goes_before(const tri_jobs *j, const tri_job *a, const tri_job *b) {
  bool a_ran = a->started_us, b_ran = b->started_us;
  if (a_ran != b_ran) return a_ran;
  if (a_ran) return false;
  if (a->priority != b->priority) return a->priority > b->priority;
  return j->owners[a->owner].running < j->owners[b->owner].running;
}

static bool may_run(const tri_jobs *j, const tri_job *job) {
  uint32_t most = j->limits.client_running;
  return job->state == TRI_JOB_QUEUED && !job->paused && (!most || j->owners[job->owner].running < most);
}

tri_job *tri_jobs_next(const tri_jobs *j) {
  tri_job *best = NULL;
  for (tri_job *job = j->first; job; job = job->next)
    if (may_run(j, job) && (!best || goes_before(j, job, best))) best = job;
  if (!best || !j->running) return best;
  if (is_suspect(best)) return NULL;
  for (const tri_job *other = j->first; other; other = other->next)
    if (other->state == TRI_JOB_RUNNING && is_suspect(other)) return NULL;
  return best;
}

tri_job *tri_jobs_take(tri_jobs *j, int64_t now_us) {
  tri_job *job = tri_jobs_next(j);
  if (!job) return NULL;
  job->state = TRI_JOB_RUNNING;
  if (!job->started_us) job->started_us = now_us;
  j->queued--, j->running++;
  j->owners[job->owner].running++;
  return job;
}

void tri_jobs_yield(tri_jobs *j, tri_job *job) {
  job->state = TRI_JOB_QUEUED;
  job->sent = job->done = 0;
  job->yields = false;
  j->queued++, j->running--;
  j->owners[job->owner].running--;
}

/* Jobs are taken in the order of the list, so those that ran stand before those that did not: a new state is all it takes. */
void tri_jobs_interrupt(tri_jobs *j, const char *why, int64_t now_us) {
  for (tri_job *job = j->first; job; job = job->next) {
    if (job->state != TRI_JOB_RUNNING) continue;
    if (why && ++job->interrupted > j->limits.retries) {
      char text[TRI_MAX_TEXT];
      if (job->interrupted == 1) snprintf(text, sizeof text, "%s", why);
      else snprintf(text, sizeof text, "%u pipelines in a row ended before it got on; the last: %.400s", job->interrupted, why);
      tri_jobs_end(j, job, TRI_DONE_FAILED, text, now_us);
      continue;
    }
    tri_jobs_yield(j, job);
  }
}

uint32_t tri_jobs_generated(const tri_job *job) { return (uint32_t)job->tokens.len - job->prompt; }

void tri_jobs_token(tri_jobs *j, tri_job *job, int32_t token, int64_t now_us, tri_buf *text) {
  bool kept = tri_ids_push(&job->tokens, token) == TRI_OK;
  job->interrupted = 0;
  bool stopped = tri_sampler_holds(job->stop_tokens, job->n_stop_tokens, token);
  bool end = !job->ignore_end && j->tokenizer && tri_tokenizer_is_end(j->tokenizer, token);
  bool ok = end || stopped || !job->stream || (tri_stream_push(job->stream, token, text, &stopped) == TRI_OK && tri_buf_ok(text));
  if (!ok || !kept) tri_jobs_end(j, job, TRI_DONE_FAILED, "out of memory for its text", now_us);
  else if (end) tri_jobs_end(j, job, TRI_DONE_END, NULL, now_us);
  else if (stopped) tri_jobs_end(j, job, TRI_DONE_STOP, NULL, now_us);
  else if (tri_jobs_generated(job) >= job->predict) tri_jobs_end(j, job, TRI_DONE_LENGTH, NULL, now_us);
}

static double per_second(uint32_t n, int64_t us) { return us > 0 ? n * 1e6 / (double)us : 0; }

void tri_jobs_end(tri_jobs *j, tri_job *job, tri_done_reason reason, const char *error, int64_t now_us) {
  if (job->state == TRI_JOB_ENDED) return;
  if (job->state == TRI_JOB_QUEUED) j->queued--;
  else j->running--, j->owners[job->owner].running--;
  job->state = TRI_JOB_ENDED;
  job->reason = reason;
  job->ended_us = now_us;
  if (error) snprintf(job->error, sizeof job->error, "%s", error);
  if (reason == TRI_DONE_FAILED) j->ended_failed++;
  else j->ended_ok++;
  if (job->prefilled_us) {
    uint32_t generated = tri_jobs_generated(job);
    j->prefill_per_s = per_second(job->prompt, job->prefilled_us - job->started_us);
    if (generated > 1) j->decode_per_s = per_second(generated - 1, job->ended_us - job->prefilled_us);
  }
}

void tri_jobs_expire(tri_jobs *j, int64_t now_us) {
  for (tri_job *job = j->first; job; job = job->next)
    if (now_us >= job->deadline_us) tri_jobs_end(j, job, TRI_DONE_DEADLINE, NULL, now_us);
}

void tri_jobs_done(tri_job *job, tri_msg_done *out) {
  int64_t started = job->started_us ? job->started_us : job->ended_us;
  int64_t prefilled = job->prefilled_us ? job->prefilled_us : job->ended_us;
  *out = (tri_msg_done){.job = job->id, .reason = job->reason, .prompt_tokens = job->prompt, .tokens = tri_jobs_generated(job),
                        .reused_tokens = job->reused,
                        .queued_us = (uint64_t)(started - job->submitted_us), .prefill_us = (uint64_t)(prefilled - started),
                        .decode_us = (uint64_t)(job->ended_us - prefilled)};
  memcpy(out->error, job->error, sizeof out->error);
  if (!job->closed && job->stream && (tri_stream_finish(job->stream, &job->rest) != TRI_OK || !tri_buf_ok(&job->rest))) job->rest.len = 0;
  job->closed = true;
}

void tri_jobs_remove(tri_jobs *j, tri_job **job) {
  tri_job *before = (*job)->before, *next = (*job)->next, **link = &j->bucket[(*job)->id % TRI_JOBS_BUCKETS];
  while (*link != *job) link = &(*link)->same_bucket;
  *link = (*job)->same_bucket;
  if (before) before->next = next;
  else j->first = next;
  if (next) next->before = before;
  else j->last = before;
  j->held--;
  j->owners[(*job)->owner].held--;
  j->held_tokens -= (*job)->prompt;
  j->held_grammar_bytes -= (*job)->grammar.len;
  free_job(*job);
  *job = NULL;
}
