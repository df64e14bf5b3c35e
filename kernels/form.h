/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_FORM_H
#define TRI_KERNELS_FORM_H
#include "kernels/kernels.h"

/* Run-time forms of a ternary matrix: layouts for tri_kernels' gemm[form]. All hold the same weights and give the same
 * results; they differ in bytes and in how they are multiplied. In every form a row block of 16 rows stands by itself, in
 * a multiple of 64 bytes, and the matrix is its row blocks one after another, 64-byte aligned: threads split a matrix by
 * row blocks, and pack it so.
 *
 * I2S: "R16", 2 bits a weight; see kernels.h.
 *
 * TL1: two weights an index of 4 bits, 2 bits a weight. A block is ceil(k / 64) groups of 256 bytes: four lines of 4 parts
 *   of 16 bytes, one byte a row. With u = 2 * line + (0 for the low nibble, 1 for the high one), a nibble of row i in byte
 *   i of part p holds 3 * (w0 + 1) + (w1 + 1), 0 to 8, of the columns 64 * group + 2 * (4 * u + p) and the next.
 *
 * TL2: three weights an index of 4 bits and a sign, 1.67 bits a weight. A block is ceil(k / 96) groups of 320 bytes: four
 *   lines of nibbles like TL1's, which hold |9 * w0 + 3 * w1 + w2|, 0 to 13, of the columns 96 * group + 3 * (4 * u + p)
 *   and the next two, then a line of signs: bit u of byte i of its part p is 1 for a negative sum.
 *
 * T5: five weights a byte, 1.6 bits a weight. A block is ceil(k / 20) lines of 64 bytes, 4 bytes a row; byte j
 *   of a row in line g holds the five codes (w + 1) c0..c4 of the columns 20 * g + 4 * p + j, p = 0..4. 243 combinations
 *   into 256 so that decoding takes two tables of 64: with s = c0 + 3 * c1 + 9 * c2 (0 to 26) and n = 21 for c3 < 2, 22
 *   for c3 = 2, the byte is 64 * c4 + 21 * c3 + s if s < n, else 192 + 21 * c3 + 1 + 3 * (s - n) + c4. So its low six bits
 *   always tell c3, the others say s or, in the escapes of the second kind, s and c4; 192 itself is not used.
 *
 * T9: nine weights in two bytes, 1.78 bits a weight. A block is ceil(k / 36) units of two lines, 4 bytes a row in each; the
 *   bytes j of a row in unit g hold the codes c0..c8 of the columns 36 * g + 4 * p + j, p = 0..8. The first byte is
 *   c0 + 3 * c1 + 9 * c2 + 27 * (c8 >> 1) + 64 * c3, the second one c4 + 3 * c5 + 9 * c6 + 27 * (c8 & 1) + 64 * c7.
 *
 * Padding holds weights of zero.
 *
 * (The TL1 and TL2 layouts of files, kernels/tl1.h and tl2.h, have the same codes in another order.) */

const char *tri_form_name(tri_form form); /* "i2s", "tl1", "tl2", "t5", "t9" */

/* Bytes of an [m, k] matrix; a multiple of 64. */
size_t tri_form_bytes(tri_form form, size_t m, size_t k);

/* Pack one row block: trits is int8 [rows, k] in {-1, 0, 1}, rows <= TRI_BLOCK_ROWS (fewer in the last block of a matrix),
 * and block is tri_form_bytes(form, TRI_BLOCK_ROWS, k) bytes, at that times the block's number. */
void tri_form_pack(tri_form form, const int8_t *trits, size_t rows, size_t k, uint8_t *block);

/* One column of a row block (0 <= col < k) as TRI_BLOCK_ROWS trits, for tests and the portable product. */
void tri_form_column(tri_form form, const uint8_t *block, size_t k, size_t col, int8_t *trits);

#endif
