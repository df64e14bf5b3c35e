/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_SCHEDULER_H
#define TRI_COORDINATOR_SCHEDULER_H
#include "coordinator/jobs.h"

/* Which step goes into the pipeline next, and what its result means. Pure: no socket, no clock.
 *
 * A job holds a slot of the KV cache while it has steps to send. Prompts go in chunks, several of them in the pipeline at
 * once; then tokens one at a time, each fed when its sample is back. A job that an earlier pipeline left behind begins with its
 * prompt and the tokens generated so far, as if all that were the prompt. The pipeline keeps the order of steps at every stage, so a
 * slot can be given to the next job as soon as the last step of the one before has been sent: its positions are overwritten
 * in the same order, and a position is never read before its own sequence wrote it. */

enum { TRI_SCHEDULER_SLOTS = 64, TRI_SCHEDULER_LOGITS_BYTES = 1 << 20 /* of one LOGITS step, unless one row is more */ };

/* A step in the pipeline. */
typedef struct tri_flight {
  uint64_t step, job;
  uint32_t pos, rows;
  tri_want want;
  uint32_t scored; /* SCORE: rows with a following token */
  uint32_t top;    /* SAMPLE: likeliest tokens that come with it */
} tri_flight;

typedef struct tri_scheduler {
  tri_jobs *jobs;
  uint32_t slots, max_rows, vocab;
  bool serving, paused;
  uint32_t epoch, stages;
  uint64_t next_step;
  uint64_t slot_job[TRI_SCHEDULER_SLOTS]; /* id; 0: free */
  uint32_t turn;                          /* slot that is asked first */
  tri_flight flights[TRI_MAX_STAGES + 1]; /* ring, oldest at `oldest` */
  uint32_t oldest, n_flights;
} tri_scheduler;

void tri_scheduler_init(tri_scheduler *s, tri_jobs *jobs, uint32_t slots, uint32_t max_rows, uint32_t vocab);
/* The pipeline of this epoch serves. */
void tri_scheduler_start(tri_scheduler *s, uint32_t epoch, uint32_t stages);
/* Send nothing more in this epoch; what is in flight comes back as ever. */
void tri_scheduler_pause(tri_scheduler *s);
/* The pipeline is gone, and with it the steps in flight. Running jobs are the caller's to interrupt. */
void tri_scheduler_stop(tri_scheduler *s);

typedef struct tri_scheduler_action {
  bool opens;         /* the step begins a sequence: send `open` to the last stage too, whatever the job wants */
  tri_msg_open open;
  const tri_buf *grammar; /* its payload: the job's, to be sent before anything else is done with the job */
  tri_msg_step step;  /* for the first stage */
} tri_scheduler_action;
/* True if a job of the queue could begin now: it may be the next step's. */
bool tri_scheduler_has_room(const tri_scheduler *s);
/* The next step to send; false when nothing can go now. What it returns must be sent: it counts as in flight. */
bool tri_scheduler_next(tri_scheduler *s, int64_t now_us, tri_scheduler_action *out);

typedef struct tri_scheduler_output {
  tri_job *job;          /* NULL: nobody waits for this result any more */
  bool tells;            /* `tokens` is to be sent to the client */
  bool forwards;         /* with the result's payload as its payload (LOGITS) */
  tri_msg_tokens tokens; /* with the text appended as its payload (SAMPLE) */
} tri_scheduler_output;                             /* the job may have ended: see its state */
/* A result of this epoch. Results come in the order of the steps, each with exactly what was asked for; anything else is
 * TRI_E_PROTOCOL, after which the pipeline cannot be trusted. */
TRI_MUST_CHECK tri_status tri_scheduler_result(tri_scheduler *s, const tri_msg_result *m, size_t payload_len, int64_t now_us,
                                               tri_scheduler_output *out, tri_buf *text, tri_error *err);

#endif
