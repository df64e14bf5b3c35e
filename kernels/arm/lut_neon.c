/* SPDX-License-Identifier: MIT */
/* Table lookups with tbl: one part at a time. */
#include <arm_neon.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/arm/arm.h"

enum { PARTS = 1 };

typedef uint8x16_t vb;
typedef struct sums {
  int16x8_t top, bottom; /* rows 0-7 and 8-15 */
} sums;

INLINE vb lut_load(const uint8_t *p) { return vld1q_u8(p); }
INLINE vb lut_zero(void) { return vdupq_n_u8(0); }
INLINE vb lut_add(vb a, vb b) { return vaddq_u8(a, b); }
INLINE vb lut_nibble(vb line, size_t u) { return u % 2 ? vshrq_n_u8(line, 4) : vandq_u8(line, vdupq_n_u8(15)); }
INLINE vb lut_look(vb table, vb index) { return vqtbl1q_u8(table, index); }

/* -v is ~v + 1: the ones are as many as a byte of signs has bits, and come once a group. */
INLINE vb lut_negate(vb v, vb signs, size_t u) { return veorq_u8(v, vtstq_u8(signs, vdupq_n_u8((uint8_t)(1 << u)))); }
INLINE vb lut_settle(vb sum, vb signs) { return vaddq_u8(sum, vcntq_u8(signs)); }

INLINE sums lut_join(sums s, vb low, vb high) {
  int8x16_t l = vreinterpretq_s8_u8(low), h = vreinterpretq_s8_u8(high);
  int8x8_t times = vdup_n_s8(31);
  return (sums){vmlal_s8(vaddw_s8(s.top, vget_low_s8(l)), vget_low_s8(h), times),
                vmlal_s8(vaddw_s8(s.bottom, vget_high_s8(l)), vget_high_s8(h), times)};
}

INLINE void lut_flush(sums s, int32_t *y) {
  vst1q_s32(y, vaddw_s16(vld1q_s32(y), vget_low_s16(s.top)));
  vst1q_s32(y + 4, vaddw_s16(vld1q_s32(y + 4), vget_high_s16(s.top)));
  vst1q_s32(y + 8, vaddw_s16(vld1q_s32(y + 8), vget_low_s16(s.bottom)));
  vst1q_s32(y + 12, vaddw_s16(vld1q_s32(y + 12), vget_high_s16(s.bottom)));
}

INLINE void lut_prefetch(const uint8_t *p) { __builtin_prefetch(p); }

#include "kernels/lut_body.h"

void tri_lut_neon_tl1(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL1, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_lut_neon_tl2(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy) {
  lut_gemm(TL2, w, k, panel, rows, block_first, block_last, y, ldy);
}
