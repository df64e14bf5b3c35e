/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_GGUF_H
#define TRI_ENGINE_GGUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/file.h"
#include "base/status.h"

/* GGUF v3 files, read in place from a mapping and written as a stream.
 * Source of the format: the GGUF specification of the ggml project; the ternary types are bitnet.cpp's. */

typedef enum tri_type {
  TRI_TYPE_F32 = 0,
  TRI_TYPE_F16 = 1,
  TRI_TYPE_Q4_0 = 2, /* engine/matrix.h, like the others without a remark */
  TRI_TYPE_Q5_0 = 6,
  TRI_TYPE_Q8_0 = 8,
  TRI_TYPE_Q4_K = 12,
  TRI_TYPE_Q6_K = 14, /* kernels/q6.h */
  TRI_TYPE_IQ4_NL = 20,
  TRI_TYPE_BF16 = 30,
  TRI_TYPE_TQ1_0 = 34, /* llama.cpp: ternary with a scale for each 256 weights (engine/layouts.h) */
  TRI_TYPE_TQ2_0 = 35,
  TRI_TYPE_I2_S = 36, /* bitnet.cpp: 2 bits a weight, one f32 scale per tensor (kernels/i2s.h) */
  TRI_TYPE_TL1 = 38,  /* bitnet.cpp: two weights in 4 bits, in tiles whose sizes stand elsewhere (kernels/tl1.h) */
  TRI_TYPE_TL2 = 39,  /* bitnet.cpp: three weights in 5 bits, likewise (kernels/tl2.h); llama.cpp's MXFP4 has this number too */
  TRI_TYPE_IQ1_BN = 134, /* ik_llama.cpp: ternary with a scale for each row (engine/layouts.h) */
  TRI_TYPE_IQ2_BN = 135,
  TRI_TYPE_IQ2_BN_R4 = 335,
} tri_type;

const char *tri_type_name(uint32_t type); /* "I2_S"; "unknown" for one that we don't know */
/* Bytes of a tensor of `n` elements in rows of `row` elements; false if the type is unknown to us, the row does
 * not fit the type's block, or the product overflows. I2_S and TL1: n/4 + 32; TL2: bitnet.cpp's padded size, of n/row rows. */
bool tri_type_bytes(uint32_t type, uint64_t n, uint64_t row, uint64_t *bytes);

typedef enum tri_gguf_value_type {
  TRI_GGUF_U8, TRI_GGUF_I8, TRI_GGUF_U16, TRI_GGUF_I16, TRI_GGUF_U32, TRI_GGUF_I32, TRI_GGUF_F32, TRI_GGUF_BOOL,
  TRI_GGUF_STRING, TRI_GGUF_ARRAY, TRI_GGUF_U64, TRI_GGUF_I64, TRI_GGUF_F64,
} tri_gguf_value_type;

/* Bytes of a scalar value; 0 for strings, arrays and types that don't exist. */
size_t tri_gguf_scalar_bytes(uint32_t type);

/* A string inside the mapping: not NUL-terminated. */
typedef struct tri_str {
  const char *data;
  size_t len;
} tri_str;

/* A string from outside made fit for a message: printable ASCII, other bytes as '?', cut to cap - 1 bytes (with "..."). */
void tri_str_printable(tri_str s, char *out, size_t cap);

typedef struct tri_gguf_kv {
  tri_str key;
  uint32_t type;          /* tri_gguf_value_type */
  uint32_t element_type;  /* of an array */
  uint64_t count;         /* elements of an array, else 1 */
  const uint8_t *data;    /* the value's bytes; of a string or an array of strings: after the type/count words */
  size_t bytes;
} tri_gguf_kv;

typedef struct tri_gguf_tensor {
  tri_str name;
  uint32_t type; /* tri_type, or a number that we don't know */
  int n_dims;
  uint64_t dims[4]; /* dims[0] is the fastest (columns, k); unused ones are 1 */
  const uint8_t *data; /* NULL where only the header is here */
  size_t bytes;     /* 0 if the type is unknown */
  size_t room;      /* bytes from data to the next tensor's data, or to the file's end */
} tri_gguf_tensor;

typedef struct tri_gguf tri_gguf;

/* Open and check a file, or all parts of a split one by the path of the first, NAME-00001-of-0000N.gguf: magic, version, every count,
 * length, offset and alignment against the file's size. A tensor of an unknown type is kept (bytes = 0) so that it can be listed; using it
 * is the caller's error to report. Messages name the file, the field and what was expected. */
TRI_MUST_CHECK tri_status tri_gguf_open(tri_gguf **out, const char *path, tri_error *err);
/* The same over bytes in memory, 8-byte aligned, which must outlive the object (tests and fuzzing). `name` stands in
 * messages. */
TRI_MUST_CHECK tri_status tri_gguf_open_memory(tri_gguf **out, const void *data, size_t len, const char *name, tri_error *err);
/* Likewise over a file's header alone (tri_gguf_header), the file having file_bytes in all: its tensors have no data. */
TRI_MUST_CHECK tri_status tri_gguf_open_header(tri_gguf **out, const void *data, size_t len, uint64_t file_bytes, const char *name,
                                               tri_error *err);
/* Make one of the parts of a split file (split.no and split.count say which is which): `first` gets the others' tensors and owns
 * them. On failure all are closed. */
TRI_MUST_CHECK tri_status tri_gguf_join(tri_gguf **first, tri_gguf **more, size_t n_more, tri_error *err);
void tri_gguf_close(tri_gguf **g);

const char *tri_gguf_path(const tri_gguf *g);
uint64_t tri_gguf_file_bytes(const tri_gguf *g);  /* of all parts */
const char *tri_gguf_part_path(const tri_gguf *g, size_t part);
uint64_t tri_gguf_part_bytes(const tri_gguf *g, size_t part);
size_t tri_gguf_part_count(const tri_gguf *g);    /* 1 where the file isn't split */
/* The bytes before the first tensor's data of a part, from 0: metadata and tensor table. */
tri_str tri_gguf_header(const tri_gguf *g, size_t part);
size_t tri_gguf_tensor_count(const tri_gguf *g);
const tri_gguf_tensor *tri_gguf_tensor_at(const tri_gguf *g, size_t i); /* in file order; NULL past the end */
const tri_gguf_tensor *tri_gguf_find(const tri_gguf *g, const char *name); /* NULL if absent; O(log n) */
size_t tri_gguf_kv_count(const tri_gguf *g);
const tri_gguf_kv *tri_gguf_kv_at(const tri_gguf *g, size_t i);
const tri_gguf_kv *tri_gguf_kv_find(const tri_gguf *g, const char *key);

/* Typed reads: false if the key is absent or of another kind (any integer type serves u64 when not negative;
 * f32 and f64 serve f64). */
bool tri_gguf_get_u64(const tri_gguf *g, const char *key, uint64_t *out);
bool tri_gguf_get_f64(const tri_gguf *g, const char *key, double *out);
bool tri_gguf_get_bool(const tri_gguf *g, const char *key, bool *out);
bool tri_gguf_get_str(const tri_gguf *g, const char *key, tri_str *out);
/* Walk an array of strings in order: start with *pos = 0; false at the end. */
bool tri_gguf_next_str(const tri_gguf_kv *array, size_t *pos, tri_str *out);

/* --- writing --- */

typedef struct tri_gguf_writer tri_gguf_writer;

/* All metadata, then all tensor declarations, then begin, then the tensors' bytes in the order declared, in pieces of
 * any size; commit checks that each got exactly its bytes. Nothing stands at `path` before commit. */
TRI_MUST_CHECK tri_status tri_gguf_writer_open(tri_gguf_writer **out, const char *path, tri_error *err);
void tri_gguf_writer_u32(tri_gguf_writer *w, const char *key, uint32_t v);
void tri_gguf_writer_f32(tri_gguf_writer *w, const char *key, float v);
void tri_gguf_writer_bool(tri_gguf_writer *w, const char *key, bool v);
void tri_gguf_writer_str(tri_gguf_writer *w, const char *key, const char *v);
void tri_gguf_writer_strs(tri_gguf_writer *w, const char *key, const tri_str *v, size_t n);
void tri_gguf_writer_i32s(tri_gguf_writer *w, const char *key, const int32_t *v, size_t n);
void tri_gguf_writer_f32s(tri_gguf_writer *w, const char *key, const float *v, size_t n);
/* Copy one key of another file as it is. general.alignment is not copied: the writer aligns to the default, 32. */
void tri_gguf_writer_copy(tri_gguf_writer *w, const tri_gguf_kv *kv);
void tri_gguf_writer_tensor(tri_gguf_writer *w, const char *name, uint32_t type, int n_dims, const uint64_t *dims);
TRI_MUST_CHECK tri_status tri_gguf_writer_begin(tri_gguf_writer *w, tri_error *err);
TRI_MUST_CHECK tri_status tri_gguf_writer_data(tri_gguf_writer *w, const void *bytes, size_t len, tri_error *err);
TRI_MUST_CHECK tri_status tri_gguf_writer_commit(tri_gguf_writer **w, tri_error *err);
void tri_gguf_writer_abort(tri_gguf_writer **w);

#endif
