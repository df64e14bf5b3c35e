/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/plan_replicas.h"

static tri_error err;
static tri_plan plan;

static tri_plan_worker even(uint64_t memory, uint64_t layer_ns) {
  return (tri_plan_worker){.name = "w", .layer_ns = layer_ns, .memory_bytes = memory};
}

/* Each worker in one replica at most, each replica with all layers, and the sums are those of the parts. */
static void check(const tri_plan_replicas *r, const tri_plan_model *m, const tri_plan_worker *w, uint32_t n) {
  bool used[TRI_PLAN_MAX_WORKERS] = {false};
  double many = 0;
  for (uint32_t k = 0; k < r->count; k++) {
    uint32_t next = 0;
    uint64_t slowest = 0;
    for (uint32_t s = 0; s < r->plan[k].stages; s++) {
      const tri_plan_stage *stage = &r->plan[k].stage[s];
      assert_true(stage->worker < n && !used[stage->worker] && !w[stage->worker].excluded);
      used[stage->worker] = true;
      assert_int_equal(stage->first, next);
      next = stage->last;
      if (stage->ns > slowest) slowest = stage->ns;
    }
    assert_int_equal(next, m->layers);
    many += 1e9 / (double)slowest;
  }
  assert_true(many / r->many_per_s > 0.999999 && many / r->many_per_s < 1.000001);
}

/* Every way to share out n workers to `count` groups: the largest sum of rates. 0: none fits. */
static double brute_force(const tri_plan_model *m, const tri_plan_worker *w, uint32_t n, uint32_t count) {
  double best = 0;
  uint32_t ways = 1;
  tri_plan_options options = {.objective = TRI_PLAN_THROUGHPUT};
  for (uint32_t i = 0; i < n; i++) ways *= count;
  for (uint32_t way = 0; way < ways; way++) {
    double sum = 0;
    for (uint32_t g = 0; g < count && sum >= 0; g++) {
      tri_plan_worker group[8];
      uint32_t in = 0, rest = way;
      for (uint32_t i = 0; i < n; i++, rest /= count)
        if (rest % count == g) group[in++] = w[i];
      if (in == 0 || tri_plan_make(&plan, m, group, in, &options, NULL) != TRI_OK) sum = -1;
      else sum += 1e9 / (double)plan.slowest_ns;
    }
    if (sum > best) best = sum;
  }
  return best;
}

/* Moving and swapping is not exact: it must be near, and find groups wherever there are some. */
static void near_the_best_of_all_groups(void **state) {
  (void)state;
  uint64_t seed = 11;
  double worst = 1, ratio_sum = 0;
  int found = 0, missed = 0;
  for (int round = 0; round < 300; round++) {
    uint32_t n = 2 + (uint32_t)(test_random(&seed) % 5), count = 2 + (uint32_t)(test_random(&seed) % 2);
    tri_plan_model m = {.layers = 4 + (uint32_t)(test_random(&seed) % 9), .layer_bytes = 10, .embedding_bytes = 15, .head_bytes = 15};
    tri_plan_worker w[8];
    for (uint32_t i = 0; i < n; i++) w[i] = even(40 + test_random(&seed) % 200, 1000 * (1 + test_random(&seed) % 9));
    double best = brute_force(&m, w, n, count);
    tri_plan_replicas r;
    tri_status status = tri_plan_replicate(&r, &m, w, n, &(tri_plan_options){.objective = TRI_PLAN_THROUGHPUT}, count, &err);
    if (best == 0) assert_int_equal(status, TRI_E_LIMIT);
    if (best > 0 && status != TRI_OK) missed++;
    if (status != TRI_OK) continue;
    check(&r, &m, w, n);
    double ratio = r.many_per_s / best;
    if (ratio < worst) worst = ratio;
    ratio_sum += ratio, found++;
    tri_plan_replicas_free(&r);
  }
  print_message("%d cases: at least %.3f of the best, %.4f on average; %d not found\n", found, worst, ratio_sum / found, missed);
  assert_true(found > 60 && missed <= found / 50);
  assert_true(worst > 0.8 && ratio_sum / found > 0.99);
}

static void one_replica_is_the_plan_itself(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 9, .layer_bytes = 10, .head_bytes = 5};
  tri_plan_worker w[3] = {even(70, 1000), even(70, 2000), even(70, 1500)};
  tri_plan_options options = {.objective = TRI_PLAN_THROUGHPUT};
  tri_plan_replicas r;
  assert_ok(tri_plan_replicate(&r, &m, w, 3, &options, 1, &err), err);
  assert_ok(tri_plan_make(&plan, &m, w, 3, &options, &err), err);
  assert_int_equal(r.count, 1);
  assert_memory_equal(r.plan[0].stage, plan.stage, plan.stages * sizeof *plan.stage);
  tri_plan_replicas_free(&r);
}

/* A head that takes as long as all layers: a pipeline's last stage is its limit, so two pipelines are twice as fast as one. */
static void as_many_as_serve_the_goal(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 4, .layer_bytes = 10, .head_bytes = 10};
  tri_plan_worker w[5];
  for (int i = 0; i < 5; i++) w[i] = even(50, 1000), w[i].head_ns = 4000;
  w[4].excluded = true;
  tri_plan_replicas r;
  assert_ok(tri_plan_replicate(&r, &m, w, 5, &(tri_plan_options){.objective = TRI_PLAN_THROUGHPUT}, 0, &err), err);
  check(&r, &m, w, 5);
  /* four alone: 4 / 8 us; two pairs: 2 / 5 us */
  assert_int_equal(r.count, 4);
  tri_plan_replicas_free(&r);
  /* each holds three layers, or two and the head: pairs it must be */
  for (int i = 0; i < 5; i++) w[i].memory_bytes = 30;
  assert_ok(tri_plan_replicate(&r, &m, w, 5, &(tri_plan_options){.objective = TRI_PLAN_THROUGHPUT}, 0, &err), err);
  check(&r, &m, w, 5);
  assert_int_equal(r.count, 2);
  tri_plan_replicas_free(&r);
  /* for one stream the fastest first, then who is left over */
  for (int i = 0; i < 5; i++) w[i].memory_bytes = 50;
  w[2].layer_ns = 500;
  assert_ok(tri_plan_replicate(&r, &m, w, 5, &(tri_plan_options){.objective = TRI_PLAN_LATENCY}, 0, &err), err);
  check(&r, &m, w, 5);
  assert_int_equal(r.count, 4);
  assert_int_equal(r.plan[0].stage[0].worker, 2);
  assert_true(r.one_per_s > 1e9 / 6001 && r.one_per_s < 1e9 / 5999);
  tri_plan_replicas_free(&r);
}

static void says_why_not(void **state) {
  (void)state;
  tri_plan_model m = {.layers = 4, .layer_bytes = 10};
  tri_plan_worker w[3] = {even(40, 1000), even(20, 1000), even(10, 1000)};
  tri_plan_options options = {.objective = TRI_PLAN_THROUGHPUT};
  tri_plan_replicas r;
  assert_fails(tri_plan_replicate(&r, &m, w, 3, &options, 2, &err), TRI_E_LIMIT, err, "2 replicas: the workers cannot be shared out");
  assert_fails(tri_plan_replicate(&r, &m, w, 3, &options, 4, &err), TRI_E_LIMIT, err, "4 replicas: there are 3 workers");
  w[0].last = 1;
  assert_fails(tri_plan_replicate(&r, &m, w, 3, &options, 2, &err), TRI_E_INVALID, err, "2 replicas: not with layers");
  w[0].last = 0, w[0].memory_bytes = 5;
  assert_fails(tri_plan_replicate(&r, &m, w, 3, &options, 0, &err), TRI_E_LIMIT, err, "does not fit");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(near_the_best_of_all_groups),
      cmocka_unit_test(one_replica_is_the_plan_itself),
      cmocka_unit_test(as_many_as_serve_the_goal),
      cmocka_unit_test(says_why_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
