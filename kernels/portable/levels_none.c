/* SPDX-License-Identifier: MIT */
/* For a processor family without fast forms: the portable level is all there is. */
#include "kernels/cpu.h"
#include "kernels/levels.h"

unsigned tri_cpu_features(void) { return 0; }

const tri_kernels *tri_levels_table(tri_isa isa) {
  (void)isa;
  return NULL;
}

const tri_kernels *tri_levels_extra(int n) {
  (void)n;
  return NULL;
}
