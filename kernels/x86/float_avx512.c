/* SPDX-License-Identifier: MIT */
/* The float ops in 64-byte registers, and the AVX-512 tables. */
#define TRI_LANES 16
#include "kernels/float_vector.h"

#include <immintrin.h>
#include "kernels/x86/x86.h"

INLINE v16 v_load_f16(const void *x) { return (v16){{_mm512_cvtph_ps(_mm256_loadu_si256(x))}}; }

INLINE void v_store_f16(void *y, v16 a) {
  _mm256_storeu_si256(y, _mm512_cvtps_ph(a.p[0], _MM_FROUND_TO_NEAREST_INT));
}

INLINE v16 v_load_int8(const void *x) { return (v16){{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x)))}}; }

#include "kernels/float_body.h"

const tri_kernels tri_float_avx512_table = {
    .isa = TRI_ISA_AVX512,
    .name = "avx512",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_avx512_gemm,
             [TRI_FORM_TL1] = tri_lut_avx512_tl1,
             [TRI_FORM_TL2] = tri_lut_avx512_tl2},
    .panel_rows = TRI_PANEL_ROWS,
    .q8_gemm = tri_q8_avx512_gemm,
    .q6_gemm = tri_q6_avx512_gemm,
    FLOAT_OPS,
};

const tri_kernels tri_float_avx512_table_vbmi = {
    .isa = TRI_ISA_AVX512,
    .name = "avx512",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_avx512_gemm,
             [TRI_FORM_TL1] = tri_lut_avx512_tl1,
             [TRI_FORM_TL2] = tri_lut_avx512_tl2,
             [TRI_FORM_T5] = tri_t5_avx512_gemm,
             [TRI_FORM_T9] = tri_t9_avx512_gemm},
    .panel_rows = TRI_PANEL_ROWS,
    .q8_gemm = tri_q8_avx512_gemm,
    .q6_gemm = tri_q6_avx512_gemm,
    FLOAT_OPS,
};

const tri_kernels tri_float_avx512_table_vnni256 = {
    .isa = TRI_ISA_AVXVNNI,
    .name = "vnni256",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_vnni256_gemm,
             [TRI_FORM_TL1] = tri_lut_avx2_tl1,
             [TRI_FORM_TL2] = tri_lut_avx2_tl2},
    .panel_rows = 8,
    .q8_gemm = tri_q8_vnni256_gemm,
    .q6_gemm = tri_q6_vnni256_gemm,
    FLOAT_OPS,
};
