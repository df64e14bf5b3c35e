/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_FOLLOW_H
#define TRI_CLI_FOLLOW_H
#include <jansson.h>
#include "cli/client.h"
#include "cli/sampling.h"
#include "engine/tokenizer.h"

/* One generating job from submit to its end, as `submit` and `local` show it. */

typedef struct tri_follow {
  /* in */
  const tri_buf *prompt;
  bool special, no_bos, detach;
  bool quiet;       /* collect the text, print nothing (--json) */
  bool show_prompt; /* print it before the answer */
  /* out */
  uint64_t job;
  uint32_t ahead;   /* jobs before it, when it was accepted */
  bool begun;       /* its turn has come */
  tri_buf text;
  tri_ids ids;      /* generated */
  tri_msg_done done;
} tri_follow;

/* Text goes to stdout as it comes. Returns once the job has ended (detach: was accepted). A job that failed, or was refused,
 * is an error. */
TRI_MUST_CHECK tri_status tri_follow_job(tri_client *c, const tri_sampling_args *options, const tri_sampler_params *params, tri_follow *f,
                                         tri_error *err);
/* Its speed, as tri_cli_print_speed, on `out`. */
void tri_follow_summary(const tri_follow *f, FILE *out);
/* The job as a JSON object for --json; the caller's reference. */
json_t *tri_follow_json(const tri_follow *f);
void tri_follow_free(tri_follow *f);

#endif
