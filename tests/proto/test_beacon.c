/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "proto/beacon.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"

enum { WAIT_MS = 3000, PORT = 4711 };

static tri_error err;
static tri_keypair coordinator;
static tri_throttle throttle;
static int listener = -1;
static bool works; /* multicast over the loopback, as this machine has it */

static int set_up(void **state) {
  (void)state;
  tri_throttle_init(&throttle, 100, 0, 1000, 0, 0);
  if (tri_keys_generate(&coordinator, "c", &err) != TRI_OK) return -1;
  works = tri_beacon_listen(&listener, true, &err) == TRI_OK;
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  if (listener >= 0) close(listener);
  listener = -1;
  return 0;
}

/* The layout as its definition says it. */
static void the_bytes_are_as_defined(void **state) {
  (void)state;
  tri_beacon b = {.answer = true, .port = 0x1234}, back;
  uint8_t bytes[TRI_BEACON_BYTES], want[TRI_BEACON_BYTES] = "TRIBEACN\1\1\x34\x12nonce678";
  memcpy(b.nonce, "nonce678", 8);
  tri_beacon_hash(coordinator.public_key, b.hash);
  crypto_generichash(want + 20, 16, coordinator.public_key, 32, NULL, 0);
  tri_beacon_encode(&b, bytes);
  assert_memory_equal(bytes, want, sizeof want);
  assert_int_equal(tri_beacon_decode(&back, bytes, sizeof bytes), TRI_OK);
  assert_memory_equal(&b, &back, sizeof b);
  for (size_t len = 0; len < sizeof bytes; len++) assert_int_equal(tri_beacon_decode(&back, bytes, len), TRI_E_FORMAT);
  const size_t fixed[] = {0, 7, 8, 9, 36, 47};
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
    memcpy(bytes, want, sizeof bytes);
    bytes[fixed[i]] ^= 0x40;
    assert_int_equal(tri_beacon_decode(&back, bytes, sizeof bytes), TRI_E_FORMAT);
  }
  memcpy(bytes, want, sizeof bytes), bytes[9] = 0; /* a question has no port */
  assert_int_equal(tri_beacon_decode(&back, bytes, sizeof bytes), TRI_E_FORMAT);
}

/* Ask, and answer what comes; the endpoint, or "" when nothing does. Others' coordinators may hear the question, too. */
static void ask(tri_beacon_asker *a, char endpoint[TRI_MAX_ENDPOINT], int64_t wait_ms) {
  tri_beacon b;
  endpoint[0] = 0;
  assert_ok(tri_beacon_ask(a, &err), err);
  for (int64_t until = tri_clock_ms() + wait_ms; tri_clock_ms() < until;) {
    struct pollfd p[] = {{.fd = a->fd, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    poll(p, 2, 50);
    tri_beacon_answer(listener, coordinator.public_key, PORT, &throttle, 0);
    if (tri_beacon_next(a, &b, endpoint) == TRI_OK && b.port == PORT) return;
    endpoint[0] = 0;
  }
}

static void needs_multicast(void) {
  if (works) return;
  print_message("no multicast over the loopback here: %s\n", err.text);
  skip();
}

static void a_coordinator_is_found_by_its_key(void **state) {
  (void)state;
  tri_beacon_asker a, any, other;
  tri_keypair stranger;
  char endpoint[TRI_MAX_ENDPOINT];
  needs_multicast();
  assert_ok(tri_keys_generate(&stranger, "s", &err), err);
  assert_ok(tri_beacon_open(&a, coordinator.public_key, &err), err);
  assert_ok(tri_beacon_open(&any, NULL, &err), err);
  assert_ok(tri_beacon_open(&other, stranger.public_key, &err), err);
  ask(&a, endpoint, WAIT_MS);
  assert_string_equal(endpoint, "tcp://127.0.0.1:4711");
  ask(&any, endpoint, WAIT_MS);
  assert_string_equal(endpoint, "tcp://127.0.0.1:4711");
  ask(&other, endpoint, 200);
  assert_string_equal(endpoint, "");
  tri_beacon_close(&a), tri_beacon_close(&any), tri_beacon_close(&other);
}

/* What is not an answer to us is passed over, and what is not a question gets none. */
static void strangers_datagrams_are_passed_over(void **state) {
  (void)state;
  tri_beacon_asker a;
  tri_beacon b;
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t bytes[TRI_BEACON_BYTES + 100] = {0};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof to;
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_ok(tri_beacon_open(&a, coordinator.public_key, &err), err);
  assert_int_equal(bind(a.fd, (struct sockaddr *)&to, sizeof to), 0);
  assert_int_equal(getsockname(a.fd, (struct sockaddr *)&to, &size), 0);
  b = a.question, b.answer = true, b.port = PORT, b.nonce[0] ^= 1; /* somebody who has not seen the question */
  tri_beacon_encode(&b, bytes);
  sendto(s, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&to, sizeof to);
  b = a.question, b.answer = true, b.port = PORT, b.hash[0] ^= 1; /* another coordinator */
  tri_beacon_encode(&b, bytes);
  sendto(s, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&to, sizeof to);
  tri_beacon_encode(&a.question, bytes); /* an echo */
  sendto(s, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&to, sizeof to);
  sendto(s, bytes, 0, 0, (struct sockaddr *)&to, sizeof to);
  sendto(s, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to);
  b = a.question, b.answer = true, b.port = PORT;
  tri_beacon_encode(&b, bytes);
  sendto(s, bytes, TRI_BEACON_BYTES, 0, (struct sockaddr *)&to, sizeof to);
  struct pollfd p = {.fd = a.fd, .events = POLLIN};
  int found = 0;
  while (poll(&p, 1, 200) == 1) found += tri_beacon_next(&a, &b, endpoint) == TRI_OK;
  assert_int_equal(found, 1); /* the last one */
  close(s);
  tri_beacon_close(&a);
}

static void answers_are_limited(void **state) {
  (void)state;
  tri_beacon_asker a;
  char endpoint[TRI_MAX_ENDPOINT];
  needs_multicast();
  tri_throttle_init(&throttle, 3, 0, 100, 0, 0);
  assert_ok(tri_beacon_open(&a, coordinator.public_key, &err), err);
  int answered = 0;
  for (int i = 0; i < 6; i++) {
    ask(&a, endpoint, 200);
    answered += endpoint[0] != 0;
  }
  assert_in_range(answered, 1, 3); /* a question may come over several interfaces */
  assert_true(throttle.refused > 0);
  tri_beacon_close(&a);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(the_bytes_are_as_defined), EACH(a_coordinator_is_found_by_its_key), EACH(strangers_datagrams_are_passed_over),
      EACH(answers_are_limited),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
