/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_BEACON_H
#define TRI_PROTO_BEACON_H
#include "proto/keys.h"
#include "proto/throttle.h"

/* Where is the coordinator? Asked by UDP multicast within a site (239.255.71.17, port 7117; IPv4), answered to the asker alone. Both
 * datagrams have 48 bytes, so that an answer is never more than its question:
 *   "TRIBEACN" (8), version 1 (1), kind: 0 question, 1 answer (1), port of the control link (2, little-endian; 0 in a question),
 *   the asker's nonce (8), BLAKE2b-128 of a coordinator's public key (16; zeros in a question: anyone), zeros (12)
 * Anybody can send such datagrams. An answer is a hint about an address and no more: whoever follows it proves the key there, as
 * with any address, and looks only for the key that it trusts. */

enum { TRI_BEACON_BYTES = 48, TRI_BEACON_HASH = 16, TRI_BEACON_NONCE = 8, TRI_BEACON_PORT = 7117 };

typedef struct tri_beacon {
  bool answer;
  uint16_t port;
  uint8_t nonce[TRI_BEACON_NONCE], hash[TRI_BEACON_HASH];
} tri_beacon;

void tri_beacon_hash(const uint8_t key[TRI_KEY_BYTES], uint8_t out[TRI_BEACON_HASH]);
void tri_beacon_encode(const tri_beacon *b, uint8_t out[TRI_BEACON_BYTES]);
/* TRI_E_FORMAT: not one of these. */
TRI_MUST_CHECK tri_status tri_beacon_decode(tri_beacon *out, const uint8_t *bytes, size_t len);

/* --- the coordinator's side --- */

/* A socket that hears questions on all interfaces that there are now, or on the loopback alone; the caller closes it. */
TRI_MUST_CHECK tri_status tri_beacon_listen(int *fd, bool loopback, tri_error *err);
/* Answer the questions that wait, for this key, as often as the throttle allows. */
void tri_beacon_answer(int fd, const uint8_t key[TRI_KEY_BYTES], uint16_t port, tri_throttle *t, int64_t now_ms);

/* --- the asker's side --- */

typedef struct tri_beacon_asker {
  int fd;
  tri_beacon question;
} tri_beacon_asker;

/* key NULL: any coordinator. The asker's fd is readable when an answer may be there. */
TRI_MUST_CHECK tri_status tri_beacon_open(tri_beacon_asker *a, const uint8_t *key, tri_error *err);
void tri_beacon_close(tri_beacon_asker *a);
/* Ask on all interfaces. TRI_E_IO when none takes it. */
TRI_MUST_CHECK tri_status tri_beacon_ask(tri_beacon_asker *a, tri_error *err);
/* The next answer to this asker, without blocking: TRI_E_AGAIN when there is none. endpoint: of the control link. */
TRI_MUST_CHECK tri_status tri_beacon_next(tri_beacon_asker *a, tri_beacon *out, char endpoint[TRI_MAX_ENDPOINT]);
/* All of it, blocking: the first endpoint that answers for this key. TRI_E_NOT_FOUND: none within that time. */
TRI_MUST_CHECK tri_status tri_beacon_find(const uint8_t key[TRI_KEY_BYTES], int64_t timeout_ms, char endpoint[TRI_MAX_ENDPOINT],
                                          tri_error *err);

#endif
