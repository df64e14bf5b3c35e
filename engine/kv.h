/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_KV_H
#define TRI_ENGINE_KV_H
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "kernels/kernels.h"

/* The keys and values of a stage's layers: for each layer and slot, K and V [context, width], width = n_kv * hd. All memory
 * is claimed at creation; pages become resident as positions are written. */

typedef struct tri_kv tri_kv;

TRI_MUST_CHECK tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, size_t width, tri_ftype type,
                                        tri_error *err);
void tri_kv_destroy(tri_kv **kv);
size_t tri_kv_held(const tri_kv *kv); /* bytes */
/* SIZE_MAX: more than fits. */
size_t tri_kv_bytes(int layers, int32_t slots, int32_t context, size_t width, tri_ftype type);
/* Position 0 of a layer's slot. */
void *tri_kv_keys(const tri_kv *kv, int layer, int32_t slot);
void *tri_kv_values(const tri_kv *kv, int layer, int32_t slot);
tri_ftype tri_kv_type(const tri_kv *kv);
size_t tri_kv_element_bytes(const tri_kv *kv);

#endif
