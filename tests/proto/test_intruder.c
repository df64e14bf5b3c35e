/* SPDX-License-Identifier: MIT */
/* What a listener makes of those who do not play by the rules. After each, an honest dialler must still get through. */
#include "tests/proto/net_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zmq.h>
#include "base/buf.h"
#include "proto/net.h"

static void *context, *raw;

static int set_up(void **state) {
  context = zmq_ctx_new();
  raw = NULL;
  return bench_set_up(state);
}
static int tear_down(void **state) {
  if (raw) zmq_close(raw);
  zmq_ctx_term(context);
  return bench_tear_down(state);
}

static bool first_is_up(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_UP; }
static bool listener_has_done(void) { return B.listener.received >= 1 && B.listener.last.kind == TRI_MSG_DONE; }

static void an_honest_dialler_gets_through(void) {
  bench_dial(0, TRI_LINK_CONTROL, B.listener.key.public_key);
  bench_until(first_is_up);
  assert_ok(bench_send(&B.dialler[0], NULL, 77), err);
  bench_until(listener_has_done);
  assert_int_equal(B.listener.last.done.job, 77);
}

/* ---- Other zmq sockets ---- */

static void *monitor;
static unsigned seen_event;

/* Takes the intruder's socket events until one that tells its fate. */
static bool raw_is_cut(void) {
  uint16_t event;
  uint8_t head[6], endpoint[64];
  while (zmq_recv(monitor, head, sizeof head, ZMQ_DONTWAIT) == (int)sizeof head) {
    memcpy(&event, head, sizeof event);
    zmq_recv(monitor, endpoint, sizeof endpoint, 0);
    if (event == ZMQ_EVENT_DISCONNECTED) seen_event = event;
  }
  return seen_event != 0;
}

static void open_raw(int type) {
  int zero = 0;
  seen_event = 0;
  raw = zmq_socket(context, type);
  zmq_setsockopt(raw, ZMQ_LINGER, &zero, sizeof zero);
  assert_int_equal(zmq_socket_monitor(raw, "inproc://intruder", ZMQ_EVENT_ALL), 0);
  monitor = zmq_socket(context, ZMQ_PAIR);
  assert_int_equal(zmq_connect(monitor, "inproc://intruder"), 0);
}
static void close_raw(void) {
  zmq_socket_monitor(raw, NULL, 0);
  zmq_close(monitor);
  zmq_close(raw);
  raw = NULL;
}
static void use_curve(const tri_keypair *key) {
  assert_int_equal(zmq_setsockopt(raw, ZMQ_CURVE_SERVERKEY, B.listener.key.public_key, TRI_KEY_BYTES), 0);
  assert_int_equal(zmq_setsockopt(raw, ZMQ_CURVE_PUBLICKEY, key->public_key, TRI_KEY_BYTES), 0);
  assert_int_equal(zmq_setsockopt(raw, ZMQ_CURVE_SECRETKEY, key->secret_key, TRI_KEY_BYTES), 0);
}

static void a_client_without_curve_is_cut(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_DEALER);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  zmq_send(raw, "\xa2\x01\x00", 3, ZMQ_DONTWAIT);
  bench_until(raw_is_cut);
  assert_int_equal(B.asked, 0);
  assert_int_equal(B.listener.received + B.listener.malformed, 0);
  close_raw();
  an_honest_dialler_gets_through();
}

static void a_client_with_a_password_is_cut(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_DEALER);
  zmq_setsockopt(raw, ZMQ_PLAIN_USERNAME, "admin", 5);
  zmq_setsockopt(raw, ZMQ_PLAIN_PASSWORD, "admin", 5);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  bench_until(raw_is_cut);
  assert_int_equal(B.asked, 0);
  close_raw();
  an_honest_dialler_gets_through();
}

static void a_client_of_another_socket_type_is_cut(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_SUB);
  use_curve(&B.dialler[1].key);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  bench_until(raw_is_cut);
  close_raw();
  an_honest_dialler_gets_through();
}

static bool one_is_malformed(void) { return B.listener.malformed >= 1; }

/* An allowed key whose messages break the rules; each must be named and dropped, with its sender. */
static void send_parts(size_t n, ...) {
  va_list ap;
  va_start(ap, n);
  for (size_t i = 0; i < n; i++) {
    const tri_buf part = va_arg(ap, tri_buf);
    assert_true(zmq_send(raw, part.data, part.len, i + 1 < n ? ZMQ_SNDMORE : 0) >= 0);
  }
  va_end(ap);
}
static void expect_malformed(const char *why) {
  bench_until(one_is_malformed);
  if (!strstr(B.listener.error.text, why)) fail_msg("\"%s\" lacks \"%s\"", B.listener.error.text, why);
  assert_int_equal(B.listener.error.status, TRI_E_PROTOCOL);
  assert_memory_equal(B.listener.from.key, B.dialler[1].key.public_key, TRI_KEY_BYTES);
  B.listener.malformed = 0;
}

static void malformed_messages_are_dropped(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_DEALER);
  use_curve(&B.dialler[1].key);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  tri_msg m = bench_message(1), ready = {.kind = TRI_MSG_READY};
  tri_buf done = {0}, no_payload = {0}, none = {0}, text = {0};
  assert_ok(tri_codec_encode(&m, &done, &err), err);
  assert_ok(tri_codec_encode(&ready, &no_payload, &err), err);
  tri_buf_append(&text, "text", 4);
  send_parts(1, none), expect_malformed("without a body");
  send_parts(1, text), expect_malformed("not a protobuf");
  send_parts(3, done, text, text), expect_malformed("more than two frames");
  send_parts(6, text, text, text, text, text, text), expect_malformed("not a protobuf");
  send_parts(2, no_payload, text), expect_malformed("ready: a payload of 4 bytes, more than 0");
  assert_int_equal(B.listener.received, 0);
  send_parts(2, done, text);
  bench_until(listener_has_done);
  assert_int_equal(B.listener.from.payload_len, 4);
  tri_buf_free(&done), tri_buf_free(&no_payload), tri_buf_free(&text);
  close_raw();
  B.listener.received = 0;
  an_honest_dialler_gets_through();
}

static void a_route_that_is_not_ours_is_dropped(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_DEALER);
  use_curve(&B.dialler[1].key);
  zmq_setsockopt(raw, ZMQ_ROUTING_ID, "a name longer than ours", 23);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  zmq_send(raw, "", 0, 0);
  bench_until(one_is_malformed);
  assert_non_null(strstr(B.listener.error.text, "a route that is not ours"));
  close_raw();
  an_honest_dialler_gets_through();
}

static void a_payload_beyond_the_limit_cuts_its_sender(void **state) {
  (void)state;
  tri_net_limit_payload(B.listener.net, 1000);
  bench_listen(TRI_LINK_CONTROL, false);
  open_raw(ZMQ_DEALER);
  use_curve(&B.dialler[1].key);
  assert_int_equal(zmq_connect(raw, B.endpoint), 0);
  tri_buf large = {0};
  assert_non_null(tri_buf_reserve(&large, 1 << 20));
  memset(large.data, 0, large.len = 1 << 20);
  send_parts(1, large);
  tri_buf_free(&large);
  bench_until(raw_is_cut);
  assert_int_equal(B.listener.received + B.listener.malformed, 0);
  close_raw();
  an_honest_dialler_gets_through();
}

/* ---- Bare TCP ---- */

static int tcp;

static void tcp_connect(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(B.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof to), 0);
  fcntl(tcp, F_SETFL, O_NONBLOCK);
}
static bool tcp_is_cut(void) {
  char bytes[4096];
  ssize_t n;
  while ((n = recv(tcp, bytes, sizeof bytes, 0)) > 0) continue;
  return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* The greeting of ZMTP 3.x with this mechanism. */
static void greet(tri_buf *out, uint8_t major, const char *mechanism) {
  uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, 0};
  strcpy((char *)greeting + 12, mechanism);
  tri_buf_append(out, greeting, sizeof greeting);
}

static void tcp_client_is_cut(const void *bytes, size_t len) {
  tcp_connect();
  assert_int_equal(send(tcp, bytes, len, MSG_NOSIGNAL), len);
  bench_until(tcp_is_cut);
  close(tcp);
  assert_int_equal(B.asked, 0);
  assert_int_equal(B.listener.received + B.listener.malformed, 0);
}

static void bare_tcp_clients_are_cut(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  tcp_client_is_cut(http, sizeof http - 1);
  uint8_t noise[4096];
  uint64_t random = 11;
  for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)test_random(&random);
  tcp_client_is_cut(noise, sizeof noise);
  tcp_client_is_cut("\x01\x00\x04\x00text", 8);                                     /* ZMTP 1.0 without security */
  tcp_client_is_cut("\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0\0\x04text", 20);          /* ZMTP 2.0 */
  tcp_client_is_cut("", 0);                                                         /* says nothing for ever */
  an_honest_dialler_gets_through();
}

static void lying_lengths_are_cut(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  const uint64_t lengths[] = {UINT64_MAX, 1ull << 63, 1ull << 40, (uint64_t)TRI_MAX_PAYLOAD * 2, 3};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    tri_buf b = {0};
    greet(&b, 3, "CURVE");
    tri_buf_byte(&b, 0x06); /* a long command */
    for (int shift = 56; shift >= 0; shift -= 8) tri_buf_byte(&b, (uint8_t)(lengths[i] >> shift));
    tri_buf_append(&b, "\x05HELLO", 6);
    tcp_client_is_cut(b.data, b.len);
    tri_buf_free(&b);
  }
  tri_buf b = {0};
  greet(&b, 3, "NULL");
  tri_buf_append(&b, "\x04\x19\x05READY\x0bSocket-Type\0\0\0\6DEALER", 28);
  tcp_client_is_cut(b.data, b.len);
  tri_buf_free(&b);
  an_honest_dialler_gets_through();
}

/* ---- Malformed questions at the handshakes' socket, which only our own process could send ---- */

static void *asker;
static char answer[16];
static bool asker_has_answer(void) {
  int more = 1, n = 0;
  size_t size = sizeof more;
  char part[64];
  for (; more; n++) {
    int len = zmq_recv(asker, part, sizeof part, ZMQ_DONTWAIT);
    if (len < 0) return false;
    if (n == 2) memcpy(answer, part, 3), answer[3] = 0;
    zmq_getsockopt(asker, ZMQ_RCVMORE, &more, &size);
  }
  return n == 6;
}

static void malformed_handshake_questions_are_refused(void **state) {
  (void)state;
  bench_listen(TRI_LINK_CONTROL, false);
  static const struct { const char *version, *mechanism; int key_len, frames; } questions[] = {
      {"1.0", "CURVE", 32, 1}, {"1.0", "CURVE", 32, 6},  {"1.0", "CURVE", 32, 9}, {"9.9", "CURVE", 32, 7},
      {"1.0", "PLAIN", 32, 7}, {"1.0", "CURVE", 31, 7},  {"1.0", "CURVE", 0, 7},  {"1.0", "CURVE", 255, 7},
      {"", "", 32, 7},         {"1.0", "CURVE", 999, 7}, {"1.0", "CURVE", 32, 7}, /* the last: well-formed, key unknown */
  };
  int zero = 0;
  char key[1000] = {0}, longer[300];
  memset(longer, 'd', sizeof longer);
  for (size_t q = 0; q < sizeof questions / sizeof questions[0]; q++) {
    asker = zmq_socket(B.listener.net->context, ZMQ_REQ);
    zmq_setsockopt(asker, ZMQ_LINGER, &zero, sizeof zero);
    assert_int_equal(zmq_connect(asker, "inproc://zeromq.zap.01"), 0);
    for (int i = 0; i < questions[q].frames; i++) {
      const char *text = i == 0 ? questions[q].version : i == 5 ? questions[q].mechanism : "x";
      int more = i + 1 < questions[q].frames ? ZMQ_SNDMORE : 0;
      if (i == 6) zmq_send(asker, key, (size_t)questions[q].key_len, more);
      else if (i == 2 && q == 3) zmq_send(asker, longer, sizeof longer, more);
      else zmq_send(asker, text, strlen(text), more);
    }
    bench_until(asker_has_answer);
    assert_string_equal(answer, "400");
    zmq_close(asker);
  }
  an_honest_dialler_gets_through();
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(a_client_without_curve_is_cut),
      EACH(a_client_with_a_password_is_cut),
      EACH(a_client_of_another_socket_type_is_cut),
      EACH(malformed_messages_are_dropped),
      EACH(a_route_that_is_not_ours_is_dropped),
      EACH(a_payload_beyond_the_limit_cuts_its_sender),
      EACH(bare_tcp_clients_are_cut),
      EACH(lying_lengths_are_cut),
      EACH(malformed_handshake_questions_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
