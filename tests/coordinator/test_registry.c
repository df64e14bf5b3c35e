/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/registry.h"

#include <stdio.h>

enum { LOST_MS = 5000 };

static tri_registry registry;
static tri_error err;
static int at;

static tri_incoming from(uint8_t key, uint8_t route) {
  tri_incoming in = {.from = {.route = {route}, .route_len = 1}, .address = "10.0.0.1"};
  memset(in.key, key, sizeof in.key);
  return in;
}

static tri_msg_hello hello(const char *name) {
  tri_msg_hello h = {.protocol = TRI_PROTOCOL, .threads = 2, .layer_us = 100, .head_us = 50, .memory_bytes = 1 << 30, .version = "9"};
  snprintf(h.name, sizeof h.name, "%s", name);
  memset(h.model_id, 7, sizeof h.model_id);
  return h;
}

static int reset(void **state) {
  (void)state;
  uint8_t id[TRI_ID_BYTES];
  memset(id, 7, sizeof id);
  tri_registry_init(&registry, id, LOST_MS);
  return 0;
}

static tri_status join(uint8_t key, uint8_t route, const char *name, int64_t now_ms) {
  tri_incoming in = from(key, route);
  tri_msg_hello h = hello(name);
  return tri_registry_hello(&registry, &in, &h, now_ms, &at, &err);
}

static void a_worker_lives_by_its_heartbeats(void **state) {
  (void)state;
  assert_ok(join(1, 1, "w1", 0), err);
  assert_int_equal(registry.workers[at].state, TRI_WORKER_JOINED);
  assert_int_equal(tri_registry_overdue(&registry, LOST_MS), -1);
  tri_registry_heartbeat(&registry, at, &(tri_msg_heartbeat){.epoch = 3, .busy_us = 0}, 4000);
  assert_int_equal(tri_registry_overdue(&registry, 4000 + LOST_MS), -1);
  assert_int_equal(tri_registry_overdue(&registry, 4001 + LOST_MS), at);
  tri_registry_heartbeat(&registry, at, &(tri_msg_heartbeat){.epoch = 3, .busy_us = 250000}, 5000);
  assert_true(registry.workers[at].busy_share > 0.24 && registry.workers[at].busy_share < 0.26);
  tri_registry_lose(&registry, at);
  assert_int_equal(tri_registry_overdue(&registry, 1 << 30), -1);
  assert_int_equal(registry.workers[at].state, TRI_WORKER_LOST);
}

static void one_key_is_one_worker(void **state) {
  (void)state;
  assert_ok(join(1, 1, "w1", 0), err);
  assert_fails(join(1, 2, "w1", 10), TRI_E_BUSY, err, "a worker with this key is already connected (w1 from 10.0.0.1)");
  assert_fails(join(2, 3, "w1", 10), TRI_E_BUSY, err, "a worker named w1 is already connected");
  assert_ok(join(2, 3, "w2", 10), err);
  int first = tri_registry_find_name(&registry, "w1");
  tri_registry_lose(&registry, first);
  assert_ok(join(1, 2, "w1", 20), err);
  assert_int_equal(at, first); /* the same record again */
  assert_int_equal(registry.count, 2);
}

static void messages_count_only_over_the_present_connection(void **state) {
  (void)state;
  assert_ok(join(1, 1, "w1", 0), err);
  tri_incoming same = from(1, 1), other = from(1, 2), stranger = from(9, 1);
  assert_int_equal(tri_registry_sender(&registry, &same), at);
  assert_int_equal(tri_registry_sender(&registry, &other), -1);
  assert_int_equal(tri_registry_sender(&registry, &stranger), -1);
  tri_registry_lose(&registry, at);
  assert_int_equal(tri_registry_sender(&registry, &same), -1);
}

static tri_status try(tri_msg_hello h) {
  tri_incoming in = from(1, 1);
  return tri_registry_hello(&registry, &in, &h, 0, &at, &err);
}

static void refusals_name_the_field(void **state) {
  (void)state;
  tri_msg_hello h = hello("w1");
  h.protocol = 99;
  assert_fails(try(h), TRI_E_PROTOCOL, err, "protocol: worker w1 speaks 99 (version 9)");
  h = hello("w1"), h.model_id[5] ^= 1;
  assert_fails(try(h), TRI_E_INVALID, err, "model: worker w1 has opened another model file");
  h = hello("w1"), h.threads = 0;
  assert_fails(try(h), TRI_E_INVALID, err, "threads: worker w1 says 0");
  h = hello("w1"), h.memory_bytes = 0;
  assert_fails(try(h), TRI_E_INVALID, err, "memory: worker w1 offers none");
  h = hello("w1"), h.layer_us = 0;
  assert_fails(try(h), TRI_E_INVALID, err, "layer_us");
  assert_fails(try(hello("")), TRI_E_INVALID, err, "name: empty");
  assert_int_equal(registry.count, 0);
}

static void lost_records_make_room(void **state) {
  (void)state;
  for (int i = 0; i < TRI_REGISTRY_MAX; i++) {
    char name[16];
    snprintf(name, sizeof name, "w%d", i);
    tri_incoming in = from(0, (uint8_t)i);
    in.key[0] = (uint8_t)i, in.key[1] = 1;
    tri_msg_hello h = hello(name);
    assert_ok(tri_registry_hello(&registry, &in, &h, 0, &at, &err), err);
  }
  assert_fails(join(9, 9, "late", 0), TRI_E_LIMIT, err, "that is the most");
  tri_registry_lose(&registry, 17);
  assert_ok(join(9, 9, "late", 0), err);
  assert_int_equal(at, 17);
}

static void stages_go_by_expectation_then_by_name(void **state) {
  (void)state;
  const char *names[] = {"w10", "w9", "beta", "alpha", "w1"};
  for (uint8_t i = 0; i < 5; i++) assert_ok(join(i + 1, i + 1, names[i], 0), err);
  int order[TRI_REGISTRY_MAX];
  const char *expect[] = {"w9", "absent", "alpha"};
  assert_int_equal(tri_registry_order(&registry, expect, 3, order), 5);
  const char *want[] = {"w9", "alpha", "beta", "w1", "w10"};
  for (int i = 0; i < 5; i++) assert_string_equal(registry.workers[order[i]].hello.name, want[i]);
  tri_registry_lose(&registry, order[0]);
  assert_int_equal(tri_registry_order(&registry, NULL, 0, order), 4);
  assert_string_equal(registry.workers[order[0]].hello.name, "alpha");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_worker_lives_by_its_heartbeats, reset),
      cmocka_unit_test_setup(one_key_is_one_worker, reset),
      cmocka_unit_test_setup(messages_count_only_over_the_present_connection, reset),
      cmocka_unit_test_setup(refusals_name_the_field, reset),
      cmocka_unit_test_setup(lost_records_make_room, reset),
      cmocka_unit_test_setup(stages_go_by_expectation_then_by_name, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
