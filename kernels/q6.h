/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_Q6_H
#define TRI_KERNELS_Q6_H
#include "kernels/kernels.h"

/* Between the Q6_K layout of files and the run-time form tri_q6 (kernels.h). A file's block holds 256 values
 * of a row in 210 bytes (ggml's block_q6_K): ql[128], qh[64], int8 scale[16], f16 d; value i is
 *     d * scale[i / 16] * (code - 32),
 * and with h = i / 128, j = i % 128 its 6-bit code has the low four bits in ql[64h + j % 64], at the shift
 * 4 * (j / 64), and the high two in qh[32h + j % 32], at the shift 2 * (j / 32). */

enum {
  TRI_Q6_FILE_BYTES = 210,
  /* in a run-time block, after the 16 floats d */
  TRI_Q6_SCALES = 64,
  TRI_Q6_CODES = 320,
  TRI_Q6_LINES = 192, /* bytes of a group's codes */
};

/* Pack row blocks [block_first, block_last) of a file's [m, k] matrix, k % 256 == 0, into the whole run-time
 * matrix `out` (tri_q6_bytes, 64-byte aligned). Threads may share the work by row blocks. */
void tri_q6_from_file(const uint8_t *blocks, size_t m, size_t k, uint8_t *out, size_t block_first,
                      size_t block_last);
/* The values of n file blocks. */
void tri_q6_values(const uint8_t *blocks, size_t n, float *x);
/* Quantise n floats, n % 256 == 0, to file blocks. For 16 values the scale is the least-squares one for the
 * best of several roundings; d makes the largest of them -128. A block with a value that is not finite holds
 * no useful numbers. */
void tri_q6_to_file(const float *x, size_t n, uint8_t *blocks);

#endif
