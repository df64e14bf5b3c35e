/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_H
#define TRI_COORDINATOR_PLAN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

/* Which worker runs which layers: a contiguous split over the workers in a given order. Pure arithmetic. */

enum { TRI_PLAN_MAX_WORKERS = 256, TRI_PLAN_MAX_LAYERS = 4096 };

typedef struct tri_plan_model {
  uint32_t layers;
  uint64_t layer_bytes;     /* a layer's weights in memory */
  uint64_t kv_bytes;        /* a layer's KV cache for all slots */
  uint64_t embedding_bytes; /* on the stage with layer 0 */
  uint64_t head_bytes;      /* on the stage with the last layer: the matrix, and what sampling takes */
} tri_plan_model;

typedef struct tri_plan_worker {
  const char *name;      /* for the error's text */
  uint32_t layer_us;     /* one row through one layer */
  uint32_t head_us;      /* one row through norm and head */
  uint64_t memory_bytes; /* it may use */
  uint64_t buffer_bytes; /* that any stage needs there, beside its layers and the model's ends */
} tri_plan_worker;

typedef struct tri_plan_stage {
  uint32_t worker;      /* index into the workers given */
  uint32_t first, last; /* layers [first, last), never empty */
  uint64_t bytes;       /* that it needs there */
  uint64_t us;          /* one row through this stage */
} tri_plan_stage;

typedef struct tri_plan {
  uint32_t stages;
  tri_plan_stage stage[TRI_PLAN_MAX_WORKERS];
} tri_plan;

/* Every worker gets at least one layer where memory and the number of layers allow it (else as few as possible stay without
 * one); among those splits the slowest stage is as fast as can be; among those the stages are as even as can be (least sum of
 * squares). Exact. TRI_E_LIMIT with the numbers when the model does not fit. */
TRI_MUST_CHECK tri_status tri_plan_split(tri_plan *out, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                                         tri_error *err);

/* What a stage of `layers` layers needs on this worker. */
uint64_t tri_plan_bytes(const tri_plan_model *m, const tri_plan_worker *w, uint32_t layers, bool embed, bool head);

#endif
