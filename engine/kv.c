/* SPDX-License-Identifier: MIT */
#include "engine/kv.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/units.h"
#include "engine/mem.h"

struct tri_kv {
  tri_mem mem;          /* [layers][K, V][heads][blocks]: what follows one another does so for each head */
  tri_kv_shape shape;
  size_t blocks, bytes;
  size_t block_bytes;   /* K or V of one layer, head and block */
  int32_t slots, entries;
  uint32_t *table;      /* [slots, entries], of which the slot's first `lengths` count */
  int32_t *lengths;     /* [slots] */
};

static const char *const names[] = {[TRI_F32] = "f32", [TRI_F16] = "f16", [TRI_INT8] = "int8"};
enum { NAMES = sizeof names / sizeof *names };

const char *tri_kv_name(uint32_t type) { return type < NAMES ? names[type] : NULL; }

tri_status tri_kv_parse(const char *name, tri_ftype *out, tri_error *err) {
  for (uint32_t type = 0; type < NAMES; type++)
    if (names[type] && strcmp(names[type], name) == 0) return *out = (tri_ftype)type, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--kv %s: KV cache types are f16, f32 and int8", name);
}

static int32_t entries_of(int32_t context) { return (int32_t)(((int64_t)context + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK); }
static size_t vector_bytes(tri_kv_shape shape) { return tri_ftype_bytes(shape.type, shape.hd); }
static size_t times(size_t a, size_t b) { return tri_size_mul(a, b, &a) ? a : SIZE_MAX; }

size_t tri_kv_blocks(int32_t slots, int32_t context) { return (size_t)slots * (size_t)entries_of(context); }

size_t tri_kv_bytes(int layers, size_t blocks, tri_kv_shape shape) {
  return times(times(times(2 * (size_t)layers, blocks), shape.heads), TRI_KV_BLOCK * vector_bytes(shape));
}

size_t tri_kv_table_bytes(int32_t slots, int32_t context) {
  return tri_kv_blocks(slots, context) * sizeof(uint32_t) + (size_t)slots * sizeof(int32_t);
}

static bool make_table(tri_kv *kv, int32_t slots, int32_t context) {
  kv->slots = slots, kv->entries = entries_of(context);
  kv->table = malloc(tri_kv_blocks(slots, context) * sizeof *kv->table);
  kv->lengths = calloc((size_t)slots, sizeof *kv->lengths);
  return kv->table && kv->lengths;
}

static void map_all(tri_kv *kv) {
  for (uint32_t i = 0; i < kv->blocks; i++) kv->table[i] = i;
  for (int32_t slot = 0; slot < kv->slots; slot++) kv->lengths[slot] = kv->entries;
}

tri_status tri_kv_create(tri_kv **out, int layers, int32_t slots, int32_t context, size_t blocks, tri_kv_shape shape, tri_error *err) {
  size_t count = blocks ? blocks : tri_kv_blocks(slots, context), bytes = tri_kv_bytes(layers, count, shape), all;
  tri_kv *kv = calloc(1, sizeof *kv);
  if (kv && count <= INT32_MAX && tri_size_add(bytes, TRI_KV_SLACK, &all) && make_table(kv, slots, context))
    kv->mem = tri_mem_get_sparse(all);
  if (!kv || !kv->mem.data) {
    tri_kv_destroy(&kv);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory for the KV cache: %s for %zu positions; lower --ctx or --slots",
                           TRI_UNITS(bytes), count * TRI_KV_BLOCK);
  }
  kv->shape = shape, kv->blocks = count, kv->bytes = bytes + tri_kv_table_bytes(slots, context);
  kv->block_bytes = TRI_KV_BLOCK * vector_bytes(shape);
  if (!blocks) map_all(kv);
  *out = kv;
  return TRI_OK;
}

void tri_kv_destroy(tri_kv **kv) {
  if (!*kv) return;
  tri_mem_free(&(*kv)->mem);
  free((*kv)->table);
  free((*kv)->lengths);
  free(*kv);
  *kv = NULL;
}

size_t tri_kv_held(const tri_kv *kv) { return kv->bytes; }

tri_status tri_kv_map(tri_kv *kv, int32_t slot, int32_t first, const uint32_t *blocks, int32_t n, tri_error *err) {
  if (slot < 0 || slot >= kv->slots) return tri_status_fail(err, TRI_E_INVALID, "KV blocks for slot %d of %d", slot, kv->slots);
  if (first < 0 || first > kv->lengths[slot])
    return tri_status_fail(err, TRI_E_INVALID, "slot %d: KV block %d comes after %d", slot, first, kv->lengths[slot]);
  if (n < 0 || n > kv->entries - first)
    return tri_status_fail(err, TRI_E_INVALID, "slot %d: %d KV blocks from %d on, the context has %d", slot, n, first, kv->entries);
  for (int32_t i = 0; i < n; i++)
    if (blocks[i] >= kv->blocks)
      return tri_status_fail(err, TRI_E_INVALID, "slot %d: KV block number %u of %zu", slot, blocks[i], kv->blocks);
  memcpy(kv->table + (size_t)slot * (size_t)kv->entries + first, blocks, (size_t)n * sizeof *blocks);
  kv->lengths[slot] = first + n;
  return TRI_OK;
}

int32_t tri_kv_mapped(const tri_kv *kv, int32_t slot) { return kv->lengths[slot] * TRI_KV_BLOCK; }

/* --- reading and writing --- */

enum { KEYS, VALUES };

static char *head_of(const tri_kv *kv, int layer, size_t which, size_t head) {
  return (char *)kv->mem.data + (((size_t)layer * 2 + which) * kv->shape.heads + head) * kv->blocks * kv->block_bytes;
}

static const uint32_t *entry_at(const tri_kv *kv, int32_t slot, size_t pos) {
  return kv->table + (size_t)slot * (size_t)kv->entries + pos / TRI_KV_BLOCK;
}

static char *block_of(const tri_kv *kv, int layer, int32_t slot, size_t which, size_t head, int32_t pos) {
  return head_of(kv, layer, which, head) + *entry_at(kv, slot, (size_t)pos) * kv->block_bytes;
}

void tri_kv_point(const tri_kv *kv, int layer, int32_t slot, size_t head, size_t first, size_t n, tri_attention *out) {
  const char *keys = head_of(kv, layer, KEYS, head), *values = head_of(kv, layer, VALUES, head);
  const uint32_t *entries = entry_at(kv, slot, first);
  size_t count = (n + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK, left = (size_t)kv->lengths[slot] - first / TRI_KV_BLOCK;
  for (size_t i = 0; i <= count; i++) {
    size_t at = entries[i < left ? i : count - 1] * kv->block_bytes;
    out->k[i] = keys + at, out->v[i] = values + at;
  }
  out->type = kv->shape.type, out->hd = kv->shape.hd;
}

void tri_kv_put_key(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x) {
  k->put_key(x, kv->shape.type, block_of(kv, layer, slot, KEYS, head, pos), (size_t)pos % TRI_KV_BLOCK, kv->shape.hd);
}

void tri_kv_put_value(const tri_kv *kv, const tri_kernels *k, int layer, int32_t slot, size_t head, int32_t pos, const float *x) {
  char *block = block_of(kv, layer, slot, VALUES, head, pos);
  k->from_f32(x, kv->shape.type, block + (size_t)pos % TRI_KV_BLOCK * vector_bytes(kv->shape), kv->shape.hd);
}
