/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_SCHEDULER_H
#define TRI_COORDINATOR_SCHEDULER_H
#include "coordinator/blocks.h"
#include "coordinator/jobs.h"
#include "coordinator/pace.h"

/* Which rows go into the pipeline next, and what their results mean. Pure: no socket, no clock.
 *
 * A job holds a slot, which is a table of KV blocks at every stage, while it has rows to send. It begins once there are blocks for its
 * whole prompt; blocks that hold the prompt's beginning from before are taken as they are, and their rows are not sent. A step takes
 * rows of many jobs: of those that generate one each, fed when its token is back, and beside them chunks of prompts, by priority
 * and age. How many of each, and how many steps are on their way at once, is the pace's to say. When an answer needs a block and there is
 * none, the last job in that order yields: it goes back to the queue with its tokens, and later begins with prompt and answer so far,
 * as if all that were the prompt; so does a job that an earlier pipeline left behind.
 *
 * Every stage takes steps in the same order, so a slot can be given to the next job as soon as the last step of the one before
 * has been sent: its blocks change hands in the same order (blocks.h). */

/* From whom a job may take the beginning of its prompt. */
typedef enum tri_reuse {
  TRI_REUSE_ALL,    /* anybody: how soon an answer comes may tell a client that another one's prompt began alike */
  TRI_REUSE_CLIENT, /* jobs of the same key */
  TRI_REUSE_NONE,
} tri_reuse;
/* "all", "client", "none" */
tri_status tri_scheduler_parse_reuse(const char *name, tri_reuse *out, tri_error *err);

enum { TRI_SCHEDULER_SLOTS = 64, TRI_SCHEDULER_LOGITS_BYTES = 1 << 20 /* of one LOGITS step, unless one row is more */ };

/* A job's rows in a step. */
typedef struct tri_flight_run {
  uint64_t job;
  uint32_t pos, rows;
  tri_want want;
  uint32_t scored; /* SCORE: rows with a following token */
  uint32_t top;    /* SAMPLE: likeliest tokens that come with it */
} tri_flight_run;

/* A step in the pipeline. */
typedef struct tri_flight {
  uint64_t step;
  uint32_t n_runs, n_rows, opens; /* opens: sequences that begin in it */
  tri_flight_run runs[TRI_MAX_RUNS];
} tri_flight;

/* A place for a sequence. */
typedef struct tri_scheduler_slot {
  uint64_t job;          /* id; 0: free */
  tri_blocks_chain chain;
  uint32_t mapped;       /* blocks of the chain that the stages have been told of */
  bool begun;            /* its first run has been sent */
} tri_scheduler_slot;

typedef struct tri_scheduler {
  tri_jobs *jobs;
  tri_blocks *blocks;
  tri_reuse reuse;
  uint32_t slots, vocab;
  bool serving, paused;
  uint32_t epoch;
  tri_pace pace;
  uint64_t next_step;
  tri_scheduler_slot slot[TRI_SCHEDULER_SLOTS];
  uint64_t refused_job;                   /* the last one for which there were not enough blocks, */
  int64_t refused_room;                   /* and how many were free beside those that running jobs need */
  uint32_t turn;                          /* slot that is asked first */
  bool logits_due;                        /* the next step is the one for a LOGITS job, which shares with none */
  tri_flight flights[TRI_MAX_FLIGHTS];   /* ring, oldest at `oldest` */
  uint32_t oldest, n_flights, n_opens;
  tri_flight landed;                      /* whose result is being told */
  uint32_t told_runs, told_tokens, told_logprobs, told_top, told_failures; /* of it so far */
} tri_scheduler;

/* `blocks` is the book of the pipeline's KV blocks: enough for one sequence of the whole context, or more. */
void tri_scheduler_init(tri_scheduler *s, tri_jobs *jobs, tri_blocks *blocks, uint32_t slots, uint32_t vocab, tri_reuse reuse);
/* The pipeline of this epoch serves, at this pace. */
void tri_scheduler_start(tri_scheduler *s, uint32_t epoch, const tri_pace *pace);
/* Send nothing more in this epoch; what is in flight comes back as ever. */
void tri_scheduler_pause(tri_scheduler *s);
/* It goes on after all. */
void tri_scheduler_resume(tri_scheduler *s);
/* The pipeline is gone, and with it the steps in flight. Running jobs are the caller's to interrupt. */
void tri_scheduler_stop(tri_scheduler *s);

/* Is there a slot for another job? */
bool tri_scheduler_has_room(tri_scheduler *s);
/* Give it to the next job of the queue; NULL: no slot, no job, or not enough blocks for it yet. */
tri_job *tri_scheduler_admit(tri_scheduler *s, int64_t now_us);

typedef struct tri_scheduler_action {
  tri_msg_step step;                    /* for the first stage */
  uint32_t n_opens;                     /* sequences that begin in it: the last stage is to be told of each, before anything else is */
  uint32_t open_slot[TRI_MAX_RUNS];     /* done with its job */
  const tri_job *open_job[TRI_MAX_RUNS];
  uint32_t open_held[TRI_MAX_RUNS];     /* tokens that its first run comes after */
} tri_scheduler_action;
/* The next step to send; false when nothing can go now. What it returns must be sent: it counts as in flight. */
bool tri_scheduler_next(tri_scheduler *s, tri_scheduler_action *out);
/* The step that it returned last. */
static inline const tri_flight *tri_scheduler_newest(const tri_scheduler *s) {
  return &s->flights[(s->oldest + s->n_flights - 1) % TRI_MAX_FLIGHTS];
}
/* The message for a sequence that begins, and its payload, which is appended: the job's grammar, then the tokens that are not sent. */
void tri_scheduler_open(const tri_scheduler *s, const tri_scheduler_action *a, uint32_t i, tri_msg_open *out, tri_buf *payload);

/* A result of this epoch. Results come in the order of the steps, each with exactly what was asked for; anything else is
 * TRI_E_PROTOCOL, after which the pipeline cannot be trusted. */
TRI_MUST_CHECK tri_status tri_scheduler_result(tri_scheduler *s, const tri_msg_result *m, size_t payload_len, tri_error *err);

typedef struct tri_scheduler_output {
  tri_job *job;          /* may have ended: see its state */
  bool tells;            /* `tokens` is to be sent to the client */
  bool forwards;         /* with the result's payload as its payload (LOGITS) */
  tri_msg_tokens tokens; /* with the text as its payload (SAMPLE) */
} tri_scheduler_output;
/* What that result means for one job after the other, passing over those for whom nobody waits any more; false: no more. Text that may
 * be shown is appended to *text. */
bool tri_scheduler_output_next(tri_scheduler *s, const tri_msg_result *m, int64_t now_us, tri_scheduler_output *out, tri_buf *text);

#endif
