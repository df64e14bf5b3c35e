/* SPDX-License-Identifier: MIT */
/* The float ops in 32-byte registers, and the tables of the two levels that have no wider ones. */
#define TRI_LANES 8
#include "kernels/float_vector.h"

#include <immintrin.h>
#include "kernels/x86/x86.h"

INLINE v16 v_load_f16(const void *x) {
  const __m128i *h = x;
  return (v16){{_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))}};
}

INLINE void v_store_f16(void *y, v16 a) {
  __m128i *h = y;
  _mm_storeu_si128(h, _mm256_cvtps_ph(a.p[0], _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(h + 1, _mm256_cvtps_ph(a.p[1], _MM_FROUND_TO_NEAREST_INT));
}

INLINE v16 v_load_int8(const void *x) {
  __m128i b = _mm_loadu_si128(x);
  return (v16){{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))}};
}

#include "kernels/float_body.h"

const tri_kernels tri_float_avx2_table = {
    .isa = TRI_ISA_AVX2,
    .name = "avx2",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_avx2_gemm,
             [TRI_FORM_TL1] = tri_lut_avx2_tl1,
             [TRI_FORM_TL2] = tri_lut_avx2_tl2},
    .panel_rows = 8,
    .q8_gemm = tri_q8_avx2_gemm,
    .q6_gemm = tri_q6_avx2_gemm,
    FLOAT_OPS,
};

const tri_kernels tri_float_avx2_table_avxvnni = {
    .isa = TRI_ISA_AVXVNNI,
    .name = "avxvnni",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_avxvnni_gemm,
             [TRI_FORM_TL1] = tri_lut_avx2_tl1,
             [TRI_FORM_TL2] = tri_lut_avx2_tl2},
    .panel_rows = 8,
    .q8_gemm = tri_q8_avxvnni_gemm,
    .q6_gemm = tri_q6_avxvnni_gemm,
    FLOAT_OPS,
};
