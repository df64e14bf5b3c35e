/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_KV_H
#define TRI_ENGINE_KV_H
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "kernels/kernels.h"

/* The keys and values of a stage's layers, in blocks of TRI_KV_BLOCK positions as attention reads them (tri_attention, kernels.h). A
 * block has room in every layer for K and V of each head. Each slot has a table: which block holds its first positions, which the next
 * ones, and so on; blocks may stand in several tables, and anywhere in them. All memory is claimed at creation; it becomes resident as
 * positions are written. */

typedef struct tri_kv tri_kv;

/* What one position of one layer holds. */
typedef struct tri_kv_shape {
  size_t heads, hd;
  tri_ftype type; /* TRI_F32, TRI_F16 or TRI_INT8 */
} tri_kv_shape;

/* "f32", "f16", "int8"; NULL for a number that is no cache type. */
const char *tri_kv_name(uint32_t type);
TRI_MUST_CHECK tri_status tri_kv_parse(const char *name, tri_ftype *out, tri_error *err);

/* Blocks that `slots` sequences of `context` positions fill. */
size_t tri_kv_blocks(int32_t slots, int32_t context);
/* blocks == 0: as many as all slots need, and each slot has its own from the start. Else tables are empty. */
TRI_MUST_CHECK tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, size_t blocks, tri_kv_shape shape,
                                        tri_error *err);
void tri_kv_destroy(tri_kv **kv);
size_t tri_kv_held(const tri_kv *kv); /* bytes, tables included */
/* Bytes of blocks, and of tables. SIZE_MAX: more than fits. */
size_t tri_kv_bytes(int layers, size_t blocks, tri_kv_shape shape);
size_t tri_kv_table_bytes(int32_t slots, int32_t context);

/* Entries [first, first + n) of a slot's table are from now on these blocks, and the table ends behind them. TRI_E_INVALID: no such
 * slot or block, a gap before the first, or more than the context. */
TRI_MUST_CHECK tri_status tri_kv_map(tri_kv *kv, int32_t slot, int32_t first, const uint32_t *blocks, int32_t n, tri_error *err);
/* Positions that the table has blocks for: [0, this). */
int32_t tri_kv_mapped(const tri_kv *kv, int32_t slot);

/* Point attention at the n >= 1 and <= TRI_ATTENTION_BLOCK positions of a head from `first` on, a multiple of TRI_KV_BLOCK: sets k, v, type, hd. */
void tri_kv_point(const tri_kv *kv, int layer, int32_t slot, size_t head, size_t first, size_t n, tri_attention *out);
/* Keep the key, after its rotation, or the value of a position: hd floats. */
void tri_kv_put_key(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x);
void tri_kv_put_value(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x);

#endif
