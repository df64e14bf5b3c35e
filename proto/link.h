/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_LINK_H
#define TRI_PROTO_LINK_H
#include "proto/codec.h"
#include "proto/keys.h"

/* ZeroMQ sockets with CURVE on every one; there is no plaintext mode. All functions are called from the one thread that owns
 * the net (zmq's own I/O thread aside).
 *
 * Control links: a coordinator listens (ROUTER), workers and clients dial (DEALER).
 * Data links: a worker listens for the stage before it (PULL), which dials (PUSH).
 * Enrolment links: as control links, for those whom the coordinator does not know yet; only short messages pass.
 *
 * Nothing is queued for a peer that is not there: a send before the handshake is TRI_E_BUSY, and what was queued when a
 * connection is lost is dropped, never replayed to the next one. So a dialler says Hello each time tri_link_connections
 * changes, and declares itself ready only once its data link is up. */

typedef struct tri_net tri_net;
typedef struct tri_link tri_link;

/* Asked for every connection to a listening link, on the owner's thread (in tri_loop_run), before a byte of it is delivered.
 * `domain` is the listening link's. A connection that was once allowed stays: to revoke a key, cut it (tri_link_cut), and
 * check tri_incoming.key against the list with every message, as some may be on their way. */
typedef bool tri_net_allow_fn(void *arg, const char *domain, const uint8_t key[TRI_KEY_BYTES], const char *address);

TRI_MUST_CHECK tri_status tri_net_create(tri_net **out, const tri_keypair *self, tri_net_allow_fn *allow, void *arg, tri_error *err);
void tri_net_destroy(tri_net **net); /* after its loop and its links; waits at most 200 ms for unsent messages */
/* The largest payload of links made from now on (default and most: TRI_MAX_PAYLOAD). A peer may make the listener set aside
 * this much before it has proven its key, so set what the model needs. A connection that announces more is cut. */
void tri_net_limit_payload(tri_net *net, size_t bytes);

/* Bytes of owned payloads (tri_link_send) that no link has sent or dropped yet. */
size_t tri_net_unsent_bytes(const tri_net *net);

typedef enum tri_link_kind { TRI_LINK_CONTROL, TRI_LINK_DATA, TRI_LINK_ENROL } tri_link_kind;

/* "tcp://HOST:PORT", with brackets around an IPv6 address. */
void tri_link_endpoint(char out[TRI_MAX_ENDPOINT], const char *host, uint16_t port);
/* endpoint "tcp://HOST:PORT": HOST is an address or an interface of this machine, or * for all; port 0 picks a free one. *port
 * (may be NULL) tells which. domain: see the allow function. */
TRI_MUST_CHECK tri_status tri_link_listen(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint, const char *domain,
                                          uint16_t *port, tri_error *err);
/* Connects in the background and reconnects with back-off (100 ms to 2 s), also after a refusal: the key may have been added
 * since. Needs to be in a loop for that. TRI_E_INVALID when the endpoint is malformed; HOST may be a name. */
TRI_MUST_CHECK tri_status tri_link_dial(tri_link **out, tri_net *net, tri_link_kind kind, const char *endpoint,
                                        const uint8_t server_key[TRI_KEY_BYTES], tri_error *err);
void tri_link_close(tri_link **link); /* remove it from its loop first */

/* What a dialled link has come to, from the socket's monitor. */
typedef enum tri_link_state {
  TRI_LINK_CONNECTING, /* no answer yet (or lost, trying again) */
  TRI_LINK_UP,         /* handshake done */
  TRI_LINK_DENIED,     /* the listener refused our key */
  TRI_LINK_WRONG_KEY,  /* the handshake failed again and again: most likely the listener does not hold the key we were told */
} tri_link_state;
/* Listening links are always UP. */
tri_link_state tri_link_get_state(tri_link *link);
/* How many handshakes a dialled link has completed: a new number is a new connection, whose peer knows nothing of the old. */
uint32_t tri_link_connections(tri_link *link);
/* "cannot reach tcp://…: …", "refused our key …": one sentence with what to do, for the state. */
void tri_link_explain(tri_link *link, tri_error *err);

/* End the connections over which this key has sent a message to a listening control or enrolment link; how many is returned. What
 * was sent to them just before may be lost. The allow function decides whether they come back. */
size_t tri_link_cut(tri_link *link, const uint8_t key[TRI_KEY_BYTES]);

/* A peer of a listening control link; a value, valid until the peer goes. */
typedef struct tri_peer {
  uint8_t route[8];
  uint8_t route_len;
} tri_peer;

/* Send one message. `to` is needed on a listening control link and NULL elsewhere. payload (may be NULL) is copied unless
 * `owned`: then it was malloc'ed and is freed once sent (also on failure), perhaps on another thread. TRI_E_BUSY: the peer's
 * queue is full, or a dialled link is not up; TRI_E_NOT_FOUND: no such peer (gone); TRI_E_LIMIT: a field or the payload is
 * too large, or the kind carries none. Never blocks. */
TRI_MUST_CHECK tri_status tri_link_send(tri_link *link, const tri_peer *to, const tri_msg *m, void *payload, size_t len, bool owned,
                                        tri_error *err);

typedef struct tri_incoming {
  tri_peer from;                 /* listening control links */
  uint8_t key[TRI_KEY_BYTES];    /* the sender's proven key (listening links only) */
  char address[64];              /* the sender's IP address (listening links only) */
  const uint8_t *payload;        /* valid until the link's next tri_link_recv or close; NULL without one; not aligned: memcpy */
  size_t payload_len;
} tri_incoming;

/* Receive one message without blocking: TRI_E_AGAIN when there is none (always on a dialled data link). TRI_E_PROTOCOL for a
 * malformed one (dropped; `in` still tells the sender). */
TRI_MUST_CHECK tri_status tri_link_recv(tri_link *link, tri_incoming *in, tri_msg *m, tri_error *err);

uint64_t tri_link_sent_bytes(const tri_link *link); /* envelope and payload bytes */

#endif
