/* SPDX-License-Identifier: MIT */
#include "tests/cluster/fake.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "engine/model.h"

static void on_control(void *arg) {
  fake *f = arg;
  f->received = tri_link_recv(f->control, &f->in, &f->msg, NULL);
  tri_loop_stop(f->loop);
}

static void on_data(void *arg) { tri_loop_stop(((fake *)arg)->loop); }

static void run_once(fake *f) {
  tri_error err = {0};
  f->received = TRI_E_AGAIN;
  assert_ok(tri_loop_run(f->loop, LAB_WAIT_MS, &err), err);
}

void fake_open(fake *f, const tri_cluster *c, const char *node) {
  tri_error err = {0};
  char dir[PATH_MAX];
  uint8_t coordinator[TRI_KEY_BYTES];
  *f = (fake){0};
  snprintf(dir, sizeof dir, "%s/%s", tri_cluster_dir(c), node);
  assert_ok(tri_keys_load(&f->key, dir, &err), err);
  assert_ok(tri_keys_load_coordinator(coordinator, dir, &err), err);
  assert_ok(tri_net_create(&f->net, &f->key, NULL, NULL, &err), err);
  assert_ok(tri_loop_create(&f->loop, f->net, &err), err);
  assert_ok(tri_link_dial(&f->control, f->net, TRI_LINK_CONTROL, tri_cluster_endpoint(c), coordinator, &err), err);
  assert_ok(tri_loop_add_link(f->loop, f->control, on_control, f, &err), err);
  while (tri_link_get_state(f->control) != TRI_LINK_UP) run_once(f);
}

void fake_close(fake *f) {
  tri_loop_destroy(&f->loop);
  tri_link_close(&f->data);
  tri_link_close(&f->control);
  tri_net_destroy(&f->net);
}

void fake_send(fake *f, const tri_msg *m) {
  tri_error err = {0};
  assert_ok(tri_link_send(f->control, NULL, m, NULL, 0, false, &err), err);
}

void fake_hello(fake *f, const char *name) { fake_boast(f, name, 50, 0, 1ull << 32); }

void fake_boast(fake *f, const char *name, uint32_t us, uint32_t rows_us, uint64_t memory_bytes) {
  tri_error err = {0};
  tri_model *model;
  tri_msg m = {.kind = TRI_MSG_HELLO,
               .hello = {.protocol = TRI_PROTOCOL, .threads = 1, .layer_us = us, .head_us = us, .layer_rows_us = rows_us,
                         .head_rows_us = rows_us, .memory_bytes = memory_bytes,
                         .version = "fake"}};
  snprintf(m.hello.name, sizeof m.hello.name, "%s", name);
  snprintf(m.hello.isa, sizeof m.hello.isa, "none");
  assert_ok(tri_model_open(&model, LAB_MODEL, &err), err);
  tri_model_id(model, m.hello.model_id);
  tri_model_close(&model);
  fake_send(f, &m);
}

void fake_await(fake *f, tri_msg_kind kind) {
  int64_t beat = tri_clock_ms(), until = beat + LAB_WAIT_MS;
  do {
    run_once(f);
    if (tri_clock_ms() > until) fail_msg("no %s came", tri_msg_kind_name(kind));
    if (f->received == TRI_OK && f->msg.kind == TRI_MSG_REFUSE && kind != TRI_MSG_REFUSE) fail_msg("refused: %s", f->msg.refuse.text);
    /* what the coordinator sends to probe us keeps us awake to show a sign of life */
    if (tri_clock_ms() - beat > 1000) {
      beat = tri_clock_ms();
      fake_send(f, &(tri_msg){.kind = TRI_MSG_HEARTBEAT});
    }
  } while (f->received != TRI_OK || f->msg.kind != kind);
}

void fake_await_data(fake *f, uint32_t n) {
  while (tri_link_get_state(f->data) != TRI_LINK_UP || tri_link_connections(f->data) < n) run_once(f);
}

void fake_serve_first_stage(fake *f) {
  tri_error err = {0};
  assert_int_equal(f->msg.assign.stage, 0);
  uint32_t epoch = f->msg.assign.epoch;
  fake_send(f, &(tri_msg){.kind = TRI_MSG_BOUND, .bound = {.epoch = epoch, .bytes = 1}});
  fake_await(f, TRI_MSG_CONNECT);
  assert_ok(tri_link_dial(&f->data, f->net, TRI_LINK_DATA, f->msg.connect.endpoint, f->msg.connect.server_key, &err), err);
  assert_ok(tri_loop_add_link(f->loop, f->data, on_data, f, &err), err);
  fake_await_data(f, 1);
  fake_send(f, &(tri_msg){.kind = TRI_MSG_READY, .ready = {.epoch = epoch}});
}

void fake_send_step(fake *f, const tri_msg *m, size_t payload_len) {
  tri_error err = {0};
  uint8_t *payload = calloc(1, payload_len + 1);
  assert_non_null(payload);
  assert_ok(tri_link_send(f->data, NULL, m, payload, payload_len, true, &err), err);
}
