/* SPDX-License-Identifier: MIT */
/* Sixteen float lanes on any register width. The including file defines TRI_LANES (4, 8 or 16), the floats of one
 * register. v16 is an array of registers rather than one 64-byte vector, which gcc would keep in memory wherever
 * the CPU has no such register. Every operation is lane by lane, except fold(), whose tree is fixed: so the bits of
 * a result don't depend on TRI_LANES. */
#ifndef TRI_KERNELS_FLOAT_VECTOR_H
#define TRI_KERNELS_FLOAT_VECTOR_H
#include <stdint.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/kernels.h"

enum { PARTS = 16 / TRI_LANES };

typedef float vf __attribute__((vector_size(4 * TRI_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * TRI_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * TRI_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * TRI_LANES)));
typedef int8_t vb __attribute__((vector_size(TRI_LANES)));
typedef float v4 __attribute__((vector_size(16)));
typedef struct v16 {
  vf p[PARTS];
} v16;

#define EACH_PART(i) UNROLL for (int i = 0; i < PARTS; i++)

/* mask lanes are all ones or all zeros */
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

INLINE v16 v_set(float x) {
  v16 r;
  EACH_PART(i) r.p[i] = x - (vf){0};
  return r;
}
/* part by part: a copy of the whole struct would go through memory */
INLINE v16 v_load(const float *x) {
  v16 r;
  EACH_PART(i) memcpy(&r.p[i], x + i * TRI_LANES, sizeof r.p[i]);
  return r;
}
INLINE void v_store(float *y, v16 a) {
  EACH_PART(i) memcpy(y + i * TRI_LANES, &a.p[i], sizeof a.p[i]);
}
/* n < 16 lanes; the others are zero */
INLINE v16 v_load_part(const float *x, size_t n) {
  float t[16] = {0};
  memcpy(t, x, n * sizeof *t);
  return v_load(t);
}
INLINE void v_store_part(float *y, v16 a, size_t n) {
  float t[16];
  v_store(t, a);
  memcpy(y, t, n * sizeof *t);
}
INLINE v16 v_add(v16 a, v16 b) {
  EACH_PART(i) a.p[i] += b.p[i];
  return a;
}
INLINE v16 v_sub(v16 a, v16 b) {
  EACH_PART(i) a.p[i] -= b.p[i];
  return a;
}
INLINE v16 v_mul(v16 a, v16 b) {
  EACH_PART(i) a.p[i] *= b.p[i];
  return a;
}
INLINE v16 v_div(v16 a, v16 b) {
  EACH_PART(i) a.p[i] /= b.p[i];
  return a;
}
/* b where a is NaN */
INLINE v16 v_max(v16 a, v16 b) {
  EACH_PART(i) a.p[i] = choose(a.p[i] > b.p[i], a.p[i], b.p[i]);
  return a;
}
INLINE v16 v_abs(v16 a) {
  EACH_PART(i) a.p[i] = (vf)((vi)a.p[i] & 0x7fffffff);
  return a;
}

/* The tree's first two steps: lanes i + (i+8), then i + (i+4). */
#if TRI_LANES == 4
INLINE v4 fold(v16 a) { return (a.p[0] + a.p[2]) + (a.p[1] + a.p[3]); }
#elif TRI_LANES == 8
INLINE v4 fold(v16 a) {
  vf b = a.p[0] + a.p[1];
  return __builtin_shufflevector(b, b, 0, 1, 2, 3) + __builtin_shufflevector(b, b, 4, 5, 6, 7);
}
#else
typedef float v8 __attribute__((vector_size(32)));
INLINE v4 fold(v16 a) {
  vf b = a.p[0];
  v8 c = __builtin_shufflevector(b, b, 0, 1, 2, 3, 4, 5, 6, 7) +
         __builtin_shufflevector(b, b, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(c, c, 0, 1, 2, 3) + __builtin_shufflevector(c, c, 4, 5, 6, 7);
}
#endif
INLINE float v_sum(v16 a) {
  v4 b = fold(a);
  return (b[0] + b[2]) + (b[1] + b[3]);
}
INLINE float v_largest(v16 a) {
  float t[16];
  v_store(t, a);
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; i++) t[i] = t[i] > t[i + width] ? t[i] : t[i + width];
  return t[0];
}

/* Round to an integer (nearest, ties to even) for |x| < 2^22: beyond 1.5 * 2^23 a float has no fraction bits left,
 * so the addition itself rounds. The integer stands in the low bits of the sum. */
#define ROUND_MAGIC 12582912.0f
#define ROUND_BITS 0x4b400000

/* e^x to about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r (S. Moshier, Cephes expf), times 2^n
 * in two steps so that both ends of the range round or overflow once, at the last multiplication. */
INLINE vf exp_part(vf x) {
  const float lowest = -104, highest = 89; /* beyond: 0 and infinity */
  x = choose(x < lowest, lowest - (vf){0}, x);
  x = choose(x > highest, highest - (vf){0}, x);
  vf rounded = x * 1.44269504088896341f + ROUND_MAGIC, n = rounded - ROUND_MAGIC;
  vf r = (x - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 in two parts: the first product is exact */
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  vi whole = (vi)rounded - ROUND_BITS, half = whole >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}
INLINE v16 v_exp(v16 a) {
  EACH_PART(i) a.p[i] = exp_part(a.p[i]);
  return a;
}

/* bfloat16 is the upper half of a float. */
INLINE v16 v_load_bf16(const void *x) {
  v16 r;
  EACH_PART(i) {
    vh h;
    memcpy(&h, (const char *)x + i * sizeof h, sizeof h);
    r.p[i] = (vf)(__builtin_convertvector(h, vu) << 16);
  }
  return r;
}
INLINE void v_store_bf16(void *y, v16 a) {
  EACH_PART(i) {
    vu bits = (vu)a.p[i], rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
    vu is_nan = (vu)(((vi)bits & 0x7fffffff) > 0x7f800000);
    vh h = __builtin_convertvector(((rounded & ~is_nan) | (quiet & is_nan)) >> 16, vh);
    memcpy((char *)y + i * sizeof h, &h, sizeof h);
  }
}

#endif
