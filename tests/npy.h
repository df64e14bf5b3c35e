/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_NPY_H
#define TRI_TESTS_NPY_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A float32 C-order .npy file (reference data written by other programs): the values, malloc'ed; *count is how many. */
static inline float *npy_load(const char *path, size_t *count) {
  FILE *f = fopen(path, "rb");
  unsigned char head[10];
  if (!f || fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6) != 0) return f ? (void)fclose(f) : (void)0, NULL;
  fseek(f, 0, SEEK_END);
  long start = 10 + head[8] + 256 * head[9], end = ftell(f);
  fseek(f, start, SEEK_SET);
  float *x = malloc((size_t)(end - start));
  *count = (size_t)(end - start) / sizeof *x;
  if (x && fread(x, sizeof *x, *count, f) != *count) free(x), x = NULL;
  fclose(f);
  return x;
}

/* ||a - b|| / ||b|| */
static inline double relative_rms(const float *a, const float *b, size_t n) {
  double d = 0, s = 0;
  for (size_t i = 0; i < n; i++) d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]), s += (double)b[i] * (double)b[i];
  return sqrt(d / s);
}

static inline double largest_difference(const float *a, const float *b, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
  return most;
}

#endif
