/* SPDX-License-Identifier: MIT */
/* Ternary products on 256-bit VNNI, for two encodings of one instruction: VEX (AVX-VNNI) and EVEX (AVX-512VL). The
 * including file defines dpbusd(sum, codes, activations) and GEMM, the function's name. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 4, /* activation rows at a time: 2 * GROUP accumulators in 16 registers */
  AHEAD = 4096,
};

/* One row block against rows [0, n) of q, of a panel of `rows`. With one or two rows, positions get accumulators of
 * their own (`ways`) so that a chain of additions doesn't wait for itself. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  const __m256i three = _mm256_set1_epi8(3);
  const size_t ways = n == 1 ? 4 : n == 2 ? 2 : 1;
  __m256i acc[GROUP][2];
  UNROLL for (size_t r = 0; r < n * ways; r++) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
  for (size_t c = 0; c < chunks; c++, q += TRI_K_ALIGN * rows)
    for (size_t g = 0; g < LINES; g++, w += LINE) {
      __m256i left = _mm256_load_si256((const __m256i *)w), right = _mm256_load_si256((const __m256i *)(w + 32));
      if (n > 2) _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0); /* with fewer, memory is the limit */
      UNROLL for (size_t p = 0; p < 4; p++) {
        __m256i codes_left = _mm256_and_si256(_mm256_srli_epi16(left, (int)(6 - 2 * p)), three);
        __m256i codes_right = _mm256_and_si256(_mm256_srli_epi16(right, (int)(6 - 2 * p)), three);
        UNROLL for (size_t r = 0; r < n; r++) {
          int four;
          memcpy(&four, q + ((p * LINES + g) * rows + r) * 4, 4);
          __m256i *sum = acc[r * ways + p % ways];
          sum[0] = dpbusd(sum[0], codes_left, _mm256_set1_epi32(four));
          sum[1] = dpbusd(sum[1], codes_right, _mm256_set1_epi32(four));
        }
      }
    }
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t half = 0; half < 2; half++) {
      __m256i sum = acc[r * ways][half];
      for (size_t i = 1; i < ways; i++) sum = _mm256_add_epi32(sum, acc[r * ways + i][half]);
      _mm256_storeu_si256((__m256i *)(y + r * ldy + 8 * half), sum);
    }
}

#include "kernels/i2s_groups.h"

void GEMM(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first, size_t block_last,
          int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++)
    some_rows(w + block * chunks * LINES * LINE, chunks, panel, rows, y + block * TRI_BLOCK_ROWS, ldy);
}
