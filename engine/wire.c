/* SPDX-License-Identifier: MIT */
#include "engine/wire.h"

#include <math.h>
#include <string.h>
#include "kernels/i2s.h"

static size_t blocks_of(size_t d, size_t block) { return (d + block - 1) / block; }

size_t tri_wire_row_bytes(tri_wire wire, size_t d) {
  switch (wire) {
  case TRI_WIRE_INT8: return d + 2 * blocks_of(d, TRI_WIRE_BLOCK);
  case TRI_WIRE_INT4: return (d + 1) / 2 + 2 * blocks_of(d, TRI_WIRE_BLOCK4);
  case TRI_WIRE_F16: return 2 * d;
  default: return 4 * d;
  }
}

/* --- scales and values --- */

/* The nearest integer, half to even, within [least, most]; what is no number becomes `least`. The sum has no bits for fractions:
 * rintf does the same, but not on several values at once. */
static int round_to(float x, float least, float most) {
  x = x > least ? x : least;
  x = x < most ? x : most;
  return (int)(x + 0x1.8p23f - 0x1.8p23f);
}

static float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

static float load_scale(const uint8_t *from) {
  uint16_t half;
  memcpy(&half, from, sizeof half);
  float scale = tri_f16_to_f32(half);
  return isfinite(scale) ? scale : 0;
}

static void encode_int8(const float *x, size_t d, uint8_t *out) {
  for (size_t first = 0; first < d; first += TRI_WIRE_BLOCK) {
    size_t end = d - first < TRI_WIRE_BLOCK ? d : first + TRI_WIRE_BLOCK;
    float most = 0;
    for (size_t i = first; i < end; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    uint16_t half = tri_f16_from_f32(most / 127.0f);
    /* rounding the scale down would push the largest value past 127 */
    if (tri_f16_to_f32(half) * 127.0f < most && half < 0x7bff) half++;
    float inverse = inverse_of(tri_f16_to_f32(half));
    for (size_t i = first; i < end; i++) out[i] = (uint8_t)round_to(x[i] * inverse, -127, 127);
    memcpy(out + d + 2 * (first / TRI_WIRE_BLOCK), &half, 2);
  }
}

static void decode_int8(const uint8_t *bytes, size_t d, float *x) {
  for (size_t i = 0; i < d;) {
    float scale = load_scale(bytes + d + 2 * (i / TRI_WIRE_BLOCK));
    for (size_t end = d - i < TRI_WIRE_BLOCK ? d : i + TRI_WIRE_BLOCK; i < end; i++) x[i] = (float)(int8_t)bytes[i] * scale;
  }
}

static void encode_int4(const float *x, size_t d, uint8_t *out) {
  uint8_t *scales = out + (d + 1) / 2;
  for (size_t first = 0; first < d; first += TRI_WIRE_BLOCK4) {
    size_t end = d - first < TRI_WIRE_BLOCK4 ? d : first + TRI_WIRE_BLOCK4;
    float top = 0, low = 0;
    for (size_t i = first; i < end; i++) top = x[i] > top ? x[i] : top, low = x[i] < low ? x[i] : low;
    uint16_t half = tri_f16_from_f32((top >= -low ? top : low) / -8.0f);
    float inverse = inverse_of(tri_f16_to_f32(half));
    for (size_t i = first; i + 1 < end; i += 2)
      out[i / 2] = (uint8_t)((round_to(x[i] * inverse, -8, 7) + 8) | (round_to(x[i + 1] * inverse, -8, 7) + 8) << 4);
    if (end % 2) out[end / 2] = (uint8_t)(round_to(x[end - 1] * inverse, -8, 7) + 8);
    memcpy(scales + 2 * (first / TRI_WIRE_BLOCK4), &half, 2);
  }
}

static void decode_int4(const uint8_t *bytes, size_t d, float *x) {
  const uint8_t *scales = bytes + (d + 1) / 2;
  for (size_t i = 0; i < d;) {
    float scale = load_scale(scales + 2 * (i / TRI_WIRE_BLOCK4));
    for (size_t end = d - i < TRI_WIRE_BLOCK4 ? d : i + TRI_WIRE_BLOCK4; i < end; i++)
      x[i] = (float)((bytes[i / 2] >> i % 2 * 4 & 15) - 8) * scale;
  }
}

void tri_wire_encode(const tri_kernels *k, tri_wire wire, const float *x, size_t rows, size_t d, uint8_t *out) {
  if (wire == TRI_WIRE_F32) memcpy(out, x, rows * d * sizeof *x);
  else if (wire == TRI_WIRE_F16) k->from_f32(x, TRI_F16, out, rows * d);
  else
    for (size_t r = 0; r < rows; r++)
      (wire == TRI_WIRE_INT4 ? encode_int4 : encode_int8)(x + r * d, d, out + r * tri_wire_row_bytes(wire, d));
}

void tri_wire_decode(const tri_kernels *k, tri_wire wire, const uint8_t *bytes, size_t rows, size_t d, float *x) {
  if (wire == TRI_WIRE_INT8 || wire == TRI_WIRE_INT4) { /* finite by their scales */
    for (size_t r = 0; r < rows; r++)
      (wire == TRI_WIRE_INT4 ? decode_int4 : decode_int8)(bytes + r * tri_wire_row_bytes(wire, d), d, x + r * d);
    return;
  }
  if (wire == TRI_WIRE_F32) memcpy(x, bytes, rows * d * sizeof *x);
  else k->to_f32(bytes, TRI_F16, x, rows * d);
  for (size_t i = 0; i < rows * d; i++)
    if (!isfinite(x[i])) x[i] = 0;
}

static const char *const names[TRI_WIRE_COUNT] = {"int8", "f16", "f32", "int4"};

const char *tri_wire_name(tri_wire wire) { return wire < TRI_WIRE_COUNT ? names[wire] : "unknown"; }

tri_status tri_wire_parse(const char *name, tri_wire *out, tri_error *err) {
  for (int i = 0; i < TRI_WIRE_COUNT; i++)
    if (strcmp(name, names[i]) == 0) return *out = (tri_wire)i, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "wire type '%s' is not one of int8, int4, f16, f32", name);
}
