/* SPDX-License-Identifier: MIT */
#define WIDTH 64
#define ROWS 12
#include "kernels/q6_vector.h"

#include <immintrin.h>

#define spread(four) ((vi)_mm512_set1_epi32(four))
#define dot4(sum, codes, values)                                                                             \
  ((vi)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(codes), (__m512i)(values)))
#define GEMM tri_q6_avx512_gemm
#include "kernels/x86/q6_vnni.h"
