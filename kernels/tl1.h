/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_TL1_H
#define TRI_KERNELS_TL1_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bitnet.cpp's TL1 layout of an [m, k] ternary matrix: two weights a nibble, m * k / 4 bytes. It depends on three tile sizes
 * that bitnet.cpp keeps outside of the file. With by = 256 / sub, the byte at place (mb, kb, mi, kj, mm, q, r), counted in
 * C order over
 *     (m / bm, k / bk, bm / sub, bk / by, sub / 16, by / 4, 16)
 * holds four weights of row mb * bm + mi * sub + mm * 16 + r, from column kb * bk + kj * by + q * 4 on: the high nibble
 * 3 * w0 + w1 + 4, the low one 3 * w2 + w3 + 4. Codes are 0 to 8. */
typedef struct tri_tl1 {
  size_t m, k;
  size_t bm, bk, sub; /* BM, BK and bm (bmm) of bitnet.cpp's kernel_config.ini */
} tri_tl1;

enum { TRI_TL1_ROWS = 16 }; /* rows are packed and unpacked in groups of this many */

/* NULL if a matrix of this shape can be in TL1 with these tiles; else the rule that it breaks, in words ("the rows must be
 * a multiple of BM"). The functions below take only what fits. */
const char *tri_tl1_misfit(const tri_tl1 *s);

/* Rows [first, last) between trits, int8 [last - first, k] in {-1, 0, 1}, and `codes`, the whole matrix's m * k / 4 bytes.
 * first and last are multiples of TRI_TL1_ROWS. Threads may share a matrix by rows. unpack returns false if it met a code
 * above 8, whose weights it reads as 0. Other tiles than the packer's mostly go unnoticed: they give a permutation. */
void tri_tl1_pack(const tri_tl1 *s, const int8_t *trits, size_t first, size_t last, uint8_t *codes);
bool tri_tl1_unpack(const tri_tl1 *s, const uint8_t *codes, size_t first, size_t last, int8_t *trits);

#endif
