/* SPDX-License-Identifier: MIT */
/* Every level's q8_gemm against the formula of the contract, bit for bit. */
#include <math.h>
#include "tests/kernels/levels.h"

static const tri_kernels *levels[MOST_LEVELS];
static int level_count;

typedef struct problem {
  size_t k, groups, blocks, rows;
  int8_t *w, *panel; /* run-time forms */
  float *d, *dx;
} problem;

static int weight_at(const problem *p, size_t row, size_t col) {
  return p->w[(row / 16 * p->groups + col / 32) * 512 + col % 32 / 4 * 64 + row % 16 * 4 + col % 4];
}

static float expected(const problem *p, size_t row, size_t i) {
  float sum = 0;
  for (size_t g = 0; g < p->groups; g++) {
    int32_t exact = 0;
    for (size_t c = g * 32; c < g * 32 + 32; c++)
      exact += weight_at(p, i, c) * p->panel[(c / 4 * p->rows + row) * 4 + c % 4];
    sum += (float)exact * (p->d[(i / 16 * p->groups + g) * 16 + i % 16] * p->dx[row * p->groups + g]);
  }
  return sum;
}

static void problem_make(problem *p, size_t k, size_t blocks, size_t rows, bool worst, uint64_t *seed) {
  *p = (problem){k, k / 32, blocks, rows, NULL, NULL, NULL, NULL};
  p->w = lines_alloc(blocks * 16 * k), p->panel = bytes_alloc(rows * k);
  p->d = bytes_alloc(blocks * p->groups * 16 * 4), p->dx = bytes_alloc(rows * p->groups * 4);
  /* a hostile file may hold -128, an activation may not */
  for (size_t i = 0; i < blocks * 16 * k; i++) p->w[i] = worst ? (int8_t)-128 : (int8_t)test_random(seed);
  for (size_t i = 0; i < rows * k; i++)
    p->panel[i] = worst ? (i & 4096 ? 127 : -127) : (int8_t)((int)(test_random(seed) % 255) - 127);
  random_floats(seed, p->d, blocks * p->groups * 16, 0.01f);
  random_floats(seed, p->dx, rows * p->groups, 0.1f);
}

static void problem_drop(problem *p) { free(p->w), free(p->panel), free(p->d), free(p->dx); }

static void check(const problem *p) {
  size_t width = p->blocks * 16, ldy = width + 3, cut = p->blocks / 2;
  float *want = bytes_alloc(p->rows * width * 4), *got = bytes_alloc(p->rows * ldy * 4);
  const tri_q8 w = {p->w, p->d, width, p->k};
  for (size_t r = 0; r < p->rows; r++)
    for (size_t i = 0; i < width; i++) want[r * width + i] = expected(p, r, i);
  for (int l = 0; l < level_count; l++) {
    memset(got, 0x77, p->rows * ldy * 4);
    levels[l]->q8_gemm(&w, p->panel, p->dx, p->rows, cut, p->blocks, got, ldy);
    levels[l]->q8_gemm(&w, p->panel, p->dx, p->rows, 0, cut, got, ldy);
    for (size_t r = 0; r < p->rows; r++) {
      if (memcmp(got + r * ldy, want + r * width, width * 4))
        fail_msg("%s differs: k %zu, row %zu of %zu", levels[l]->name, p->k, r, p->rows);
      for (size_t i = width; i < ldy; i++) assert_memory_equal(got + r * ldy + i, "wwww", 4);
    }
  }
  free(want), free(got);
}

static void products(void **state) {
  (void)state;
  uint64_t seed = test_seed();
  static const size_t ks[] = {32, 64, 96, 352, 4096, 4128, 8640};
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
    for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows += test_brief() && ks[i] > 1000 ? 3 : 1)
      for (int worst = 0; worst < 2; worst++) {
        problem p;
        problem_make(&p, ks[i], 2, rows, worst, &seed);
        check(&p);
        problem_drop(&p);
      }
}

static void quantises_by_groups(void **state) {
  (void)state;
  enum { K = 160, GROUPS = K / 32 };
  uint64_t seed = test_seed();
  for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows++) {
    float x[K], d[GROUPS];
    random_floats(&seed, x, K, 2);
    for (size_t i = 0; i < 32; i++) x[32 + i] = i == 5 ? 1e-45f : 0; /* d underflows */
    memset(x + 64, 0, 32 * sizeof *x);
    x[96] = 127 * 1e-44f; /* a subnormal d, rounded roughly: q must stay within 127 */
    for (size_t i = 97; i < 128; i++) x[i] = -x[96];
    for (int l = 0; l < level_count; l++) {
      int8_t *panel = bytes_alloc(rows * K);
      for (size_t r = 0; r < rows; r++) levels[l]->quant_row_q8(x, K, panel + 4 * r, rows, d);
      for (size_t g = 0; g < GROUPS; g++) {
        float top = 0;
        for (size_t i = 0; i < 32; i++) top = fmaxf(top, fabsf(x[g * 32 + i]));
        float step = top / 127;
        assert_memory_equal(&d[g], &step, 4);
        for (size_t i = g * 32; i < g * 32 + 32; i++) {
          float q = step == 0 ? 0 : fmaxf(-127, fminf(127, nearbyintf(x[i] / step)));
          for (size_t r = 0; r < rows; r++) assert_int_equal(panel[(i / 4 * rows + r) * 4 + i % 4], (int)q);
        }
      }
      free(panel);
    }
  }
}

int main(void) {
  level_count = all_levels(levels);
  const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(quantises_by_groups)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
