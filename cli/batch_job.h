/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_BATCH_JOB_H
#define TRI_CLI_BATCH_JOB_H
#include <jansson.h>
#include "cli/follow.h"
#include "cli/talk.h"

/* One line of a batch: OpenAI's format (platform.openai.com/docs/guides/batch). What of a body is understood: docs/BATCH.md. */

/* What all lines have in common. */
typedef struct tri_batch_common {
  const char *model;              /* name that the answers give */
  const tri_tokenizer *tokenizer; /* for the lines that need one */
  tri_talk *talk;                 /* likewise; makes prompts of messages */
  int32_t context;
  int64_t predict, seed;          /* for a line that says nothing of its own: tokens at most; its seed is this plus its number */
  int32_t priority;               /* of the cluster's jobs */
  bool special, no_bos;           /* of prompts that are text */
} tri_batch_common;

typedef struct tri_batch_job {
  size_t line; /* in the input, from 1 */
  json_t *id;  /* the line's custom_id, a text; NULL: it has none */
  bool chat;   /* answered as a chat's message, not as a completion */
  bool scored; /* with log-probabilities, */
  uint32_t top; /* and of so many likeliest tokens */
  tri_msg_submit request;
  tri_buf payload; /* of the request */
  tri_follow out;  /* its answer; quiet */
} tri_batch_job;

/* What can be said of a line before it is read. */
typedef struct tri_batch_peek {
  json_t *id;    /* its custom_id, the caller's reference; NULL: it has none, or makes no sense */
  bool messages; /* it needs a talk */
  bool tokens;   /* it needs a tokenizer: the answer shows texts of tokens */
} tri_batch_peek;
tri_batch_peek tri_batch_job_peek(const char *text, size_t len);

/* Read the line of this number into a new job, which the caller frees. It is made in every case but TRI_E_NOMEM: a line that makes no
 * sense has its number and, where that could be made out, its custom_id; *err says which key is wrong and why. */
TRI_MUST_CHECK tri_status tri_batch_job_read(tri_batch_job **out, size_t number, const char *text, size_t len,
                                             const tri_batch_common *common, tri_error *err);
/* Throw away what came of it, to ask anew. */
void tri_batch_job_renew(tri_batch_job *job);
void tri_batch_job_free(tri_batch_job **job);

/* A line of the output: what the job was answered, or why it was not (`code`: a word for programs). The caller's reference. */
json_t *tri_batch_job_answer(const tri_batch_job *job, const tri_batch_common *common);
json_t *tri_batch_job_error(const tri_batch_job *job, const char *code, const char *message);

#endif
