/* SPDX-License-Identifier: MIT */
/* The product of a matrix in any run-time form, straight from what the form says of each weight. */
#include "kernels/form.h"
#include "kernels/portable/portable.h"

static void gemm(tri_form form, const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                 size_t block_last, int32_t *y, size_t ldy) {
  size_t bytes = tri_form_bytes(form, TRI_BLOCK_ROWS, k);
  for (size_t block = block_first; block < block_last; block++) {
    int32_t *out = y + block * TRI_BLOCK_ROWS;
    for (size_t row = 0; row < rows; row++)
      for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) out[row * ldy + i] = 0;
    for (size_t col = 0; col < k; col++) {
      int8_t trits[TRI_BLOCK_ROWS];
      tri_form_column(form, w + block * bytes, k, col, trits);
      for (size_t row = 0; row < rows; row++) {
        int32_t q = panel[(col / 4 * rows + row) * 4 + col % 4];
        for (size_t i = 0; i < TRI_BLOCK_ROWS; i++) out[row * ldy + i] += (trits[i] + 1) * q;
      }
    }
  }
}

void tri_form_portable_tl1(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                           size_t block_last, int32_t *y, size_t ldy) {
  gemm(TRI_FORM_TL1, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_form_portable_tl2(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                           size_t block_last, int32_t *y, size_t ldy) {
  gemm(TRI_FORM_TL2, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_form_portable_t5(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                          size_t block_last, int32_t *y, size_t ldy) {
  gemm(TRI_FORM_T5, w, k, panel, rows, block_first, block_last, y, ldy);
}

void tri_form_portable_t9(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                          size_t block_last, int32_t *y, size_t ldy) {
  gemm(TRI_FORM_T9, w, k, panel, rows, block_first, block_last, y, ldy);
}
