/* SPDX-License-Identifier: MIT */
#include "proto/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

typedef struct waiting {
  tri_peer from;
  tri_msg_want want;
} waiting;

struct tri_server {
  tri_net *net;
  tri_link *link;
  tri_server_read_fn *read;
  void *arg;
  waiting *ring; /* [TRI_SERVER_WANTS] */
  size_t first, n;
  uint64_t sent_bytes;
  tri_msg out;
};

tri_status tri_server_create(tri_server **out, tri_net *net, tri_link *link, tri_server_read_fn *read, void *arg, tri_error *err) {
  tri_server *s = calloc(1, sizeof *s);
  if (s) *s = (tri_server){.net = net, .link = link, .read = read, .arg = arg, .ring = calloc(TRI_SERVER_WANTS, sizeof *s->ring)};
  if (!s || !s->ring) return tri_server_destroy(&s), tri_status_fail(err, TRI_E_NOMEM, "out of memory for giving out parts");
  *out = s;
  return TRI_OK;
}

void tri_server_destroy(tri_server **server) {
  if (!*server) return;
  free((*server)->ring);
  free(*server);
  *server = NULL;
}

void tri_server_want(tri_server *s, const tri_peer *from, const tri_msg_want *m) {
  if (s->n < TRI_SERVER_WANTS) s->ring[(s->first + s->n++) % TRI_SERVER_WANTS] = (waiting){*from, *m};
  tri_server_pump(s);
}

static void answer(tri_server *s, const waiting *w) {
  tri_error err = {0};
  uint8_t *bytes = w->want.bytes ? malloc(w->want.bytes) : NULL;
  s->out = (tri_msg){.kind = TRI_MSG_CHUNK, .chunk = {.at = w->want.at}};
  memcpy(s->out.chunk.hash, w->want.hash, TRI_ID_BYTES);
  tri_status status = TRI_OK;
  if (w->want.bytes && !bytes) status = tri_status_fail(&err, TRI_E_NOMEM, "out of memory");
  else if (w->want.bytes) status = s->read(s->arg, w->want.hash, w->want.at, w->want.bytes, bytes, &err);
  if (status != TRI_OK) {
    snprintf(s->out.chunk.error, sizeof s->out.chunk.error, "%s", err.text);
    free(bytes), bytes = NULL;
  }
  size_t len = bytes ? w->want.bytes : 0;
  if (tri_link_send(s->link, &w->from, &s->out, bytes, len, true, &err) == TRI_OK) s->sent_bytes += len;
  else TRI_DEBUG("a chunk was not sent: %s", err.text);
}

void tri_server_pump(tri_server *s) {
  while (s->n && tri_net_unsent_bytes(s->net) < TRI_SERVER_UNSENT_BYTES) {
    waiting next = s->ring[s->first];
    s->first = (s->first + 1) % TRI_SERVER_WANTS, s->n--;
    answer(s, &next);
  }
}

uint64_t tri_server_sent_bytes(const tri_server *s) { return s->sent_bytes; }
