/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_KERNELS_H
#define TRI_KERNELS_KERNELS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The arithmetic of a ternary transformer: contracts of every op, and one table of the functions picked at
 * start. No op allocates, does I/O or fails: callers keep the stated ranges.
 *
 * Two rules make every run repeatable on every machine:
 *  - integer ops are exact, so all ISAs return the same int32 for the same input;
 *  - float ops are written once (float_body.h) over 16 fixed lanes with a fixed reduction tree, compiled per
 *    ISA without contraction or reassociation: a row's result never depends on the ISA, the thread count or
 *    the rows beside it.
 *
 * Activations in panels. Up to TRI_PANEL_ROWS int8 rows stand interleaved by groups of four values, so that
 * one dot-product instruction's operand (4 bytes) of every row is adjacent:
 *     panel[(k/4 * rows + row) * 4 + k%4],  0 <= k < kpad,   kpad = k rounded up to 128, padded with 0.
 * With one row a panel is the row itself.
 *
 * Ternary weights: the run-time form "R16". An [m, k] matrix of {-1,0,1} is stored as mpad/16 row blocks of
 * 16 rows, each kpad/128 chunks of 16 rows * 32 bytes; inside a chunk eight 64-byte lines, line g holding
 * dword g (bytes 4g..4g+3) of each of its 16 rows; the 32 bytes of one row are I2_S's own: byte j holds
 * k = j, 32+j, 64+j, 96+j at shifts 6, 4, 2, 0, code = t + 1 (0, 1, 2). Padding rows and columns hold code 1
 * (zero). So R16 is I2_S with dwords of 16 rows interleaved: bytes mpad * kpad / 4.
 */

enum {
  TRI_PANEL_ROWS = 24, /* most rows in an activation panel */
  TRI_BLOCK_ROWS = 16, /* weight rows in a row block */
  TRI_K_ALIGN = 128,   /* kpad is a multiple of this */
  TRI_ATTENTION_BLOCK = 256, /* positions */
  TRI_KV_BLOCK = 64,         /* positions of a sequence whose keys, and whose values, stand in one place */
  TRI_KV_SPAN = TRI_ATTENTION_BLOCK / TRI_KV_BLOCK,
  TRI_KV_TILE = 16,          /* positions whose keys stand side by side */
  TRI_KV_SLACK = 64,         /* bytes behind the last value that attention may read */
  TRI_MAX_HEAD_DIM = 1024,
  TRI_MAX_K = 1 << 18, /* keeps every int32 accumulator exact, codes scaled by 64 included (4096 * K < 2^31) */
  TRI_Q8_BLOCK = 32,   /* values per scale in Q8_0 */
  TRI_Q6_BLOCK = 256,  /* values per block in Q6_K */
  TRI_Q6_GROUP = 16,   /* values per scale in Q6_K */
  TRI_Q6_BYTES = 3392, /* 16 rows of a block in Q6's run-time form */
};

typedef enum tri_isa {
  TRI_ISA_PORTABLE,
  TRI_ISA_AVX2,    /* + F16C, for conversions */
  TRI_ISA_AVXVNNI, /* AVX2 + VEX-encoded VNNI (Alder Lake, N100) */
  TRI_ISA_AVX512,  /* F, BW, VL, DQ, VNNI */
  TRI_ISA_NEON,
  TRI_ISA_DOTPROD, /* NEON + sdot */
  TRI_ISA_I8MM,    /* DOTPROD + smmla */
  TRI_ISA_COUNT
} tri_isa;

/* A type of float data. TRI_INT8, in KV caches, is a type of vectors: a float32 scale, the largest size over 127, then
 * int8 in multiples of it, padded to 4 bytes. */
typedef enum tri_ftype { TRI_F32, TRI_F16, TRI_BF16, TRI_INT8 } tri_ftype;

/* Bytes of a vector of n values. */
static inline size_t tri_ftype_bytes(tri_ftype type, size_t n) {
  return type == TRI_F32 ? 4 * n : type == TRI_INT8 ? 4 + (n + 3) / 4 * 4 : 2 * n;
}

static inline size_t tri_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Run-time forms of a ternary matrix: R16 above, and others that hold the same weights and give the same results, in
 * fewer bytes or for other instructions. Their layouts, packing and sizes: form.h. */
typedef enum tri_form {
  TRI_FORM_I2S, /* R16, 2 bits a weight */
  TRI_FORM_TL1, /* lookups of two weights, 2 bits */
  TRI_FORM_TL2, /* lookups of three weights, 1.67 bits */
  TRI_FORM_T5,  /* five weights a byte, 1.6 bits */
  TRI_FORM_T9,  /* nine weights in two bytes, 1.78 bits */
  TRI_FORM_COUNT
} tri_form;

/* Bytes of an [m, k] ternary matrix in R16. */
static inline size_t tri_i2s_bytes(size_t m, size_t k) {
  return tri_round_up(m, TRI_BLOCK_ROWS) * tri_round_up(k, TRI_K_ALIGN) / 4;
}

/* Q8 run-time form, for head matrices: [m, k] int8 with one scale per 32 values of a row; k % 32 == 0.
 * q: mpad/16 row blocks of k/32 groups of eight 64-byte lines; line g holds values 4g..4g+3 of the group for
 * each of 16 rows. d: float scale, [mpad/16, k/32, 16]. Padding rows are all zero. Values are -127..127. */
typedef struct tri_q8 {
  const int8_t *q;
  const float *d;
  size_t m, k;
} tri_q8;

/* y[row * ldy + i] = sum_k code(w[i], k) * q[row][k] for the weight rows i in row blocks [block_first, block_last) and
 * rows of one panel, 1 <= rows <= TRI_PANEL_ROWS; code = trit + 1 whatever the form, so the caller subtracts the row's
 * sum (dequant does). w is the whole matrix in the function's form, 64-byte aligned; R16 must be free of code 3. y is
 * written for padding rows too, so ldy >= block_last * 16. The work streams w from the first block to the last: give
 * each thread one contiguous range of blocks. What doesn't depend on the weight rows (lookup tables, for TL1 and TL2) is
 * made anew in each call, on the stack (20 KB): don't call it block by block. */
typedef void tri_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy);

/* Q6 run-time form, for head matrices too: [m, k] in blocks of 256 values of a row, k % 256 == 0; a weight is
 *     d * scale * (code - 32)
 * with d a float for each block, scale an int8 for each group of 16 values and code 0 to 63: 6.625 bits. w: mpad/16
 * row blocks of k/256 blocks of TRI_Q6_BYTES: d of each of the 16 rows, 64 bytes; the 16 groups' scales, int8
 * [16, 16 rows]; and 16 groups of three 64-byte lines. Byte 4r + j of the first line holds the low four bits of row r's
 * values j and (at shift 4) 8 + j; the second line those of 4 + j and 12 + j; the third the high two bits of values j,
 * 4 + j, 8 + j and 12 + j at shifts 0, 2, 4 and 6. Padding rows are all zero: their d makes them so. */
typedef struct tri_q6 {
  const uint8_t *w;
  size_t m, k;
} tri_q6;

static inline size_t tri_q6_bytes(size_t m, size_t k) {
  return tri_round_up(m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS * (k / TRI_Q6_BLOCK) * TRI_Q6_BYTES;
}

/* One KV head, and the queries of `rows` rows that attend to it: rows of one sequence at positions one after another, each with
 * the `heads` query heads that share the KV head. Row r's head h is at q + r * q_ld + h * hd.
 *
 * k and v: where the keys and values are of TRI_KV_SPAN times TRI_KV_BLOCK positions that follow one another, as far as there are
 * positions; behind the last, what will be read next, which is fetched ahead (any address will do).
 *
 * Keys stand in tiles of TRI_KV_TILE positions, so that a register holds one dimension of 16 keys: a tile is [hd, 16] elements,
 * for TRI_INT8 behind the 16 vectors' scales. Its bytes are those of 16 vectors. Values stand as vectors, one after another, with
 * TRI_KV_SLACK readable bytes behind the last. */
typedef struct tri_attention {
  const void *k[TRI_KV_SPAN + 1], *v[TRI_KV_SPAN + 1];
  tri_ftype type; /* TRI_F32, TRI_F16 or TRI_INT8 */
  size_t hd, heads, rows;
  const float *q;
  size_t q_ld;
  float scale;
} tri_attention;

typedef struct tri_kernels {
  tri_isa isa;
  const char *name;

  /* --- activations --- */

  /* Quantise one row of k floats to int8 (per-row absmax; Wang et al. 2023, BitNet, eq. 4-5):
   *   s = 127 / max(max|x|, 1e-5),  q = round-half-even(x * s) clamped to [-128, 127].
   * Writes q into its place in a panel of `rows` (q points at panel + 4*row), zero-padded to kpad; *sum is the
   * sum of q over the row. Returns s. A row with NaN returns NaN and q = 0; an infinite one returns 0. */
  float (*quant_row)(const float *x, size_t k, int8_t *q, size_t rows, int32_t *sum);

  /* --- ternary matrix --- */

  /* The product of a matrix in each run-time form: tri_gemm above. NULL where the level has nothing for the form that
   * could be faster than gemm[TRI_FORM_I2S], which is always there, as all are on the portable level. Which form is the
   * fastest depends on the machine, the shape, the threads and the rows: measure. */
  tri_gemm *gemm[TRI_FORM_COUNT];
  /* Rows, at most TRI_PANEL_ROWS, of the panels that it is best at: levels that take four rows at a time read a part of each
   * cache line of a panel, so that a wide one is read many times. */
  size_t panel_rows;

  /* In place, y int32 -> float: y[i] = (float)(y[i] - sum) / s * scale for n values. Alignment: 4. */
  void (*dequant)(void *y, size_t n, int32_t sum, float s, float scale);

  /* --- int8 matrix (heads) --- */

  /* Quantise one row of k floats to int8 with one scale per 32: d = max|x| / 127, q = round-half-even(x / d);
   * clamped to [-127, 127]; a group whose d comes out as 0 has q = 0. q points at panel + 4*row of a panel of `rows`;
   * d is [k/32]. k % 32 == 0; such a panel ends at k, without padding. */
  void (*quant_row_q8)(const float *x, size_t k, int8_t *q, size_t rows, float *d);

  /* y[row * ldy + i] = sum over groups g ascending of (float)(sum_j w*q) * (w.d * dx[row][g]), in float32, for row
   * blocks [block_first, block_last). dx is [rows, k/32]. 1 <= rows <= TRI_PANEL_ROWS. Panel values are -127..127 (as
   * quant_row_q8 makes them); weights of -128 are harmless. w->q is 64-byte aligned. ldy as in tri_gemm. */
  void (*q8_gemm)(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                  size_t block_last, float *y, size_t ldy);

  /* The same for Q6 weights: y[row * ldy + i] = sum over groups of 32 values, ascending, of (float)t * (d * dx), where t
   * is the exact sum, over both scales' halves, of scale * (code - 32) * q: below 2^24, so the float is exact as well.
   * w->w is 64-byte aligned. */
  void (*q6_gemm)(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                  size_t block_last, float *y, size_t ldy);

  /* --- float ops (float_body.h) --- */

  /* y[r * ldy + i] = dot(w[i], x[r]) for m rows of weights of a float type, one after another, read in place (2-byte aligned),
   * and x [rows, k]. */
  void (*matmul)(const void *w, tri_ftype type, size_t m, size_t k, const float *x, size_t rows, float *y, size_t ldy);
  float (*dot)(const float *a, const float *b, size_t n);
  /* y = w * (x * (1 / sqrt(mean(x^2) + eps))); y may be x. */
  void (*rmsnorm)(const float *x, const float *w, float eps, float *y, size_t n);
  /* Rotate `heads` vectors of hd floats in place by the position's table: cos and sin are [hd/2].
   * neox: pairs (i, i + hd/2); else adjacent pairs (2i, 2i+1). */
  void (*rope)(float *x, const float *cos, const float *sin, size_t heads, size_t hd, bool neox);
  /* Attention over a block of TRI_ATTENTION_BLOCK positions of one KV head, without the division. Row r sees the first
   * min(n + r, TRI_ATTENTION_BLOCK) of them, n >= 1. For each query:
   * s_t = q . k_t * scale, top = max s_t, p_t = exp(s_t - top); part + (r * heads + h) * (hd + 2) receives the hd sums of
   * p_t v_t (positions in ascending order), top and the sum of p_t. scratch: rows * heads * TRI_ATTENTION_BLOCK floats. */
  void (*attend)(const tri_attention *a, size_t n, float *scratch, float *part);
  /* Add the parts of further positions to totals of the same form (online softmax; Milakov and Gimelshein 2018). The
   * bits depend on the order: take the blocks of TRI_ATTENTION_BLOCK positions in ascending order, from the first. */
  void (*attend_merge)(float *total, const float *part, size_t queries, size_t hd);
  /* out[j * hd + i] = total's sums / its sum of p_t */
  void (*attend_end)(const float *total, size_t queries, size_t hd, float *out);
  /* Put a position's key, hd <= TRI_MAX_HEAD_DIM floats, into its tile: `keys` are those of a block, pos is in it. */
  void (*put_key)(const float *x, tri_ftype type, void *keys, size_t pos, size_t hd);
  /* gate[i] = max(gate[i], 0)^2 * up[i]  and  gate[i] = silu(gate[i]) * up[i], in place. */
  void (*relu2_gate)(float *gate, const float *up, size_t n);
  void (*silu_gate)(float *gate, const float *up, size_t n);
  void (*add)(float *x, const float *y, size_t n); /* x += y */
  /* Convert n elements, of TRI_INT8 one vector; round to nearest even. A TRI_INT8 vector with a value that is not finite
   * holds no useful numbers. */
  void (*to_f32)(const void *x, tri_ftype type, float *y, size_t n);
  void (*from_f32)(const float *x, tri_ftype type, void *y, size_t n);
  /* max and log(sum(exp(x - max))) + max */
  float (*logsumexp)(const float *x, size_t n);
} tri_kernels;

/* The table for the best level of this CPU, or for the level named in TRIREME_ISA. Called once at start, before
 * threads; NULL with a message in `why` (size why_len) when TRIREME_ISA names an unknown level or one that this
 * CPU lacks. */
const tri_kernels *tri_kernels_pick(char *why, size_t why_len);
/* The table of one level, for tests; NULL if the CPU or the build lacks it. */
const tri_kernels *tri_kernels_get(tri_isa isa);
const char *tri_kernels_isa_name(tri_isa isa);

#endif
