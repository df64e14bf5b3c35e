/* SPDX-License-Identifier: MIT */
#include "kernels/i2s.h"

#include <string.h>

float tri_f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff, bits;
  if (exponent == 31) {
    bits = 0x7f800000 | fraction << 13;
    if (fraction) bits |= 0x400000; /* a signalling NaN becomes quiet, as in hardware */
  } else if (exponent) {
    bits = (exponent + 112) << 23 | fraction << 13;
  } else { /* a subnormal: fraction * 2^-24, which float holds exactly */
    float value = (float)fraction * 0x1p-24f;
    memcpy(&bits, &value, 4);
  }
  bits |= sign;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

uint16_t tri_f16_from_f32(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
  if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds to 65536 or more */
  if (size < 0x38800000) {
    /* below 2^-14: adding 0.5 makes the FPU round (to nearest even) at 2^-24, the last bit of a subnormal half */
    float value;
    memcpy(&value, &size, 4);
    value += 0.5f;
    memcpy(&size, &value, 4);
    return (uint16_t)(sign | (size - 0x3f000000));
  }
  size += 0xfff + (size >> 13 & 1); /* nearest, ties to even; a carry runs into the exponent as it should */
  return (uint16_t)(sign | ((size - 0x38000000) >> 13));
}
