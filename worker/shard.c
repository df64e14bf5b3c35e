/* SPDX-License-Identifier: MIT */
#include "worker/shard.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct tri_shard {
  tri_file_map *maps; /* [n_maps], of each part that is not the local file's */
  size_t n_maps;
  tri_file_map metadata_map; /* of the store, or … */
  uint8_t *metadata;         /* … put together from the local file */
  tri_parts *parts;
  tri_model *model;
};

int tri_shard_find_local(const tri_shard_source *s, const tri_parts *model, size_t part) {
  if (!s->local_parts) return -1;
  for (size_t i = 0; i < tri_parts_count(s->local_parts); i++)
    if (tri_parts_alike(model, part, s->local_parts, i)) return (int)i;
  return -1;
}

/* --- checking, a part a thread --- */

typedef struct check_job {
  const tri_shard_source *source;
  const tri_shard *shard;
  const size_t *parts;
  const int *local; /* index in the local file, or -1: in the shard's map of the same place */
  size_t n;
  _Atomic size_t next, bad;
} check_job;

static bool has_hash(const check_job *job, size_t i) {
  tri_part_hash hash;
  if (job->local[i] >= 0) tri_parts_hash(job->source->local_parts, (size_t)job->local[i], &hash);
  else tri_parts_hash_bytes(job->shard->maps[i].data, job->shard->maps[i].len, &hash);
  return memcmp(&hash, &job->source->manifest.items[job->parts[i]].hash, sizeof hash) == 0;
}

static void check_fn(void *arg, int thread, int threads) {
  (void)thread, (void)threads;
  check_job *job = arg;
  for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n;)
    if (!has_hash(job, i)) atomic_store(&job->bad, i);
}

/* --- opening --- */

static void add_lack(tri_shard_lack *lack, size_t part, size_t most) {
  if (!lack->parts) lack->parts = malloc(most * sizeof *lack->parts);
  if (lack->parts) lack->parts[lack->n++] = (uint32_t)part;
}

/* Of the local file, else of the store. */
static const uint8_t *find_metadata(tri_shard *s, const tri_shard_source *from, tri_error *err) {
  const tri_manifest_item *item = &from->manifest.items[0];
  tri_part_hash hash;
  size_t n = (size_t)item->bytes;
  if (from->local_parts && tri_parts_bytes(from->local_parts, 0) == n && (s->metadata = malloc(n))) {
    tri_parts_read(from->local_parts, 0, 0, n, s->metadata);
    tri_parts_hash_bytes(s->metadata, n, &hash);
    if (memcmp(&hash, &item->hash, sizeof hash) == 0) return s->metadata;
  }
  if (!from->has_store || tri_store_map(&from->store, item, &s->metadata_map, err) != TRI_OK) return NULL;
  return s->metadata_map.data;
}

static tri_status open_metadata(tri_shard *s, const tri_shard_source *from, tri_gguf **out, tri_shard_lack *lack, tri_error *err) {
  const tri_manifest_item *item = &from->manifest.items[0];
  const uint8_t *bytes = find_metadata(s, from, err);
  tri_part_hash hash;
  if (bytes) tri_parts_hash_bytes(bytes, (size_t)item->bytes, &hash);
  if (bytes && memcmp(&hash, &item->hash, sizeof hash) == 0) {
    tri_status status = tri_parts_open_metadata(out, bytes, (size_t)item->bytes, "the model", err);
    return status == TRI_OK ? tri_parts_open(&s->parts, *out, err) : status;
  }
  add_lack(lack, 0, 1);
  lack->damaged = bytes != NULL;
  return tri_status_fail(err, bytes ? TRI_E_FORMAT : TRI_E_NOT_FOUND, "the model's metadata is %s", bytes ? "damaged" : "not here");
}

/* The sizes that the manifest states must be those that follow from the metadata. */
static tri_status check_sizes(const tri_parts *p, const tri_manifest *m, tri_error *err) {
  bool ok = tri_parts_count(p) == m->n;
  for (size_t i = 0; ok && i < m->n; i++) ok = tri_parts_bytes(p, i) == m->items[i].bytes;
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_PROTOCOL, "the list of the model's parts does not fit its metadata");
}

/* Where each part is: in a map, or in the local file. */
static tri_status find_parts(tri_shard *s, const check_job *job, int *local, tri_shard_lack *lack, tri_error *err) {
  const tri_shard_source *from = job->source;
  for (size_t i = 0; i < job->n; i++) {
    const tri_manifest_item *item = &from->manifest.items[job->parts[i]];
    bool stored = from->has_store && tri_store_map(&from->store, item, &s->maps[i], err) == TRI_OK;
    local[i] = stored ? -1 : tri_shard_find_local(from, s->parts, job->parts[i]);
    if (!stored && local[i] < 0) add_lack(lack, job->parts[i], job->n);
  }
  if (!lack->n) return TRI_OK;
  return tri_status_fail(err, TRI_E_NOT_FOUND, "%zu of %zu parts of the model are not here, %s first", lack->n, job->n,
                         tri_parts_name(s->parts, lack->parts[0]));
}

static tri_status check_parts(tri_shard *s, check_job *job, tri_pool *pool, tri_shard_lack *lack, tri_error *err) {
  tri_pool_run(pool, check_fn, job);
  if (job->bad == SIZE_MAX) return TRI_OK;
  size_t part = job->parts[job->bad];
  add_lack(lack, part, 1);
  lack->damaged = true;
  return tri_status_fail(err, TRI_E_FORMAT, "%s of the model is damaged: its bytes in %s don't have the hash that the coordinator states",
                         tri_parts_name(s->parts, part), job->local[job->bad] >= 0 ? tri_gguf_path(job->source->local) : job->source->store.dir);
}

static tri_status open_parts(tri_shard *s, const tri_shard_source *from, tri_gguf *g, tri_pool *pool, const size_t *parts, size_t n,
                             tri_shard_lack *lack, tri_error *err) {
  int *local = calloc(n + 1, sizeof *local);
  check_job job = {.source = from, .shard = s, .parts = parts, .local = local, .n = n, .bad = SIZE_MAX};
  tri_status status = local ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the model's parts");
  if (status == TRI_OK) status = check_sizes(s->parts, &from->manifest, err);
  if (status == TRI_OK) status = find_parts(s, &job, local, lack, err);
  if (status == TRI_OK) status = check_parts(s, &job, pool, lack, err);
  for (size_t i = 0; i < n && status == TRI_OK; i++) {
    if (local[i] >= 0) tri_parts_lend(s->parts, g, parts[i], from->local_parts, (size_t)local[i]);
    else tri_parts_attach(s->parts, g, parts[i], s->maps[i].data);
  }
  free(local);
  return status;
}

tri_status tri_shard_open(tri_shard **out, const tri_shard_source *from, tri_pool *pool, const size_t *parts, size_t n, bool text,
                          tri_shard_lack *lack, tri_error *err) {
  tri_shard *s = calloc(1, sizeof *s);
  tri_gguf *g = NULL;
  *lack = (tri_shard_lack){0};
  if (s) s->n_maps = n, s->maps = calloc(n + 1, sizeof *s->maps);
  tri_status status = s && s->maps ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the model's parts");
  if (status == TRI_OK) status = open_metadata(s, from, &g, lack, err);
  if (status == TRI_OK) status = open_parts(s, from, g, pool, parts, n, lack, err);
  if (status == TRI_OK) status = tri_model_open_gguf(&s->model, &g, text, err);
  tri_gguf_close(&g);
  if (status != TRI_OK) return tri_shard_close(&s), status;
  *out = s;
  return TRI_OK;
}

void tri_shard_close(tri_shard **shard) {
  tri_shard *s = *shard;
  if (!s) return;
  tri_parts_close(&s->parts);
  tri_model_close(&s->model);
  for (size_t i = 0; s->maps && i < s->n_maps; i++) tri_file_map_close(&s->maps[i]);
  tri_file_map_close(&s->metadata_map);
  free(s->maps), free(s->metadata);
  free(s);
  *shard = NULL;
}

const tri_model *tri_shard_model(const tri_shard *s) { return s->model; }
const tri_parts *tri_shard_parts(const tri_shard *s) { return s->parts; }
