/* SPDX-License-Identifier: MIT */
#define WIDTH 32
#define ROWS 3
#include "kernels/q6_vector.h"

#include <immintrin.h>

#define spread(four) ((vi)_mm256_set1_epi32(four))
#define dot4(sum, codes, values)                                                                             \
  ((vi)_mm256_dpbusd_epi32((__m256i)(sum), (__m256i)(codes), (__m256i)(values)))
#define GEMM tri_q6_vnni256_gemm
#include "kernels/x86/q6_vnni.h"
