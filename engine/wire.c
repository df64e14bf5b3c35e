/* SPDX-License-Identifier: MIT */
#include "engine/wire.h"

#include <math.h>
#include <string.h>
#include "kernels/i2s.h"

static size_t blocks_of(size_t d) { return (d + TRI_WIRE_BLOCK - 1) / TRI_WIRE_BLOCK; }

size_t tri_wire_row_bytes(tri_wire wire, size_t d) {
  switch (wire) {
  case TRI_WIRE_INT8: return d + 2 * blocks_of(d);
  case TRI_WIRE_F16: return 2 * d;
  default: return 4 * d;
  }
}

static void encode_int8(const float *x, size_t d, uint8_t *out) {
  int8_t *q = (int8_t *)out;
  for (size_t b = 0; b < blocks_of(d); b++) {
    size_t first = b * TRI_WIRE_BLOCK, n = d - first < TRI_WIRE_BLOCK ? d - first : TRI_WIRE_BLOCK;
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[first + i]));
    uint16_t half = tri_f16_from_f32(most / 127.0f);
    /* rounding the scale down would push the largest value past 127 */
    if (tri_f16_to_f32(half) * 127.0f < most && half < 0x7bff) half++;
    float scale = tri_f16_to_f32(half), inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (size_t i = 0; i < n; i++) {
      float v = rintf(x[first + i] * inverse);
      q[first + i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
    }
    memcpy(out + d + 2 * b, &half, 2);
  }
}

static void decode_int8(const uint8_t *bytes, size_t d, float *x) {
  const int8_t *q = (const int8_t *)bytes;
  for (size_t b = 0; b < blocks_of(d); b++) {
    size_t first = b * TRI_WIRE_BLOCK, n = d - first < TRI_WIRE_BLOCK ? d - first : TRI_WIRE_BLOCK;
    uint16_t half;
    memcpy(&half, bytes + d + 2 * b, 2);
    float scale = tri_f16_to_f32(half);
    if (!isfinite(scale)) scale = 0;
    for (size_t i = 0; i < n; i++) x[first + i] = (float)q[first + i] * scale;
  }
}

void tri_wire_encode(const tri_kernels *k, tri_wire wire, const float *x, size_t rows, size_t d, uint8_t *out) {
  if (wire == TRI_WIRE_F32) memcpy(out, x, rows * d * sizeof *x);
  else if (wire == TRI_WIRE_F16) k->from_f32(x, TRI_F16, out, rows * d);
  else
    for (size_t r = 0; r < rows; r++) encode_int8(x + r * d, d, out + r * tri_wire_row_bytes(wire, d));
}

void tri_wire_decode(const tri_kernels *k, tri_wire wire, const uint8_t *bytes, size_t rows, size_t d, float *x) {
  if (wire == TRI_WIRE_INT8) { /* finite by its scales */
    for (size_t r = 0; r < rows; r++) decode_int8(bytes + r * tri_wire_row_bytes(wire, d), d, x + r * d);
    return;
  }
  if (wire == TRI_WIRE_F32) memcpy(x, bytes, rows * d * sizeof *x);
  else k->to_f32(bytes, TRI_F16, x, rows * d);
  for (size_t i = 0; i < rows * d; i++)
    if (!isfinite(x[i])) x[i] = 0;
}

static const char *const names[TRI_WIRE_COUNT] = {"int8", "f16", "f32"};

const char *tri_wire_name(tri_wire wire) { return wire < TRI_WIRE_COUNT ? names[wire] : "unknown"; }

tri_status tri_wire_parse(const char *name, tri_wire *out, tri_error *err) {
  for (int i = 0; i < TRI_WIRE_COUNT; i++)
    if (strcmp(name, names[i]) == 0) return *out = (tri_wire)i, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "wire type '%s' is not one of int8, f16, f32", name);
}
