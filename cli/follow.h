/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_FOLLOW_H
#define TRI_CLI_FOLLOW_H
#include <jansson.h>
#include "cli/client.h"
#include "cli/sampling.h"
#include "cli/scores.h"
#include "engine/tokenizer.h"

/* One generation and how it is shown: a job from submit to its end (`submit`, `local`), or one of this process (`run`). */

typedef struct tri_follow {
  /* in */
  const tri_msg_submit *request;
  const tri_buf *payload; /* its payload: the grammar's text and the prompt's */
  bool quiet;       /* collect the text, print nothing (--json) */
  bool show_prompt; /* print it before the answer */
  /* out */
  uint64_t job;     /* 0: none */
  uint32_t ahead;   /* jobs before it, when it was accepted */
  bool begun;       /* its turn has come */
  uint32_t kept;    /* tokens at the prompt's start that the KV cache still had, so that they were not computed (a job: 0) */
  tri_buf text;
  tri_ids ids;      /* generated */
  tri_scores scores; /* of each, if asked for */
  tri_msg_done done;
} tri_follow;

/* Text goes to stdout as it comes. Returns once the job has ended (detach: was accepted). A job that failed, or was refused,
 * is an error. A coordinator that is lost has a minute to come back. Interrupted, the job is cancelled. */
TRI_MUST_CHECK tri_status tri_follow_job(tri_client *c, tri_follow *f, tri_error *err);
/* A job of before, from its first token on; f->request needs no more than to be there. Interrupted, it is left to itself. */
TRI_MUST_CHECK tri_status tri_follow_again(tri_client *c, tri_follow *f, uint64_t job, tri_error *err);
/* Take in one of a job's events, ACCEPTED to DONE; for who has several under way. *over: nothing more will come. Errors as above. */
TRI_MUST_CHECK tri_status tri_follow_take(tri_follow *f, const tri_client_event *e, bool *over, tri_error *err);
/* The prompt's text on stdout. */
void tri_follow_show_prompt(const tri_follow *f);
/* Its scores, and its speed as tri_cli_print_speed, on `out`. */
void tri_follow_summary(const tri_follow *f, FILE *out);
/* It as a JSON object for --json; the caller's reference. */
json_t *tri_follow_json(const tri_follow *f);
void tri_follow_free(tri_follow *f);

#endif
