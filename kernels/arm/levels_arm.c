/* SPDX-License-Identifier: MIT */
#include "kernels/arm/arm.h"

const tri_kernels *tri_levels_table(tri_isa isa) {
  switch (isa) {
  case TRI_ISA_NEON: return &tri_float_neon_table;
  case TRI_ISA_DOTPROD: return &tri_float_neon_table_dotprod;
  case TRI_ISA_I8MM: return &tri_float_neon_table_i8mm;
  default: return NULL;
  }
}

const tri_kernels *tri_levels_extra(int n) {
  (void)n;
  return NULL;
}
