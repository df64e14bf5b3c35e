/* SPDX-License-Identifier: MIT */
/* The model's parts: where they are here, getting those that are missing, giving others what they need. */
#include "worker/worker_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/units.h"

tri_status worker_parts_open(worker *w, tri_error *err) {
  const tri_worker_config *c = w->config;
  tri_shard_source *s = &w->source;
  tri_status status = TRI_OK;
  if (c->model_path) {
    status = tri_gguf_open(&w->local, c->model_path, err);
    if (status == TRI_OK) status = tri_parts_open(&w->local_parts, w->local, err);
    s->local = w->local, s->local_parts = w->local_parts;
  }
  if (status == TRI_OK) status = tri_store_open(&s->store, c->cache_dir, c->cache_bytes, err);
  s->has_store = status == TRI_OK;
  /* with a model file of its own a worker can do without */
  if (status != TRI_OK && c->model_path && w->local_parts) TRI_WARN("%s; parts that %s lacks can't be had", err->text, c->model_path), status = TRI_OK;
  return status;
}

/* A part of the local file that is most likely the model's: whoever gets it checks its hash. */
static bool is_local(const worker *w, size_t part) {
  const tri_manifest *m = &w->source.manifest;
  return w->local_parts && tri_parts_count(w->local_parts) == m->n && tri_parts_bytes(w->local_parts, part) == m->items[part].bytes;
}

static tri_status read_part(void *arg, const uint8_t hash[TRI_ID_BYTES], uint64_t at, size_t len, uint8_t *out, tri_error *err) {
  const worker *w = arg;
  const tri_manifest *m = &w->source.manifest;
  int part = tri_manifest_find(m, hash);
  if (part < 0 || at > m->items[part].bytes || len > m->items[part].bytes - at)
    return tri_status_fail(err, TRI_E_NOT_FOUND, "worker %s knows no such part, or not so many bytes of it", w->hello.name);
  if (w->source.has_store && tri_store_has(&w->source.store, &m->items[part])) return tri_store_read(&w->source.store, &m->items[part], at, len, out, err);
  if (!is_local(w, (size_t)part)) return tri_status_fail(err, TRI_E_NOT_FOUND, "worker %s does not have this part any more", w->hello.name);
  tri_parts_read(w->local_parts, (size_t)part, at, len, out);
  return TRI_OK;
}

static void read_parts(void *arg) {
  worker *w = arg;
  for (int i = 0; i < WORKER_FAIR; i++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(w->parts, &in, &w->incoming, &err);
    if (status == TRI_E_AGAIN) break;
    if (status != TRI_OK) TRI_WARN("from %s, which gets parts here: %s", in.address, err.text);
    else if (!worker_parts_allow(w, in.key) || w->incoming.kind != TRI_MSG_WANT) TRI_WARN("%s sent what it may not", in.address);
    else tri_server_want(w->server, &in.from, &w->incoming.want);
  }
  tri_server_pump(w->server);
}

/* Beside the data link's address, on a port of its own: any, or the one after. */
tri_status worker_parts_listen(worker *w, tri_error *err) {
  const char *data = w->config->listen, *colon = strrchr(data, ':');
  char endpoint[TRI_MAX_ENDPOINT];
  unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
  snprintf(endpoint, sizeof endpoint, "%.*s:%lu", colon ? (int)(colon - data) : (int)strlen(data), data, port ? port + 1 : 0);
  tri_net_limit_payload(w->net, 0);
  tri_status status = tri_link_listen(&w->parts, w->net, TRI_LINK_CONTROL, endpoint, "parts", &w->parts_port, err);
  if (status == TRI_OK) status = tri_server_create(&w->server, w->net, w->parts, read_part, w, err);
  if (status == TRI_OK) status = tri_loop_add_link(w->loop, w->parts, read_parts, w, err);
  return status;
}

void worker_parts_close(worker *w) {
  tri_fetch_destroy(&w->fetch);
  tri_server_destroy(&w->server);
  if (w->parts) tri_loop_remove_link(w->loop, w->parts);
  tri_link_close(&w->parts);
}

bool worker_parts_allow(const worker *w, const uint8_t key[TRI_KEY_BYTES]) {
  for (size_t i = 0; i < w->n_admitted; i++)
    if (memcmp(w->admitted[i], key, TRI_KEY_BYTES) == 0) return true;
  return false;
}

void worker_parts_admit(worker *w, const tri_msg_admit *m) {
  for (size_t i = 0; i < w->n_admitted; i++) {
    if (memcmp(w->admitted[i], m->key, TRI_KEY_BYTES) != 0) continue;
    if (m->revoke) memcpy(w->admitted[i], w->admitted[--w->n_admitted], TRI_KEY_BYTES);
    return;
  }
  if (m->revoke) return;
  if (w->n_admitted == WORKER_ADMITTED) { /* the one admitted longest ago goes */
    memmove(w->admitted[0], w->admitted[1], (WORKER_ADMITTED - 1) * TRI_KEY_BYTES);
    w->n_admitted--;
  }
  memcpy(w->admitted[w->n_admitted++], m->key, TRI_KEY_BYTES);
}

static void send_need(void *arg, const tri_msg_need *m) {
  worker *w = arg;
  w->outgoing = (tri_msg){.kind = TRI_MSG_NEED, .need = *m};
  worker_send(w, NULL, 0, false);
}

tri_status worker_parts_model(worker *w, const uint8_t *bytes, size_t len, tri_error *err) {
  tri_manifest m;
  tri_status status = tri_manifest_decode(&m, bytes, len, err);
  if (status != TRI_OK) return status;
  if (w->source.manifest.n) {
    bool same = tri_manifest_equal(&m, &w->source.manifest);
    tri_manifest_free(&m);
    return same ? TRI_OK : TRI_E_AGAIN;
  }
  w->source.manifest = m;
  const tri_fetch_config config = {.net = w->net, .loop = w->loop, .store = &w->source.store, .manifest = &w->source.manifest,
                                   .coordinator = w->endpoint, .coordinator_key = w->coordinator_key, .need = send_need,
                                   .done = worker_fetched, .arg = w};
  return tri_fetch_create(&w->fetch, &config, err);
}

static bool is_here(const worker *w, size_t part) {
  return is_local(w, part) || (w->source.has_store && tri_store_has(&w->source.store, &w->source.manifest.items[part]));
}

void worker_parts_tell(worker *w) {
  const tri_manifest *m = &w->source.manifest;
  uint8_t bits[TRI_HOLDS_BYTES] = {0};
  for (size_t i = 0; i < m->n && i < 8 * sizeof bits; i++)
    if (is_here(w, i)) bits[i / 8] |= (uint8_t)(1 << i % 8);
  tri_error err;
  w->outgoing = (tri_msg){.kind = TRI_MSG_HOLDS};
  if (tri_link_send(w->control, NULL, &w->outgoing, bits, (m->n + 7) / 8, false, &err) != TRI_OK) TRI_WARN("holds to the coordinator: %s", err.text);
}

void worker_parts_get(worker *w, const tri_shard_lack *lack) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < lack->n; i++) bytes += w->source.manifest.items[lack->parts[i]].bytes;
  for (size_t i = 0; i < lack->n && lack->damaged; i++) tri_store_drop(&w->source.store, &w->source.manifest.items[lack->parts[i]]);
  if (!w->source.has_store) {
    tri_error err;
    worker_fetched(w, tri_status_fail(&err, TRI_E_NOT_FOUND, "parts are missing, and there is no folder to keep them in: give one with --cache DIR"), &err);
    return;
  }
  TRI_INFO("getting %zu part%s of the model, %s", lack->n, lack->n == 1 ? "" : "s", TRI_UNITS(bytes));
  tri_fetch_want(w->fetch, lack->parts, lack->n, lack->damaged);
}

void worker_parts_prefetch(worker *w, uint32_t id, const uint8_t *bits, size_t len) {
  const tri_manifest *m = &w->source.manifest;
  tri_shard_lack lack = {.parts = malloc((m->n + 1) * sizeof *lack.parts)};
  tri_error err;
  for (size_t i = 0; lack.parts && i < m->n && i / 8 < len; i++)
    if (bits[i / 8] >> i % 8 & 1 && !is_here(w, i)) lack.parts[lack.n++] = (uint32_t)i;
  w->prefetching = id;
  if (!lack.parts) worker_fetched(w, tri_status_fail(&err, TRI_E_NOMEM, "out of memory for a list of parts"), &err);
  else if (!lack.n) worker_fetched(w, TRI_OK, NULL);
  else worker_parts_get(w, &lack);
  free(lack.parts);
}

void worker_parts_prefetched(worker *w, tri_status status, const tri_error *err) {
  if (status == TRI_OK) worker_parts_tell(w);
  w->outgoing = (tri_msg){.kind = TRI_MSG_PREFETCHED, .prefetched = {.id = w->prefetching, .status = status}};
  if (status != TRI_OK) snprintf(w->outgoing.prefetched.text, sizeof w->outgoing.prefetched.text, "%s", err->text);
  w->prefetching = 0;
  worker_send(w, NULL, 0, false);
}
