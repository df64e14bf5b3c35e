/* SPDX-License-Identifier: MIT */
/* Ternary layouts and types of values of other programs, against bytes and numbers that those programs made (see the README of
 * tests/fixtures/quantised). */
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/layouts.h"
#include "engine/matrix.h"
#include "kernels/i2s.h"

#define DIR TRIREME_FIXTURES "/quantised/"
enum { M = 4, K = 512, N = M * K };

static const struct layout {
  uint32_t type;
  const char *name;
  size_t block; /* columns that share bytes */
} layouts[] = {{TRI_TYPE_TQ1_0, "tq1_0", 256},
               {TRI_TYPE_TQ2_0, "tq2_0", 256},
               {TRI_TYPE_IQ1_BN, "iq1_bn", 64},
               {TRI_TYPE_IQ2_BN, "iq2_bn", 64},
               {TRI_TYPE_IQ2_BN_R4, "iq2_bn_r4", 64}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts, WRITTEN = LAYOUTS - 1 };

static size_t load(const char *name, void *out, size_t cap) {
  char path[256];
  snprintf(path, sizeof path, DIR "%s.bin", name);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t n = fread(out, 1, cap, f);
  fclose(f);
  return n;
}

static size_t bytes_of(uint32_t type, size_t m, size_t k) {
  uint64_t bytes;
  assert_true(tri_type_bytes(type, m * k, k, &bytes));
  return (size_t)bytes;
}

static void other_programs_bytes_hold_the_weights_that_they_were_made_of(void **state) {
  (void)state;
  static float want[N];
  static uint8_t bytes[4 * N], again[4 * N];
  static int8_t trits[N];
  assert_int_equal(load("ternary.f32", want, sizeof want), sizeof want);
  for (size_t i = 0; i < LAYOUTS; i++) {
    const struct layout *l = &layouts[i];
    float scales[M];
    assert_int_equal(load(l->name, bytes, sizeof bytes), bytes_of(l->type, M, K));
    assert_true(tri_layouts_unpack(l->type, bytes, K, 0, M, trits, scales));
    for (size_t e = 0; e < N; e++)
      if ((float)trits[e] * scales[e / K] != want[e]) fail_msg("%s: value %zu is %d times %g", l->name, e, trits[e], (double)scales[e / K]);
    assert_true(scales[M - 1] == 0);
    if (i == WRITTEN) continue;
    scales[M - 1] = 0.25f; /* nothing to scale there */
    tri_layouts_pack(l->type, trits, scales, K, 0, M, again);
    assert_memory_equal(again, bytes, bytes_of(l->type, l->block == 64 ? M - 1 : M, K)); /* ik_llama.cpp's zeros are codes of 2 */
  }
}

static void values_are_those_of_ggml(void **state) {
  (void)state;
  static const struct {
    uint32_t type;
    const char *name, *values;
  } types[] = {{TRI_TYPE_Q4_K, "q4_k", "q4_k.f32"}, {TRI_TYPE_Q5_0, "q5_0", "q5_0.f32"}, {TRI_TYPE_Q4_0, "q4_0", "q4_0.f32"},
               {TRI_TYPE_IQ4_NL, "iq4_nl", "iq4_nl.f32"}, {TRI_TYPE_Q8_0, "q8_0", "ternary.f32"}};
  static float want[N], got[N];
  static uint8_t bytes[4 * N];
  const tri_kernels *k = tri_kernels_get(TRI_ISA_PORTABLE);
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    assert_true(tri_matrix_is(types[i].type));
    assert_int_equal(load(types[i].name, bytes, sizeof bytes), bytes_of(types[i].type, M, K));
    assert_int_equal(load(types[i].values, want, sizeof want), sizeof want);
    tri_matrix_floats(k, types[i].type, bytes, N, got);
    /* Q8_0's ternary values come back as 127 times an f16 that was rounded */
    double most = types[i].type == TRI_TYPE_Q8_0 ? 5e-4 : 0;
    for (size_t e = 0; e < N; e++)
      if (!(fabs((double)(got[e] - want[e])) <= most * fabs((double)want[e])))
        fail_msg("%s: value %zu is %g, not %g", types[i].name, e, (double)got[e], (double)want[e]);
  }
}

/* Random trits of any number of blocks there and back, by parts. */
static void what_is_packed_is_unpacked(void **state) {
  (void)state;
  uint64_t seed = 5;
  for (size_t i = 0; i < WRITTEN; i++)
    for (size_t blocks = 1; blocks <= 5; blocks++) {
      size_t k = layouts[i].block * blocks, bytes = bytes_of(layouts[i].type, 7, k);
      int8_t *trits = malloc(7 * k), *got = malloc(7 * k);
      uint8_t *data = malloc(bytes);
      float scales[7], got_scales[7];
      for (size_t e = 0; e < 7 * k; e++) trits[e] = (int8_t)((int)(test_random(&seed) >> 33) % 3 - 1);
      for (size_t r = 0; r < 7; r++) scales[r] = (float)(test_random(&seed) >> 54 | 1) / 1024;
      tri_layouts_pack(layouts[i].type, trits, scales, k, 0, 3, data);
      tri_layouts_pack(layouts[i].type, trits + 3 * k, scales + 3, k, 3, 7, data);
      assert_true(tri_layouts_unpack(layouts[i].type, data, k, 0, 5, got, got_scales));
      assert_true(tri_layouts_unpack(layouts[i].type, data, k, 5, 7, got + 5 * k, got_scales + 5));
      assert_memory_equal(got, trits, 7 * k);
      assert_memory_equal(got_scales, scales, sizeof scales);
      free(trits), free(got), free(data);
    }
}

static void put_half(uint8_t *p, float x) {
  uint16_t h = tri_f16_from_f32(x);
  memcpy(p, &h, 2);
}

static void damage_is_noticed(void **state) {
  (void)state;
  static uint8_t good[4 * N], bytes[4 * N];
  static int8_t trits[N];
  static const float wrong[] = {NAN, INFINITY, -0.5f};
  for (size_t i = 0; i < LAYOUTS; i++) {
    const struct layout *l = &layouts[i];
    float scales[M];
    size_t n = load(l->name, good, sizeof good), row = n / M, noticed = 0;
    bool tq = l->block == 256, one = l->type == TRI_TYPE_IQ1_BN;
    /* every byte of codes that no writer makes */
    for (int value = 0; value < 256; value++) {
      memcpy(bytes, good, n);
      bytes[one ? 2 : tq ? 0 : 16] = (uint8_t)value;
      noticed += !tri_layouts_unpack(l->type, bytes, K, 0, M, trits, scales);
    }
    assert_int_equal(noticed, l->type == TRI_TYPE_TQ1_0 || one ? 256 - 243 : 256 - 81);
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
      memcpy(bytes, good, n);
      if (tq) put_half(bytes + row / 2 - 2, wrong[w]);
      else if (one) put_half(bytes, wrong[w]);
      else memcpy(bytes, &wrong[w], 4);
      assert_false(tri_layouts_unpack(l->type, bytes, K, 0, M, trits, scales));
    }
    memcpy(bytes, good, n);
    if (tq) put_half(bytes + row / 2 - 2, 3); /* two scales in a row */
    assert_true(tri_layouts_unpack(l->type, bytes, K, 0, M, trits, scales) != tq);
  }
  /* the last code of the bytes that hold four */
  load("tq1_0", bytes, sizeof bytes);
  bytes[48] = 2; /* ceil(256 / 243) */
  float scales[M];
  assert_false(tri_layouts_unpack(TRI_TYPE_TQ1_0, bytes, K, 0, M, trits, scales));
  load("iq1_bn", bytes, sizeof bytes);
  bytes[2 + 12] = 255; /* ceil(242 * 256 / 243) */
  assert_false(tri_layouts_unpack(TRI_TYPE_IQ1_BN, bytes, K, 0, M, trits, scales));
}

/* What bitnet.cpp's quantize_i2_s makes in its three builds, read by parts. */
static void i2_s_is_read_in_each_order(void **state) {
  (void)state;
  static const char *const names[] = {[TRI_I2S_X86] = "i2_s_x86", [TRI_I2S_ARM] = "i2_s_arm", [TRI_I2S_FOURS] = "i2_s_fours"};
  static float want[N];
  assert_int_equal(load("ternary.f32", want, sizeof want), sizeof want);
  for (int order = TRI_I2S_X86; order <= TRI_I2S_FOURS; order++) {
    uint8_t bytes[N / 4 + 32];
    int8_t got[N];
    float scale;
    assert_int_equal(load(names[order], bytes, sizeof bytes), sizeof bytes);
    if (order == TRI_I2S_X86) tri_i2s_trits(bytes, N, got);
    else if (order == TRI_I2S_FOURS) tri_layouts_i2s(TRI_I2S_FOURS, bytes, K, 0, M, got);
    else tri_layouts_i2s(TRI_I2S_ARM, bytes, K / 2, 0, 4, got), tri_layouts_i2s(TRI_I2S_ARM, bytes, K / 2, 4, 8, got + N / 2);
    for (size_t i = 0; i < N; i++)
      if (got[i] != (want[i] > 0) - (want[i] < 0)) fail_msg("%s: value %zu is %d", names[order], i, got[i]);
    memcpy(&scale, bytes + N / 4, sizeof scale);
    assert_true(scale == 0.5f); /* the largest size */
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_programs_bytes_hold_the_weights_that_they_were_made_of),
      cmocka_unit_test(values_are_those_of_ggml),
      cmocka_unit_test(what_is_packed_is_unpacked),
      cmocka_unit_test(damage_is_noticed),
      cmocka_unit_test(i2_s_is_read_in_each_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
