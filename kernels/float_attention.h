/* SPDX-License-Identifier: MIT */
/* Attention of float_body.h. The query heads that share a KV head pass over its keys and values together. */

enum { HEADS = 4 }; /* query heads at a time: their accumulators should be registers */

/* s[h * TRI_ATTENTION_BLOCK + t] for `heads` query heads from q on and n positions */
INLINE void score(const tri_attention *a, tri_ftype type, const char *k, size_t n, const float *q,
                  size_t heads, float *s) {
  size_t size = type_size(type), hd = a->hd;
  for (size_t t = 0; t < n; t++, k += a->step) {
    const char *at = elements(k, type);
    float unit = unit_of(k, type) * a->scale;
    v16 acc[HEADS];
    UNROLL for (size_t h = 0; h < heads; h++) acc[h] = v_set(0);
    size_t i = 0;
    for (; i + 16 <= hd; i += 16) {
      v16 key = v_load_as(at + i * size, type);
      UNROLL for (size_t h = 0; h < heads; h++) acc[h] = v_add(acc[h], v_mul(key, v_load(q + h * hd + i)));
    }
    if (i < hd) {
      v16 key = v_load_part_as(at + i * size, type, hd - i);
      UNROLL for (size_t h = 0; h < heads; h++) acc[h] =
          v_add(acc[h], v_mul(key, v_load_part(q + h * hd + i, hd - i)));
    }
    UNROLL for (size_t h = 0; h < heads; h++) s[h * TRI_ATTENTION_BLOCK + t] = v_sum(acc[h]) * unit;
  }
}

/* Add `rows` weighted rows of 16 values (the last: `last`) to the sums of each head: p[h *
 * TRI_ATTENTION_BLOCK + t] times row t, in ascending order. */
INLINE void weigh_part(const char *v, tri_ftype type, size_t step, size_t rows, size_t last, const float *p,
                       size_t heads, float *sums, size_t ld) {
  v16 values[4];
  UNROLL for (size_t t = 0; t < rows; t++) values[t] =
      last < 16 ? v_load_part_as(v + t * step, type, last) : v_load_as(v + t * step, type);
  for (size_t h = 0; h < heads; h++) {
    v16 acc = last < 16 ? v_load_part(sums + h * ld, last) : v_load(sums + h * ld);
    UNROLL for (size_t t = 0; t < rows; t++) acc =
        v_add(acc, v_mul(v_set(p[h * TRI_ATTENTION_BLOCK + t]), values[t]));
    if (last < 16)
      v_store_part(sums + h * ld, acc, last);
    else
      v_store(sums + h * ld, acc);
  }
}

INLINE void weigh_rows(const tri_attention *a, tri_ftype type, const char *v, size_t rows, const float *p,
                       float *part) {
  size_t size = type_size(type), i = 0, ld = a->hd + 2;
  const char *at = elements(v, type);
  for (; i + 16 <= a->hd; i += 16)
    weigh_part(at + i * size, type, a->step, rows, 16, p, a->heads, part + i, ld);
  if (i < a->hd) weigh_part(at + i * size, type, a->step, rows, a->hd - i, p, a->heads, part + i, ld);
}

/* Four rows at a time: sums are loaded and stored once for each four, and rows stream in from memory whole.
 */
INLINE void weigh(const tri_attention *a, tri_ftype type, const char *v, size_t n, float *p, float *part) {
  size_t t = 0;
  if (type == TRI_INT8)
    for (size_t h = 0; h < a->heads; h++)
      for (size_t i = 0; i < n; i++) p[h * TRI_ATTENTION_BLOCK + i] *= unit_of(v + i * a->step, type);
  for (; t + 4 <= n; t += 4) weigh_rows(a, type, v + t * a->step, 4, p + t, part);
  for (; t < n; t++) weigh_rows(a, type, v + t * a->step, 1, p + t, part);
}

INLINE void attend_as(const tri_attention *a, tri_ftype type, const char *k, const char *v, size_t n,
                      float *s, float *part) {
  size_t h = 0, hd = a->hd, ld = hd + 2;
  for (; h + HEADS <= a->heads; h += HEADS)
    score(a, type, k, n, a->q + h * hd, HEADS, s + h * TRI_ATTENTION_BLOCK);
  for (; h < a->heads; h++) score(a, type, k, n, a->q + h * hd, 1, s + h * TRI_ATTENTION_BLOCK);
  for (h = 0; h < a->heads; h++) {
    float *p = s + h * TRI_ATTENTION_BLOCK, top = largest(p, n);
    memset(part + h * ld, 0, hd * sizeof *part);
    part[h * ld + hd] = top;
    part[h * ld + hd + 1] = sum_exp(p, top, p, n);
  }
  weigh(a, type, v, n, s, part);
}

static void op_attend(const tri_attention *a, size_t first, size_t n, float *scratch, float *part) {
  const char *k = (const char *)a->k + first * a->step, *v = (const char *)a->v + first * a->step;
  switch (a->type) {
  case TRI_F32:
    attend_as(a, TRI_F32, k, v, n, scratch, part);
    break;
  case TRI_F16:
    attend_as(a, TRI_F16, k, v, n, scratch, part);
    break;
  case TRI_BF16:
    attend_as(a, TRI_BF16, k, v, n, scratch, part);
    break;
  case TRI_INT8:
    attend_as(a, TRI_INT8, k, v, n, scratch, part);
    break;
  }
}

static float exp_one(float x) {
  vf t = exp_part(x - (vf){0});
  return t[0];
}

static void op_attend_merge(float *restrict total, const float *restrict part, size_t heads, size_t hd) {
  for (size_t h = 0; h < heads; h++, total += hd + 2, part += hd + 2) {
    float top = total[hd] > part[hd] ? total[hd] : part[hd], old = exp_one(total[hd] - top),
          new = exp_one(part[hd] - top);
    for (size_t i = 0; i < hd; i++) total[i] = total[i] * old + part[i] * new;
    total[hd + 1] = total[hd + 1] * old + part[hd + 1] * new;
    total[hd] = top;
  }
}

static void op_attend_end(const float *total, size_t heads, size_t hd, float *out) {
  for (size_t h = 0; h < heads; h++, total += hd + 2, out += hd) {
    float share = 1 / total[hd + 1];
    for (size_t i = 0; i < hd; i++) out[i] = total[i] * share;
  }
}
