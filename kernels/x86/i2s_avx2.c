/* SPDX-License-Identifier: MIT */
/* Ternary products on AVX2: vpmaddubsw multiplies codes (unsigned) by activations (signed) and adds pairs in 16 bits.
 *
 * Nothing saturates: a code is at most 2 and |q| at most 128, so a pair is at most 2 * 2 * 128 = 512 in size; a
 * 16-bit lane takes the 8 lines * 4 positions = 32 pairs of one chunk, at most 16384, and is then widened into
 * 32 bits (a hostile code 3 would reach 24576, still in range). */
#include <immintrin.h>
#include <string.h>
#include "kernels/x86/x86.h"

#define INLINE static inline __attribute__((always_inline))

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 4, /* activation rows at a time: their accumulators must be registers */
  AHEAD = 4096,
};

/* One chunk of one half line (8 weight rows) against n activation rows of a panel, added to sums[n]. */
INLINE void half_chunk(const uint8_t *w, const int8_t *q, size_t rows, size_t n, __m256i *sums) {
  const __m256i three = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  __m256i acc[GROUP];
  for (size_t r = 0; r < n; r++) acc[r] = _mm256_setzero_si256();
  for (size_t g = 0; g < LINES; g++) {
    __m256i line = _mm256_load_si256((const __m256i *)(w + g * LINE));
#pragma GCC unroll 4
    for (size_t p = 0; p < 4; p++) {
      __m256i codes = _mm256_and_si256(_mm256_srli_epi16(line, (int)(6 - 2 * p)), three);
#pragma GCC unroll 4
      for (size_t r = 0; r < n; r++) {
        int four;
        memcpy(&four, q + ((p * LINES + g) * rows + r) * 4, 4);
        acc[r] = _mm256_add_epi16(acc[r], _mm256_maddubs_epi16(codes, _mm256_set1_epi32(four)));
      }
    }
  }
  for (size_t r = 0; r < n; r++) sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(acc[r], ones));
}

/* One row block against rows [0, n) of q, of a panel of `rows`. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  __m256i sums[2][GROUP];
  for (size_t r = 0; r < n; r++) sums[0][r] = sums[1][r] = _mm256_setzero_si256();
  for (size_t c = 0; c < chunks; c++) {
    const uint8_t *chunk = w + c * LINES * LINE;
    for (size_t g = 0; g < LINES; g++) _mm_prefetch((const char *)chunk + AHEAD + g * LINE, _MM_HINT_T0);
    half_chunk(chunk, q + c * TRI_K_ALIGN * rows, rows, n, sums[0]);
    half_chunk(chunk + LINE / 2, q + c * TRI_K_ALIGN * rows, rows, n, sums[1]);
  }
  for (size_t r = 0; r < n; r++) {
    _mm256_storeu_si256((__m256i *)(y + r * ldy), sums[0][r]);
    _mm256_storeu_si256((__m256i *)(y + r * ldy + 8), sums[1][r]);
  }
}

void tri_i2s_avx2_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                       size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *lines = w + block * chunks * LINES * LINE;
    for (size_t r = 0; r < rows; r += GROUP) {
      const int8_t *q = panel + 4 * r;
      int32_t *out = y + r * ldy + block * TRI_BLOCK_ROWS;
      switch (rows - r) {
      case 1: one_block(lines, chunks, q, rows, 1, out, ldy); break;
      case 2: one_block(lines, chunks, q, rows, 2, out, ldy); break;
      case 3: one_block(lines, chunks, q, rows, 3, out, ldy); break;
      default: one_block(lines, chunks, q, rows, 4, out, ldy);
      }
    }
  }
}
