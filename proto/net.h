/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_NET_H
#define TRI_PROTO_NET_H
#include <stdatomic.h>
#include "proto/link.h"

/* Inside proto/ only: what links and the loop need of each other. Sockets are zmq's (void *). */

struct tri_net {
  void *context;
  void *zap; /* REP, answers for every handshake at a listening link */
  tri_keypair self;
  tri_net_allow_fn *allow;
  void *allow_arg;
  size_t payload_limit;
  _Atomic size_t unsent; /* bytes of payloads given to links and not yet sent or dropped */
};

/* Set integer options; the status is TRI_E_INTERNAL if one is refused. */
typedef struct tri_net_option { int name, value; } tri_net_option;
tri_status tri_net_set_options(void *socket, const tri_net_option *options, size_t count, tri_error *err);
/* Answer the handshakes that wait. */
void tri_net_serve(tri_net *net);

/* ---- A dialled socket's monitor (watch.c) ---- */

typedef struct tri_watch {
  void *monitor;          /* PAIR */
  tri_link_state state;
  uint32_t connections;   /* handshakes completed */
  uint32_t failures;      /* handshakes cut since one was completed or could not be tried */
  bool stalled;           /* the last handshake ran out of time */
  bool connected;         /* TCP has connected since the last retry */
  uint32_t changes;       /* of state or connections */
  int64_t redial_ms;      /* when to make a new socket, as this one has given up; 0: not */
} tri_watch;

/* Begin before the socket connects. The monitor is the caller's to close, also on failure, after the socket's monitoring. */
tri_status tri_watch_open(tri_watch *w, tri_net *net, void *socket, tri_error *err);
/* Take in what the monitor has to say. */
void tri_watch_update(tri_watch *w, int64_t now_ms);

/* ---- For the loop (link.c) ---- */

void *tri_link_socket(tri_link *link);
void *tri_link_monitor(tri_link *link);   /* NULL on listening links */
/* A new number: the state or the connection is another. Asks nobody: tri_link_get_state takes in the monitor's news. */
uint32_t tri_link_changes(tri_link *link);
int64_t tri_link_due_ms(tri_link *link);   /* when to call tri_link_redial; 0: not */
void tri_link_redial(tri_link *link);

#endif
