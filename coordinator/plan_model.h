/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_MODEL_H
#define TRI_COORDINATOR_PLAN_MODEL_H
#include "coordinator/plan.h"
#include "engine/model.h"
#include "engine/wire.h"

/* What a plan needs to know of a model file, counted as workers count it (engine/need.h). */

typedef struct tri_plan_load {
  uint32_t slots, context, max_rows;
  tri_ftype kv_type;
  tri_wire wire;
} tri_plan_load;

tri_plan_model tri_plan_model_of(const tri_model *m, const tri_plan_load *load);
/* tri_plan_worker.buffer_bytes of a worker with so many threads. */
uint64_t tri_plan_model_buffers(const tri_model *m, const tri_plan_load *load, uint32_t threads);

#endif
