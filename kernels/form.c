/* SPDX-License-Identifier: MIT */
#include "kernels/form.h"

#include <string.h>
#include "kernels/i2s.h"

enum {
  LINE = 64,
  PART = 16,     /* one index of each of 16 rows */
  INDICES = 32,  /* in a group of TL1 and TL2 */
  MOST_COLS = 96 /* in a group of any form but I2S */
};

/* --- codes of a few weights --- */

/* the weight `up` digits above the lowest of a balanced sum */
static int8_t digit(int sum, size_t up) {
  int code = sum + 13; /* 111 in base 3: digits become 0 to 2 */
  for (; up; up--) code /= 3;
  return (int8_t)(code % 3 - 1);
}

static int8_t t5_trit(uint8_t byte, size_t p) {
  int index = byte % 64, third = index < 63 ? index / 21 : 2, s = index - 21 * third, last = byte / 64;
  if (last == 3) last = (s - 1) % 3, s = (third < 2 ? 21 : 22) + (s - 1) / 3;
  return p == 4 ? (int8_t)(last - 1) : p == 3 ? (int8_t)(third - 1) : digit(s - 13, p);
}

/* --- one group of columns of a row block: row i's weights are at w + i * ld; to is the group's first byte --- */

/* where row 0 has index n of a group */
static size_t nibble_byte(size_t n) { return n / 8 * LINE + n % 4 * PART; }
static unsigned nibble_shift(size_t n) { return n / 4 % 2 * 4; }

/* The weights by columns, 16 rows each. */
static void by_columns(const int8_t *w, size_t ld, size_t cols, int8_t to[][TRI_BLOCK_ROWS]) {
  for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
    for (size_t c = 0; c < cols; c++) to[c][i] = w[i * ld + c];
}

static void pack_tl1(const int8_t *w, size_t ld, uint8_t *to) {
  int8_t c[2 * INDICES][TRI_BLOCK_ROWS];
  by_columns(w, ld, 2 * INDICES, c);
  for (size_t n = 0; n < INDICES; n++) {
    uint8_t *part = to + nibble_byte(n);
    unsigned shift = nibble_shift(n);
    for (size_t i = 0; i < PART; i++) part[i] |= (uint8_t)((3 * c[2 * n][i] + c[2 * n + 1][i] + 4) << shift);
  }
}

static void pack_tl2(const int8_t *w, size_t ld, uint8_t *to) {
  int8_t c[3 * INDICES][TRI_BLOCK_ROWS];
  by_columns(w, ld, 3 * INDICES, c);
  for (size_t n = 0; n < INDICES; n++) {
    uint8_t *part = to + nibble_byte(n), *signs = to + 4 * LINE + n % 4 * PART;
    unsigned shift = nibble_shift(n), up = (unsigned)(n / 4);
    for (size_t i = 0; i < PART; i++) {
      int sum = 9 * c[3 * n][i] + 3 * c[3 * n + 1][i] + c[3 * n + 2][i];
      part[i] |= (uint8_t)((sum < 0 ? -sum : sum) << shift);
      signs[i] |= (uint8_t)((sum < 0) << up);
    }
  }
}

/* The weights by fours of columns: 4 bytes a row. */
static void by_fours(const int8_t *w, size_t ld, size_t fours, int8_t to[][LINE]) {
  for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
    for (size_t p = 0; p < fours; p++) memcpy(&to[p][4 * i], w + i * ld + 4 * p, 4);
}

static void pack_t5(const int8_t *w, size_t ld, uint8_t *to) {
  int8_t c[5][LINE];
  by_fours(w, ld, 5, c);
  for (size_t i = 0; i < LINE; i++) {
    int s = c[0][i] + 3 * c[1][i] + 9 * c[2][i] + 13, third = c[3][i] + 1, last = c[4][i] + 1, plain = third < 2 ? 21 : 22;
    to[i] = (uint8_t)(21 * third + (s < plain ? 64 * last + s : 193 + 3 * (s - plain) + last));
  }
}

/* A byte of T9: three codes, the lowest first, a bit, and a fourth code. */
static uint8_t t9_byte(int8_t c[][LINE], size_t i, int bit) {
  return (uint8_t)(c[0][i] + 3 * c[1][i] + 9 * c[2][i] + 13 + 27 * bit + 64 * (c[3][i] + 1));
}

static void pack_t9(const int8_t *w, size_t ld, uint8_t *to) {
  int8_t c[9][LINE];
  by_fours(w, ld, 9, c);
  for (size_t i = 0; i < LINE; i++) {
    int last = c[8][i] + 1;
    to[i] = t9_byte(c, i, last >> 1), to[LINE + i] = t9_byte(c + 4, i, last & 1);
  }
}

static int8_t tl1_at(const uint8_t *from, size_t i, size_t c) {
  return digit((from[nibble_byte(c / 2) + i] >> nibble_shift(c / 2) & 15) - 4, 1 - c % 2);
}

static int8_t tl2_at(const uint8_t *from, size_t i, size_t c) {
  size_t n = c / 3;
  int sum = from[nibble_byte(n) + i] >> nibble_shift(n) & 15;
  if (from[4 * LINE + n % 4 * PART + i] >> n / 4 & 1) sum = -sum;
  return digit(sum, 2 - c % 3);
}

static int8_t t5_at(const uint8_t *from, size_t i, size_t c) { return t5_trit(from[4 * i + c % 4], c / 4); }

static int8_t t9_at(const uint8_t *from, size_t i, size_t c) {
  const uint8_t *first = from + 4 * i + c % 4, *byte = c < 16 ? first : first + LINE;
  size_t p = c / 4;
  if (p == 8) return (int8_t)((first[0] % 64 / 27 << 1 | first[LINE] % 64 / 27) - 1);
  if (p % 4 == 3) return (int8_t)(*byte / 64 - 1);
  return digit(*byte % 64 % 27 - 13, p % 4);
}

/* --- the forms --- */

static const struct {
  const char *name;
  size_t cols, bytes; /* of a group */
  void (*pack)(const int8_t *w, size_t ld, uint8_t *to); /* into zeroed bytes */
  int8_t (*at)(const uint8_t *from, size_t i, size_t c);
} forms[TRI_FORM_COUNT] = {
    [TRI_FORM_I2S] = {"i2s", TRI_K_ALIGN, 8 * LINE, NULL, NULL}, /* i2s.c packs it */
    [TRI_FORM_TL1] = {"tl1", 64, 4 * LINE, pack_tl1, tl1_at},
    [TRI_FORM_TL2] = {"tl2", 96, 5 * LINE, pack_tl2, tl2_at},
    [TRI_FORM_T5] = {"t5", 20, LINE, pack_t5, t5_at},
    [TRI_FORM_T9] = {"t9", 36, 2 * LINE, pack_t9, t9_at},
};

const char *tri_form_name(tri_form form) { return forms[form].name; }

static size_t groups(tri_form form, size_t k) { return tri_round_up(k, forms[form].cols) / forms[form].cols; }

size_t tri_form_bytes(tri_form form, size_t m, size_t k) {
  return tri_round_up(m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS * groups(form, k) * forms[form].bytes;
}

void tri_form_pack(tri_form form, const int8_t *trits, size_t rows, size_t k, uint8_t *block) {
  if (form == TRI_FORM_I2S) {
    tri_i2s_from_trits(trits, rows, k, block);
    return;
  }
  size_t cols = forms[form].cols;
  memset(block, 0, tri_form_bytes(form, TRI_BLOCK_ROWS, k));
  for (size_t g = 0; g < groups(form, k); g++, block += forms[form].bytes) {
    const int8_t *w = trits + g * cols;
    size_t here = k - g * cols < cols ? k - g * cols : cols;
    if (rows == TRI_BLOCK_ROWS && here == cols) {
      forms[form].pack(w, k, block);
      continue;
    }
    int8_t padded[TRI_BLOCK_ROWS * MOST_COLS] = {0};
    for (size_t i = 0; i < rows; i++) memcpy(padded + i * cols, w + i * k, here);
    forms[form].pack(padded, cols, block);
  }
}

void tri_form_column(tri_form form, const uint8_t *block, size_t k, size_t col, int8_t *trits) {
  size_t cols = forms[form].cols;
  for (size_t i = 0; i < TRI_BLOCK_ROWS; i++)
    trits[i] = form == TRI_FORM_I2S ? (int8_t)tri_i2s_at(block, k, i, col)
                                    : forms[form].at(block + col / cols * forms[form].bytes, i, col % cols);
}
