/* SPDX-License-Identifier: MIT */
#include "kernels/tl2.h"

#include "kernels/pairs.h"

enum {
  ROWS = TRI_TL2_ROWS,
  STRIPE = 24,             /* columns whose signs share a word */
  THREES = STRIPE / 3,
  A_BYTES = ROWS * THREES / 2, /* of one stripe of 32 rows */
  S_BYTES = ROWS,
  PAIR_STRIPE = 32,        /* columns of a tile of pairs */
  B_BYTES = ROWS * PAIR_STRIPE / 4,
  MOST_PAIRS = 256,        /* columns in pairs that a file has room for */
  MOST_SUM = 13,           /* 9 + 3 + 1 */
};

const char *tri_tl2_misfit(const tri_tl2 *s) {
  if (s->bm == 0 || s->bm % ROWS) return "BM must be a multiple of 32";
  if (s->bk == 0 || s->bk % STRIPE) return "BK must be a multiple of 24";
  if (s->m == 0 || s->m % s->bm) return "the rows must be a multiple of BM";
  if (s->k < MOST_PAIRS || s->k < s->bk) return "the columns must be at least 256 and at least BK";
  if (s->k % s->bk % PAIR_STRIPE) return "the columns left over by BK must be a multiple of 32";
  if (s->k % s->bk > MOST_PAIRS) return "the columns left over by BK must be at most 256";
  return NULL;
}

static size_t threes_of(const tri_tl2 *s) { return s->k / s->bk * s->bk; }

size_t tri_tl2_bytes(const tri_tl2 *s) {
  size_t k3 = threes_of(s);
  return s->m * (k3 / STRIPE) * 5 + s->m * (s->k - k3) / 4;
}

/* Row r of 32 in a line of A or B. */
static size_t place_of(size_t r) {
  static const uint8_t eights[4] = {0, 2, 1, 3};
  return (size_t)eights[r / 8] * 8 + r % 8;
}

/* The stripe of A and of S, counted from their beginnings, with 24 columns from `col` on of the 32 rows from `row` on. */
static size_t stripe_at(const tri_tl2 *s, size_t row, size_t col) {
  size_t at = row / s->bm;
  at = at * (s->k / s->bk) + col / s->bk;
  at = at * (s->bm / ROWS) + row % s->bm / ROWS;
  return at * (s->bk / STRIPE) + col % s->bk / STRIPE;
}

/* Where the tile-th 32 columns in pairs of the 32 rows from `row` on stand, counted from A's beginning. */
static size_t pairs_at(const tri_tl2 *s, size_t row, size_t tile) {
  size_t k3 = threes_of(s), at = row / s->bm;
  at = at * ((s->k - k3) / PAIR_STRIPE) + tile;
  at = at * (s->bm / ROWS) + row % s->bm / ROWS;
  return s->m * (k3 / STRIPE) * 5 + at * B_BYTES;
}

/* --- packing --- */

static void pack_stripe(const int8_t *from, size_t ld, uint8_t *a, uint8_t *signs) {
  unsigned words[ROWS / 2] = {0};
  for (size_t r = 0; r < ROWS; r++) {
    const int8_t *w = from + r * ld;
    unsigned nibbles[THREES];
    for (size_t i = 0; i < THREES; i++, w += 3) {
      int sum = 9 * w[0] + 3 * w[1] + w[2];
      nibbles[i] = (unsigned)(sum < 0 ? -sum : sum);
      words[r % 16] |= (unsigned)(sum < 0) << (15 - (2 * i + r / 16));
    }
    for (size_t i = 0; i < THREES / 2; i++)
      a[i * ROWS + place_of(r)] = (uint8_t)(nibbles[2 * i] << 4 | nibbles[2 * i + 1]);
  }
  for (size_t i = 0; i < ROWS / 2; i++) signs[2 * i] = (uint8_t)words[i], signs[2 * i + 1] = (uint8_t)(words[i] >> 8);
}

static void pack_pairs(const int8_t *from, size_t ld, uint8_t *b) {
  for (size_t r = 0; r < ROWS; r++)
    for (size_t i = 0; i < PAIR_STRIPE / 4; i++) b[i * ROWS + place_of(r)] = tri_pairs_byte(from + r * ld + i * 4);
}

void tri_tl2_pack(const tri_tl2 *s, const int8_t *trits, size_t first, size_t last, uint8_t *codes) {
  size_t k3 = threes_of(s);
  uint8_t *signs = codes + s->m * k3 / 6;
  for (size_t row = first; row < last; row += ROWS) {
    const int8_t *from = trits + (row - first) * s->k;
    for (size_t col = 0; col < k3; col += STRIPE) {
      size_t at = stripe_at(s, row, col);
      pack_stripe(from + col, s->k, codes + at * A_BYTES, signs + at * S_BYTES);
    }
    for (size_t col = k3; col < s->k; col += PAIR_STRIPE)
      pack_pairs(from + col, s->k, codes + pairs_at(s, row, (col - k3) / PAIR_STRIPE));
  }
}

/* --- unpacking --- */

/* The three weights of each sum from -15 to 15; beyond -13 and 13 there are none. */
static const int8_t threes[31][3] = {
    {0, 0, 0},  {0, 0, 0},  {-1, -1, -1}, {-1, -1, 0}, {-1, -1, 1}, {-1, 0, -1}, {-1, 0, 0}, {-1, 0, 1},
    {-1, 1, -1}, {-1, 1, 0}, {-1, 1, 1},   {0, -1, -1}, {0, -1, 0},  {0, -1, 1},  {0, 0, -1}, {0, 0, 0},
    {0, 0, 1},  {0, 1, -1}, {0, 1, 0},    {0, 1, 1},   {1, -1, -1}, {1, -1, 0},  {1, -1, 1}, {1, 0, -1},
    {1, 0, 0},  {1, 0, 1},  {1, 1, -1},   {1, 1, 0},   {1, 1, 1},   {0, 0, 0},   {0, 0, 0}};

static int unpack_stripe(const uint8_t *a, const uint8_t *signs, int8_t *to, size_t ld) {
  int bad = 0;
  for (size_t r = 0; r < ROWS; r++) {
    int word = (signs[2 * (r % 16)] | signs[2 * (r % 16) + 1] << 8) << (r / 16); /* bits 15, 13, … are the row's */
    int8_t *out = to + r * ld;
    for (size_t i = 0; i < THREES; i++, out += 3) {
      int byte = a[i / 2 * ROWS + place_of(r)], size = i % 2 ? byte & 15 : byte >> 4;
      int minus = word >> (15 - 2 * i) & 1, sum = (size ^ -minus) + minus;
      const int8_t *w = threes[15 + sum];
      out[0] = w[0], out[1] = w[1], out[2] = w[2];
      bad |= (size > MOST_SUM) | (minus & (size == 0));
    }
  }
  return bad;
}

static int unpack_pairs(const uint8_t *b, int8_t *to, size_t ld) {
  int bad = 0;
  for (size_t r = 0; r < ROWS; r++)
    for (size_t i = 0; i < PAIR_STRIPE / 4; i++) bad |= tri_pairs_trits(b[i * ROWS + place_of(r)], to + r * ld + i * 4);
  return bad;
}

bool tri_tl2_unpack(const tri_tl2 *s, const uint8_t *codes, size_t first, size_t last, int8_t *trits) {
  size_t k3 = threes_of(s);
  const uint8_t *signs = codes + s->m * k3 / 6;
  int bad = 0;
  for (size_t row = first; row < last; row += ROWS) {
    int8_t *to = trits + (row - first) * s->k;
    for (size_t col = 0; col < k3; col += STRIPE) {
      size_t at = stripe_at(s, row, col);
      bad |= unpack_stripe(codes + at * A_BYTES, signs + at * S_BYTES, to + col, s->k);
    }
    for (size_t col = k3; col < s->k; col += PAIR_STRIPE)
      bad |= unpack_pairs(codes + pairs_at(s, row, (col - k3) / PAIR_STRIPE), to + col, s->k);
  }
  return !bad;
}
