/* SPDX-License-Identifier: MIT */
#include "engine/interner.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

typedef struct entry {
  size_t at, len; /* in arena */
  uint64_t hash;
} entry;

struct tri_interner {
  uint8_t key[crypto_shorthash_KEYBYTES];
  tri_buf arena, entries; /* entry [count] */
  uint32_t count, *table; /* number + 1 by hash, 0: free; at most half full */
  size_t slots;           /* a power of two */
};

enum { FIRST_SLOTS = 64, ALIGN = 8 };

tri_status tri_interner_create(tri_interner **out, tri_error *err) {
  tri_interner *in = calloc(1, sizeof *in);
  if (in) in->slots = FIRST_SLOTS, in->table = calloc(FIRST_SLOTS, sizeof *in->table);
  if (!in || !in->table || sodium_init() < 0) {
    tri_interner_destroy(&in);
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a table");
  }
  randombytes_buf(in->key, sizeof in->key);
  *out = in;
  return TRI_OK;
}

void tri_interner_destroy(tri_interner **interner) {
  tri_interner *in = *interner;
  if (!in) return;
  tri_buf_free(&in->arena);
  tri_buf_free(&in->entries);
  free(in->table);
  free(in);
  *interner = NULL;
}

static const entry *entry_at(const tri_interner *in, uint32_t id) { return (const entry *)(const void *)in->entries.data + id; }

static bool grow(tri_interner *in) {
  size_t slots = in->slots * 2;
  uint32_t *table = calloc(slots, sizeof *table);
  if (!table) return false;
  for (uint32_t id = 0; id < in->count; id++) {
    size_t i = entry_at(in, id)->hash & (slots - 1);
    while (table[i]) i = (i + 1) & (slots - 1);
    table[i] = id + 1;
  }
  free(in->table);
  in->table = table, in->slots = slots;
  return true;
}

static bool append(tri_interner *in, const void *bytes, size_t len, uint64_t hash) {
  static const uint8_t zeros[ALIGN];
  entry e = {in->arena.len, len, hash};
  tri_buf_append(&in->arena, bytes, len);
  tri_buf_append(&in->arena, zeros, (ALIGN - len % ALIGN) % ALIGN);
  tri_buf_append(&in->entries, &e, sizeof e);
  return tri_buf_ok(&in->arena) && tri_buf_ok(&in->entries);
}

uint32_t tri_interner_put(tri_interner *in, const void *bytes, size_t len, bool *fresh) {
  uint64_t hash;
  if (fresh) *fresh = false;
  if (in->count >= in->slots / 2 && (in->count >= INT32_MAX || !grow(in))) return TRI_INTERNER_NONE;
  crypto_shorthash((uint8_t *)&hash, bytes, len, in->key);
  size_t i = hash & (in->slots - 1);
  for (; in->table[i]; i = (i + 1) & (in->slots - 1)) {
    const entry *e = entry_at(in, in->table[i] - 1);
    if (e->hash == hash && e->len == len && (!len || memcmp(in->arena.data + e->at, bytes, len) == 0)) return in->table[i] - 1;
  }
  if (!append(in, bytes, len, hash)) return TRI_INTERNER_NONE;
  if (fresh) *fresh = true;
  in->table[i] = ++in->count;
  return in->count - 1;
}

const void *tri_interner_get(const tri_interner *in, uint32_t id, size_t *len) {
  *len = entry_at(in, id)->len;
  return in->arena.data + entry_at(in, id)->at;
}

uint32_t tri_interner_count(const tri_interner *in) { return in->count; }
size_t tri_interner_bytes(const tri_interner *in) { return in->arena.cap + in->entries.cap + in->slots * sizeof *in->table; }
