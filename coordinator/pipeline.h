/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PIPELINE_H
#define TRI_COORDINATOR_PIPELINE_H
#include "coordinator/plan.h"
#include "coordinator/registry.h"

/* From a plan to workers that serve it. Pure. One epoch is one life of a plan:
 *
 *   IDLE ──start: Assign to every stage──▶ LOADING ──all Bound: Connect to all but the last──▶ CONNECTING ──all Ready──▶ SERVING
 *     ▲────────────── drop: a worker lost or faulted, or the plan is given up; Stop to the rest ──────────────────────────┘ */

typedef enum tri_pipeline_state {
  TRI_PIPELINE_IDLE, TRI_PIPELINE_LOADING, TRI_PIPELINE_CONNECTING, TRI_PIPELINE_SERVING
} tri_pipeline_state;

/* What every stage is told alike. */
typedef struct tri_pipeline_config {
  uint32_t slots, context, max_rows, wire, kv_type, kv_blocks, layers;
} tri_pipeline_config;

typedef struct tri_pipeline {
  tri_pipeline_config config;
  tri_pipeline_state state;
  uint32_t epoch;               /* of the present plan, or of the last one */
  uint32_t stages;              /* 0 when IDLE */
  int worker[TRI_MAX_STAGES];   /* registry index of each stage's worker */
  tri_plan_stage part[TRI_MAX_STAGES];
} tri_pipeline;

void tri_pipeline_init(tri_pipeline *p, const tri_pipeline_config *config);
/* Begin a new epoch with a plan whose worker i is the registry's `order[i]`. The caller sends every stage its Assign. */
void tri_pipeline_start(tri_pipeline *p, tri_registry *r, const tri_plan *plan, const int *order);
void tri_pipeline_assign(const tri_pipeline *p, const tri_registry *r, uint32_t stage, tri_msg_assign *out);
/* Where `stage` is to send its rows: the next stage's data link. stage < stages - 1. */
void tri_pipeline_connect(const tri_pipeline *p, const tri_registry *r, uint32_t stage, tri_msg_connect *out);
/* A worker's Bound and Ready in this epoch (the caller has dropped those of others). *complete becomes true with the last one
 * that was missing: then Connect is due, or the pipeline serves. TRI_E_PROTOCOL when it is not the worker's turn. */
TRI_MUST_CHECK tri_status tri_pipeline_bound(tri_pipeline *p, tri_registry *r, int worker, const tri_msg_bound *m, bool *complete,
                                             tri_error *err);
TRI_MUST_CHECK tri_status tri_pipeline_ready(tri_pipeline *p, tri_registry *r, int worker, bool *complete, tri_error *err);
/* Give the plan up: its live workers are JOINED again. The caller sends them Stop. */
void tri_pipeline_drop(tri_pipeline *p, tri_registry *r);
const char *tri_pipeline_state_name(tri_pipeline_state state);

#endif
