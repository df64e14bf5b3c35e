/* SPDX-License-Identifier: MIT */
#define GEMM tri_q8_avxvnni_gemm
#define dot4(sum, magnitudes, values) _mm256_dpbusd_avx_epi32(sum, magnitudes, values)
#include "kernels/x86/q8_256.h"
