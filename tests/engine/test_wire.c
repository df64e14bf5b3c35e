/* SPDX-License-Identifier: MIT */
/* Rows between stages: bytes worked out by hand, what rounding may cost at most, and bytes from outside. */
#include "tests/test.h"
#include "engine/wire.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 2 * TRI_WIRE_BLOCK + 37, ROWS = 3 };

static const tri_kernels *kernels;
static uint64_t seed = 20251125;

static int pick(void **state) {
  (void)state;
  char why[256];
  return (kernels = tri_kernels_pick(why, sizeof why)) ? 0 : -1;
}

static float uniform(float most) { return most * ((float)(test_random(&seed) >> 40) / (1 << 23) - 1); }

static void rows_have_the_bytes_that_the_protocol_says(void **state) {
  (void)state;
  static const size_t want[][5] = {{1, 3, 3, 2, 4}, {32, 34, 18, 64, 128}, {33, 35, 21, 66, 132}, {64, 66, 36, 128, 256},
                                   {65, 69, 39, 130, 260}, {2560, 2640, 1440, 5120, 10240}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    assert_int_equal(tri_wire_row_bytes(TRI_WIRE_INT8, want[i][0]), want[i][1]);
    assert_int_equal(tri_wire_row_bytes(TRI_WIRE_INT4, want[i][0]), want[i][2]);
    assert_int_equal(tri_wire_row_bytes(TRI_WIRE_F16, want[i][0]), want[i][3]);
    assert_int_equal(tri_wire_row_bytes(TRI_WIRE_F32, want[i][0]), want[i][4]);
  }
}

static void int4_bytes_are_those_worked_out_by_hand(void **state) {
  (void)state;
  float x[35], back[35];
  for (int i = 0; i < 32; i++) x[i] = (float)(i % 16 - 8) / 4; /* the farthest is -2, so the scale is 0.25 */
  x[32] = 4, x[33] = 0.25f, x[34] = -3.6f;                     /* now it is positive: -0.5 */
  static const uint8_t want[] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
                                 0x80, 0x0f, 0x00, 0x34, 0x00, 0xb8}; /* 0.25 is half a unit of -0.5, and goes to the even 0 */
  uint8_t bytes[sizeof want];
  assert_int_equal(tri_wire_row_bytes(TRI_WIRE_INT4, 35), sizeof want);
  tri_wire_encode(kernels, TRI_WIRE_INT4, x, 1, 35, bytes);
  assert_memory_equal(bytes, want, sizeof want);
  tri_wire_decode(kernels, TRI_WIRE_INT4, bytes, 1, 35, back);
  assert_memory_equal(back, x, 33 * sizeof *x);
  assert_true(back[33] == 0 && back[34] == -3.5f);
}

/* Half a step of the block's scale is lost, or a whole one of INT4 where 8 is kept as 7; the scale itself is rounded too. */
static void little_is_lost(void **state) {
  (void)state;
  static float x[ROWS * MOST], back[ROWS * MOST];
  static uint8_t bytes[ROWS * 4 * MOST];
  static const struct { tri_wire wire; size_t block; double steps, whole; } types[] = {
      {TRI_WIRE_INT8, TRI_WIRE_BLOCK, 127, 0.5}, {TRI_WIRE_INT4, TRI_WIRE_BLOCK4, 8, 1}, {TRI_WIRE_F16, 1, 1024, 0.5}, {TRI_WIRE_F32, 1, 1, 0}};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (size_t d = 1; d <= MOST; d++) {
      for (size_t i = 0; i < ROWS * d; i++) x[i] = uniform(i % 7 ? 0.1f : 30);
      tri_wire_encode(kernels, types[t].wire, x, ROWS, d, bytes);
      tri_wire_decode(kernels, types[t].wire, bytes, ROWS, d, back);
      for (size_t i = 0; i < ROWS * d; i++) {
        size_t row = i / d * d, first = row + (i - row) / types[t].block * types[t].block;
        double top = 0;
        for (size_t j = first; j < first + types[t].block && j < row + d; j++) top = fmax(top, fabs(x[j]));
        double most = top / types[t].steps * types[t].whole * (1 + 1 / 512.0) + top / 2048 + 0x1p-24; /* the least that f16 has */
        if (types[t].wire == TRI_WIRE_F32) most = 0;
        if (fabs(x[i] - back[i]) > most)
          fail_msg("%s, d %zu, value %zu: %g became %g", tri_wire_name(types[t].wire), d, i, (double)x[i], (double)back[i]);
      }
    }
}

static void zeros_stay_zeros_and_what_is_no_number_does_no_harm(void **state) {
  (void)state;
  float x[64] = {0}, back[64];
  uint8_t bytes[256];
  for (int w = 0; w < TRI_WIRE_COUNT; w++) {
    memset(x, 0, sizeof x);
    tri_wire_encode(kernels, (tri_wire)w, x, 1, 64, bytes);
    tri_wire_decode(kernels, (tri_wire)w, bytes, 1, 64, back);
    for (int i = 0; i < 64; i++) assert_true(back[i] == 0);
    x[3] = NAN, x[40] = INFINITY, x[50] = -1e38f, x[60] = 1e-40f;
    tri_wire_encode(kernels, (tri_wire)w, x, 1, 64, bytes);
    tri_wire_decode(kernels, (tri_wire)w, bytes, 1, 64, back);
    for (int i = 0; i < 64; i++) assert_true(isfinite(back[i]));
  }
}

static void any_bytes_are_numbers(void **state) {
  (void)state;
  float x[MOST];
  uint8_t bytes[4 * MOST];
  for (int round = 0; round < 4000; round++) {
    size_t d = 1 + test_random(&seed) % MOST;
    tri_wire wire = (tri_wire)(test_random(&seed) % TRI_WIRE_COUNT);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = test_random(&seed) % 4 ? (uint8_t)(test_random(&seed) >> 32) : 0xff;
    tri_wire_decode(kernels, wire, bytes, 1, d, x);
    for (size_t i = 0; i < d; i++) assert_true(isfinite(x[i]));
  }
}

static void types_have_names(void **state) {
  (void)state;
  tri_error err;
  for (int w = 0; w < TRI_WIRE_COUNT; w++) {
    tri_wire wire;
    assert_ok(tri_wire_parse(tri_wire_name((tri_wire)w), &wire, &err), err);
    assert_int_equal(wire, w);
  }
  tri_wire wire;
  assert_fails(tri_wire_parse("int2", &wire, &err), TRI_E_INVALID, err, "int8, int4, f16, f32");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_have_the_bytes_that_the_protocol_says),
      cmocka_unit_test(int4_bytes_are_those_worked_out_by_hand),
      cmocka_unit_test(little_is_lost),
      cmocka_unit_test(zeros_stay_zeros_and_what_is_no_number_does_no_harm),
      cmocka_unit_test(any_bytes_are_numbers),
      cmocka_unit_test(types_have_names),
  };
  return cmocka_run_group_tests(tests, pick, NULL);
}
