/* SPDX-License-Identifier: MIT */
/* Table lookups in 32-byte registers: two parts at once. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum { PARTS = 2 };

typedef __m256i vb;
typedef struct sums {
  __m256i top, bottom; /* rows 0-7 and 8-15, of one part in each half */
} sums;

INLINE vb lut_load(const uint8_t *p) { return _mm256_load_si256((const __m256i *)p); }
INLINE vb lut_zero(void) { return _mm256_setzero_si256(); }
INLINE vb lut_add(vb a, vb b) { return _mm256_add_epi8(a, b); }
INLINE vb lut_nibble(vb line, size_t u) {
  return _mm256_and_si256(u % 2 ? _mm256_srli_epi16(line, 4) : line, _mm256_set1_epi8(15));
}
INLINE vb lut_look(vb table, vb index) { return _mm256_shuffle_epi8(table, index); }

/* The shift brings bit u to the top, where vpsignb looks; bit 0, set first, keeps the rest of the byte from being 0. */
INLINE vb lut_negate(vb v, vb signs, size_t u) {
  const __m256i one = _mm256_set1_epi8(1);
  __m256i top = u ? _mm256_slli_epi16(_mm256_or_si256(signs, one), (int)(7 - u))
                  : _mm256_or_si256(_mm256_slli_epi16(signs, 7), one);
  return _mm256_sign_epi8(v, top);
}
INLINE vb lut_settle(vb sum, vb signs) { return (void)signs, sum; }

INLINE sums lut_join(sums s, vb low, vb high) {
  const __m256i weights = _mm256_set1_epi16(31 << 8 | 1);
  __m256i top = _mm256_maddubs_epi16(weights, _mm256_unpacklo_epi8(low, high));
  __m256i bottom = _mm256_maddubs_epi16(weights, _mm256_unpackhi_epi8(low, high));
  return (sums){_mm256_add_epi16(s.top, top), _mm256_add_epi16(s.bottom, bottom)};
}

INLINE void add_both(__m256i s, int32_t *y) {
  __m256i sum = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(s)),
                                 _mm256_cvtepi16_epi32(_mm256_extracti128_si256(s, 1)));
  _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum));
}
INLINE void lut_flush(sums s, int32_t *y) { add_both(s.top, y), add_both(s.bottom, y + 8); }

INLINE void lut_prefetch(const uint8_t *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }

#include "kernels/lut_body.h"

void tri_lut_avx2_tl1(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL1, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_lut_avx2_tl2(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL2, w, k, panel, rows, block_first, block_last, y, ldy);
}
