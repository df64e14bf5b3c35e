/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_ARM_DOT2_DOTPROD_H
#define TRI_KERNELS_ARM_DOT2_DOTPROD_H
#include <arm_neon.h>

/* dot2(sum, w0, q0, w1, q1): sum plus, in each 32-bit lane, the four products of w0 by q0 and of w1 by q1. */

static inline int32x4_t dot2(int32x4_t sum, int8x16_t w0, int8x16_t q0, int8x16_t w1, int8x16_t q1) {
  return vdotq_s32(vdotq_s32(sum, w0, q0), w1, q1);
}

#endif
