/* SPDX-License-Identifier: MIT */
#include "tests/proto/net_bench.h"

#include <string.h>
#include "base/clock.h"

bench B;
tri_error err;

static bool allow(void *arg, const char *domain, const uint8_t key[TRI_KEY_BYTES], const char *address) {
  (void)arg;
  B.asked++;
  if (strcmp(domain, "bench") != 0 || !strstr(address, "127.0.0.1")) return false;
  for (int i = 0; i < BENCH_DIALLERS; i++)
    if (memcmp(key, B.dialler[i].key.public_key, TRI_KEY_BYTES) == 0) return B.allow[i];
  return false;
}

static int open_end(bench_end *end, const char *name, tri_net_allow_fn *fn) {
  return tri_keys_generate(&end->key, name, &err) == TRI_OK && tri_net_create(&end->net, &end->key, fn, NULL, &err) == TRI_OK;
}

int bench_set_up(void **state) {
  (void)state;
  memset(&B, 0, sizeof B);
  for (int i = 0; i < BENCH_DIALLERS; i++) {
    B.allow[i] = true;
    if (!open_end(&B.dialler[i], "dialler", NULL)) return -1;
  }
  return open_end(&B.listener, "listener", allow) && tri_loop_create(&B.loop, B.listener.net, &err) == TRI_OK ? 0 : -1;
}

int bench_tear_down(void **state) {
  (void)state;
  for (int i = 0; i < BENCH_DIALLERS; i++) bench_close(&B.dialler[i]);
  bench_close(&B.listener);
  tri_loop_destroy(&B.loop);
  for (int i = 0; i < BENCH_DIALLERS; i++) tri_net_destroy(&B.dialler[i].net);
  tri_net_destroy(&B.listener.net);
  return 0;
}

void bench_close(bench_end *end) {
  tri_loop_remove_link(B.loop, end->link);
  tri_link_close(&end->link);
}

static void on_link(void *arg) {
  bench_end *end = arg;
  for (;;) {
    tri_incoming in;
    tri_status status = tri_link_recv(end->link, &in, &end->last, &err);
    if (status == TRI_E_AGAIN) return;
    end->from = in;
    if (status == TRI_OK) end->received++;
    else end->malformed++, end->error = err;
    if (in.payload) memcpy(end->payload, in.payload, in.payload_len < sizeof end->payload ? in.payload_len : sizeof end->payload);
  }
}

void bench_listen(tri_link_kind kind, bool again) {
  if (!again) strcpy(B.endpoint, "tcp://127.0.0.1:0");
  assert_ok(tri_link_listen(&B.listener.link, B.listener.net, kind, B.endpoint, "bench", &B.port, &err), err);
  assert_true(B.port > 0);
  tri_link_endpoint(B.endpoint, "127.0.0.1", B.port);
  assert_ok(tri_loop_add_link(B.loop, B.listener.link, on_link, &B.listener, &err), err);
}

void bench_dial(int which, tri_link_kind kind, const uint8_t *server_key) {
  bench_end *end = &B.dialler[which];
  assert_ok(tri_link_dial(&end->link, end->net, kind, B.endpoint, server_key, &err), err);
  assert_ok(tri_loop_add_link(B.loop, end->link, on_link, end, &err), err);
}

static bool dialler_is_up(void) { return tri_link_get_state(B.dialler[0].link) == TRI_LINK_UP; }

void bench_connect(tri_link_kind kind) {
  bench_listen(kind, false);
  bench_dial(0, kind, B.listener.key.public_key);
  bench_until(dialler_is_up);
}

static bool (*wanted)(void);
static void check_wanted(void *arg) {
  (void)arg;
  if (wanted()) tri_loop_stop(B.loop);
}
void bench_wait(bool (*cond)(void), const char *what, int line) {
  wanted = cond;
  if (cond()) return;
  tri_loop_set_tick(B.loop, 1, check_wanted, NULL);
  if (tri_loop_run(B.loop, BENCH_WAIT_MS, &err) != TRI_OK) fail_msg("line %d: %s did not come true", line, what);
}

tri_msg bench_message(uint64_t job) { return (tri_msg){.kind = TRI_MSG_DONE, .done.job = job}; }
tri_status bench_send(bench_end *from, const tri_peer *to, uint64_t job) {
  tri_msg m = bench_message(job);
  return tri_link_send(from->link, to, &m, NULL, 0, false, &err);
}
