/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/plan.h"

#include <stdio.h>

static tri_error err;
static tri_plan plan;

/* --- brute force: every way to give each worker 0..L layers --- */

typedef struct best {
  bool possible;
  uint32_t idle;
  uint64_t slowest, squares;
} best;

typedef struct walk {
  const tri_plan_model *m;
  const tri_plan_worker *w;
  uint32_t n;
  best best;
} walk;

static bool better(const best *a, const best *b) {
  if (!b->possible) return true;
  if (a->idle != b->idle) return a->idle < b->idle;
  if (a->slowest != b->slowest) return a->slowest < b->slowest;
  return a->squares < b->squares;
}

static void visit(walk *k, uint32_t worker, uint32_t first, best so_far) {
  if (worker == k->n) {
    if (first == k->m->layers && better(&so_far, &k->best)) k->best = so_far, k->best.possible = true;
    return;
  }
  best idle = so_far;
  idle.idle++;
  visit(k, worker + 1, first, idle);
  for (uint32_t last = first + 1; last <= k->m->layers; last++) {
    bool head = last == k->m->layers;
    uint64_t us = (uint64_t)(last - first) * k->w[worker].layer_us + (head ? k->w[worker].head_us : 0);
    if (tri_plan_bytes(k->m, &k->w[worker], last - first, first == 0, head) > k->w[worker].memory_bytes) continue;
    best next = so_far;
    if (us > next.slowest) next.slowest = us;
    next.squares += us * us;
    visit(k, worker + 1, last, next);
  }
}

static best measure(const tri_plan *p, uint32_t n) {
  best b = {.possible = true, .idle = n - p->stages};
  for (uint32_t i = 0; i < p->stages; i++) {
    if (p->stage[i].us > b.slowest) b.slowest = p->stage[i].us;
    b.squares += p->stage[i].us * p->stage[i].us;
  }
  return b;
}

static void check_well_formed(const tri_plan_model *m, const tri_plan_worker *w) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < plan.stages; i++) {
    const tri_plan_stage *s = &plan.stage[i];
    assert_int_equal(s->first, next);
    assert_true(s->last > s->first);
    assert_true(i == 0 || s->worker > plan.stage[i - 1].worker);
    assert_true(s->bytes <= w[s->worker].memory_bytes);
    next = s->last;
  }
  assert_int_equal(next, m->layers);
}

static void equals_brute_force(void **state) {
  (void)state;
  uint64_t seed = 20240611;
  int infeasible = 0;
  for (int round = 0; round < 3000; round++) {
    tri_plan_model m = {.layers = 1 + (uint32_t)(test_random(&seed) % 9), .layer_bytes = 1 + test_random(&seed) % 20,
                        .kv_bytes = test_random(&seed) % 5, .embedding_bytes = test_random(&seed) % 40,
                        .head_bytes = test_random(&seed) % 40};
    tri_plan_worker w[5];
    uint32_t n = 1 + (uint32_t)(test_random(&seed) % 5);
    for (uint32_t i = 0; i < n; i++)
      w[i] = (tri_plan_worker){.name = "w", .layer_us = 1 + (uint32_t)(test_random(&seed) % 9),
                               .head_us = (uint32_t)(test_random(&seed) % 30), .memory_bytes = test_random(&seed) % 160,
                               .buffer_bytes = test_random(&seed) % 12};
    walk k = {.m = &m, .w = w, .n = n};
    visit(&k, 0, 0, (best){0});
    tri_status status = tri_plan_split(&plan, &m, w, n, &err);
    if (!k.best.possible) {
      assert_int_equal(status, TRI_E_LIMIT);
      infeasible++;
      continue;
    }
    assert_ok(status, err);
    check_well_formed(&m, w);
    best got = measure(&plan, n);
    if (got.idle != k.best.idle || got.slowest != k.best.slowest || got.squares != k.best.squares)
      fail_msg("round %d: idle %u/%u slowest %lu/%lu squares %lu/%lu", round, got.idle, k.best.idle, (unsigned long)got.slowest,
               (unsigned long)k.best.slowest, (unsigned long)got.squares, (unsigned long)k.best.squares);
  }
  assert_true(infeasible > 100 && infeasible < 2900);
}

static tri_plan_worker even(uint64_t memory) { return (tri_plan_worker){.name = "w", .layer_us = 100, .head_us = 100,
                                                                        .memory_bytes = memory}; }

static void twelve_layers_over_twelve_workers_are_cut_everywhere(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 12, .layer_bytes = 10, .embedding_bytes = 10, .head_bytes = 10};
  tri_plan_worker w[12];
  for (int i = 0; i < 12; i++) w[i] = even(1000), w[i].layer_us = 50 + 40 * (uint32_t)i;
  assert_ok(tri_plan_split(&plan, &m, w, 12, &err), err);
  assert_int_equal(plan.stages, 12);
  for (uint32_t i = 0; i < 12; i++) assert_int_equal(plan.stage[i].last - plan.stage[i].first, 1);
}

static void surplus_workers_stay_idle(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 2, .layer_bytes = 10};
  tri_plan_worker w[4] = {even(1000), even(1000), even(1000), even(1000)};
  w[0].layer_us = 900;
  assert_ok(tri_plan_split(&plan, &m, w, 4, &err), err);
  assert_int_equal(plan.stages, 2);
  assert_int_not_equal(plan.stage[0].worker, 0); /* the slow one is the one left out */
}

static void a_slow_worker_gets_fewer_layers(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 30, .layer_bytes = 10};
  tri_plan_worker w[3] = {even(1000), even(1000), even(1000)};
  w[1].layer_us = 400;
  w[2].head_us = 0;
  assert_ok(tri_plan_split(&plan, &m, w, 3, &err), err);
  /* 14, 2, 14: no split has a slowest stage under 14 * 100 */
  assert_int_equal(plan.stage[0].last, 14);
  assert_int_equal(plan.stage[1].last, 16);
}

static void the_error_says_how_much_is_missing(void **state) {
  (void)state;
  uint64_t mb = 1000000;
  tri_plan_model m = {.layers = 10, .layer_bytes = 10 * mb, .embedding_bytes = 20 * mb, .head_bytes = 20 * mb};
  tri_plan_worker w[2] = {even(60 * mb), even(60 * mb)};
  assert_fails(tri_plan_split(&plan, &m, w, 2, &err), TRI_E_LIMIT, err, "need 140.0 MB; 2 worker(s) offer 120.0 MB");
  assert_fails(tri_plan_split(&plan, &m, w, 2, &err), TRI_E_LIMIT, err, "needs 10.0 MB more on each");
  /* 5 layers of 10 in two workers of 24: the sum fits, no cut does */
  m = (tri_plan_model){.layers = 5, .layer_bytes = 10 * mb};
  w[0] = w[1] = even(26 * mb);
  assert_fails(tri_plan_split(&plan, &m, w, 2, &err), TRI_E_LIMIT, err, "no cut fits although the sum would do");
  assert_fails(tri_plan_split(&plan, &m, w, 2, &err), TRI_E_LIMIT, err, "needs 4.0 MB more on each");
}

static void buffers_count_on_every_worker(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 4, .layer_bytes = 10};
  tri_plan_worker w[2] = {even(30), even(30)};
  w[0].buffer_bytes = 15, w[1].buffer_bytes = 0;
  assert_ok(tri_plan_split(&plan, &m, w, 2, &err), err); /* 1 and 3: two layers would not fit the first */
  assert_int_equal(plan.stage[0].last, 1);
  assert_int_equal(plan.stage[0].bytes, 25);
  assert_int_equal(plan.stage[1].bytes, 30);
  w[1].buffer_bytes = 1;
  assert_fails(tri_plan_split(&plan, &m, w, 2, &err), TRI_E_LIMIT, err, "buffers of 15 B on each worker need 56 B; 2 worker(s) offer 60 B");
}

static void refuses_nonsense(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 1};
  tri_plan_worker w = even(1);
  assert_fails(tri_plan_split(&plan, &m, &w, 0, &err), TRI_E_INVALID, err, "no workers");
  assert_fails(tri_plan_split(&plan, &m, &w, 257, &err), TRI_E_LIMIT, err, "at most 256");
  m.layers = 0;
  assert_fails(tri_plan_split(&plan, &m, &w, 1, &err), TRI_E_LIMIT, err, "0 layers");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equals_brute_force),
      cmocka_unit_test(twelve_layers_over_twelve_workers_are_cut_everywhere),
      cmocka_unit_test(surplus_workers_stay_idle),
      cmocka_unit_test(a_slow_worker_gets_fewer_layers),
      cmocka_unit_test(the_error_says_how_much_is_missing),
      cmocka_unit_test(buffers_count_on_every_worker),
      cmocka_unit_test(refuses_nonsense),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
