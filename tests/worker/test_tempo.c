/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "worker/tempo.h"

static tri_tempo tempo;

static int start(void **state) {
  (void)state;
  tempo = (tri_tempo){0};
  return 0;
}

static void add(int n, uint32_t rows, uint64_t us) {
  for (int i = 0; i < n; i++) tri_tempo_add(&tempo, rows, us);
}

static void assert_look(uint32_t rows, uint32_t median_us, uint32_t p95_us) {
  tri_tempo_look look = tri_tempo_read(&tempo);
  assert_int_equal(look.rows, rows);
  assert_int_equal(look.median_us, median_us);
  assert_int_equal(look.p95_us, p95_us);
}

static void few_steps_say_nothing(void **state) {
  (void)state;
  assert_look(0, 0, 0);
  add(TRI_TEMPO_LEAST - 1, 1, 100);
  add(TRI_TEMPO_LEAST - 1, 24, 900); /* together they are enough, but they are not alike */
  assert_look(0, 0, 0);
  add(1, 1, 100);
  assert_look(1, 100, 100);
}

static void percentiles_are_those_of_the_sorted_times(void **state) {
  (void)state;
  for (uint64_t us = 60; us > 0; us--) tri_tempo_add(&tempo, 1, us); /* 1 to 60 us */
  assert_look(1, 31, 58);
}

static void a_slow_step_in_a_while_is_not_in_the_95th(void **state) {
  (void)state;
  for (int i = 0; i < 32; i++) add(30, 1, 100), add(1, 1, 5000);
  assert_look(1, 100, 100);
  for (int i = 0; i < 32; i++) add(12, 1, 100), add(1, 1, 5000); /* one in thirteen is */
  assert_look(1, 100, 5000);
}

static void the_window_moves(void **state) {
  (void)state;
  add(1000, 1, 100);
  add(TRI_TEMPO_STEPS / 2 + 1, 1, 300);
  assert_look(1, 300, 300);
  add(TRI_TEMPO_STEPS, 8, UINT64_MAX); /* other steps */
  assert_look(8, UINT32_MAX, UINT32_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(few_steps_say_nothing, start),
      cmocka_unit_test_setup(percentiles_are_those_of_the_sorted_times, start),
      cmocka_unit_test_setup(a_slow_step_in_a_while_is_not_in_the_95th, start),
      cmocka_unit_test_setup(the_window_moves, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
