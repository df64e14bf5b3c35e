/* SPDX-License-Identifier: MIT */
#include "engine/gguf_impl.h"

#include <stdlib.h>
#include <string.h>

#include "engine/show.h"

enum {
  GGUF_MAGIC = 0x46554747, /* "GGUF" read as a little-endian word */
  GGUF_VERSION = 3,
  DEFAULT_ALIGNMENT = 32,
  MIN_ALIGNMENT = 8, /* tensors are read in place, as floats among others */
  MAX_ALIGNMENT = 1 << 20,
  MAX_KEY = 65535,
  MAX_NAME = 64,
  MAX_DIMS = 4,
  /* the least bytes that one record can take: counts are checked against them before anything is allocated */
  MIN_KV_BYTES = 8 + 1 + 4 + 1,
  MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
  MIN_STRING_BYTES = 8,
};

/* --- types --- */

typedef struct type_info {
  uint32_t type;
  const char *name;
  uint32_t block, block_bytes; /* 0: not in blocks of its own row */
  uint32_t row_bytes;          /* what a row has besides its blocks */
} type_info;

static const type_info types[] = {
    {TRI_TYPE_F32, "F32", 1, 4, 0},           {TRI_TYPE_F16, "F16", 1, 2, 0},          {TRI_TYPE_BF16, "BF16", 1, 2, 0},
    {TRI_TYPE_Q8_0, "Q8_0", 32, 34, 0},       {TRI_TYPE_Q6_K, "Q6_K", 256, 210, 0},    {TRI_TYPE_Q5_0, "Q5_0", 32, 22, 0},
    {TRI_TYPE_Q4_K, "Q4_K", 256, 144, 0},     {TRI_TYPE_Q4_0, "Q4_0", 32, 18, 0},      {TRI_TYPE_IQ4_NL, "IQ4_NL", 32, 18, 0},
    {TRI_TYPE_I2_S, "I2_S", 0, 0, 0},         {TRI_TYPE_TL1, "TL1", 0, 0, 0},          {TRI_TYPE_TL2, "TL2", 0, 0, 0},
    {TRI_TYPE_TQ1_0, "TQ1_0", 256, 54, 0},    {TRI_TYPE_TQ2_0, "TQ2_0", 256, 66, 0},   {TRI_TYPE_IQ1_BN, "IQ1_BN", 64, 13, 2},
    {TRI_TYPE_IQ2_BN, "IQ2_BN", 64, 16, 4},   {TRI_TYPE_IQ2_BN_R4, "IQ2_BN_R4", 64, 16, 4},
};

static const type_info *find_type(uint32_t type) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].type == type) return &types[i];
  return NULL;
}

const char *tri_type_name(uint32_t type) {
  const type_info *t = find_type(type);
  return t ? t->name : "unknown";
}

/* bitnet.cpp's TL2: 256 columns of a row in pairs of 4 bits, the others in triples of 5 bits, padded to 32.
 */
static bool tl2_bytes(uint64_t n, uint64_t k, uint64_t *bytes) {
  uint64_t m = n / k, triples;
  if (k < 256 || n > UINT64_MAX / 8) return false;
  triples = (k - 256) * m / 3 * 5 / 8;
  *bytes = (triples + 256 * m / 2 * 4 / 8 + 31) / 32 * 32 + 32;
  return true;
}

bool tri_type_bytes(uint32_t type, uint64_t n, uint64_t row, uint64_t *bytes) {
  const type_info *t = find_type(type);
  if (!t || row == 0 || n == 0 || n % row) return false;
  if (t->block) {
    uint64_t rows;
    return row % t->block == 0 && !__builtin_mul_overflow(n / t->block, (uint64_t)t->block_bytes, bytes) &&
           !__builtin_mul_overflow(n / row, (uint64_t)t->row_bytes, &rows) && !__builtin_add_overflow(*bytes, rows, bytes);
  }
  if (type == TRI_TYPE_TL2) return tl2_bytes(n, row, bytes);
  if (n % (type == TRI_TYPE_I2_S ? 128 : 4)) return false;
  *bytes = n / 4 + 32;
  return true;
}

/* --- reading --- */

void tri_str_printable(tri_str s, char *out, size_t cap) {
  size_t n = s.len < cap ? s.len : cap - 1;
  for (size_t i = 0; i < n; i++) out[i] = s.data[i] >= 0x20 && s.data[i] < 0x7f ? s.data[i] : '?';
  out[n] = 0;
  if (s.len >= cap && cap > 4) memcpy(out + n - 3, "...", 3);
}

static tri_status truncated(const tri_gguf *g, const tri_cursor *c, const char *what, tri_error *err) {
  return tri_status_fail(err, TRI_E_FORMAT, "%s: the file ends inside %s (after byte %zu of %zu)", g->path,
                         what, c->pos, g->len);
}

static tri_str take_str(tri_cursor *c) {
  uint64_t len = tri_cursor_u64(c);
  const uint8_t *p = tri_cursor_take(c, (size_t)len);
  return p ? (tri_str){(const char *)p, (size_t)len} : (tri_str){"", 0};
}

size_t tri_gguf_scalar_bytes(uint32_t type) {
  static const uint8_t sizes[] = {
      [TRI_GGUF_U8] = 1,  [TRI_GGUF_I8] = 1,  [TRI_GGUF_U16] = 2, [TRI_GGUF_I16] = 2,
      [TRI_GGUF_U32] = 4, [TRI_GGUF_I32] = 4, [TRI_GGUF_F32] = 4, [TRI_GGUF_BOOL] = 1,
      [TRI_GGUF_U64] = 8, [TRI_GGUF_I64] = 8, [TRI_GGUF_F64] = 8,
  };
  return type < sizeof sizes ? sizes[type] : 0;
}

static tri_status read_array(const tri_gguf *g, tri_cursor *c, tri_gguf_kv *kv, tri_error *err) {
  kv->element_type = tri_cursor_u32(c);
  kv->count = tri_cursor_u64(c);
  if (c->failed) return truncated(g, c, "an array's header", err);
  if (kv->element_type == TRI_GGUF_ARRAY)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: key %s is an array of arrays, which we don't read",
                           g->path, TRI_SHOW(kv->key));
  size_t size = tri_gguf_scalar_bytes(kv->element_type);
  if (!size && kv->element_type != TRI_GGUF_STRING)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: key %s: element type %u is unknown", g->path,
                           TRI_SHOW(kv->key), kv->element_type);
  size_t least = size ? size : MIN_STRING_BYTES;
  if (kv->count > tri_cursor_left(c) / least)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: key %s: %llu elements don't fit in the %zu bytes that are left", g->path,
                           TRI_SHOW(kv->key), (unsigned long long)kv->count, tri_cursor_left(c));
  kv->data = g->data + c->pos;
  size_t start = c->pos;
  if (size)
    tri_cursor_take(c, size * (size_t)kv->count);
  else
    for (uint64_t i = 0; i < kv->count && !c->failed; i++) take_str(c);
  if (c->failed) return truncated(g, c, "an array of strings", err);
  kv->bytes = c->pos - start;
  return TRI_OK;
}

static tri_status read_kv(const tri_gguf *g, tri_cursor *c, tri_gguf_kv *kv, tri_error *err) {
  kv->key = take_str(c);
  kv->type = tri_cursor_u32(c);
  kv->count = 1;
  if (c->failed) return truncated(g, c, "the metadata", err);
  if (kv->key.len == 0 || kv->key.len > MAX_KEY)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: a key of %zu bytes; 1 to %d expected", g->path,
                           kv->key.len, MAX_KEY);
  if (kv->type == TRI_GGUF_ARRAY) return read_array(g, c, kv, err);
  size_t size = tri_gguf_scalar_bytes(kv->type);
  if (kv->type == TRI_GGUF_STRING) {
    tri_str s = take_str(c);
    kv->data = (const uint8_t *)s.data, kv->bytes = s.len;
  } else if (size) {
    kv->data = tri_cursor_take(c, size), kv->bytes = size;
  } else {
    return tri_status_fail(err, TRI_E_FORMAT, "%s: key %s: value type %u is unknown", g->path,
                           TRI_SHOW(kv->key), kv->type);
  }
  if (c->failed)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the file ends inside the value of key %s", g->path,
                           TRI_SHOW(kv->key));
  if (kv->type == TRI_GGUF_BOOL && *kv->data > 1)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: key %s: a boolean of value %u; 0 or 1 expected", g->path,
                           TRI_SHOW(kv->key), *kv->data);
  return TRI_OK;
}

/* Name, dimensions and type. The data's offset goes to *offset: it can be checked only when the table has
 * been read. */
static tri_status read_tensor(const tri_gguf *g, tri_cursor *c, tri_gguf_tensor *t, uint64_t *offset,
                              tri_error *err) {
  t->name = take_str(c);
  uint32_t n_dims = tri_cursor_u32(c);
  if (c->failed) return truncated(g, c, "the tensor table", err);
  if (t->name.len == 0 || t->name.len > MAX_NAME)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: a tensor name of %zu bytes; 1 to %d expected", g->path,
                           t->name.len, MAX_NAME);
  if (n_dims == 0 || n_dims > MAX_DIMS)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: %u dimensions; 1 to %d expected", g->path,
                           TRI_SHOW(t->name), n_dims, MAX_DIMS);
  uint64_t n = 1;
  t->n_dims = (int)n_dims;
  for (uint32_t i = 0; i < MAX_DIMS; i++) {
    t->dims[i] = i < n_dims ? tri_cursor_u64(c) : 1;
    if (t->dims[i] == 0 && !c->failed)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: dimension %u is 0", g->path,
                             TRI_SHOW(t->name), i);
    if (__builtin_mul_overflow(n, t->dims[i], &n))
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: more elements than 64 bits can count",
                             g->path, TRI_SHOW(t->name));
  }
  t->type = tri_cursor_u32(c);
  *offset = tri_cursor_u64(c);
  if (c->failed) return truncated(g, c, "the tensor table", err);
  uint64_t bytes = 0;
  if (find_type(t->type) && !tri_type_bytes(t->type, n, t->dims[0], &bytes))
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: tensor %s: %llu elements in rows of %llu don't make whole blocks of %s%s",
                           g->path, TRI_SHOW(t->name), (unsigned long long)n, (unsigned long long)t->dims[0],
                           tri_type_name(t->type),
                           t->type == TRI_TYPE_TL2 ? ", which takes rows of 256 or more (in llama.cpp's files the number 39 is MXFP4)"
                           : "");
  if (bytes > g->total)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: needs %llu bytes, the file has %llu in all",
                           g->path, TRI_SHOW(t->name), (unsigned long long)bytes, (unsigned long long)g->total);
  t->bytes = (size_t)bytes;
  return TRI_OK;
}

/* Leaves the offset in `room`, until rooms are measured. */
static tri_status place_tensor(const tri_gguf *g, tri_gguf_tensor *t, uint64_t offset, size_t alignment,
                               tri_error *err) {
  if (offset % alignment)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: tensor %s: offset %llu is not a multiple of the alignment, %zu", g->path,
                           TRI_SHOW(t->name), (unsigned long long)offset, alignment);
  uint64_t room = g->total - g->base;
  if (offset > room || t->bytes > room - (size_t)offset)
    return tri_status_fail(
        err, TRI_E_FORMAT,
        "%s: tensor %s: %zu bytes at offset %llu, beyond the %llu bytes of tensor data: a cut file?", g->path,
        TRI_SHOW(t->name), t->bytes, (unsigned long long)offset, (unsigned long long)room);
  t->data = g->total == g->len ? g->data + g->base + offset : NULL;
  t->room = (size_t)offset;
  return TRI_OK;
}

static int compare_offsets(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Each tensor's room. Sorts the offsets. */
static void measure_rooms(tri_gguf *g, uint64_t *offsets) {
  qsort(offsets, g->n_tensors, sizeof *offsets, compare_offsets);
  for (size_t i = 0; i < g->n_tensors; i++) {
    tri_gguf_tensor *t = &g->tensors[i];
    uint64_t start = t->room, end = g->total - g->base;
    size_t low = 0, high = g->n_tensors; /* the first offset beyond start is in [low, high] */
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (offsets[middle] > start) high = middle;
      else low = middle + 1;
    }
    t->room = (size_t)((low < g->n_tensors ? offsets[low] : end) - start);
  }
}

/* --- index by name --- */

static int compare_str(const tri_str *a, const tri_str *b) {
  int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
  return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_entries(const void *a, const void *b) {
  return compare_str(*(const tri_str *const *)a, *(const tri_str *const *)b);
}

/* Sort records by the tri_str that each starts with; a name that stands twice is an error. */
static tri_status make_index(const tri_gguf *g, const tri_str ***out, const void *records, size_t n,
                             size_t stride, const char *what, tri_error *err) {
  const tri_str **index = malloc((n ? n : 1) * sizeof *index);
  if (!index) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", g->path);
  for (size_t i = 0; i < n; i++)
    index[i] = (const tri_str *)(const void *)((const char *)records + i * stride);
  qsort(index, n, sizeof *index, compare_entries);
  *out = index;
  for (size_t i = 1; i < n; i++)
    if (compare_str(index[i - 1], index[i]) == 0)
      return tri_status_fail(err, TRI_E_FORMAT, "%s: %s %s stands twice", g->path, what, TRI_SHOW(*index[i]));
  return TRI_OK;
}

static const void *find_in(const tri_str **index, size_t n, const char *name) {
  tri_str want = {name, strlen(name)};
  const tri_str *key = &want;
  const tri_str **hit = bsearch(&key, index, n, sizeof *index, compare_entries);
  return hit ? *hit : NULL;
}

tri_status tri_gguf_index_tensors(tri_gguf *g, tri_error *err) {
  free((void *)g->tensor_index), g->tensor_index = NULL;
  return make_index(g, &g->tensor_index, g->tensors, g->n_tensors, sizeof *g->tensors, "tensor", err);
}

/* --- opening --- */

static tri_status read_counts(tri_gguf *g, tri_cursor *c, tri_error *err) {
  uint32_t magic = tri_cursor_u32(c), version = tri_cursor_u32(c);
  uint64_t n_tensors = tri_cursor_u64(c), n_kvs = tri_cursor_u64(c);
  if (g->len >= 4 && magic != GGUF_MAGIC)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: not a GGUF file: it starts with 0x%08x, not \"GGUF\"",
                           g->path, magic);
  if (version == __builtin_bswap32(GGUF_VERSION))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: a big-endian GGUF file; little-endian expected",
                           g->path);
  if (g->len >= 8 && version != GGUF_VERSION)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: GGUF version %u; version %d expected", g->path,
                           version, GGUF_VERSION);
  if (c->failed) return truncated(g, c, "the GGUF header", err);
  size_t left = tri_cursor_left(c);
  if (n_kvs > left / MIN_KV_BYTES)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %llu metadata keys don't fit in the file's %zu bytes",
                           g->path, (unsigned long long)n_kvs, g->len);
  if (n_tensors > left / MIN_TENSOR_BYTES)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %llu tensors don't fit in the file's %zu bytes", g->path,
                           (unsigned long long)n_tensors, g->len);
  g->kvs = calloc((size_t)n_kvs + 1, sizeof *g->kvs);
  g->tensors = calloc((size_t)n_tensors + 1, sizeof *g->tensors);
  if (!g->kvs || !g->tensors) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", g->path);
  g->n_kvs = (size_t)n_kvs, g->n_tensors = (size_t)n_tensors;
  return TRI_OK;
}

static tri_status read_alignment(const tri_gguf *g, size_t *alignment, tri_error *err) {
  uint64_t v = *alignment;
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, "general.alignment");
  if (kv && (kv->type != TRI_GGUF_U32 || !tri_gguf_get_u64(g, "general.alignment", &v) || v < MIN_ALIGNMENT ||
             v > MAX_ALIGNMENT || (v & (v - 1))))
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: general.alignment must be a u32, a power of two from %d to %d", g->path,
                           MIN_ALIGNMENT, MAX_ALIGNMENT);
  *alignment = (size_t)v;
  return TRI_OK;
}

static tri_status read_tensors(tri_gguf *g, tri_cursor *c, size_t alignment, tri_error *err) {
  uint64_t *offsets = malloc((g->n_tensors + 1) * sizeof *offsets);
  if (!offsets) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", g->path);
  tri_status status = TRI_OK;
  for (size_t i = 0; i < g->n_tensors && status == TRI_OK; i++)
    status = read_tensor(g, c, &g->tensors[i], &offsets[i], err);
  size_t base = (c->pos + alignment - 1) / alignment * alignment;
  g->base = base < g->len ? base : g->len; /* a file without tensors may end unaligned */
  for (size_t i = 0; i < g->n_tensors && status == TRI_OK; i++)
    status = place_tensor(g, &g->tensors[i], offsets[i], alignment, err);
  if (status == TRI_OK) measure_rooms(g, offsets);
  free(offsets);
  return status;
}

static tri_status parse(tri_gguf *g, tri_error *err) {
  tri_cursor c = tri_cursor_over(g->data, g->len);
  size_t alignment = DEFAULT_ALIGNMENT;
  tri_status status = read_counts(g, &c, err);
  for (size_t i = 0; i < g->n_kvs && status == TRI_OK; i++) status = read_kv(g, &c, &g->kvs[i], err);
  if (status == TRI_OK) status = make_index(g, &g->kv_index, g->kvs, g->n_kvs, sizeof *g->kvs, "key", err);
  if (status == TRI_OK) status = read_alignment(g, &alignment, err);
  if (status == TRI_OK) status = read_tensors(g, &c, alignment, err);
  if (status == TRI_OK) status = tri_gguf_index_tensors(g, err);
  return status;
}

tri_status tri_gguf_open_header(tri_gguf **out, const void *data, size_t len, uint64_t file_bytes, const char *name, tri_error *err) {
  tri_gguf *g = calloc(1, sizeof *g);
  if (!g || !(g->path = strdup(name)))
    return free(g), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", name);
  g->data = data, g->len = len, g->total = file_bytes;
  tri_status status = parse(g, err);
  if (status != TRI_OK) return tri_gguf_close(&g), status;
  *out = g;
  return TRI_OK;
}

tri_status tri_gguf_open_memory(tri_gguf **out, const void *data, size_t len, const char *name, tri_error *err) {
  return tri_gguf_open_header(out, data, len, len, name, err);
}

tri_status tri_gguf_open_one(tri_gguf **out, const char *path, tri_error *err) {
  tri_file_map map = {0};
  tri_status status = tri_file_map_open(&map, path, err);
  if (status != TRI_OK) return status;
  status = tri_gguf_open_memory(out, map.data, map.len, path, err);
  if (status != TRI_OK) return tri_file_map_close(&map), status;
  (*out)->map = map;
  return TRI_OK;
}

void tri_gguf_close(tri_gguf **g) {
  if (!*g) return;
  for (size_t i = 0; i < (*g)->n_more; i++) tri_gguf_close(&(*g)->more[i]);
  free((*g)->more);
  tri_file_map_close(&(*g)->map);
  free((*g)->path), free((*g)->kvs), free((*g)->tensors);
  free((void *)(*g)->kv_index), free((void *)(*g)->tensor_index);
  free(*g);
  *g = NULL;
}

/* --- access --- */

const char *tri_gguf_path(const tri_gguf *g) { return g->path; }
uint64_t tri_gguf_file_bytes(const tri_gguf *g) {
  uint64_t bytes = g->total;
  for (size_t i = 0; i < g->n_more; i++) bytes += g->more[i]->total;
  return bytes;
}
const char *tri_gguf_part_path(const tri_gguf *g, size_t part) { return part ? g->more[part - 1]->path : g->path; }
uint64_t tri_gguf_part_bytes(const tri_gguf *g, size_t part) { return part ? g->more[part - 1]->total : g->total; }
size_t tri_gguf_part_count(const tri_gguf *g) { return 1 + g->n_more; }
tri_str tri_gguf_header(const tri_gguf *g, size_t part) {
  const tri_gguf *p = part ? g->more[part - 1] : g;
  return (tri_str){(const char *)p->data, p->base};
}
size_t tri_gguf_tensor_count(const tri_gguf *g) { return g->n_tensors; }
const tri_gguf_tensor *tri_gguf_tensor_at(const tri_gguf *g, size_t i) {
  return i < g->n_tensors ? &g->tensors[i] : NULL;
}
size_t tri_gguf_kv_count(const tri_gguf *g) { return g->n_kvs; }
const tri_gguf_kv *tri_gguf_kv_at(const tri_gguf *g, size_t i) { return i < g->n_kvs ? &g->kvs[i] : NULL; }

const tri_gguf_tensor *tri_gguf_find(const tri_gguf *g, const char *name) {
  return find_in(g->tensor_index, g->n_tensors, name);
}
const tri_gguf_kv *tri_gguf_kv_find(const tri_gguf *g, const char *key) {
  return find_in(g->kv_index, g->n_kvs, key);
}

/* The integer that bytes hold, sign-extended; false for a type that is no integer. */
static bool read_integer(const tri_gguf_kv *kv, int64_t *out) {
  tri_cursor c = tri_cursor_over(kv->data, kv->bytes);
  switch (kv->type) {
  case TRI_GGUF_U8:
    *out = tri_cursor_u8(&c);
    return true;
  case TRI_GGUF_I8:
    *out = (int8_t)tri_cursor_u8(&c);
    return true;
  case TRI_GGUF_U16:
    *out = tri_cursor_u16(&c);
    return true;
  case TRI_GGUF_I16:
    *out = (int16_t)tri_cursor_u16(&c);
    return true;
  case TRI_GGUF_U32:
    *out = tri_cursor_u32(&c);
    return true;
  case TRI_GGUF_I32:
    *out = (int32_t)tri_cursor_u32(&c);
    return true;
  case TRI_GGUF_U64:
  case TRI_GGUF_I64:
    *out = (int64_t)tri_cursor_u64(&c);
    return true;
  default:
    return false;
  }
}

bool tri_gguf_get_u64(const tri_gguf *g, const char *key, uint64_t *out) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  int64_t v;
  if (!kv || !read_integer(kv, &v) || (v < 0 && kv->type != TRI_GGUF_U64)) return false;
  *out = (uint64_t)v;
  return true;
}

bool tri_gguf_get_f64(const tri_gguf *g, const char *key, double *out) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  float f;
  if (kv && kv->type == TRI_GGUF_F64) return memcpy(out, kv->data, sizeof *out), true;
  if (!kv || kv->type != TRI_GGUF_F32) return false;
  memcpy(&f, kv->data, sizeof f);
  *out = f;
  return true;
}

bool tri_gguf_get_bool(const tri_gguf *g, const char *key, bool *out) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  if (!kv || kv->type != TRI_GGUF_BOOL) return false;
  *out = *kv->data != 0;
  return true;
}

bool tri_gguf_get_str(const tri_gguf *g, const char *key, tri_str *out) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(g, key);
  if (!kv || kv->type != TRI_GGUF_STRING) return false;
  *out = (tri_str){(const char *)kv->data, kv->bytes};
  return true;
}

bool tri_gguf_next_str(const tri_gguf_kv *array, size_t *pos, tri_str *out) {
  if (!array || array->type != TRI_GGUF_ARRAY || array->element_type != TRI_GGUF_STRING ||
      *pos >= array->bytes)
    return false;
  tri_cursor c = tri_cursor_over(array->data, array->bytes);
  c.pos = *pos;
  tri_str s = take_str(&c);
  if (c.failed) return false;
  *pos = c.pos, *out = s;
  return true;
}
