/* SPDX-License-Identifier: MIT */
#include "kernels/tl1.h"

#include "kernels/pairs.h"

const char *tri_tl1_misfit(const tri_tl1 *s) {
  if (s->sub != 32 && s->sub != 64) return "bm must be 32 or 64";
  if (s->bm == 0 || s->bm % s->sub) return "BM must be a multiple of bm";
  if (s->bk == 0 || s->bk % (256 / s->sub)) return "BK must be a multiple of 256 / bm";
  if (s->m == 0 || s->m % s->bm) return "the rows must be a multiple of BM";
  if (s->k == 0 || s->k % s->bk) return "the columns must be a multiple of BK";
  return NULL;
}

/* Where the 16 bytes stand that hold four columns from `col` on of the 16 rows from `row` on. */
static size_t line_at(const tri_tl1 *s, size_t row, size_t col) {
  size_t by = 256 / s->sub;
  size_t at = row / s->bm;
  at = at * (s->k / s->bk) + col / s->bk;
  at = at * (s->bm / s->sub) + row % s->bm / s->sub;
  at = at * (s->bk / by) + col % s->bk / by;
  at = at * (s->sub / TRI_TL1_ROWS) + row % s->sub / TRI_TL1_ROWS;
  at = at * (by / 4) + col % by / 4;
  return at * TRI_TL1_ROWS;
}

void tri_tl1_pack(const tri_tl1 *s, const int8_t *trits, size_t first, size_t last, uint8_t *codes) {
  for (size_t row = first; row < last; row += TRI_TL1_ROWS)
    for (size_t col = 0; col < s->k; col += 4) {
      uint8_t *line = codes + line_at(s, row, col);
      const int8_t *from = trits + (row - first) * s->k + col;
      for (size_t r = 0; r < TRI_TL1_ROWS; r++) line[r] = tri_pairs_byte(from + r * s->k);
    }
}

bool tri_tl1_unpack(const tri_tl1 *s, const uint8_t *codes, size_t first, size_t last, int8_t *trits) {
  int bad = 0;
  for (size_t row = first; row < last; row += TRI_TL1_ROWS)
    for (size_t col = 0; col < s->k; col += 4) {
      const uint8_t *line = codes + line_at(s, row, col);
      int8_t *to = trits + (row - first) * s->k + col;
      for (size_t r = 0; r < TRI_TL1_ROWS; r++) bad |= tri_pairs_trits(line[r], to + r * s->k);
    }
  return !bad;
}
