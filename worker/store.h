/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_STORE_H
#define TRI_WORKER_STORE_H
#include "base/file.h"
#include "engine/manifest.h"

/* A worker's parts on disk: one file each in a folder, named by its hash in hexadecimal; "HASH.part" while it is on its way. Nothing else is
 * kept: the files are the state, so any number of workers may share a folder. What a file holds is checked by whoever uses it (shard.h), as
 * a disk may lie; it need not be forced to disk for that reason. */

typedef struct tri_store {
  char dir[1024];
  uint64_t limit_bytes; /* of all files; the oldest in use go first */
} tri_store;

/* dir NULL: "parts" in the user's cache folder. Makes the folder. TRI_E_IO. */
TRI_MUST_CHECK tri_status tri_store_open(tri_store *s, const char *dir, uint64_t limit_bytes, tri_error *err);
/* All of a part is here. */
bool tri_store_has(const tri_store *s, const tri_manifest_item *item);
/* Bytes of a part that has begun to come. */
uint64_t tri_store_begun(const tri_store *s, const tri_manifest_item *item);
/* Put bytes behind those that are here; `at` says where they belong. With the last ones the part is whole. TRI_E_PROTOCOL: they belong
 * elsewhere; TRI_E_IO: the disk, by name. */
TRI_MUST_CHECK tri_status tri_store_append(const tri_store *s, const tri_manifest_item *item, uint64_t at, const uint8_t *bytes, size_t len,
                                           tri_error *err);
/* Map a whole part, and mark it as used now. */
TRI_MUST_CHECK tri_status tri_store_map(const tri_store *s, const tri_manifest_item *item, tri_file_map *out, tri_error *err);
/* Bytes [at, at + len) of a whole part. */
TRI_MUST_CHECK tri_status tri_store_read(const tri_store *s, const tri_manifest_item *item, uint64_t at, size_t len, uint8_t *out, tri_error *err);
void tri_store_drop(const tri_store *s, const tri_manifest_item *item);
/* Remove files, those used longest ago first, until `bytes` more fit into the limit; those of `keep` [n_keep] stay. TRI_E_LIMIT when that can't
 * be. */
TRI_MUST_CHECK tri_status tri_store_make_room(const tri_store *s, uint64_t bytes, const tri_manifest_item *const *keep, size_t n_keep,
                                              tri_error *err);

#endif
