/* SPDX-License-Identifier: MIT */
#include "kernels/portable/portable.h"

/* Four codes times four activations, for the 16 rows of one line. */
static void add_line(const uint8_t *line, unsigned shift, const int8_t *q, int32_t *sums) {
  for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
    for (size_t j = 0; j < 4; j++) sums[i] += (line[4 * i + j] >> shift & 3) * q[j];
}

void tri_i2s_portable_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                           size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *lines = w + block * chunks * 512;
    for (size_t row = 0; row < rows; row++) {
      int32_t *sums = y + row * ldy + block * TRI_BLOCK_ROWS;
      for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) sums[i] = 0;
      for (size_t line = 0; line < chunks * 8; line++)
        for (size_t part = 0; part < 4; part++) {
          size_t group = line / 8 * 32 + part * 8 + line % 8; /* k / 4 */
          add_line(lines + line * 64, (unsigned)(6 - 2 * part), panel + (group * rows + row) * 4, sums);
        }
    }
  }
}
