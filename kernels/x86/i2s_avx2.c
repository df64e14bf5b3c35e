/* SPDX-License-Identifier: MIT */
/* Ternary products on AVX2: vpmaddubsw multiplies codes (unsigned) by activations (signed) and adds pairs in 16 bits.
 *
 * Nothing saturates: a code is at most 2 and q in [-128, 127], so a pair of products is in [-512, 508]. A 16-bit lane
 * takes at most the 8 lines * 4 positions = 32 pairs of one chunk, in [-16384, 16256], and is then widened into 32
 * bits. one_row() keeps half of the codes times 4: 8 lines * 2 positions = 16 pairs of [-2048, 2032] are in
 * [-32768, 32512], which just fits. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 4, /* activation rows at a time: their accumulators must be registers */
  AHEAD = 4096,
};

/* sum + codes times the four activations at q, pairs added, in 16 bits. */
INLINE __m256i add_pairs(__m256i sum, __m256i codes, const int8_t *q) {
  int four;
  memcpy(&four, q, 4);
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, _mm256_set1_epi32(four)));
}

INLINE __m256i widen(__m256i sum, __m256i pairs) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* One row block against a lone activation row, where unpacking is most of the work: one shift by 4 and two masks take
 * a byte's codes, two as they are and two times 4. The sums of the latter are divided at the end, exactly. */
static void one_row(const uint8_t *w, size_t chunks, const int8_t *q, int32_t *y) {
  const __m256i low = _mm256_set1_epi8(0x03), high = _mm256_set1_epi8(0x0c), zero = _mm256_setzero_si256();
  __m256i ones[2] = {zero, zero}, fours[2] = {zero, zero};
  for (size_t c = 0; c < chunks; c++, w += LINES * LINE, q += TRI_K_ALIGN) {
    __m256i acc1[2] = {zero, zero}, acc4[2] = {zero, zero};
/* not more: gcc would add longer runs up as trees of temporaries, which spill */
#pragma GCC unroll 2
    for (size_t g = 0; g < LINES; g++)
      UNROLL for (size_t half = 0; half < 2; half++) {
        __m256i line = _mm256_load_si256((const __m256i *)(w + g * LINE + half * 32));
        __m256i down = _mm256_srli_epi16(line, 4);
        acc4[half] = add_pairs(acc4[half], _mm256_and_si256(down, high), q + 4 * g);
        acc1[half] = add_pairs(acc1[half], _mm256_and_si256(down, low), q + 4 * g + 32);
        acc4[half] = add_pairs(acc4[half], _mm256_and_si256(line, high), q + 4 * g + 64);
        acc1[half] = add_pairs(acc1[half], _mm256_and_si256(line, low), q + 4 * g + 96);
      }
    UNROLL for (size_t half = 0; half < 2; half++) {
      ones[half] = widen(ones[half], acc1[half]);
      fours[half] = widen(fours[half], acc4[half]);
    }
  }
  UNROLL for (size_t half = 0; half < 2; half++) {
    __m256i sum = _mm256_add_epi32(ones[half], _mm256_srai_epi32(fours[half], 2));
    _mm256_storeu_si256((__m256i *)(y + 8 * half), sum);
  }
}

/* One chunk of one half line (8 weight rows) against n activation rows of a panel, added to sums[n]. */
INLINE void half_chunk(const uint8_t *w, const int8_t *q, size_t rows, size_t n, __m256i *sums) {
  const __m256i three = _mm256_set1_epi8(3);
  __m256i acc[GROUP];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = _mm256_setzero_si256();
  for (size_t g = 0; g < LINES; g++) {
    __m256i line = _mm256_load_si256((const __m256i *)(w + g * LINE));
    UNROLL for (size_t p = 0; p < 4; p++) {
      __m256i codes = _mm256_and_si256(_mm256_srli_epi16(line, (int)(6 - 2 * p)), three);
      UNROLL for (size_t r = 0; r < n; r++) acc[r] = add_pairs(acc[r], codes, q + ((p * LINES + g) * rows + r) * 4);
    }
  }
  UNROLL for (size_t r = 0; r < n; r++) sums[r] = widen(sums[r], acc[r]);
}

/* One row block against rows [0, n) of q, of a panel of `rows`. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  __m256i sums[2][GROUP];
  UNROLL for (size_t r = 0; r < n; r++) sums[0][r] = sums[1][r] = _mm256_setzero_si256();
  for (size_t c = 0; c < chunks; c++) {
    const uint8_t *chunk = w + c * LINES * LINE;
    for (size_t g = 0; g < LINES; g++) _mm_prefetch((const char *)chunk + AHEAD + g * LINE, _MM_HINT_T0);
    half_chunk(chunk, q + c * TRI_K_ALIGN * rows, rows, n, sums[0]);
    half_chunk(chunk + LINE / 2, q + c * TRI_K_ALIGN * rows, rows, n, sums[1]);
  }
  UNROLL for (size_t r = 0; r < n; r++) {
    _mm256_storeu_si256((__m256i *)(y + r * ldy), sums[0][r]);
    _mm256_storeu_si256((__m256i *)(y + r * ldy + 8), sums[1][r]);
  }
}

#include "kernels/i2s_groups.h"

void tri_i2s_avx2_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                       size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *lines = w + block * chunks * LINES * LINE;
    int32_t *out = y + block * TRI_BLOCK_ROWS;
    if (rows == 1) one_row(lines, chunks, panel, out);
    else some_rows(lines, chunks, panel, rows, out, ldy);
  }
}
