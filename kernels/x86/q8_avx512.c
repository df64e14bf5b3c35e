/* SPDX-License-Identifier: MIT */
/* INT8 products on 512-bit VNNI, whose first operand is unsigned: w + 128 (w with its top bit flipped) takes w's
 * place, and 128 times the sum of the activations is taken off again, for 16 activation rows in one go. */
#include <immintrin.h>
#include <string.h>
#include "kernels/x86/x86.h"

#define INLINE static inline __attribute__((always_inline))

enum {
  LINE = 64,
  GROUP_BYTES = 512, /* weights of one group of 32 values for 16 rows */
  GROUP = 8,         /* activation rows at a time: their int32 and float sums must be registers */
};

/* -128 * (sum of the group's values) for each of n <= 16 rows of q, of a panel of `rows`. */
INLINE __m512i offsets(const int8_t *q, size_t rows, size_t n) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  const __mmask16 present = (__mmask16)((1u << n) - 1);
  __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (size_t g = 0; g < 8; g++)
    sum = _mm512_dpbusd_epi32(sum, flip, _mm512_maskz_loadu_epi32(present, q + g * rows * 4));
  return _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

/* One row block against rows [0, n) of q and dx, of a panel of `rows`. */
INLINE void one_block(const int8_t *w, const float *d, size_t groups, const int8_t *q, const float *dx, size_t rows,
                      size_t n, float *y, size_t ldy) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  __m512 acc[GROUP];
  for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_ps();
  for (size_t group = 0; group < groups; group++, q += TRI_Q8_BLOCK * rows, w += GROUP_BYTES, d += TRI_BLOCK_ROWS) {
    int32_t start[16];
    __m512i sums[GROUP];
    _mm512_storeu_si512(start, offsets(q, rows, n));
    for (size_t r = 0; r < n; r++) sums[r] = _mm512_set1_epi32(start[r]);
#pragma GCC unroll 8
    for (size_t g = 0; g < 8; g++) {
      __m512i line = _mm512_xor_si512(_mm512_load_si512(w + g * LINE), flip);
#pragma GCC unroll 8
      for (size_t r = 0; r < n; r++) {
        int four;
        memcpy(&four, q + (g * rows + r) * 4, 4);
        sums[r] = _mm512_dpbusd_epi32(sums[r], line, _mm512_set1_epi32(four));
      }
    }
    __m512 dw = _mm512_loadu_ps(d);
    for (size_t r = 0; r < n; r++) {
      __m512 scale = _mm512_mul_ps(dw, _mm512_set1_ps(dx[r * groups + group]));
      acc[r] = _mm512_add_ps(acc[r], _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r]), scale));
    }
  }
  for (size_t r = 0; r < n; r++) _mm512_storeu_ps(y + r * ldy, acc[r]);
}

#define ROWS(n)                                                                                                    \
  case n: one_block(lines, d, groups, q, scales, rows, n, out, ldy); break;

void tri_q8_avx512_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                        size_t block_last, float *y, size_t ldy) {
  size_t groups = w->k / TRI_Q8_BLOCK;
  for (size_t block = block_first; block < block_last; block++) {
    const int8_t *lines = w->q + block * groups * GROUP_BYTES;
    const float *d = w->d + block * groups * TRI_BLOCK_ROWS;
    for (size_t r = 0; r < rows; r += GROUP) {
      const int8_t *q = panel + 4 * r;
      const float *scales = dx + r * groups;
      float *out = y + r * ldy + block * TRI_BLOCK_ROWS;
      switch (rows - r < GROUP ? rows - r : GROUP) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)
      }
    }
  }
}
