/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_PORTABLE_H
#define TRI_KERNELS_PORTABLE_H
#include "kernels/kernels.h"

/* The specification of the matrix products: plain scalar code. Contracts in kernels.h. */
tri_gemm tri_i2s_portable_gemm;
tri_gemm tri_form_portable_tl1, tri_form_portable_tl2, tri_form_portable_t5, tri_form_portable_t9;
void tri_q8_portable_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                          size_t block_last, float *y, size_t ldy);
void tri_q6_portable_gemm(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                          size_t block_last, float *y, size_t ldy);

#endif
