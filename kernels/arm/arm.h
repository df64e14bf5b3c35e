/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_ARM_H
#define TRI_KERNELS_ARM_H
#include "kernels/levels.h"

extern const tri_kernels tri_float_neon_table, tri_float_neon_table_dotprod, tri_float_neon_table_i8mm;

/* Contracts in kernels.h. */
tri_gemm tri_i2s_neon_gemm, tri_i2s_dotprod_gemm, tri_i2s_i8mm_gemm;
tri_gemm tri_lut_neon_tl1, tri_lut_neon_tl2;
void tri_q8_neon_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                      size_t block_last, float *y, size_t ldy);
void tri_q8_dotprod_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);
void tri_q6_neon_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                      size_t block_last, float *y, size_t ldy);
void tri_q6_dotprod_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);

#endif
