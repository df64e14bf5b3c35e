/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/trace.h"

enum { STAGES = 3, PROMPT = 4, S_US = 1000000 };

static tri_trace trace;
static tri_jobs jobs;
static tri_scheduler scheduler; /* of which only the newest step is looked at */
static uint64_t job, next_step;
static int64_t now_us;
static tri_error err;
static const tri_peer me = {.route = "me", .route_len = 2}, other = {.route = "you", .route_len = 3};
static const tri_times plain = {.n = STAGES, .wait_us = {1, 2, 3}, .compute_us = {10, 20, 30}};

static int start(void **state) {
  (void)state;
  const int32_t ids[PROMPT] = {1, 2, 3, 4};
  tri_msg_submit m = {.protocol = TRI_PROTOCOL, .ids = true, .want = TRI_WANT_SAMPLE, .predict = 9,
                      .sampling = {.top_p = 1, .repeat_penalty = 1}};
  tri_incoming from = {.payload = (const uint8_t *)ids, .payload_len = sizeof ids};
  tri_job *made;
  uint32_t ahead;
  now_us = 5000, next_step = 1;
  tri_jobs_init(&jobs, NULL, 100, 1000, &(tri_jobs_limits){0});
  assert_ok(tri_jobs_submit(&jobs, &m, &from, now_us, &made, &ahead, &err), err);
  job = made->id;
  scheduler = (tri_scheduler){.jobs = &jobs, .epoch = 7};
  return 0;
}

static int stop(void **state) {
  (void)state;
  tri_trace_free(&trace);
  tri_jobs_free(&jobs);
  return 0;
}

static void ask(const tri_peer *who, tri_trace_action action) { assert_ok(tri_trace_ask(&trace, who, action, now_us, &err), err); }

/* A step with rows of our job. */
static bool send_rows(uint32_t pos, uint32_t rows) {
  scheduler.n_flights = 1;
  scheduler.flights[scheduler.oldest] = (tri_flight){.step = next_step++, .n_runs = 1, .n_rows = rows,
                                                     .runs = {{.job = job, .pos = pos, .rows = rows}}};
  return tri_trace_sent(&trace, &scheduler, now_us);
}
static void land(uint64_t id, const tri_times *times) { tri_trace_landed(&trace, id, times, STAGES, now_us); }

static void nothing_is_kept_unless_asked_for(void **state) {
  (void)state;
  assert_false(send_rows(0, PROMPT));
  land(1, &(tri_times){0});
  assert_null(trace.steps);
}

static void a_step_tells_what_was_in_it_and_how_long_it_took(void **state) {
  (void)state;
  ask(&me, TRI_TRACE_ON);
  assert_true(send_rows(0, PROMPT));
  now_us += 10;
  assert_true(send_rows(PROMPT, 1));
  assert_null(tri_trace_next(&trace, 0));
  now_us += 100;
  land(1, &plain);
  now_us += 5;
  land(2, &plain);
  const tri_trace_step *s = tri_trace_next(&trace, 0);
  assert_int_equal(s->id, 1);
  assert_int_equal(s->epoch, 7);
  assert_int_equal(s->sent_us, 5000);
  assert_int_equal(s->took_us, 110);
  assert_int_equal(s->n_stages, STAGES);
  assert_memory_equal(s->wait_us, plain.wait_us, STAGES * sizeof *s->wait_us);
  assert_memory_equal(s->compute_us, plain.compute_us, STAGES * sizeof *s->compute_us);
  assert_int_equal(s->n_runs, 1);
  assert_int_equal(s->runs[0].job, job);
  assert_int_equal(s->runs[0].rows, PROMPT);
  assert_true(s->runs[0].prompt);
  s = tri_trace_next(&trace, 1);
  assert_int_equal(s->id, 2);
  assert_int_equal(s->took_us, 105);
  assert_false(s->runs[0].prompt);
  assert_null(tri_trace_next(&trace, 2));
  assert_null(tri_trace_next(&trace, UINT64_MAX));
}

static void times_that_make_no_sense_are_not_kept(void **state) {
  (void)state;
  tri_times fewer = plain, longer = plain, huge = plain;
  fewer.n--, longer.compute_us[1] = 35 /* 66 us and 15 more, where it took 80 */, huge.wait_us[0] = huge.wait_us[1] = UINT32_MAX;
  const tri_times *const told[] = {&fewer, &plain, &longer, &huge};
  ask(&me, TRI_TRACE_ON);
  for (int i = 0; i < 4; i++) send_rows(0, 1);
  now_us += 80;
  for (uint64_t i = 0; i < 4; i++) land(i + 1, told[i]);
  assert_int_equal(trace.wrong, 3);
  assert_int_equal(tri_trace_next(&trace, 0)->id, 2);
  assert_null(tri_trace_next(&trace, 2));
}

static void the_last_ones_are_kept(void **state) {
  (void)state;
  enum { MORE = 1000 };
  ask(&me, TRI_TRACE_ON);
  for (int i = 0; i < TRI_TRACE_STEPS + MORE; i++) {
    send_rows(0, 1);
    now_us += 80;
    land(next_step - 1, &plain);
  }
  for (int i = 0; i < TRI_MAX_FLIGHTS; i++) send_rows(0, 1); /* those on their way push none out */
  uint64_t after = 0, n = 0;
  for (const tri_trace_step *s; (s = tri_trace_next(&trace, after)); n++) {
    assert_int_equal(s->id, n ? after + 1 : MORE + 1);
    after = s->id;
  }
  assert_int_equal(n, TRI_TRACE_STEPS);
  tri_trace_lost(&trace); /* nor does their loss */
  assert_int_equal(tri_trace_next(&trace, 0)->id, MORE + 1);
  assert_int_equal(tri_trace_next(&trace, after - 1)->id, after);
  send_rows(0, 1);
  now_us += 80;
  land(next_step - 2, &plain); /* of the lost ones */
  assert_null(tri_trace_next(&trace, after));
  land(next_step - 1, &plain);
  assert_int_equal(tri_trace_next(&trace, after)->id, next_step - 1);
}

static void steps_on_their_way_when_it_began_are_passed_over(void **state) {
  (void)state;
  assert_false(send_rows(0, 1));
  ask(&me, TRI_TRACE_ON);
  assert_true(send_rows(0, 1));
  now_us += 80;
  land(1, &(tri_times){0});
  land(2, &plain);
  assert_int_equal(tri_trace_next(&trace, 0)->id, 2);
  assert_int_equal(trace.wrong, 0);
}

static void it_ends_with_the_last_who_asks(void **state) {
  (void)state;
  assert_fails(tri_trace_ask(&trace, &me, TRI_TRACE_GET, now_us, &err), TRI_E_INVALID, err, "no trace was begun");
  ask(&me, TRI_TRACE_OFF); /* no harm */
  ask(&me, TRI_TRACE_ON), ask(&me, TRI_TRACE_ON), ask(&other, TRI_TRACE_ON);
  ask(&me, TRI_TRACE_OFF);
  assert_true(send_rows(0, 1));
  ask(&other, TRI_TRACE_OFF);
  assert_null(trace.steps);
  assert_false(send_rows(0, 1));
}

static void who_has_gone_is_forgotten(void **state) {
  (void)state;
  ask(&me, TRI_TRACE_ON);
  now_us += TRI_TRACE_LEASE_US - S_US;
  ask(&me, TRI_TRACE_GET);
  now_us += TRI_TRACE_LEASE_US - S_US;
  assert_true(send_rows(0, 1));
  now_us += S_US;
  assert_false(send_rows(0, 1));
  assert_null(trace.steps);
  assert_fails(tri_trace_ask(&trace, &me, TRI_TRACE_GET, now_us, &err), TRI_E_INVALID, err, "no trace was begun");
}

static void there_is_room_for_some_only(void **state) {
  (void)state;
  for (uint8_t i = 0; i < TRI_TRACE_ASKERS; i++) ask(&(tri_peer){.route = {i}, .route_len = 1}, TRI_TRACE_ON);
  assert_fails(tri_trace_ask(&trace, &me, TRI_TRACE_ON, now_us, &err), TRI_E_BUSY, err, "8 clients");
  now_us += TRI_TRACE_LEASE_US;
  ask(&me, TRI_TRACE_ON);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
  const struct CMUnitTest tests[] = {
      TEST(nothing_is_kept_unless_asked_for),       TEST(a_step_tells_what_was_in_it_and_how_long_it_took),
      TEST(times_that_make_no_sense_are_not_kept),  TEST(the_last_ones_are_kept),
      TEST(steps_on_their_way_when_it_began_are_passed_over), TEST(it_ends_with_the_last_who_asks),
      TEST(who_has_gone_is_forgotten),              TEST(there_is_room_for_some_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
