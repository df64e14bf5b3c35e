/* SPDX-License-Identifier: MIT */
#include "engine/matrix.h"

#include <string.h>

#include "kernels/i2s.h"
#include "kernels/q6.h"

enum { Q8_BYTES = 2 + TRI_Q8_BLOCK, Q4_BLOCK = 32, Q4_BYTES = 18, Q5_BYTES = 22, Q4K_BLOCK = 256, Q4K_BYTES = 144 };

const char tri_matrix_names[] = "F32, F16, BF16, Q8_0, Q6_K, Q5_0, Q4_K, Q4_0 and IQ4_NL";

bool tri_matrix_is_float(uint32_t type) { return type == TRI_TYPE_F32 || type == TRI_TYPE_F16 || type == TRI_TYPE_BF16; }
bool tri_matrix_writable(uint32_t type) { return tri_matrix_is_float(type) || type == TRI_TYPE_Q8_0 || type == TRI_TYPE_Q6_K; }
bool tri_matrix_is(uint32_t type) {
  return tri_matrix_writable(type) || type == TRI_TYPE_Q5_0 || type == TRI_TYPE_Q4_K || type == TRI_TYPE_Q4_0 || type == TRI_TYPE_IQ4_NL;
}

tri_ftype tri_matrix_float_type(uint32_t type) { return type == TRI_TYPE_F16 ? TRI_F16 : type == TRI_TYPE_BF16 ? TRI_BF16 : TRI_F32; }

static float read_half(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return tri_f16_to_f32(h);
}

static void read_q8(const uint8_t *p, float *x) {
  float d = read_half(p);
  for (int i = 0; i < TRI_Q8_BLOCK; i++) x[i] = (float)(int8_t)p[2 + i] * d;
}

static unsigned nibble(const uint8_t *qs, int i) { return i < 16 ? qs[i] & 15u : (unsigned)qs[i - 16] >> 4; }

static void read_q4(const uint8_t *p, float *x) {
  float d = read_half(p);
  for (int i = 0; i < Q4_BLOCK; i++) x[i] = (float)((int)nibble(p + 2, i) - 8) * d;
}

static void read_iq4(const uint8_t *p, float *x) {
  static const int8_t values[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}; /* part of the format */
  float d = read_half(p);
  for (int i = 0; i < Q4_BLOCK; i++) x[i] = d * (float)values[nibble(p + 2, i)];
}

static void read_q5(const uint8_t *p, float *x) {
  float d = read_half(p);
  uint32_t high;
  memcpy(&high, p + 2, sizeof high);
  for (int i = 0; i < Q4_BLOCK; i++) x[i] = (float)((int)(nibble(p + 6, i) | (high >> i & 1) << 4) - 16) * d;
}

static void read_q4k(const uint8_t *p, float *x) {
  float d = read_half(p), m = read_half(p + 2);
  const uint8_t *s = p + 4, *qs = p + 16;
  for (int j = 0; j < 8; j++) {
    unsigned scale = j < 4 ? s[j] & 63u : (s[4 + j] & 15u) | (unsigned)s[j - 4] >> 6 << 4;
    unsigned least = j < 4 ? s[4 + j] & 63u : (unsigned)s[4 + j] >> 4 | (unsigned)s[j] >> 6 << 4;
    float a = d * (float)scale, b = m * (float)least;
    for (int i = 0; i < 32; i++) x[32 * j + i] = a * (float)(qs[j / 2 * 32 + i] >> (j % 2 * 4) & 15) - b;
  }
}

static const struct coding {
  uint32_t type, block, bytes;
  void (*read)(const uint8_t *p, float *x);
} codings[] = {{TRI_TYPE_Q8_0, TRI_Q8_BLOCK, Q8_BYTES, read_q8}, {TRI_TYPE_Q4_0, Q4_BLOCK, Q4_BYTES, read_q4},
               {TRI_TYPE_IQ4_NL, Q4_BLOCK, Q4_BYTES, read_iq4},  {TRI_TYPE_Q5_0, Q4_BLOCK, Q5_BYTES, read_q5},
               {TRI_TYPE_Q4_K, Q4K_BLOCK, Q4K_BYTES, read_q4k}};

void tri_matrix_floats(const tri_kernels *k, uint32_t type, const void *src, size_t n, float *x) {
  if (tri_matrix_is_float(type)) k->to_f32(src, tri_matrix_float_type(type), x, n);
  if (type == TRI_TYPE_Q6_K) tri_q6_values(src, n / TRI_Q6_BLOCK, x);
  for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
    const struct coding *c = &codings[i];
    if (c->type != type) continue;
    for (size_t b = 0; b < n / c->block; b++) c->read((const uint8_t *)src + b * c->bytes, x + b * c->block);
  }
}

size_t tri_matrix_encode(const tri_kernels *k, uint32_t type, const float *x, size_t n, void *out) {
  if (type == TRI_TYPE_Q8_0) return tri_q8_to_file(x, n, out), n / TRI_Q8_BLOCK * Q8_BYTES;
  if (type == TRI_TYPE_Q6_K) return tri_q6_to_file(x, n, out), n / TRI_Q6_BLOCK * TRI_Q6_FILE_BYTES;
  k->from_f32(x, tri_matrix_float_type(type), out, n);
  return n * (type == TRI_TYPE_F32 ? 4 : 2);
}
