/* SPDX-License-Identifier: MIT */
/* Q6_K: the file's blocks against an independent reader, the run-time form against the file, and every
 * level's product against the plain formula over the file's values. */
#include <math.h>
#include "kernels/q6.h"
#include "tests/kernels/levels.h"

static const tri_kernels *levels[MOST_LEVELS];
static int level_count;
static uint64_t seed;

enum { FILE_BYTES = TRI_Q6_FILE_BYTES };

/* One block's codes and scales as ggml's dequantize_row_q6_K walks them: two halves, each in four streams
 * of 32. */
static void walk_block(const uint8_t *block, int code[256], int scale[256]) {
  const uint8_t *ql = block, *qh = block + 128;
  const int8_t *sc = (const int8_t *)block + 192;
  for (int half = 0; half < 2; half++, ql += 64, qh += 32, sc += 8, code += 128, scale += 128)
    for (int l = 0; l < 32; l++) {
      code[l] = (ql[l] & 15) | (qh[l] & 3) << 4;
      code[l + 32] = (ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4;
      code[l + 64] = ql[l] >> 4 | (qh[l] >> 4 & 3) << 4;
      code[l + 96] = ql[l + 32] >> 4 | qh[l] >> 6 << 4;
      for (int s = 0; s < 4; s++) scale[l + 32 * s] = sc[l / 16 + 2 * s];
    }
}

static float block_d(const uint8_t *block) {
  return tri_f16_to_f32((uint16_t)(block[208] | block[209] << 8));
}

static uint8_t *random_file(size_t blocks, bool worst) {
  uint8_t *file = bytes_alloc(blocks * FILE_BYTES);
  for (size_t i = 0; i < blocks * FILE_BYTES; i++) file[i] = worst ? 0 : (uint8_t)test_random(&seed);
  for (size_t b = 0; b < blocks; b++) {
    if (worst) memset(file + b * FILE_BYTES + 192, 0x80, 16); /* codes of 0, so -32, and scales of -128 */
    uint16_t d = tri_f16_from_f32(random_float(&seed, 0.01f));
    memcpy(file + b * FILE_BYTES + 208, &d, 2);
  }
  return file;
}

static void values_are_the_formats(void **state) {
  (void)state;
  enum { BLOCKS = 7 };
  uint8_t *file = random_file(BLOCKS, false);
  float x[BLOCKS * 256];
  tri_q6_values(file, BLOCKS, x);
  for (size_t b = 0; b < BLOCKS; b++) {
    int code[256], scale[256];
    walk_block(file + b * FILE_BYTES, code, scale);
    for (size_t i = 0; i < 256; i++) {
      float want = block_d(file + b * FILE_BYTES) * (float)scale[i] * (float)(code[i] - 32);
      assert_memory_equal(&x[b * 256 + i], &want, 4);
    }
  }
  free(file);
}

typedef struct problem {
  size_t m, k, rows, blocks;
  uint8_t *file, *w;
  int *code, *scale; /* [m, k] */
  int8_t *panel;
  float *dx;
} problem;

static void problem_make(problem *p, size_t m, size_t k, size_t rows, bool worst) {
  *p = (problem){.m = m, .k = k, .rows = rows, .blocks = tri_round_up(m, 16) / 16};
  p->file = random_file(m * k / 256, worst), p->w = lines_alloc(tri_q6_bytes(m, k));
  memset(p->w, 0xee, tri_q6_bytes(m, k));
  tri_q6_from_file(p->file, m, k, p->w, p->blocks / 2, p->blocks);
  tri_q6_from_file(p->file, m, k, p->w, 0, p->blocks / 2);
  p->code = bytes_alloc(m * k * sizeof(int)), p->scale = bytes_alloc(m * k * sizeof(int));
  for (size_t b = 0; b < m * k / 256; b++)
    walk_block(p->file + b * FILE_BYTES, p->code + b * 256, p->scale + b * 256);
  p->panel = bytes_alloc(rows * k), p->dx = bytes_alloc(rows * k / 32 * 4);
  for (size_t i = 0; i < rows * k; i++)
    p->panel[i] = worst ? (i & 4096 ? 127 : -127) : (int8_t)((int)(test_random(&seed) % 255) - 127);
  random_floats(&seed, p->dx, rows * k / 32, 0.1f);
}

static void problem_drop(problem *p) {
  free(p->file), free(p->w), free(p->code), free(p->scale), free(p->panel), free(p->dx);
}

static float expected(const problem *p, size_t row, size_t i) {
  float sum = 0;
  if (i >= p->m) return 0;
  for (size_t g = 0; g < p->k / 32; g++) {
    int64_t exact = 0;
    for (size_t c = g * 32; c < g * 32 + 32; c++)
      exact += p->scale[i * p->k + c] * (p->code[i * p->k + c] - 32) *
               p->panel[(c / 4 * p->rows + row) * 4 + c % 4];
    assert_true(exact > -(1 << 24) && exact < 1 << 24);
    sum += (float)exact *
           (block_d(p->file + (i * p->k + g * 32) / 256 * FILE_BYTES) * p->dx[row * (p->k / 32) + g]);
  }
  return sum;
}

static void check(const problem *p) {
  size_t width = p->blocks * 16, ldy = width + 3, cut = p->blocks / 2;
  float *want = bytes_alloc(p->rows * width * 4), *got = bytes_alloc(p->rows * ldy * 4);
  const tri_q6 w = {p->w, p->m, p->k};
  for (size_t r = 0; r < p->rows; r++)
    for (size_t i = 0; i < width; i++) want[r * width + i] = expected(p, r, i);
  for (int l = 0; l < level_count; l++) {
    memset(got, 0x77, p->rows * ldy * 4);
    levels[l]->q6_gemm(&w, p->panel, p->dx, p->rows, cut, p->blocks, got, ldy);
    levels[l]->q6_gemm(&w, p->panel, p->dx, p->rows, 0, cut, got, ldy);
    for (size_t r = 0; r < p->rows; r++) {
      for (size_t i = 0; i < width; i++)
        if (got[r * ldy + i] != want[r * width + i]) /* 0 and -0 are alike */
          fail_msg("%s differs: [%zu, %zu], row %zu of %zu, weight row %zu: %.9g, not %.9g", levels[l]->name,
                   p->m, p->k, r, p->rows, i, (double)got[r * ldy + i], (double)want[r * width + i]);
      for (size_t i = width; i < ldy; i++) assert_memory_equal(got + r * ldy + i, "wwww", 4);
      if (l) assert_memory_equal(got + r * ldy, want + r * width, p->m * 4);
    }
  }
  free(want), free(got);
}

static void products(void **state) {
  (void)state;
  static const struct {
    size_t m, k;
  } shapes[] = {{1, 256}, {20, 512}, {33, 1024}, {16, 2560}, {20, 4096}, {16, 4352}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows += test_brief() && rows > 2 ? 7 : 1)
      for (int worst = 0; worst < 2; worst++) {
        problem p;
        problem_make(&p, shapes[i].m, shapes[i].k, rows, worst);
        check(&p);
        problem_drop(&p);
      }
}

/* Within half a step of each group's scale, and what is on the grid already comes back as it was. */
static void quantises_closely(void **state) {
  (void)state;
  enum { BLOCKS = 40 };
  static float x[BLOCKS * 256], back[BLOCKS * 256];
  static uint8_t file[BLOCKS * FILE_BYTES];
  double error = 0, size = 0;
  for (size_t i = 0; i < BLOCKS * 256; i++) {
    x[i] = 0;
    for (int j = 0; j < 6; j++) x[i] += random_float(&seed, 0.02f); /* near normal */
  }
  memset(x, 0, 256 * 4 + 64), memset(x + 600, 0, 80);
  tri_q6_to_file(x, BLOCKS * 256, file);
  tri_q6_values(file, BLOCKS, back);
  for (size_t i = 0; i < BLOCKS * 256; i++) {
    error += (double)(x[i] - back[i]) * (double)(x[i] - back[i]), size += (double)x[i] * (double)x[i];
    if (x[i] == 0 && i < 256 * 4 + 16) assert_true(back[i] == 0);
  }
  print_message("relative RMS error %.5f\n", sqrt(error / size));
  assert_true(sqrt(error / size) < 0.018);
  for (size_t g = 0; g < BLOCKS * 16; g++) {
    float top = 0, off = 0;
    for (size_t i = g * 16; i < g * 16 + 16; i++)
      top = fmaxf(top, fabsf(x[i])), off = fmaxf(off, fabsf(x[i] - back[i]));
    if (off > top / 32 * 1.05f + 1e-9f) fail_msg("group %zu: off by %g of %g", g, (double)off, (double)top);
  }
}

static void grid_values_come_back(void **state) {
  (void)state;
  float x[512], back[512];
  uint8_t file[2 * FILE_BYTES];
  for (size_t i = 0; i < 512; i++)
    x[i] = (float)((int)(test_random(&seed) % 64) - 32) / 256 * (float)(i / 16 % 5 + 1) / 128;
  for (size_t g = 0; g < 32; g++)
    x[g * 16 + g % 16] = -32.0f / 256 * (float)(g % 5 + 1) / 128; /* the end of the grid */
  tri_q6_to_file(x, 512, file);
  tri_q6_values(file, 2, back);
  for (size_t i = 0; i < 512; i++)
    if (fabsf(x[i] - back[i]) > 0.01f / 128)
      fail_msg("value %zu: %g, not %g", i, (double)back[i], (double)x[i]);
}

/* Huge, tiny and undefined values: bytes come out, whatever they are worth, without undefined behaviour. */
static void odd_values(void **state) {
  (void)state;
  static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-45f, 1e-38f, 65504 * 4000.0f};
  for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
    float x[256], back[256];
    uint8_t file[FILE_BYTES];
    random_floats(&seed, x, 256, 1);
    x[5] = x[77] = odd[o];
    tri_q6_to_file(x, 256, file);
    tri_q6_values(file, 1, back);
    for (size_t i = 0; i < 256; i++) x[i] = o % 2 ? odd[o] : 0;
    tri_q6_to_file(x, 256, file);
    tri_q6_values(file, 1, back);
    for (size_t i = 0; o % 2 == 0 && i < 256; i++) assert_true(back[i] == 0);
  }
}

int main(void) {
  level_count = all_levels(levels);
  seed = test_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_the_formats), cmocka_unit_test(products),
                                     cmocka_unit_test(quantises_closely),
                                     cmocka_unit_test(grid_values_come_back), cmocka_unit_test(odd_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
