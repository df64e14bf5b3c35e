/* SPDX-License-Identifier: MIT */
#include "engine/layouts.h"

#include <math.h>
#include <string.h>

#include "kernels/i2s.h"

enum { TQ_BLOCK = 256, TQ1_QH = 48, BN_BLOCK = 64, BN1_BYTES = 13, R4_ROWS = 4 };

static const struct layout {
  uint32_t type;
  uint32_t block;
  bool halves;
} layouts[] = {{TRI_TYPE_TQ1_0, TQ_BLOCK, true},
               {TRI_TYPE_TQ2_0, TQ_BLOCK, true},
               {TRI_TYPE_IQ1_BN, BN_BLOCK, true},
               {TRI_TYPE_IQ2_BN, BN_BLOCK, false},
               {TRI_TYPE_IQ2_BN_R4, BN_BLOCK, false}};

static const struct layout *find(uint32_t type) {
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
    if (layouts[i].type == type) return &layouts[i];
  return NULL;
}

bool tri_layouts_is(uint32_t type) { return find(type) != NULL; }
bool tri_layouts_halves(uint32_t type) { return tri_layouts_is(type) && find(type)->halves; }

const char *tri_layouts_misfit(uint32_t type, size_t m, size_t k) {
  if (k % find(type)->block)
    return find(type)->block == TQ_BLOCK ? "the columns must be a multiple of 256" : "the columns must be a multiple of 64";
  return type == TRI_TYPE_IQ2_BN_R4 && m % R4_ROWS ? "the rows must be a multiple of 4" : NULL;
}

static size_t row_bytes(uint32_t type, size_t k) {
  uint64_t bytes = 0;
  return tri_type_bytes(type, k, k, &bytes) ? (size_t)bytes : 0;
}

/* --- codes --- */

/* Four codes of two bits, the first at the lowest; false at a code of 3. */
static bool read_quad(unsigned byte, int8_t *out, size_t step) {
  for (int i = 0; i < 4; i++) out[(size_t)i * step] = (int8_t)((int)(byte >> 2 * i & 3) - 1);
  return (byte & byte >> 1 & 0x55) == 0;
}

static uint8_t make_quad(const int8_t *t, size_t step) {
  unsigned byte = 0;
  for (int i = 0; i < 4; i++) byte |= (unsigned)(t[(size_t)i * step] + 1) << 2 * i;
  return (uint8_t)byte;
}

/* The number of five codes that a byte of TQ1_0 or IQ1_BN stands for, or -1. */
static int five_of(unsigned byte) {
  unsigned n = byte * 243 >> 8;
  return (n * 256 + 242) / 243 == byte ? (int)n : -1;
}
static uint8_t byte_of(unsigned five) { return (uint8_t)((five * 256 + 242) / 243); }

/* `count` codes of a byte, 5 or, with a last one of 0, fewer; c0 counts most. */
static bool read_five(unsigned byte, int count, int8_t *out, size_t step) {
  int n = five_of(byte);
  if (n < 0 || (count < 5 && n % 3)) return false;
  for (int i = 4; i >= 0; i--, n /= 3)
    if (i < count) out[(size_t)i * step] = (int8_t)(n % 3 - 1);
  return true;
}

static uint8_t make_five(int count, const int8_t *t, size_t step) {
  unsigned n = 0;
  for (int i = 0; i < 5; i++) n = n * 3 + (i < count ? (unsigned)(t[(size_t)i * step] + 1) : 0);
  return byte_of(n);
}

/* The same where c0 counts least: a last code of 0 is then a number below 81. */
static bool read_five_up(unsigned byte, int count, int8_t *out, size_t step) {
  int n = five_of(byte);
  if (n < 0 || (count < 5 && n >= 81)) return false;
  for (int i = 0; i < count; i++, n /= 3) out[(size_t)i * step] = (int8_t)(n % 3 - 1);
  return true;
}

static uint8_t make_five_up(int count, const int8_t *t, size_t step) {
  unsigned n = 0;
  for (int i = count - 1; i >= 0; i--) n = n * 3 + (unsigned)(t[(size_t)i * step] + 1);
  return byte_of(n);
}

/* --- blocks of codes --- */

static bool read_tq2(const uint8_t *qs, int8_t *t) {
  bool good = true;
  for (size_t j = 0; j < 64; j++) good &= read_quad(qs[j], t + j / 32 * 128 + j % 32, 32);
  return good;
}
static void make_tq2(const int8_t *t, uint8_t *qs) {
  for (size_t j = 0; j < 64; j++) qs[j] = make_quad(t + j / 32 * 128 + j % 32, 32);
}

static bool read_tq1(const uint8_t *q, int8_t *t) {
  bool good = true;
  for (size_t j = 0; j < 32; j++) good &= read_five(q[j], 5, t + j, 32);
  for (size_t j = 0; j < 16; j++) good &= read_five(q[32 + j], 5, t + 160 + j, 16);
  for (size_t j = 0; j < 4; j++) good &= read_five(q[TQ1_QH + j], 4, t + 240 + j, 4);
  return good;
}
static void make_tq1(const int8_t *t, uint8_t *q) {
  for (size_t j = 0; j < 32; j++) q[j] = make_five(5, t + j, 32);
  for (size_t j = 0; j < 16; j++) q[32 + j] = make_five(5, t + 160 + j, 16);
  for (size_t j = 0; j < 4; j++) q[TQ1_QH + j] = make_five(4, t + 240 + j, 4);
}

static bool read_bn2(const uint8_t *qs, int8_t *t) {
  bool good = true;
  for (size_t j = 0; j < 16; j++) good &= read_quad(qs[j], t + j, 16);
  return good;
}
static void make_bn2(const int8_t *t, uint8_t *qs) {
  for (size_t j = 0; j < 16; j++) qs[j] = make_quad(t + j, 16);
}

static bool read_bn1(const uint8_t *q, int8_t *t) {
  bool good = read_five_up(q[BN1_BYTES - 1], 4, t + 15, 16);
  for (size_t j = 0; j < 12; j++) good &= read_five_up(q[j], 5, t + j / 3 * 16 + j % 3 * 5, 1);
  return good;
}
static void make_bn1(const int8_t *t, uint8_t *q) {
  q[BN1_BYTES - 1] = make_five_up(4, t + 15, 16);
  for (size_t j = 0; j < 12; j++) q[j] = make_five_up(5, t + j / 3 * 16 + j % 3 * 5, 1);
}

/* --- rows --- */

static float read_half(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return tri_f16_to_f32(h);
}
static void put_half(uint8_t *p, float x) {
  uint16_t h = tri_f16_from_f32(x);
  memcpy(p, &h, sizeof h);
}

static bool any(const int8_t *t, size_t n) {
  int sum = 0;
  for (size_t i = 0; i < n; i++) sum |= t[i];
  return sum != 0;
}

/* d counts only where there is a weight to scale; where d is 0 there is none, whatever the codes say. */
static bool join_scale(float d, int8_t *t, size_t n, float *scale) {
  if (d == 0) memset(t, 0, n);
  if (!any(t, n)) return true;
  bool good = d > 0 && isfinite(d) && (*scale == 0 || *scale == d);
  *scale = d;
  return good;
}

static bool unpack_tq(uint32_t type, const uint8_t *row, size_t k, int8_t *t, float *scale) {
  bool one = type == TRI_TYPE_TQ1_0, good = true;
  size_t block = row_bytes(type, TQ_BLOCK);
  *scale = 0;
  for (size_t i = 0; i < k; i += TQ_BLOCK, row += block, t += TQ_BLOCK) {
    good &= one ? read_tq1(row, t) : read_tq2(row, t);
    good &= join_scale(read_half(row + block - 2), t, TQ_BLOCK, scale);
  }
  return good;
}

static bool unpack_bn(uint32_t type, const uint8_t *row, size_t k, int8_t *t, float *scale) {
  bool one = type == TRI_TYPE_IQ1_BN, good = true;
  const uint8_t *q = row + (one ? 2 : 4);
  float d = 0;
  for (size_t i = 0; i < k; i += BN_BLOCK, q += one ? BN1_BYTES : BN_BLOCK / 4) good &= one ? read_bn1(q, t + i) : read_bn2(q, t + i);
  if (one) d = read_half(row);
  else memcpy(&d, row, sizeof d);
  *scale = 0;
  return join_scale(d, t, k, scale) && good;
}

static bool unpack_r4(const uint8_t *rows, size_t k, int8_t *t, float *scales) {
  bool good = true;
  const uint8_t *q = rows + R4_ROWS * sizeof(float);
  for (size_t i = 0; i < k; i += BN_BLOCK, q += BN_BLOCK)
    for (size_t j = 0; j < BN_BLOCK; j++) good &= read_quad(q[j], t + j / 4 % 4 * k + i + j / 16 * 16 + j % 4, 4);
  for (size_t r = 0; r < R4_ROWS; r++) {
    float d;
    memcpy(&d, rows + r * sizeof d, sizeof d);
    scales[r] = 0;
    good &= join_scale(d, t + r * k, k, &scales[r]);
  }
  return good;
}

bool tri_layouts_unpack(uint32_t type, const uint8_t *data, size_t k, size_t first, size_t last, int8_t *trits, float *scales) {
  size_t bytes = row_bytes(type, k), step = type == TRI_TYPE_IQ2_BN_R4 ? R4_ROWS : 1;
  bool good = true;
  for (size_t r = first; r < last; r += step, trits += step * k, scales += step) {
    const uint8_t *row = data + r * bytes;
    if (type == TRI_TYPE_IQ2_BN_R4) good &= unpack_r4(row, k, trits, scales);
    else if (find(type)->block == TQ_BLOCK) good &= unpack_tq(type, row, k, trits, scales);
    else good &= unpack_bn(type, row, k, trits, scales);
  }
  return good;
}

/* Zeros alone have the scale 0, as the other programs write them. */
static float scale_of(const int8_t *t, size_t n, float scale) { return any(t, n) ? scale : 0; }

static void pack_tq(uint32_t type, const int8_t *t, size_t k, float scale, uint8_t *row) {
  size_t block = row_bytes(type, TQ_BLOCK);
  for (size_t i = 0; i < k; i += TQ_BLOCK, row += block, t += TQ_BLOCK) {
    if (type == TRI_TYPE_TQ1_0) make_tq1(t, row);
    else make_tq2(t, row);
    put_half(row + block - 2, scale_of(t, TQ_BLOCK, scale));
  }
}

static void pack_bn(uint32_t type, const int8_t *t, size_t k, float scale, uint8_t *row) {
  bool one = type == TRI_TYPE_IQ1_BN;
  uint8_t *q = row + (one ? 2 : 4);
  scale = scale_of(t, k, scale);
  if (one) put_half(row, scale);
  else memcpy(row, &scale, sizeof scale);
  for (size_t i = 0; i < k; i += BN_BLOCK, q += one ? BN1_BYTES : BN_BLOCK / 4) {
    if (one) make_bn1(t + i, q);
    else make_bn2(t + i, q);
  }
}

void tri_layouts_pack(uint32_t type, const int8_t *trits, const float *scales, size_t k, size_t first, size_t last, uint8_t *data) {
  size_t bytes = row_bytes(type, k);
  for (size_t r = first; r < last; r++) {
    const int8_t *t = trits + (r - first) * k;
    if (find(type)->block == TQ_BLOCK) pack_tq(type, t, k, scales[r - first], data + r * bytes);
    else pack_bn(type, t, k, scales[r - first], data + r * bytes);
  }
}

/* --- I2_S --- */

void tri_layouts_i2s(tri_i2s_order order, const uint8_t *codes, size_t k, size_t first, size_t last, int8_t *trits) {
  const uint8_t *q = codes + first * k / 4;
  size_t bytes = (last - first) * k / 4;
  for (size_t b = 0; b < bytes; b++) {
    int8_t *t = order == TRI_I2S_ARM ? trits + b / 16 * 64 + b % 16 : trits + b / k * 4 * k + b % k;
    for (int i = 0; i < 4; i++) t[(size_t)i * (order == TRI_I2S_ARM ? 16 : k)] = (int8_t)((int)(q[b] >> (6 - 2 * i) & 3) - 1);
  }
}
