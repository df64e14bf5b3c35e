/* SPDX-License-Identifier: MIT */
#include <arm_neon.h>

static inline int32x4_t dot2(int32x4_t sum, int8x16_t w0, int8x16_t q0, int8x16_t w1, int8x16_t q1) {
  return vdotq_s32(vdotq_s32(sum, w0, q0), w1, q1);
}

#define GEMM tri_q8_dotprod_gemm
#include "kernels/arm/q8_body.h"
