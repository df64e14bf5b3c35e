/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_TL2_H
#define TRI_KERNELS_TL2_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bitnet.cpp's TL2 layout of an [m, k] ternary matrix. It depends on two tile sizes that bitnet.cpp keeps outside of the
 * file. The first k3 = k / bk * bk columns stand in threes of 5 bits, the other k2 = k - k3 in pairs of 4 bits, in three
 * parts one after another:
 *   A, m * k3 / 6 bytes: nibbles |9 * w0 + 3 * w1 + w2|, 0 to 13, the high one first, in C order over
 *     (m / bm, k3 / bk, bm / 32, bk / 6, 32 bytes), one byte a row;
 *   S, m * k3 / 24 bytes: little-endian 16-bit words in C order over (m / bm, k3 / bk, bm / 32, bk / 24, 16 words); word
 *     r % 16 holds row r's signs of eight threes: bit 15 - (2 * three + (r >= 16)) is 1 for a negative sum;
 *   B, m * k2 / 4 bytes: nibbles 3 * w0 + w1 + 4, 0 to 8, as A with bk = 32, in C order over (m / bm, k2 / 32, bm / 32, 8,
 *     32 bytes).
 * Within the 32 bytes of A and B the rows stand in the order 0-7, 16-23, 8-15, 24-31. */
typedef struct tri_tl2 {
  size_t m, k;
  size_t bm, bk; /* BM and BK of bitnet.cpp's kernel_config.ini */
} tri_tl2;

enum { TRI_TL2_ROWS = 32 }; /* rows are packed and unpacked in groups of this many */

/* NULL if a matrix of this shape can be in TL2 with these tiles; else the rule that it breaks, in words ("the rows must be
 * a multiple of BM"). The functions below take only what fits. */
const char *tri_tl2_misfit(const tri_tl2 *s);

/* Bytes of A, S and B together. A file reserves what k2 = 256 would take, and pads with zeros. */
size_t tri_tl2_bytes(const tri_tl2 *s);

/* Rows [first, last) between trits, int8 [last - first, k] in {-1, 0, 1}, and `codes`, the whole matrix's tri_tl2_bytes.
 * first and last are multiples of TRI_TL2_ROWS. Threads may share a matrix by rows. unpack returns false if it met a nibble
 * out of range (its weights read as 0) or a sign on a zero. That notices a tile size which moves the parts; another bm, or
 * another bk of the same k3, gives a permutation and goes unnoticed. */
void tri_tl2_pack(const tri_tl2 *s, const int8_t *trits, size_t first, size_t last, uint8_t *codes);
bool tri_tl2_unpack(const tri_tl2 *s, const uint8_t *codes, size_t first, size_t last, int8_t *trits);

#endif
