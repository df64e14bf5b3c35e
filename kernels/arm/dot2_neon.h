/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_ARM_DOT2_NEON_H
#define TRI_KERNELS_ARM_DOT2_NEON_H
#include <arm_neon.h>

/* dot2(sum, w0, q0, w1, q1): sum plus, in each 32-bit lane, the four products of w0 by q0 and of w1 by q1. */

/* In 16 bits, two products are at most 2 * 128 * 127 = 32512 (|q| <= 127 by contract). */
static inline int32x4_t dot2(int32x4_t sum, int8x16_t w0, int8x16_t q0, int8x16_t w1, int8x16_t q1) {
  int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(q0)),
            high = vmull_s8(vget_high_s8(w0), vget_high_s8(q0));
  low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(q1));
  high = vmlal_s8(high, vget_high_s8(w1), vget_high_s8(q1));
  return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

#endif
