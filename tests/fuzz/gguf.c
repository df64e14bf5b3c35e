/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "engine/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink; /* so that the reads happen */

static void touch(const uint8_t *p, size_t n) {
  if (n) sink = p[0], sink = p[n - 1];
}

static void walk_kv(const tri_gguf *g, const tri_gguf_kv *kv) {
  size_t pos = 0;
  uint64_t n = 0;
  tri_str s;
  touch((const uint8_t *)kv->key.data, kv->key.len);
  touch(kv->data, kv->bytes);
  while (tri_gguf_next_str(kv, &pos, &s)) touch((const uint8_t *)s.data, s.len), n++;
  if (kv->type == TRI_GGUF_ARRAY && kv->element_type == TRI_GGUF_STRING && n != kv->count) abort();
  char key[64];
  if (kv->key.len >= sizeof key) return;
  for (size_t i = 0; i < kv->key.len; i++)
    if (!(key[i] = kv->key.data[i])) return; /* a key with a NUL can't be asked for */
  key[kv->key.len] = 0;
  uint64_t u;
  double f;
  bool b;
  if (tri_gguf_kv_find(g, key) != kv) abort();
  bool is[] = {tri_gguf_get_u64(g, key, &u), tri_gguf_get_f64(g, key, &f), tri_gguf_get_bool(g, key, &b),
               tri_gguf_get_str(g, key, &s)};
  if (is[0] + is[1] + is[2] + is[3] > 1) abort();
}

/* Whatever opens must lie inside the bytes, be found under its name, and have a size that its type gives. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_gguf *g;
  tri_error err;
  if (tri_gguf_open_memory(&g, data, size, "fuzz", &err) != TRI_OK) return 0;
  for (size_t i = 0; i < tri_gguf_kv_count(g); i++) walk_kv(g, tri_gguf_kv_at(g, i));
  touch((const uint8_t *)tri_gguf_header(g, 0).data, tri_gguf_header(g, 0).len);
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    uint64_t bytes, n = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    touch((const uint8_t *)t->name.data, t->name.len);
    touch(t->data, t->bytes);
    if (t->bytes && (!tri_type_bytes(t->type, n, t->dims[0], &bytes) || bytes != t->bytes)) abort();
    if (t->data < data || t->bytes > size - (size_t)(t->data - data)) abort();
  }
  tri_gguf_close(&g);
  return 0;
}
