/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_COORDINATOR_IMPL_H
#define TRI_COORDINATOR_COORDINATOR_IMPL_H
#include <sys/stat.h>
#include "coordinator/blocks.h"
#include "coordinator/change.h"
#include "coordinator/coordinator.h"
#include "coordinator/health.h"
#include "coordinator/jobs.h"
#include "coordinator/pipeline.h"
#include "coordinator/registry.h"
#include "coordinator/scheduler.h"
#include "coordinator/store.h"
#include "coordinator/trace.h"
#include "engine/manifest.h"
#include "engine/stage.h"
#include "proto/loop.h"
#include "proto/server.h"
#include "proto/throttle.h"

/* Inside coordinator/ only: what the glue's files share. One thread. */

enum {
  COORDINATOR_TICK_MS = 100,
  COORDINATOR_PROBE_MS = 500,  /* how soon a closed connection is noticed */
  COORDINATOR_STALL_MS = 20000, /* steps in flight and no worker that gets on: a step is lost */
  COORDINATOR_RETRY_MS = 1000, /* after a plan that failed; doubles up to */
  COORDINATOR_RETRY_MAX_MS = 30000,
  COORDINATOR_FAIR = 256,
  COORDINATOR_UNSENT_PONGS = 4 << 20, /* bytes on their way to whoever measures its link */
  COORDINATOR_WARNINGS = 20,   /* lines a second about strangers */
  COORDINATOR_PATIENCE_MS = 60000, /* with a client that does not take in its job's end */
};

#define COORDINATOR_ENROL_DOMAIN "enrolment"

/* Which file was read last: a change of it is noticed by another one of these. */
typedef struct coordinator_stamp {
  struct timespec time;
  ino_t inode;
  off_t size;
} coordinator_stamp;

typedef struct coordinator_enrolment coordinator_enrolment; /* enrol.c */

typedef struct coordinator {
  const tri_coordinator_config *config;
  tri_keypair key;
  tri_model *model;
  tri_net *net;
  tri_loop *loop;
  tri_link *link;
  char endpoint[TRI_MAX_ENDPOINT];
  tri_allow_list allowed;
  coordinator_stamp allowed_stamp;
  uint8_t (*cuts)[TRI_KEY_BYTES]; /* keys whose connections the next tick ends, after what they have been told */
  size_t n_cuts;
  coordinator_enrolment *enrolment;
  int beacon_fd;              /* -1: none */
  tri_throttle beacon_throttle;
  uint64_t refused_keys;      /* handshakes and messages of keys that are not on the list */
  uint32_t warned, unwarned;  /* lines about strangers in this second, and those left out */
  int64_t warned_ms;
  int64_t start_ms, next_probe_ms;
  /* the model's parts */
  tri_parts *parts;
  tri_manifest manifest;
  tri_buf manifest_bytes;     /* as it is sent */
  tri_server *server;
  uint8_t *holds;             /* [TRI_REGISTRY_MAX, hold_bytes]: a bit for each part that a worker has */
  size_t hold_bytes;
  uint64_t given_bytes[TRI_REGISTRY_MAX + 1]; /* that others were told to get from each worker, and from the coordinator */
  /* state machines */
  tri_registry registry;
  tri_pipeline pipeline;
  tri_jobs jobs;
  struct coordinator_journal *journal; /* journal.c; NULL: jobs are not kept */
  tri_blocks *blocks;
  tri_scheduler scheduler;
  tri_health health;
  tri_change change;
  char change_trouble[TRI_MAX_TEXT]; /* why the last change that was wanted did not come about; empty: it did */
  /* looking for a better plan */
  bool review;                /* there may be one */
  int64_t news_ms;            /* since when */
  int64_t looked_ms;          /* for those whose time out is over */
  int64_t replanned_ms;       /* when a better one was last taken; 0: never */
  tri_trace trace;
  /* bringing a pipeline up */
  int64_t retry_at_ms, retry_ms;
  char trouble[TRI_MAX_TEXT]; /* why there is none; empty: nothing wrong but missing workers */
  bool told_ready;
  /* watching it */
  uint64_t progress;          /* sum of the workers' counters */
  int64_t progress_ms;
  uint64_t dropped;           /* messages of another epoch */
  /* scratch: they are large */
  tri_plan plan;
  tri_pace pace;
  tri_msg incoming, outgoing;
  tri_scheduler_action action;
  tri_scheduler_output output;
  tri_buf text;
} coordinator;

/* --- coordinator.c --- */
/* c->outgoing to a peer. */
tri_status coordinator_send(coordinator *c, const tri_peer *to, const void *payload, size_t len, tri_error *err);
/* Say no to whoever sent `in`. */
void coordinator_refuse(coordinator *c, const tri_incoming *in, tri_status status, const char *text);
/* Is a file of the key folder another than the stamp says? Then it is stamped. */
bool coordinator_file_changed(const coordinator *c, const char *file, coordinator_stamp *stamp);
/* A stamp of no file, not even a missing one. */
#define COORDINATOR_NEVER_READ ((coordinator_stamp){.size = -1})
/* Read the allow-list again if its file has changed; who is no longer on it is told so, and cut. */
void coordinator_follow_allowed(coordinator *c);
/* May another line about strangers be logged in this second? What is left out is counted. */
bool coordinator_may_warn(coordinator *c);

/* --- parts.c --- */
tri_status coordinator_parts_open(coordinator *c, tri_error *err);  /* once the model is open */
tri_status coordinator_parts_serve(coordinator *c, tri_error *err); /* once the link listens */
void coordinator_parts_close(coordinator *c);
/* Takes what a worker says about parts, whether it has said hello or not. False: it is about something else. */
bool coordinator_parts_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who);
/* A worker's list of what it has. */
void coordinator_parts_holds(coordinator *c, int index, const uint8_t *bits, size_t len);
/* Ask a worker to get what it lacks for this stage. False: it lacks nothing, or is not there. */
bool coordinator_parts_prefetch(coordinator *c, int index, const tri_plan_stage *stage, uint32_t id);

/* --- workers.c --- */
void coordinator_worker_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who, int64_t now_ms);
/* Notice lost workers and stalled steps; bring a pipeline up if there is none and may be one. */
void coordinator_tend_workers(coordinator *c, int64_t now_ms);
/* This key was revoked: its worker is lost. */
void coordinator_worker_revoked(coordinator *c, const uint8_t key[TRI_KEY_BYTES], int64_t now_ms);
/* The present plan's end. `why`: a failure; NULL: a change by plan, and nobody's fault. */
void coordinator_drop_pipeline(coordinator *c, const char *why, int64_t now_ms);
/* A plan over the workers that are there, in c->plan; its worker i is the registry's order[i]. Who was lost too often is in it only where it
 * does not go without. `tell`: log why others have no stage. */
tri_status coordinator_make_plan(coordinator *c, bool tell, int order[TRI_REGISTRY_MAX], tri_error *err);
/* The plan that serves, with what is known of its workers now, in c->plan. */
tri_status coordinator_price_present(coordinator *c, int order[TRI_REGISTRY_MAX], tri_error *err);
/* A worker's speed as it measured it at its start; nothing else is filled in. */
tri_plan_worker coordinator_speed_of(const tri_msg_hello *h);
/* Is a worker of this name to be used even if that makes nothing faster? */
bool coordinator_is_wanted(const coordinator *c, const char *name);
/* Begin a new epoch with c->plan. */
void coordinator_start_plan(coordinator *c, const int order[TRI_REGISTRY_MAX], int64_t now_ms);
/* Send what the scheduler has. */
void coordinator_pump(coordinator *c);

/* --- members.c --- */
tri_health_record *coordinator_health_of(coordinator *c, int index); /* of the registry's worker; valid until the next call */
/* Takes those off a plan's list who are to be left out; `all`: but not who was lost too often. Returns how many are left. */
size_t coordinator_leave_out(const coordinator *c, int *order, size_t n, bool all, int64_t now_ms);
/* Workers that count towards --min-workers. */
size_t coordinator_count(const coordinator *c);
/* The first worker of --expect that is not there, or NULL. */
const char *coordinator_absent(const coordinator *c);
/* A worker was asked to end. */
void coordinator_on_leave(coordinator *c, int index);
/* A worker has got the parts for the plan to come, or can't. */
void coordinator_on_prefetched(coordinator *c, int index, uint32_t id, tri_status status, const char *text, int64_t now_ms);
void coordinator_on_drain(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who);
/* Make a plan of those who may be used, and have workers get what they lack for it. False: there is none. */
bool coordinator_prepare_change(coordinator *c, const char *why, int64_t patience_ms, int64_t now_ms, tri_error *err);
/* The present plan stays. */
void coordinator_call_off_change(coordinator *c);
/* Begin what change of plan is due, and carry on with the one under way. */
void coordinator_tend_change(coordinator *c, int64_t now_ms);

/* --- replan.c --- */
/* Something has changed that may make another plan better. */
void coordinator_review_soon(coordinator *c);
/* If that is so, and it is time: prepare a better plan, if there is one that is worth it. */
void coordinator_review(coordinator *c, int64_t now_ms);
/* What a heartbeat says of a stage's speed. */
void coordinator_look_at(coordinator *c, int index, const tri_msg_heartbeat *m, int64_t now_ms);

/* --- remember.c --- */
/* The plan that serves now, for the next start. */
void coordinator_remember_plan(const coordinator *c);
/* c->plan is the best plan for these workers: puts the remembered one in its place if that is nearly as good. */
void coordinator_keep_plan(coordinator *c, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n, const tri_plan_options *options);

/* --- clients.c --- */
void coordinator_client_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who);
/* Give free slots to the jobs that are next. */
void coordinator_admit(coordinator *c);
/* The scheduler's output, for one job of a result whose payload is here. */
void coordinator_tell(coordinator *c, const uint8_t *payload, size_t len);
/* End jobs whose time is up; tell those whose job has ended, again where a queue was full. */
void coordinator_tend_clients(coordinator *c);
/* The pipeline is gone, by this failure or (NULL) by plan: running jobs go on over the next one, or have had enough. */
void coordinator_interrupt_jobs(coordinator *c, const char *why);

/* This key was revoked: its jobs end, the detached too. */
void coordinator_client_revoked(coordinator *c, const uint8_t key[TRI_KEY_BYTES]);

/* c->outgoing to a job's client. One that has gone is told nothing more. TRI_E_BUSY: it does not read. */
tri_status coordinator_send_to_job(coordinator *c, tri_job *job, const void *payload, size_t len);
/* End a job whose client's queue is full. */
void coordinator_fail_slow_reader(coordinator *c, tri_job *job);
/* Keep an ended job's end, tell its client, and forget it here; what can't be done now the tick tries again. */
void coordinator_finish_job(coordinator *c, tri_job *job);

/* --- journal.c --- */
/* Opens it; jobs that had not ended are queued again, with the tokens that they had. */
tri_status coordinator_journal_open(coordinator *c, tri_error *err);
void coordinator_journal_close(coordinator *c);
tri_store *coordinator_journal_store(const coordinator *c); /* NULL: none */
bool coordinator_journal_troubled(const coordinator *c);    /* it can't be written at the moment */
/* A job that was just queued: it is on disk when this returns TRI_OK, if it is one that is kept. */
tri_status coordinator_journal_accept(coordinator *c, tri_job *job, const tri_msg_submit *m, const tri_incoming *in, const char *client,
                                      tri_error *err);
void coordinator_journal_started(coordinator *c, const tri_job *job);
/* c->outgoing, Tokens with this text, is to be kept and then sent. */
void coordinator_journal_tell(coordinator *c, tri_job *job, const uint8_t *text, size_t len);
/* Do both for all there is. False: it can't be kept now; it stays, and nothing new is to be computed until it can. */
bool coordinator_journal_flush(coordinator *c);
/* Keep a job's end. False: not now, or the job is no more: don't touch it. */
bool coordinator_journal_end(coordinator *c, tri_job *job, const tri_msg_done *done);
/* From time to time forget what is old. */
void coordinator_journal_tend(coordinator *c, int64_t now_ms);

/* --- follow.c --- */
void coordinator_follow(coordinator *c, const tri_incoming *in, uint64_t id, uint32_t from, const tri_allowed *who);
void coordinator_list_jobs(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who);
void coordinator_forget_job(coordinator *c, const tri_incoming *in, uint64_t id, const tri_allowed *who);

/* --- enrol.c --- */
/* Find out where enrolments will be taken; the link is open only while there is a token. */
tri_status coordinator_enrol_start(coordinator *c, tri_error *err);
/* Open or close it, as the tokens say. */
void coordinator_enrol_tend(coordinator *c);
/* May this address try? The key need not be known. */
bool coordinator_enrol_allow(coordinator *c, const char *address);
uint64_t coordinator_enrol_refused(const coordinator *c);
void coordinator_enrol_close(coordinator *c); /* before the net */

/* --- beacon.c --- */
/* Answer who asks where this coordinator is. Where there is no multicast it goes without. */
void coordinator_beacon_start(coordinator *c);
void coordinator_beacon_close(coordinator *c);

/* --- report.c --- */
/* The status as JSON, appended to *out. */
tri_status coordinator_report(const coordinator *c, int64_t now_ms, tri_buf *out, tri_error *err);
/* Of the traced steps after that one as many as go into one message, likewise. */
tri_status coordinator_report_trace(const coordinator *c, uint64_t after, tri_buf *out, tri_error *err);

#endif
