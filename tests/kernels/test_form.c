/* SPDX-License-Identifier: MIT */
/* Packing into the run-time forms, against their layouts in form.h written once more, weight by weight. */
#include "kernels/form.h"
#include "tests/kernels/levels.h"

static int tl1_at(const uint8_t *block, size_t i, size_t c) {
  size_t at = c % 64 / 2, u = at / 4;
  int code = block[c / 64 * 256 + u / 2 * 64 + at % 4 * 16 + i] >> (u % 2 ? 4 : 0) & 15;
  assert_true(code < 9);
  return c % 2 == 0 ? code / 3 - 1 : code % 3 - 1;
}

static int tl2_at(const uint8_t *block, size_t i, size_t c) {
  const uint8_t *group = block + c / 96 * 320;
  size_t at = c % 96 / 3, u = at / 4;
  int sum = group[u / 2 * 64 + at % 4 * 16 + i] >> (u % 2 ? 4 : 0) & 15;
  bool negative = group[256 + at % 4 * 16 + i] >> u & 1;
  assert_true(sum < 14 && (sum || !negative));
  for (int n = 0; n < 27; n++) { /* the one of 27 threes with this sum */
    int w[3] = {n / 9 - 1, n / 3 % 3 - 1, n % 3 - 1};
    if (9 * w[0] + 3 * w[1] + w[2] == (negative ? -sum : sum)) return w[c % 3];
  }
  return 9;
}

static int t5_at(const uint8_t *block, size_t i, size_t c) {
  uint8_t byte = block[c / 20 * 64 + 4 * i + c % 4];
  for (unsigned n = 0; n < 243; n++) {
    unsigned code[5] = {n % 3, n / 3 % 3, n / 9 % 3, n / 27 % 3, n / 81}, s = n % 27, plain = code[3] == 2 ? 22 : 21;
    unsigned want = s < plain ? 64 * code[4] + 21 * code[3] + s : 192 + 21 * code[3] + 1 + 3 * (s - plain) + code[4];
    if (byte == want) return (int)code[c % 20 / 4] - 1;
  }
  return 9;
}

static int t9_at(const uint8_t *block, size_t i, size_t c) {
  const uint8_t *unit = block + c / 36 * 128 + 4 * i + c % 4;
  size_t p = c % 36 / 4;
  unsigned first = unit[0], second = unit[64], byte = p < 4 ? first : second;
  assert_true(first % 64 < 54 && second % 64 < 54 && first < 192 && second < 192);
  unsigned last = first % 64 / 27 * 2 + second % 64 / 27, code[4] = {byte % 64 % 3, byte % 64 / 3 % 3, byte % 64 / 9 % 3, byte / 64};
  return (int)(p == 8 ? last : code[p % 4]) - 1;
}

static int form_at(tri_form form, const uint8_t *block, size_t k, size_t i, size_t c) {
  switch (form) {
  case TRI_FORM_TL1: return tl1_at(block, i, c);
  case TRI_FORM_TL2: return tl2_at(block, i, c);
  case TRI_FORM_T5: return t5_at(block, i, c);
  case TRI_FORM_T9: return t9_at(block, i, c);
  default: return tri_i2s_at(block, k, i, c);
  }
}

/* Every weight stands where the layout says, padding is zero, and tri_form_column reads it back. */
static void round_trip(tri_form form, size_t rows, size_t k, uint64_t *seed) {
  size_t bytes = tri_form_bytes(form, TRI_BLOCK_ROWS, k);
  int8_t *trits = bytes_alloc(rows * k), column[TRI_BLOCK_ROWS];
  uint8_t *block = lines_alloc(bytes + 64);
  for (size_t i = 0; i < rows * k; i++) trits[i] = (int8_t)((int)(test_random(seed) % 3) - 1);
  memset(block, 0xa5, bytes + 64);
  tri_form_pack(form, trits, rows, k, block);
  for (size_t i = 0; i < 64; i++) assert_int_equal(block[bytes + i], 0xa5);
  for (size_t c = 0; c < k; c++) {
    tri_form_column(form, block, k, c, column);
    for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) {
      int want = i < rows ? trits[i * k + c] : 0;
      if (column[i] != want || form_at(form, block, k, i, c) != want)
        fail_msg("%s [%zu, %zu] differs at (%zu, %zu)", tri_form_name(form), rows, k, i, c);
    }
  }
  free(trits), free(block);
}

static void packs_and_reads_back(void **state) {
  (void)state;
  static const size_t shapes[][2] = {{16, 2560}, {16, 8640}, {1, 1}, {16, 20}, {7, 21}, {16, 96}, {3, 97}, {15, 64}, {2, 65}, {16, 379}};
  uint64_t seed = test_seed();
  for (int f = 0; f < TRI_FORM_COUNT; f++)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) round_trip((tri_form)f, shapes[i][0], shapes[i][1], &seed);
}

/* All values of a byte or an index, in one row each. */
static void all_codes(void **state) {
  (void)state;
  for (int f = 0; f < TRI_FORM_COUNT; f++)
    for (int n = 0; n < 243; n++) {
      int8_t trits[20], column[TRI_BLOCK_ROWS];
      for (int c = 0, rest = n; c < 20; c++, rest = rest ? rest / 3 : n) trits[c] = (int8_t)(rest % 3 - 1);
      uint8_t *block = lines_alloc(tri_form_bytes((tri_form)f, 1, 20));
      tri_form_pack((tri_form)f, trits, 1, 20, block);
      for (size_t c = 0; c < 20; c++) {
        tri_form_column((tri_form)f, block, 20, c, column);
        assert_int_equal(column[0], trits[c]);
      }
      free(block);
    }
}

static void sizes(void **state) {
  (void)state;
  assert_int_equal(tri_form_bytes(TRI_FORM_I2S, 4096, 14336), tri_i2s_bytes(4096, 14336));
  assert_int_equal(tri_form_bytes(TRI_FORM_TL1, 4096, 4096), 4096 * 4096 / 4);
  assert_int_equal(tri_form_bytes(TRI_FORM_TL2, 4096, 9216), 4096 * 9216 / 24 * 5);
  assert_int_equal(tri_form_bytes(TRI_FORM_T5, 4096, 2560), 4096 * 2560 / 5);
  assert_int_equal(tri_form_bytes(TRI_FORM_T5, 17, 21), 2 * 2 * 64);
  assert_int_equal(tri_form_bytes(TRI_FORM_T9, 32, 2304), 32 * 2304 / 9 * 2);
  assert_string_equal(tri_form_name(TRI_FORM_T5), "t5");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packs_and_reads_back),
      cmocka_unit_test(all_codes),
      cmocka_unit_test(sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
