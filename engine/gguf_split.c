/* SPDX-License-Identifier: MIT */
/* A model in several files, as llama.cpp's gguf-split writes it: NAME-00001-of-0000N.gguf has the metadata, each file some of the
 * tensors, and the keys split.no (from 0), split.count and split.tensors.count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf_impl.h"

enum { MAX_PARTS = 1024, SUFFIX = 20 }; /* "-00001-of-00003.gguf" */

/* What a file says of itself; a file without the keys is the only part. */
static tri_status read_place(const tri_gguf *g, uint64_t *no, uint64_t *count, tri_error *err) {
  *no = 0, *count = 1;
  if (!tri_gguf_kv_find(g, "split.count")) return TRI_OK;
  if (!tri_gguf_get_u64(g, "split.count", count) || !tri_gguf_get_u64(g, "split.no", no) || *count < 1 || *count > MAX_PARTS ||
      *no >= *count)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: the keys split.no and split.count must be numbers, the second from 1 to %d and above the first", g->path,
                           MAX_PARTS);
  return TRI_OK;
}

static tri_status check_part(const tri_gguf *first, const tri_gguf *g, size_t index, size_t n, tri_error *err) {
  uint64_t no, count;
  tri_status status = read_place(g, &no, &count, err);
  if (status != TRI_OK) return status;
  if (no == index && count == n) return TRI_OK;
  return tri_status_fail(err, TRI_E_FORMAT, "%s: it is part %llu of %llu; part %zu of %zu is needed beside %s", g->path,
                         (unsigned long long)no + 1, (unsigned long long)count, index + 1, n, first->path);
}

/* All parts' tensors in one table, in the order of the parts. */
static tri_status join_tensors(tri_gguf *first, tri_gguf *const *more, size_t n_more, tri_error *err) {
  size_t total = first->n_tensors;
  uint64_t stated;
  for (size_t i = 0; i < n_more; i++) total += more[i]->n_tensors;
  if (tri_gguf_get_u64(first, "split.tensors.count", &stated) && stated != total)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: its parts have %zu tensors, but split.tensors.count is %llu", first->path, total,
                           (unsigned long long)stated);
  tri_gguf_tensor *all = realloc(first->tensors, (total + 1) * sizeof *all);
  if (!all) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", first->path);
  first->tensors = all;
  for (size_t i = 0; i < n_more; i++) {
    if (more[i]->n_tensors) memcpy(all + first->n_tensors, more[i]->tensors, more[i]->n_tensors * sizeof *all);
    first->n_tensors += more[i]->n_tensors;
  }
  return tri_gguf_index_tensors(first, err);
}

tri_status tri_gguf_join(tri_gguf **first, tri_gguf **more, size_t n_more, tri_error *err) {
  tri_status status = check_part(*first, *first, 0, n_more + 1, err);
  for (size_t i = 0; i < n_more && status == TRI_OK; i++) status = check_part(*first, more[i], i + 1, n_more + 1, err);
  tri_gguf **kept = calloc(n_more + 1, sizeof *kept);
  if (status == TRI_OK && !kept) status = tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", (*first)->path);
  if (status == TRI_OK) status = join_tensors(*first, more, n_more, err);
  if (status == TRI_OK) {
    memcpy(kept, more, n_more * sizeof *kept);
    (*first)->more = kept, (*first)->n_more = n_more;
    return TRI_OK;
  }
  free(kept);
  for (size_t i = 0; i < n_more; i++) tri_gguf_close(&more[i]);
  tri_gguf_close(first);
  return status;
}

/* The path of part `index` from that of another one. */
static tri_status part_path(const tri_gguf *g, uint64_t no, size_t index, size_t n, char *out, size_t cap, tri_error *err) {
  char suffix[SUFFIX + 16];
  size_t len = strlen(g->path);
  snprintf(suffix, sizeof suffix, "-%05llu-of-%05zu.gguf", (unsigned long long)no + 1, n);
  if (len < SUFFIX || strcmp(g->path + len - strlen(suffix), suffix) != 0)
    return tri_status_fail(err, TRI_E_FORMAT, "%s is part %llu of %zu: its name must end in %s, so that the others can be found", g->path,
                           (unsigned long long)no + 1, n, suffix);
  if (snprintf(out, cap, "%.*s-%05zu-of-%05zu.gguf", (int)(len - strlen(suffix)), g->path, index + 1, n) >= (int)cap)
    return tri_status_fail(err, TRI_E_LIMIT, "%.200s: the path is too long", g->path);
  return TRI_OK;
}

/* The parts behind the first one; what was opened before a failure is closed. */
static tri_status open_more(const tri_gguf *first, tri_gguf **more, size_t n, tri_error *err) {
  char path[4096];
  tri_status status = TRI_OK;
  for (size_t i = 1; i < n && status == TRI_OK; i++) {
    status = part_path(first, 0, i, n, path, sizeof path, err);
    if (status == TRI_OK) status = tri_gguf_open_one(&more[i - 1], path, err);
  }
  for (size_t i = 0; i < n - 1 && status != TRI_OK; i++) tri_gguf_close(&more[i]);
  return status;
}

tri_status tri_gguf_open(tri_gguf **out, const char *path, tri_error *err) {
  char first[4096];
  uint64_t no, count;
  tri_gguf *g;
  tri_status status = tri_gguf_open_one(&g, path, err);
  if (status != TRI_OK) return status;
  status = read_place(g, &no, &count, err);
  if (status == TRI_OK && no > 0 && (status = part_path(g, no, 0, (size_t)count, first, sizeof first, err)) == TRI_OK)
    status = tri_status_fail(err, TRI_E_INVALID, "%s is part %llu of %llu: give the first one, %s", path, (unsigned long long)no + 1,
                             (unsigned long long)count, first);
  if (status != TRI_OK) return tri_gguf_close(&g), status;
  if (count == 1) return *out = g, TRI_OK;
  tri_gguf **more = calloc((size_t)count, sizeof *more);
  if (!more) return tri_gguf_close(&g), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  status = open_more(g, more, (size_t)count, err);
  if (status != TRI_OK) tri_gguf_close(&g);
  else status = tri_gguf_join(&g, more, (size_t)count - 1, err);
  free(more);
  if (status == TRI_OK) *out = g;
  return status;
}
