/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/health.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static tri_health health;
static int64_t now_ms;
static char why[TRI_MAX_NAME];

static tri_health_record *record(uint8_t first) {
  const uint8_t key[TRI_KEY_BYTES] = {first, 1};
  return tri_health_of(&health, key, now_ms);
}

static int start(void **state) {
  (void)state;
  health = (tri_health){0};
  now_ms = HOUR;
  return 0;
}

static void who_is_lost_too_often_is_left_out_for_longer_each_time(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  const int64_t out_s[] = {60, 120, 240};
  for (int i = 0; i < 3; i++) {
    assert_false(tri_health_lost(r, now_ms += SECOND));
    assert_false(tri_health_lost(r, now_ms += SECOND));
    assert_false(tri_health_is_out(r, now_ms, why));
    assert_true(tri_health_lost(r, now_ms += SECOND));
    assert_false(tri_health_unwilling(r));
    assert_true(tri_health_is_out(r, now_ms + out_s[i] * SECOND - 1, why));
    assert_string_equal(why, "failed 3 times in a short time; back in 1 s");
    assert_false(tri_health_is_out(r, now_ms += out_s[i] * SECOND, why));
  }
  for (int i = 0; i < 100; i++) {
    if (tri_health_lost(r, now_ms += SECOND)) assert_true(r->out_until_ms - now_ms <= TRI_HEALTH_OUT_MAX_MS);
    if (tri_health_is_out(r, now_ms, why)) now_ms = r->out_until_ms;
  }
  assert_int_equal(r->out_ms, TRI_HEALTH_OUT_MAX_MS);
  now_ms += HOUR + 6 * MINUTE; /* forgiven */
  r->losses = 0;
  for (int i = 0; i < 3; i++) tri_health_lost(r, now_ms += SECOND);
  assert_int_equal(r->out_ms, MINUTE);
}

static void rare_losses_are_nothing(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  for (int i = 0; i < 100; i++) assert_false(tri_health_lost(r, now_ms += 3 * MINUTE));
}

static void who_is_back_is_noticed_once(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  record(2);
  for (int i = 0; i < TRI_HEALTH_LOSSES; i++) tri_health_lost(r, now_ms);
  assert_false(tri_health_came_back(&health, now_ms, now_ms + MINUTE - 1));
  assert_true(tri_health_came_back(&health, now_ms + MINUTE - 1, now_ms + MINUTE));
  assert_false(tri_health_came_back(&health, now_ms + MINUTE, now_ms + HOUR));
}

enum { SPAN_MS = 10 * SECOND };
static uint64_t steps;

/* 50 more steps within a look's time took so many times as long. */
static bool look(tri_health_record *r, double ratio) { return tri_health_tempo(r, ratio, steps += 50, SPAN_MS, now_ms += SPAN_MS); }

static void another_speed_is_believed_when_it_lasts(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  steps = 0;
  for (int i = 0; i < 10; i++) assert_false(look(r, 1.4)); /* not much */
  assert_false(look(r, 3) || look(r, 2.5));
  assert_false(look(r, 1)); /* it was something that passes */
  assert_false(look(r, 3) || look(r, 0.3) || look(r, 2.5) || look(r, 3));
  assert_true(look(r, 4));
  assert_true(r->slow == 2.5); /* the least of what was seen */
  for (int i = 0; i < 10; i++) assert_false(look(r, 2.9) || look(r, 2));
  assert_false(look(r, 0.9) || look(r, 1.2));
  assert_true(look(r, 0.5));
  assert_true(r->slow == 1.2);
  tri_health_hello(r);
  assert_true(r->slow == 1);
}

static void looks_need_time_and_steps(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  for (int i = 0; i < 100; i++) assert_false(tri_health_tempo(r, 9, 1000, SPAN_MS, now_ms += SPAN_MS)); /* it is idle since */
  r->looks = 0;
  for (int i = 0; i < 100; i++) assert_false(tri_health_tempo(r, 9, 1000 + 50 * (uint64_t)i, SPAN_MS, now_ms + 1)); /* all in one moment */
  r->looks = 0, r->look_steps = 0;
  bool changed = false;
  int n = 0;
  for (; n < 100 && !changed; n++) changed = tri_health_tempo(r, 9, 10 * (uint64_t)n, SPAN_MS, now_ms += SPAN_MS);
  assert_int_equal(n, 2 * TRI_HEALTH_LOOKS + 1); /* each second time there are enough */
}

static void who_has_no_stage_is_given_another_chance_in_the_end(void **state) {
  (void)state;
  tri_health_record *r = record(1);
  steps = 0;
  for (int64_t keep_ms = TRI_HEALTH_KEEP_MS; keep_ms < 2 * TRI_HEALTH_KEEP_MAX_MS; keep_ms *= 2) {
    if (keep_ms > TRI_HEALTH_KEEP_MAX_MS) keep_ms = TRI_HEALTH_KEEP_MAX_MS;
    assert_true((look(r, 4), look(r, 4), look(r, 4)));
    assert_false(tri_health_forget(&health, now_ms + keep_ms - 1));
    assert_true(r->slow == 4);
    assert_true(tri_health_forget(&health, now_ms += keep_ms));
    assert_true(r->slow == 1);
    assert_false(tri_health_forget(&health, now_ms + HOUR));
  }
}

static void those_who_are_drained_are_never_forgotten(void **state) {
  (void)state;
  record(7)->drained = true;
  for (int i = 0; i < 3 * TRI_HEALTH_KEYS; i++) {
    now_ms++;
    const uint8_t key[TRI_KEY_BYTES] = {(uint8_t)i, (uint8_t)(i >> 8), 9};
    tri_health_of(&health, key, now_ms)->leaving = true;
  }
  assert_int_equal(health.count, TRI_HEALTH_KEYS);
  assert_int_equal(tri_health_drained(&health), 1);
  assert_true(tri_health_is_out(record(7), now_ms, why));
  assert_true(tri_health_unwilling(record(7)));
  assert_string_equal(why, "drained");
  const uint8_t unknown[TRI_KEY_BYTES] = {8, 1};
  assert_null(tri_health_find(&health, unknown));
  assert_false(tri_health_is_out(record(8), now_ms, why));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(who_is_lost_too_often_is_left_out_for_longer_each_time, start),
      cmocka_unit_test_setup(rare_losses_are_nothing, start),
      cmocka_unit_test_setup(who_is_back_is_noticed_once, start),
      cmocka_unit_test_setup(another_speed_is_believed_when_it_lasts, start),
      cmocka_unit_test_setup(looks_need_time_and_steps, start),
      cmocka_unit_test_setup(who_has_no_stage_is_given_another_chance_in_the_end, start),
      cmocka_unit_test_setup(those_who_are_drained_are_never_forgotten, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
