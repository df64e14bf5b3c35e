/* SPDX-License-Identifier: MIT */
/* INT8 products on 512-bit VNNI, whose first operand is unsigned: w + 128 (w with its top bit flipped) takes w's
 * place, and 128 times the sum of the group's activations is taken off again. Those sums serve all row blocks; they
 * are kept for a tile of groups at a time, between which the float sums wait in y. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  GROUP_BYTES = 512, /* weights of one group of 32 values for 16 rows */
  GROUP = 12,        /* activation rows at a time: their int32 and float sums must be registers */
  TILE = 128,        /* groups */
  AHEAD = 3072,
};

/* -128 * (sum of the group's values) for each row of a tile */
typedef int32_t offsets[TILE][TRI_PANEL_ROWS];

static void fill_offsets(const int8_t *panel, size_t rows, size_t groups, offsets out) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  for (size_t group = 0; group < groups; group++)
    for (size_t r = 0; r < rows; r += 16) {
      const __mmask16 present = (__mmask16)(rows - r < 16 ? (1u << (rows - r)) - 1 : 0xffff);
      __m512i sum = _mm512_setzero_si512();
      for (size_t g = 0; g < 8; g++) {
        const int8_t *q = panel + ((group * 8 + g) * rows + r) * 4;
        sum = _mm512_dpbusd_epi32(sum, flip, _mm512_maskz_loadu_epi32(present, q));
      }
      _mm512_mask_storeu_epi32(out[group] + r, present, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
    }
}

/* A tile of groups of one row block: weights, scales; of rows from q on in a panel of `rows`: values, scales (`all`
 * groups a row) and offsets. */
typedef struct tile {
  const int8_t *w, *q;
  const float *d, *dx;
  const int32_t *offset;
  size_t groups, rows, all;
} tile;

/* Adds a tile's products with n rows to y, or starts y with them. */
INLINE void one_tile(tile t, size_t n, bool start, float *y, size_t ldy) {
  const __m512i flip = _mm512_set1_epi8((char)0x80);
  __m512 acc[GROUP];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = start ? _mm512_setzero_ps() : _mm512_loadu_ps(y + r * ldy);
  for (size_t group = 0; group < t.groups; group++) {
    __m512i sums[GROUP];
    UNROLL for (size_t r = 0; r < n; r++) sums[r] = _mm512_set1_epi32(t.offset[group * TRI_PANEL_ROWS + r]);
    for (size_t g = 0; g < 8; g++, t.w += LINE, t.q += t.rows * 4) {
      __m512i line = _mm512_xor_si512(_mm512_load_si512(t.w), flip);
      if (n > 2) _mm_prefetch((const char *)t.w + AHEAD, _MM_HINT_T0); /* with fewer, memory is the limit */
      UNROLL for (size_t r = 0; r < n; r++) {
        int four;
        memcpy(&four, t.q + r * 4, 4);
        sums[r] = _mm512_dpbusd_epi32(sums[r], line, _mm512_set1_epi32(four));
      }
    }
    __m512 dw = _mm512_loadu_ps(t.d + group * TRI_BLOCK_ROWS);
    UNROLL for (size_t r = 0; r < n; r++) {
      __m512 scale = _mm512_mul_ps(dw, _mm512_set1_ps(t.dx[r * t.all + group]));
      acc[r] = _mm512_add_ps(acc[r], _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r]), scale));
    }
  }
  UNROLL for (size_t r = 0; r < n; r++) _mm512_storeu_ps(y + r * ldy, acc[r]);
}

#define ROWS(n)                                                                                                    \
  case n: one_tile(t, n, start, y, ldy); break;

/* All rows of the panel, t's pointers being at the first. */
static void all_rows(tile t, bool start, float *y, size_t ldy) {
  for (size_t left = t.rows; left;) {
    size_t n = left > GROUP ? (left + 1) / 2 : left;
    switch (n) {
      ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
    }
    t.q += 4 * n, t.dx += n * t.all, t.offset += n, y += n * ldy;
    left -= n;
  }
}

void tri_q8_avx512_gemm(const tri_q8 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
                        size_t block_last, float *y, size_t ldy) {
  size_t groups = w->k / TRI_Q8_BLOCK;
  offsets offset;
  for (size_t first = 0; first < groups; first += TILE) {
    size_t here = groups - first < TILE ? groups - first : TILE;
    const int8_t *q = panel + first * TRI_Q8_BLOCK * rows;
    fill_offsets(q, rows, here, offset);
    for (size_t block = block_first; block < block_last; block++) {
      size_t at = block * groups + first;
      tile t = {w->q + at * GROUP_BYTES, q, w->d + at * TRI_BLOCK_ROWS, dx + first, offset[0], here, rows, groups};
      all_rows(t, first == 0, y + block * TRI_BLOCK_ROWS, ldy);
    }
  }
}
