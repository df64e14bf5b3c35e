/* SPDX-License-Identifier: MIT */
#include "engine/check.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/matrix.h"
#include "engine/show.h"

/* --- tensors --- */

static tri_status read_ternary(const tri_ternary *x, tri_check_tensor *out, tri_error *err) {
  size_t m = x->form.m, k = x->form.k, zeros = 0;
  float scales[TRI_TERNARY_ROWS];
  int8_t *trits = malloc(TRI_TERNARY_ROWS * k);
  tri_status status = trits ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_check_tensor c = {.ternary = true, .form = x->form};
  for (size_t first = 0; first < m && status == TRI_OK; first += TRI_TERNARY_ROWS) {
    size_t last = m - first < TRI_TERNARY_ROWS ? m : first + TRI_TERNARY_ROWS;
    if (!tri_ternary_rows(x, first, last, trits, scales)) status = tri_ternary_damaged(x, err);
    for (size_t i = 0; i < (last - first) * k && status == TRI_OK; i++) zeros += trits[i] == 0;
    for (size_t r = 0; r < last - first && status == TRI_OK; r++) {
      if (scales[r] > 0 && (c.least == 0 || scales[r] < c.least)) c.least = scales[r];
      c.most = fmaxf(c.most, scales[r]);
    }
  }
  free(trits);
  c.zeros = (double)zeros / (double)m / (double)k;
  if (status == TRI_OK) *out = c;
  return status;
}

static tri_status read_values(const tri_gguf *g, const tri_gguf_tensor *t, tri_error *err) {
  enum { CHUNK = 256 }; /* whole blocks of any type */
  const tri_kernels *k = tri_kernels_get(TRI_ISA_PORTABLE);
  uint64_t count = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3], chunk_bytes = 0;
  float x[CHUNK];
  if (!tri_type_bytes(t->type, CHUNK, CHUNK, &chunk_bytes)) return TRI_OK;
  for (uint64_t at = 0; at < count; at += CHUNK) {
    size_t n = count - at < CHUNK ? (size_t)(count - at) : CHUNK;
    tri_matrix_floats(k, t->type, t->data + at / CHUNK * chunk_bytes, n, x);
    for (size_t i = 0; i < n; i++)
      if (!isfinite(x[i]))
        return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: value %llu is not finite", tri_gguf_path(g), TRI_SHOW(t->name),
                               (unsigned long long)(at + i));
  }
  return TRI_OK;
}

tri_status tri_check_read(const tri_gguf *g, const tri_gguf_tensor *t, tri_check_tensor *out, tri_error *err) {
  tri_ternary x;
  *out = (tri_check_tensor){0};
  if (!tri_ternary_is(t->type)) return tri_matrix_is(t->type) ? read_values(g, t, err) : TRI_OK;
  tri_status status = tri_ternary_open(&x, g, t, NULL, 0, err);
  return status == TRI_OK ? read_ternary(&x, out, err) : status;
}

/* --- parts --- */

enum { METADATA, EMBEDDING, FIRST_LAYER };

/* The number that orders parts: metadata, embedding, layers, head, other. */
static uint64_t part_of(const tri_gguf_tensor *t) {
  const char *name = TRI_SHOW(t->name);
  unsigned layer;
  int used = 0;
  if (strncmp(name, "token_embd.", 11) == 0) return EMBEDDING;
  if (strncmp(name, "output.", 7) == 0 || strncmp(name, "output_norm.", 12) == 0) return UINT64_MAX - 1;
  return sscanf(name, "blk.%9u.%n", &layer, &used) == 1 && used ? FIRST_LAYER + (uint64_t)layer : UINT64_MAX;
}

static void name_part(uint64_t part, char out[24]) {
  if (part >= FIRST_LAYER && part < UINT64_MAX - 1) snprintf(out, 24, "layer %llu", (unsigned long long)(part - FIRST_LAYER));
  else snprintf(out, 24, "%s", part == METADATA ? "metadata" : part == EMBEDDING ? "embedding" : part == UINT64_MAX ? "other" : "head");
}

typedef struct item {
  uint64_t part;
  tri_str name;
  const tri_gguf_kv *kv;         /* of metadata, else … */
  const tri_gguf_tensor *tensor; /* … this */
} item;

static int compare_items(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->part != y->part) return x->part < y->part ? -1 : 1;
  int order = memcmp(x->name.data, y->name.data, x->name.len < y->name.len ? x->name.len : y->name.len);
  return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static void add_u64(crypto_generichash_state *h, uint64_t v) { crypto_generichash_update(h, (const uint8_t *)&v, sizeof v); }

/* Each length before its bytes, so that no two contents give the same bytes. */
static void add_item(crypto_generichash_state *h, const item *i) {
  add_u64(h, i->name.len), crypto_generichash_update(h, (const uint8_t *)i->name.data, i->name.len);
  if (i->kv) {
    add_u64(h, i->kv->type), add_u64(h, i->kv->element_type), add_u64(h, i->kv->count), add_u64(h, i->kv->bytes);
    crypto_generichash_update(h, i->kv->data, i->kv->bytes);
    return;
  }
  const tri_gguf_tensor *t = i->tensor;
  add_u64(h, t->type), add_u64(h, (uint64_t)t->n_dims);
  for (int d = 0; d < t->n_dims; d++) add_u64(h, t->dims[d]);
  add_u64(h, t->bytes), crypto_generichash_update(h, t->data, t->bytes);
  tri_file_map_drop(t->data, t->bytes);
}

tri_status tri_check_parts(const tri_gguf *g, tri_check_part **parts, size_t *n, tri_error *err) {
  size_t n_kvs = tri_gguf_kv_count(g), count = n_kvs + tri_gguf_tensor_count(g), made = 0;
  item *items = calloc(count + 1, sizeof *items);
  tri_check_part *out = calloc(count + 1, sizeof *out);
  if (!items || !out) return free(items), free(out), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", tri_gguf_path(g));
  for (size_t i = 0; i < count; i++) {
    const tri_gguf_kv *kv = i < n_kvs ? tri_gguf_kv_at(g, i) : NULL;
    const tri_gguf_tensor *t = kv ? NULL : tri_gguf_tensor_at(g, i - n_kvs);
    items[i] = kv ? (item){METADATA, kv->key, kv, NULL} : (item){part_of(t), t->name, NULL, t};
  }
  qsort(items, count, sizeof *items, compare_items);
  for (size_t i = 0; i < count;) {
    crypto_generichash_state h;
    tri_check_part *p = &out[made++];
    uint64_t part = items[i].part;
    name_part(part, p->name);
    crypto_generichash_init(&h, NULL, 0, TRI_CHECK_HASH_BYTES);
    for (; i < count && items[i].part == part; i++) {
      add_item(&h, &items[i]);
      p->bytes += items[i].kv ? items[i].kv->bytes : items[i].tensor->bytes;
    }
    crypto_generichash_final(&h, p->hash, TRI_CHECK_HASH_BYTES);
  }
  free(items);
  *parts = out, *n = made;
  return TRI_OK;
}
