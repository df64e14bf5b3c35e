/* SPDX-License-Identifier: MIT */
/* Without VNNI, products are 16-bit: a lane sums 8 of a group's 16. With the 32s taken off the true sum is at
 * most 8 * 32 * 127 = 32512, so it comes out right whatever wraps on the way; a pair of products, 2 * 63 *
 * 127, never saturates. The multiplication by the scale adds the two lanes of a weight row. */
#define WIDTH 32
#define ROWS 3
#include "kernels/q6_vector.h"

#include <immintrin.h>
#include "kernels/x86/x86.h"

/* -32 times the sums of the activations that meet in the two lanes */
INLINE int32_t start_of(const int8_t *q, size_t step) {
  int16_t lanes[2] = {0, 0};
  int32_t both;
  for (size_t g = 0; g < 4; g++, q += step) {
    lanes[0] = (int16_t)(lanes[0] - 32 * (q[0] + q[1]));
    lanes[1] = (int16_t)(lanes[1] - 32 * (q[2] + q[3]));
  }
  memcpy(&both, lanes, sizeof both);
  return both;
}

INLINE vi products(const vb *u, const int8_t *q, size_t step, int32_t start, vi scale) {
  __m256i sum = _mm256_set1_epi32(start), s = (__m256i)scale;
  UNROLL for (size_t g = 0; g < 4; g++) {
    int four;
    memcpy(&four, q + g * step, 4);
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16((__m256i)u[g], _mm256_set1_epi32(four)));
  }
  return (vi)_mm256_madd_epi16(sum, _mm256_blend_epi16(s, _mm256_slli_epi32(s, 16), 0xaa));
}

#define GEMM tri_q6_avx2_gemm
#include "kernels/q6_body.h"
