/* SPDX-License-Identifier: MIT */
/* Registers for Q6 products, of any width, and the unpacking of codes into them. The including file defines
 * WIDTH, the bytes of a register: 16, 32 or 64. */
#ifndef TRI_KERNELS_Q6_VECTOR_H
#define TRI_KERNELS_Q6_VECTOR_H
#include <string.h>
#include "kernels/inline.h"
#include "kernels/q6.h"

typedef uint8_t vb __attribute__((vector_size(WIDTH)));
typedef uint16_t vh __attribute__((vector_size(WIDTH)));
typedef int32_t vi __attribute__((vector_size(WIDTH)));
typedef float vf __attribute__((vector_size(WIDTH)));
typedef int8_t vs __attribute__((vector_size(WIDTH / 4)));

/* The codes of a group, of the weight rows whose bytes stand at w in its first line: u[g] holds dword g of
 * each. */
INLINE void unpack(const uint8_t *w, vb *u) {
  vh low0, low1, high;
  memcpy(&low0, w, WIDTH), memcpy(&low1, w + 64, WIDTH), memcpy(&high, w + 128, WIDTH);
  u[0] = (vb)((low0 & 0x0f0f) | (high << 4 & 0x3030));
  u[1] = (vb)((low1 & 0x0f0f) | (high << 2 & 0x3030));
  u[2] = (vb)((low0 >> 4 & 0x0f0f) | (high & 0x3030));
  u[3] = (vb)((low1 >> 4 & 0x0f0f) | (high >> 2 & 0x3030));
}

/* int8 to int32; of as many weight rows */
INLINE vi load_scales(const uint8_t *at) {
  vs s;
  memcpy(&s, at, sizeof s);
  return __builtin_convertvector(s, vi);
}

#endif
