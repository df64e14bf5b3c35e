/* SPDX-License-Identifier: MIT */
#include "engine/kv.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/units.h"
#include "engine/mem.h"

struct tri_kv {
  tri_mem mem;
  tri_kv_shape shape;
  int32_t slots;
  size_t bytes;
  size_t head_bytes, half_bytes; /* K or V of one layer and slot: of one head, of all */
};

static const char *const names[] = {[TRI_F32] = "f32", [TRI_F16] = "f16", [TRI_INT8] = "int8"};
enum { NAMES = sizeof names / sizeof *names };

const char *tri_kv_name(uint32_t type) { return type < NAMES ? names[type] : NULL; }

tri_status tri_kv_parse(const char *name, tri_ftype *out, tri_error *err) {
  for (uint32_t type = 0; type < NAMES; type++)
    if (names[type] && strcmp(names[type], name) == 0) return *out = (tri_ftype)type, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--kv %s: KV cache types are f16, f32 and int8", name);
}

static size_t vector_bytes(tri_kv_shape shape) { return tri_ftype_bytes(shape.type, shape.hd); }
static size_t positions(int32_t context) { return tri_round_up((size_t)context, TRI_KV_TILE); }

size_t tri_kv_bytes(int layers, int32_t slots, int32_t context, tri_kv_shape shape) {
  const size_t factors[] = {2, (size_t)layers, (size_t)slots, positions(context), shape.heads, vector_bytes(shape)};
  size_t bytes = 1;
  for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
    if (!tri_size_mul(bytes, factors[i], &bytes)) return SIZE_MAX;
  return bytes;
}

tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, tri_kv_shape shape, tri_error *err) {
  size_t bytes = tri_kv_bytes(layers, slots, context, shape), all;
  tri_kv *kv = calloc(1, sizeof *kv);
  if (kv && tri_size_add(bytes, TRI_KV_SLACK, &all)) kv->mem = tri_mem_get_sparse(all);
  if (!kv || !kv->mem.data) {
    free(kv);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory for the KV cache: %s for %d sequences of %d positions; lower --ctx or --slots",
                           TRI_UNITS(bytes), slots, context);
  }
  kv->shape = shape, kv->slots = slots, kv->bytes = bytes;
  kv->head_bytes = positions(context) * vector_bytes(shape);
  kv->half_bytes = shape.heads * kv->head_bytes;
  *out = kv;
  return TRI_OK;
}

void tri_kv_destroy(tri_kv **kv) {
  if (!*kv) return;
  tri_mem_free(&(*kv)->mem);
  free(*kv);
  *kv = NULL;
}

static void *half(const tri_kv *kv, int layer, int32_t slot, size_t which, size_t head) {
  size_t index = ((size_t)layer * (size_t)kv->slots + (size_t)slot) * 2 + which;
  return (char *)kv->mem.data + index * kv->half_bytes + head * kv->head_bytes;
}

void *tri_kv_keys(const tri_kv *kv, int layer, int32_t slot, size_t head) { return half(kv, layer, slot, 0, head); }
void *tri_kv_values(const tri_kv *kv, int layer, int32_t slot, size_t head) { return half(kv, layer, slot, 1, head); }

void tri_kv_put_key(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x) {
  k->put_key(x, kv->shape.type, tri_kv_keys(kv, layer, slot, head), (size_t)pos, kv->shape.hd);
}

void tri_kv_put_value(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x) {
  char *to = (char *)tri_kv_values(kv, layer, slot, head) + (size_t)pos * vector_bytes(kv->shape);
  k->from_f32(x, kv->shape.type, to, kv->shape.hd);
}

tri_ftype tri_kv_type(const tri_kv *kv) { return kv->shape.type; }
size_t tri_kv_held(const tri_kv *kv) { return kv->bytes; }
