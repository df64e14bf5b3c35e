/* SPDX-License-Identifier: MIT */
#include "kernels/cpu.h"

#include <sys/auxv.h>

unsigned tri_cpu_features(void) {
  /* Linux' HWCAP_ASIMD and HWCAP_ASIMDDP, spelt out for libcs whose headers lack the newer one */
  const unsigned long asimd = 1ul << 1, asimddp = 1ul << 20;
  unsigned long caps = getauxval(AT_HWCAP);
  unsigned found = 0;
  if (caps & asimd) found |= TRI_CPU_NEON;
  if (caps & asimddp) found |= TRI_CPU_DOTPROD;
  return found;
}
