/* SPDX-License-Identifier: MIT */
/* Ternary products with sdot: a register holds four weight rows' dwords, one instruction sums four products of each. */
#include <arm_neon.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/arm/arm.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 4, /* activation rows at a time: 4 * GROUP accumulators in 32 registers */
};

/* One row block against rows [0, n) of q, of a panel of `rows`. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  const uint8x16_t three = vdupq_n_u8(3);
  int32x4_t acc[GROUP][4];
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t i = 0; i < 4; i++) acc[r][i] = vdupq_n_s32(0);
  for (size_t c = 0; c < chunks; c++, q += TRI_K_ALIGN * rows)
    for (size_t g = 0; g < LINES; g++, w += LINE) {
      uint8x16x4_t line = vld1q_u8_x4(w);
      UNROLL for (size_t p = 0; p < 4; p++) {
        int8x16_t codes[4];
        UNROLL for (size_t i = 0; i < 4; i++) {
          uint8x16_t down = vshlq_u8(line.val[i], vdupq_n_s8((int8_t)(2 * (int)p - 6)));
          codes[i] = vreinterpretq_s8_u8(p ? vandq_u8(down, three) : down); /* the top one stands alone */
        }
        const int8_t *at = q + (p * LINES + g) * rows * 4;
        if (n == GROUP) { /* one load for all rows: sdot takes a lane of it */
          int8x16_t values = vld1q_s8(at);
          UNROLL for (size_t i = 0; i < 4; i++) {
            acc[0][i] = vdotq_laneq_s32(acc[0][i], codes[i], values, 0);
            acc[1][i] = vdotq_laneq_s32(acc[1][i], codes[i], values, 1);
            acc[2][i] = vdotq_laneq_s32(acc[2][i], codes[i], values, 2);
            acc[3][i] = vdotq_laneq_s32(acc[3][i], codes[i], values, 3);
          }
          continue;
        }
        UNROLL for (size_t r = 0; r < n; r++) {
          int32_t four;
          memcpy(&four, at + 4 * r, 4);
          int8x16_t values = vreinterpretq_s8_s32(vdupq_n_s32(four));
          UNROLL for (size_t i = 0; i < 4; i++) acc[r][i] = vdotq_s32(acc[r][i], codes[i], values);
        }
      }
    }
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t i = 0; i < 4; i++) vst1q_s32(y + r * ldy + 4 * i, acc[r][i]);
}

#include "kernels/i2s_groups.h"

void tri_i2s_dotprod_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                          size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++)
    some_rows(w + block * chunks * LINES * LINE, chunks, panel, rows, y + block * TRI_BLOCK_ROWS, ldy);
}
