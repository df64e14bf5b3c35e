/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MANIFEST_H
#define TRI_ENGINE_MANIFEST_H
#include "base/buf.h"
#include "engine/parts.h"

/* What a model's parts are: their sizes and hashes, in the order of engine/parts.h. The coordinator makes it, workers get and keep parts by
 * it. As bytes: for each part its size as a little-endian u64 and its hash. */

enum {
  TRI_MANIFEST_PARTS = 4100,     /* most of a model: 4096 layers, and the four others */
  TRI_MANIFEST_ITEM_BYTES = 8 + TRI_PARTS_HASH_BYTES,
};

typedef struct tri_manifest_item {
  uint64_t bytes;
  tri_part_hash hash;
} tri_manifest_item;

typedef struct tri_manifest {
  size_t n;
  tri_manifest_item *items; /* [n] */
} tri_manifest;

/* Reads all of the model, unless it was done before: hashes are kept in the user's cache folder by the file's path, size, time of change and
 * inode. progress (may be NULL) is told bytes done and in all. TRI_E_LIMIT: too many parts. */
TRI_MUST_CHECK tri_status tri_manifest_make(tri_manifest *out, const tri_parts *p, const tri_gguf *g,
                                            void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, tri_error *err);
void tri_manifest_free(tri_manifest *m);
void tri_manifest_encode(const tri_manifest *m, tri_buf *out);
/* TRI_E_FORMAT: no whole items, none, too many, or sizes that add up to more than 2^62. */
TRI_MUST_CHECK tri_status tri_manifest_decode(tri_manifest *out, const uint8_t *bytes, size_t len, tri_error *err);
bool tri_manifest_equal(const tri_manifest *a, const tri_manifest *b);
/* The index of the part with this hash, or -1. */
int tri_manifest_find(const tri_manifest *m, const uint8_t hash[TRI_PARTS_HASH_BYTES]);

#endif
