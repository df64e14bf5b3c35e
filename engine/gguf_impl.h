/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_GGUF_IMPL_H
#define TRI_ENGINE_GGUF_IMPL_H
#include "engine/gguf.h"

/* What gguf.c (one file) and gguf_split.c (a model in several) share. */

struct tri_gguf {
  tri_file_map map; /* {0} when the bytes are the caller's */
  const uint8_t *data;
  size_t len;
  uint64_t total; /* bytes of the file: more than len where only its header is here */
  char *path;
  size_t base; /* where tensor data starts */
  size_t n_kvs, n_tensors;
  tri_gguf_kv *kvs;
  tri_gguf_tensor *tensors;
  const tri_str **kv_index, **tensor_index; /* by name; each points at the first member of its record */
  tri_gguf **more; /* the other parts of a split file, whose tensors stand in `tensors` too */
  size_t n_more;
};

/* One file, whole or a part. (gguf.c) */
TRI_MUST_CHECK tri_status tri_gguf_open_one(tri_gguf **out, const char *path, tri_error *err);
/* Sort the tensors by name; a name that stands twice is an error. Replaces an index that there was. (gguf.c) */
TRI_MUST_CHECK tri_status tri_gguf_index_tensors(tri_gguf *g, tri_error *err);

#endif
