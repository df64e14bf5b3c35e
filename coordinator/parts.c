/* SPDX-License-Identifier: MIT */
/* The model's parts, on the coordinator's side: what there is, who has it, and giving it out. */
#include "coordinator/coordinator_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"

enum { SELF = TRI_REGISTRY_MAX /* the coordinator among the sources */, PROGRESS_MS = 2000 };

/* Hashing a large model takes a while the first time. */
static void hashing(void *arg, uint64_t done, uint64_t total) {
  int64_t *next_ms = arg, now = tri_clock_ms();
  if (now < *next_ms && done < total) return;
  *next_ms = now + PROGRESS_MS;
  TRI_INFO("hashing the model's parts: %s of %s", TRI_UNITS(done), TRI_UNITS(total));
}

tri_status coordinator_parts_open(coordinator *c, tri_error *err) {
  const tri_gguf *g = tri_model_gguf(c->model);
  int64_t next_ms = tri_clock_ms() + PROGRESS_MS;
  tri_status status = tri_parts_open(&c->parts, g, err);
  if (status == TRI_OK) status = tri_manifest_make(&c->manifest, c->parts, g, hashing, &next_ms, err);
  if (status != TRI_OK) return status;
  tri_manifest_encode(&c->manifest, &c->manifest_bytes);
  c->hold_bytes = (c->manifest.n + 7) / 8;
  c->holds = calloc(TRI_REGISTRY_MAX, c->hold_bytes);
  bool ok = c->holds && tri_buf_ok(&c->manifest_bytes);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the list of the model's parts");
}

void coordinator_parts_close(coordinator *c) {
  tri_server_destroy(&c->server);
  tri_parts_close(&c->parts);
  tri_manifest_free(&c->manifest);
  tri_buf_free(&c->manifest_bytes);
  free(c->holds), c->holds = NULL;
}

static tri_status read_part(void *arg, const uint8_t hash[TRI_ID_BYTES], uint64_t at, size_t len, uint8_t *out, tri_error *err) {
  const coordinator *c = arg;
  int part = tri_manifest_find(&c->manifest, hash);
  if (part < 0) return tri_status_fail(err, TRI_E_NOT_FOUND, "the coordinator's model has no such part");
  if (at > c->manifest.items[part].bytes || len > c->manifest.items[part].bytes - at)
    return tri_status_fail(err, TRI_E_INVALID, "%s has %llu bytes, not so many", tri_parts_name(c->parts, (size_t)part),
                           (unsigned long long)c->manifest.items[part].bytes);
  tri_parts_read(c->parts, (size_t)part, at, len, out);
  return TRI_OK;
}

tri_status coordinator_parts_serve(coordinator *c, tri_error *err) { return tri_server_create(&c->server, c->net, c->link, read_part, c, err); }

/* --- who has what --- */

void coordinator_parts_holds(coordinator *c, int index, const uint8_t *bits, size_t len) {
  uint8_t *held = c->holds + (size_t)index * c->hold_bytes;
  memset(held, 0, c->hold_bytes);
  if (len == c->hold_bytes) memcpy(held, bits, len);
}

static bool holds(const coordinator *c, size_t index, uint32_t part) {
  return c->holds[index * c->hold_bytes + part / 8] >> part % 8 & 1;
}

bool coordinator_parts_prefetch(coordinator *c, int index, const tri_plan_stage *stage, uint32_t id) {
  uint8_t bits[TRI_HOLDS_BYTES] = {0};
  size_t parts[TRI_MANIFEST_PARTS];
  bool lacks = false;
  tri_error err;
  const tri_shape *shape = tri_model_shape(c->model);
  size_t n = tri_parts_needs(c->parts, shape->tied, stage->first, stage->last, stage->first == 0, stage->last == (uint32_t)shape->n_layers,
                             parts);
  for (size_t i = 0; i < n; i++) {
    bits[parts[i] / 8] |= (uint8_t)(1 << parts[i] % 8);
    lacks = lacks || !holds(c, (size_t)index, (uint32_t)parts[i]);
  }
  if (!lacks) return false;
  const tri_worker *w = &c->registry.workers[index];
  c->outgoing = (tri_msg){.kind = TRI_MSG_PREFETCH, .prefetch = {.id = id}};
  if (coordinator_send(c, &w->peer, bits, c->hold_bytes, &err) == TRI_OK) return true;
  TRI_WARN("prefetch to %s: %s", w->hello.name, err.text); /* it gets them when it loads the stage */
  return false;
}

/* Of those who have the part, whoever was sent to least often; a worker rather than the coordinator. `failed` is not asked again, unless there
 * is no one else. */
static size_t choose_source(const coordinator *c, uint32_t part, const uint8_t requester[TRI_KEY_BYTES], const uint8_t *failed) {
  size_t best = SELF;
  bool self_failed = failed && memcmp(failed, c->key.public_key, TRI_KEY_BYTES) == 0;
  for (size_t i = 0; i < c->registry.count; i++) {
    const tri_worker *w = &c->registry.workers[i];
    if (w->state == TRI_WORKER_LOST || !w->hello.parts_port || !holds(c, i, part) || memcmp(w->key, requester, TRI_KEY_BYTES) == 0) continue;
    if (failed && memcmp(w->key, failed, TRI_KEY_BYTES) == 0) continue;
    bool least = c->given_bytes[i] < c->given_bytes[best] || (best == SELF && (self_failed || c->given_bytes[i] == c->given_bytes[SELF]));
    if (least) best = i;
  }
  return best;
}

static void admit(coordinator *c, const tri_worker *holder, const uint8_t requester[TRI_KEY_BYTES]) {
  tri_error err;
  c->outgoing = (tri_msg){.kind = TRI_MSG_ADMIT};
  memcpy(c->outgoing.admit.key, requester, TRI_KEY_BYTES);
  if (coordinator_send(c, &holder->peer, NULL, 0, &err) != TRI_OK) TRI_DEBUG("admit to %s: %s", holder->hello.name, err.text);
}

static void send_source(coordinator *c, const tri_incoming *in, const tri_allowed *who, size_t from, const tri_msg_need *m,
                        const size_t *sources) {
  tri_error err;
  const tri_worker *holder = from == SELF ? NULL : &c->registry.workers[from];
  if (holder) admit(c, holder, in->key);
  c->outgoing = (tri_msg){.kind = TRI_MSG_SOURCE};
  tri_msg_source *s = &c->outgoing.source;
  for (uint32_t i = 0; i < m->n_parts; i++)
    if (sources[i] == from) s->parts[s->n_parts++] = m->parts[i], c->given_bytes[from] += c->manifest.items[m->parts[i]].bytes;
  if (holder) {
    tri_link_endpoint(s->endpoint, holder->hello.advertise[0] ? holder->hello.advertise : holder->address, (uint16_t)holder->hello.parts_port);
    memcpy(s->server_key, holder->key, TRI_KEY_BYTES);
  }
  TRI_INFO("%u part%s of %s %s for the key of %s", s->n_parts, s->n_parts == 1 ? "" : "s", holder ? "worker" : "the coordinator",
           holder ? holder->hello.name : "itself", who->name);
  if (coordinator_send(c, &in->from, NULL, 0, &err) != TRI_OK) TRI_DEBUG("a source was not told: %s", err.text);
}

static void on_need(coordinator *c, const tri_incoming *in, const tri_msg_need *m, const tri_allowed *who) {
  size_t sources[TRI_MAX_PARTS];
  if (m->has_failed) TRI_WARN("worker %s could not get %s from where it was told: %s", who->name, m->parts[0] < c->manifest.n ? tri_parts_name(c->parts, m->parts[0]) : "a part", m->text);
  for (uint32_t i = 0; i < m->n_parts; i++) {
    if (m->parts[i] >= c->manifest.n) {
      coordinator_refuse(c, in, TRI_E_INVALID, "parts: there is none of this number");
      return;
    }
    sources[i] = choose_source(c, m->parts[i], in->key, m->has_failed ? m->failed_key : NULL);
  }
  for (uint32_t i = 0; i < m->n_parts; i++) {
    bool told = false;
    for (uint32_t k = 0; k < i && !told; k++) told = sources[k] == sources[i];
    if (!told) send_source(c, in, who, sources[i], m, sources);
  }
}

/* Before a worker says hello it asks for the model, measures itself, and then knows what to say. */
static void on_knock(coordinator *c, const tri_incoming *in, const tri_msg_knock *m) {
  char text[256];
  tri_error err;
  if (m->protocol != TRI_PROTOCOL) {
    snprintf(text, sizeof text, "protocol: worker %s speaks %u (version %s), this coordinator %d (version %s); run the same version on both",
             m->name, m->protocol, m->version, TRI_PROTOCOL, TRIREME_VERSION);
    TRI_WARN("refused a worker from %s: %s", in->address, text);
    coordinator_refuse(c, in, TRI_E_PROTOCOL, text);
    return;
  }
  c->outgoing = (tri_msg){.kind = TRI_MSG_MODEL};
  if (coordinator_send(c, &in->from, c->manifest_bytes.data, c->manifest_bytes.len, &err) != TRI_OK)
    TRI_WARN("the model's list to worker %s: %s", m->name, err.text);
}

bool coordinator_parts_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  if (m->kind == TRI_MSG_KNOCK) on_knock(c, in, &m->knock);
  else if (m->kind == TRI_MSG_NEED) on_need(c, in, &m->need, who);
  else if (m->kind == TRI_MSG_WANT) tri_server_want(c->server, &in->from, &m->want);
  else return false;
  return true;
}
