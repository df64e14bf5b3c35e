/* SPDX-License-Identifier: MIT */
#include "kernels/cpu.h"

#include <cpuid.h>

/* XCR0: which register states the operating system saves. Only valid once cpuid reports OSXSAVE. */
static unsigned saved_states(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int all(unsigned word, unsigned bits) { return (word & bits) == bits; }

unsigned tri_cpu_features(void) {
  enum { OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 };                         /* leaf 1, ecx */
  enum { AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 }; /* leaf 7, ebx */
  const unsigned AVX512VL = 1u << 31;
  enum { AVX512VBMI = 1 << 1, AVX512VNNI = 1 << 11 }; /* leaf 7, ecx */
  enum { AVXVNNI = 1 << 4 };     /* leaf 7.1, eax */
  enum { SAVES_YMM = 0x06, SAVES_ZMM = 0xe6 };
  unsigned a, b, c, d, found = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !all(c, OSXSAVE | AVX | F16C)) return 0;
  unsigned states = saved_states();
  if (!all(states, SAVES_YMM) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, AVX2)) return 0;
  found |= TRI_CPU_AVX2;
  if (all(states, SAVES_ZMM) && all(b, AVX512F | AVX512DQ | AVX512BW | AVX512VL) && all(c, AVX512VNNI))
    found |= TRI_CPU_AVX512 | (all(c, AVX512VBMI) ? TRI_CPU_VBMI : 0);
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && all(a, AVXVNNI)) found |= TRI_CPU_AVXVNNI;
  return found;
}
