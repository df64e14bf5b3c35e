/* SPDX-License-Identifier: MIT */
/* INT8 products in 16-byte registers. Included after a file of dot2 by a file that defines GEMM, the function's name. */
#include <string.h>
#include "kernels/inline.h"
#include "kernels/arm/arm.h"

enum {
  LINE = 64,
  GROUP_BYTES = 512, /* weights of one group of 32 values for 16 rows */
};

static inline int8x16_t spread(const int8_t *q) {
  int32_t four;
  memcpy(&four, q, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* One group of 16 weight rows times one activation row (q: its first four values, `step` bytes from four to four). */
static inline void add_group(const int8_t *w, const float *d, const int8_t *q, size_t step, float dx,
                             float32x4_t *acc) {
  int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (size_t g = 0; g < 8; g += 2) {
    int8x16_t q0 = spread(q + g * step), q1 = spread(q + (g + 1) * step);
    UNROLL for (size_t i = 0; i < 4; i++)
      sums[i] = dot2(sums[i], vld1q_s8(w + g * LINE + 16 * i), q0, vld1q_s8(w + (g + 1) * LINE + 16 * i), q1);
  }
  UNROLL for (size_t i = 0; i < 4; i++) {
    float32x4_t scale = vmulq_n_f32(vld1q_f32(d + 4 * i), dx);
    acc[i] = vaddq_f32(acc[i], vmulq_f32(vcvtq_f32_s32(sums[i]), scale));
  }
}

void GEMM(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first, size_t block_last,
          float *y, size_t ldy) {
  size_t groups = w->k / TRI_Q8_BLOCK;
  for (size_t block = block_first; block < block_last; block++)
    for (size_t r = 0; r < rows; r++) {
      float32x4_t acc[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
      for (size_t g = 0; g < groups; g++) {
        size_t at = block * groups + g;
        add_group(w->q + at * GROUP_BYTES, w->d + at * TRI_BLOCK_ROWS, panel + (g * 8 * rows + r) * 4, rows * 4,
                  dx[r * groups + g], acc);
      }
      UNROLL for (size_t i = 0; i < 4; i++) vst1q_f32(y + r * ldy + block * TRI_BLOCK_ROWS + 4 * i, acc[i]);
    }
}
