/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_REPLICAS_H
#define TRI_COORDINATOR_PLAN_REPLICAS_H
#include "coordinator/plan.h"

/* Several pipelines side by side, each a plan of its own with the whole model, over disjoint groups of workers. */

enum { TRI_PLAN_MAX_REPLICAS = 16 };

typedef struct tri_plan_replicas {
  uint32_t count;
  tri_plan *plan;    /* [count]: stages' workers are indices into all workers */
  double one_per_s;  /* tokens/s of one stream, on the fastest replica */
  double many_per_s; /* of many streams, over all replicas */
} tri_plan_replicas;

/* Shares the workers out to `count` replicas, 0: as many as serve the goal best. For throughput that is the largest sum of the
 * replicas' rates; for latency the fastest pipeline first, then a second of those left over, and so on (a given count is shared
 * out as for throughput, so that all of it fits). Groups are found by dealing out and then moving and swapping workers while that
 * gains: good, not proven best. One replica is tri_plan_make's own plan. More than one only where no worker has given layers or
 * a position and the order is free: TRI_E_INVALID. TRI_E_LIMIT: no such number of groups was found that fits the model.
 * tri_plan_replicas_free frees what *out holds. */
TRI_MUST_CHECK tri_status tri_plan_replicate(tri_plan_replicas *out, const tri_plan_model *m, const tri_plan_worker *workers,
                                             uint32_t n, const tri_plan_options *options, uint32_t count, tri_error *err);
void tri_plan_replicas_free(tri_plan_replicas *r);

#endif
