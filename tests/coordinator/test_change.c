/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/change.h"

enum { SECOND = 1000, PATIENCE_MS = 30 * SECOND };

static tri_change change;
static tri_plan plan; /* two stages, of the workers 7 and 3; a row takes 1 ms */
static int order[TRI_REGISTRY_MAX] = {5, 3, 7};
static int64_t now_ms;

static int start(void **state) {
  (void)state;
  change = (tri_change){0};
  plan = (tri_plan){.stages = 2, .stage = {{.worker = 2}, {.worker = 1}}, .row_ns = 1000000};
  now_ms = 1000 * SECOND;
  tri_change_begin(&change, &plan, order, "why not", PATIENCE_MS, now_ms);
  return 0;
}

static tri_change_act next(int64_t after_ms, uint64_t rows, uint32_t flights) {
  return tri_change_next(&change, rows, flights, now_ms += after_ms);
}

static void with_nothing_to_do_it_is_at_once(void **state) {
  (void)state;
  assert_string_equal(change.why, "why not");
  assert_int_equal(next(0, 0, 0), TRI_CHANGE_SWITCH);
}

static void parts_come_first(void **state) {
  (void)state;
  tri_change_lack(&change, 7);
  tri_change_lack(&change, 3);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(next(TRI_CHANGE_STUCK_MS, 0, 0), TRI_CHANGE_NOTHING);
    tri_change_progress(&change, 7, now_ms);
  }
  assert_int_equal(tri_change_laggard(&change), 3);
  tri_change_got(&change, 7, change.id - 1); /* of another change */
  tri_change_got(&change, 3, change.id);
  assert_int_equal(next(SECOND, 0, 0), TRI_CHANGE_NOTHING);
  tri_change_got(&change, 7, change.id);
  assert_int_equal(next(0, 0, 0), TRI_CHANGE_SWITCH);
}

static void when_nothing_comes_it_is_stuck(void **state) {
  (void)state;
  tri_change_lack(&change, 7);
  assert_int_equal(next(TRI_CHANGE_STUCK_MS, 0, 0), TRI_CHANGE_NOTHING);
  tri_change_progress(&change, 3, now_ms); /* it lacks nothing: that was for something else */
  assert_int_equal(next(1, 0, 0), TRI_CHANGE_STUCK);
  assert_int_equal(tri_change_laggard(&change), 7);
}

static void it_waits_as_long_as_the_switch_would_take(void **state) {
  (void)state;
  assert_int_equal(next(0, 5000, 2), TRI_CHANGE_NOTHING); /* 5 s of rows */
  assert_int_equal(next(4990, 5000, 2), TRI_CHANGE_NOTHING);
  assert_int_equal(next(5, 5100, 2), TRI_CHANGE_NOTHING); /* the job goes on meanwhile */
  assert_int_equal(next(105, 5100, 2), TRI_CHANGE_PAUSE);
  assert_int_equal(next(5, 5100, 1), TRI_CHANGE_NOTHING);
  assert_int_equal(next(5, 5100, 0), TRI_CHANGE_SWITCH);
}

static void a_jobs_end_is_a_good_moment(void **state) {
  (void)state;
  assert_int_equal(next(0, 5000, 1), TRI_CHANGE_NOTHING);
  assert_int_equal(next(500, 0, 0), TRI_CHANGE_SWITCH);
}

static void patience_ends(void **state) {
  (void)state;
  assert_int_equal(next(0, 1000000, 1), TRI_CHANGE_NOTHING);
  assert_int_equal(next(PATIENCE_MS - 1, 1000000, 1), TRI_CHANGE_NOTHING);
  assert_int_equal(next(1, 1000000, 1), TRI_CHANGE_PAUSE);
  assert_int_equal(next(TRI_CHANGE_SETTLE_MS - 1, 1000000, 1), TRI_CHANGE_NOTHING);
  assert_int_equal(next(1, 1000000, 1), TRI_CHANGE_SWITCH); /* a step that does not come back holds nothing up */
}

static void it_can_be_called_off_and_begun_anew(void **state) {
  (void)state;
  uint32_t id = change.id;
  tri_change_lack(&change, 7);
  assert_true(tri_change_uses(&change, 7) && tri_change_uses(&change, 3));
  assert_false(tri_change_uses(&change, 5));
  tri_change_end(&change);
  assert_false(tri_change_uses(&change, 7));
  assert_int_equal(next(0, 0, 0), TRI_CHANGE_NOTHING);
  tri_change_begin(&change, &plan, order, "again", PATIENCE_MS, now_ms);
  assert_int_not_equal(change.id, id);
  assert_int_equal(next(0, 0, 0), TRI_CHANGE_SWITCH); /* nobody lacks anything any more */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(with_nothing_to_do_it_is_at_once, start),
      cmocka_unit_test_setup(parts_come_first, start),
      cmocka_unit_test_setup(when_nothing_comes_it_is_stuck, start),
      cmocka_unit_test_setup(it_waits_as_long_as_the_switch_would_take, start),
      cmocka_unit_test_setup(a_jobs_end_is_a_good_moment, start),
      cmocka_unit_test_setup(patience_ends, start),
      cmocka_unit_test_setup(it_can_be_called_off_and_begun_anew, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
