/* SPDX-License-Identifier: MIT */
/* TL1 and TL2 against their layouts written once more, element by element, as index formulas. */
#include "kernels/tl1.h"
#include "kernels/tl2.h"
#include "tests/kernels/levels.h"

static void random_trits(uint64_t *seed, int8_t *trits, size_t n) {
  for (size_t i = 0; i < n; i++) trits[i] = (int8_t)((int)(test_random(seed) % 3) - 1);
}

/* --- plain formulas: the weight at (r, c) --- */

static int tl1_at(const tri_tl1 *s, const uint8_t *codes, size_t r, size_t c) {
  size_t by = 256 / s->sub;
  size_t dims[7] = {s->m / s->bm, s->k / s->bk, s->bm / s->sub, s->bk / by, s->sub / 16, by / 4, 16};
  size_t at[7] = {r / s->bm, c / s->bk, r % s->bm / s->sub, c % s->bk / by, r % s->sub / 16, c % by / 4, r % 16}, flat = 0;
  for (int i = 0; i < 7; i++) flat = flat * dims[i] + at[i];
  int code = c % 4 < 2 ? codes[flat] >> 4 : codes[flat] & 15;
  return c % 2 == 0 ? code / 3 - 1 : code % 3 - 1;
}

/* the 32 bytes that hold one column's rows: rows 8-15 and 16-23 have changed places */
static size_t permuted(size_t r) { return r >= 8 && r < 16 ? r + 8 : r >= 16 && r < 24 ? r - 8 : r; }

static int tl2_at(const tri_tl2 *s, const uint8_t *codes, size_t r, size_t c) {
  size_t k3 = s->k - s->k % s->bk, a_bytes = s->m * k3 / 6, s_bytes = s->m * k3 / 24, row = r % 32;
  if (c >= k3) {
    size_t d = c - k3, tile = (r / s->bm * (s->k % s->bk / 32) + d / 32) * (s->bm / 32) + r % s->bm / 32;
    int byte = codes[a_bytes + s_bytes + (tile * 8 + d % 32 / 4) * 32 + permuted(row)];
    int code = c % 4 < 2 ? byte >> 4 : byte & 15;
    return c % 2 == 0 ? code / 3 - 1 : code % 3 - 1;
  }
  size_t tile = (r / s->bm * (k3 / s->bk) + c / s->bk) * (s->bm / 32) + r % s->bm / 32, in = c % s->bk;
  int byte = codes[(tile * (s->bk / 6) + in / 6) * 32 + permuted(row)], sum = in % 6 < 3 ? byte >> 4 : byte & 15;
  const uint8_t *word = codes + a_bytes + 2 * ((tile * (s->bk / 24) + in / 24) * 16 + row % 16);
  int bit = 15 - (int)(2 * (in % 24 / 3) + (row >= 16));
  if ((word[0] | word[1] << 8) >> bit & 1) sum = -sum;
  int digits[3] = {0};
  for (int n = 0; n < 27; n++) /* the one of 27 threes with this sum */
    if (9 * (n / 9 - 1) + 3 * (n / 3 % 3 - 1) + n % 3 - 1 == sum) digits[0] = n / 9 - 1, digits[1] = n / 3 % 3 - 1, digits[2] = n % 3 - 1;
  return digits[c % 3];
}

/* --- the tests --- */

typedef struct matrix {
  size_t m, k, bytes;
  int8_t *trits, *back;
  uint8_t *codes, *parts;
} matrix;

static matrix make_matrix(uint64_t *seed, size_t m, size_t k, size_t bytes) {
  matrix x = {m, k, bytes, bytes_alloc(m * k), bytes_alloc(m * k), bytes_alloc(bytes), bytes_alloc(bytes)};
  random_trits(seed, x.trits, m * k);
  memset(x.codes, 0xff, bytes), memset(x.parts, 0xff, bytes); /* what isn't written would be seen */
  return x;
}
static void free_matrix(matrix *x) { free(x->trits), free(x->back), free(x->codes), free(x->parts); }

static void check_tl1(const tri_tl1 *s, uint64_t *seed) {
  assert_null(tri_tl1_misfit(s));
  matrix x = make_matrix(seed, s->m, s->k, s->m * s->k / 4);
  tri_tl1_pack(s, x.trits, 0, s->m, x.codes);
  for (size_t i = 0; i < s->m * s->k; i++)
    if (tl1_at(s, x.codes, i / s->k, i % s->k) != x.trits[i]) fail_msg("TL1 [%zu, %zu] differs at %zu", s->m, s->k, i);
  for (size_t row = s->m; row > 0; row -= 16) tri_tl1_pack(s, x.trits + (row - 16) * s->k, row - 16, row, x.parts);
  assert_memory_equal(x.codes, x.parts, x.bytes);
  for (size_t row = 0; row < s->m; row += 16) assert_true(tri_tl1_unpack(s, x.codes, row, row + 16, x.back + row * s->k));
  assert_memory_equal(x.trits, x.back, s->m * s->k);
  size_t at = test_random(seed) % x.bytes;
  x.codes[at] = test_random(seed) % 2 ? 0x90 : 0x0f;
  assert_false(tri_tl1_unpack(s, x.codes, 0, s->m, x.back));
  for (size_t i = 0; i < s->m * s->k; i++) assert_in_range(x.back[i] + 1, 0, 2);
  free_matrix(&x);
}

static void check_tl2(const tri_tl2 *s, uint64_t *seed) {
  assert_null(tri_tl2_misfit(s));
  size_t k3 = s->k - s->k % s->bk;
  matrix x = make_matrix(seed, s->m, s->k, s->m * k3 / 6 + s->m * k3 / 24 + s->m * (s->k - k3) / 4);
  assert_int_equal(tri_tl2_bytes(s), x.bytes);
  tri_tl2_pack(s, x.trits, 0, s->m, x.codes);
  for (size_t i = 0; i < s->m * s->k; i++)
    if (tl2_at(s, x.codes, i / s->k, i % s->k) != x.trits[i]) fail_msg("TL2 [%zu, %zu] differs at %zu", s->m, s->k, i);
  for (size_t row = s->m; row > 0; row -= 32) tri_tl2_pack(s, x.trits + (row - 32) * s->k, row - 32, row, x.parts);
  assert_memory_equal(x.codes, x.parts, x.bytes);
  for (size_t row = 0; row < s->m; row += 32) assert_true(tri_tl2_unpack(s, x.codes, row, row + 32, x.back + row * s->k));
  assert_memory_equal(x.trits, x.back, s->m * s->k);
  size_t a = test_random(seed) % (s->m * k3 / 6), b = s->m * k3 / 6 + s->m * k3 / 24;
  uint8_t kept = x.codes[a];
  x.codes[a] = test_random(seed) % 2 ? 0xe0 : 0x0f;
  assert_false(tri_tl2_unpack(s, x.codes, 0, s->m, x.back));
  for (size_t i = 0; i < s->m * s->k; i++) assert_in_range(x.back[i] + 1, 0, 2);
  x.codes[a] = kept;
  if (k3 < s->k) {
    x.codes[b + test_random(seed) % (x.bytes - b)] = 0x49;
    assert_false(tri_tl2_unpack(s, x.codes, 0, s->m, x.back));
  }
  free_matrix(&x);
}

static void tl1_is_its_formula(void **state) {
  (void)state;
  static const tri_tl1 shapes[] = {{1536, 128, 256, 128, 32}, {320, 128, 320, 128, 64}, {320, 192, 160, 64, 32}, {32, 8, 32, 8, 32},
                                   {64, 4, 64, 4, 64},        {96, 80, 32, 40, 32},     {640, 96, 320, 32, 32}};
  uint64_t seed = test_seed();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_tl1(&shapes[i], &seed);
  for (int i = 0; i < 60; i++) {
    size_t sub = test_random(&seed) % 2 ? 32 : 64, bm = sub * (1 + test_random(&seed) % 4), bk = 256 / sub * (1 + test_random(&seed) % 12);
    check_tl1(&(tri_tl1){bm * (1 + test_random(&seed) % 3), bk * (1 + test_random(&seed) % 4), bm, bk, sub}, &seed);
  }
}

static void tl2_is_its_formula(void **state) {
  (void)state;
  static const tri_tl2 shapes[] = {{256, 1536, 128, 192}, {160, 8640, 160, 96}, {320, 3200, 320, 96}, {32, 256, 32, 96},
                                   {64, 288, 32, 288},    {32, 264, 32, 24},    {64, 520, 64, 264},   {96, 320, 32, 192}};
  uint64_t seed = test_seed();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_tl2(&shapes[i], &seed);
  int done = 0;
  while (done < 60) {
    size_t bm = 32 * (1 + test_random(&seed) % 5), bk = 24 * (1 + test_random(&seed) % 12);
    tri_tl2 s = {bm * (1 + test_random(&seed) % 3), bk * (1 + test_random(&seed) % 4) + 32 * (test_random(&seed) % 9), bm, bk};
    if (tri_tl2_misfit(&s)) continue; /* too few columns, or so many in pairs that BK fits once more */
    check_tl2(&s, &seed), done++;
  }
}

/* A sign on a zero is what no packer writes. */
static void tl2_refuses_minus_zero(void **state) {
  (void)state;
  tri_tl2 s = {32, 256, 32, 96};
  int8_t *trits = bytes_alloc(32 * 256);
  uint8_t *codes = bytes_alloc(tri_tl2_bytes(&s));
  memset(trits, 0, 32 * 256);
  tri_tl2_pack(&s, trits, 0, 32, codes);
  assert_true(tri_tl2_unpack(&s, codes, 0, 32, trits));
  codes[32 * 192 / 6 + 17] = 0x20;
  assert_false(tri_tl2_unpack(&s, codes, 0, 32, trits));
  for (size_t i = 0; i < 32 * 256; i++) assert_int_equal(trits[i], 0);
  free(trits), free(codes);
}

/* Tiles that move TL2's parts are noticed in random weights; the others can't be. */
static void tl2_notices_other_parts(void **state) {
  (void)state;
  tri_tl2 packed = {256, 768, 128, 96}, other = {256, 768, 128, 288}, same_parts = {256, 768, 256, 192};
  uint64_t seed = test_seed();
  matrix x = make_matrix(&seed, 256, 768, tri_tl2_bytes(&other)); /* the larger: 192 columns in pairs */
  tri_tl2_pack(&packed, x.trits, 0, 256, x.codes);
  assert_null(tri_tl2_misfit(&other));
  assert_false(tri_tl2_unpack(&other, x.codes, 0, 256, x.back));
  assert_null(tri_tl2_misfit(&same_parts));
  assert_true(tri_tl2_unpack(&same_parts, x.codes, 0, 256, x.back));
  free_matrix(&x);
}

static void what_does_not_fit_is_told(void **state) {
  (void)state;
  static const struct {
    tri_tl1 s;
    const char *rule;
  } tl1[] = {{{256, 128, 256, 128, 16}, "bm must be 32 or 64"},
             {{256, 128, 0, 128, 32}, "BM must be a multiple of bm"},
             {{96, 128, 96, 128, 64}, "BM must be a multiple of bm"},
             {{256, 128, 256, 0, 32}, "BK must be a multiple of 256 / bm"},
             {{256, 132, 256, 132, 32}, "BK must be a multiple of 256 / bm"},
             {{100, 128, 64, 128, 32}, "the rows must be a multiple of BM"},
             {{256, 100, 256, 64, 32}, "the columns must be a multiple of BK"}};
  static const struct {
    tri_tl2 s;
    const char *rule;
  } tl2[] = {{{256, 768, 100, 96}, "BM must be a multiple of 32"},
             {{256, 768, 0, 96}, "BM must be a multiple of 32"},
             {{256, 768, 256, 0}, "BK must be a multiple of 24"},
             {{256, 768, 256, 32}, "BK must be a multiple of 24"},
             {{100, 768, 32, 96}, "the rows must be a multiple of BM"},
             {{0, 768, 32, 96}, "the rows must be a multiple of BM"},
             {{256, 192, 256, 96}, "the columns must be at least 256 and at least BK"},
             {{256, 288, 256, 384}, "the columns must be at least 256 and at least BK"},
             {{256, 780, 256, 96}, "the columns left over by BK must be a multiple of 32"},
             {{256, 672, 256, 384}, "the columns left over by BK must be at most 256"}};
  for (size_t i = 0; i < sizeof tl1 / sizeof *tl1; i++) assert_string_equal(tri_tl1_misfit(&tl1[i].s), tl1[i].rule);
  for (size_t i = 0; i < sizeof tl2 / sizeof *tl2; i++) assert_string_equal(tri_tl2_misfit(&tl2[i].s), tl2[i].rule);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tl1_is_its_formula),      cmocka_unit_test(tl2_is_its_formula),        cmocka_unit_test(tl2_refuses_minus_zero),
      cmocka_unit_test(tl2_notices_other_parts), cmocka_unit_test(what_does_not_fit_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
