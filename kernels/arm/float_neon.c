/* SPDX-License-Identifier: MIT */
/* The float ops in 16-byte registers, and the ARM tables. */
#define TRI_LANES 4
#include "kernels/float_vector.h"

#include <arm_neon.h>
#include "kernels/arm/arm.h"

INLINE v16 v_load_f16(const void *x) {
  v16 r;
  EACH_PART(i) {
    float16x4_t h;
    memcpy(&h, (const char *)x + 8 * i, sizeof h);
    float32x4_t f = vcvt_f32_f16(h);
    memcpy(&r.p[i], &f, sizeof f);
  }
  return r;
}

INLINE void v_store_f16(void *y, v16 a) {
  EACH_PART(i) {
    float32x4_t f;
    memcpy(&f, &a.p[i], sizeof f);
    float16x4_t h = vcvt_f16_f32(f);
    memcpy((char *)y + 8 * i, &h, sizeof h);
  }
}

INLINE v16 v_load_int8(const void *x) {
  int8x16_t b = vld1q_s8(x);
  int16x8_t low = vmovl_s8(vget_low_s8(b)), high = vmovl_s8(vget_high_s8(b));
  return (v16){{(vf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), (vf)vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                (vf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), (vf)vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}

#include "kernels/float_body.h"

/* The levels differ in R16's product and the heads' alone. */
#define LEVEL(ISA, NAME, I2S, Q8, Q6)                                                              \
  {                                                                                                \
    .isa = ISA, .name = NAME,                                                                      \
    .gemm = {[TRI_FORM_I2S] = I2S, [TRI_FORM_TL1] = tri_lut_neon_tl1, [TRI_FORM_TL2] = tri_lut_neon_tl2}, \
    .panel_rows = 8, .q8_gemm = Q8, .q6_gemm = Q6, FLOAT_OPS,                                      \
  }

const tri_kernels tri_float_neon_table = LEVEL(TRI_ISA_NEON, "neon", tri_i2s_neon_gemm, tri_q8_neon_gemm, tri_q6_neon_gemm);
const tri_kernels tri_float_neon_table_dotprod =
    LEVEL(TRI_ISA_DOTPROD, "dotprod", tri_i2s_dotprod_gemm, tri_q8_dotprod_gemm, tri_q6_dotprod_gemm);
const tri_kernels tri_float_neon_table_i8mm =
    LEVEL(TRI_ISA_I8MM, "i8mm", tri_i2s_i8mm_gemm, tri_q8_dotprod_gemm, tri_q6_dotprod_gemm);
