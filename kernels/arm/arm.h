/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_ARM_H
#define TRI_KERNELS_ARM_H
#include "kernels/levels.h"

extern const tri_kernels tri_float_neon_table, tri_float_neon_table_dotprod;

/* Contracts in kernels.h. */
void tri_i2s_neon_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                       size_t block_last, int32_t *y, size_t ldy);
void tri_i2s_dotprod_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                          size_t block_last, int32_t *y, size_t ldy);
void tri_q8_neon_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                      size_t block_last, float *y, size_t ldy);
void tri_q8_dotprod_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);

#endif
