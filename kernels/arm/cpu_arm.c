/* SPDX-License-Identifier: MIT */
#include "kernels/cpu.h"

#include <sys/auxv.h>

unsigned tri_cpu_features(void) {
  /* Linux' HWCAP_ASIMD, HWCAP_ASIMDDP and HWCAP2_I8MM, spelt out for libcs whose headers lack the newer ones */
  const unsigned long asimd = 1ul << 1, asimddp = 1ul << 20, i8mm = 1ul << 13;
  unsigned long caps = getauxval(AT_HWCAP);
  unsigned found = 0;
  if (caps & asimd) found |= TRI_CPU_NEON;
  if (caps & asimddp) found |= TRI_CPU_DOTPROD;
  if (getauxval(AT_HWCAP2) & i8mm) found |= TRI_CPU_I8MM;
  return found;
}
