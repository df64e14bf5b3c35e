/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_BATCH_H
#define TRI_CLI_BATCH_H
#include "cli/batch_job.h"
#include "cli/batch_out.h"
#include "cli/cli.h"
#include "cli/client.h"

/* A batch at work: lines in, lines out. Who answers (this process, or a cluster) takes jobs from it and gives them back. */

typedef struct tri_batch_line {
  size_t number, at, len; /* from 1; bytes of the input's text */
  size_t twin;            /* an earlier line with the same custom_id; 0: none */
} tri_batch_line;

typedef struct tri_batch {
  tri_batch_common common;
  tri_buf input;
  tri_batch_line *todo; /* [n_todo], what the output lacks */
  json_t *seen;         /* an object: each custom_id of the input, and its line's number */
  size_t n_todo, next;
  size_t lines, answered, failed; /* of the input, blank ones apart; of this run */
  size_t messages_at, tokens_at;  /* the first line to do that needs a talk, or a tokenizer; 0: none */
  uint64_t prompt_tokens, tokens;
  tri_batch_out *out;
  tri_progress progress;
} tri_batch;

/* The next line, as a job that the caller gives to tri_batch_finish; NULL: there are no more. Lines that can't become one are
 * answered by an error and passed over. */
TRI_MUST_CHECK tri_status tri_batch_next(tri_batch *b, tri_batch_job **out, tri_error *err);
/* Write the job's answer, or with a code (a word for programs) and a message why there is none, and free it. */
TRI_MUST_CHECK tri_status tri_batch_finish(tri_batch *b, tri_batch_job **job, const char *code, const char *message, tri_error *err);
/* Whether it is about one line and the others can go on. */
bool tri_batch_is_lines_fault(tri_status status);

/* All lines as jobs of a cluster, `parallel` of them submitted at a time. One that a failure of the cluster ends is submitted again, some
 * times. TRI_E_CANCELLED: interrupted; the jobs under way are cancelled. */
TRI_MUST_CHECK tri_status tri_batch_over_cluster(tri_batch *b, tri_client *client, size_t parallel, tri_error *err);

#endif
