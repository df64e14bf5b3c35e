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
  size_t context, half_bytes; /* K or V of one layer and slot */
};

static const char *const names[] = {[TRI_F32] = "f32", [TRI_F16] = "f16", [TRI_INT8] = "int8"};
enum { NAMES = sizeof names / sizeof *names };

const char *tri_kv_name(uint32_t type) { return type < NAMES ? names[type] : NULL; }

tri_status tri_kv_parse(const char *name, tri_ftype *out, tri_error *err) {
  for (uint32_t type = 0; type < NAMES; type++)
    if (names[type] && strcmp(names[type], name) == 0) return *out = (tri_ftype)type, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--kv %s: KV cache types are f16, f32 and int8", name);
}

static size_t head_bytes(tri_kv_shape shape) { return tri_ftype_bytes(shape.type, shape.hd); }

size_t tri_kv_bytes(int layers, int32_t slots, int32_t context, tri_kv_shape shape) {
  const size_t factors[] = {2, (size_t)layers, (size_t)slots, (size_t)context, shape.heads, head_bytes(shape)};
  size_t bytes = 1;
  for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
    if (!tri_size_mul(bytes, factors[i], &bytes)) return SIZE_MAX;
  return bytes;
}

tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, tri_kv_shape shape, tri_error *err) {
  size_t bytes = tri_kv_bytes(layers, slots, context, shape);
  tri_kv *kv = calloc(1, sizeof *kv);
  if (kv) kv->mem = tri_mem_get(bytes);
  if (!kv || (bytes && !kv->mem.data)) {
    free(kv);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory for the KV cache: %s for %d sequences of %d positions; lower --ctx or --slots",
                           TRI_UNITS(bytes), slots, context);
  }
  kv->shape = shape, kv->slots = slots;
  kv->context = (size_t)context;
  kv->half_bytes = shape.heads * kv->context * tri_kv_step(kv);
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
  return (char *)kv->mem.data + index * kv->half_bytes + head * kv->context * tri_kv_step(kv);
}

void *tri_kv_keys(const tri_kv *kv, int layer, int32_t slot, size_t head) { return half(kv, layer, slot, 0, head); }
void *tri_kv_values(const tri_kv *kv, int layer, int32_t slot, size_t head) { return half(kv, layer, slot, 1, head); }
size_t tri_kv_step(const tri_kv *kv) { return head_bytes(kv->shape); }
tri_ftype tri_kv_type(const tri_kv *kv) { return kv->shape.type; }
size_t tri_kv_held(const tri_kv *kv) { return kv->mem.bytes; }
