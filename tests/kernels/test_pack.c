/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "tests/kernels/levels.h"

static void random_trits(uint64_t *seed, int8_t *trits, size_t n) {
  for (size_t i = 0; i < n; i++) trits[i] = (int8_t)((int)(test_random(seed) % 3) - 1);
}

/* trits -> file -> R16, at once and by single row blocks, and trits -> R16, agree with the trits. */
static void round_trip(size_t m, size_t k, uint64_t *seed) {
  size_t blocks = tri_round_up(m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS, bytes = tri_i2s_bytes(m, k);
  int8_t *trits = bytes_alloc(m * k), *back = bytes_alloc(m * k);
  uint8_t *file = bytes_alloc(m * k / 4), *direct = lines_alloc(bytes), *packed = lines_alloc(bytes);
  random_trits(seed, trits, m * k);
  tri_i2s_to_file(trits, m * k, file);
  assert_true(tri_i2s_check(file, m * k / 4));
  tri_i2s_trits(file, m * k, back);
  assert_memory_equal(trits, back, m * k);
  tri_i2s_from_trits(trits, m, k, direct);
  tri_i2s_from_file(file, m, k, packed, 0, blocks);
  assert_memory_equal(direct, packed, bytes);
  memset(packed, 0xff, bytes);
  for (size_t b = blocks; b-- > 0;) tri_i2s_from_file(file, m, k, packed, b, b + 1);
  assert_memory_equal(direct, packed, bytes);
  for (size_t r = 0; r < tri_round_up(m, TRI_BLOCK_ROWS); r++)
    for (size_t c = 0; c < tri_round_up(k, TRI_K_ALIGN); c++)
      if (tri_i2s_at(packed, k, r, c) != (r < m && c < k ? trits[r * k + c] : 0))
        fail_msg("[%zu, %zu] differs at (%zu, %zu)", m, k, r, c);
  free(trits), free(back), free(file), free(direct), free(packed);
}

static void packs_and_unpacks(void **state) {
  (void)state;
  static const size_t shapes[][2] = {{1, 128},  {16, 128},   {17, 256}, {4, 320},  {16, 8640}, {2, 64},  {8, 48},
                                     {128, 1},  {128, 3},    {40, 640}, {4, 96},   {33, 3200}, {64, 10}, {128, 17}};
  uint64_t seed = test_seed();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) round_trip(shapes[i][0], shapes[i][1], &seed);
}

/* The layout itself, spelt out: element e of the file, and where R16 puts it. */
static void layout_is_fixed(void **state) {
  (void)state;
  int8_t trits[256] = {0};
  uint8_t file[64];
  trits[3] = 1, trits[128 + 37] = -1;
  tri_i2s_to_file(trits, 256, file);
  for (int i = 0; i < 64; i++) assert_int_equal(file[i], i == 3 ? 0x95 : i == 37 ? 0x45 : 0x55);
  uint8_t *packed = lines_alloc(tri_i2s_bytes(2, 128));
  tri_i2s_from_file(file, 2, 128, packed, 0, 1);
  for (int i = 0; i < 512; i++) assert_int_equal(packed[i], i == 3 ? 0x95 : i == 64 + 4 + 1 ? 0x45 : 0x55);
  free(packed);
}

static void finds_code_3(void **state) {
  (void)state;
  uint8_t codes[67];
  for (size_t i = 0; i < sizeof codes; i++) codes[i] = i % 3 == 0 ? 0xaa : i % 3 == 1 ? 0x55 : 0x00;
  assert_true(tri_i2s_check(codes, sizeof codes));
  assert_true(tri_i2s_check(codes, 0));
  for (size_t i = 0; i < sizeof codes; i++)
    for (int shift = 0; shift < 8; shift += 2) {
      uint8_t old = codes[i];
      codes[i] |= (uint8_t)(3 << shift);
      assert_false(tri_i2s_check(codes, sizeof codes));
      codes[i] = old;
    }
}

static void f16_is_exact(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    float f = tri_f16_to_f32((uint16_t)h);
    int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 0x3ff);
    float sign = h & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31 && fraction) {
      assert_true(isnan(f));
      assert_int_equal(tri_f16_from_f32(f), h | 0x200);
      continue;
    }
    float want = exponent == 31  ? sign * INFINITY
                 : exponent == 0 ? sign * ldexpf((float)fraction, -24)
                                 : sign * ldexpf((float)(fraction + 1024), exponent - 25);
    assert_memory_equal(&f, &want, 4);
    assert_int_equal(tri_f16_from_f32(f), h);
  }
}

/* Between two neighbours a value goes to the nearer one, and from the middle to the even one. */
static void f16_rounds_to_even(void **state) {
  (void)state;
  for (uint16_t h = 0; h < 0x7bff; h++) {
    float low = tri_f16_to_f32(h), high = tri_f16_to_f32((uint16_t)(h + 1)), middle = low + (high - low) / 2;
    assert_int_equal(tri_f16_from_f32(middle), h & 1 ? h + 1 : h);
    assert_int_equal(tri_f16_from_f32(nextafterf(middle, 0)), h);
    assert_int_equal(tri_f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
    assert_int_equal(tri_f16_from_f32(-nextafterf(middle, INFINITY)), (h + 1) | 0x8000);
  }
  assert_int_equal(tri_f16_from_f32(65519.996f), 0x7bff);
  assert_int_equal(tri_f16_from_f32(65520.0f), 0x7c00);
  assert_int_equal(tri_f16_from_f32(-1e30f), 0xfc00);
  assert_int_equal(tri_f16_from_f32(1e-30f), 0);
}

static void q8_file_round_trip(void **state) {
  (void)state;
  enum { M = 19, K = 96, GROUPS = K / 32, BLOCKS = 2 };
  uint64_t seed = test_seed();
  float x[M * K];
  random_floats(&seed, x, M * K, 3);
  memset(x + 2 * K, 0, K * sizeof *x); /* an all-zero row */
  x[3 * K] = 1e-30f;                   /* a group whose scale is lost in f16 beside zeros */
  memset(x + 3 * K + 1, 0, 31 * sizeof *x);
  uint8_t file[M * GROUPS * 34];
  tri_q8_to_file(x, M * K, file);
  int8_t *q = lines_alloc(BLOCKS * GROUPS * 512);
  float d[BLOCKS * GROUPS * 16];
  tri_q8_from_file(file, M, K, q, d, 0, 1);
  tri_q8_from_file(file, M, K, q, d, 1, 2);
  for (size_t r = 0; r < BLOCKS * 16; r++)
    for (size_t c = 0; c < K; c++) {
      size_t at = r / 16 * GROUPS + c / 32;
      int value = q[at * 512 + c % 32 / 4 * 64 + r % 16 * 4 + c % 4];
      float scale = d[at * 16 + r % 16];
      if (r >= M) {
        assert_true(value == 0 && scale == 0);
        continue;
      }
      assert_int_equal(value, (int8_t)file[(r * GROUPS + c / 32) * 34 + 2 + c % 32]);
      assert_true(value >= -127);
      assert_true(fabsf(scale * (float)value - x[r * K + c]) <= scale * 0.57f + 1e-7f);
    }
  free(q);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packs_and_unpacks), cmocka_unit_test(layout_is_fixed),    cmocka_unit_test(finds_code_3),
      cmocka_unit_test(f16_is_exact),      cmocka_unit_test(f16_rounds_to_even), cmocka_unit_test(q8_file_round_trip),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
