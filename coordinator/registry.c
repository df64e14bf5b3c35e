/* SPDX-License-Identifier: MIT */
#include "coordinator/registry.h"

#include <stdio.h>
#include <string.h>

enum { MAX_THREADS = 4096 };

void tri_registry_init(tri_registry *r, const uint8_t model_id[TRI_ID_BYTES], int64_t lost_ms) {
  memset(r, 0, sizeof *r);
  r->lost_ms = lost_ms;
  memcpy(r->model_id, model_id, TRI_ID_BYTES);
}

const char *tri_registry_state_name(tri_worker_state state) {
  static const char *const names[] = {"lost", "joined", "assigned", "bound", "ready"};
  return names[state];
}

static bool live(const tri_worker *w) { return w->state != TRI_WORKER_LOST; }

int tri_registry_find(const tri_registry *r, const uint8_t key[TRI_KEY_BYTES]) {
  for (size_t i = 0; i < r->count; i++)
    if (memcmp(r->workers[i].key, key, TRI_KEY_BYTES) == 0) return (int)i;
  return -1;
}

int tri_registry_find_name(const tri_registry *r, const char *name) {
  for (size_t i = 0; i < r->count; i++)
    if (live(&r->workers[i]) && strcmp(r->workers[i].hello.name, name) == 0) return (int)i;
  return -1;
}

static bool same_peer(const tri_peer *a, const tri_peer *b) {
  return a->route_len == b->route_len && memcmp(a->route, b->route, a->route_len) == 0;
}

int tri_registry_sender(const tri_registry *r, const tri_incoming *from) {
  int i = tri_registry_find(r, from->key);
  return i >= 0 && live(&r->workers[i]) && same_peer(&r->workers[i].peer, &from->from) ? i : -1;
}

static tri_status check_hello(const tri_registry *r, const tri_msg_hello *h, tri_error *err) {
  if (h->protocol != TRI_PROTOCOL)
    return tri_status_fail(err, TRI_E_PROTOCOL,
                           "protocol: worker %s speaks %u (version %s), this coordinator %d (version %s); run the same version on both",
                           h->name, h->protocol, h->version, TRI_PROTOCOL, TRIREME_VERSION);
  if (!h->name[0]) return tri_status_fail(err, TRI_E_INVALID, "name: empty; start the worker with --name NAME");
  if (memcmp(h->model_id, r->model_id, TRI_ID_BYTES) != 0)
    return tri_status_fail(err, TRI_E_INVALID,
                           "model: worker %s has opened another model file than the coordinator; give both the same --model", h->name);
  if (h->threads == 0 || h->threads > MAX_THREADS)
    return tri_status_fail(err, TRI_E_INVALID, "threads: worker %s says %u; from 1 to %d are possible", h->name, h->threads, MAX_THREADS);
  if (h->memory_bytes == 0) return tri_status_fail(err, TRI_E_INVALID, "memory: worker %s offers none; give it --memory SIZE", h->name);
  if (h->layer_us == 0) return tri_status_fail(err, TRI_E_INVALID, "layer_us: worker %s has not measured itself", h->name);
  return TRI_OK;
}

static tri_status check_unique(const tri_registry *r, const tri_incoming *from, const tri_msg_hello *h, tri_error *err) {
  int same = tri_registry_find(r, from->key);
  if (same >= 0 && live(&r->workers[same]))
    return tri_status_fail(err, TRI_E_BUSY,
                           "a worker with this key is already connected (%s from %s); give every worker its own key folder",
                           r->workers[same].hello.name, r->workers[same].address);
  int named = tri_registry_find_name(r, h->name);
  if (named >= 0)
    return tri_status_fail(err, TRI_E_BUSY,
                           "a worker named %s is already connected (from %s, with another key); start this one with another --name",
                           h->name, r->workers[named].address);
  return TRI_OK;
}

/* This key's old record, a fresh one, or one of a lost worker. */
static tri_worker *record_for(tri_registry *r, const uint8_t key[TRI_KEY_BYTES]) {
  int same = tri_registry_find(r, key);
  if (same >= 0) return &r->workers[same];
  if (r->count < TRI_REGISTRY_MAX) return &r->workers[r->count++];
  for (size_t i = 0; i < r->count; i++)
    if (!live(&r->workers[i])) return &r->workers[i];
  return NULL;
}

tri_status tri_registry_hello(tri_registry *r, const tri_incoming *from, const tri_msg_hello *hello, int64_t now_ms, int *index,
                              tri_error *err) {
  tri_status status = check_hello(r, hello, err);
  if (status == TRI_OK) status = check_unique(r, from, hello, err);
  if (status != TRI_OK) return status;
  tri_worker *w = record_for(r, from->key);
  if (!w) return tri_status_fail(err, TRI_E_LIMIT, "%d workers are connected, that is the most", TRI_REGISTRY_MAX);
  *w = (tri_worker){.state = TRI_WORKER_JOINED, .peer = from->from, .hello = *hello, .stage = -1, .seen_ms = now_ms, .beat_ms = now_ms};
  memcpy(w->key, from->key, TRI_KEY_BYTES);
  memcpy(w->address, from->address, sizeof w->address);
  *index = (int)(w - r->workers);
  return TRI_OK;
}

void tri_registry_heartbeat(tri_registry *r, int index, const tri_msg_heartbeat *beat, int64_t now_ms) {
  tri_worker *w = &r->workers[index];
  int64_t wall_us = (now_ms - w->beat_ms) * 1000;
  if (wall_us > 0 && beat->epoch == w->beat.epoch && beat->busy_us >= w->beat.busy_us) {
    double share = (double)(beat->busy_us - w->beat.busy_us) / (double)wall_us;
    w->busy_share = share < 1 ? share : 1;
  }
  if (wall_us > 0 && beat->fetch_bytes && beat->fetch_bytes == w->beat.fetch_bytes && beat->fetched_bytes >= w->beat.fetched_bytes)
    w->fetch_bytes_per_s = (double)(beat->fetched_bytes - w->beat.fetched_bytes) * 1e6 / (double)wall_us;
  if (beat->rtt_us) w->hello.rtt_us = beat->rtt_us;
  if (beat->down_kbps) w->hello.down_kbps = beat->down_kbps;
  if (beat->up_kbps) w->hello.up_kbps = beat->up_kbps;
  w->beat = *beat;
  w->seen_ms = w->beat_ms = now_ms;
}

int tri_registry_overdue(const tri_registry *r, int64_t now_ms) {
  for (size_t i = 0; i < r->count; i++)
    if (live(&r->workers[i]) && now_ms - r->workers[i].seen_ms > r->lost_ms) return (int)i;
  return -1;
}

void tri_registry_lose(tri_registry *r, int index) {
  tri_worker *w = &r->workers[index];
  w->state = TRI_WORKER_LOST;
  w->stage = -1;
  w->busy_share = 0;
}

static size_t rank_of(const tri_worker *w, const char *const *expect, size_t n_expect) {
  for (size_t i = 0; i < n_expect; i++)
    if (strcmp(w->hello.name, expect[i]) == 0) return i;
  return n_expect;
}

size_t tri_registry_order(const tri_registry *r, const char *const *expect, size_t n_expect, int out[TRI_REGISTRY_MAX]) {
  size_t n = 0;
  for (size_t i = 0; i < r->count; i++) {
    const tri_worker *w = &r->workers[i];
    if (!live(w)) continue;
    size_t rank = rank_of(w, expect, n_expect), at = n++;
    for (; at > 0; at--) { /* insertion: few workers, and names are unique */
      const tri_worker *before = &r->workers[out[at - 1]];
      size_t before_rank = rank_of(before, expect, n_expect);
      if (before_rank < rank || (before_rank == rank && strverscmp(before->hello.name, w->hello.name) < 0)) break;
      out[at] = out[at - 1];
    }
    out[at] = (int)i;
  }
  return n;
}
