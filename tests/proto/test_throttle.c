/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "proto/throttle.h"

#include <stdio.h>

static tri_throttle t;

static int take(const char *address, int tries, int64_t now_ms) {
  int got = 0;
  for (int i = 0; i < tries; i++) got += tri_throttle_take(&t, address, now_ms);
  return got;
}

static void an_address_has_a_burst_and_a_rate(void **state) {
  (void)state;
  tri_throttle_init(&t, 5, 2, 1000, 1000, 0);
  assert_int_equal(take("10.0.0.1", 100, 0), 5);
  assert_int_equal(t.refused, 95);
  assert_int_equal(take("10.0.0.2", 3, 0), 3); /* not its fault */
  assert_int_equal(take("10.0.0.1", 100, 499), 0);
  assert_int_equal(take("10.0.0.1", 100, 500), 1);
  assert_int_equal(take("10.0.0.1", 100, 100000), 5); /* never more than the burst */
  int got = 0;
  for (int64_t ms = 100000; ms < 110000; ms++) got += take("10.0.0.1", 1, ms); /* 1000 tries a second for 10 s */
  assert_in_range(got, 19, 20);
  assert_int_equal(take("10.0.0.1", 1, 0), 0); /* a clock that goes back gives nothing */
}

static void all_together_have_one_too(void **state) {
  (void)state;
  tri_throttle_init(&t, 5, 1, 50, 10, 0);
  int got = 0;
  char address[32];
  for (int i = 0; i < 5000; i++) { /* more addresses than places */
    snprintf(address, sizeof address, "10.0.%d.%d", i / 250, i % 250);
    got += take(address, 1, 0);
  }
  assert_int_equal(got, 50);
  assert_true(t.count <= TRI_THROTTLE_ADDRESSES);
  assert_int_equal(take("1.2.3.4", 5, 1000), 5);
}

static void addresses_are_told_apart_by_what_one_machine_has(void **state) {
  (void)state;
  tri_throttle_init(&t, 1, 0, 1000, 1, 0);
  assert_int_equal(take("fd00::1", 1, 0), 1);
  assert_int_equal(take("fd00::2", 1, 0), 0);
  assert_int_equal(take("fd00:0:0:1::2", 1, 0), 1);
  assert_int_equal(take("10.0.0.1", 1, 0), 1);
  assert_int_equal(take("::ffff:10.0.0.1", 1, 0), 0);
  assert_int_equal(take("nonsense", 1, 0), 1);
  assert_int_equal(take("", 1, 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_address_has_a_burst_and_a_rate), cmocka_unit_test(all_together_have_one_too),
      cmocka_unit_test(addresses_are_told_apart_by_what_one_machine_has),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
