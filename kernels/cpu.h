/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_CPU_H
#define TRI_KERNELS_CPU_H

/* What this CPU and its operating system can run: a bit only counts if the registers it needs are saved on a
 * context switch too. Implemented once per processor family (x86/cpu_x86.c, arm/cpu_arm.c, portable/levels_none.c). */
enum {
  TRI_CPU_AVX2 = 1 << 0, /* AVX2 and F16C */
  TRI_CPU_AVXVNNI = 1 << 1,
  TRI_CPU_AVX512 = 1 << 2, /* F, BW, VL, DQ, VNNI */
  TRI_CPU_NEON = 1 << 3,
  TRI_CPU_DOTPROD = 1 << 4,
  TRI_CPU_VBMI = 1 << 5, /* AVX-512 VBMI; only with TRI_CPU_AVX512 */
  TRI_CPU_I8MM = 1 << 6,
};

unsigned tri_cpu_features(void);

#endif
