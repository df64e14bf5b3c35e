/* SPDX-License-Identifier: MIT */
/* The two messages' proofs. What happens over real links is in tests/cluster. */
#include "tests/test.h"
#include "proto/enrol.h"

#include <sodium.h>

static tri_error err;
static tri_keypair coordinator, joiner, other;
static tri_token token;
static tri_grant grant;
static tri_msg ask, answer;
static tri_allowed who;

static int set_up(void **state) {
  (void)state;
  token = (tri_token){.hosts = "a", .port = 1, .enrol_port = 2};
  grant = (tri_grant){.role = TRI_ROLE_WORKER, .uses = 1, .expires_s = 1};
  if (tri_keys_generate(&coordinator, "c", &err) != TRI_OK || tri_keys_generate(&joiner, "node one", &err) != TRI_OK ||
      tri_keys_generate(&other, "other", &err) != TRI_OK || tri_token_draw(&token, &err) != TRI_OK)
    return -1;
  memcpy(token.coordinator, coordinator.public_key, TRI_KEY_BYTES);
  memcpy(grant.id, token.id, sizeof grant.id);
  tri_token_key(&token, grant.key);
  return tri_enrol_ask(&ask, &token, &joiner, TRI_ROLE_WORKER, &err) == TRI_OK ? 0 : -1;
}

static tri_status check(const uint8_t *peer) { return tri_enrol_check(&ask.enrol, &grant, &coordinator, peer, &who, &err); }
static tri_status accept_answer(void) {
  return tri_enrol_accept(&answer.enrolled, &token, joiner.public_key, TRI_ROLE_WORKER, &err);
}

/* The proof as its definition says it, with nothing of enrol.c. */
static void a_proof_is_what_its_definition_says(void **state) {
  (void)state;
  uint8_t bytes[512], mac[32], key[32];
  size_t n = 0;
#define ADD(p, len) (memcpy(bytes + n, p, len), n += (len))
  ADD("trireme-enrol-1", 16), ADD(coordinator.public_key, 32), ADD(joiner.public_key, 32), ADD(token.id, 8);
  ADD("\4\0\0\0", 4), ADD(ask.enrol.sealed, 113);
#undef ADD
  assert_int_equal(TRI_PROTOCOL, 4);
  crypto_generichash_state s;
  crypto_generichash_init(&s, token.secret, sizeof token.secret, sizeof key);
  crypto_generichash_update(&s, (const uint8_t *)"trireme-token-1", 16);
  crypto_generichash_update(&s, token.id, 8);
  crypto_generichash_final(&s, key, sizeof key);
  crypto_auth_hmacsha512256_state h; /* in pieces, where enrol.c hashes at once */
  crypto_auth_hmacsha512256_init(&h, key, sizeof key);
  crypto_auth_hmacsha512256_update(&h, bytes, n);
  crypto_auth_hmacsha512256_final(&h, mac);
  assert_memory_equal(ask.enrol.mac, mac, sizeof mac);
}

static void a_holder_of_the_token_is_let_in(void **state) {
  (void)state;
  assert_ok(check(joiner.public_key), err);
  assert_string_equal(who.name, "node one");
  assert_int_equal(who.role, TRI_ROLE_WORKER);
  assert_memory_equal(who.key, joiner.public_key, TRI_KEY_BYTES);
  strcpy(grant.name, "pi");
  assert_ok(check(joiner.public_key), err);
  assert_string_equal(who.name, "pi");
  tri_enrol_answer(&answer, &grant, &coordinator, &who, 7117);
  assert_ok(accept_answer(), err);
}

static void another_key_cannot_replay_it(void **state) {
  (void)state;
  assert_fails(check(other.public_key), TRI_E_DENIED, err, "proof of the token is wrong");
}

static void every_bit_is_covered(void **state) {
  (void)state;
  const tri_msg good = ask;
  uint8_t *const fields[] = {ask.enrol.sealed, ask.enrol.mac, ask.enrol.token};
  const size_t sizes[] = {sizeof ask.enrol.sealed, sizeof ask.enrol.mac, sizeof ask.enrol.token};
  for (size_t f = 0; f < 3; f++)
    for (size_t bit = 0; bit < 8 * sizes[f]; bit++) {
      fields[f][bit / 8] ^= (uint8_t)(1 << bit % 8);
      assert_int_equal(check(joiner.public_key), TRI_E_DENIED);
      ask = good;
    }
  ask.enrol.protocol++;
  assert_fails(check(joiner.public_key), TRI_E_DENIED, err, "proof");
}

static void without_a_token_nobody_gets_in(void **state) {
  (void)state;
  assert_int_equal(tri_enrol_check(&ask.enrol, NULL, &coordinator, joiner.public_key, &who, &err), TRI_E_DENIED);
  memset(token.secret, 0, sizeof token.secret);
  assert_ok(tri_enrol_ask(&ask, &token, &joiner, TRI_ROLE_WORKER, &err), err);
  assert_fails(check(joiner.public_key), TRI_E_DENIED, err, "proof");
  /* a grant that is not there has a key of zeros, and who uses that gets nowhere with it */
  tri_grant zeros = grant;
  memset(zeros.key, 0, sizeof zeros.key);
  assert_int_equal(tri_enrol_check(&ask.enrol, NULL, &coordinator, joiner.public_key, &who, &err), TRI_E_DENIED);
}

static void roles_and_names_must_fit(void **state) {
  (void)state;
  const struct { tri_role asked, granted; tri_status want; const char *part; } cases[] = {
      {TRI_ROLE_CLIENT, TRI_ROLE_WORKER, TRI_E_INVALID, "use `trireme-worker join`"},
      {TRI_ROLE_WORKER, TRI_ROLE_CLIENT, TRI_E_INVALID, "use `trireme join`"},
      {TRI_ROLE_WORKER, TRI_ROLE_ADMIN, TRI_E_INVALID, "use `trireme join`"},
      {TRI_ROLE_ADMIN, TRI_ROLE_CLIENT, TRI_E_INVALID, "not for a admin"},
      {TRI_ROLE_CLIENT, TRI_ROLE_ADMIN, TRI_OK, ""},
      {(tri_role)77, TRI_ROLE_WORKER, TRI_E_INVALID, "not for a none"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    grant.role = cases[i].granted;
    assert_ok(tri_enrol_ask(&ask, &token, &joiner, cases[i].asked, &err), err);
    err.text[0] = 0;
    tri_status status = check(joiner.public_key);
    assert_case(i, status, cases[i].want, err, cases[i].part);
  }
  grant.role = TRI_ROLE_WORKER;
  const char *const names[] = {"", " x", "a\nb worker c", "\x7f"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    tri_keypair bad = joiner;
    memset(bad.name, 0, sizeof bad.name);
    strcpy(bad.name, names[i]);
    assert_ok(tri_enrol_ask(&ask, &token, &bad, TRI_ROLE_WORKER, &err), err);
    assert_fails(check(joiner.public_key), TRI_E_INVALID, err, "name");
  }
  tri_keypair endless = joiner;
  memset(endless.name, 'x', sizeof endless.name);
  assert_ok(tri_enrol_ask(&ask, &token, &endless, TRI_ROLE_WORKER, &err), err);
  assert_fails(check(joiner.public_key), TRI_E_INVALID, err, "name");
}

static void an_answer_must_be_the_coordinators(void **state) {
  (void)state;
  assert_ok(check(joiner.public_key), err);
  tri_enrol_answer(&answer, &grant, &coordinator, &who, 7117);
  const tri_msg good = answer;
  answer.enrolled.port = 7118;
  assert_fails(accept_answer(), TRI_E_DENIED, err, "does not prove");
  answer = good, answer.enrolled.role = TRI_ROLE_ADMIN;
  assert_fails(accept_answer(), TRI_E_DENIED, err, "does not prove");
  answer = good, strcat(answer.enrolled.name, "x");
  assert_fails(accept_answer(), TRI_E_DENIED, err, "does not prove");
  answer = good;
  memcpy(answer.enrolled.mac, ask.enrol.mac, sizeof answer.enrolled.mac); /* our own, sent back */
  assert_fails(accept_answer(), TRI_E_DENIED, err, "does not prove");
  answer = good;
  assert_int_equal(tri_enrol_accept(&answer.enrolled, &token, other.public_key, TRI_ROLE_WORKER, &err), TRI_E_DENIED);
  assert_fails(tri_enrol_accept(&answer.enrolled, &token, joiner.public_key, TRI_ROLE_CLIENT, &err), TRI_E_DENIED, err, "grants the role");
}

#define EACH(test) cmocka_unit_test_setup(test, set_up)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(a_proof_is_what_its_definition_says), EACH(a_holder_of_the_token_is_let_in), EACH(another_key_cannot_replay_it),
      EACH(every_bit_is_covered), EACH(without_a_token_nobody_gets_in), EACH(roles_and_names_must_fit),
      EACH(an_answer_must_be_the_coordinators),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
