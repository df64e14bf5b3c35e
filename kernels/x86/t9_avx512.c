/* SPDX-License-Identifier: MIT */
/* T9: 21 instructions for 576 weights, hardly more than R16's 18, and an eighth fewer bytes. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/dot512.h"
#include "kernels/x86/tables64.h"
#include "kernels/x86/x86.h"

enum { UNIT = 128, POSITIONS = 9 };

typedef struct decoded {
  __m512i at[POSITIONS];
} decoded;

INLINE size_t place(size_t p) { return p < 8 ? 2 * (p % 4) : 6; }

/* of an index r + 27 * e: r's three codes, and e both at bit 7 (for a first byte) and at bit 6 (for a second one) */
#define THREE(i) (uint8_t)(CODES(i) | (i) / 27 % 2 * 0xc0)

static const _Alignas(64) uint8_t table[64] = {ALL(THREE)};

INLINE decoded decode(const uint8_t *w) {
  const __m512i codes = _mm512_load_si512(table), bit7 = _mm512_set1_epi8((char)0x80);
  __m512i first = _mm512_load_si512(w), second = _mm512_load_si512(w + 64);
  __m512i a = _mm512_permutexvar_epi8(first, codes), b = _mm512_permutexvar_epi8(second, codes);
  __m512i last = _mm512_ternarylogic_epi64(bit7, a, b, 0xca); /* a where bit7 is set, else b */
  return (decoded){{a, a, a, first, b, b, b, second, last}};
}

#define GEMM tri_t9_avx512_gemm
#include "kernels/x86/dense_avx512.h"
