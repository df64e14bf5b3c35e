/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/pace.h"

#include <math.h>

static tri_pace pace;

/* Stages of one layer each: base_us for a step, and row_us for each of its rows. */
static void stages(uint32_t n, double base_us, double row_us, double hop_us) {
  pace = (tri_pace){.stages = n, .max_rows = 256, .hop_us = hop_us};
  for (uint32_t i = 0; i < n; i++) {
    tri_plan_worker w = {.layer_ns = (uint64_t)((base_us + row_us) * 1e3),
                         .layer_rows_ns = (uint64_t)((base_us + TRI_PLAN_MANY * row_us) * 1e3)};
    pace.stage[i] = (tri_pace_stage){.worker = w, .layers = 1, .scale = 1};
  }
}

static void assert_choice(tri_pace_choice c, uint32_t depth, uint32_t share, uint32_t chunk) {
  if (c.depth != depth || c.share != share || c.chunk != chunk)
    fail_msg("%u steps of %u streams and %u rows, not %u of %u and %u", c.depth, c.share, c.chunk, depth, share, chunk);
}

static void streams_are_dealt_so_that_no_stage_waits(void **state) {
  (void)state;
  stages(4, 20000, 10, 300); /* reading weights takes nearly all of it: no more steps than are needed */
  assert_choice(tri_pace_choose(&pace, 1, 0), 1, 1, 0);
  assert_choice(tri_pace_choose(&pace, 3, 0), 3, 1, 0);
  assert_choice(tri_pace_choose(&pace, 8, 0), 4, 2, 0);
  assert_choice(tri_pace_choose(&pace, 64, 0), 4, 16, 0);
  stages(4, 10, 1000, 300); /* all of it is work on rows: one more step hides the hops */
  assert_int_equal(tri_pace_choose(&pace, 60, 0).depth, 5);
  stages(4, 20000, 10, 0);
  pace.stage[2].scale = 3; /* one stage is as slow as all others together: two steps keep it busy */
  assert_choice(tri_pace_choose(&pace, 8, 0), 2, 4, 0);
  stages(2, 1000, 10, 10000); /* long ways: steps are on the way rather than at stages */
  assert_int_equal(tri_pace_choose(&pace, 64, 0).depth, 6);
  stages(1, 20000, 10, 0);
  assert_choice(tri_pace_choose(&pace, 64, 0), 1, 64, 0);
}

/* The choice is the best of all: nothing is gained by any other number of steps. */
static void no_other_depth_has_a_shorter_cycle(void **state) {
  (void)state;
  for (uint32_t n = 1; n <= 9; n++) {
    stages(n, 5000.0 * (n % 3), 400, 250);
    for (uint32_t i = 0; i < n; i++) pace.stage[i].scale = 1 + 0.3 * ((i * 7) % 5);
    for (uint32_t streams = 1; streams <= 64; streams++) {
      uint32_t depth = tri_pace_choose(&pace, streams, 0).depth;
      double chosen = 0, best = INFINITY;
      for (uint32_t d = 1; d <= streams && d <= 2 * n + 2; d++) {
        double sum = (n + 1) * 250.0, slowest = 0;
        for (uint32_t i = 0; i < n; i++) {
          double us = tri_pace_stage_us(&pace, i, (streams + d - 1) / d, 0);
          sum += us, slowest = fmax(slowest, us);
        }
        double cycle = fmax(sum, d * slowest);
        if (d == depth) chosen = cycle;
        best = fmin(best, cycle);
      }
      assert_true(chosen <= best * 1.02);
    }
  }
}

static void prompts_alone_go_in_chunks_that_fill_the_pipeline(void **state) {
  (void)state;
  stages(1, 3000, 1000, 0); /* nothing to fill: as large as can be */
  assert_int_equal(tri_pace_choose(&pace, 0, 512).chunk, 240);
  stages(4, 3000, 1000, 0); /* (512 / c + 3) * (3 + c) is least at 24 */
  assert_int_equal(tri_pace_choose(&pace, 0, 512).chunk, 24);
  assert_true(tri_pace_choose(&pace, 0, 512).depth >= 4);
  assert_int_equal(tri_pace_choose(&pace, 0, 60).chunk, 8); /* and for a short prompt at 8 */
  assert_int_equal(tri_pace_choose(&pace, 0, 5).chunk, 5);
  pace.max_rows = 10;
  assert_true(tri_pace_choose(&pace, 0, 512).chunk <= 10);
}

static void streams_keep_their_pace_beside_prompts(void **state) {
  (void)state;
  stages(1, 20000, 1000, 0);
  assert_choice(tri_pace_choose(&pace, 1, 1000), 2, 1, 4); /* two steps are queued, so that a stage of its own never waits */
  for (uint32_t target_ms = 60; target_ms < 600; target_ms += 60) {
    pace.target_us = target_ms * 1e3;
    tri_pace_choice c = tri_pace_choose(&pace, 2, 1000);
    double us = c.depth * tri_pace_stage_us(&pace, 0, c.share + c.chunk, c.share);
    assert_true(us <= pace.target_us || c.chunk <= 4);
    assert_true(c.chunk >= 4 && c.share >= 1);
  }
  pace.target_us = 1; /* out of reach: prompts get on all the same */
  assert_int_equal(tri_pace_choose(&pace, 2, 1000).chunk, 4);
  pace.max_rows = 2;
  assert_true(tri_pace_choose(&pace, 2, 1000).chunk <= 2);
}

static void what_steps_take_corrects_what_was_expected(void **state) {
  (void)state;
  stages(2, 20000, 1000, 0);
  uint64_t busy_us = 5000000; /* since the worker began, long before */
  tri_pace_correct(&pace, 1, busy_us);
  for (int i = 0; i < 1000; i++) {
    tri_pace_landed(&pace, 3, 3);
    busy_us += 46000; /* twice of 23 ms */
    if (i % 10 == 9) tri_pace_correct(&pace, 1, busy_us);
  }
  assert_float_equal(pace.stage[1].scale, 2, 0.05);
  assert_float_equal(pace.stage[0].scale, 1, 0);
  tri_pace_correct(&pace, 1, 1); /* it was started again */
  assert_float_equal(pace.stage[1].scale, 2, 0.05);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(streams_are_dealt_so_that_no_stage_waits),
      cmocka_unit_test(no_other_depth_has_a_shorter_cycle),
      cmocka_unit_test(prompts_alone_go_in_chunks_that_fill_the_pipeline),
      cmocka_unit_test(streams_keep_their_pace_beside_prompts),
      cmocka_unit_test(what_steps_take_corrects_what_was_expected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
