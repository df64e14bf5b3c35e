/* SPDX-License-Identifier: MIT */
/* The glue's side that faces clients: jobs in, tokens out. */
#include "coordinator/coordinator_impl.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

/* Nobody waits for its answer now: its rows leave the pipeline, and if it is kept it goes on once its client is back. */
static void orphan(tri_job *job) {
  job->sends = false;
  if (job->detach || job->orphaned_us) return;
  job->orphaned_us = tri_clock_us();
  job->paused = job->durable;
  job->yields = job->durable && job->state == TRI_JOB_RUNNING;
}

tri_status coordinator_send_to_job(coordinator *c, tri_job *job, const void *payload, size_t len) {
  tri_error err;
  if (!job->sends) return TRI_OK;
  tri_status status = coordinator_send(c, &job->client, payload, len, &err);
  if (status == TRI_OK || status == TRI_E_BUSY) return status;
  orphan(job);
  TRI_INFO("job %llu: its client is not there any more: %s", (unsigned long long)job->id, err.text);
  return status;
}

void coordinator_fail_slow_reader(coordinator *c, tri_job *job) {
  tri_jobs_end(&c->jobs, job, TRI_DONE_FAILED, "the client does not read what it asked for", tri_clock_us());
}

static void log_end(const tri_msg_done *d) {
  TRI_INFO("job %llu: %s%s%s, %u prompt tokens in %.1f ms, %u tokens in %.1f ms", (unsigned long long)d->job, tri_done_reason_name(d->reason),
           d->error[0] ? ": " : "", d->error, d->prompt_tokens, (double)d->prefill_us / 1e3, d->tokens, (double)d->decode_us / 1e3);
}

void coordinator_finish_job(coordinator *c, tri_job *job) {
  bool first = !job->closed;
  c->outgoing = (tri_msg){.kind = TRI_MSG_DONE};
  tri_jobs_done(job, &c->outgoing.done);
  if (first) log_end(&c->outgoing.done);
  tri_msg_done done = c->outgoing.done;
  if (!coordinator_journal_end(c, job, &done)) return;
  c->outgoing = (tri_msg){.kind = TRI_MSG_DONE, .done = done};
  bool busy = coordinator_send_to_job(c, job, job->rest.data, job->rest.len) == TRI_E_BUSY;
  if (!busy || tri_clock_us() - job->ended_us > COORDINATOR_PATIENCE_MS * 1000LL) tri_jobs_remove(&c->jobs, &job);
}

/* Its client may come back for a while. */
static bool is_orphan_for_good(const coordinator *c, const tri_job *job, int64_t now_us) {
  return job->orphaned_us && !job->detach && now_us - job->orphaned_us > c->config->orphan_ms * 1000;
}

void coordinator_tend_clients(coordinator *c) {
  int64_t now_us = tri_clock_us();
  if (!coordinator_journal_flush(c)) return; /* which may remove jobs, so not within the loop */
  tri_jobs_expire(&c->jobs, now_us);
  for (tri_job *job = c->jobs.first, *next; job; job = next) {
    next = job->next;
    if (is_orphan_for_good(c, job, now_us)) tri_jobs_end(&c->jobs, job, TRI_DONE_CANCELLED, NULL, now_us);
    if (job->state == TRI_JOB_ENDED) coordinator_finish_job(c, job);
  }
}

/* This client has gone: none of its jobs is of use to anyone, but the detached, and those that it may come back for. */
static void end_jobs_of(coordinator *c, tri_peer client) {
  for (tri_job *job = c->jobs.first, *next; job; job = next) {
    next = job->next;
    if (job->detach || job->client.route_len != client.route_len || memcmp(job->client.route, client.route, client.route_len) != 0)
      continue;
    orphan(job);
    if (job->durable) continue;
    tri_jobs_end(&c->jobs, job, TRI_DONE_CANCELLED, NULL, tri_clock_us());
    coordinator_finish_job(c, job);
  }
}

void coordinator_client_revoked(coordinator *c, const uint8_t key[TRI_KEY_BYTES]) {
  coordinator_journal_flush(c);
  for (tri_job *job = c->jobs.first, *next; job; job = next) {
    next = job->next;
    if (job->state == TRI_JOB_ENDED || memcmp(job->client_key, key, TRI_KEY_BYTES) != 0) continue;
    tri_jobs_end(&c->jobs, job, TRI_DONE_FAILED, "the key of its client was revoked", tri_clock_us());
    coordinator_finish_job(c, job);
  }
}

/* Its turn has come: tell its client so with an empty Tokens. One that has gone while it waited is noticed by that, before a prompt
 * is computed for nobody. False: it is, and its jobs have ended. */
static bool announce(coordinator *c, tri_job *job) {
  if (job->detach || job->announced || !job->sends) return true;
  job->announced = true;
  c->outgoing = (tri_msg){.kind = TRI_MSG_TOKENS, .tokens = {.job = job->id}};
  coordinator_send_to_job(c, job, NULL, 0); /* a queue that is full has time until the first token */
  if (job->sends) return true;
  end_jobs_of(c, job->client);
  return false;
}

void coordinator_admit(coordinator *c) {
  tri_job *job;
  while (tri_scheduler_has_room(&c->scheduler) && (job = tri_jobs_next(&c->jobs)))
    if (announce(c, job)) {
      if (!tri_scheduler_admit(&c->scheduler, tri_clock_us())) return; /* it waits for blocks */
      coordinator_journal_started(c, job);
    }
}

void coordinator_tell(coordinator *c, const uint8_t *payload, size_t len) {
  tri_scheduler_output *o = &c->output;
  tri_status status = TRI_OK;
  if (o->tells) {
    c->outgoing = (tri_msg){.kind = TRI_MSG_TOKENS, .tokens = o->tokens};
    if (o->job->durable) coordinator_journal_tell(c, o->job, c->text.data, c->text.len);
    else status = coordinator_send_to_job(c, o->job, o->forwards ? payload : c->text.data, o->forwards ? len : c->text.len);
  }
  if (o->job->durable) return; /* the rest of it once that is kept */
  if (status == TRI_E_BUSY) coordinator_fail_slow_reader(c, o->job);
  tri_peer client = o->job->client;
  bool gone = !o->job->sends && !o->job->detach;
  if (o->job->state == TRI_JOB_ENDED) coordinator_finish_job(c, o->job);
  if (gone) end_jobs_of(c, client);
}

void coordinator_interrupt_jobs(coordinator *c, const char *why) {
  if (c->jobs.running) TRI_INFO("%u running job(s) wait for the next pipeline", c->jobs.running);
  tri_jobs_interrupt(&c->jobs, why, tri_clock_us());
  coordinator_tend_clients(c);
}

/* Was this asked for before? Then the answer is that of that time. */
static bool is_twin(coordinator *c, const tri_incoming *in, const tri_msg_submit *m, const tri_allowed *who) {
  tri_store *store = coordinator_journal_store(c);
  uint64_t id = 0;
  tri_error err;
  tri_status status = store ? tri_store_twin(store, in->key, m->idempotency, &id, &err)
                            : tri_status_fail(&err, TRI_E_UNSUPPORTED, "idempotency: this coordinator keeps no jobs (--jobs none)");
  if (status != TRI_OK) {
    coordinator_refuse(c, in, status, err.text);
    return true;
  }
  if (id) coordinator_follow(c, in, id, 0, who);
  return id != 0;
}

static void on_submit(coordinator *c, const tri_incoming *in, const tri_msg_submit *m, const tri_allowed *who) {
  tri_error err;
  tri_job *job;
  uint32_t ahead;
  if (m->idempotency[0] && is_twin(c, in, m, who)) return;
  tri_status status = tri_jobs_submit(&c->jobs, m, in, tri_clock_us(), &job, &ahead, &err);
  if (status == TRI_OK && (status = coordinator_journal_accept(c, job, m, in, who->name, &err)) != TRI_OK) {
    tri_jobs_end(&c->jobs, job, TRI_DONE_FAILED, err.text, tri_clock_us());
    tri_jobs_remove(&c->jobs, &job);
  }
  if (status != TRI_OK) {
    TRI_INFO("a job of %s was refused: %s", who->name, err.text);
    coordinator_refuse(c, in, status, err.text);
    return;
  }
  TRI_INFO("job %llu of %s: %u prompt tokens, %u ahead", (unsigned long long)job->id, who->name, job->prompt, ahead);
  c->outgoing = (tri_msg){.kind = TRI_MSG_ACCEPTED,
                          .accepted = {.job = job->id, .prompt_tokens = job->prompt, .ahead = ahead}};
  if (coordinator_send(c, &in->from, NULL, 0, &err) != TRI_OK) orphan(job);
}

static void on_cancel(coordinator *c, const tri_incoming *in, uint64_t id, const tri_allowed *who) {
  tri_job *job = tri_jobs_find(&c->jobs, id);
  if (!job || job->state == TRI_JOB_ENDED) return; /* it has ended while the message was on its way */
  if (memcmp(job->client_key, in->key, TRI_KEY_BYTES) != 0 && who->role != TRI_ROLE_ADMIN) {
    TRI_WARN("%s tried to cancel job %llu of another client", who->name, (unsigned long long)id);
    coordinator_refuse(c, in, TRI_E_DENIED, "this job is another client's; only it or an admin may cancel it");
    return;
  }
  tri_jobs_end(&c->jobs, job, TRI_DONE_CANCELLED, NULL, tri_clock_us());
  coordinator_finish_job(c, job);
}

static void on_status_request(coordinator *c, const tri_incoming *in, uint32_t protocol) {
  tri_error err;
  tri_buf json = {0};
  tri_status status = tri_jobs_check_protocol(protocol, &err);
  if (status != TRI_OK) {
    coordinator_refuse(c, in, status, err.text);
    return;
  }
  status = coordinator_report(c, tri_clock_ms(), &json, &err);
  c->outgoing = (tri_msg){.kind = TRI_MSG_STATUS};
  if (status == TRI_OK) status = coordinator_send(c, &in->from, json.data, json.len, &err);
  if (status != TRI_OK) TRI_WARN("a status could not be sent: %s", err.text);
  tri_buf_free(&json);
}

static void on_trace_request(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  tri_error err;
  tri_buf json = {0};
  tri_status status = tri_jobs_check_protocol(m->trace_request.protocol, &err);
  if (status == TRI_OK) status = tri_trace_ask(&c->trace, &in->from, m->trace_request.action, tri_clock_us(), &err);
  if (status == TRI_OK && m->trace_request.action != TRI_TRACE_GET) TRI_INFO("%s %s tracing", who->name,
                                                                             m->trace_request.action == TRI_TRACE_ON ? "begins" : "ends");
  uint64_t after = m->trace_request.action == TRI_TRACE_GET ? m->trace_request.after : UINT64_MAX;
  if (status == TRI_OK) status = coordinator_report_trace(c, after, &json, &err);
  if (status != TRI_OK) {
    coordinator_refuse(c, in, status, err.text);
  } else {
    c->outgoing = (tri_msg){.kind = TRI_MSG_TRACE};
    if (coordinator_send(c, &in->from, json.data, json.len, &err) != TRI_OK) TRI_WARN("a trace could not be sent: %s", err.text);
  }
  tri_buf_free(&json);
}

void coordinator_client_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  if (m->kind == TRI_MSG_SUBMIT) on_submit(c, in, &m->submit, who);
  else if (m->kind == TRI_MSG_CANCEL) on_cancel(c, in, m->cancel.job, who);
  else if (m->kind == TRI_MSG_TRACE_REQUEST) on_trace_request(c, in, m, who);
  else if (m->kind == TRI_MSG_FOLLOW) coordinator_follow(c, in, m->follow.job, m->follow.from, who);
  else if (m->kind == TRI_MSG_JOBS_REQUEST) coordinator_list_jobs(c, in, m, who);
  else if (m->kind == TRI_MSG_FORGET) coordinator_forget_job(c, in, m->forget.job, who);
  else on_status_request(c, in, m->status_request.protocol);
}
