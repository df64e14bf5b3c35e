/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_ENROL_H
#define TRI_PROTO_ENROL_H
#include "proto/token.h"

/* How one who holds a token gets onto a coordinator's allow-list: two messages over the enrolment link, on which CURVE has proven
 * the coordinator's key (the token names it) and the joiner's. They carry their own proofs besides, so that their safety does not
 * hang on the link's encryption alone: name and role are sealed for the coordinator (libsodium's crypto_box_seal), and a MAC
 * under the token's key (crypto_auth, HMAC-SHA512-256) binds each message to its direction, both keys and the token. So
 * a message is worth nothing to another key, in the other direction or with another token. */

/* --- the joiner's side --- */

/* Fill m, an Enrol. role: the one that is wanted; who asks for CLIENT may become ADMIN, if the token says so. */
TRI_MUST_CHECK tri_status tri_enrol_ask(tri_msg *m, const tri_token *t, const tri_keypair *self, tri_role role, tri_error *err);
/* An Enrolled that came back: TRI_E_DENIED when its proof is wrong, or it grants what was not asked for. */
TRI_MUST_CHECK tri_status tri_enrol_accept(const tri_msg_enrolled *m, const tri_token *t, const uint8_t self[TRI_KEY_BYTES], tri_role asked,
                                           tri_error *err);

/* --- the coordinator's side --- */

/* Check an Enrol that `peer`, a proven key, sent, against the grant of its id (NULL: there is none; takes as long). What is wanted
 * goes to *out: the grant's role, and its name, else the one that is asked for. TRI_E_DENIED: an unknown token or a wrong
 * proof, which the answer must not tell apart; err does, for the log. TRI_E_INVALID: another protocol, name or role than can be. */
TRI_MUST_CHECK tri_status tri_enrol_check(const tri_msg_enrol *m, const tri_grant *grant, const tri_keypair *self,
                                          const uint8_t peer[TRI_KEY_BYTES], tri_allowed *out, tri_error *err);
/* Fill m, an Enrolled for `who`. */
void tri_enrol_answer(tri_msg *m, const tri_grant *grant, const tri_keypair *self, const tri_allowed *who, uint16_t port);

/* --- the whole of the joiner's side --- */

typedef struct tri_join_options {
  const char *token; /* its text, or "-" to read it from standard input */
  const char *dir;   /* key folder; a key is made there if it has none */
  const char *name;  /* that is wanted, for a new key too; NULL: the key's, for a new one this host's */
  tri_role role;     /* TRI_ROLE_WORKER or TRI_ROLE_CLIENT */
  int64_t timeout_ms;
} tri_join_options;

typedef struct tri_joined {
  tri_role role;
  char name[TRI_MAX_NAME], endpoint[TRI_MAX_ENDPOINT]; /* of the control link */
  bool made_key;
} tri_joined;

/* Enrol, and keep the coordinator's key, its endpoint and our name in the folder. Repeating it after a failure is safe: the same
 * key does not use a token twice. TRI_E_UNREACHABLE: nothing answers; TRI_E_DENIED: refused, or not the token's coordinator;
 * TRI_E_BUSY: too many tries; TRI_E_INVALID: the folder trusts another coordinator. */
TRI_MUST_CHECK tri_status tri_enrol_join(const tri_join_options *o, tri_joined *out, tri_error *err);

#endif
