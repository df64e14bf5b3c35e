/* SPDX-License-Identifier: MIT */
#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i dot4(__m256i sum, __m256i magnitudes, __m256i values) {
  __m256i pairs = _mm256_maddubs_epi16(magnitudes, values);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#define GEMM tri_q8_avx2_gemm
#include "kernels/x86/q8_256.h"
