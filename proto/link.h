/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_LINK_H
#define TRI_PROTO_LINK_H
#include "proto/codec.h"
#include "proto/keys.h"

/* ZeroMQ sockets with CURVE on every one; there is no plaintext mode. All functions are called from the one thread that owns
 * the net (zmq's own I/O thread aside).
 *
 * Control links: a coordinator listens (ROUTER), workers and clients dial (DEALER).
 * Data links: a worker listens for the stage before it (PULL), which dials (PUSH). */

typedef struct tri_net tri_net;
typedef struct tri_link tri_link;

/* Asked for every connection to a listening link, on the owner's thread, before a byte of it is delivered. `domain` is the
 * listening link's. */
typedef bool tri_net_allow_fn(void *arg, const char *domain, const uint8_t key[TRI_KEY_BYTES], const char *address);

TRI_MUST_CHECK tri_status tri_net_create(tri_net **out, const tri_keypair *self, tri_net_allow_fn *allow, void *arg, tri_error *err);
void tri_net_destroy(tri_net **net); /* after its links; does not wait longer than 200 ms for unsent messages */

typedef enum tri_link_kind { TRI_LINK_CONTROL, TRI_LINK_DATA } tri_link_kind;

/* endpoint "tcp://HOST:PORT", port 0 picks a free one; *port (may be NULL) tells which. domain: see the allow function. */
TRI_MUST_CHECK tri_status tri_link_listen(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint, const char *domain,
                                          uint16_t *port, tri_error *err);
/* Connects in the background and reconnects with back-off (100 ms to 2 s). */
TRI_MUST_CHECK tri_status tri_link_dial(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint,
                                        const uint8_t server_key[TRI_KEY_BYTES], tri_error *err);
void tri_link_close(tri_link **link);

/* What a dialled link has come to, from the socket's monitor. */
typedef enum tri_link_state {
  TRI_LINK_CONNECTING, /* no answer yet (or lost, trying again) */
  TRI_LINK_UP,         /* handshake done */
  TRI_LINK_DENIED,     /* the listener refused our key */
  TRI_LINK_WRONG_KEY,  /* the handshake failed: the listener does not hold the key that we were told */
} tri_link_state;
tri_link_state tri_link_get_state(tri_link *link);
/* "cannot reach tcp://…: …", "refused our key …": one sentence with what to do, for the state. */
void tri_link_explain(tri_link *link, tri_error *err);

/* A peer of a listening control link; a value, valid until the peer goes. */
typedef struct tri_peer {
  uint8_t route[8];
  uint8_t route_len;
} tri_peer;

/* Send one message. `to` is needed on a listening control link and NULL elsewhere. payload (may be NULL) is copied unless
 * `owned`: then it was malloc'ed and is freed once sent (also on failure). TRI_E_BUSY: the peer's queue is full;
 * TRI_E_NOT_FOUND: no such peer (gone). Never blocks. */
TRI_MUST_CHECK tri_status tri_link_send(tri_link *link, const tri_peer *to, const tri_msg *m, void *payload, size_t len, bool owned,
                                        tri_error *err);

typedef struct tri_incoming {
  tri_peer from;                 /* listening control links */
  uint8_t key[TRI_KEY_BYTES];    /* the sender's proven key (listening links only) */
  char address[64];              /* the sender's IP address (listening links only) */
  const uint8_t *payload;        /* valid until the next tri_link_recv on this link; NULL without one */
  size_t payload_len;
} tri_incoming;

/* Receive one message without blocking: TRI_E_AGAIN when there is none. TRI_E_PROTOCOL for a malformed one (dropped; `in`
 * still tells the sender). */
TRI_MUST_CHECK tri_status tri_link_recv(tri_link *link, tri_incoming *in, tri_msg *m, tri_error *err);

uint64_t tri_link_sent_bytes(const tri_link *link); /* envelope and payload bytes */

#endif
