/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_MODEL_H
#define TRI_COORDINATOR_PLAN_MODEL_H
#include "coordinator/plan.h"
#include "engine/model.h"
#include "engine/wire.h"

/* What a plan needs to know of a model file, counted as workers count it (engine/need.h). */

typedef struct tri_plan_load {
  uint32_t slots, context, max_rows, kv_blocks;
  tri_ftype kv_type;
  tri_wire wire;
} tri_plan_load;

/* Blocks of a KV cache for so many positions of all sequences together. tokens == 0: for one sequence of the whole context, and more, up
 * to 4096 positions, where the slots can fill them. */
uint32_t tri_plan_kv_blocks(uint32_t slots, uint32_t context, uint32_t tokens);
tri_plan_model tri_plan_model_of(const tri_model *m, const tri_plan_load *load);
/* tri_plan_worker.buffer_bytes of a worker with so many threads. */
uint64_t tri_plan_model_buffers(const tri_model *m, const tri_plan_load *load, uint32_t threads);

#endif
