/* SPDX-License-Identifier: MIT */
#include "engine/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/show.h"

struct tri_safetensors {
  tri_file_map map;    /* {0} when the bytes are the caller's */
  const uint8_t *data; /* the first tensor byte */
  size_t len;          /* bytes of tensor data */
  char *path;
  json_t *header; /* owns the names */
  size_t count;
  tri_safetensor *tensors; /* by name */
};

static const struct {
  const char *name;
  size_t bytes;
} dtypes[TRI_DTYPE_COUNT] = {
    [TRI_DTYPE_F64] = {"F64", 8},         [TRI_DTYPE_F32] = {"F32", 4},
    [TRI_DTYPE_F16] = {"F16", 2},         [TRI_DTYPE_BF16] = {"BF16", 2},
    [TRI_DTYPE_I64] = {"I64", 8},         [TRI_DTYPE_I32] = {"I32", 4},
    [TRI_DTYPE_I16] = {"I16", 2},         [TRI_DTYPE_I8] = {"I8", 1},
    [TRI_DTYPE_U64] = {"U64", 8},         [TRI_DTYPE_U32] = {"U32", 4},
    [TRI_DTYPE_U16] = {"U16", 2},         [TRI_DTYPE_U8] = {"U8", 1},
    [TRI_DTYPE_BOOL] = {"BOOL", 1},       [TRI_DTYPE_F8_E4M3] = {"F8_E4M3", 1},
    [TRI_DTYPE_F8_E5M2] = {"F8_E5M2", 1},
};

const char *tri_dtype_name(tri_dtype dtype) { return dtypes[dtype].name; }
size_t tri_dtype_bytes(tri_dtype dtype) { return dtypes[dtype].bytes; }

static tri_status read_dtype(const tri_safetensors *s, tri_safetensor *t, const json_t *entry,
                             tri_error *err) {
  const char *name = json_string_value(json_object_get(entry, "dtype"));
  if (!name)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: \"dtype\" must be a string", s->path,
                           TRI_SHOW_TEXT(t->name));
  for (int i = 0; i < TRI_DTYPE_COUNT; i++)
    if (strcmp(name, dtypes[i].name) == 0) return t->dtype = (tri_dtype)i, TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s: dtype \"%s\" is unknown", s->path,
                         TRI_SHOW_TEXT(t->name), TRI_SHOW_TEXT(name));
}

static tri_status read_shape(const tri_safetensors *s, tri_safetensor *t, const json_t *entry,
                             tri_error *err) {
  const json_t *shape = json_object_get(entry, "shape");
  size_t n = json_array_size(shape);
  if (!json_is_array(shape))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: \"shape\" must be an array", s->path,
                           TRI_SHOW_TEXT(t->name));
  if (n > TRI_SAFETENSORS_MAX_DIMS)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s: %zu dimensions; at most %d expected",
                           s->path, TRI_SHOW_TEXT(t->name), n, TRI_SAFETENSORS_MAX_DIMS);
  t->n_dims = (int)n, t->count = 1;
  for (size_t i = 0; i < n; i++) {
    const json_t *dim = json_array_get(shape, i);
    if (!json_is_integer(dim) || json_integer_value(dim) < 0)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: shape[%zu] must be an integer from 0",
                             s->path, TRI_SHOW_TEXT(t->name), i);
    t->dims[i] = (uint64_t)json_integer_value(dim);
    if (__builtin_mul_overflow(t->count, t->dims[i], &t->count))
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: more elements than 64 bits can count",
                             s->path, TRI_SHOW_TEXT(t->name));
  }
  if (__builtin_mul_overflow(t->count, tri_dtype_bytes(t->dtype), &t->bytes))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: more bytes than 64 bits can count", s->path,
                           TRI_SHOW_TEXT(t->name));
  return TRI_OK;
}

static tri_status read_offsets(const tri_safetensors *s, tri_safetensor *t, const json_t *entry,
                               tri_error *err) {
  const json_t *offsets = json_object_get(entry, "data_offsets");
  const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: \"data_offsets\" must be two integers", s->path,
                           TRI_SHOW_TEXT(t->name));
  json_int_t a = json_integer_value(first), b = json_integer_value(last);
  if (a < 0 || b < a || (uint64_t)b > s->len)
    return tri_status_fail(
        err, TRI_E_FORMAT,
        "%s: tensor %s: data_offsets [%lld, %lld] lie outside the %zu bytes of data: a cut file?", s->path,
        TRI_SHOW_TEXT(t->name), (long long)a, (long long)b, s->len);
  if ((uint64_t)(b - a) != t->bytes)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: tensor %s: %lld bytes of data where its shape and dtype need %zu", s->path,
                           TRI_SHOW_TEXT(t->name), (long long)(b - a), t->bytes);
  t->data = s->data + a;
  return TRI_OK;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const tri_safetensor *)a)->name, ((const tri_safetensor *)b)->name);
}

static tri_status read_entries(tri_safetensors *s, tri_error *err) {
  const char *name;
  json_t *entry;
  s->tensors = calloc(json_object_size(s->header) + 1, sizeof *s->tensors);
  if (!s->tensors) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", s->path);
  json_object_foreach(s->header, name, entry) {
    if (strcmp(name, "__metadata__") == 0) continue;
    tri_safetensor *t = &s->tensors[s->count++];
    t->name = name;
    if (!json_is_object(entry))
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: an object expected", s->path,
                             TRI_SHOW_TEXT(name));
    tri_status status = read_dtype(s, t, entry, err);
    if (status == TRI_OK) status = read_shape(s, t, entry, err);
    if (status == TRI_OK) status = read_offsets(s, t, entry, err);
    if (status != TRI_OK) return status;
  }
  qsort(s->tensors, s->count, sizeof *s->tensors, compare_names);
  return TRI_OK;
}

static tri_status parse(tri_safetensors *s, const uint8_t *data, size_t len, tri_error *err) {
  uint64_t header = 0;
  if (len < sizeof header)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %zu bytes are too short for safetensors", s->path, len);
  memcpy(&header, data, sizeof header);
  if (header > TRI_SAFETENSORS_MAX_HEADER)
    return tri_status_fail(err, TRI_E_LIMIT,
                           "%s: a header of %llu bytes; at most %d expected: not a safetensors file?",
                           s->path, (unsigned long long)header, TRI_SAFETENSORS_MAX_HEADER);
  if (header > len - sizeof header)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: a header of %llu bytes in a file of %zu: a cut file?",
                           s->path, (unsigned long long)header, len);
  json_error_t e;
  s->header = json_loadb((const char *)data + sizeof header, (size_t)header, JSON_REJECT_DUPLICATES, &e);
  if (!s->header)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the header is no JSON: %s at byte %d", s->path,
                           TRI_SHOW_TEXT(e.text), e.position);
  if (!json_is_object(s->header))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the header must be a JSON object", s->path);
  s->data = data + sizeof header + header, s->len = len - sizeof header - (size_t)header;
  return read_entries(s, err);
}

tri_status tri_safetensors_open_memory(tri_safetensors **out, const void *data, size_t len, const char *name,
                                       tri_error *err) {
  tri_safetensors *s = calloc(1, sizeof *s);
  if (!s || !(s->path = strdup(name)))
    return free(s), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", name);
  tri_status status = parse(s, data, len, err);
  if (status != TRI_OK) return tri_safetensors_close(&s), status;
  *out = s;
  return TRI_OK;
}

tri_status tri_safetensors_open(tri_safetensors **out, const char *path, tri_error *err) {
  tri_file_map map = {0};
  tri_status status = tri_file_map_open(&map, path, err);
  if (status != TRI_OK) return status;
  status = tri_safetensors_open_memory(out, map.data, map.len, path, err);
  if (status != TRI_OK) return tri_file_map_close(&map), status;
  (*out)->map = map;
  return TRI_OK;
}

void tri_safetensors_close(tri_safetensors **s) {
  if (!*s) return;
  tri_file_map_close(&(*s)->map);
  json_decref((*s)->header);
  free((*s)->tensors), free((*s)->path), free(*s);
  *s = NULL;
}

const char *tri_safetensors_path(const tri_safetensors *s) { return s->path; }
size_t tri_safetensors_count(const tri_safetensors *s) { return s->count; }
const tri_safetensor *tri_safetensors_at(const tri_safetensors *s, size_t i) {
  return i < s->count ? &s->tensors[i] : NULL;
}

const tri_safetensor *tri_safetensors_find(const tri_safetensors *s, const char *name) {
  tri_safetensor want = {.name = name};
  return bsearch(&want, s->tensors, s->count, sizeof *s->tensors, compare_names);
}
