/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_WIRE_H
#define TRI_ENGINE_WIRE_H
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "kernels/kernels.h"

/* The residual stream between stages, as bytes. A row of d float32 becomes
 *   INT8: d int8 values, then one f16 scale per block of 64 values (the last block may be shorter):
 *         scale = max|x| / 127 rounded to f16 (up if needed), q = round-half-even(x / scale) in [-127, 127];
 *   F16:  d f16 values, round to nearest even;   F32: as it is (the reference: bit-identical to one node);
 *   INT4: d values of 4 bits, those with even index in the low halves of bytes, then one f16 scale per block of 32 values: -x / 8 for
 *         the x that is the farthest from 0 (the positive one of two), so it may be negative; q = round-half-even(x / scale) in
 *         [-8, 7], and q + 8 is stored.
 * Rows follow one another without padding. */

typedef enum tri_wire { TRI_WIRE_INT8, TRI_WIRE_F16, TRI_WIRE_F32, TRI_WIRE_INT4, TRI_WIRE_COUNT } tri_wire;
enum { TRI_WIRE_BLOCK = 64, TRI_WIRE_BLOCK4 = 32 /* values that share a scale: of INT8, of INT4 */ };

size_t tri_wire_row_bytes(tri_wire wire, size_t d);
void tri_wire_encode(const tri_kernels *k, tri_wire wire, const float *x, size_t rows, size_t d, uint8_t *out);
/* `bytes` has exactly rows * tri_wire_row_bytes. Any content gives numbers, never a fault: non-finite scales and values
 * become 0. */
void tri_wire_decode(const tri_kernels *k, tri_wire wire, const uint8_t *bytes, size_t rows, size_t d, float *x);
const char *tri_wire_name(tri_wire wire);
TRI_MUST_CHECK tri_status tri_wire_parse(const char *name, tri_wire *out, tri_error *err); /* "int8", "f16", "f32", "int4" */

#endif
