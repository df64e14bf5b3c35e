/* SPDX-License-Identifier: MIT */
/* Five trits a byte (form.h) on 512-bit VNNI and VBMI: two table lookups turn a line into the in-place codes of four
 * positions, and the fifth position's codes are a byte's own top bits but for the few bytes that have both set. Then as
 * in i2s_avx512.c. 14 instructions for 320 weights, where R16 has 8 for 256: what it saves is memory's time.
 *
 * Nothing overflows: in-place codes are at most 2 * 64, and an accumulator takes the fifth part of the columns, or two
 * fifths, so it stays below 128 * 128 * TRI_MAX_K * 2 / 5 < 2^31. */
#include <immintrin.h>
#include <string.h>
#include "kernels/inline.h"
#include "kernels/x86/x86.h"

enum {
  LINE = 64,
  POSITIONS = 5,
  FEW = 4,   /* with so few rows, shifting the codes down costs more than it saves */
  MANY = 16, /* most rows in one pass */
  AHEAD = 3072,
};

/* r = c0 + 3 c1 + 9 c2 + 27 c3 as codes in place; an escape e: r = 64 + e / 3, c4 = e % 3 */
#define CODES(r) (uint8_t)((r) % 3 | (r) / 3 % 3 << 2 | (r) / 9 % 3 << 4 | (r) / 27 % 3 << 6)
#define ESCAPED(e) CODES(64 + (e) / 3)
#define ESCAPED_TOP(e) (uint8_t)((e) % 3 << 6)
#define FOUR(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3)
#define SIXTEEN(f, n) FOUR(f, n), FOUR(f, (n) + 4), FOUR(f, (n) + 8), FOUR(f, (n) + 12)
#define ALL(f) SIXTEEN(f, 0), SIXTEEN(f, 16), SIXTEEN(f, 32), SIXTEEN(f, 48)

static const _Alignas(64) uint8_t codes_table[64] = {ALL(CODES)}, escaped_table[64] = {ALL(ESCAPED)},
                                  escaped_top_table[64] = {ALL(ESCAPED_TOP)};

/* four: the codes of positions 0 to 3 in place; top: a line whose top bits are position 4's */
typedef struct decoded {
  __m512i four, top;
} decoded;

INLINE decoded decode(const uint8_t *w) {
  const __m512i codes = _mm512_load_si512(codes_table), escaped = _mm512_load_si512(escaped_table);
  __m512i line = _mm512_load_si512(w);
  __mmask64 escapes = _mm512_cmpge_epu8_mask(line, _mm512_set1_epi8((char)0xc0));
  return (decoded){
      .four = _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(line, codes), escapes, line, escaped),
      .top = _mm512_mask_permutexvar_epi8(line, escapes, line, _mm512_load_si512(escaped_top_table)),
  };
}

/* The four activation bytes of position p, in all 16 lanes. q points at the line's first position of the row. */
INLINE __m512i spread(const int8_t *q, size_t rows, size_t p) {
  int four;
  memcpy(&four, q + p * rows * 4, 4);
  return _mm512_set1_epi32(four);
}

/* One line against n <= FEW rows: products of position p come out times 4^p, those of the last one times 64. */
INLINE void few_line(const uint8_t *w, const int8_t *q, size_t rows, size_t n, __m512i acc[FEW][POSITIONS]) {
  decoded line = decode(w);
  UNROLL for (size_t p = 0; p < POSITIONS; p++) {
    __m512i codes = p == 4 ? _mm512_and_si512(line.top, _mm512_set1_epi8((char)0xc0))
                           : _mm512_and_si512(line.four, _mm512_set1_epi8((char)(3 << 2 * p)));
    UNROLL for (size_t r = 0; r < n; r++)
      acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], codes, spread(q + 4 * r, rows, p));
  }
}

/* lines: all but the last, whose activations are at tail */
INLINE void few_rows(const uint8_t *w, size_t lines, const int8_t *q, const int8_t *tail, size_t rows, size_t n,
                     int32_t *y, size_t ldy) {
  __m512i acc[FEW][POSITIONS];
  UNROLL for (size_t r = 0; r < n; r++)
    UNROLL for (size_t p = 0; p < POSITIONS; p++) acc[r][p] = _mm512_setzero_si512();
  for (size_t g = 0; g < lines; g++, w += LINE, q += POSITIONS * 4 * rows) few_line(w, q, rows, n, acc);
  few_line(w, tail, rows, n, acc);
  UNROLL for (size_t r = 0; r < n; r++) {
    __m512i sum = _mm512_add_epi32(acc[r][0], _mm512_srai_epi32(acc[r][1], 2));
    sum = _mm512_add_epi32(sum, _mm512_srai_epi32(acc[r][2], 4));
    sum = _mm512_add_epi32(sum, _mm512_srai_epi32(_mm512_add_epi32(acc[r][3], acc[r][4]), 6));
    _mm512_storeu_si512(y + r * ldy, sum);
  }
}

/* One line against n rows; its codes are brought down once. */
INLINE void many_line(const uint8_t *w, const int8_t *q, size_t rows, size_t n, __m512i acc[MANY]) {
  const __m512i three = _mm512_set1_epi8(3);
  decoded line = decode(w);
  UNROLL for (size_t p = 0; p < POSITIONS; p++) {
    __m512i down = p == 4 ? _mm512_srli_epi16(line.top, 6) : _mm512_srli_epi16(line.four, (unsigned)(2 * p));
    __m512i codes = _mm512_and_si512(down, three);
    UNROLL for (size_t r = 0; r < n; r++) acc[r] = _mm512_dpbusd_epi32(acc[r], codes, spread(q + 4 * r, rows, p));
  }
}

INLINE void many_rows(const uint8_t *w, size_t lines, const int8_t *q, const int8_t *tail, size_t rows, size_t n,
                      int32_t *y, size_t ldy) {
  __m512i acc[MANY];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = _mm512_setzero_si512();
  for (size_t g = 0; g < lines; g++, w += LINE, q += POSITIONS * 4 * rows) {
    _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
    many_line(w, q, rows, n, acc);
  }
  many_line(w, tail, rows, n, acc);
  UNROLL for (size_t r = 0; r < n; r++) _mm512_storeu_si512(y + r * ldy, acc[r]);
}

/* Every row count has its own loop, so that its accumulators are registers. */
#define FEW_ROWS(n)                                                                                                \
  case n: few_rows(w, lines, q, tail, rows, n, y, ldy); break;
#define MANY_ROWS(n)                                                                                               \
  case n: many_rows(w, lines, q, tail, rows, n, y, ldy); break;

/* n <= MANY rows from q on, of a panel of `rows` */
static void one_block(const uint8_t *w, size_t lines, const int8_t *q, const int8_t *tail, size_t rows, size_t n,
                      int32_t *y, size_t ldy) {
  switch (n) {
    FEW_ROWS(1) FEW_ROWS(2) FEW_ROWS(3) FEW_ROWS(4)
    MANY_ROWS(5) MANY_ROWS(6) MANY_ROWS(7) MANY_ROWS(8) MANY_ROWS(9) MANY_ROWS(10)
    MANY_ROWS(11) MANY_ROWS(12) MANY_ROWS(13) MANY_ROWS(14) MANY_ROWS(15) MANY_ROWS(16)
  }
}

/* A panel's groups of four may end within the last line, whose activations are copied so that zeros follow them. */
void tri_t5_avx512_gemm(const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                      size_t block_last, int32_t *y, size_t ldy) {
  size_t fours = (k + 3) / 4, lines = (fours + POSITIONS - 1) / POSITIONS, full = (lines - 1) * POSITIONS;
  size_t first = rows > MANY ? (rows + 1) / 2 : rows;
  int8_t tail[POSITIONS * 4 * TRI_PANEL_ROWS] = {0};
  memcpy(tail, panel + full * 4 * rows, (fours - full) * 4 * rows);
  for (size_t block = block_first; block < block_last; block++) {
    const uint8_t *from = w + block * lines * LINE;
    int32_t *out = y + block * TRI_BLOCK_ROWS;
    one_block(from, lines - 1, panel, tail, rows, first, out, ldy);
    if (first < rows)
      one_block(from, lines - 1, panel + 4 * first, tail + 4 * first, rows, rows - first, out + first * ldy, ldy);
  }
}
