/* SPDX-License-Identifier: MIT */
/* The gauge over links that the test plays: a way there and back, and a rate each way. */
#include "tests/test.h"

#include "worker/gauge.h"

typedef struct line {
  double rtt_us, down_mbit, up_mbit;
  double up_free_us, down_free_us; /* when each direction has sent all it has */
  uint64_t down_bytes, up_bytes;
} line;

/* Bits of a megabit link take so many us. */
static double take_us(size_t bytes, double mbit) { return (double)bytes * 8 / mbit; }
static double later(double a, double b) { return a > b ? a : b; }

/* Runs a gauge over the line, with answers in the order of the questions. Returns when it was done, in us. */
static double run(tri_gauge *g, line *l, bool busy) {
  double now = 1000;
  tri_gauge_begin(g);
  for (int rounds = 0; g->phase != TRI_GAUGE_DONE; rounds++) {
    tri_msg_ping ping[64];
    double arrives[64];
    size_t n = 0, payload;
    assert_true(rounds < 100);
    while (tri_gauge_next(g, (int64_t)now, &ping[n], &payload)) {
      l->up_free_us = later(now, l->up_free_us) + take_us(payload, l->up_mbit);
      l->down_free_us = later(l->up_free_us + l->rtt_us / 2, l->down_free_us) + take_us(busy ? 0 : ping[n].bytes, l->down_mbit);
      arrives[n] = l->down_free_us + l->rtt_us / 2;
      l->up_bytes += payload, l->down_bytes += ping[n].bytes;
      assert_true(++n < 64);
    }
    for (size_t i = 0; i < n; i++) {
      tri_msg_pong pong = {.id = ping[i].id, .busy = busy};
      now = arrives[i];
      tri_gauge_pong(g, &pong, busy ? 0 : ping[i].bytes, (int64_t)now);
      tri_gauge_pong(g, &pong, busy ? 0 : ping[i].bytes, (int64_t)now); /* one that comes twice changes nothing */
    }
  }
  return now;
}

static void near(double got, double expected, double part) {
  if (got < expected * (1 - part) || got > expected * (1 + part)) fail_msg("%g, expected about %g", got, expected);
}

/* What the line does comes out, to the rounding's 1/16 and what a microsecond's grain does to the fastest; and it takes not too long. */
static void finds_what_a_line_does(void **state) {
  (void)state;
  static const line lines[] = {
      {.rtt_us = 150, .down_mbit = 940, .up_mbit = 940}, {.rtt_us = 90, .down_mbit = 9400, .up_mbit = 2500},
      {.rtt_us = 400, .down_mbit = 94, .up_mbit = 94},   {.rtt_us = 25000, .down_mbit = 50, .up_mbit = 10},
      {.rtt_us = 8000, .down_mbit = 16, .up_mbit = 1},   {.rtt_us = 30, .down_mbit = 20000, .up_mbit = 20000},
  };
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    tri_gauge g = {0};
    line l = lines[i];
    double took_us = run(&g, &l, false);
    near(g.figures.rtt_us, l.rtt_us, 0.07);
    near(g.figures.down_kbps, l.down_mbit * 1000, 0.09);
    near(g.figures.up_kbps, l.up_mbit * 1000, 0.09);
    assert_true(l.down_bytes <= 7 << 20 && l.up_bytes <= 7 << 20);
    /* a slow line's smallest train: 32 KB */
    assert_true(took_us < 600000 + 30 * l.rtt_us + take_us(32 << 10, l.up_mbit) + take_us(32 << 10, l.down_mbit));
  }
}

/* Within a step all is the same; a step is 6 to 12 percent. */
static void a_wobble_changes_little(void **state) {
  (void)state;
  uint64_t seed = 11;
  uint32_t least = UINT32_MAX, most = 0;
  for (int i = 0; i < 200; i++) {
    uint32_t kbps = tri_gauge_kbps(1000000, 9150 + (int64_t)(test_random(&seed) % 300)); /* 847 to 874 Mbit/s */
    if (kbps < least) least = kbps;
    if (kbps > most) most = kbps;
  }
  assert_int_equal(least, most);
  assert_int_equal(tri_gauge_kbps(1, 0), 0);
  assert_int_equal(tri_gauge_kbps(UINT64_MAX / 8000, 1), UINT32_MAX);
}

static void keeps_off_a_busy_coordinator(void **state) {
  (void)state;
  tri_gauge g = {0};
  line l = {.rtt_us = 200, .down_mbit = 940, .up_mbit = 940};
  run(&g, &l, true);
  near(g.figures.rtt_us, 200, 0.07);
  assert_int_equal(g.figures.down_kbps, 0);
  assert_int_equal(g.figures.up_kbps, 0);
  assert_int_equal(l.down_bytes + l.up_bytes, 0);
}

/* Answers of a measurement that was given up, of no question, or of the wrong length. */
static void answers_to_nothing_change_nothing(void **state) {
  (void)state;
  tri_gauge g = {0};
  tri_msg_ping ping;
  size_t payload;
  tri_gauge_begin(&g);
  assert_true(tri_gauge_next(&g, 0, &ping, &payload));
  assert_false(tri_gauge_next(&g, 0, &ping, &payload));
  uint32_t old = ping.id;
  tri_gauge_begin(&g);
  tri_gauge_pong(&g, &(tri_msg_pong){.id = old}, 0, 5);
  assert_true(tri_gauge_next(&g, 100, &ping, &payload));
  tri_gauge_pong(&g, &(tri_msg_pong){.id = old}, 0, 105);
  tri_gauge_pong(&g, &(tri_msg_pong){.id = ping.id + 1}, 0, 105);
  tri_gauge before = g;
  tri_gauge_pong(&g, &(tri_msg_pong){.id = ping.id}, 0, 50); /* before it was asked */
  assert_memory_equal(&before, &g, sizeof g);
  line l = {.rtt_us = 200, .down_mbit = 940, .up_mbit = 940};
  run(&g, &l, false);
  tri_gauge_begin(&g);
  for (int i = 0; i < TRI_GAUGE_ALONE; i++) {
    assert_true(tri_gauge_next(&g, 1000 * i, &ping, &payload));
    tri_gauge_pong(&g, &(tri_msg_pong){.id = ping.id}, 0, 1000 * i + 100);
  }
  assert_int_equal(g.phase, TRI_GAUGE_DOWN);
  assert_true(tri_gauge_next(&g, 100000, &ping, &payload));
  tri_gauge_pong(&g, &(tri_msg_pong){.id = ping.id}, ping.bytes - 1, 100200);
  assert_int_equal(g.phase, TRI_GAUGE_DONE);
  assert_int_equal(g.figures.down_kbps, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_what_a_line_does),
      cmocka_unit_test(a_wobble_changes_little),
      cmocka_unit_test(keeps_off_a_busy_coordinator),
      cmocka_unit_test(answers_to_nothing_change_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
