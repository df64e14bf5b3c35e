/* SPDX-License-Identifier: MIT */
/* Products of the dense forms (form.h) on 512-bit VNNI and VBMI, for one form at a time: table lookups turn the bytes of a
 * unit of lines back into 2-bit codes, and then all is as in i2s_avx512.c. The including file has defined
 *   GEMM          the function's name
 *   UNIT          bytes of a unit, 64 a line
 *   POSITIONS     groups of four columns in a unit
 *   place(p)      the bit at which position p's codes stand in their bytes: 0, 2, 4 or 6
 *   decode(w)     a unit's bytes looked up: a `decoded`, whose at[p] holds position p's codes, and others beside them
 *
 * Nothing overflows: codes in place are at most 2 * 64, and an accumulator takes at most half of the columns, so it stays
 * below 128 * 128 * TRI_MAX_K / 2 = 2^31. */

enum {
  FEW = 6,   /* with so few rows, shifting the codes down costs more than it saves */
  MANY = 16, /* most rows in one pass */
  AHEAD = 3072,
};

/* n <= FEW rows, all of the panel: products of position p come out times 2^place(p), and are shifted down at the end. With
 * one row each position has an accumulator of its own, as a chain of three additions would be waited for. tail: the
 * activations of the last unit. (Unrolling over units makes gcc 12 spill.) */
INLINE void few_rows(const uint8_t *w, size_t units, const int8_t *q, const int8_t *tail, size_t n, int32_t *y,
                     size_t ldy) {
  const bool apart = n == 1;
  const size_t sums = apart ? POSITIONS : 4;
  __m512i acc[FEW][POSITIONS];
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t p = 0; p < sums; p++) acc[r][p] = _mm512_setzero_si512();
  for (size_t g = 0; g < units; g++) {
    decoded unit = decode(w + g * UNIT);
    const int8_t *here = g + 1 < units ? q + g * POSITIONS * 4 * n : tail;
    if (n > 1) UNROLL for (size_t line = 0; line < UNIT; line += 64) _mm_prefetch((const char *)w + g * UNIT + AHEAD + line, _MM_HINT_T0);
    UNROLL for (size_t p = 0; p < POSITIONS; p++) {
      __m512i codes = _mm512_and_si512(unit.at[p], _mm512_set1_epi8((char)(3 << place(p))));
      size_t a = apart ? p : place(p) / 2;
      UNROLL for (size_t r = 0; r < n; r++)
        acc[r][a] = dot_four(acc[r][a], codes, here + (p * n + r) * 4);
    }
  }
  UNROLL for (size_t r = 0; r < n; r++) {
    __m512i sum = _mm512_setzero_si512();
    UNROLL for (size_t p = 0; p < sums; p++)
      sum = _mm512_add_epi32(sum, _mm512_srai_epi32(acc[r][p], (unsigned)(apart ? place(p) : 2 * p)));
    _mm512_storeu_si512(y + r * ldy, sum);
  }
}

/* n rows from q on, of a panel of `rows`: codes are brought down once and used by all; one accumulator a row. */
INLINE void many_rows(const uint8_t *w, size_t units, const int8_t *q, const int8_t *tail, size_t rows, size_t n,
                      int32_t *y, size_t ldy) {
  const __m512i three = _mm512_set1_epi8(3);
  __m512i acc[MANY];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_si512();
  for (size_t g = 0; g < units; g++, w += UNIT) {
    decoded unit = decode(w);
    const int8_t *here = g + 1 < units ? q + g * POSITIONS * 4 * rows : tail;
    UNROLL for (size_t line = 0; line < UNIT; line += 64) _mm_prefetch((const char *)w + AHEAD + line, _MM_HINT_T0);
    UNROLL for (size_t p = 0; p < POSITIONS; p++) {
      __m512i codes = _mm512_and_si512(_mm512_srli_epi16(unit.at[p], (unsigned)place(p)), three);
      UNROLL for (size_t r = 0; r < n; r++) acc[r] = dot_four(acc[r], codes, here + (p * rows + r) * 4);
    }
  }
  UNROLL for (size_t r = 0; r < n; r++) _mm512_storeu_si512(y + r * ldy, acc[r]);
}

/* Every row count has its own loop, so that its accumulators are registers. */
#define FEW_ROWS(n)                                                                                                \
  case n: few_rows(w, units, q, tail, n, y, ldy); break;
#define MANY_ROWS(n)                                                                                               \
  case n: many_rows(w, units, q, tail, rows, n, y, ldy); break;

/* n <= MANY rows from q on, of a panel of `rows`; n == rows if n <= FEW */
static void one_block(const uint8_t *w, size_t units, const int8_t *q, const int8_t *tail, size_t rows, size_t n,
                      int32_t *y, size_t ldy) {
  switch (n) {
    FEW_ROWS(1) FEW_ROWS(2) FEW_ROWS(3) FEW_ROWS(4) FEW_ROWS(5) FEW_ROWS(6)
    MANY_ROWS(7) MANY_ROWS(8) MANY_ROWS(9) MANY_ROWS(10)
    MANY_ROWS(11) MANY_ROWS(12) MANY_ROWS(13) MANY_ROWS(14) MANY_ROWS(15) MANY_ROWS(16)
  }
}

/* A panel may end within the last unit, whose activations are copied so that zeros follow them. */
void GEMM(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first, size_t block_last,
          int32_t *y, size_t ldy) {
  size_t fours = (k + 3) / 4, units = (fours + POSITIONS - 1) / POSITIONS, full = (units - 1) * POSITIONS;
  size_t first = rows > MANY ? (rows + 1) / 2 : rows;
  int8_t tail[POSITIONS * 4 * TRI_PANEL_ROWS] = {0};
  memcpy(tail, panel + full * 4 * rows, (fours - full) * 4 * rows);
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *from = w + block * units * UNIT;
    int32_t *out = y + block * TRI_BLOCK_ROWS;
    one_block(from, units, panel, tail, rows, first, out, ldy);
    if (first < rows)
      one_block(from, units, panel + 4 * first, tail + 4 * first, rows, rows - first, out + first * ldy, ldy);
  }
}
