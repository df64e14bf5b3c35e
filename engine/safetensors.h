/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SAFETENSORS_H
#define TRI_ENGINE_SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

/* One safetensors file, read in place from a mapping: u64 header length, a JSON object of name ->
 * {dtype, shape, data_offsets}, then the tensors' bytes. Source of the format: Hugging Face's safetensors
 * README. */

enum { TRI_SAFETENSORS_MAX_HEADER = 100 * 1000 * 1000, TRI_SAFETENSORS_MAX_DIMS = 8 };

typedef enum tri_dtype {
  TRI_DTYPE_F64,
  TRI_DTYPE_F32,
  TRI_DTYPE_F16,
  TRI_DTYPE_BF16,
  TRI_DTYPE_I64,
  TRI_DTYPE_I32,
  TRI_DTYPE_I16,
  TRI_DTYPE_I8,
  TRI_DTYPE_U64,
  TRI_DTYPE_U32,
  TRI_DTYPE_U16,
  TRI_DTYPE_U8,
  TRI_DTYPE_BOOL,
  TRI_DTYPE_F8_E4M3,
  TRI_DTYPE_F8_E5M2,
  TRI_DTYPE_COUNT
} tri_dtype;

const char *tri_dtype_name(tri_dtype dtype); /* "BF16" */
size_t tri_dtype_bytes(tri_dtype dtype);     /* of one element */

typedef struct tri_safetensor {
  const char *name; /* owned by the file object */
  tri_dtype dtype;
  int n_dims;                              /* 0: a scalar */
  uint64_t dims[TRI_SAFETENSORS_MAX_DIMS]; /* as in the file: the last is the fastest */
  uint64_t count;                          /* elements; 0 if a dimension is 0 */
  const uint8_t *data;                     /* in the mapping, with no alignment to count on */
  size_t bytes;                            /* count * the dtype's bytes */
} tri_safetensor;

typedef struct tri_safetensors tri_safetensors;

/* Open and check a file: the header's length, its JSON, and of each tensor dtype, shape and offsets against
 * the file's size. Messages name the file and the tensor. TRI_E_FORMAT, TRI_E_UNSUPPORTED (a dtype unknown to
 * us, more than TRI_SAFETENSORS_MAX_DIMS dimensions), TRI_E_LIMIT (header). */
TRI_MUST_CHECK tri_status tri_safetensors_open(tri_safetensors **out, const char *path, tri_error *err);
/* The same over bytes in memory, which must outlive the object (tests and fuzzing). `name` stands in
 * messages. */
TRI_MUST_CHECK tri_status tri_safetensors_open_memory(tri_safetensors **out, const void *data, size_t len,
                                                      const char *name, tri_error *err);
void tri_safetensors_close(tri_safetensors **s);

const char *tri_safetensors_path(const tri_safetensors *s);
size_t tri_safetensors_count(const tri_safetensors *s);
const tri_safetensor *tri_safetensors_at(const tri_safetensors *s,
                                         size_t i); /* in order of name; NULL past the end */
const tri_safetensor *tri_safetensors_find(const tri_safetensors *s,
                                           const char *name); /* NULL if absent; O(log n) */

#endif
