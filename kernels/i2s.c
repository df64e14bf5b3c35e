/* SPDX-License-Identifier: MIT */
#include "kernels/i2s.h"

#include <math.h>
#include <string.h>

enum {
  ROW_BYTES = TRI_K_ALIGN / 4,                /* one row's codes in a chunk */
  CHUNK_BYTES = TRI_BLOCK_ROWS * ROW_BYTES,   /* a chunk of a row block */
  ALL_ZERO = 0x55,                            /* four codes 1: weights of zero */
  Q8_FILE_BYTES = 2 + TRI_Q8_BLOCK,           /* f16 scale, 32 values */
  Q8_GROUP_BYTES = TRI_BLOCK_ROWS * TRI_Q8_BLOCK,
};

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

bool tri_i2s_check(const uint8_t *codes, size_t bytes) {
  const uint64_t ones = 0x5555555555555555u;
  uint64_t found = 0; /* both bits of a code set */
  size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    uint64_t v;
    memcpy(&v, codes + i, 8);
    found |= v & v >> 1 & ones;
  }
  for (; i < bytes; i++) found |= codes[i] & codes[i] >> 1 & 0x55u;
  return found == 0;
}

static unsigned file_code(const uint8_t *codes, size_t e) {
  return codes[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3;
}

/* 32 codes of the file from element e (a multiple of 32) into bits `shift` of 32 bytes. */
static void move_run(const uint8_t *codes, size_t e, unsigned shift, uint8_t *row) {
  const uint8_t *from = codes + e / 128 * 32;
  unsigned down = (unsigned)(6 - 2 * (e % 128 / 32));
  for (size_t j = 0; j < 32; j++) row[j] |= (uint8_t)((from[j] >> down & 3) << shift);
}

/* One chunk of one row as I2_S lays it out, whatever the row's own alignment in the file; codes beyond the row's end
 * are 1. first: the chunk's first element in the file, n: how many are in the row. */
static void file_chunk(const uint8_t *codes, size_t first, size_t n, uint8_t *row) {
  memset(row, 0, ROW_BYTES);
  for (size_t part = 0; part < 4; part++) {
    unsigned shift = (unsigned)(6 - 2 * part);
    size_t start = part * 32, here = n > start ? min_size(n - start, 32) : 0;
    if (here == 32 && first % 32 == 0) {
      move_run(codes, first + start, shift, row);
      continue;
    }
    for (size_t j = 0; j < 32; j++) {
      unsigned code = j < here ? file_code(codes, first + start + j) : 1;
      row[j] |= (uint8_t)(code << shift);
    }
  }
}

/* Put one row's dwords into their 64-byte lines. */
static void place_row(const uint8_t *row, size_t index, uint8_t *chunk) {
  for (size_t g = 0; g < 8; g++) memcpy(chunk + g * 64 + index * 4, row + g * 4, 4);
}

void tri_i2s_from_file(const uint8_t *codes, size_t m, size_t k, uint8_t *out, size_t block_first,
                       size_t block_last) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  for (size_t block = block_first; block < block_last; block++)
    for (size_t c = 0; c < chunks; c++) {
      uint8_t *chunk = out + (block * chunks + c) * CHUNK_BYTES;
      memset(chunk, ALL_ZERO, CHUNK_BYTES);
      for (size_t i = 0; i < TRI_BLOCK_ROWS && block * TRI_BLOCK_ROWS + i < m; i++) {
        uint8_t row[ROW_BYTES];
        size_t at = c * TRI_K_ALIGN;
        file_chunk(codes, (block * TRI_BLOCK_ROWS + i) * k + at, min_size(k - at, TRI_K_ALIGN), row);
        place_row(row, i, chunk);
      }
    }
}

/* 128 weights as one row's codes of a chunk. */
static void chunk_codes(const int8_t *trits, uint8_t *row) {
  for (size_t j = 0; j < ROW_BYTES; j++)
    row[j] = (uint8_t)((trits[j] + 1) << 6 | (trits[32 + j] + 1) << 4 | (trits[64 + j] + 1) << 2 | (trits[96 + j] + 1));
}

void tri_i2s_from_trits(const int8_t *trits, size_t m, size_t k, uint8_t *out) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN;
  memset(out, ALL_ZERO, tri_i2s_bytes(m, k));
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < chunks; c++) {
      uint8_t row[ROW_BYTES];
      const int8_t *from = trits + r * k + c * TRI_K_ALIGN;
      int8_t padded[TRI_K_ALIGN] = {0};
      if (k - c * TRI_K_ALIGN < TRI_K_ALIGN) from = memcpy(padded, from, k - c * TRI_K_ALIGN);
      chunk_codes(from, row);
      place_row(row, r % TRI_BLOCK_ROWS, out + (r / TRI_BLOCK_ROWS * chunks + c) * CHUNK_BYTES);
    }
}

int tri_i2s_at(const uint8_t *w, size_t k, size_t row, size_t col) {
  size_t chunks = tri_round_up(k, TRI_K_ALIGN) / TRI_K_ALIGN, j = col % TRI_K_ALIGN;
  const uint8_t *chunk = w + (row / TRI_BLOCK_ROWS * chunks + col / TRI_K_ALIGN) * CHUNK_BYTES;
  uint8_t byte = chunk[j % 32 / 4 * 64 + row % TRI_BLOCK_ROWS * 4 + j % 4];
  return (byte >> (6 - 2 * (j / 32)) & 3) - 1;
}

void tri_i2s_to_file(const int8_t *trits, size_t n, uint8_t *codes) {
  for (; n; n -= TRI_K_ALIGN, trits += TRI_K_ALIGN, codes += ROW_BYTES) chunk_codes(trits, codes);
}

void tri_i2s_trits(const uint8_t *codes, size_t n, int8_t *trits) {
  for (; n >= TRI_K_ALIGN; n -= TRI_K_ALIGN, codes += ROW_BYTES)
    for (unsigned part = 0; part < 4; part++, trits += ROW_BYTES)
      for (size_t j = 0; j < ROW_BYTES; j++) trits[j] = (int8_t)((codes[j] >> (6 - 2 * part) & 3) - 1);
}

void tri_q8_from_file(const uint8_t *blocks, size_t m, size_t k, int8_t *q, float *d, size_t block_first,
                      size_t block_last) {
  size_t groups = k / TRI_Q8_BLOCK;
  for (size_t block = block_first; block < block_last; block++)
    for (size_t g = 0; g < groups; g++) {
      int8_t *lines = q + (block * groups + g) * Q8_GROUP_BYTES;
      float *scales = d + (block * groups + g) * TRI_BLOCK_ROWS;
      memset(lines, 0, Q8_GROUP_BYTES);
      memset(scales, 0, TRI_BLOCK_ROWS * sizeof *scales);
      for (size_t i = 0; i < TRI_BLOCK_ROWS && block * TRI_BLOCK_ROWS + i < m; i++) {
        const uint8_t *from = blocks + ((block * TRI_BLOCK_ROWS + i) * groups + g) * Q8_FILE_BYTES;
        uint16_t half;
        memcpy(&half, from, 2);
        scales[i] = tri_f16_to_f32(half);
        place_row(from + 2, i, (uint8_t *)lines);
      }
    }
}

void tri_q8_to_file(const float *x, size_t n, uint8_t *blocks) {
  for (size_t g = 0; g < n / TRI_Q8_BLOCK; g++, x += TRI_Q8_BLOCK, blocks += Q8_FILE_BYTES) {
    float top = 0;
    for (size_t i = 0; i < TRI_Q8_BLOCK; i++) top = fmaxf(top, fabsf(x[i]));
    uint16_t half = tri_f16_from_f32(fminf(top / 127, 65504));
    float d = tri_f16_to_f32(half);
    memcpy(blocks, &half, 2);
    for (size_t i = 0; i < TRI_Q8_BLOCK; i++) {
      /* d may have been rounded down, so x / d can pass 127 a little */
      float v = d > 0 ? fminf(fmaxf(nearbyintf(x[i] / d), -127), 127) : 0;
      blocks[2 + i] = (uint8_t)(int8_t)v;
    }
  }
}
