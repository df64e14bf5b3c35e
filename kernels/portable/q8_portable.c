/* SPDX-License-Identifier: MIT */
#include "kernels/portable/portable.h"

/* The exact products of one group of 32 values for 16 weight rows. */
static void dot_group(const int8_t *lines, const int8_t *panel, size_t group, size_t rows, size_t row, int32_t *sums) {
  for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) sums[i] = 0;
  for (size_t line = 0; line < 8; line++) {
    const int8_t *q = panel + ((group * 8 + line) * rows + row) * 4;
    for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
      for (size_t j = 0; j < 4; j++) sums[i] += lines[line * 64 + 4 * i + j] * q[j];
  }
}

void tri_q8_portable_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                          size_t block_last, float *y, size_t ldy) {
  size_t groups = w->k / TRI_Q8_BLOCK;
  for (size_t block = block_first; block < block_last; block++)
    for (size_t row = 0; row < rows; row++) {
      float *out = y + row * ldy + block * TRI_BLOCK_ROWS;
      for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) out[i] = 0;
      for (size_t group = 0; group < groups; group++) {
        size_t at = block * groups + group;
        int32_t sums[TRI_BLOCK_ROWS];
        dot_group(w->q + at * 512, panel, group, rows, row, sums);
        for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
          out[i] += (float)sums[i] * (w->d[at * TRI_BLOCK_ROWS + i] * dx[row * groups + group]);
      }
    }
}
