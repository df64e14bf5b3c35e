/* SPDX-License-Identifier: MIT */
/* Ternary products with smmla: two rows' eight values by two weight rows' eight codes, four sums of eight products in one
 * instruction. Eight codes of a row stand in two lines; they are brought together while packed, once for four positions. */
#include <arm_neon.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/arm/arm.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  GROUP = 4, /* activation rows at a time: two pairs by eight pairs of weight rows are 16 accumulators */
  PAIRS = TRI_BLOCK_ROWS / 2,
};

INLINE int32x2_t one_four(const int8_t *q) {
  int32_t four;
  memcpy(&four, q, 4);
  return vdup_n_s32(four);
}

/* Four values of each of n rows; what stands for a row that isn't there doesn't matter. */
INLINE int32x4_t fours(const int8_t *q, size_t n) {
  if (n == 4) return vreinterpretq_s32_s8(vld1q_s8(q));
  int32x2_t pair = n == 1 ? one_four(q) : vreinterpret_s32_s8(vld1_s8(q));
  return vcombine_s32(pair, n == 3 ? one_four(q + 8) : vdup_n_s32(0));
}

/* One row block against rows [0, n) of q, of a panel of `rows`. The sums of a row that isn't there are dropped. */
INLINE void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  const uint8x16_t three = vdupq_n_u8(3);
  int32x4_t acc[GROUP / 2][PAIRS];
  UNROLL for (size_t r = 0; r < n; r += 2)
    UNROLL for (size_t i = 0; i < PAIRS; i++) acc[r / 2][i] = vdupq_n_s32(0);
  for (size_t c = 0; c < chunks; c++, q += TRI_K_ALIGN * rows)
    for (size_t g = 0; g < LINES; g += 2, w += 2 * LINE) {
      uint32x4_t packed[PAIRS];
      UNROLL for (size_t i = 0; i < PAIRS; i += 2) {
        uint32x4_t even = vreinterpretq_u32_u8(vld1q_u8(w + 8 * i)), odd = vreinterpretq_u32_u8(vld1q_u8(w + LINE + 8 * i));
        packed[i] = vzip1q_u32(even, odd), packed[i + 1] = vzip2q_u32(even, odd);
      }
      UNROLL for (size_t p = 0; p < 4; p++) {
        const int8_t *at = q + (p * LINES + g) * rows * 4;
        int32x4_t even = fours(at, n), odd = fours(at + rows * 4, n);
        int8x16_t values[GROUP / 2] = {vreinterpretq_s8_s32(vzip1q_s32(even, odd)), vreinterpretq_s8_s32(vzip2q_s32(even, odd))};
        UNROLL for (size_t i = 0; i < PAIRS; i++) {
          uint8x16_t down = vshlq_u8(vreinterpretq_u8_u32(packed[i]), vdupq_n_s8((int8_t)(2 * (int)p - 6)));
          int8x16_t codes = vreinterpretq_s8_u8(p ? vandq_u8(down, three) : down); /* the top one stands alone */
          UNROLL for (size_t r = 0; r < n; r += 2) acc[r / 2][i] = vmmlaq_s32(acc[r / 2][i], values[r / 2], codes);
        }
      }
    }
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t i = 0; i < PAIRS; i += 2) {
      int64x2_t a = vreinterpretq_s64_s32(acc[r / 2][i]), b = vreinterpretq_s64_s32(acc[r / 2][i + 1]);
      vst1q_s32(y + r * ldy + 2 * i, vreinterpretq_s32_s64(r % 2 ? vtrn2q_s64(a, b) : vtrn1q_s64(a, b)));
    }
}

#include "kernels/i2s_groups.h"

void tri_i2s_i8mm_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                       size_t block_last, int32_t *y, size_t ldy) {
  if (rows == 1) { /* half of each smmla would be for nothing */
    tri_i2s_dotprod_gemm(w, k, panel, rows, block_first, block_last, y, ldy);
    return;
  }
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++)
    some_rows(w + block * chunks * LINES * LINE, chunks, panel, rows, y + block * TRI_BLOCK_ROWS, ldy);
}
