/* SPDX-License-Identifier: MIT */
/* Q6 products with VNNI. The including file defines, after q6_vector.h, spread(x), x in every 32-bit lane;
 * dot4(sum, codes, values), sum plus the four products of each lane; and GEMM. */
#include "kernels/x86/x86.h"

INLINE int32_t start_of(const int8_t *q, size_t step) {
  int32_t sum = 0;
  for (size_t g = 0; g < 4; g++, q += step) sum += q[0] + q[1] + q[2] + q[3];
  return -32 * sum;
}

INLINE vi products(const vb *u, const int8_t *q, size_t step, int32_t start, vi scale) {
  vi sum = spread(start);
  UNROLL for (size_t g = 0; g < 4; g++) {
    int32_t four;
    memcpy(&four, q + g * step, 4);
    sum = dot4(sum, u[g], spread(four));
  }
  return sum * scale;
}

#include "kernels/q6_body.h"
