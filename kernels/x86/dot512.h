/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_X86_DOT512_H
#define TRI_KERNELS_X86_DOT512_H
#include <immintrin.h>
#include <stdint.h>
#include "kernels/inline.h"

/* acc + codes (unsigned) times the four activations at q, in each of 16 lanes. In assembly because gcc 12 doesn't know that
 * the instruction itself can read four bytes for all lanes: with a load of its own for each product, two to four rows took
 * 4 to 10 % longer through R16 on Zen 4, 10 to 20 % through T9 and 35 to 45 % through T5. */
INLINE __m512i dot_four(__m512i acc, __m512i codes, const int8_t *q) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(codes), "m"(*(const int8_t(*)[4])q));
  return acc;
}

#endif
