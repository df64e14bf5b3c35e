/* SPDX-License-Identifier: MIT */
/* Op vectors recorded from bitnet.cpp (fixtures/bitnetcpp-op): quantise, multiply, scale, bit for bit.
 * NAME.i2s.bin: M*K/4 code bytes, float32 scale, 28 bytes; NAME.x.f32.bin [N, K]; NAME.y.f32.bin [N, M]. */
#include "tests/kernels/levels.h"

static const tri_kernels *levels[MOST_LEVELS];
static int level_count;

static void *read_vector(const char *name, const char *what, size_t bytes) {
  char path[512];
  snprintf(path, sizeof path, "%s/bitnetcpp-op/%s.%s.bin", TRIREME_FIXTURES, name, what);
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  void *data = bytes_alloc(bytes + 1);
  assert_int_equal(fread(data, 1, bytes + 1, f), bytes);
  fclose(f);
  return data;
}

typedef struct vector {
  const char *name;
  size_t k, m, n;
} vector;

/* y [n, m] of one level, in panels of `rows` activation rows */
static void run(const tri_kernels *t, const vector *v, const uint8_t *w, float scale, const float *x, size_t rows,
                float *y) {
  size_t kpad = tri_round_up(v->k, TRI_K_ALIGN), width = tri_round_up(v->m, 16);
  int8_t *panel = bytes_alloc(rows * kpad);
  int32_t *sums = bytes_alloc(rows * width * 4);
  for (size_t first = 0; first < v->n; first += rows) {
    size_t here = v->n - first < rows ? v->n - first : rows;
    float s[TRI_PANEL_ROWS];
    int32_t sum[TRI_PANEL_ROWS];
    for (size_t r = 0; r < here; r++)
      s[r] = t->quant_row(x + (first + r) * v->k, v->k, panel + 4 * r, here, &sum[r]);
    t->gemm[TRI_FORM_I2S](w, v->k, panel, here, 0, width / 16, sums, width);
    for (size_t r = 0; r < here; r++) {
      t->dequant(sums + r * width, v->m, sum[r], s[r], scale);
      memcpy(y + (first + r) * v->m, sums + r * width, v->m * 4);
    }
  }
  free(panel), free(sums);
}

/* In this vector bitnet.cpp's 16-bit sums overflow (it recorded -4160.5 and the like); all weights are +1 and all
 * activations alike, so the right value is 4096. */
static void right_sums(float *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = 4096;
}

static void match(void **state) {
  (void)state;
  static const vector vectors[] = {
      {"i2s_K128_M32_N3", 128, 32, 3},    {"i2s_K256_M128_N5", 256, 128, 5}, {"i2s_K768_M256_N4", 768, 256, 4},
      {"i2s_K4096_M64_N2", 4096, 64, 2},  {"i2s_K4224_M48_N2", 4224, 48, 2}, {"i2s_K14336_M16_N2", 14336, 16, 2},
      {"adv_all_plus1_K4096", 4096, 8, 1}};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    const vector *v = &vectors[i];
    uint8_t *file = read_vector(v->name, "i2s", v->m * v->k / 4 + 32), *w = lines_alloc(tri_i2s_bytes(v->m, v->k));
    float *x = read_vector(v->name, "x.f32", v->n * v->k * 4), *want = read_vector(v->name, "y.f32", v->n * v->m * 4);
    float *y = bytes_alloc(v->n * v->m * 4), scale;
    memcpy(&scale, file + v->m * v->k / 4, 4);
    if (!strncmp(v->name, "adv", 3)) right_sums(want, v->n * v->m);
    assert_true(tri_i2s_check(file, v->m * v->k / 4));
    tri_i2s_from_file(file, v->m, v->k, w, 0, tri_round_up(v->m, 16) / 16);
    for (int l = 0; l < level_count; l++)
      for (size_t rows = 1; rows <= v->n; rows++) {
        run(levels[l], v, w, scale, x, rows, y);
        if (memcmp(y, want, v->n * v->m * 4)) fail_msg("%s: %s differs (%zu rows)", levels[l]->name, v->name, rows);
      }
    free(file), free(w), free(x), free(want), free(y);
  }
}

int main(void) {
  level_count = all_levels(levels);
  const struct CMUnitTest tests[] = {cmocka_unit_test(match)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
