/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/pipeline.h"

#include <stdio.h>

static tri_registry registry;
static tri_pipeline pipeline;
static tri_plan plan;
static tri_error err;
static bool complete;

static int start(void **state) {
  (void)state;
  uint8_t id[TRI_ID_BYTES] = {0};
  tri_registry_init(&registry, id, 5000);
  for (uint8_t i = 0; i < 3; i++) {
    tri_incoming in = {.from = {.route = {i}, .route_len = 1}, .address = "10.0.0.9"};
    memset(in.key, i + 1, sizeof in.key);
    tri_msg_hello h = {.protocol = TRI_PROTOCOL, .threads = 1, .layer_us = 100, .memory_bytes = 1 << 20, .version = "1"};
    snprintf(h.name, sizeof h.name, "w%d", i);
    if (i == 2) snprintf(h.advertise, sizeof h.advertise, "lab.example");
    int at;
    if (tri_registry_hello(&registry, &in, &h, 0, &at, &err) != TRI_OK) return -1;
  }
  tri_pipeline_init(&pipeline, &(tri_pipeline_config){.slots = 1, .context = 64, .max_rows = 32, .wire = 2, .kv_type = 1, .kv_blocks = 5, .layers = 9});
  plan = (tri_plan){.stages = 3};
  for (uint32_t i = 0; i < 3; i++) plan.stage[i] = (tri_plan_stage){.worker = i, .first = 3 * i, .last = 3 * i + 3};
  return 0;
}

static const int order[] = {2, 0, 1}; /* stage 0 runs on the registry's worker 2 */

static tri_status bound(int worker, uint32_t port) {
  return tri_pipeline_bound(&pipeline, &registry, worker, &(tri_msg_bound){.epoch = pipeline.epoch, .port = port, .bytes = 77}, &complete,
                            &err);
}
static tri_status ready(int worker) { return tri_pipeline_ready(&pipeline, &registry, worker, &complete, &err); }

static void it_comes_up_stage_by_stage(void **state) {
  (void)state;
  tri_pipeline_start(&pipeline, &registry, &plan, order);
  assert_int_equal(pipeline.epoch, 1);
  tri_msg_assign a;
  tri_pipeline_assign(&pipeline, &registry, 0, &a);
  assert_true(a.embed && !a.head && !a.has_upstream);
  tri_pipeline_assign(&pipeline, &registry, 2, &a);
  assert_true(!a.embed && a.head && a.has_upstream);
  assert_int_equal(a.first, 6);
  assert_int_equal(a.last, 9);
  assert_int_equal(a.kv_blocks, 5);
  assert_memory_equal(a.upstream_key, registry.workers[0].key, TRI_KEY_BYTES);
  assert_ok(bound(1, 5001), err); /* the last stage */
  assert_false(complete);
  assert_ok(ready(1), err); /* and it has no one to connect to */
  assert_false(complete);
  assert_ok(bound(2, 0), err);
  assert_ok(bound(0, 5000), err);
  assert_true(complete);
  assert_int_equal(pipeline.state, TRI_PIPELINE_CONNECTING);
  tri_msg_connect c;
  tri_pipeline_connect(&pipeline, &registry, 0, &c);
  assert_string_equal(c.endpoint, "tcp://10.0.0.9:5000");
  assert_memory_equal(c.server_key, registry.workers[0].key, TRI_KEY_BYTES);
  assert_ok(ready(2), err);
  assert_false(complete);
  assert_ok(ready(0), err);
  assert_true(complete);
  assert_int_equal(pipeline.state, TRI_PIPELINE_SERVING);
  assert_int_equal(registry.workers[0].stage_bytes, 77);
}

static void the_advertised_address_wins(void **state) {
  (void)state;
  const int reversed[] = {0, 2, 1};
  tri_pipeline_start(&pipeline, &registry, &plan, reversed);
  assert_ok(bound(2, 6000), err);
  tri_msg_connect c;
  tri_pipeline_connect(&pipeline, &registry, 0, &c);
  assert_string_equal(c.endpoint, "tcp://lab.example:6000");
}

static void out_of_turn_is_refused(void **state) {
  (void)state;
  assert_fails(bound(0, 1), TRI_E_PROTOCOL, err, "worker w0 says bound while it is joined");
  tri_pipeline_start(&pipeline, &registry, &plan, order);
  assert_fails(ready(0), TRI_E_PROTOCOL, err, "says ready while it is assigned");
  assert_fails(bound(2, 5000), TRI_E_PROTOCOL, err, "bound to port 5000 as stage 0");
  assert_fails(bound(0, 0), TRI_E_PROTOCOL, err, "bound to port 0 as stage 1");
  assert_ok(bound(0, 1), err);
  assert_fails(bound(0, 1), TRI_E_PROTOCOL, err, "while it is bound");
  assert_fails(ready(0), TRI_E_PROTOCOL, err, "and the pipeline loading");
}

static void a_dropped_plan_leaves_joined_workers(void **state) {
  (void)state;
  tri_pipeline_start(&pipeline, &registry, &plan, order);
  assert_ok(bound(0, 1), err);
  tri_registry_lose(&registry, 1);
  tri_pipeline_drop(&pipeline, &registry);
  assert_int_equal(pipeline.state, TRI_PIPELINE_IDLE);
  assert_int_equal(registry.workers[0].state, TRI_WORKER_JOINED);
  assert_int_equal(registry.workers[0].stage, -1);
  assert_int_equal(registry.workers[1].state, TRI_WORKER_LOST);
  tri_pipeline_start(&pipeline, &registry, &(tri_plan){.stages = 1, .stage = {{.worker = 0, .first = 0, .last = 9}}}, order);
  assert_int_equal(pipeline.epoch, 2);
  tri_msg_assign a;
  tri_pipeline_assign(&pipeline, &registry, 0, &a);
  assert_true(a.embed && a.head && !a.has_upstream);
  assert_ok(bound(2, 0), err);
  assert_true(complete);
  assert_ok(ready(2), err);
  assert_true(complete);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(it_comes_up_stage_by_stage, start),
      cmocka_unit_test_setup(the_advertised_address_wins, start),
      cmocka_unit_test_setup(out_of_turn_is_refused, start),
      cmocka_unit_test_setup(a_dropped_plan_leaves_joined_workers, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
