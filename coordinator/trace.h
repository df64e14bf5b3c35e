/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_TRACE_H
#define TRI_COORDINATOR_TRACE_H
#include "coordinator/scheduler.h"

/* Where the time of steps goes: the last TRI_TRACE_STEPS steps, while some client asks for it. Pure: no socket, no clock.
 *
 * Each stage says how long a step waited there and how long it computed. No clock of another host is ever compared: what is left of
 * the step's way from the first stage's queue to its result here is the ways between, one more than there are stages. */

enum {
  TRI_TRACE_STEPS = 4096,     /* kept: 12 MiB, which are there only while somebody asks */
  TRI_TRACE_ASKERS = 8,
  TRI_TRACE_LEASE_US = 30000000, /* who asked for nothing in so long has gone */
};

/* A job's rows in a step. */
typedef struct tri_trace_run {
  uint64_t job;
  uint32_t rows;
  bool prompt; /* of its prompt (after a loss: of what it had so far), else the token drawn last */
} tri_trace_run;

typedef struct tri_trace_step {
  uint64_t id;
  uint32_t epoch, n_runs, n_stages;
  int64_t sent_us, took_us; /* when it left; until its result was here */
  uint32_t wait_us[TRI_MAX_STAGES], compute_us[TRI_MAX_STAGES];
  tri_trace_run runs[TRI_MAX_RUNS];
} tri_trace_step;

typedef struct tri_trace_asker {
  tri_peer peer;
  int64_t until_us; /* past: this place is free */
} tri_trace_asker;

/* {0} is a valid one, which traces nothing. */
typedef struct tri_trace {
  tri_trace_step *steps;  /* a ring; NULL: nobody asks */
  uint64_t sent, landed;  /* steps put in; of them those that are back */
  uint64_t wrong;         /* whose times made no sense: they are not kept */
  tri_trace_asker askers[TRI_TRACE_ASKERS];
} tri_trace;

/* A client begins (ON), goes on (GET) or ends (OFF); what was traced is forgotten with the last one. GET without ON is TRI_E_INVALID,
 * one asker too many TRI_E_BUSY. */
TRI_MUST_CHECK tri_status tri_trace_ask(tri_trace *t, const tri_peer *who, tri_trace_action action, int64_t now_us, tri_error *err);
void tri_trace_free(tri_trace *t);

/* The scheduler's newest step leaves now. True: its stages are to add their times. */
bool tri_trace_sent(tri_trace *t, const tri_scheduler *s, int64_t now_us);
/* The result of a step, traced or not, is here, with the times of so many stages. */
void tri_trace_landed(tri_trace *t, uint64_t id, const tri_times *times, uint32_t stages, int64_t now_us);
/* The pipeline is gone, and what was on its way. */
void tri_trace_lost(tri_trace *t);
/* The first step after that one of those that are back; then the one after it, and so on. NULL: no more. */
const tri_trace_step *tri_trace_next(const tri_trace *t, uint64_t after);

#endif
