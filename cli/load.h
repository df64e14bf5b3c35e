/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_LOAD_H
#define TRI_CLI_LOAD_H
#include "cli/client.h"
#include "cli/steps.h"

/* A load for a cluster: many jobs of made-up prompts, timed by this process' own clock, while the coordinator traces its steps. */

typedef struct tri_load {
  uint32_t streams;  /* so many jobs at any time, or */
  double rate;       /* > 0: so many a second, as a Poisson process */
  uint32_t requests; /* jobs in all; 0: as many as come in the time */
  double seconds;    /* then what is under way is cancelled; 0: no limit. One of the two is needed */
  uint32_t prompt, predict; /* tokens of each */
  uint64_t seed;     /* of arrivals, prompts and answers */
  const int32_t *ids; /* [n_ids] what prompts are made of */
  size_t n_ids;
  void (*progress)(void *arg, uint64_t done, uint64_t total); /* jobs, or seconds if there is a limit to those alone; may be NULL */
  void *progress_arg;
} tri_load;

typedef struct tri_load_job {
  uint64_t id;          /* 0: not accepted yet */
  tri_span span;        /* asked for (by rate: when it was due), first token, Done; first 0: had none */
  int64_t last_us;      /* its last token */
  uint32_t tokens;
  bool cancelled;       /* as the time was up */
} tri_load_job;

typedef struct tri_load_result {
  tri_load_job *jobs;   /* [n_jobs] in the order of their beginnings; not those that were refused */
  size_t n_jobs, cap_jobs;
  uint32_t *gaps_us;    /* [n_gaps] between two tokens of a stream */
  int64_t *token_us;    /* [n_tokens] when each came, in order */
  size_t n_gaps, cap_gaps, n_tokens, cap_tokens;
  uint32_t refused;     /* as the coordinator's queue was full */
  int64_t begin_us, end_us;
  tri_steps steps;
} tri_load_result;

/* Returns when all jobs have ended. A job that fails is an error. No jobs may be under way. */
TRI_MUST_CHECK tri_status tri_load_run(tri_client *client, const tri_load *load, tri_load_result *out, tri_error *err);
void tri_load_free(tri_load_result *r); /* also after a failure */

#endif
