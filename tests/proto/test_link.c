/* SPDX-License-Identifier: MIT */
#include "tests/proto/net_bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"

static bool listener_has_one(void) { return B.listener.received >= 1; }
static bool listener_has_two(void) { return B.listener.received >= 2; }
static bool first_has_one(void) { return B.dialler[0].received >= 1; }
static bool second_has_one(void) { return B.dialler[1].received >= 1; }
static bool first_is_up(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_UP; }
static bool second_is_up(void) { return tri_link_get_state(B.dialler[1].link) == TRI_LINK_UP; }
static bool first_is_lost(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_CONNECTING; }
static bool first_is_denied(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_DENIED; }
static bool first_has_wrong_key(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_WRONG_KEY; }
static bool first_was_up_twice(void) { return tri_link_connections(B.dialler[0].link) == 2; }

static void an_allowed_key_talks_both_ways(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  assert_int_equal(tri_link_connections(B.dialler[0].link), 1);
  tri_msg m = {.kind = TRI_MSG_SUBMIT, .submit.predict = 7};
  assert_ok(tri_link_send(B.dialler[0].link, NULL, &m, (void *)"a prompt", 8, false, &err), err);
  bench_until(listener_has_one);
  assert_int_equal(B.listener.last.submit.predict, 7);
  assert_int_equal(B.listener.from.payload_len, 8);
  assert_memory_equal(B.listener.payload, "a prompt", 8);
  assert_memory_equal(B.listener.from.key, B.dialler[0].key.public_key, TRI_KEY_BYTES);
  assert_string_equal(B.listener.from.address, "127.0.0.1");
  tri_peer peer = B.listener.from.from;
  assert_ok(bench_send(&B.listener, &peer, 42), err);
  bench_until(first_has_one);
  assert_int_equal(B.dialler[0].last.done.job, 42);
  assert_null(B.dialler[0].from.payload);
  tri_link_explain(B.dialler[0].link, &err);
  assert_int_equal(err.status, TRI_OK);
  assert_int_equal(tri_link_get_state(B.listener.link), TRI_LINK_UP);
}

static void sent_bytes_are_counted(void **state) {
  (void)state;
  bench_connect(TRI_LINK_DATA);
  tri_msg m = {.kind = TRI_MSG_STEP, .step = {.n_runs = 1, .n_rows = 1, .runs[0] = {.count = 1, .next = -1}}};
  tri_buf envelope = {0};
  assert_ok(tri_codec_encode(&m, &envelope, &err), err);
  assert_ok(tri_link_send(B.dialler[0].link, NULL, &m, malloc(100), 100, true, &err), err);
  assert_int_equal(tri_link_sent_bytes(B.dialler[0].link), envelope.len + 100);
  tri_buf_free(&envelope);
  bench_until(listener_has_one);
  assert_int_equal(B.listener.from.payload_len, 100);
  assert_memory_equal(B.listener.from.key, B.dialler[0].key.public_key, TRI_KEY_BYTES);
}

static void two_diallers_are_told_apart(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  bench_dial(1, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(second_is_up);
  assert_ok(bench_send(&B.dialler[1], NULL, 2), err);
  bench_until(listener_has_one);
  assert_memory_equal(B.listener.from.key, B.dialler[1].key.public_key, TRI_KEY_BYTES);
  tri_peer second = B.listener.from.from;
  assert_ok(bench_send(&B.dialler[0], NULL, 1), err);
  bench_until(listener_has_two);
  assert_memory_equal(B.listener.from.key, B.dialler[0].key.public_key, TRI_KEY_BYTES);
  assert_ok(bench_send(&B.listener, &B.listener.from.from, 10), err);
  assert_ok(bench_send(&B.listener, &second, 20), err);
  bench_until(first_has_one);
  bench_until(second_has_one);
  assert_int_equal(B.dialler[0].last.done.job, 10);
  assert_int_equal(B.dialler[1].last.done.job, 20);
}

static void a_key_not_allowed_is_denied_until_it_is(void **state) {
  (void)state;
  B.allow[0] = false;
  bench_listen(TRI_LINK_CONTROL, false);
  bench_dial(0, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(first_is_denied);
  assert_true(B.asked >= 1);
  assert_int_equal(bench_send(&B.dialler[0], NULL, 1), TRI_E_BUSY);
  tri_link_explain(B.dialler[0].link, &err);
  assert_int_equal(err.status, TRI_E_DENIED);
  assert_non_null(strstr(err.text, "allow-list"));
  B.allow[0] = true;
  bench_until(first_is_up);
  assert_ok(bench_send(&B.dialler[0], NULL, 5), err);
  bench_until(listener_has_one);
  assert_int_equal(B.listener.last.done.job, 5); /* what was sent while denied is not replayed */
}

static void a_wrong_listeners_key_is_noticed(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  bench_dial(0, TRI_LINK_CONTROL, B.dialler[1].key.public_key);
  bench_until(first_has_wrong_key);
  assert_int_equal(B.asked, 0);
  tri_link_explain(B.dialler[0].link, &err);
  assert_int_equal(err.status, TRI_E_DENIED);
  assert_non_null(strstr(err.text, "another key"));
  bench_close(&B.listener); /* then nobody is there, and that is what it says */
  bench_until(first_is_lost);
  tri_link_explain(B.dialler[0].link, &err);
  assert_int_equal(err.status, TRI_E_UNREACHABLE);
  assert_non_null(strstr(err.text, "cannot reach"));
}

static bool peer_is_gone(void) { return bench_send(&B.listener, &B.listener.from.from, 1) == TRI_E_NOT_FOUND; }

static void a_peer_that_went_is_not_found(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  assert_ok(bench_send(&B.dialler[0], NULL, 1), err);
  bench_until(listener_has_one);
  bench_close(&B.dialler[0]);
  bench_until(peer_is_gone);
  tri_peer nobody = {.route = {0, 1, 2, 3, 4}, .route_len = 5};
  assert_int_equal(bench_send(&B.listener, &nobody, 1), TRI_E_NOT_FOUND);
}

static bool first_refuses_to_send(void) { return bench_send(&B.dialler[0], NULL, 1) == TRI_E_BUSY; }

static void nothing_is_replayed_after_a_loss(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  bench_close(&B.listener);
  bench_until(first_is_lost);
  tri_link_explain(B.dialler[0].link, &err);
  assert_non_null(strstr(err.text, "lost the connection"));
  bench_until(first_refuses_to_send); /* the loss is known a moment before its queue is gone; what is sent then is lost too */
  assert_non_null(strstr(err.text, "not connected"));
  bench_listen(TRI_LINK_CONTROL, true);
  bench_until(first_was_up_twice);
  assert_ok(bench_send(&B.dialler[0], NULL, 2), err);
  bench_until(listener_has_one);
  assert_int_equal(B.listener.last.done.job, 2);
}

static void a_full_queue_is_busy_and_does_not_block(void **state) {
  (void)state;
  bench_connect(TRI_LINK_DATA);
  tri_loop_remove_link(B.loop, B.listener.link); /* it receives nothing more */
  tri_msg m = {.kind = TRI_MSG_STEP, .step = {.n_runs = 1, .n_rows = 1, .runs[0] = {.count = 1, .next = -1}}};
  const size_t len = 512 << 10;
  tri_status status = TRI_OK;
  int sent = 0;
  for (int64_t end = tri_clock_ms() + 20000; status == TRI_OK && tri_clock_ms() < end; sent++)
    status = tri_link_send(B.dialler[0].link, NULL, &m, calloc(1, len), len, true, &err);
  assert_int_equal(status, TRI_E_BUSY);
  assert_non_null(strstr(err.text, "queue is full"));
  assert_true(sent > 32);
  assert_int_equal(tri_link_get_state(B.dialler[0].link), TRI_LINK_UP);
}

static void a_full_queue_of_one_peer_is_busy(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  assert_ok(bench_send(&B.dialler[0], NULL, 1), err);
  bench_until(listener_has_one);
  tri_peer first = B.listener.from.from;
  bench_dial(1, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(second_is_up);
  assert_ok(bench_send(&B.dialler[1], NULL, 1), err);
  bench_until(listener_has_two);
  tri_loop_remove_link(B.loop, B.dialler[0].link); /* it receives nothing */
  tri_msg m = bench_message(1);
  const size_t len = 16 << 10;
  tri_status status = TRI_OK;
  for (int64_t end = tri_clock_ms() + 20000; status == TRI_OK && tri_clock_ms() < end;)
    status = tri_link_send(B.listener.link, &first, &m, calloc(1, len), len, true, &err);
  assert_int_equal(status, TRI_E_BUSY);
  assert_ok(bench_send(&B.listener, &B.listener.from.from, 2), err); /* the other is not held up */
  bench_until(second_has_one);
}

/* libzmq takes a peer that breaks the rules for lost for good; the link doesn't. */
static void a_dialler_that_gave_up_dials_again(void **state) {
  (void)state;
  tri_net_limit_payload(B.dialler[0].net, 1000);
  bench_connect(TRI_LINK_CONTROL);
  assert_ok(bench_send(&B.dialler[0], NULL, 1), err);
  bench_until(listener_has_one);
  tri_msg m = bench_message(1);
  const size_t len = 1 << 20; /* more than an envelope, which always passes */
  assert_ok(tri_link_send(B.listener.link, &B.listener.from.from, &m, calloc(1, len), len, true, &err), err);
  bench_until(first_was_up_twice);
  assert_int_equal(B.dialler[0].received, 0);
  assert_ok(bench_send(&B.dialler[0], NULL, 2), err);
  bench_until(listener_has_two);
}

static bool first_explains_a_stall(void) {
  tri_link_explain(B.dialler[0].link, &err);
  return strstr(err.text, "does not answer") != NULL;
}

static void a_listener_that_hangs_is_not_a_wrong_key(void **state) {
  (void)state;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* connects, and is never served */
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  assert_int_equal(listen(fd, 8), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  tri_link_endpoint(B.endpoint, "127.0.0.1", ntohs(address.sin_port));
  bench_dial(0, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(first_explains_a_stall);
  assert_int_equal(err.status, TRI_E_UNREACHABLE);
  assert_int_equal(tri_link_get_state(B.dialler[0].link), TRI_LINK_CONNECTING);
  close(fd);
}

static void payloads_have_limits(void **state) {
  (void)state;
  tri_net_limit_payload(B.listener.net, 1000);
  tri_net_limit_payload(B.dialler[0].net, 1000);
  bench_connect(TRI_LINK_CONTROL);
  tri_msg m = {.kind = TRI_MSG_SUBMIT}, ready = {.kind = TRI_MSG_READY};
  uint8_t bytes[1001] = {0};
  assert_ok(tri_link_send(B.dialler[0].link, NULL, &m, bytes, 1000, false, &err), err);
  assert_fails(tri_link_send(B.dialler[0].link, NULL, &m, malloc(1001), 1001, true, &err), TRI_E_LIMIT, err, "submit: a payload of 1001");
  assert_fails(tri_link_send(B.dialler[0].link, NULL, &ready, bytes, 1, false, &err), TRI_E_LIMIT, err, "ready: a payload");
  m.submit.want = TRI_WANT_COUNT;
  assert_fails(tri_link_send(B.dialler[0].link, NULL, &m, malloc(10), 10, true, &err), TRI_E_LIMIT, err, "submit.want");
  assert_ok(tri_link_send(B.dialler[0].link, NULL, &ready, malloc(1), 0, true, &err), err); /* no payload */
  bench_until(listener_has_two);
  assert_null(B.listener.from.payload);
}

static void large_payloads_arrive_whole(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  const size_t len = 8 << 20;
  uint8_t *bytes = malloc(len);
  uint64_t random = 3;
  for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)test_random(&random);
  tri_loop_remove_link(B.loop, B.listener.link);
  tri_msg m = {.kind = TRI_MSG_SUBMIT};
  assert_ok(tri_link_send(B.dialler[0].link, NULL, &m, bytes, len, false, &err), err);
  tri_incoming in;
  tri_status status = TRI_E_AGAIN;
  for (int64_t end = tri_clock_ms() + 20000; status == TRI_E_AGAIN && tri_clock_ms() < end;)
    status = tri_link_recv(B.listener.link, &in, &m, &err);
  assert_ok(status, err);
  assert_int_equal(in.payload_len, len);
  assert_memory_equal(in.payload, bytes, len);
  free(bytes);
}

static void closed_in_callback(void *arg) {
  bench_end *end = arg;
  bench_close(end);
  tri_loop_stop(B.loop);
}
static void a_link_may_be_closed_in_its_callback(void **state) {
  (void)state;
  bench_connect(TRI_LINK_CONTROL);
  assert_ok(bench_send(&B.dialler[0], NULL, 1), err);
  bench_until(listener_has_one);
  tri_loop_remove_link(B.loop, B.dialler[0].link);
  assert_ok(tri_loop_add_link(B.loop, B.dialler[0].link, closed_in_callback, &B.dialler[0], &err), err);
  assert_ok(bench_send(&B.listener, &B.listener.from.from, 1), err);
  assert_ok(tri_loop_run(B.loop, BENCH_WAIT_MS, &err), err);
  assert_null(B.dialler[0].link);
  bench_dial(0, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(first_is_up);
}

static void bad_endpoints_are_refused(void **state) {
  (void)state;
  tri_link *link = NULL;
  tri_net *net = B.listener.net;
  const char *bad[] = {"", "ipc:///tmp/x", "inproc://x", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://:7000",
                       "tcp://127.0.0.1:", "tcp://127.0.0.1:7x", "tcp://::1:7000", "tcp://127.0.0.1:-1"};
  const char *nowhere = "tcp://no.such.host.invalid:7000";
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(tri_link_listen(&link, net, TRI_LINK_DATA, bad[i], "d", NULL, &err), TRI_E_INVALID);
    assert_int_equal(tri_link_dial(&link, net, TRI_LINK_DATA, bad[i], B.dialler[0].key.public_key, &err), TRI_E_INVALID);
  }
  assert_int_equal(tri_link_dial(&link, net, TRI_LINK_DATA, "tcp://127.0.0.1:0", B.dialler[0].key.public_key, &err), TRI_E_INVALID);
  assert_int_equal(tri_link_listen(&link, net, TRI_LINK_DATA, "tcp://127.0.0.1:0", "", NULL, &err), TRI_E_INVALID);
  assert_fails(tri_link_listen(&link, net, TRI_LINK_DATA, nowhere, "d", NULL, &err), TRI_E_INVALID, err, "HOST must be");
  bench_listen(TRI_LINK_DATA, false);
  assert_fails(tri_link_listen(&link, net, TRI_LINK_DATA, B.endpoint, "d", NULL, &err), TRI_E_IO, err, "in use");
  assert_null(link);
}

static void all_interfaces_and_ipv6_are_endpoints(void **state) {
  (void)state;
  const char *good[] = {"tcp://*:0", "tcp://[::1]:0"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    tri_link *link;
    tri_status status = tri_link_listen(&link, B.listener.net, TRI_LINK_DATA, good[i], "d", NULL, &err);
    if (status != TRI_OK && good[i][6] == '[') continue; /* a machine without IPv6 */
    assert_ok(status, err);
    tri_link_close(&link);
  }
}

static void endpoints_are_written(void **state) {
  (void)state;
  char out[TRI_MAX_ENDPOINT];
  tri_link_endpoint(out, "::1", 80);
  assert_string_equal(out, "tcp://[::1]:80");
  tri_link_endpoint(out, "[::1]", 80);
  assert_string_equal(out, "tcp://[::1]:80");
  tri_link_endpoint(out, "node-1", 65535);
  assert_string_equal(out, "tcp://node-1:65535");
}

static bool both_are_up(void) {
  return tri_link_get_state(B.dialler[0].link) == TRI_LINK_UP && tri_link_get_state(B.dialler[1].link) == TRI_LINK_UP;
}
static bool both_were_heard(void) { return B.listener.received >= 2; }
static bool first_is_gone(void) { return tri_link_get_state(B.dialler[0].link) != TRI_LINK_UP; }
static bool second_was_heard(void) { return B.listener.received >= 3; }

static void one_key_can_be_cut_off(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  for (int i = 0; i < 2; i++) {
    B.allow[i] = true;
    bench_dial(i, TRI_LINK_CONTROL, B.listener.key.public_key);
  }
  bench_until(both_are_up);
  for (int i = 0; i < 2; i++) assert_ok(bench_send(&B.dialler[i], NULL, 1), err);
  bench_until(both_were_heard);
  B.allow[0] = false;
  assert_int_equal(tri_link_cut(B.listener.link, B.listener.key.public_key), 0); /* nobody's */
  assert_int_equal(tri_link_cut(B.listener.link, B.dialler[0].key.public_key), 1);
  bench_until(first_is_gone);
  assert_int_equal(tri_link_cut(B.listener.link, B.dialler[0].key.public_key), 0);
  assert_ok(bench_send(&B.dialler[1], NULL, 2), err);
  bench_until(second_was_heard);
  assert_int_equal(tri_link_connections(B.dialler[1].link), 1);
  assert_int_equal(tri_link_connections(B.dialler[0].link), 1);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, bench_set_up, bench_tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(one_key_can_be_cut_off),
      EACH(an_allowed_key_talks_both_ways),
      EACH(sent_bytes_are_counted),
      EACH(two_diallers_are_told_apart),
      EACH(a_key_not_allowed_is_denied_until_it_is),
      EACH(a_wrong_listeners_key_is_noticed),
      EACH(a_peer_that_went_is_not_found),
      EACH(nothing_is_replayed_after_a_loss),
      EACH(a_full_queue_is_busy_and_does_not_block),
      EACH(a_full_queue_of_one_peer_is_busy),
      EACH(a_dialler_that_gave_up_dials_again),
      EACH(a_listener_that_hangs_is_not_a_wrong_key),
      EACH(payloads_have_limits),
      EACH(large_payloads_arrive_whole),
      EACH(a_link_may_be_closed_in_its_callback),
      EACH(bad_endpoints_are_refused),
      EACH(all_interfaces_and_ipv6_are_endpoints),
      EACH(endpoints_are_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
