/* SPDX-License-Identifier: MIT */
#include "worker/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "worker/gauge.h"

enum {
  FAIR = 64,
  RATE_US = 500000, /* what waits in queues while this thread is held up, 2 MB a source, must not make the link look faster */
};

typedef enum part_state { UNWANTED, ASKED /* the coordinator */, COMING, HERE } part_state;

typedef struct part {
  part_state state;
  uint8_t source;      /* of COMING */
  uint64_t got, asked; /* bytes */
  int64_t since_ms;    /* when the coordinator was asked; 0: not among those wanted now */
  uint8_t from_key[TRI_KEY_BYTES]; /* who gave it last */
  bool has_from;
} part;

typedef struct source {
  tri_link *link; /* NULL: free */
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t key[TRI_KEY_BYTES];
  uint32_t connection, outstanding;
  int64_t heard_ms;
  struct tri_fetch *fetch;
} source;

struct tri_fetch {
  tri_fetch_config config;
  part *parts; /* [manifest.n] */
  size_t wanted, here;
  uint64_t wanted_bytes;
  uint64_t rate_bytes;       /* come since rate_us, which is 0 before the first */
  int64_t rate_us;
  uint32_t kbps;
  source sources[TRI_FETCH_SOURCES];
  tri_msg in, out; /* scratch */
  tri_msg_need need;
};

static const tri_manifest_item *item_of(const tri_fetch *f, size_t i) { return &f->config.manifest->items[i]; }

tri_status tri_fetch_create(tri_fetch **out, const tri_fetch_config *config, tri_error *err) {
  tri_fetch *f = calloc(1, sizeof *f);
  if (f) f->config = *config, f->parts = calloc(config->manifest->n, sizeof *f->parts);
  if (!f || !f->parts) return free(f), tri_status_fail(err, TRI_E_NOMEM, "out of memory for getting parts");
  *out = f;
  return TRI_OK;
}

static void close_source(tri_fetch *f, source *s) {
  if (!s->link) return;
  tri_loop_remove_link(f->config.loop, s->link);
  tri_link_close(&s->link);
}

void tri_fetch_stop(tri_fetch *f) {
  for (int i = 0; i < TRI_FETCH_SOURCES; i++) close_source(f, &f->sources[i]);
  for (size_t i = 0; i < f->config.manifest->n; i++)
    if (f->parts[i].state != HERE) f->parts[i].state = UNWANTED;
  f->wanted = f->here = 0;
  f->wanted_bytes = 0;
}

void tri_fetch_destroy(tri_fetch **fetch) {
  tri_fetch *f = *fetch;
  if (!f) return;
  tri_fetch_stop(f);
  free(f->parts);
  free(f);
  *fetch = NULL;
}

void tri_fetch_progress(const tri_fetch *f, uint64_t *here, uint64_t *total) {
  *here = 0, *total = f->wanted_bytes;
  for (size_t i = 0; f->wanted && i < f->config.manifest->n; i++)
    if (f->parts[i].state == ASKED || f->parts[i].state == COMING) *here += f->parts[i].got;
    else if (f->parts[i].state == HERE && f->parts[i].since_ms) *here += item_of(f, i)->bytes; /* of those wanted now */
}

/* --- questions for the coordinator --- */

static void flush_need(tri_fetch *f) {
  if (f->need.n_parts) f->config.need(f->config.arg, &f->need);
  f->need.n_parts = 0;
}

/* Collected until flush_need; all of one call with the same failed source. */
static void ask_for(tri_fetch *f, size_t i, int64_t now_ms) {
  f->parts[i].state = ASKED;
  f->parts[i].since_ms = now_ms ? now_ms : 1;
  f->need.parts[f->need.n_parts++] = (uint32_t)i;
  if (f->need.n_parts == TRI_MAX_PARTS) flush_need(f);
}

static void begin_need(tri_fetch *f, const uint8_t *failed_key, const char *text) {
  f->need = (tri_msg_need){.has_failed = failed_key != NULL};
  if (failed_key) memcpy(f->need.failed_key, failed_key, TRI_KEY_BYTES);
  snprintf(f->need.text, sizeof f->need.text, "%s", text);
}

static void fail_source(tri_fetch *f, source *s, const char *why) {
  uint8_t key[TRI_KEY_BYTES];
  int64_t now = tri_clock_ms();
  memcpy(key, s->key, sizeof key);
  TRI_WARN("getting parts from %s: %s", s->endpoint, why);
  close_source(f, s);
  begin_need(f, key, why);
  for (size_t i = 0; i < f->config.manifest->n; i++)
    if (f->parts[i].state == COMING && f->parts[i].source == s - f->sources) ask_for(f, i, now);
  flush_need(f);
}

/* --- chunks --- */

static void ask_source(tri_fetch *f, source *s) {
  if (tri_link_get_state(s->link) != TRI_LINK_UP) return;
  for (size_t i = 0; i < f->config.manifest->n && s->outstanding < TRI_FETCH_WINDOW; i++) {
    part *p = &f->parts[i];
    if (p->state != COMING || p->source != s - f->sources) continue;
    while (p->asked < item_of(f, i)->bytes && s->outstanding < TRI_FETCH_WINDOW) {
      uint64_t left = item_of(f, i)->bytes - p->asked;
      f->out = (tri_msg){.kind = TRI_MSG_WANT, .want = {.at = p->asked, .bytes = left < TRI_CHUNK_BYTES ? (uint32_t)left : TRI_CHUNK_BYTES}};
      memcpy(f->out.want.hash, item_of(f, i)->hash.bytes, TRI_ID_BYTES);
      tri_error err;
      if (tri_link_send(s->link, NULL, &f->out, NULL, 0, false, &err) != TRI_OK) return;
      p->asked += f->out.want.bytes;
      s->outstanding++;
    }
  }
}

/* Bytes of all sources together: they come over the one link that this worker has. */
static void take_rate(tri_fetch *f, size_t len) {
  int64_t now_us = tri_clock_us(), took_us = now_us - f->rate_us;
  f->rate_bytes += len;
  if (f->rate_us && took_us < RATE_US) return;
  uint32_t kbps = f->rate_us ? tri_gauge_kbps(f->rate_bytes, took_us) : 0;
  if (kbps > f->kbps) f->kbps = kbps;
  f->rate_us = now_us, f->rate_bytes = 0;
}

uint32_t tri_fetch_kbps(const tri_fetch *f) { return f->kbps; }

static void end_all(tri_fetch *f, tri_status status, const tri_error *err) {
  tri_fetch_stop(f);
  f->config.done(f->config.arg, status, err);
}

static bool is_idle(const tri_fetch *f, const source *s) {
  for (size_t i = 0; i < f->config.manifest->n; i++)
    if (f->parts[i].state == COMING && f->parts[i].source == s - f->sources) return false;
  return true;
}

/* False: `s` may be closed. */
static bool take_chunk(tri_fetch *f, source *s, const tri_msg_chunk *m, const uint8_t *bytes, size_t len) {
  tri_error err;
  int i = tri_manifest_find(f->config.manifest, m->hash);
  part *p = i >= 0 ? &f->parts[i] : NULL;
  if (s->outstanding) s->outstanding--;
  if (m->error[0]) return fail_source(f, s, m->error), false;
  if (!p || p->state != COMING || p->source != s - f->sources || m->at != p->got || !len || len > item_of(f, (size_t)i)->bytes - p->got)
    return fail_source(f, s, "it sent bytes that were not asked for"), false;
  tri_status status = tri_store_append(f->config.store, item_of(f, (size_t)i), p->got, bytes, len, &err);
  if (status != TRI_OK) return end_all(f, status, &err), false;
  take_rate(f, len);
  p->got += len;
  if (p->got < item_of(f, (size_t)i)->bytes) return true;
  p->state = HERE;
  p->has_from = true;
  memcpy(p->from_key, s->key, TRI_KEY_BYTES);
  if (++f->here == f->wanted) return end_all(f, TRI_OK, NULL), false;
  if (is_idle(f, s)) return close_source(f, s), false;
  return true;
}

/* A new connection knows nothing of what was asked over the old one. */
static void follow_connection(tri_fetch *f, source *s) {
  uint32_t connection = tri_link_connections(s->link);
  if (connection == s->connection) return;
  s->connection = connection;
  s->outstanding = 0;
  for (size_t i = 0; i < f->config.manifest->n; i++)
    if (f->parts[i].state == COMING && f->parts[i].source == s - f->sources) f->parts[i].asked = f->parts[i].got;
}

static void read_source(void *arg) {
  source *s = arg;
  tri_fetch *f = s->fetch;
  follow_connection(f, s);
  for (int k = 0; k < FAIR && s->link; k++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(s->link, &in, &f->in, &err);
    if (status == TRI_E_AGAIN) break;
    s->heard_ms = tri_clock_ms();
    if (status != TRI_OK || f->in.kind != TRI_MSG_CHUNK) {
      fail_source(f, s, status != TRI_OK ? err.text : f->in.kind == TRI_MSG_REFUSE ? f->in.refuse.text : "it sent something else than parts");
      return;
    }
    if (!take_chunk(f, s, &f->in.chunk, in.payload, in.payload_len)) return;
  }
  if (s->link) ask_source(f, s);
}

static source *find_source(tri_fetch *f, const char *endpoint, const uint8_t *key) {
  source *room = NULL;
  for (int i = 0; i < TRI_FETCH_SOURCES; i++) {
    source *s = &f->sources[i];
    if (!s->link && !room) room = s;
    if (s->link && strcmp(s->endpoint, endpoint) == 0 && memcmp(s->key, key, TRI_KEY_BYTES) == 0) return s;
  }
  return room;
}

static tri_status dial(tri_fetch *f, source *s, const char *endpoint, const uint8_t *key, tri_error *err) {
  *s = (source){.fetch = f, .heard_ms = tri_clock_ms()};
  snprintf(s->endpoint, sizeof s->endpoint, "%s", endpoint);
  memcpy(s->key, key, TRI_KEY_BYTES);
  tri_net_limit_payload(f->config.net, TRI_CHUNK_BYTES);
  tri_status status = tri_link_dial(&s->link, f->config.net, TRI_LINK_CONTROL, endpoint, key, err);
  if (status == TRI_OK && (status = tri_loop_add_link(f->config.loop, s->link, read_source, s, err)) != TRI_OK) tri_link_close(&s->link);
  return status;
}

void tri_fetch_source(tri_fetch *f, const tri_msg_source *m) {
  const char *endpoint = m->endpoint[0] ? m->endpoint : f->config.coordinator;
  const uint8_t *key = m->endpoint[0] ? m->server_key : f->config.coordinator_key;
  tri_error err;
  source *s = find_source(f, endpoint, key);
  if (!s) return; /* all are busy: asked again later */
  bool fits = false;
  for (uint32_t i = 0; i < m->n_parts; i++) fits |= m->parts[i] < f->config.manifest->n && f->parts[m->parts[i]].state == ASKED;
  if (!fits) return;
  if (!s->link && dial(f, s, endpoint, key, &err) != TRI_OK) {
    TRI_WARN("getting parts from %s: %s", endpoint, err.text);
    return;
  }
  for (uint32_t i = 0; i < m->n_parts; i++) {
    part *p = m->parts[i] < f->config.manifest->n ? &f->parts[m->parts[i]] : NULL;
    if (!p || p->state != ASKED) continue;
    p->state = COMING;
    p->source = (uint8_t)(s - f->sources);
    p->asked = p->got;
  }
  ask_source(f, s);
}

/* --- what is wanted --- */

static tri_status make_room(const tri_fetch *f, const uint32_t *parts, size_t n, tri_error *err) {
  const tri_manifest_item **keep = malloc((n + 1) * sizeof *keep);
  uint64_t more = 0;
  if (!keep) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for getting parts");
  for (size_t i = 0; i < n; i++) keep[i] = item_of(f, parts[i]), more += keep[i]->bytes - tri_store_begun(f->config.store, keep[i]);
  keep[n] = item_of(f, 0); /* the metadata is always of use */
  tri_status status = tri_store_make_room(f->config.store, more, keep, n + 1, err);
  free(keep);
  return status;
}

void tri_fetch_want(tri_fetch *f, const uint32_t *parts, size_t n, bool damaged) {
  tri_error err;
  int64_t now = tri_clock_ms();
  tri_fetch_stop(f);
  for (size_t i = 0; i < f->config.manifest->n; i++) f->parts[i].since_ms = 0;
  tri_status status = make_room(f, parts, n, &err);
  if (status != TRI_OK) {
    f->config.done(f->config.arg, status, &err);
    return;
  }
  const part *first = &f->parts[parts[0]];
  begin_need(f, damaged && first->has_from ? first->from_key : NULL, damaged ? "the part was damaged" : "");
  for (size_t i = 0; i < n; i++) {
    part *p = &f->parts[parts[i]];
    p->got = tri_store_begun(f->config.store, item_of(f, parts[i]));
    f->wanted++;
    f->wanted_bytes += item_of(f, parts[i])->bytes;
    ask_for(f, parts[i], now);
  }
  flush_need(f);
}

void tri_fetch_tick(tri_fetch *f, int64_t now_ms) {
  if (!f->wanted) return;
  for (int i = 0; i < TRI_FETCH_SOURCES; i++) {
    source *s = &f->sources[i];
    if (s->link && now_ms - s->heard_ms > TRI_FETCH_SILENT_MS) {
      tri_error why = {0};
      tri_link_explain(s->link, &why);
      fail_source(f, s, tri_link_get_state(s->link) == TRI_LINK_UP ? "it sends nothing" : why.text);
    }
    if (s->link) read_source(s);
  }
  begin_need(f, NULL, "");
  for (size_t i = 0; i < f->config.manifest->n; i++)
    if (f->parts[i].state == ASKED && now_ms - f->parts[i].since_ms > TRI_FETCH_SILENT_MS) ask_for(f, i, now_ms);
  flush_need(f);
}
