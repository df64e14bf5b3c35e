/* SPDX-License-Identifier: MIT */
/* INT8 products in 256-bit registers. The including file defines dot4(sum, magnitudes, signed_values): sum plus, in
 * each 32-bit lane, the four products of unsigned by signed bytes; and GEMM, the function's name.
 *
 * Signed times signed is |w| times q with w's sign. |w| is at most 128 (as unsigned), |q| at most 127 by contract, so
 * q can be negated and, in 16 bits, a pair of products is at most 2 * 128 * 127 = 32512. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  GROUP_BYTES = 512, /* weights of one group of 32 values for 16 rows */
  GROUP = 4,         /* activation rows at a time */
  AHEAD = 3072,
};

/* The exact sums of one group for 8 weight rows (half lines at w) and n activation rows; q points at the group. */
INLINE void half_group(const int8_t *w, const int8_t *q, size_t rows, size_t n, __m256i *sums) {
  UNROLL for (size_t r = 0; r < n; r++) sums[r] = _mm256_setzero_si256();
  UNROLL for (size_t g = 0; g < 8; g++) {
    __m256i line = _mm256_load_si256((const __m256i *)(w + g * LINE)), size = _mm256_abs_epi8(line);
    UNROLL for (size_t r = 0; r < n; r++) {
      int four;
      memcpy(&four, q + (g * rows + r) * 4, 4);
      sums[r] = dot4(sums[r], size, _mm256_sign_epi8(_mm256_set1_epi32(four), line));
    }
  }
}

/* One row block against rows [0, n) of q and dx, of a panel of `rows`. */
INLINE void one_block(const int8_t *w, const float *d, size_t groups, const int8_t *q, const float *dx, size_t rows,
                      size_t n, float *y, size_t ldy) {
  __m256 acc[2][GROUP];
  UNROLL for (size_t r = 0; r < n; r++) acc[0][r] = acc[1][r] = _mm256_setzero_ps();
  for (size_t group = 0; group < groups; group++, q += TRI_Q8_BLOCK * rows, w += GROUP_BYTES, d += TRI_BLOCK_ROWS) {
    if (n > 2) /* with fewer, memory is the limit */
      for (size_t g = 0; g < 8; g++) _mm_prefetch((const char *)w + AHEAD + g * LINE, _MM_HINT_T0);
    UNROLL for (size_t half = 0; half < 2; half++) {
      __m256i sums[GROUP];
      half_group(w + half * LINE / 2, q, rows, n, sums);
      __m256 dw = _mm256_loadu_ps(d + 8 * half);
      UNROLL for (size_t r = 0; r < n; r++) {
        __m256 scale = _mm256_mul_ps(dw, _mm256_set1_ps(dx[r * groups + group]));
        acc[half][r] = _mm256_add_ps(acc[half][r], _mm256_mul_ps(_mm256_cvtepi32_ps(sums[r]), scale));
      }
    }
  }
  UNROLL for (size_t r = 0; r < n; r++) {
    _mm256_storeu_ps(y + r * ldy, acc[0][r]);
    _mm256_storeu_ps(y + r * ldy + 8, acc[1][r]);
  }
}

void GEMM(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first, size_t block_last,
          float *y, size_t ldy) {
  size_t groups = w->k / TRI_Q8_BLOCK;
  for (size_t block = block_first; block < block_last; block++) {
    const int8_t *lines = w->q + block * groups * GROUP_BYTES;
    const float *d = w->d + block * groups * TRI_BLOCK_ROWS;
    for (size_t r = 0; r < rows; r += GROUP) {
      const int8_t *q = panel + 4 * r;
      const float *scales = dx + r * groups;
      float *out = y + r * ldy + block * TRI_BLOCK_ROWS;
      switch (rows - r) {
      case 1: one_block(lines, d, groups, q, scales, rows, 1, out, ldy); break;
      case 2: one_block(lines, d, groups, q, scales, rows, 2, out, ldy); break;
      case 3: one_block(lines, d, groups, q, scales, rows, 3, out, ldy); break;
      default: one_block(lines, d, groups, q, scales, rows, 4, out, ldy);
      }
    }
  }
}
