/* SPDX-License-Identifier: MIT */
/* Q6 products in 16-byte registers. The including file defines, after q6_vector.h and a file of dot2, GEMM.
 * ARM's products are signed by signed: the 32 is taken off each code at once, and no start is needed. */
#include "kernels/arm/arm.h"

INLINE int32_t start_of(const int8_t *q, size_t step) { return (void)q, (void)step, 0; }

INLINE vi products(const vb *u, const int8_t *q, size_t step, int32_t start, vi scale) {
  int32x4_t sum = vdupq_n_s32(0);
  (void)start;
  UNROLL for (size_t g = 0; g < 4; g += 2) {
    int32_t a, b;
    memcpy(&a, q + g * step, 4), memcpy(&b, q + (g + 1) * step, 4);
    sum = dot2(sum, (int8x16_t)(u[g] - 32), vreinterpretq_s8_s32(vdupq_n_s32(a)), (int8x16_t)(u[g + 1] - 32),
               vreinterpretq_s8_s32(vdupq_n_s32(b)));
  }
  return (vi)sum * scale;
}

#include "kernels/q6_body.h"
