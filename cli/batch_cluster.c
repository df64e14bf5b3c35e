/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "cli/batch.h"

enum { TICK_MS = 200, PAUSE_MS = 500, TRIES = 3 };

/* A job under way. The answer to its submit gives it the number by which its events come. */
typedef struct flight {
  tri_batch_job *job; /* NULL: the place is free */
  uint64_t order;     /* of its submit; 0: to be submitted */
  int tries;
} flight;

typedef struct fleet {
  tri_batch *batch;
  tri_client *client;
  flight *flights; /* [places] */
  size_t places, taken;
  uint64_t submits;
  int64_t resume_ms; /* no submits before: the coordinator's queue is full */
  bool dry;          /* the input has no more lines */
} fleet;

static tri_status finish(fleet *fl, flight *f, const char *code, const char *message, tri_error *err) {
  fl->taken--;
  return tri_batch_finish(fl->batch, &f->job, code, message, err);
}

static void pause_submits(fleet *fl, flight *f) {
  f->order = 0;
  fl->resume_ms = tri_clock_ms() + PAUSE_MS;
}

static tri_status submit(fleet *fl, flight *f, tri_error *err) {
  const tri_batch_job *job = f->job;
  tri_status status = tri_client_submit(fl->client, &job->request, job->payload.data, job->payload.len, err);
  f->order = ++fl->submits;
  if (status == TRI_E_BUSY) return pause_submits(fl, f), TRI_OK;
  return tri_batch_is_lines_fault(status) ? finish(fl, f, tri_status_name(status), err->text, err) : status;
}

static tri_status take_line(fleet *fl, flight *f, tri_error *err) {
  tri_status status = tri_batch_next(fl->batch, &f->job, err);
  f->order = 0, f->tries = 0;
  if (f->job) fl->taken++;
  else fl->dry = true;
  return status;
}

static tri_status fill(fleet *fl, tri_error *err) {
  tri_status status = TRI_OK;
  for (size_t i = 0; i < fl->places && status == TRI_OK && tri_clock_ms() >= fl->resume_ms; i++) {
    flight *f = &fl->flights[i];
    if (!f->job && !fl->dry) status = take_line(fl, f, err);
    if (status == TRI_OK && f->job && !f->order) status = submit(fl, f, err);
  }
  return status;
}

/* Submits are answered in their order; everything later names the job. */
static flight *find(const fleet *fl, const tri_msg *m) {
  flight *oldest = NULL;
  uint64_t job = m->kind == TRI_MSG_TOKENS ? m->tokens.job : m->kind == TRI_MSG_DONE ? m->done.job : 0;
  for (size_t i = 0; i < fl->places; i++) {
    flight *f = &fl->flights[i];
    if (!f->job || !f->order) continue;
    if (job && f->job->out.job == job) return f;
    if (!job && !f->job->out.job && (!oldest || f->order < oldest->order)) oldest = f;
  }
  return oldest;
}

static tri_status on_refuse(fleet *fl, flight *f, const tri_msg_refuse *m, tri_error *err) {
  tri_status status = (tri_status)m->status;
  if (status == TRI_E_BUSY) return pause_submits(fl, f), TRI_OK;
  if (tri_batch_is_lines_fault(status)) return finish(fl, f, tri_status_name(status), m->text, err);
  return tri_status_fail(err, status, "the coordinator refused a job: %s", m->text);
}

static tri_status land(fleet *fl, flight *f, tri_error *err) {
  tri_batch_job *job = f->job;
  tri_done_reason reason = job->out.done.reason;
  if (reason == TRI_DONE_FAILED && ++f->tries < TRIES) {
    TRI_INFO("line %zu is submitted again: %s", job->line, job->out.done.error);
    tri_batch_job_renew(job);
    return f->order = 0, TRI_OK;
  }
  if (reason == TRI_DONE_FAILED) return finish(fl, f, "failed", job->out.done.error, err);
  if (reason == TRI_DONE_CANCELLED) return finish(fl, f, "cancelled", "the job was cancelled", err);
  return finish(fl, f, NULL, NULL, err);
}

static tri_status on_event(fleet *fl, const tri_client_event *e, tri_error *err) {
  flight *f = find(fl, e->msg);
  bool over = false;
  if (!f) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator sent %s for none of our jobs", tri_msg_kind_name(e->msg->kind));
  if (e->msg->kind == TRI_MSG_REFUSE) return on_refuse(fl, f, &e->msg->refuse, err);
  tri_status status = tri_follow_take(&f->job->out, e, &over, err);
  if (over && (status == TRI_OK || f->job->out.done.reason == TRI_DONE_FAILED)) return land(fl, f, err);
  return status;
}

/* Our going would end them too, but only at their next token. */
static void cancel(const fleet *fl) {
  tri_error err;
  for (size_t i = 0; i < fl->places; i++) {
    const tri_batch_job *job = fl->flights[i].job;
    if (job && job->out.job && tri_client_cancel(fl->client, job->out.job, &err) != TRI_OK)
      TRI_WARN("job %llu could not be cancelled: %s", (unsigned long long)job->out.job, err.text);
  }
}

static tri_status fly(fleet *fl, tri_error *err) {
  tri_client_event e;
  for (;;) {
    tri_status status = fill(fl, err);
    if (status != TRI_OK || (!fl->taken && fl->dry)) return status;
    status = tri_client_next(fl->client, &e, TICK_MS, err);
    if (status == TRI_OK) status = on_event(fl, &e, err);
    else if (status == TRI_E_TIMEOUT) status = TRI_OK;
    if (status != TRI_OK) return status;
    tri_progress_update(&fl->batch->progress, fl->batch->answered + fl->batch->failed, fl->batch->n_todo);
  }
}

tri_status tri_batch_over_cluster(tri_batch *b, tri_client *client, size_t parallel, tri_error *err) {
  fleet fl = {.batch = b, .client = client, .places = parallel, .flights = calloc(parallel, sizeof *fl.flights)};
  if (!fl.flights) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for %zu jobs", parallel);
  tri_status status = fly(&fl, err);
  if (status == TRI_E_CANCELLED) cancel(&fl);
  for (size_t i = 0; i < parallel; i++) tri_batch_job_free(&fl.flights[i].job);
  free(fl.flights);
  return status;
}
