/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MATRIX_H
#define TRI_ENGINE_MATRIX_H
#include "engine/gguf.h"
#include "kernels/kernels.h"

/* Matrices of values in files: embeddings, heads, and linears whose values are ternary. F32, F16, BF16, and ggml's blocks, each
 * with an f16 d (sources: kernels/i2s.h for Q8_0, kernels/q6.h for Q6_K):
 *   Q4_0, 32 values in 18 bytes: d, qs[16]; value i is d * (nibble - 8), low nibbles of byte i for i < 16, then the high ones.
 *   IQ4_NL: the same, but d times the nibble's value of a fixed table.
 *   Q5_0, 22 bytes: d, qh[4], qs[16]; as Q4_0 with bit i of qh as the fifth, and 16 in place of 8.
 *   Q4_K, 256 values in 144 bytes: d, f16 m, 12 bytes, qs[128]; 32 values share a scale s and a minimum l of six bits each: value is
 *     d * s * nibble - m * l, the nibbles of values 64 j + i being low for i < 32, else high, of byte 32 j + i % 32. Of the 12 bytes,
 *     bytes 0-3 hold s0-s3 and 4-7 l0-l3 in their low six bits; byte 8 + i has s(4 + i)'s low four bits in its low nibble and
 *     l(4 + i)'s in its high one, whose upper two are on top of bytes i and 4 + i. */

bool tri_matrix_is(uint32_t type);
extern const char tri_matrix_names[]; /* "F32, F16, …" for messages */
/* True for types that tri_matrix_encode writes: F32, F16, BF16, Q8_0 and Q6_K. */
bool tri_matrix_writable(uint32_t type);
/* True for F32, F16 and BF16, which run-time code reads in place. */
bool tri_matrix_is_float(uint32_t type);
tri_ftype tri_matrix_float_type(uint32_t type); /* of such a type */

/* n values of `src`, which starts on a block; n is a multiple of the type's block. */
void tri_matrix_floats(const tri_kernels *k, uint32_t type, const void *src, size_t n, float *x);
/* The opposite, for the writable types. Returns the bytes written. */
size_t tri_matrix_encode(const tri_kernels *k, uint32_t type, const float *x, size_t n, void *out);

#endif
