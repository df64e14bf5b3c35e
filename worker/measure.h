/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_MEASURE_H
#define TRI_WORKER_MEASURE_H
#include "engine/stage.h"

/* What this machine takes, measured with its own kernels and threads: the planner's input. */

enum { TRI_MEASURE_ROWS = 24 };

typedef struct tri_measure {
  uint32_t layer_us, head_us;           /* one row through one layer; through final norm and head. At least 1 */
  uint32_t layer_rows_us, head_rows_us; /* TRI_MEASURE_ROWS rows at once, all of them */
} tri_measure;

/* Over a quarter of a second for each of the two numbers of rows, on phantoms of the model, as its weights need not be here. As
 * many layers, and rows of the head, are timed as caches can't hold, if the model has them and a quarter of `memory_bytes` is enough:
 * a stage reads its weights from memory too. */
TRI_MUST_CHECK tri_status tri_measure_model(tri_measure *out, const tri_model *m, const tri_kernels *k, tri_pool *pool,
                                            const tri_tune *tune, uint64_t memory_bytes, tri_error *err);

#endif
