/* SPDX-License-Identifier: MIT */
#include "cli/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/list.h"

enum { POLL_MS = 500, ANSWER_MS = 30000, MOST_LIVE = 1024 };

typedef struct run {
  tri_client *client;
  const tri_load *load;
  tri_load_result *out;
  int32_t *prompt;
  uint32_t asked, answered, ended; /* jobs */
  uint64_t random;
  int64_t due_us;    /* by rate: the next arrival */
  int64_t poll_us;   /* when to ask for the trace again */
  bool polling;      /* its answer is to come */
  bool over;         /* the time is up */
} run;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}
static double draw_unit(uint64_t *state) { return (double)(draw(state) >> 11) * 0x1p-53; }

#define PUSH(r, list, n, cap, ...) (TRI_LIST_GROW(r, list, n, cap) ? ((r)->list[(r)->n++] = __VA_ARGS__, true) : false)

static tri_status no_memory(tri_error *err) { return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the load's times"); }

/* --- jobs out --- */

static bool may_ask(const run *r) {
  const tri_load *l = r->load;
  return !r->over && (!l->requests || r->asked < l->requests);
}

static tri_status ask(run *r, int64_t begin_us, tri_error *err) {
  const tri_load *l = r->load;
  tri_msg_submit m = {.ids = true, .want = TRI_WANT_SAMPLE, .predict = l->predict, .ignore_end = true, .sampling = TRI_SAMPLER_DEFAULTS};
  m.sampling.seed = l->seed + r->asked;
  for (uint32_t i = 0; i < l->prompt; i++) r->prompt[i] = l->ids[draw(&r->random) % l->n_ids];
  if (!PUSH(r->out, jobs, n_jobs, cap_jobs, (tri_load_job){.span = {.begin_us = begin_us}})) return no_memory(err);
  r->asked++;
  return tri_client_submit(r->client, &m, r->prompt, l->prompt * sizeof *r->prompt, err);
}

static tri_status ask_all(run *r, int64_t now_us, tri_error *err) {
  const tri_load *l = r->load;
  tri_status status = TRI_OK;
  while (status == TRI_OK && may_ask(r) && (l->rate > 0 ? r->due_us <= now_us : r->asked - r->ended < l->streams)) {
    if (l->rate > 0 && r->asked - r->ended >= MOST_LIVE)
      return tri_status_fail(err, TRI_E_LIMIT, "%d jobs are under way: the cluster is far too slow for this rate", MOST_LIVE);
    status = ask(r, l->rate > 0 ? r->due_us : now_us, err);
    if (l->rate > 0) r->due_us += (int64_t)(-log(1 - draw_unit(&r->random)) / l->rate * 1e6);
  }
  return status;
}

static tri_status cancel_all(run *r, tri_error *err) {
  tri_status status = TRI_OK;
  for (size_t i = 0; i < r->out->n_jobs && status == TRI_OK; i++) {
    tri_load_job *j = &r->out->jobs[i];
    if (!j->id || j->span.end_us || j->cancelled) continue;
    j->cancelled = true;
    status = tri_client_cancel(r->client, j->id, err);
  }
  return status;
}

/* --- events in --- */

static tri_load_job *find(const run *r, uint64_t id) {
  for (size_t i = r->out->n_jobs; i-- > 0;)
    if (r->out->jobs[i].id == id) return &r->out->jobs[i];
  return NULL;
}

static tri_status on_token(run *r, tri_load_job *j, int64_t now_us, tri_error *err) {
  if (j->last_us) {
    int64_t gap = now_us - j->last_us;
    if (!PUSH(r->out, gaps_us, n_gaps, cap_gaps, gap < UINT32_MAX ? (uint32_t)gap : UINT32_MAX)) return no_memory(err);
  } else {
    j->span.first_us = now_us;
  }
  j->last_us = now_us, j->tokens++;
  return PUSH(r->out, token_us, n_tokens, cap_tokens, now_us) ? TRI_OK : no_memory(err);
}

/* Submits are answered in order; the job whose answer is due. NULL: none is. */
static tri_load_job *due(const run *r) {
  size_t i = r->answered - r->out->refused;
  return i < r->out->n_jobs ? &r->out->jobs[i] : NULL;
}

static tri_status on_accepted(run *r, uint64_t id, tri_error *err) {
  tri_load_job *j = due(r);
  if (!j) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator accepted a job that nobody asked for");
  r->answered++;
  j->id = id;
  return r->over ? cancel_all(r, err) : TRI_OK;
}

/* By rate a full queue is a finding; else it is not the load that was asked for. */
static tri_status on_refuse(run *r, const tri_msg_refuse *m, tri_error *err) {
  tri_load_job *j = due(r);
  if (m->status != TRI_E_BUSY || !(r->load->rate > 0) || !j)
    return tri_status_fail(err, (tri_status)m->status, "the coordinator refused: %s", m->text);
  memmove(j, j + 1, (size_t)(r->out->jobs + r->out->n_jobs - j - 1) * sizeof *j);
  r->out->n_jobs--, r->out->refused++, r->answered++, r->ended++;
  return TRI_OK;
}

static tri_status on_done(run *r, tri_load_job *j, const tri_msg_done *m, int64_t now_us, tri_error *err) {
  if (m->reason == TRI_DONE_FAILED) return tri_status_fail(err, TRI_E_PROTOCOL, "a job failed: %s", m->error);
  if (m->reason == TRI_DONE_CANCELLED && !j->cancelled) return tri_status_fail(err, TRI_E_PROTOCOL, "a job was cancelled by someone else");
  j->span.end_us = now_us;
  if (!j->span.first_us) j->span.first_us = now_us;
  r->ended++;
  return TRI_OK;
}

static tri_status on_event(run *r, const tri_client_event *e, int64_t now_us, tri_error *err) {
  const tri_msg *m = e->msg;
  tri_status status = TRI_OK;
  if (m->kind == TRI_MSG_TRACE) {
    r->polling = false;
    status = tri_steps_add(&r->out->steps, e->payload, e->payload_len, err);
    r->poll_us = now_us + (r->out->steps.more ? 0 : POLL_MS * 1000);
    return status;
  }
  if (m->kind == TRI_MSG_ACCEPTED) return on_accepted(r, m->accepted.job, err);
  if (m->kind == TRI_MSG_REFUSE) return on_refuse(r, &m->refuse, err);
  uint64_t id = m->kind == TRI_MSG_TOKENS ? m->tokens.job : m->kind == TRI_MSG_DONE ? m->done.job : 0;
  tri_load_job *j = id ? find(r, id) : NULL;
  if (!j) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator sent %s for none of our jobs", tri_msg_kind_name(m->kind));
  if (m->kind == TRI_MSG_DONE) return on_done(r, j, &m->done, now_us, err);
  for (uint32_t i = 0; i < m->tokens.n_tokens && status == TRI_OK; i++) status = on_token(r, j, now_us, err);
  return status;
}

/* --- all of it --- */

static int64_t wait_ms(const run *r, int64_t now_us, int64_t until_us) {
  int64_t next = r->polling ? now_us + ANSWER_MS * 1000LL : r->poll_us;
  if (!r->over && until_us < next) next = until_us;
  if (r->load->rate > 0 && may_ask(r) && r->due_us < next) next = r->due_us;
  return next > now_us ? (next - now_us + 999) / 1000 : 0;
}

static void tell_progress(const run *r, int64_t now_us) {
  const tri_load *l = r->load;
  if (!l->progress) return;
  if (l->requests) l->progress(l->progress_arg, r->ended, l->requests);
  else l->progress(l->progress_arg, (uint64_t)(now_us - r->out->begin_us) / 1000000, (uint64_t)l->seconds);
}

static tri_status go(run *r, int64_t until_us, tri_error *err) {
  tri_status status = TRI_OK;
  int64_t heard_us = tri_clock_us();
  while (status == TRI_OK) {
    int64_t now_us = tri_clock_us();
    if (!r->over && now_us >= until_us) r->over = true, status = cancel_all(r, err);
    if (status == TRI_OK) status = ask_all(r, now_us, err);
    if (status == TRI_OK && r->asked == r->ended && !r->polling && (r->load->rate <= 0 || !may_ask(r))) return TRI_OK;
    if (status == TRI_OK && !r->polling && now_us >= r->poll_us)
      r->polling = true, status = tri_client_ask_trace(r->client, r->out->steps.last, err);
    if (status != TRI_OK) break;
    tell_progress(r, now_us);
    tri_client_event e;
    status = tri_client_next(r->client, &e, wait_ms(r, now_us, until_us), err);
    if (status == TRI_OK) heard_us = tri_clock_us(), status = on_event(r, &e, heard_us, err);
    else if (status == TRI_E_TIMEOUT && tri_clock_us() - heard_us < ANSWER_MS * 1000LL) status = TRI_OK;
  }
  return status;
}

static tri_status trace(run *r, tri_trace_action action, tri_error *err) {
  tri_buf json = {0};
  tri_status status = tri_client_trace(r->client, action, r->out->steps.last, &json, ANSWER_MS, err);
  if (status == TRI_OK && action == TRI_TRACE_GET) status = tri_steps_add(&r->out->steps, json.data, json.len, err);
  tri_buf_free(&json);
  return status;
}

tri_status tri_load_run(tri_client *client, const tri_load *load, tri_load_result *out, tri_error *err) {
  *out = (tri_load_result){0};
  run r = {.client = client, .load = load, .out = out, .random = load->seed, .prompt = malloc(load->prompt * sizeof *r.prompt)};
  if (!r.prompt) return no_memory(err);
  tri_status status = trace(&r, TRI_TRACE_ON, err);
  out->begin_us = r.due_us = tri_clock_us(), r.poll_us = out->begin_us + POLL_MS * 1000;
  if (status == TRI_OK) status = go(&r, load->seconds > 0 ? out->begin_us + (int64_t)(load->seconds * 1e6) : INT64_MAX, err);
  out->end_us = out->n_tokens ? out->token_us[out->n_tokens - 1] : tri_clock_us();
  do {
    if (status == TRI_OK) status = trace(&r, TRI_TRACE_GET, err);
  } while (status == TRI_OK && out->steps.more);
  if (status == TRI_OK) status = trace(&r, TRI_TRACE_OFF, err);
  if (status == TRI_OK) tri_steps_place(&out->steps);
  free(r.prompt);
  return status;
}

void tri_load_free(tri_load_result *r) {
  tri_steps_free(&r->steps);
  free(r->jobs), free(r->gaps_us), free(r->token_us);
  *r = (tri_load_result){0};
}
