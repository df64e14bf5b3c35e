/* SPDX-License-Identifier: MIT */
/* Traced steps: from the coordinator's document to where in time each stage had them, and how busy it was. */
#include "tests/test.h"
#include "cli/steps.h"

#include <stdio.h>
#include <stdlib.h>

static tri_steps steps;
static tri_steps_measure measured;
static tri_error err;

static int clear(void **state) {
  (void)state;
  tri_steps_free(&steps);
  return 0;
}

static tri_status add(const char *list) {
  char text[4096];
  snprintf(text, sizeof text, "{\"wrong\":0,\"steps\":[%s],\"more\":false}", list);
  return tri_steps_add(&steps, text, strlen(text), &err);
}
static void added(const char *list) { assert_ok(add(list), err); }

#define STEP(id, sent, took, stages, runs) \
  "{\"step\":" #id ",\"epoch\":1,\"sent_us\":" #sent ",\"took_us\":" #took ",\"stages\":[" stages "],\"runs\":[" runs "]}"

static void what_stages_leave_is_spread_over_the_ways(void **state) {
  (void)state;
  added(STEP(5, 1000, 100, "[10,20],[0,30]", "[1,1,0]")); /* 40 us for three ways */
  tri_steps_place(&steps);
  assert_int_equal(steps.n, 1);
  assert_int_equal(steps.last, 5);
  assert_int_equal(steps.parts[0].arrived_us, 1013);
  assert_int_equal(steps.parts[0].start_us, 1023);
  assert_int_equal(steps.parts[1].arrived_us, 1056);
  assert_int_equal(steps.parts[1].start_us, 1056); /* and 14 us from 1086 to the result */
}

/* The second would have begun at 1030 in the first stage, which had the first one until 1040: so it was 10 us longer on its way. */
static void a_stage_has_one_step_after_the_other(void **state) {
  (void)state;
  added(STEP(1, 1000, 60, "[0,30],[0,0]", "[1,1,0]") "," STEP(2, 1020, 60, "[0,30],[0,0]", "[2,1,0]"));
  tri_steps_place(&steps);
  assert_int_equal(steps.parts[0].start_us, 1010);
  assert_int_equal(steps.parts[2].start_us, 1040);
  assert_int_equal(steps.parts[3].start_us, 1075);
}

/* However steps come, none is before its sending or after its result, and in a stage with ways to spare none overlap. */
static void places_are_within_the_round_trip(void **state) {
  (void)state;
  uint64_t random = 11;
  char one[512];
  int64_t sent = 1000;
  for (int i = 1; i <= 2000; i++) {
    unsigned n[4];
    for (int j = 0; j < 4; j++) n[j] = (unsigned)(test_random(&random) >> 33) % 50;
    sent += (int64_t)(test_random(&random) >> 33) % 60;
    snprintf(one, sizeof one, "{\"step\":%d,\"epoch\":%d,\"sent_us\":%lld,\"took_us\":%u,\"stages\":[[%u,%u],[%u,%u]],\"runs\":[[1,1,0]]}", i,
             1 + i / 500, (long long)sent, n[0] + n[1] + n[2] + n[3] + (unsigned)(test_random(&random) >> 33) % 90, n[0], n[1], n[2], n[3]);
    added(one);
  }
  tri_steps_place(&steps);
  for (size_t i = 0; i < steps.n; i++) {
    int64_t at = steps.one[i].sent_us;
    for (int j = 0; j < 2; j++) {
      const tri_steps_part *p = &steps.parts[steps.one[i].parts + (size_t)j];
      assert_true(p->arrived_us >= at);
      assert_int_equal(p->start_us, p->arrived_us + p->wait_us);
      at = p->start_us + p->compute_us;
    }
    assert_true(at <= steps.one[i].sent_us + steps.one[i].took_us);
  }
}

static void busy_is_a_share_of_the_time(void **state) {
  (void)state;
  /* one after the other through two stages: 40 us in the first, 10 in the second, 10 on each of three ways, 20 waiting */
  added(STEP(1, 0, 100, "[20,40],[0,10]", "[1,3,1],[2,1,0]") "," STEP(2, 100, 100, "[20,40],[0,10]", "[1,1,0],[2,1,0]"));
  tri_steps_place(&steps);
  tri_steps_measure_within(&steps, 0, 200, &measured);
  assert_int_equal(measured.steps, 2);
  assert_int_equal(measured.n_stages, 2);
  assert_float_equal(measured.stage[0].busy, 0.4, 1e-9);
  assert_float_equal(measured.stage[1].busy, 0.1, 1e-9);
  assert_float_equal(measured.bubble_slowest, 0.6, 1e-9);
  assert_float_equal(measured.bubble_mean, 0.75, 1e-9);
  assert_float_equal(measured.rows, 3, 1e-9);
  assert_float_equal(measured.prompt_rows, 1.5, 1e-9);
  assert_float_equal(measured.on_way, 1, 1e-9);
  assert_float_equal(measured.hop_us, 10, 1e-9);
  assert_float_equal(measured.wait_us, 20, 1e-9);
  assert_float_equal(measured.compute_us, 50, 1e-9);
  assert_float_equal(measured.took_us, 100, 1e-9);
  tri_steps_measure_within(&steps, 130, 170, &measured); /* the first stage has the second step all the while */
  assert_float_equal(measured.stage[0].busy, 1, 1e-9);
  assert_float_equal(measured.stage[1].busy, 0, 1e-9);
  assert_int_equal(measured.steps, 0);
}

static void windows_are_while_all_streams_are_under_way(void **state) {
  (void)state;
  const tri_span two[] = {{0, 10, 100}, {5, 30, 80}, {85, 95, 160}}; /* the third takes the second one's place */
  int64_t from, to;
  assert_true(tri_span_window(two, 3, 2, &from, &to));
  assert_int_equal(from, 30);
  assert_int_equal(to, 100);
  assert_true(tri_span_window(two, 3, 0, &from, &to));
  assert_int_equal(from, 0);
  assert_int_equal(to, 160);
  assert_false(tri_span_window(two, 3, 4, &from, &to));
  assert_false(tri_span_window(two, 0, 0, &from, &to));
  const tri_span never[] = {{0, 10, 20}, {15, 30, 80}}; /* one was over before the other had a token */
  assert_false(tri_span_window(never, 2, 2, &from, &to));
}

static void steps_tell_when_their_jobs_were_under_way(void **state) {
  (void)state;
  int64_t from, to;
  bool found;
  added(STEP(1, 100, 50, "[0,1]", "[7,4,1]") "," STEP(2, 120, 60, "[0,1]", "[9,4,1]") "," STEP(3, 155, 30, "[0,1]", "[7,1,0]") ","
        STEP(4, 185, 30, "[0,1]", "[9,1,0]") "," STEP(5, 190, 60, "[0,1]", "[7,1,0]") "," STEP(6, 220, 90, "[0,1]", "[9,1,0]"));
  assert_ok(tri_steps_window(&steps, 2, &from, &to, &found, &err), err);
  assert_true(found);
  assert_int_equal(from, 185); /* the second job's first token was there */
  assert_int_equal(to, 250);   /* the first job's last one came */
  assert_ok(tri_steps_window(&steps, 3, &from, &to, &found, &err), err);
  assert_false(found);
}

static void documents_that_make_no_sense_are_refused(void **state) {
  (void)state;
  const char *const wrong[] = {
      STEP(0, 1, 9, "[1,1]", "[1,1,0]"),   STEP(-1, 1, 9, "[1,1]", "[1,1,0]"), STEP(1, 1, 9, "", "[1,1,0]"),    STEP(1, 1, 9, "[1,1]", ""),
      STEP(1, 1, 9, "[5,5]", "[1,1,0]"),   STEP(1, 1, 9, "[1]", "[1,1,0]"),    STEP(1, 1, 9, "1", "[1,1,0]"),   STEP(1, 1, 9, "[1,1]", "[1,1]"),
      STEP(1, 1, 9, "[1,1]", "[1,1,2]"),   STEP(1, 1, 9, "[1,-1]", "[1,1,0]"), STEP(1, 1, 1e3, "[1,1]", "[1,1,0]"),
      STEP(1, 1, 9, "[1,1]", "[1,9999,0]"), STEP(1, 9223372036854775807, 9, "[1,1]", "[1,1,0]"), "7", "{}", "[]"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_fails(add(wrong[i]), TRI_E_PROTOCOL, err, "makes no sense");
    tri_steps_free(&steps);
  }
  added(STEP(2, 1, 9, "[1,1]", "[1,1,0]"));
  assert_fails(add(STEP(2, 1, 9, "[1,1]", "[1,1,0]")), TRI_E_PROTOCOL, err, "at step 2"); /* again */
  const char *const none[] = {"", "{", "[]", "{}", "{\"steps\":7}", "{\"steps\":{}}", "null"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_fails(tri_steps_add(&steps, none[i], strlen(none[i]), &err), TRI_E_PROTOCOL, err, "has no steps");
}

int main(void) {
#define TEST(f) cmocka_unit_test_teardown(f, clear)
  const struct CMUnitTest tests[] = {
      TEST(what_stages_leave_is_spread_over_the_ways),     TEST(a_stage_has_one_step_after_the_other),
      TEST(places_are_within_the_round_trip),              TEST(busy_is_a_share_of_the_time),
      TEST(windows_are_while_all_streams_are_under_way),   TEST(steps_tell_when_their_jobs_were_under_way),
      TEST(documents_that_make_no_sense_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
