/* SPDX-License-Identifier: MIT */
#include "engine/gguf.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32, MAX_NAME = 64, MAX_DIMS = 4 };

typedef struct declared {
  char name[MAX_NAME + 1];
  uint64_t bytes;
} declared;

struct tri_gguf_writer {
  tri_file_writer *file;
  char *path;
  tri_buf kvs, table; /* metadata and tensor table as they will stand in the file */
  uint64_t n_kvs, n_tensors;
  declared *tensors;
  uint64_t offset;      /* of the next tensor declared */
  uint64_t current, at; /* where the next byte of data goes: tensor, byte in it */
  bool begun;
  tri_status status; /* the first mistake of the calls that return nothing, told by begin */
  tri_error error;
};

static void writer_free(tri_gguf_writer **w) {
  tri_file_writer_abort(&(*w)->file);
  tri_buf_free(&(*w)->kvs), tri_buf_free(&(*w)->table);
  free((*w)->tensors), free((*w)->path), free(*w);
  *w = NULL;
}

tri_status tri_gguf_writer_open(tri_gguf_writer **out, const char *path, tri_error *err) {
  tri_gguf_writer *w = calloc(1, sizeof *w);
  if (!w) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  if (!(w->path = strdup(path)))
    return writer_free(&w), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  tri_status status = tri_file_writer_open(&w->file, path, 0644, err);
  if (status != TRI_OK) return writer_free(&w), status;
  *out = w;
  return TRI_OK;
}

/* --- metadata --- */

static void put_u32(tri_buf *b, uint32_t v) { tri_buf_append(b, &v, sizeof v); }
static void put_u64(tri_buf *b, uint64_t v) { tri_buf_append(b, &v, sizeof v); }
static void put_str(tri_buf *b, tri_str s) { put_u64(b, s.len), tri_buf_append(b, s.data, s.len); }

static void put_key(tri_gguf_writer *w, tri_str key, uint32_t type) {
  put_str(&w->kvs, key), put_u32(&w->kvs, type);
  w->n_kvs++;
}
static tri_str text(const char *s) { return (tri_str){s, strlen(s)}; }

static void put_scalar(tri_gguf_writer *w, const char *key, uint32_t type, const void *v, size_t bytes) {
  put_key(w, text(key), type);
  tri_buf_append(&w->kvs, v, bytes);
}
static void put_array(tri_gguf_writer *w, const char *key, uint32_t type, size_t n) {
  put_key(w, text(key), TRI_GGUF_ARRAY);
  put_u32(&w->kvs, type), put_u64(&w->kvs, n);
}

void tri_gguf_writer_u32(tri_gguf_writer *w, const char *key, uint32_t v) {
  put_scalar(w, key, TRI_GGUF_U32, &v, sizeof v);
}
void tri_gguf_writer_f32(tri_gguf_writer *w, const char *key, float v) {
  put_scalar(w, key, TRI_GGUF_F32, &v, sizeof v);
}
void tri_gguf_writer_bool(tri_gguf_writer *w, const char *key, bool v) {
  put_scalar(w, key, TRI_GGUF_BOOL, &(uint8_t){v}, 1);
}

void tri_gguf_writer_str(tri_gguf_writer *w, const char *key, const char *v) {
  put_key(w, text(key), TRI_GGUF_STRING);
  put_str(&w->kvs, text(v));
}

void tri_gguf_writer_strs(tri_gguf_writer *w, const char *key, const tri_str *v, size_t n) {
  put_array(w, key, TRI_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) put_str(&w->kvs, v[i]);
}

void tri_gguf_writer_i32s(tri_gguf_writer *w, const char *key, const int32_t *v, size_t n) {
  put_array(w, key, TRI_GGUF_I32, n);
  tri_buf_append(&w->kvs, v, n * sizeof *v);
}

void tri_gguf_writer_f32s(tri_gguf_writer *w, const char *key, const float *v, size_t n) {
  put_array(w, key, TRI_GGUF_F32, n);
  tri_buf_append(&w->kvs, v, n * sizeof *v);
}

void tri_gguf_writer_copy(tri_gguf_writer *w, const tri_gguf_kv *kv) {
  static const char alignment[] = "general.alignment";
  if (kv->key.len == sizeof alignment - 1 && memcmp(kv->key.data, alignment, kv->key.len) == 0) return;
  put_key(w, kv->key, kv->type);
  if (kv->type == TRI_GGUF_ARRAY) put_u32(&w->kvs, kv->element_type), put_u64(&w->kvs, kv->count);
  if (kv->type == TRI_GGUF_STRING) put_u64(&w->kvs, kv->bytes);
  tri_buf_append(&w->kvs, kv->data, kv->bytes);
}

/* --- tensors --- */

static uint64_t aligned(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void mistake(tri_gguf_writer *w, tri_status status, const char *name, const char *what) {
  if (w->status == TRI_OK)
    w->status = tri_status_fail(&w->error, status, "%s: tensor %s: %s", w->path, name, what);
}

void tri_gguf_writer_tensor(tri_gguf_writer *w, const char *name, uint32_t type, int n_dims,
                            const uint64_t *dims) {
  if (strlen(name) > MAX_NAME) return mistake(w, TRI_E_INVALID, name, "the name is longer than 64 bytes");
  if (n_dims < 1 || n_dims > MAX_DIMS) return mistake(w, TRI_E_INVALID, name, "1 to 4 dimensions expected");
  uint64_t n = 1, bytes;
  bool fits = true;
  for (int i = 0; i < n_dims; i++) fits = fits && !__builtin_mul_overflow(n, dims[i], &n);
  if (!fits || !tri_type_bytes(type, n, dims[0], &bytes) || bytes > UINT64_MAX / 2 - w->offset)
    return mistake(w, TRI_E_INVALID, name, "its dimensions don't make whole blocks of its type");
  declared *grown = realloc(w->tensors, (w->n_tensors + 1) * sizeof *grown);
  if (!grown) return mistake(w, TRI_E_NOMEM, name, "out of memory");
  w->tensors = grown;
  declared *t = &w->tensors[w->n_tensors++];
  strcpy(t->name, name);
  t->bytes = bytes;
  put_str(&w->table, text(name)), put_u32(&w->table, (uint32_t)n_dims);
  for (int i = 0; i < n_dims; i++) put_u64(&w->table, dims[i]);
  put_u32(&w->table, type), put_u64(&w->table, w->offset);
  w->offset += aligned(bytes);
}

static tri_status pad(tri_gguf_writer *w, tri_error *err) {
  static const uint8_t zeros[ALIGNMENT];
  uint64_t pos = tri_file_writer_pos(w->file);
  return tri_file_writer_write(w->file, zeros, (size_t)(aligned(pos) - pos), err);
}

tri_status tri_gguf_writer_begin(tri_gguf_writer *w, tri_error *err) {
  if (w->status != TRI_OK) return tri_status_fail(err, w->status, "%s", w->error.text);
  if (!tri_buf_ok(&w->kvs) || !tri_buf_ok(&w->table))
    return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", w->path);
  tri_buf head = {0};
  tri_buf_append(&head, "GGUF", 4);
  put_u32(&head, 3), put_u64(&head, w->n_tensors), put_u64(&head, w->n_kvs);
  tri_status status = tri_buf_ok(&head) ? tri_file_writer_write(w->file, head.data, head.len, err)
                                        : tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", w->path);
  tri_buf_free(&head);
  if (status == TRI_OK) status = tri_file_writer_write(w->file, w->kvs.data, w->kvs.len, err);
  if (status == TRI_OK) status = tri_file_writer_write(w->file, w->table.data, w->table.len, err);
  if (status == TRI_OK) status = pad(w, err);
  w->begun = status == TRI_OK;
  return status;
}

tri_status tri_gguf_writer_data(tri_gguf_writer *w, const void *bytes, size_t len, tri_error *err) {
  const uint8_t *p = bytes;
  if (!w->begun) return tri_status_fail(err, TRI_E_INTERNAL, "%s: tensor data before the header", w->path);
  while (len) {
    if (w->current == w->n_tensors)
      return tri_status_fail(err, TRI_E_INTERNAL, "%s: more data than the tensors declared take", w->path);
    uint64_t room = w->tensors[w->current].bytes - w->at;
    size_t n = len < room ? len : (size_t)room;
    tri_status status = tri_file_writer_write(w->file, p, n, err);
    p += n, len -= n, w->at += n;
    if (status == TRI_OK && w->at == w->tensors[w->current].bytes)
      w->current++, w->at = 0, status = pad(w, err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

tri_status tri_gguf_writer_commit(tri_gguf_writer **w, tri_error *err) {
  tri_gguf_writer *p = *w;
  tri_status status;
  if (!p->begun)
    status = tri_status_fail(err, TRI_E_INTERNAL, "%s: nothing was written", p->path);
  else if (p->current < p->n_tensors)
    status = tri_status_fail(err, TRI_E_INTERNAL, "%s: tensor %s got %llu of its %llu bytes", p->path,
                             p->tensors[p->current].name, (unsigned long long)p->at,
                             (unsigned long long)p->tensors[p->current].bytes);
  else
    status = tri_file_writer_commit(&p->file, err);
  writer_free(w);
  return status;
}

void tri_gguf_writer_abort(tri_gguf_writer **w) {
  if (*w) writer_free(w);
}
