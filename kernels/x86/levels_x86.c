/* SPDX-License-Identifier: MIT */
#include "kernels/cpu.h"
#include "kernels/x86/x86.h"

const tri_kernels *tri_levels_table(tri_isa isa) {
  switch (isa) {
  case TRI_ISA_AVX2: return &tri_float_avx2_table;
  case TRI_ISA_AVXVNNI: return &tri_float_avx2_table_avxvnni;
  case TRI_ISA_AVX512: /* one level: VBMI adds a form, and changes no result */
    return tri_cpu_features() & TRI_CPU_VBMI ? &tri_float_avx512_table_vbmi : &tri_float_avx512_table;
  default: return NULL;
  }
}

const tri_kernels *tri_levels_extra(int n) {
  if (n == 0 && tri_cpu_features() & TRI_CPU_AVX512) return &tri_float_avx512_table_vnni256;
  return NULL;
}
