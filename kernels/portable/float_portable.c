/* SPDX-License-Identifier: MIT */
/* The float ops in whatever the compiler makes of 16-byte vectors, and the portable table. */
#define TRI_LANES 4
#include "kernels/float_vector.h"

#include "kernels/i2s.h"
#include "kernels/levels.h"
#include "kernels/portable/portable.h"

static inline v16 v_load_f16(const void *x) {
  float t[16];
  for (size_t i = 0; i < 16; i++) {
    uint16_t half;
    memcpy(&half, (const char *)x + 2 * i, 2);
    t[i] = tri_f16_to_f32(half);
  }
  return v_load(t);
}

static inline void v_store_f16(void *y, v16 a) {
  float t[16];
  v_store(t, a);
  for (size_t i = 0; i < 16; i++) {
    uint16_t half = tri_f16_from_f32(t[i]);
    memcpy((char *)y + 2 * i, &half, 2);
  }
}

static inline v16 v_load_int8(const void *x) {
  float t[16];
  for (size_t i = 0; i < 16; i++) t[i] = ((const int8_t *)x)[i];
  return v_load(t);
}

#include "kernels/float_body.h"

const tri_kernels tri_float_portable_table = {
    .isa = TRI_ISA_PORTABLE,
    .name = "portable",
    .gemm = {[TRI_FORM_I2S] = tri_i2s_portable_gemm,
             [TRI_FORM_TL1] = tri_form_portable_tl1,
             [TRI_FORM_TL2] = tri_form_portable_tl2,
             [TRI_FORM_T5] = tri_form_portable_t5,
             [TRI_FORM_T9] = tri_form_portable_t9},
    .panel_rows = TRI_PANEL_ROWS,
    .q8_gemm = tri_q8_portable_gemm,
    .q6_gemm = tri_q6_portable_gemm,
    FLOAT_OPS,
};
