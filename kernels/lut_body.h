/* SPDX-License-Identifier: MIT */
/* Products by table lookup for the TL1 and TL2 forms (form.h), written once. A lone activation row gives, for each index
 * position, a table of the sums that its two or three activations can make; a byte shuffle then looks up 16 weight rows
 * at once. Sums don't fit in bytes, so each is kept as two: v = low + 31 * high, both looked up, added as bytes over the
 * eight positions of a group that share a part, and only then joined in 16 bits.
 *
 * Nothing overflows. A sum v is at most 2 * 128 = 256 (TL1) or 3 * 128 = 384 (TL2) in size, so |high| <= 12 and
 * |low| <= 15, and eight of them stay within 120. Joined, eight are within 8 * v, and a 16-bit lane takes 4 / PARTS of these
 * a group; flush_every() says how many groups that allows before it is widened into 32 bits.
 *
 * The including file defines, after including its intrinsics:
 *   PARTS                 parts (16 bytes) in a register: 1, 2 or 4
 *   vb                    a register of bytes
 *   lut_load(p)           an aligned register
 *   lut_zero(), lut_add(a, b)
 *   lut_nibble(line, u)   its low (u even) or high (u odd) nibbles
 *   lut_look(table, index)
 *   lut_negate(v, signs, u)   -v in the bytes whose bit u of signs is set, up to what lut_settle adds at the end
 *   lut_settle(sum, signs)    the sum of the eight negated values
 *   sums                  16-bit sums of 16 rows
 *   lut_join(s, low, high)    s + low + 31 * high
 *   lut_flush(s, y)       y[0..16) += s
 *   lut_prefetch(p) */

enum {
  LINE = 64,
  TURNS = 8,                         /* index positions of a group that share a part */
  TABLES = TURNS * 2 * LINE,         /* bytes of a group's tables: for each turn, four parts' low bytes, then high ones */
  TILE = 16,                         /* groups whose tables stay in the level-1 cache while all row blocks pass */
  SPLIT = 31,
};

/* A form's constants: width weights an index, group bytes of a group of 32 indices */
typedef struct lut_form {
  size_t width, group;
} lut_form;

#define TL1 ((lut_form){2, 4 * LINE})
#define TL2 ((lut_form){3, 5 * LINE})

INLINE size_t flush_every(lut_form f) { return 32767 / (4 / PARTS * TURNS * 128 * f.width); }

/* --- tables --- */

typedef int16_t entries __attribute__((vector_size(32)));
typedef int8_t entry_bytes __attribute__((vector_size(16)));

/* TL1's index is 3 * (w0 + 1) + w1 + 1, TL2's is 9 * w0 + 3 * w1 + w2 for the sums that aren't negative */
static const entries pair0 = {-1, -1, -1, 0, 0, 0, 1, 1, 1}, pair1 = {-1, 0, 1, -1, 0, 1, -1, 0, 1};
static const entries three0 = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}, three1 = {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1},
                     three2 = {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1};

/* The tables of one group for the activations at q. (33 v + 512) >> 10 is v / 31 rounded, for all |v| < 481. */
INLINE void build_group(const int8_t *q, lut_form f, uint8_t *tables) {
  for (size_t n = 0; n < 4 * TURNS; n++, q += f.width) {
    entries v = f.width == 2 ? pair0 * q[0] + pair1 * q[1] : three0 * q[0] + three1 * q[1] + three2 * q[2];
    entries high = (v * 33 + 512) >> 10;
    entry_bytes low8 = __builtin_convertvector(v - SPLIT * high, entry_bytes);
    entry_bytes high8 = __builtin_convertvector(high, entry_bytes);
    uint8_t *to = tables + n / 4 * 2 * LINE + n % 4 * 16;
    memcpy(to, &low8, 16), memcpy(to + LINE, &high8, 16);
  }
}

/* The tables of columns [first, first + groups * 32 * width) of one row of a panel; q points at the row's first four
 * bytes. Returns the sum of these activations. Beyond kpad they are 0. */
INLINE int32_t build_tile(const int8_t *q, size_t rows, size_t kpad, size_t first, size_t groups, lut_form f,
                          uint8_t *tables) {
  int8_t flat[TILE * 32 * 3];
  size_t count = groups * 32 * f.width;
  int32_t sum = 0;
  for (size_t c = 0; c < count; c += 4) {
    if (first + c < kpad) memcpy(flat + c, q + (first + c) * rows, 4);
    else memset(flat + c, 0, 4);
  }
  for (size_t c = 0; c < count; c++) sum += flat[c];
  for (size_t g = 0; g < groups; g++) build_group(flat + g * 32 * f.width, f, tables + g * TABLES);
  return sum;
}

/* --- the product --- */

/* One register's share (parts [part, part + PARTS)) of a group. */
INLINE sums group_part(const uint8_t *w, const uint8_t *tables, size_t part, lut_form f, sums s) {
  vb low = lut_zero(), high = lut_zero(), signs = low;
  w += part * 16, tables += part * 16;
  if (f.width == 3) signs = lut_load(w + 4 * LINE);
  UNROLL for (size_t u = 0; u < TURNS; u++) {
    vb index = lut_nibble(lut_load(w + u / 2 * LINE), u);
    vb low_sum = lut_look(lut_load(tables + u * 2 * LINE), index);
    vb high_sum = lut_look(lut_load(tables + u * 2 * LINE + LINE), index);
    if (f.width == 3) low_sum = lut_negate(low_sum, signs, u), high_sum = lut_negate(high_sum, signs, u);
    low = lut_add(low, low_sum), high = lut_add(high, high_sum);
  }
  if (f.width == 3) low = lut_settle(low, signs), high = lut_settle(high, signs);
  return lut_join(s, low, high);
}

/* A tile of one row block, added to y[0..16). The next block's tile is asked for meanwhile: it starts `step` bytes on, where
 * no hardware expects it. */
INLINE void tile_block(const uint8_t *w, size_t step, const uint8_t *tables, size_t groups, lut_form f, int32_t *y) {
  for (size_t g = 0; g < groups;) {
    sums s = {0};
    size_t end = g + flush_every(f) < groups ? g + flush_every(f) : groups;
    for (; g < end; g++, w += f.group, tables += TABLES) {
      UNROLL for (size_t line = 0; line < f.group; line += LINE) lut_prefetch(w + step + line);
      UNROLL for (size_t part = 0; part < 4; part += PARTS) s = group_part(w, tables, part, f, s);
    }
    lut_flush(s, y);
  }
}

/* Rows one by one, columns tile by tile: each tile's tables serve all row blocks. */
INLINE void lut_gemm(lut_form f, const uint8_t *w, size_t k, const int8_t *panel, size_t rows, size_t block_first,
                     size_t block_last, int32_t *y, size_t ldy) {
  _Alignas(64) uint8_t tables[TILE * TABLES];
  size_t kpad = tri_round_up(k, TRI_K_ALIGN), groups = (k + 32 * f.width - 1) / (32 * f.width), step = groups * f.group;
  for (size_t r = 0; r < rows; r++)
    for (size_t first = 0; first < groups; first += TILE) {
      size_t here = groups - first < TILE ? groups - first : TILE;
      int32_t *out = y + r * ldy;
      int32_t sum = build_tile(panel + 4 * r, rows, kpad, first * 32 * f.width, here, f, tables);
      for (size_t i = block_first * TRI_BLOCK_ROWS; i < block_last * TRI_BLOCK_ROWS; i++)
        out[i] = first ? out[i] + sum : sum; /* the lookups give sums of trits, and codes are one more */
      for (size_t block = block_first; block < block_last; block++)
        tile_block(w + block * step + first * f.group, step, tables, here, f, out + block * TRI_BLOCK_ROWS);
    }
}
