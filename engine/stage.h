/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_STAGE_H
#define TRI_ENGINE_STAGE_H
#include "engine/model.h"
#include "engine/pool.h"
#include "engine/tune.h"

/* A stage: layers [first, last) of a model with their KV cache, and the embedding and the head when it has them. It runs
 * batches of rows; a row is one token of one sequence at one position. Not thread-safe: one runner calls it. */

typedef struct tri_stage tri_stage;

typedef struct tri_stage_spec {
  int32_t first, last;    /* layers [first, last); may be empty when embed or head is set */
  bool embed, head;
  int32_t slots, context; /* KV cache: this many sequences of at most this many positions */
  int32_t blocks;         /* that they share, of TRI_KV_BLOCK positions (tri_stage_map); 0: each has its own for the whole context */
  int32_t max_rows;       /* most rows in one run */
  tri_ftype kv_type;      /* TRI_F32, TRI_F16 or TRI_INT8 */
  const tri_tune *tune;   /* the form of each matrix; NULL: R16. Needed only while the stage opens */
} tri_stage_spec;

typedef struct tri_row {
  int32_t slot;  /* 0 <= slot < slots */
  int32_t pos;   /* 0 <= pos < context; rows of one slot come in ascending order within a run */
  int32_t token; /* for the embedding; 0 <= token < vocab */
} tri_row;

/* Packs the layers' weights into their run-time form; `progress` (may be NULL) is called with bytes done and total. The model
 * and the pool must outlive the stage. Errors name the tensor (bad codes, a scale that is not finite and positive). */
TRI_MUST_CHECK tri_status tri_stage_open(tri_stage **out, const tri_model *m, const tri_kernels *k, tri_pool *pool,
                                         const tri_stage_spec *spec, void (*progress)(void *, uint64_t, uint64_t), void *arg,
                                         tri_error *err);
void tri_stage_close(tri_stage **s);
const tri_stage_spec *tri_stage_get_spec(const tri_stage *s);
/* What it holds: weights, KV cache, head and buffers; norms, and a head of a float type, in the file's mapping. */
size_t tri_stage_bytes(const tri_stage *s);
/* The same, before it is opened on a pool of `threads`; SIZE_MAX: more than can be. */
size_t tri_stage_need_bytes(const tri_model *m, const tri_stage_spec *spec, int threads);
/* Bytes of weights read for one token: the layers as they are held, and the head. */
size_t tri_stage_weight_bytes(const tri_stage *s);
/* Bytes of KV cache for one layer, for planning. */
size_t tri_stage_kv_bytes(const tri_shape *shape, size_t blocks, tri_ftype kv_type);

/* Between runs: a slot's KV blocks from number `first` on, for the positions from first * TRI_KV_BLOCK on; what it had from there on it
 * has no longer. A block may belong to several slots: it then holds the same tokens at the same positions, and is not written
 * any more. TRI_E_INVALID: slot, block, gap or context (tri_kv_map). */
TRI_MUST_CHECK tri_status tri_stage_map(tri_stage *s, int32_t slot, int32_t first, const uint32_t *blocks, int32_t n, tri_error *err);

/* Check rows from outside against the stage's limits, and that their positions have blocks: TRI_E_INVALID with the row and field. */
TRI_MUST_CHECK tri_status tri_stage_check_rows(const tri_stage *s, const tri_row *rows, int32_t n, tri_error *err);

/* hidden [n, d] float32: read unless the stage embeds, and overwritten with the result of the last layer. Rows must have passed
 * the check. The result of a row does not depend on the rows beside it. */
void tri_stage_run(tri_stage *s, const tri_row *rows, int32_t n, float *hidden);
/* Final norm and head: hidden [n, d] -> logits [n, vocab]. Only with head. */
void tri_stage_logits(tri_stage *s, const float *hidden, int32_t n, float *logits);
/* For inspection: called on thread 0 after each layer with the residual stream [n, d]; NULL to stop. */
void tri_stage_watch(tri_stage *s, void (*fn)(void *arg, int32_t layer, const float *hidden, int32_t n), void *arg);

#endif
