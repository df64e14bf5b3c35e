/* SPDX-License-Identifier: MIT */
#include "kernels/portable/portable.h"

#include <string.h>
#include "kernels/q6.h"

/* The code of value i of a group for a weight row, whose bytes in the group's first line start at w. */
static int code_at(const uint8_t *w, size_t i) {
  size_t line = i / 4, byte = i % 4;
  return (w[line % 2 * 64 + byte] >> line / 2 * 4 & 15) | (w[128 + byte] >> 2 * line & 3) << 4;
}

/* scale * sum over the 16 values of group g of a block, for weight row i */
static int32_t group_sum(const uint8_t *block, size_t g, size_t i, const int8_t *q, size_t rows) {
  const uint8_t *w = block + TRI_Q6_CODES + g * TRI_Q6_LINES + 4 * i;
  int32_t sum = 0;
  for (size_t j = 0; j < TRI_Q6_GROUP; j++) sum += (code_at(w, j) - 32) * q[j / 4 * rows * 4 + j % 4];
  return sum * (int8_t)block[TRI_Q6_SCALES + g * TRI_BLOCK_ROWS + i];
}

static float row_product(const tri_q6 *w, const int8_t *q, const float *dx, size_t rows, size_t i) {
  float sum = 0;
  for (size_t pair = 0; pair < w->k / TRI_Q8_BLOCK; pair++, q += TRI_Q8_BLOCK * rows) {
    const uint8_t *block = w->w + (i / TRI_BLOCK_ROWS * (w->k / TRI_Q6_BLOCK) + pair / 8) * TRI_Q6_BYTES;
    size_t g = pair % 8 * 2, row = i % TRI_BLOCK_ROWS;
    float d;
    memcpy(&d, block + 4 * row, sizeof d);
    int32_t exact =
        group_sum(block, g, row, q, rows) + group_sum(block, g + 1, row, q + TRI_Q6_GROUP * rows, rows);
    sum += (float)exact * (d * dx[pair]);
  }
  return sum;
}

void tri_q6_portable_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows,
                          size_t block_first, size_t block_last, float *y, size_t ldy) {
  for (size_t i = block_first * TRI_BLOCK_ROWS; i < block_last * TRI_BLOCK_ROWS; i++)
    for (size_t r = 0; r < rows; r++)
      y[r * ldy + i] = row_product(w, panel + 4 * r, dx + r * (w->k / TRI_Q8_BLOCK), rows, i);
}
