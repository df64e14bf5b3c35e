/* SPDX-License-Identifier: MIT */
#include "engine/kv.h"

#include <stdlib.h>
#include "base/buf.h"
#include "base/units.h"
#include "engine/mem.h"

struct tri_kv {
  tri_mem mem;
  tri_ftype type;
  int32_t slots;
  size_t half_bytes; /* K or V of one layer and slot */
};

static size_t element_bytes(tri_ftype type) { return type == TRI_F32 ? 4 : 2; }

size_t tri_kv_bytes(int layers, int32_t slots, int32_t context, size_t width, tri_ftype type) {
  const size_t factors[] = {2, (size_t)layers, (size_t)slots, (size_t)context, width, element_bytes(type)};
  size_t bytes = 1;
  for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
    if (!tri_size_mul(bytes, factors[i], &bytes)) return SIZE_MAX;
  return bytes;
}

tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, size_t width, tri_ftype type, tri_error *err) {
  size_t bytes = tri_kv_bytes(layers, slots, context, width, type);
  tri_kv *kv = calloc(1, sizeof *kv);
  if (kv) kv->mem = tri_mem_get(bytes);
  if (!kv || (bytes && !kv->mem.data)) {
    free(kv);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory for the KV cache: %s for %d sequences of %d positions; lower --ctx or --slots",
                           TRI_UNITS(bytes), slots, context);
  }
  kv->type = type, kv->slots = slots;
  kv->half_bytes = (size_t)context * width * element_bytes(type);
  *out = kv;
  return TRI_OK;
}

void tri_kv_destroy(tri_kv **kv) {
  if (!*kv) return;
  tri_mem_free(&(*kv)->mem);
  free(*kv);
  *kv = NULL;
}

static void *half(const tri_kv *kv, int layer, int32_t slot, size_t which) {
  size_t index = ((size_t)layer * (size_t)kv->slots + (size_t)slot) * 2 + which;
  return (char *)kv->mem.data + index * kv->half_bytes;
}

void *tri_kv_keys(const tri_kv *kv, int layer, int32_t slot) { return half(kv, layer, slot, 0); }
void *tri_kv_values(const tri_kv *kv, int layer, int32_t slot) { return half(kv, layer, slot, 1); }
size_t tri_kv_held(const tri_kv *kv) { return kv->mem.bytes; }
tri_ftype tri_kv_type(const tri_kv *kv) { return kv->type; }
size_t tri_kv_element_bytes(const tri_kv *kv) { return element_bytes(kv->type); }
