/* SPDX-License-Identifier: MIT */
/* Attention of float_body.h: queries of several rows and heads pass over a KV head's keys and values together, four at a time
 * while there are four. What a query gets never depends on those beside it: a score is summed over the dimensions in ascending
 * order, a sum of values over the positions in ascending order. */

enum {
  QUERIES = 4,
  TILE = TRI_KV_TILE,
  /* v16 at a time for four queries, and values' for one: their sums should be registers */
  WIDE = TRI_LANES == 16 ? 4 : 1,
  WIDE_ONE = TRI_LANES == 16 ? 8 : 4,
};

INLINE const float *query(const tri_attention *a, size_t j) { return a->q + j / a->heads * a->q_ld + j % a->heads * a->hd; }

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Positions that query j sees in this block, if the first row sees n. */
INLINE size_t seen(const tri_attention *a, size_t j, size_t n) {
  return least(n + j / a->heads, TRI_ATTENTION_BLOCK);
}

/* A head's keys and values in a block are too short for the hardware prefetcher, so the next block's are fetched meanwhile: what stands
 * there this far from what is being read. */
INLINE uintptr_t ahead(const void *const *blocks, size_t b) { return (uintptr_t)blocks[b + 1] - (uintptr_t)blocks[b]; }
INLINE void fetch(const char *at, uintptr_t distance) { __builtin_prefetch((const void *)((uintptr_t)at + distance)); }

INLINE const char *tile_elements(const char *tile, tri_ftype type) { return type == TRI_INT8 ? tile + 4 * TILE : tile; }

/* --- scores --- */

/* s[h * TRI_ATTENTION_BLOCK + i] for the queries j + h and 16 * tiles positions from the first of tile k on */
INLINE void score_tiles(const tri_attention *a, tri_ftype type, const char *k, uintptr_t distance, size_t j, size_t queries, size_t tiles,
                        float *s) {
  const size_t line = TILE * type_size(type), bytes = TILE * tri_ftype_bytes(type, a->hd);
  const float *q[QUERIES];
  const char *at[WIDE];
  v16 sums[QUERIES][WIDE];
  UNROLL for (size_t t = 0; t < tiles; t++) at[t] = tile_elements(k + t * bytes, type);
  UNROLL for (size_t h = 0; h < queries; h++) {
    q[h] = query(a, j + h);
    UNROLL for (size_t t = 0; t < tiles; t++) sums[h][t] = v_set(0);
  }
  for (size_t i = 0; i < a->hd; i++) {
    v16 keys[WIDE];
    UNROLL for (size_t t = 0; t < tiles; t++) {
      keys[t] = v_load_as(at[t] + i * line, type);
      fetch(at[t] + i * line, distance);
    }
    UNROLL for (size_t h = 0; h < queries; h++) {
      v16 value = v_set(q[h][i]);
      UNROLL for (size_t t = 0; t < tiles; t++) sums[h][t] = v_add(sums[h][t], v_mul(keys[t], value));
    }
  }
  UNROLL for (size_t t = 0; t < tiles; t++) {
    v16 unit = v_set(a->scale);
    if (type == TRI_INT8) unit = v_mul(unit, v_load((const float *)(const void *)(k + t * bytes)));
    UNROLL for (size_t h = 0; h < queries; h++) v_store(s + h * TRI_ATTENTION_BLOCK + t * TILE, v_mul(sums[h][t], unit));
  }
}

/* Scores of all queries with at least n positions, by tiles: the last tile's other scores mean nothing. */
INLINE void score(const tri_attention *a, tri_ftype type, size_t n, float *s) {
  enum { TILES = TRI_KV_BLOCK / TILE }; /* stay in the level-1 cache while all queries pass over them */
  size_t bytes = TILE * tri_ftype_bytes(type, a->hd), total = a->rows * a->heads, tiles = (n + TILE - 1) / TILE;
  for (size_t t = 0; t < tiles; t += TILES, s += TILES * TILE) {
    const char *k = a->k[t / TILES];
    uintptr_t distance = ahead(a->k, t / TILES);
    size_t here = tiles - t < TILES ? tiles - t : TILES, j = 0;
    for (; j + QUERIES <= total; j += QUERIES) {
      float *to = s + j * TRI_ATTENTION_BLOCK;
      size_t u = 0;
      for (; u + WIDE <= here; u += WIDE) score_tiles(a, type, k + u * bytes, distance, j, QUERIES, WIDE, to + u * TILE);
      for (; u < here; u++) score_tiles(a, type, k + u * bytes, distance, j, QUERIES, 1, to + u * TILE);
    }
    for (; j < total; j++) /* one by one: a lone query waits for memory, and a single stream comes fastest */
      for (size_t u = 0; u < here; u++) score_tiles(a, type, k + u * bytes, distance, j, 1, 1, s + j * TRI_ATTENTION_BLOCK + u * TILE);
  }
}

/* --- values --- */

/* Add position t, whose values are at `at`, to the sums of the queries, or only of those that see it. */
INLINE void add_values(const char *at, uintptr_t distance, tri_ftype type, const float *p, size_t t, size_t queries, size_t wide, const size_t *only,
                       v16 sums[][WIDE_ONE]) {
  v16 values[WIDE_ONE];
  UNROLL for (size_t d = 0; d < wide; d++) {
    values[d] = v_load_as(at + d * 16 * type_size(type), type);
    fetch(at + d * 16 * type_size(type), distance);
  }
  UNROLL for (size_t h = 0; h < queries; h++) {
    if (only && t >= only[h]) continue;
    v16 weight = v_set(p[h * TRI_ATTENTION_BLOCK + t]);
    UNROLL for (size_t d = 0; d < wide; d++) sums[h][d] = v_add(sums[h][d], v_mul(weight, values[d]));
  }
}

/* Sums of 16 * wide dimensions from i on, for the queries j + h: each over the positions that it sees. */
INLINE void weigh_part(const tri_attention *a, tri_ftype type, size_t n, const float *p, size_t j, size_t queries,
                       size_t i, size_t wide, float *part) {
  size_t step = tri_ftype_bytes(type, a->hd), ends[QUERIES];
  v16 sums[QUERIES][WIDE_ONE];
  UNROLL for (size_t h = 0; h < queries; h++) {
    ends[h] = seen(a, j + h, n);
    UNROLL for (size_t d = 0; d < wide; d++) sums[h][d] = v_set(0);
  }
  for (size_t t = 0, end = TRI_KV_BLOCK; t < ends[queries - 1]; end += TRI_KV_BLOCK) {
    const char *at = elements(a->v[t / TRI_KV_BLOCK], type) + i * type_size(type);
    uintptr_t distance = ahead(a->v, t / TRI_KV_BLOCK);
    size_t all = least(ends[0], end), some = least(ends[queries - 1], end);
    for (; t < all; t++, at += step) add_values(at, distance, type, p, t, queries, wide, NULL, sums);
    for (; t < some; t++, at += step) add_values(at, distance, type, p, t, queries, wide, ends, sums);
  }
  UNROLL for (size_t h = 0; h < queries; h++) {
    float *to = part + h * (a->hd + 2) + i;
    UNROLL for (size_t d = 0; d < wide; d++) {
      if (i + d * 16 + 16 <= a->hd) v_store(to + d * 16, sums[h][d]);
      else v_store_part(to + d * 16, sums[h][d], a->hd - i - d * 16);
    }
  }
}

INLINE void weigh(const tri_attention *a, tri_ftype type, size_t n, const float *p, size_t j, size_t queries, size_t widest,
                  float *part) {
  size_t i = 0, end = tri_round_up(a->hd, 16);
  if (widest >= 8) for (; i + 128 <= end; i += 128) weigh_part(a, type, n, p, j, queries, i, 8, part);
  if (widest >= 4) for (; i + 64 <= end; i += 64) weigh_part(a, type, n, p, j, queries, i, 4, part);
  if (widest >= 2) for (; i + 32 <= end; i += 32) weigh_part(a, type, n, p, j, queries, i, 2, part);
  for (; i < end; i += 16) weigh_part(a, type, n, p, j, queries, i, 1, part);
}

/* The positions' weights in the softmax; those of int8 values times the values' units. */
INLINE void soften(const tri_attention *a, tri_ftype type, size_t n, float *s, float *part) {
  float units[TRI_ATTENTION_BLOCK];
  size_t step = tri_ftype_bytes(type, a->hd), total = a->rows * a->heads, hd = a->hd;
  if (type == TRI_INT8)
    for (size_t t = 0; t < seen(a, total - 1, n); t++) {
      const char *v = a->v[t / TRI_KV_BLOCK];
      units[t] = unit_of(v + t % TRI_KV_BLOCK * step, type);
    }
  for (size_t j = 0; j < total; j++, s += TRI_ATTENTION_BLOCK, part += hd + 2) {
    size_t here = seen(a, j, n);
    part[hd] = largest(s, here);
    part[hd + 1] = sum_exp(s, part[hd], s, here);
    if (type == TRI_INT8)
      for (size_t t = 0; t < here; t++) s[t] *= units[t];
  }
}

INLINE void attend_as(const tri_attention *a, tri_ftype type, size_t n, float *s, float *part) {
  size_t total = a->rows * a->heads, ld = a->hd + 2, j = 0;
  score(a, type, seen(a, total - 1, n), s);
  soften(a, type, n, s, part);
  for (; j + QUERIES <= total; j += QUERIES) weigh(a, type, n, s + j * TRI_ATTENTION_BLOCK, j, QUERIES, WIDE, part + j * ld);
  for (; j < total; j++) weigh(a, type, n, s + j * TRI_ATTENTION_BLOCK, j, 1, WIDE_ONE, part + j * ld);
}

static void op_attend(const tri_attention *a, size_t n, float *scratch, float *part) {
  if (a->type == TRI_F32) attend_as(a, TRI_F32, n, scratch, part);
  else if (a->type == TRI_F16) attend_as(a, TRI_F16, n, scratch, part);
  else attend_as(a, TRI_INT8, n, scratch, part);
}

/* --- the cache's keys --- */

INLINE void put_elements(const char *from, char *to, size_t size, size_t hd) {
  for (size_t i = 0; i < hd; i++) memcpy(to + i * TILE * size, from + i * size, size);
}

static void op_put_key(const float *x, tri_ftype type, void *keys, size_t pos, size_t hd) {
  char vector[4 * TRI_MAX_HEAD_DIM + 4], *tile = (char *)keys + pos / TILE * TILE * tri_ftype_bytes(type, hd);
  size_t lane = pos % TILE;
  op_from_f32(x, type, vector, hd);
  if (type == TRI_INT8) memcpy(tile + 4 * lane, vector, 4);
  const char *from = elements(vector, type);
  if (type == TRI_F32) put_elements(from, tile + 4 * lane, 4, hd);
  else if (type == TRI_F16) put_elements(from, tile + 2 * lane, 2, hd);
  else put_elements(from, tile + 4 * TILE + lane, 1, hd);
}

/* --- parts --- */

static float exp_one(float x) {
  vf t = exp_part(x - (vf){0});
  return t[0];
}

static void op_attend_merge(float *restrict total, const float *restrict part, size_t queries, size_t hd) {
  for (size_t h = 0; h < queries; h++, total += hd + 2, part += hd + 2) {
    float top = total[hd] > part[hd] ? total[hd] : part[hd], old = exp_one(total[hd] - top),
          new = exp_one(part[hd] - top);
    for (size_t i = 0; i < hd; i++) total[i] = total[i] * old + part[i] * new;
    total[hd + 1] = total[hd + 1] * old + part[hd + 1] * new;
    total[hd] = top;
  }
}

static void op_attend_end(const float *total, size_t queries, size_t hd, float *out) {
  for (size_t h = 0; h < queries; h++, total += hd + 2, out += hd) {
    float share = 1 / total[hd + 1];
    for (size_t i = 0; i < hd; i++) out[i] = total[i] * share;
  }
}
