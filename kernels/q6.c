/* SPDX-License-Identifier: MIT */
#include "kernels/q6.h"

#include <math.h>
#include <string.h>
#include "kernels/i2s.h"

enum {
  HIGH = 128, /* qh's place in a file block */
  SCALES = 192,
  D = 208,
  GROUPS = TRI_Q6_BLOCK / TRI_Q6_GROUP,
};

static unsigned file_code(const uint8_t *block, size_t i) {
  size_t half = i / 128, j = i % 128;
  unsigned low = block[64 * half + j % 64] >> 4 * (j / 64) & 15;
  return low | (block[HIGH + 32 * half + j % 32] >> 2 * (j / 32) & 3) << 4;
}

static float file_d(const uint8_t *block) {
  uint16_t half;
  memcpy(&half, block + D, 2);
  return tri_f16_to_f32(half);
}

/* Put a file block into its run-time block as row `row` of 16. */
static void place(const uint8_t *block, size_t row, uint8_t *out) {
  float d = file_d(block);
  memcpy(out + row * sizeof d, &d, sizeof d);
  for (size_t g = 0; g < GROUPS; g++) {
    uint8_t *lines = out + TRI_Q6_CODES + g * TRI_Q6_LINES + 4 * row;
    out[TRI_Q6_SCALES + g * TRI_BLOCK_ROWS + row] = block[SCALES + g];
    for (size_t i = 0; i < TRI_Q6_GROUP; i++) {
      unsigned code = file_code(block, g * TRI_Q6_GROUP + i);
      size_t line = i / 4, byte = i % 4;
      lines[line % 2 * 64 + byte] |= (uint8_t)((code & 15) << line / 2 * 4);
      lines[128 + byte] |= (uint8_t)((code >> 4) << 2 * line);
    }
  }
}

void tri_q6_from_file(const uint8_t *blocks, size_t m, size_t k, uint8_t *out, size_t block_first,
                      size_t block_last) {
  size_t across = k / TRI_Q6_BLOCK;
  memset(out + block_first * across * TRI_Q6_BYTES, 0, (block_last - block_first) * across * TRI_Q6_BYTES);
  for (size_t row = block_first * TRI_BLOCK_ROWS; row < block_last * TRI_BLOCK_ROWS && row < m; row++)
    for (size_t b = 0; b < across; b++)
      place(blocks + (row * across + b) * TRI_Q6_FILE_BYTES, row % TRI_BLOCK_ROWS,
            out + (row / TRI_BLOCK_ROWS * across + b) * TRI_Q6_BYTES);
}

void tri_q6_values(const uint8_t *blocks, size_t n, float *x) {
  for (size_t b = 0; b < n; b++, blocks += TRI_Q6_FILE_BYTES)
    for (size_t i = 0; i < TRI_Q6_BLOCK; i++)
      *x++ = file_d(blocks) * (float)(int8_t)blocks[SCALES + i / TRI_Q6_GROUP] *
             (float)((int)file_code(blocks, i) - 32);
}

/* --- quantising --- */

/* To an integer (nearest, ties to even) in [-32, 31]; a NaN to -32. Without libm's call, which costs more
 * than the rest: beyond 1.5 * 2^23 a float has no fraction bits, so the addition rounds. */
static float rounded(float x) {
  x = x > -32 ? x : -32;
  x = x < 31 ? x : 31;
  return x + 12582912.0f - 12582912.0f;
}

/* The scale for 16 values that leaves the least squared error: of several factors that make the largest value
 * about -32, each followed by least squares. */
static float group_scale(const float *x) {
  float top = 0, best = 0, best_gain = 0;
  for (size_t i = 0; i < TRI_Q6_GROUP; i++)
    if (fabsf(x[i]) > fabsf(top)) top = x[i];
  for (int step = -9; step <= 9; step++) {
    float factor = -(32 + 0.1f * (float)step) / top, xq = 0, qq = 0;
    for (size_t i = 0; i < TRI_Q6_GROUP; i++) {
      float q = rounded(x[i] * factor);
      xq += x[i] * q, qq += q * q;
    }
    /* the squared error is sum(x^2) - xq^2 / qq */
    if (qq > 0 && xq * xq > best_gain * qq) best = xq / qq, best_gain = xq * xq / qq;
  }
  return best;
}

static void put_code(uint8_t *block, size_t i, unsigned code) {
  size_t half = i / 128, j = i % 128;
  block[64 * half + j % 64] |= (uint8_t)((code & 15) << 4 * (j / 64));
  block[HIGH + 32 * half + j % 32] |= (uint8_t)((code >> 4) << 2 * (j / 32));
}

static void quantise_block(const float *x, uint8_t *block) {
  float scale[GROUPS], top = 0;
  memset(block, 0, TRI_Q6_FILE_BYTES);
  for (size_t g = 0; g < GROUPS; g++) {
    scale[g] = group_scale(x + g * TRI_Q6_GROUP);
    if (fabsf(scale[g]) > fabsf(top)) top = scale[g];
  }
  uint16_t half = tri_f16_from_f32(fmaxf(-65504, fminf(top / -128, 65504)));
  float d = tri_f16_to_f32(half);
  memcpy(block + D, &half, 2);
  for (size_t g = 0; g < GROUPS; g++) {
    /* d was rounded, so -128 can be passed a little; a d of 0 has no scales */
    float s = d != 0 ? fmaxf(-128, fminf(nearbyintf(scale[g] / d), 127)) : 0, step = d * s;
    block[SCALES + g] = (uint8_t)(int8_t)s;
    for (size_t i = g * TRI_Q6_GROUP; i < (g + 1) * TRI_Q6_GROUP; i++)
      put_code(block, i, (unsigned)(32 + (int)(step != 0 ? rounded(x[i] / step) : 0)));
  }
}

void tri_q6_to_file(const float *x, size_t n, uint8_t *blocks) {
  for (size_t i = 0; i < n; i += TRI_Q6_BLOCK, blocks += TRI_Q6_FILE_BYTES) quantise_block(x + i, blocks);
}
