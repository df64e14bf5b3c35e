/* SPDX-License-Identifier: MIT */
#include "proto/enrol.h"

#include <sodium.h>
#include <string.h>
#include "proto/keyfile.h"

enum { PLAIN = 1 + TRI_MAX_NAME };
static const char ask_context[] = "trireme-enrol-1", answer_context[] = "trireme-enrolled-1";

_Static_assert(TRI_ENROL_SEALED == PLAIN + crypto_box_SEALBYTES && (int)TRI_ENROL_TOKEN == (int)TRI_TOKEN_ID, "Enrol's fields");
_Static_assert(TRI_MAC_BYTES == crypto_auth_BYTES && TRI_KEY_BYTES == crypto_auth_KEYBYTES, "a proof's size");

/* What a proof covers, in bytes of fixed length: nothing of one field can pass for the next. */
typedef struct proof {
  uint8_t bytes[32 + 2 * TRI_KEY_BYTES + TRI_TOKEN_ID + TRI_ENROL_SEALED + 3 * sizeof(uint32_t) + TRI_MAX_NAME];
  size_t len;
} proof;

static void put(proof *p, const void *bytes, size_t len) {
  memcpy(p->bytes + p->len, bytes, len);
  p->len += len;
}

static proof begin(const char *context, size_t size, const uint8_t *coordinator, const uint8_t *joiner, const uint8_t *id) {
  proof p = {0};
  put(&p, context, size);
  put(&p, coordinator, TRI_KEY_BYTES);
  put(&p, joiner, TRI_KEY_BYTES);
  put(&p, id, TRI_TOKEN_ID);
  return p;
}

static proof of_enrol(const tri_msg_enrol *m, const uint8_t *coordinator, const uint8_t *joiner) {
  proof p = begin(ask_context, sizeof ask_context, coordinator, joiner, m->token);
  put(&p, &m->protocol, sizeof m->protocol);
  put(&p, m->sealed, sizeof m->sealed);
  return p;
}

static proof of_enrolled(const tri_msg_enrolled *m, const uint8_t *coordinator, const uint8_t *joiner, const uint8_t *id) {
  proof p = begin(answer_context, sizeof answer_context, coordinator, joiner, id);
  put(&p, &m->role, sizeof m->role);
  put(&p, &m->port, sizeof m->port);
  put(&p, m->name, strlen(m->name)); /* the last */
  return p;
}

/* --- the joiner's side --- */

tri_status tri_enrol_ask(tri_msg *m, const tri_token *t, const tri_keypair *self, tri_role role, tri_error *err) {
  uint8_t plain[PLAIN] = {(uint8_t)role}, key[TRI_KEY_BYTES];
  if (sodium_init() < 0) return tri_status_fail(err, TRI_E_INTERNAL, "libsodium found no source of random numbers");
  *m = (tri_msg){.kind = TRI_MSG_ENROL, .enrol = {.protocol = TRI_PROTOCOL}};
  memcpy(plain + 1, self->name, TRI_MAX_NAME);
  memcpy(m->enrol.token, t->id, TRI_TOKEN_ID);
  if (crypto_box_seal(m->enrol.sealed, plain, sizeof plain, t->coordinator) != 0)
    return tri_status_fail(err, TRI_E_FORMAT, "this token's coordinator has a key that is not one");
  tri_token_key(t, key);
  proof p = of_enrol(&m->enrol, t->coordinator, self->public_key);
  crypto_auth(m->enrol.mac, p.bytes, p.len, key);
  sodium_memzero(key, sizeof key);
  return TRI_OK;
}

tri_status tri_enrol_accept(const tri_msg_enrolled *m, const tri_token *t, const uint8_t self[TRI_KEY_BYTES], tri_role asked,
                            tri_error *err) {
  uint8_t key[TRI_KEY_BYTES];
  tri_token_key(t, key);
  proof p = of_enrolled(m, t->coordinator, self, t->id);
  bool ok = crypto_auth_verify(m->mac, p.bytes, p.len, key) == 0;
  sodium_memzero(key, sizeof key);
  if (!ok) return tri_status_fail(err, TRI_E_DENIED, "the coordinator's answer does not prove that it knows this token");
  if (m->role != asked && !(asked == TRI_ROLE_CLIENT && m->role == TRI_ROLE_ADMIN))
    return tri_status_fail(err, TRI_E_DENIED, "the coordinator grants the role %s", tri_keys_role_name((tri_role)m->role));
  if (!tri_keyfile_is_name(m->name, strlen(m->name)) || m->port == 0)
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's answer has no fit name, or no port");
  return TRI_OK;
}

/* --- the coordinator's side --- */

tri_status tri_enrol_check(const tri_msg_enrol *m, const tri_grant *grant, const tri_keypair *self, const uint8_t peer[TRI_KEY_BYTES],
                           tri_allowed *out, tri_error *err) {
  static const tri_grant nobody;
  uint8_t plain[PLAIN];
  proof p = of_enrol(m, self->public_key, peer);
  bool proven = crypto_auth_verify(m->mac, p.bytes, p.len, (grant ? grant : &nobody)->key) == 0;
  if (!grant) return tri_status_fail(err, TRI_E_DENIED, "its token is not known here");
  if (!proven) return tri_status_fail(err, TRI_E_DENIED, "its proof of the token is wrong");
  if (m->protocol != TRI_PROTOCOL)
    return tri_status_fail(err, TRI_E_INVALID, "it speaks protocol %u, this coordinator %d: use the same version of Trireme", m->protocol,
                           TRI_PROTOCOL);
  if (crypto_box_seal_open(plain, m->sealed, sizeof m->sealed, self->public_key, self->secret_key) != 0)
    return tri_status_fail(err, TRI_E_INVALID, "what it sealed was not for this coordinator");
  const char *name = (const char *)plain + 1;
  if (!tri_keyfile_is_name(name, strnlen(name, TRI_MAX_NAME)))
    return tri_status_fail(err, TRI_E_INVALID, "its name must be 1 to %d printable characters", TRI_MAX_NAME - 1);
  if (plain[0] != grant->role && !(plain[0] == TRI_ROLE_CLIENT && grant->role == TRI_ROLE_ADMIN))
    return tri_status_fail(err, TRI_E_INVALID, "this token is for a %s, not for a %s: %s", tri_keys_role_name(grant->role),
                           tri_keys_role_name((tri_role)plain[0]),
                           grant->role == TRI_ROLE_WORKER ? "use `trireme-worker join`" : "use `trireme join`");
  *out = (tri_allowed){.role = grant->role};
  memcpy(out->key, peer, TRI_KEY_BYTES);
  strcpy(out->name, grant->name[0] ? grant->name : name);
  return TRI_OK;
}

void tri_enrol_answer(tri_msg *m, const tri_grant *grant, const tri_keypair *self, const tri_allowed *who, uint16_t port) {
  *m = (tri_msg){.kind = TRI_MSG_ENROLLED, .enrolled = {.role = (uint32_t)who->role, .port = port}};
  strcpy(m->enrolled.name, who->name);
  proof p = of_enrolled(&m->enrolled, self->public_key, who->key, grant->id);
  crypto_auth(m->enrolled.mac, p.bytes, p.len, grant->key);
}
