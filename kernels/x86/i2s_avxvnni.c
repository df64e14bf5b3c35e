/* SPDX-License-Identifier: MIT */
#define GEMM tri_i2s_avxvnni_gemm
#define dpbusd(sum, codes, activations) _mm256_dpbusd_avx_epi32(sum, codes, activations)
#include "kernels/x86/i2s_vnni256.h"
