/* SPDX-License-Identifier: MIT */
/* Q6 products (kernels.h), written once. Included after q6_vector.h by a file that defines
 *   ROWS   activation rows at a time, at most 12: their sums should be registers
 *   GEMM   the function's name
 * and two functions of one group of 16 values, the weight rows of one register and one activation row, whose
 * dwords stand at q, q + step, q + 2 * step and q + 3 * step:
 *   int32_t start_of(q, step)
 *       a word that depends on the activations alone, made once for many row blocks
 *   vi products(u, q, step, start, scale)
 *       scale times the exact sums. Codes are 32 too large: x86, whose first operand is unsigned, takes that off
 *       the sums through `start`. */

enum {
  PARTS = 64 / WIDTH,
  PAIRS = TRI_Q6_BLOCK / TRI_Q8_BLOCK, /* of groups in a block; an activation's scale is for a pair */
  TILE = 16, /* blocks */
  AHEAD = 3072,
};

/* Of each group in a tile and each row of the panel. Between tiles the float sums wait in y. */
typedef int32_t starts[TILE * PAIRS * 2][TRI_PANEL_ROWS];

static void fill_starts(const int8_t *q, size_t rows, size_t groups, starts out) {
  for (size_t g = 0; g < groups; g++, q += TRI_Q6_GROUP * rows)
    for (size_t r = 0; r < rows; r++) out[g][r] = start_of(q + 4 * r, 4 * rows);
}

/* Blocks of one row block; of rows from q on in a panel of `rows`: values, scales (`all` a row), starts. */
typedef struct tile {
  const uint8_t *w;
  const int8_t *q;
  const float *dx;
  const int32_t *start;
  size_t blocks, rows, all;
} tile;

/* One pair of groups: add to acc. part: which rows of the 16. */
INLINE void one_pair(const tile *t, size_t pair, size_t part, size_t n, vf (*acc)[ROWS]) {
  vi sums[ROWS];
  UNROLL for (size_t r = 0; r < n; r++) sums[r] = (vi){0};
  for (size_t half = 0; half < 2; half++) {
    size_t g = pair * 2 + half;
    vb u[4];
    unpack(t->w + TRI_Q6_CODES + g * TRI_Q6_LINES + part * WIDTH, u);
    vi scale = load_scales(t->w + TRI_Q6_SCALES + g * TRI_BLOCK_ROWS + part * (WIDTH / 4));
    UNROLL for (size_t r = 0; r < n; r++) {
      sums[r] += products(u, t->q + half * TRI_Q6_GROUP * t->rows + 4 * r, 4 * t->rows,
                          t->start[g * TRI_PANEL_ROWS + r], scale);
    }
  }
  vf d;
  memcpy(&d, t->w + part * WIDTH, WIDTH);
  UNROLL for (size_t r = 0; r < n; r++) acc[part][r] +=
      __builtin_convertvector(sums[r], vf) * (d * t->dx[r * t->all + pair]);
}

/* Adds a tile's products with n rows to y, or begins y with them. */
INLINE void one_tile(tile t, size_t n, bool begin, float *y, size_t ldy) {
  vf acc[PARTS][ROWS];
  UNROLL for (size_t part = 0; part < PARTS; part++) UNROLL for (size_t r = 0; r < n; r++) {
    acc[part][r] = (vf){0};
    if (!begin) memcpy(&acc[part][r], y + r * ldy + part * (WIDTH / 4), WIDTH);
  }
  for (; t.blocks; t.blocks--, t.w += TRI_Q6_BYTES, t.dx += PAIRS, t.start += PAIRS * 2 * TRI_PANEL_ROWS)
    for (size_t pair = 0; pair < PAIRS; pair++, t.q += TRI_Q8_BLOCK * t.rows) {
      for (size_t i = 0; i < 2 * TRI_Q6_LINES; i += 64)
        __builtin_prefetch(t.w + pair * 2 * TRI_Q6_LINES + AHEAD + i);
      UNROLL for (size_t part = 0; part < PARTS; part++) one_pair(&t, pair, part, n, acc);
    }
  UNROLL for (size_t part = 0; part < PARTS; part++) UNROLL for (size_t r = 0; r < n; r++)
      memcpy(y + r * ldy + part * (WIDTH / 4), &acc[part][r], WIDTH);
}

/* counts beyond ROWS don't occur, and shall not be compiled */
#define ROW_COUNT(n)                                                                                         \
  case n:                                                                                                    \
    if (n <= ROWS) one_tile(t, n <= ROWS ? n : 1, begin, y, ldy);                                            \
    break;

/* All rows of the panel, t's pointers being at the first. */
static void all_rows(tile t, bool begin, float *y, size_t ldy) {
  for (size_t left = t.rows; left;) {
    size_t n = left > ROWS && left < 2 * ROWS ? (left + 1) / 2 : left < ROWS ? left : ROWS;
    switch (n) {
      ROW_COUNT(1)
      ROW_COUNT(2) ROW_COUNT(3) ROW_COUNT(4) ROW_COUNT(5) ROW_COUNT(6) ROW_COUNT(7) ROW_COUNT(8) ROW_COUNT(9)
          ROW_COUNT(10) ROW_COUNT(11) ROW_COUNT(12)
    }
    t.q += 4 * n, t.dx += n * t.all, t.start += n, y += n * ldy;
    left -= n;
  }
}

void GEMM(const tri_q6 *w, const int8_t *panel, const float *dx, size_t rows, size_t block_first,
          size_t block_last, float *y, size_t ldy) {
  size_t across = w->k / TRI_Q6_BLOCK;
  starts start;
  for (size_t first = 0; first < across; first += TILE) {
    size_t here = across - first < TILE ? across - first : TILE;
    const int8_t *q = panel + first * TRI_Q6_BLOCK * rows;
    fill_starts(q, rows, here * PAIRS * 2, start);
    for (size_t block = block_first; block < block_last; block++) {
      tile t = {w->w + (block * across + first) * TRI_Q6_BYTES,
                q,
                dx + first * PAIRS,
                start[0],
                here,
                rows,
                across * PAIRS};
      all_rows(t, first == 0, y + block * TRI_BLOCK_ROWS, ldy);
    }
  }
}
