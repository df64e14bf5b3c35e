/* SPDX-License-Identifier: MIT */
#include "engine/need.h"

#include "base/buf.h"
#include "engine/draw.h"

size_t tri_need_bytes(const tri_model *m, const tri_stage_spec *spec, int threads) {
  const tri_shape *shape = tri_model_shape(m);
  size_t vocab = (size_t)shape->vocab, total = tri_stage_need_bytes(m, spec, threads), slot = sizeof(tri_draw), history;
  size_t rows = (size_t)spec->max_rows * ((size_t)shape->d * sizeof(float) + sizeof(tri_row));
  if (!tri_size_add(total, rows, &total)) return SIZE_MAX;
  if (!spec->head) return total;
  slot += (size_t)spec->context * sizeof(int32_t);
  if (!tri_size_mul((size_t)spec->slots, slot, &history) || !tri_size_add(total, history, &total)) return SIZE_MAX;
  size_t logits = TRI_PANEL_ROWS * (vocab + (size_t)shape->d) * sizeof(float) + tri_sampler_bytes(vocab);
  return tri_size_add(total, logits, &total) ? total : SIZE_MAX;
}
