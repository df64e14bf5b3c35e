/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_X86_H
#define TRI_KERNELS_X86_H
#include "kernels/levels.h"

extern const tri_kernels tri_float_avx2_table, tri_float_avx2_table_avxvnni;
/* vnni256: the AVX-VNNI bodies with EVEX encodings, so that AVX-512 machines test them */
extern const tri_kernels tri_float_avx512_table, tri_float_avx512_table_vbmi, tri_float_avx512_table_vnni256;

/* Contracts in kernels.h. */
tri_gemm tri_i2s_avx2_gemm, tri_i2s_avxvnni_gemm, tri_i2s_vnni256_gemm, tri_i2s_avx512_gemm;
tri_gemm tri_lut_avx2_tl1, tri_lut_avx2_tl2, tri_lut_avx512_tl1, tri_lut_avx512_tl2;
tri_gemm tri_t5_avx512_gemm, tri_t9_avx512_gemm;
void tri_q8_avx2_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                      size_t block_last, float *y, size_t ldy);
void tri_q8_avxvnni_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);
void tri_q8_vnni256_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);
void tri_q8_avx512_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                        size_t block_last, float *y, size_t ldy);
void tri_q6_avx2_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                      size_t block_last, float *y, size_t ldy);
void tri_q6_avxvnni_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);
void tri_q6_vnni256_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                         size_t block_last, float *y, size_t ldy);
void tri_q6_avx512_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                        size_t block_last, float *y, size_t ldy);

#endif
