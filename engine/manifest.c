/* SPDX-License-Identifier: MIT */
#include "engine/manifest.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

enum { PATH_BYTES = 1024 };

static tri_status get_items(tri_manifest *m, size_t n, tri_error *err) {
  if (n == 0 || n > TRI_MANIFEST_PARTS) return tri_status_fail(err, TRI_E_LIMIT, "a model of %zu parts: from 1 to %d are possible", n, TRI_MANIFEST_PARTS);
  *m = (tri_manifest){n, calloc(n, sizeof *m->items)};
  return m->items ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the list of a model's parts");
}

void tri_manifest_free(tri_manifest *m) {
  free(m->items);
  *m = (tri_manifest){0};
}

void tri_manifest_encode(const tri_manifest *m, tri_buf *out) {
  for (size_t i = 0; i < m->n; i++) {
    uint8_t size[8];
    for (int k = 0; k < 8; k++) size[k] = (uint8_t)(m->items[i].bytes >> 8 * k);
    tri_buf_append(out, size, sizeof size);
    tri_buf_append(out, m->items[i].hash.bytes, TRI_PARTS_HASH_BYTES);
  }
}

tri_status tri_manifest_decode(tri_manifest *out, const uint8_t *bytes, size_t len, tri_error *err) {
  tri_manifest m;
  uint64_t total = 0;
  if (len % TRI_MANIFEST_ITEM_BYTES) return tri_status_fail(err, TRI_E_FORMAT, "a list of parts of %zu bytes, which are no whole items", len);
  if (get_items(&m, len / TRI_MANIFEST_ITEM_BYTES, err) != TRI_OK) return TRI_E_FORMAT;
  tri_cursor c = tri_cursor_over(bytes, len);
  for (size_t i = 0; i < m.n; i++) {
    uint64_t size = m.items[i].bytes = tri_cursor_u64(&c);
    memcpy(m.items[i].hash.bytes, tri_cursor_take(&c, TRI_PARTS_HASH_BYTES), TRI_PARTS_HASH_BYTES);
    if (size == 0 || size >= (uint64_t)1 << 62 || (total += size) >= (uint64_t)1 << 62) {
      tri_manifest_free(&m);
      return tri_status_fail(err, TRI_E_FORMAT, "a list of parts with a part of %llu bytes", (unsigned long long)size);
    }
  }
  *out = m;
  return TRI_OK;
}

bool tri_manifest_equal(const tri_manifest *a, const tri_manifest *b) {
  return a->n == b->n && memcmp(a->items, b->items, a->n * sizeof *a->items) == 0;
}

int tri_manifest_find(const tri_manifest *m, const uint8_t hash[TRI_PARTS_HASH_BYTES]) {
  for (size_t i = 0; i < m->n; i++)
    if (memcmp(m->items[i].hash.bytes, hash, TRI_PARTS_HASH_BYTES) == 0) return (int)i;
  return -1;
}

/* --- kept between runs: the encoded list in a file whose name tells the model file's state --- */

/* False where nothing can be kept. */
static bool kept_path(const tri_gguf *g, size_t n, char out[PATH_BYTES]) {
  crypto_generichash_state state;
  uint8_t hash[16];
  char folder[PATH_BYTES], hex[2 * sizeof hash + 1];
  struct stat st;
  if (!tri_file_cache_folder(folder, sizeof folder)) return false;
  crypto_generichash_init(&state, NULL, 0, sizeof hash);
  for (size_t i = 0; i < tri_gguf_part_count(g); i++) {
    const char *path = tri_gguf_part_path(g, i);
    if (stat(path, &st) != 0) return false;
    const uint64_t facts[] = {n, (uint64_t)st.st_size, (uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
                              (uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec};
    crypto_generichash_update(&state, (const uint8_t *)path, strlen(path) + 1);
    crypto_generichash_update(&state, (const uint8_t *)facts, sizeof facts);
  }
  crypto_generichash_final(&state, hash, sizeof hash);
  sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
  return snprintf(out, PATH_BYTES, "%s/parts-%s", folder, hex) < PATH_BYTES;
}

static bool read_kept(tri_manifest *m, const char *path, const tri_parts *p) {
  tri_buf bytes = {0};
  tri_manifest kept = {0};
  tri_error err;
  bool ok = tri_file_read(&bytes, path, TRI_MANIFEST_PARTS * TRI_MANIFEST_ITEM_BYTES, &err) == TRI_OK &&
            tri_manifest_decode(&kept, bytes.data, bytes.len, &err) == TRI_OK && kept.n == m->n;
  for (size_t i = 0; ok && i < m->n; i++) ok = kept.items[i].bytes == tri_parts_bytes(p, i);
  if (ok) memcpy(m->items, kept.items, m->n * sizeof *m->items);
  tri_manifest_free(&kept);
  tri_buf_free(&bytes);
  return ok;
}

static void keep(const tri_manifest *m, const char *path) {
  tri_buf bytes = {0};
  tri_file_writer *w;
  tri_error err;
  tri_manifest_encode(m, &bytes);
  tri_status status = tri_file_writer_open(&w, path, 0600, &err);
  if (status == TRI_OK && (status = tri_file_writer_write(w, bytes.data, bytes.len, &err)) == TRI_OK) status = tri_file_writer_commit(&w, &err);
  else if (status == TRI_OK) tri_file_writer_abort(&w);
  if (status != TRI_OK) TRI_DEBUG("the hashes of the model's parts are not kept: %s", err.text);
  tri_buf_free(&bytes);
}

tri_status tri_manifest_make(tri_manifest *out, const tri_parts *p, const tri_gguf *g, void (*progress)(void *, uint64_t, uint64_t), void *arg,
                             tri_error *err) {
  tri_manifest m;
  char path[PATH_BYTES];
  uint64_t total = 0, done = 0;
  tri_status status = get_items(&m, tri_parts_count(p), err);
  if (status != TRI_OK) return status;
  bool can_keep = kept_path(g, m.n, path);
  for (size_t i = 0; i < m.n; i++) total += m.items[i].bytes = tri_parts_bytes(p, i);
  if (!can_keep || !read_kept(&m, path, p)) {
    for (size_t i = 0; i < m.n; i++) {
      tri_parts_hash(p, i, &m.items[i].hash);
      if (progress) progress(arg, done += m.items[i].bytes, total);
    }
    if (can_keep) keep(&m, path);
  }
  *out = m;
  return TRI_OK;
}
