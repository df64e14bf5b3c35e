/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_I2S_H
#define TRI_KERNELS_I2S_H
#include "kernels/kernels.h"

/* Between the I2_S layout of files and R16 (kernels.h). File layout, [m, k] flat row-major, k fastest: element e,
 * B = e / 128, j = e % 128: byte 32B + j % 32, shift 6 - 2 * (j / 32), code t + 1; m*k/4 bytes of codes.
 *
 * Code 3 is no trit: readers must refuse it (tri_i2s_check) before packing. */

/* True if none of n code bytes holds code 3. */
bool tri_i2s_check(const uint8_t *codes, size_t bytes);

/* Pack row blocks [block_first, block_last) of an [m, k] matrix into out, which is the whole R16 matrix
 * (tri_i2s_bytes, 64-byte aligned). (m*k) % 128 == 0; k need not be a multiple of 128. Threads may share the
 * work by row blocks. */
void tri_i2s_from_file(const uint8_t *codes, size_t m, size_t k, uint8_t *out, size_t block_first, size_t block_last);
/* Pack from trits, int8 [m, k] in {-1, 0, 1}. */
void tri_i2s_from_trits(const int8_t *trits, size_t m, size_t k, uint8_t *out);
/* One weight of an R16 matrix: -1, 0 or 1 (for tests and checks, slow). */
int tri_i2s_at(const uint8_t *w, size_t k, size_t row, size_t col);
/* Write trits [n] as file codes, n % 128 == 0, n/4 bytes. */
void tri_i2s_to_file(const int8_t *trits, size_t n, uint8_t *codes);
/* Read file codes as trits, n % 128 == 0. */
void tri_i2s_trits(const uint8_t *codes, size_t n, int8_t *trits);

/* Q8_0 as in files: per 32 values an f16 scale and 32 int8 (34 bytes), row-major. Packs row blocks
 * [block_first, block_last) into q and d of the run-time form (kernels.h). */
void tri_q8_from_file(const uint8_t *blocks, size_t m, size_t k, int8_t *q, float *d, size_t block_first,
                      size_t block_last);
/* Quantise n floats, n % 32 == 0, to Q8_0 file blocks: d = max|x| / 127 rounded to f16 (at most 65504), q = x / d
 * rounded half-even and clamped to [-127, 127]; 0 where d is 0. */
void tri_q8_to_file(const float *x, size_t n, uint8_t *blocks);

/* IEEE half <-> float, exact, without hardware, to the bit as hardware does it (a signalling NaN becomes quiet).
 * from: round to nearest even. */
float tri_f16_to_f32(uint16_t h);
uint16_t tri_f16_from_f32(float f);

#endif
