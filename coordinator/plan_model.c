/* SPDX-License-Identifier: MIT */
#include "coordinator/plan_model.h"

#include "engine/kv.h"
#include "engine/need.h"

/* A stage's need is a sum of parts, which are found as differences of needs: so the plan counts as the workers do. Forms other
 * than R16, which each worker chooses for itself, take no more than it. */
static size_t need_of(const tri_model *m, const tri_plan_load *load, int32_t layers, bool head, uint32_t threads) {
  tri_stage_spec spec = {.last = layers, .head = head, .slots = (int32_t)load->slots, .context = (int32_t)load->context,
                         .max_rows = (int32_t)load->max_rows, .blocks = (int32_t)load->kv_blocks, .kv_type = load->kv_type};
  return tri_need_bytes(m, &spec, (int)threads);
}

uint32_t tri_plan_kv_blocks(uint32_t slots, uint32_t context, uint32_t tokens) {
  enum { COMMON = 4096 / TRI_KV_BLOCK };
  uint32_t all = (uint32_t)tri_kv_blocks((int32_t)slots, (int32_t)context), one = (uint32_t)tri_kv_blocks(1, (int32_t)context);
  if (tokens) return (tokens + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK;
  if (all <= COMMON) return all;
  return one > COMMON ? one : COMMON;
}

uint64_t tri_plan_model_buffers(const tri_model *m, const tri_plan_load *load, uint32_t threads) {
  return need_of(m, load, 0, false, threads);
}

tri_plan_model tri_plan_model_of(const tri_model *m, const tri_plan_load *load) {
  const tri_shape *shape = tri_model_shape(m);
  size_t buffers = need_of(m, load, 0, false, 1);
  size_t kv = tri_stage_kv_bytes(shape, load->kv_blocks, load->kv_type);
  return (tri_plan_model){.layers = (uint32_t)shape->n_layers, .layer_bytes = need_of(m, load, 1, false, 1) - buffers - kv,
                          .kv_bytes = kv, .head_bytes = need_of(m, load, 0, true, 1) - buffers,
                          .row_bytes = tri_wire_row_bytes(load->wire, (size_t)shape->d), .hand_ns = TRI_PLAN_HAND_US * 1000};
}
