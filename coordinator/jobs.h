/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_JOBS_H
#define TRI_COORDINATOR_JOBS_H
#include "base/buf.h"
#include "engine/stream.h"
#include "proto/codec.h"
#include "proto/link.h"

/* Jobs: what clients asked for, from acceptance to Done. Pure: no socket, no clock.
 *
 *   submit ──▶ QUEUED ──take──▶ RUNNING ──▶ ENDED (length, end token, stop string, cancelled, failed, deadline)
 *                 │ ▲──interrupt───┘           ▲
 *                 └──────────── end ───────────┘
 *
 * A job outlives the pipeline under it: it keeps its tokens and its text, and the next pipeline computes their rows again. */

enum {
  TRI_JOBS_MAX = 1024,                /* held */
  TRI_JOBS_BUCKETS = 1024,
  TRI_JOBS_MAX_TOKENS = 16 << 20,     /* prompt tokens of all of them together: 64 MiB */
  TRI_JOBS_LOGITS_BYTES = 256 << 20,  /* that one LOGITS job may ask for */
  TRI_JOBS_GRAMMAR_BYTES = 64 << 20,  /* of all grammars together */
  TRI_JOBS_SUSPECT = 2,               /* interruptions after which a job runs alone, as it may be their cause */
};

typedef enum tri_job_state { TRI_JOB_QUEUED, TRI_JOB_RUNNING, TRI_JOB_ENDED } tri_job_state;

typedef struct tri_job {
  struct tri_job *next, *before; /* in the order of acceptance */
  struct tri_job *same_bucket;
  uint64_t id;
  tri_job_state state;
  /* who asked */
  tri_peer client;
  uint8_t client_key[TRI_KEY_BYTES];
  uint32_t owner;     /* that key's place in `owners` */
  /* what for */
  tri_want want;
  uint32_t predict; /* SAMPLE: tokens at most, already cut to the context */
  bool ignore_end, detach;
  int32_t priority;
  tri_sampler_params sampling;
  uint32_t n_stop_tokens;
  int32_t stop_tokens[TRI_MAX_STOP_TOKENS]; /* end it before one of these, as a stop string does */
  tri_buf grammar;    /* GBNF; empty: none */
  uint32_t prompt;    /* tokens */
  tri_ids tokens;     /* the prompt, then those generated */
  tri_stream *stream; /* SAMPLE */
  /* how far */
  uint32_t sent;      /* rows of `tokens` in this pipeline's steps */
  uint32_t done;      /* of them those whose results are here */
  uint32_t reused;    /* rows of the prompt that were there already when it first ran */
  uint32_t told;      /* LOGITS, SCORE: rows whose results the client has, whichever pipeline they came from */
  uint32_t interrupted; /* pipelines that ended by a failure since it last got on */
  bool yields;        /* it is to go back to the queue once nothing of it is on its way */
  bool durable, recorded; /* it is in the journal; so is its end */
  int64_t orphaned_us;    /* since when a client that had not detached is gone; 0: it is there */
  bool paused;            /* it does not run until its client is back */
  bool sends;         /* the client is still there */
  bool closed;        /* ended, and what there is left to tell is in `rest` */
  tri_buf rest;
  bool announced;     /* it was told that its turn has come */
  int64_t submitted_us, started_us, prefilled_us, ended_us; /* 0: not yet */
  int64_t deadline_us; /* INT64_MAX: none */
  tri_done_reason reason;
  char error[TRI_MAX_TEXT]; /* FAILED */
} tri_job;

/* Whoever has jobs here. */
typedef struct tri_jobs_owner {
  uint8_t key[TRI_KEY_BYTES];
  uint32_t held, running; /* held 0: this place is free */
} tri_jobs_owner;

typedef struct tri_jobs_limits {
  uint32_t retries;        /* a job that was interrupted more often, without getting on in between, fails */
  uint32_t client_held;    /* jobs of one client; 0: as many as there is room for */
  uint32_t client_running; /* of them at once; 0: as many as there are slots */
} tri_jobs_limits;

typedef struct tri_jobs {
  tri_job *first, *last;
  tri_job *bucket[TRI_JOBS_BUCKETS]; /* by id */
  uint32_t held; /* jobs in the list: queued, running, and those ended whose client has not taken it in yet */
  uint32_t queued, running;
  uint64_t held_tokens, held_grammar_bytes, next_id;
  tri_jobs_limits limits;
  tri_jobs_owner owners[TRI_JOBS_MAX];
  uint64_t ended_ok, ended_failed;
  /* of the last job that generated or was scored */
  double prefill_per_s, decode_per_s;
  const tri_tokenizer *tokenizer; /* NULL: prompts come as ids only */
  size_t longest_piece;           /* bytes */
  bool has_end;                   /* some token ends a text */
  uint32_t context, vocab;
} tri_jobs;

void tri_jobs_init(tri_jobs *j, const tri_tokenizer *tokenizer, uint32_t context, uint32_t vocab, const tri_jobs_limits *limits);
void tri_jobs_free(tri_jobs *j);

/* TRI_E_PROTOCOL, with both versions, when a client speaks another protocol. */
TRI_MUST_CHECK tri_status tri_jobs_check_protocol(uint32_t protocol, tri_error *err);
/* Check, tokenise and queue. *ahead tells how many jobs run or are before it now. TRI_E_PROTOCOL another protocol; TRI_E_INVALID a wrong
 * option or prompt, or a prompt longer than the context; TRI_E_BUSY the queue, or this client's share of it, is full. */
TRI_MUST_CHECK tri_status tri_jobs_submit(tri_jobs *j, const tri_msg_submit *m, const tri_incoming *from, int64_t now_us, tri_job **out,
                                          uint32_t *ahead, tri_error *err);
tri_job *tri_jobs_find(const tri_jobs *j, uint64_t id);
/* The queued job that may run now: one that ran before, else of the highest priority, else of the client with the fewest running, else
 * the oldest; not beside one that is suspected of ending pipelines. NULL: none. */
tri_job *tri_jobs_next(const tri_jobs *j);
/* It, now running; NULL if there is none. */
tri_job *tri_jobs_take(tri_jobs *j, int64_t now_us);
/* The pipeline is gone: each running job is queued again, in its old place, which is before all that have not run yet. `why` is
 * the failure, and a job that had too many of them ends with it; NULL: the change was planned, and is held against none. */
void tri_jobs_interrupt(tri_jobs *j, const char *why, int64_t now_us);
/* One running job is queued again, with what it has. */
void tri_jobs_yield(tri_jobs *j, tri_job *job);
uint32_t tri_jobs_generated(const tri_job *job); /* tokens so far */
/* A sampled token: appends the text that may be shown to *text and ends the job when that is due. */
void tri_jobs_token(tri_jobs *j, tri_job *job, int32_t token, int64_t now_us, tri_buf *text);
/* End it, for a reason (FAILED: with a text); a second end changes nothing. */
void tri_jobs_end(tri_jobs *j, tri_job *job, tri_done_reason reason, const char *error, int64_t now_us);
/* End those whose time is up. */
void tri_jobs_expire(tri_jobs *j, int64_t now_us);
/* The message for an ended job; its payload is job->rest, the text that was held back. */
void tri_jobs_done(tri_job *job, tri_msg_done *out);
/* Forget an ended job and free it. */
void tri_jobs_remove(tri_jobs *j, tri_job **job);

#endif
