/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_SHARD_H
#define TRI_WORKER_SHARD_H
#include "engine/model.h"
#include "engine/pool.h"
#include "worker/store.h"

/* A model of which some parts are here: mapped from the store, or from a local model file where that has the same. */

/* Where parts may be. All of it must outlive what is opened over it, and may be used by several threads at once. */
typedef struct tri_shard_source {
  tri_manifest manifest;
  tri_store store;
  bool has_store;                /* else parts are in the local file only */
  const tri_gguf *local;         /* NULL: no local file */
  const tri_parts *local_parts;
} tri_shard_source;

/* The part's index in the local file if one of its name and size is there, or -1; its bytes have yet to be looked at. */
int tri_shard_find_local(const tri_shard_source *s, const tri_parts *model, size_t part);

typedef struct tri_shard tri_shard;

/* Parts that keep a model from being opened. */
typedef struct tri_shard_lack {
  uint32_t *parts; /* [n], malloc'ed; to be freed by whoever gets it */
  size_t n;
  bool damaged;    /* they are here, but their bytes are wrong; else they are missing */
} tri_shard_lack;

/* Opens the model with its metadata and `parts` [n], after checking the bytes of each against the manifest, on all threads of the pool; `text`:
 * with its tokenizer. *lack is empty unless parts are what fails it: TRI_E_NOT_FOUND or TRI_E_FORMAT. The errors of tri_model_open, too. */
TRI_MUST_CHECK tri_status tri_shard_open(tri_shard **out, const tri_shard_source *s, tri_pool *pool, const size_t *parts, size_t n, bool text,
                                         tri_shard_lack *lack, tri_error *err);
void tri_shard_close(tri_shard **s);
const tri_model *tri_shard_model(const tri_shard *s);
const tri_parts *tri_shard_parts(const tri_shard *s);

#endif
