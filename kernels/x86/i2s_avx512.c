/* SPDX-License-Identifier: MIT */
/* Ternary products on 512-bit VNNI: one line (16 weight rows, four codes a byte) against the four bytes of each
 * activation row that belong to each of the four shift positions. */
#include <immintrin.h>
#include "kernels/inline.h"
#include "kernels/x86/dot512.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  LINES = 8, /* lines in a chunk */
  FEW = 4,   /* with so few rows, shifting the codes down costs more than it saves */
  MANY = 16, /* most rows in one pass */
  AHEAD = 4096,
};

/* The four activation bytes that belong to shift position p of line g in chunk c. q points at the row's first four bytes in
 * a panel of `rows`. */
INLINE const int8_t *four(const int8_t *q, size_t rows, size_t c, size_t g, size_t p) {
  return q + (c * 32 + p * LINES + g) * rows * 4;
}

/* rows <= FEW: codes stay where they are in the byte, so products of position p come out times 4^(3-p); each
 * position has its own accumulator, whose low bits are zero, and is shifted down once at the end. */
INLINE void few_rows(const uint8_t *w, size_t chunks, const int8_t *panel, size_t rows, int32_t *y, size_t ldy) {
  const __m512i mask[4] = {_mm512_set1_epi8((char)0xc0), _mm512_set1_epi8(0x30), _mm512_set1_epi8(0x0c),
                           _mm512_set1_epi8(0x03)};
  __m512i acc[FEW][4];
  UNROLL for (size_t r = 0; r < rows; r++)
    UNROLL for (size_t p = 0; p < 4; p++) acc[r][p] = _mm512_setzero_si512();
  for (size_t c = 0; c < chunks; c++, w += LINES * LINE) {
    UNROLL for (size_t g = 0; g < LINES; g++) {
      __m512i line = _mm512_load_si512(w + g * LINE);
      if (rows > 2) _mm_prefetch((const char *)w + g * LINE + AHEAD, _MM_HINT_T0);
      UNROLL for (size_t p = 0; p < 4; p++) {
        __m512i codes = _mm512_and_si512(line, mask[p]);
        UNROLL for (size_t r = 0; r < rows; r++)
          acc[r][p] = dot_four(acc[r][p], codes, four(panel + 4 * r, rows, c, g, p));
      }
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) {
    __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[r][0], 6), _mm512_srai_epi32(acc[r][1], 4));
    __m512i low = _mm512_add_epi32(_mm512_srai_epi32(acc[r][2], 2), acc[r][3]);
    _mm512_storeu_si512(y + r * ldy, _mm512_add_epi32(high, low));
  }
}

/* More rows: the codes of a line are brought down once and used by n rows from q on, of a panel of `rows`; one
 * accumulator a row. */
INLINE void many_rows(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  const __m512i three = _mm512_set1_epi8(3);
  __m512i acc[MANY];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_si512();
  for (size_t c = 0; c < chunks; c++)
    for (size_t g = 0; g < LINES; g++, w += LINE) {
      __m512i line = _mm512_load_si512(w);
      _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
      UNROLL for (size_t p = 0; p < 4; p++) {
        __m512i codes = _mm512_and_si512(_mm512_srli_epi16(line, (unsigned)(6 - 2 * p)), three);
        UNROLL for (size_t r = 0; r < n; r++)
          acc[r] = dot_four(acc[r], codes, four(q + 4 * r, rows, c, g, p));
      }
    }
  UNROLL for (size_t r = 0; r < n; r++) _mm512_storeu_si512(y + r * ldy, acc[r]);
}

/* Every row count has its own loop, so that its accumulators are registers. */
#define FEW_ROWS(n)                                                                                                \
  case n: few_rows(w, chunks, q, n, y, ldy); break;
#define MANY_ROWS(n)                                                                                               \
  case n: many_rows(w, chunks, q, rows, n, y, ldy); break;

/* n <= MANY rows from q on, of a panel of `rows`; n == rows if n <= FEW */
static void one_block(const uint8_t *w, size_t chunks, const int8_t *q, size_t rows, size_t n, int32_t *y,
                      size_t ldy) {
  switch (n) {
    FEW_ROWS(1) FEW_ROWS(2) FEW_ROWS(3) FEW_ROWS(4)
    MANY_ROWS(5) MANY_ROWS(6) MANY_ROWS(7) MANY_ROWS(8) MANY_ROWS(9) MANY_ROWS(10)
    MANY_ROWS(11) MANY_ROWS(12) MANY_ROWS(13) MANY_ROWS(14) MANY_ROWS(15) MANY_ROWS(16)
  }
}

/* Row blocks go one by one: a single ascending stream is what the hardware prefetcher likes best. With one or two rows,
 * when memory is the limit, software prefetch only disturbs it (measured); with more it hides what is left. More than
 * MANY rows take two passes over a block: the second finds it in cache, and both keep their accumulators in registers
 * where 24 would spill. */
void tri_i2s_avx512_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                         size_t block_last, int32_t *y, size_t ldy) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN, first = rows > MANY ? (rows + 1) / 2 : rows;
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *lines = w + block * chunks * LINES * LINE;
    int32_t *out = y + block * TRI_BLOCK_ROWS;
    one_block(lines, chunks, panel, rows, first, out, ldy);
    if (first < rows) one_block(lines, chunks, panel + 4 * first, rows, rows - first, out + first * ldy, ldy);
  }
}
