/* SPDX-License-Identifier: MIT */
/* Every level's products in every form against plain sums over trits, bit for bit. */
#include "kernels/form.h"
#include "tests/kernels/levels.h"

static const tri_kernels *levels[MOST_LEVELS];
static int level_count;

/* How weights and activations are chosen */
typedef enum { RANDOM, ALL_MINUS, ALL_PLUS_LOW, ALL_PLUS_HIGH, FILLS } fill;

typedef struct matrix {
  size_t m, k, kpad, blocks;
  uint8_t *w[TRI_FORM_COUNT];
  int8_t *codes; /* [blocks * 16, kpad], unpacked once so that the plain sums are quick */
} matrix;

static void matrix_make(matrix *a, size_t m, size_t k, fill how, uint64_t *seed) {
  a->m = m, a->k = k, a->kpad = tri_round_up(k, TRI_K_ALIGN), a->blocks = tri_round_up(m, 16) / 16;
  int8_t *trits = bytes_alloc(m * k);
  for (size_t i = 0; i < m * k; i++)
    trits[i] = how == RANDOM ? (int8_t)((int)(test_random(seed) % 3) - 1) : how == ALL_MINUS ? -1 : 1;
  for (int f = 0; f < TRI_FORM_COUNT; f++) {
    size_t block = tri_form_bytes((tri_form)f, TRI_BLOCK_ROWS, k);
    a->w[f] = lines_alloc(a->blocks * block);
    for (size_t b = 0; b < a->blocks; b++)
      tri_form_pack((tri_form)f, trits + b * 16 * k, b + 1 < a->blocks ? 16 : m - b * 16, k, a->w[f] + b * block);
  }
  a->codes = bytes_alloc(a->blocks * 16 * a->kpad);
  memset(a->codes, 1, a->blocks * 16 * a->kpad);
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < k; c++) a->codes[r * a->kpad + c] = (int8_t)(trits[r * k + c] + 1);
  free(trits);
}

static void matrix_drop(matrix *a) {
  for (int f = 0; f < TRI_FORM_COUNT; f++) free(a->w[f]);
  free(a->codes);
}

static void panel_fill(int8_t *rows_q, int8_t *panel, size_t rows, const matrix *a, fill how, uint64_t *seed) {
  memset(rows_q, 0, rows * a->kpad);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < a->k; c++)
      rows_q[r * a->kpad + c] = how == ALL_PLUS_HIGH ? 127 : how == RANDOM ? (int8_t)test_random(seed) : -128;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < a->kpad; c++) panel[(c / 4 * rows + r) * 4 + c % 4] = rows_q[r * a->kpad + c];
}

/* y[r, i] for every padded weight row */
static void plain_product(const matrix *a, const int8_t *q, size_t rows, int32_t *y) {
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < a->blocks * 16; i++) {
      int32_t sum = 0;
      for (size_t c = 0; c < a->kpad; c++) sum += a->codes[i * a->kpad + c] * q[r * a->kpad + c];
      y[r * a->blocks * 16 + i] = sum;
    }
}

typedef struct product {
  const matrix *a;
  size_t rows, ldy;
  int8_t *panel;
  int32_t *want, *got;
  fill how;
} product;

/* One function, in two parts; nothing outside [block_first, block_last) may be touched. */
static void check_one(const product *p, const tri_kernels *level, int form) {
  const matrix *a = p->a;
  size_t width = a->blocks * 16, cut = a->blocks / 2, rows = p->rows;
  memset(p->got, 0x77, rows * p->ldy * 4);
  level->gemm[form](a->w[form], a->k, p->panel, rows, cut, a->blocks, p->got, p->ldy);
  for (size_t i = 0; i < rows * p->ldy; i++)
    if (i % p->ldy < cut * 16 || i % p->ldy >= width) assert_int_equal(p->got[i], 0x77777777);
  level->gemm[form](a->w[form], a->k, p->panel, rows, 0, cut, p->got, p->ldy);
  for (size_t r = 0; r < rows; r++)
    if (memcmp(p->got + r * p->ldy, p->want + r * width, width * 4))
      fail_msg("%s %s differs: [%zu, %zu], row %zu of %zu, fill %d", level->name, tri_form_name((tri_form)form), a->m, a->k,
               r, rows, (int)p->how);
}

/* All levels and forms on one product. */
static void check(const matrix *a, size_t rows, fill how, uint64_t *seed) {
  size_t width = a->blocks * 16, ldy = width + 5;
  int8_t *q = bytes_alloc(rows * a->kpad);
  product p = {a, rows, ldy, lines_alloc(rows * a->kpad), bytes_alloc(rows * width * 4), bytes_alloc(rows * ldy * 4), how};
  panel_fill(q, p.panel, rows, a, how, seed);
  plain_product(a, q, rows, p.want);
  for (int l = 0; l < level_count; l++)
    for (int f = 0; f < TRI_FORM_COUNT; f++)
      if (levels[l]->gemm[f]) check_one(&p, levels[l], f);
  free(q), free(p.panel), free(p.want), free(p.got);
}

static void every_row_count(void **state) {
  (void)state;
  uint64_t seed = test_seed();
  static const size_t ks[] = {1, 128, 130, 256, 640, 1000};
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
    matrix a;
    matrix_make(&a, 40, ks[i], RANDOM, &seed);
    for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows++) check(&a, rows, RANDOM, &seed);
    matrix_drop(&a);
  }
}

static void every_height(void **state) {
  (void)state;
  uint64_t seed = test_seed();
  for (size_t m = 1; m <= 40; m++) {
    matrix a;
    matrix_make(&a, m, 384, RANDOM, &seed);
    check(&a, 1 + m % TRI_PANEL_ROWS, RANDOM, &seed);
    matrix_drop(&a);
  }
}

static void real_widths(void **state) {
  (void)state;
  uint64_t seed = test_seed();
  static const size_t ks[] = {2560, 6912, 640, 3200, 8640, 4096, 14336, 1024, 3072, 9216};
  static const size_t rows[] = {1, 2, 3, 4, 5, 8, 13, 24};
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
    matrix a;
    matrix_make(&a, 20, ks[i], RANDOM, &seed);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r += test_brief() ? 3 : 1) check(&a, rows[r], RANDOM, &seed);
    matrix_drop(&a);
  }
}

/* The largest sums in either direction, up to the largest k that the contract allows: nothing may saturate. */
static void worst_case_values(void **state) {
  (void)state;
  uint64_t seed = 1;
  static const size_t ks[] = {128, 4096, 14336, TRI_MAX_K};
  for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
    for (int how = ALL_MINUS; how < FILLS; how++) {
      matrix a;
      matrix_make(&a, 16, ks[i], (fill)how, &seed);
      for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows += ks[i] > 20000 || test_brief() ? 7 : 1) check(&a, rows, (fill)how, &seed);
      matrix_drop(&a);
    }
}

int main(void) {
  level_count = all_levels(levels);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row_count),
      cmocka_unit_test(every_height),
      cmocka_unit_test(real_widths),
      cmocka_unit_test(worst_case_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
