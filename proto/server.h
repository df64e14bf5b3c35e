/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_SERVER_H
#define TRI_PROTO_SERVER_H
#include "proto/link.h"

/* Answers Wants with Chunks over a listening control link. Each Want is leave to send one Chunk, so a peer never gets more than it asked
 * for; Wants that come while too much is unsent wait their turn. */

enum {
  TRI_SERVER_UNSENT_BYTES = 32 << 20, /* of Chunks at once, for all peers */
  TRI_SERVER_WANTS = 4096,            /* that wait; more are dropped, and asked for again */
};

/* Bytes [at, at + len) of the part with this hash into out, or an error for the peer to read. */
typedef tri_status tri_server_read_fn(void *arg, const uint8_t hash[TRI_ID_BYTES], uint64_t at, size_t len, uint8_t *out, tri_error *err);

typedef struct tri_server tri_server;

/* The link must outlive it. */
TRI_MUST_CHECK tri_status tri_server_create(tri_server **out, tri_net *net, tri_link *link, tri_server_read_fn *read, void *arg, tri_error *err);
void tri_server_destroy(tri_server **s);
void tri_server_want(tri_server *s, const tri_peer *from, const tri_msg_want *m);
/* Send what may be sent now: call it when the loop is awake. */
void tri_server_pump(tri_server *s);
uint64_t tri_server_sent_bytes(const tri_server *s);

#endif
