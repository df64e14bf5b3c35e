/* SPDX-License-Identifier: MIT */
/* Ternary products on plain NEON: widening multiply-adds of codes by activations in 16-bit lanes.
 *
 * Nothing overflows: a product is at most 2 * 128 = 256 in size and a lane takes the 8 lines * 4 positions = 32
 * products of one chunk, at most 8192, before it is widened into 32 bits. */
#include <arm_neon.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/arm/arm.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 2, /* activation rows at a time: each has two accumulators for the four weight rows of a register */
};

/* 16-bit sums of two weight rows each, of four */
typedef struct pair {
  int16x8_t low, high;
} pair;

/* One chunk of a quarter line (4 weight rows) against n activation rows of a panel, added to sums[n]. */
INLINE void quarter_chunk(const uint8_t *w, const int8_t *q, size_t rows, size_t n, int32x4_t *sums) {
  const uint8x16_t three = vdupq_n_u8(3);
  pair acc[GROUP];
  UNROLL for (size_t r = 0; r < n; r++) acc[r].low = acc[r].high = vdupq_n_s16(0);
  for (size_t g = 0; g < LINES; g++) {
    uint8x16_t line = vld1q_u8(w + g * LINE);
    UNROLL for (size_t p = 0; p < 4; p++) {
      uint8x16_t down = vshlq_u8(line, vdupq_n_s8((int8_t)(2 * (int)p - 6)));
      int8x16_t codes = vreinterpretq_s8_u8(vandq_u8(down, three));
      UNROLL for (size_t r = 0; r < n; r++) {
        int32_t four;
        memcpy(&four, q + ((p * LINES + g) * rows + r) * 4, 4);
        int8x8_t values = vreinterpret_s8_s32(vdup_n_s32(four));
        acc[r].low = vmlal_s8(acc[r].low, vget_low_s8(codes), values);
        acc[r].high = vmlal_s8(acc[r].high, vget_high_s8(codes), values);
      }
    }
  }
  UNROLL for (size_t r = 0; r < n; r++)
    sums[r] = vaddq_s32(sums[r], vpaddq_s32(vpaddlq_s16(acc[r].low), vpaddlq_s16(acc[r].high)));
}

/* One row block against rows [0, n) of q, of a panel of `rows`. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  int32x4_t sums[4][GROUP];
  UNROLL for (size_t i = 0; i < 4; i++)
    UNROLL for (size_t r = 0; r < n; r++) sums[i][r] = vdupq_n_s32(0);
  for (size_t c = 0; c < chunks; c++)
    UNROLL for (size_t i = 0; i < 4; i++)
      quarter_chunk(w + c * LINES * LINE + i * 16, q + c * TRI_K_ALIGN * rows, rows, n, sums[i]);
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t i = 0; i < 4; i++) vst1q_s32(y + r * ldy + 4 * i, sums[i][r]);
}

void tri_i2s_neon_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                       size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *lines = w + block * chunks * LINES * LINE;
    for (size_t r = 0; r < rows; r += GROUP) {
      const int8_t *q = panel + 4 * r;
      int32_t *out = y + r * ldy + block * TRI_BLOCK_ROWS;
      if (rows - r == 1) one_block(lines, chunks, q, rows, 1, out, ldy);
      else one_block(lines, chunks, q, rows, 2, out, ldy);
    }
  }
}
