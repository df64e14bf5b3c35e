/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_KV_H
#define TRI_ENGINE_KV_H
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "kernels/kernels.h"

/* The keys and values of a stage's layers: for each layer and slot, K and V of each head over the whole context, as attention reads
 * them (tri_attention, kernels.h). All memory is claimed at creation; it becomes resident as positions are written. */

typedef struct tri_kv tri_kv;

/* What one position of one layer and slot holds. */
typedef struct tri_kv_shape {
  size_t heads, hd;
  tri_ftype type; /* TRI_F32, TRI_F16 or TRI_INT8 */
} tri_kv_shape;

/* "f32", "f16", "int8"; NULL for a number that is no cache type. */
const char *tri_kv_name(uint32_t type);
TRI_MUST_CHECK tri_status tri_kv_parse(const char *name, tri_ftype *out, tri_error *err);

TRI_MUST_CHECK tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, tri_kv_shape shape, tri_error *err);
void tri_kv_destroy(tri_kv **kv);
size_t tri_kv_held(const tri_kv *kv); /* bytes */
/* SIZE_MAX: more than fits. */
size_t tri_kv_bytes(int layers, int32_t slots, int32_t context, tri_kv_shape shape);
/* A head's keys and values from position 0 on, for tri_attention. */
void *tri_kv_keys(const tri_kv *kv, int layer, int32_t slot, size_t head);
void *tri_kv_values(const tri_kv *kv, int layer, int32_t slot, size_t head);
/* Keep the key, after its rotation, or the value of a position: hd floats. */
void tri_kv_put_key(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x);
void tri_kv_put_value(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x);
tri_ftype tri_kv_type(const tri_kv *kv);

#endif
