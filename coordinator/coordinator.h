/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_COORDINATOR_H
#define TRI_COORDINATOR_COORDINATOR_H
#include "coordinator/plan_file.h"
#include "coordinator/scheduler.h"
#include "engine/wire.h"
#include "proto/keys.h"

/* The coordinator's process: sockets around the state machines. */

typedef struct tri_coordinator_config {
  const char *model_path; /* its tokenizer and shape; weights are not read */
  const char *listen;     /* tcp://ADDRESS:PORT; port 0 picks one */
  const char *enrol;      /* where those with a token enrol, likewise; NULL: at the port after the other, on the same address; "none" */
  bool announce;          /* answer questions by multicast for where this coordinator is */
  const char *key_dir;    /* secret.key, allowed.keys and tokens */
  const char *const *expect; /* names of workers, in the order of the stages; all must be there */
  size_t n_expect;
  uint32_t min_workers;   /* at least 1 */
  tri_plan_objective objective;
  const tri_plan_file *nodes; /* what a person knows or wishes of workers, by name; NULL: nothing */
  bool all_workers;       /* each gets a layer where that is possible, in the order of their names */
  uint32_t context, slots, max_rows;
  uint32_t kv_tokens;     /* positions that the KV cache holds, of all sequences together; 0: the context, and 4096 where slots fill them */
  tri_reuse reuse;
  int64_t itl_target_ms;  /* between two tokens of a stream while prompts are computed; 0: twice what it is without them */
  tri_jobs_limits limits;
  const char *jobs_path;  /* where jobs are kept; NULL: jobs.db in key_dir; "none": they end with this process */
  int64_t keep_ms;        /* ended ones for so long, */
  uint32_t keep_jobs;     /* and so many of them */
  int64_t orphan_ms;      /* a kept job whose client is gone without having detached waits so long for it, then it ends */
  double replan_gain;     /* another plan must be so much faster to be taken while one serves: 0.15; 0: none is */
  int64_t replan_every_ms; /* and that happens once in this time at most */
  int64_t lost_ms;        /* a worker that gives no sign of life for longer is lost */
  tri_wire wire;
  tri_ftype kv_type;
  int ready_fd;           /* -1: none. Lines for whoever started us: the endpoint once we listen, "ready" once the pipeline
                             serves, "failed TEXT" each time it cannot be brought up */
} tri_coordinator_config;

/* Runs until SIGTERM or SIGINT (TRI_OK), or an error that ends it. */
TRI_MUST_CHECK tri_status tri_coordinator_run(const tri_coordinator_config *config, tri_error *err);

#endif
