/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_MEASURE_H
#define TRI_WORKER_MEASURE_H
#include "engine/stage.h"

/* What this machine takes for one row, measured with its own kernels and threads: the planner's input. */
typedef struct tri_measure {
  uint32_t layer_us; /* through one layer, at least 1 */
  uint32_t head_us;  /* through final norm and head, at least 1 */
} tri_measure;

/* The least of as many runs as fit into a quarter of a second, of a stage that is opened for the purpose and closed again. */
TRI_MUST_CHECK tri_status tri_measure_model(tri_measure *out, const tri_model *m, const tri_kernels *k, tri_pool *pool,
                                            const tri_tune *tune, tri_error *err);

#endif
