/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_EVAL_H
#define TRI_CLI_EVAL_H
#include "cli/cluster.h"

/* Windows of a text, and their losses, as `trireme eval` scores them. */
typedef struct tri_eval {
  const int32_t *ids; /* [windows * context] */
  size_t windows, context;
  double nll; /* out: the sum over the context - 1 predictions of every window */
} tri_eval;

/* Score over a cluster on this machine, several windows in the pipeline at once. `progress` as tri_progress_update. */
TRI_MUST_CHECK tri_status tri_eval_cluster(tri_eval *e, const tri_cluster_options *o, void *progress, tri_error *err);

#endif
