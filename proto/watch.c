/* SPDX-License-Identifier: MIT */
#include "proto/net.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

/* libzmq reconnects by itself after a lost connection, but gives up for good when the peer broke the protocol or refused
 * the key. It says DISCONNECTED in both cases and CONNECT_RETRIED soon after only when it goes on; without that, the link
 * makes a new socket after this time. */
enum { GIVEN_UP_MS = 2000 };

/* A listener that cannot open our first command (it was made for another key) cuts the connection without a word, and so
 * may one that is being stopped; several in a row are no accident. */
enum { WRONG_KEY_FAILURES = 3 };

enum {
  EVENTS = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
           ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
};

tri_status tri_watch_open(tri_watch *w, tri_net *net, void *socket, tri_error *err) {
  static atomic_uint serial;
  char endpoint[48];
  snprintf(endpoint, sizeof endpoint, "inproc://watch-%u", atomic_fetch_add(&serial, 1));
  /* No high-water mark: at a full monitor libzmq's I/O thread would wait for us. */
  static const tri_net_option options[] = {{ZMQ_LINGER, 0}, {ZMQ_RCVHWM, 0}};
  w->connected = false;
  w->monitor = zmq_socket(net->context, ZMQ_PAIR);
  if (!w->monitor || zmq_socket_monitor(socket, endpoint, EVENTS) != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "cannot watch a socket: %s", zmq_strerror(zmq_errno()));
  tri_status status = tri_net_set_options(w->monitor, options, sizeof options / sizeof options[0], err);
  if (status == TRI_OK && zmq_connect(w->monitor, endpoint) != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "cannot watch a socket: %s", zmq_strerror(zmq_errno()));
  return status;
}

static void enter(tri_watch *w, tri_link_state state) {
  if (w->state == state) return;
  w->state = state;
  w->changes++;
}

static void on_event(tri_watch *w, unsigned event, uint32_t value, int64_t now_ms) {
  switch (event) {
  case ZMQ_EVENT_CONNECTED: w->connected = true; break;
  case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
    w->failures = 0, w->stalled = false, w->redial_ms = 0;
    w->connections++, w->changes++;
    enter(w, TRI_LINK_UP);
    break;
  case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: enter(w, TRI_LINK_DENIED); break;
  case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    w->stalled = value != EPIPE && value != ECONNRESET; /* not cut: the time for it ran out */
    if (w->stalled) break;
    /* fallthrough */
  case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    if (++w->failures >= WRONG_KEY_FAILURES) enter(w, TRI_LINK_WRONG_KEY);
    break;
  case ZMQ_EVENT_DISCONNECTED:
    if (w->state == TRI_LINK_UP) enter(w, TRI_LINK_CONNECTING);
    w->redial_ms = now_ms + GIVEN_UP_MS;
    break;
  case ZMQ_EVENT_CONNECT_RETRIED:
    if (!w->connected) { /* nobody is there: earlier verdicts are void */
      w->failures = 0, w->stalled = false;
      enter(w, TRI_LINK_CONNECTING);
    }
    w->connected = false, w->redial_ms = 0;
    break;
  default: break;
  }
}

void tri_watch_update(tri_watch *w, int64_t now_ms) {
  /* An event is two frames: number (16 bits) and value (32), then the endpoint. */
  uint8_t head[6], endpoint[1];
  while (zmq_recv(w->monitor, head, sizeof head, ZMQ_DONTWAIT) == (int)sizeof head) {
    uint16_t event;
    uint32_t value;
    memcpy(&event, head, sizeof event);
    memcpy(&value, head + sizeof event, sizeof value);
    zmq_recv(w->monitor, endpoint, sizeof endpoint, 0);
    on_event(w, event, value, now_ms);
  }
}
