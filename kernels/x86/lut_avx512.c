/* SPDX-License-Identifier: MIT */
/* Table lookups in 64-byte registers: a line at once. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum { PARTS = 4 };

typedef __m512i vb;
typedef struct sums {
  __m512i top, bottom; /* rows 0-7 and 8-15, of one part in each quarter */
} sums;

INLINE vb lut_load(const uint8_t *p) { return _mm512_load_si512(p); }
INLINE vb lut_zero(void) { return _mm512_setzero_si512(); }
INLINE vb lut_add(vb a, vb b) { return _mm512_add_epi8(a, b); }
INLINE vb lut_nibble(vb line, size_t u) {
  return _mm512_and_si512(u % 2 ? _mm512_srli_epi16(line, 4) : line, _mm512_set1_epi8(15));
}
INLINE vb lut_look(vb table, vb index) { return _mm512_shuffle_epi8(table, index); }

INLINE vb lut_negate(vb v, vb signs, size_t u) {
  __mmask64 negative = _mm512_test_epi8_mask(signs, _mm512_set1_epi8((char)(1 << u)));
  return _mm512_mask_sub_epi8(v, negative, _mm512_setzero_si512(), v);
}
INLINE vb lut_settle(vb sum, vb signs) { return (void)signs, sum; }

INLINE sums lut_join(sums s, vb low, vb high) {
  const __m512i weights = _mm512_set1_epi16(31 << 8 | 1);
  __m512i top = _mm512_maddubs_epi16(weights, _mm512_unpacklo_epi8(low, high));
  __m512i bottom = _mm512_maddubs_epi16(weights, _mm512_unpackhi_epi8(low, high));
  return (sums){_mm512_add_epi16(s.top, top), _mm512_add_epi16(s.bottom, bottom)};
}

/* the four parts' 16-bit sums of eight rows */
INLINE __m256i add_parts(__m512i s) {
  __m512i pairs = _mm512_add_epi32(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(s)),
                                   _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(s, 1)));
  return _mm256_add_epi32(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
}
INLINE void lut_flush(sums s, int32_t *y) {
  __m512i sum = _mm512_inserti64x4(_mm512_castsi256_si512(add_parts(s.top)), add_parts(s.bottom), 1);
  _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum));
}

INLINE void lut_prefetch(const uint8_t *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }

#include "kernels/lut_body.h"

void tri_lut_avx512_tl1(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                        size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL1, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_lut_avx512_tl2(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                        size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL2, w, k, panel, rows, block_first, block_last, y, ldy);
}
