/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_LAYOUTS_H
#define TRI_ENGINE_LAYOUTS_H
#include "engine/gguf.h"

/* Layouts of ternary matrices in files whose scales belong to rows or blocks: those of llama.cpp and ik_llama.cpp; and the other
 * orders that bitnet.cpp has packed I2_S in. Code c stands for the weight c - 1.
 *
 * TQ2_0 (llama.cpp): 256 weights of a row in 66 bytes: qs[64], f16 d. Weight i, with h = i / 128 and j = i % 128, has two bits of
 *   qs[32h + j % 32], at the shift 2 * (j / 32).
 * TQ1_0 (llama.cpp): 256 weights in 54 bytes: qs[48], qh[4], f16 d. Five codes are a number n = ((((c0 * 3 + c1) * 3 + c2) * 3 + c3) * 3
 *   + c4, stored as ceil(256 n / 243). Weights 0-159: byte j < 32 of qs has j, 32 + j, …, 128 + j. 160-239: byte 32 + j has 160 + j,
 *   176 + j, …. 240-255: byte j of qh has 240 + j, 244 + j, 248 + j, 252 + j and, last, a code of 0.
 * IQ2_BN (ik_llama.cpp): a row is f32 d and 16 bytes for each 64 weights: byte j has j, 16 + j, 32 + j, 48 + j, at shifts 0, 2, 4, 6.
 * IQ2_BN_R4: four rows together: 4 f32 d, then 64 bytes for each 64 weights: byte 16 l + 4 r + i has of row r the weights
 *   16 l + i, 16 l + 4 + i, 16 l + 8 + i, 16 l + 12 + i, at shifts 0, 2, 4, 6.
 * IQ1_BN: a row is f16 d and 13 bytes for each 64 weights: of each 16, three bytes of five codes, and the 13th byte has the last of
 *   each 16 and a code of 0; a byte is as in TQ1_0, but c0 counts least.
 *
 * Where d is 0 the weights are zero, whatever the codes say: ik_llama.cpp writes codes of 2 for a row of zeros. Where all codes are
 * 1, d may be anything. */

bool tri_layouts_is(uint32_t type); /* one of the five above */
/* The rule of its type that an [m, k] matrix breaks, in words, or NULL. */
const char *tri_layouts_misfit(uint32_t type, size_t m, size_t k);

/* Rows [first, last) of `data`, [m, k]: trits and each row's scale, 0 where all of a row is zero. Of IQ2_BN_R4 first and last are
 * multiples of 4. False if a code is no weight's, a scale is negative or not finite, or a row's blocks differ in their scales. */
bool tri_layouts_unpack(uint32_t type, const uint8_t *data, size_t k, size_t first, size_t last, int8_t *trits, float *scales);
/* The opposite; f16 scales are rounded to the nearest. Not for IQ2_BN_R4. */
void tri_layouts_pack(uint32_t type, const int8_t *trits, const float *scales, size_t k, size_t first, size_t last, uint8_t *data);
/* True if this type's scales are f16. */
bool tri_layouts_halves(uint32_t type);

/* How a program packs I2_S, whose number is the same for all three. */
typedef enum tri_i2s_order {
  TRI_I2S_X86,   /* kernels/i2s.h: 128 weights in 32 bytes; what files on the hubs have */
  TRI_I2S_ARM,   /* 64 weights in 16 bytes: byte j has j, 16 + j, 32 + j, 48 + j, at shifts 6, 4, 2, 0 */
  TRI_I2S_FOURS, /* byte j of a group of four rows has the column j of each, at shifts 6, 4, 2, 0 */
} tri_i2s_order;
/* Trits of rows [first, last) from such codes, other than X86; first and last are multiples of 4, and (last - first) * k of 64. */
void tri_layouts_i2s(tri_i2s_order order, const uint8_t *codes, size_t k, size_t first, size_t last, int8_t *trits);

#endif
