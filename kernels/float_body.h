/* SPDX-License-Identifier: MIT */
/* The float ops of kernels.h, written once. Included by one file per ISA, after float_vector.h and after it has
 * defined v_load_f16, v_store_f16 (16 halves) and v_load_int8 (16 int8, as floats).
 * Ragged ends are zero-filled to 16 lanes. Loops without v_ calls are element by element, where the compiler's own
 * vectorising can't change a bit. */

INLINE size_t type_size(tri_ftype type) { return type == TRI_F32 ? 4 : type == TRI_INT8 ? 1 : 2; }

INLINE v16 v_load_as(const void *x, tri_ftype type) {
  if (type == TRI_INT8) return v_load_int8(x);
  return type == TRI_F32 ? v_load(x) : type == TRI_F16 ? v_load_f16(x) : v_load_bf16(x);
}
/* A vector's first element, and what the elements are multiples of. */
INLINE const char *elements(const char *vector, tri_ftype type) { return type == TRI_INT8 ? vector + 4 : vector; }
INLINE float unit_of(const char *vector, tri_ftype type) {
  float unit = 1;
  if (type == TRI_INT8) memcpy(&unit, vector, sizeof unit);
  return unit;
}
INLINE v16 v_load_part_as(const void *x, tri_ftype type, size_t n) {
  char t[64] = {0};
  memcpy(t, x, n * type_size(type));
  return v_load_as(t, type);
}

/* n vectors x, ldx apart, with one row of weights: one accumulator each. One row of weights at a time: a single ascending
 * stream is what the hardware prefetcher likes best (several rows side by side were measured at half the speed), and 16 lanes
 * keep up with memory. `type` and n are constants where this is inlined. */
INLINE void dot_some(const char *w, tri_ftype type, size_t k, const float *x, size_t ldx, size_t n, float *y, size_t ldy) {
  enum { MOST = 4 };
  v16 acc[MOST];
  UNROLL for (size_t r = 0; r < n; r++) acc[r] = v_set(0);
  size_t i = 0, bytes = type_size(type);
  for (; i + 16 <= k; i += 16) {
    v16 weights = v_load_as(w + i * bytes, type);
    UNROLL for (size_t r = 0; r < n; r++) acc[r] = v_add(acc[r], v_mul(weights, v_load(x + r * ldx + i)));
  }
  if (i < k) {
    v16 weights = v_load_part_as(w + i * bytes, type, k - i);
    UNROLL for (size_t r = 0; r < n; r++) acc[r] = v_add(acc[r], v_mul(weights, v_load_part(x + r * ldx + i, k - i)));
  }
  UNROLL for (size_t r = 0; r < n; r++) y[r * ldy] = v_sum(acc[r]);
}

INLINE void dot_all(const char *w, tri_ftype type, size_t m, size_t k, const float *x, size_t rows, float *y, size_t ldy) {
  for (size_t i = 0; i < m; i++, w += tri_ftype_bytes(type, k), y++) {
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) dot_some(w, type, k, x + r * k, k, 4, y + r * ldy, ldy);
    for (; r < rows; r++) dot_some(w, type, k, x + r * k, k, 1, y + r * ldy, ldy);
  }
}

static void op_matmul(const void *w, tri_ftype type, size_t m, size_t k, const float *x, size_t rows, float *y, size_t ldy) {
  switch (type) {
  case TRI_F32: dot_all(w, TRI_F32, m, k, x, rows, y, ldy); break;
  case TRI_F16: dot_all(w, TRI_F16, m, k, x, rows, y, ldy); break;
  case TRI_BF16: dot_all(w, TRI_BF16, m, k, x, rows, y, ldy); break;
  case TRI_INT8: break; /* no matrix is */
  }
}

static float op_dot(const float *a, const float *b, size_t n) {
  float y;
  dot_some((const char *)a, TRI_F32, n, b, n, 1, &y, 1);
  return y;
}

static void op_rmsnorm(const float *x, const float *w, float eps, float *y, size_t n) {
  float scale = 1 / __builtin_sqrtf(op_dot(x, x, n) / (float)n + eps);
  for (size_t i = 0; i < n; i++) y[i] = w[i] * (x[i] * scale);
}

static void rotate_halves(float *restrict a, float *restrict b, const float *restrict c, const float *restrict s,
                          size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = a[i], second = b[i];
    a[i] = first * c[i] - second * s[i];
    b[i] = first * s[i] + second * c[i];
  }
}

static void rotate_pairs(float *restrict x, const float *restrict c, const float *restrict s, size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = x[2 * i], second = x[2 * i + 1];
    x[2 * i] = first * c[i] - second * s[i];
    x[2 * i + 1] = first * s[i] + second * c[i];
  }
}

static void op_rope(float *x, const float *cos, const float *sin, size_t heads, size_t hd, bool neox) {
  for (size_t h = 0; h < heads; h++, x += hd)
    if (neox) rotate_halves(x, x + hd / 2, cos, sin, hd / 2);
    else rotate_pairs(x, cos, sin, hd / 2);
}

static float largest(const float *x, size_t n) {
  v16 top = v_set(-__builtin_inff());
  size_t i = 0;
  for (; i + 16 <= n; i += 16) top = v_max(v_load(x + i), top);
  float best = v_largest(top);
  for (; i < n; i++) best = x[i] > best ? x[i] : best;
  return best;
}

/* sum(exp(x - top)); the terms go to e unless it is NULL (e may be x) */
INLINE float sum_exp(const float *x, float top, float *e, size_t n) {
  v16 sum = v_set(0), shift = v_set(top);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    v16 t = v_exp(v_sub(v_load(x + i), shift));
    if (e) v_store(e + i, t);
    sum = v_add(sum, t);
  }
  if (i < n) {
    float t[16] = {0};
    v_store_part(t, v_exp(v_sub(v_load_part(x + i, n - i), shift)), n - i);
    if (e) memcpy(e + i, t, (n - i) * sizeof *t);
    sum = v_add(sum, v_load(t));
  }
  return v_sum(sum);
}

static void op_relu2_gate(float *restrict gate, const float *restrict up, size_t n) {
  for (size_t i = 0; i < n; i++) {
    float g = gate[i] > 0 ? gate[i] : 0;
    gate[i] = g * g * up[i];
  }
}

INLINE v16 silu_times(v16 g, v16 up) {
  v16 one = v_set(1);
  return v_mul(v_div(g, v_add(one, v_exp(v_sub(v_set(0), g)))), up);
}

static void op_silu_gate(float *gate, const float *up, size_t n) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) v_store(gate + i, silu_times(v_load(gate + i), v_load(up + i)));
  if (i < n) v_store_part(gate + i, silu_times(v_load_part(gate + i, n - i), v_load_part(up + i, n - i)), n - i);
}

static void op_add(float *restrict x, const float *restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static void op_dequant(void *y, size_t n, int32_t sum, float s, float scale) {
  v16 by = v_set(s), times = v_set(scale);
  for (size_t i = 0; i < n; i += 16) {
    size_t here = n - i < 16 ? n - i : 16;
    v16 t = here < 16 ? v_load_part((float *)y + i, here) : v_load((float *)y + i);
    EACH_PART(p) t.p[p] = __builtin_convertvector((vi)t.p[p] - sum, vf);
    t = v_mul(v_div(t, by), times);
    if (here < 16) v_store_part((float *)y + i, t, here);
    else v_store((float *)y + i, t);
  }
}

/* ln x for a normal x > 0, in double with fixed operations (libm's own log may differ from one CPU to the next):
 * x = m 2^e, ln m = 2 artanh((m-1)/(m+1)) as a series; |z| <= 0.172, so the first term left out is below 1e-13. */
static double natural_log(double x) {
  int e;
  double m = __builtin_frexp(x, &e);
  if (m < 0.70710678118654752) m *= 2, e--;
  double z = (m - 1) / (m + 1), z2 = z * z, sum = 0;
  for (int i = 15; i > 0; i -= 2) sum = sum * z2 + 1.0 / i;
  return 2 * z * sum + e * 0.69314718055994531;
}

static float op_logsumexp(const float *x, size_t n) {
  float top = largest(x, n);
  return (float)((double)top + natural_log((double)sum_exp(x, top, NULL, n)));
}

/* --- quantisation --- */

/* The lowest byte of each lane of a rounded, biased float is the int8 itself (ROUND_MAGIC's low bits are zero). */
INLINE v16 round_clamped(v16 t, float low) {
  EACH_PART(p) {
    vf a = t.p[p];
    a = choose(a == a, a, (vf){0}); /* NaN becomes 0, so that padding stays 0 when the scale is NaN */
    a = choose(a >= low, a, low - (vf){0});
    a = choose(a <= 127.0f, a, 127.0f - (vf){0});
    t.p[p] = a + ROUND_MAGIC;
  }
  return t;
}

/* 16 values of one row from k = at on, into a panel of `rows` */
INLINE void place(v16 biased, int8_t *q, size_t at, size_t rows) {
  int8_t bytes[16];
  EACH_PART(p) {
    vb narrow = __builtin_convertvector((vi)biased.p[p] - ROUND_BITS, vb);
    memcpy(bytes + p * TRI_LANES, &narrow, TRI_LANES);
  }
  for (size_t i = 0; i < 4; i++) memcpy(q + (at / 4 + i) * rows * 4, bytes + 4 * i, 4);
}

/* the largest |x| of n values; as integers so that a NaN is larger than all and comes out */
INLINE float absmax(const float *x, size_t n) {
  v16 top = v_set(0);
  for (size_t i = 0; i < n; i += 16) {
    v16 t = v_abs(n - i < 16 ? v_load_part(x + i, n - i) : v_load(x + i));
    EACH_PART(p) top.p[p] = choose((vi)t.p[p] > (vi)top.p[p], t.p[p], top.p[p]);
  }
  int32_t t[16], best = 0;
  memcpy(t, &top, sizeof t);
  for (int i = 0; i < 16; i++) best = t[i] > best ? t[i] : best;
  float f;
  memcpy(&f, &best, 4);
  return f;
}

static float op_quant_row(const float *x, size_t k, int8_t *q, size_t rows, int32_t *sum) {
  float top = absmax(x, k), s = 127.0f / (top < 1e-5f ? 1e-5f : top);
  v16 times = v_set(s);
  vi sums = {0};
  for (size_t i = 0; i < tri_round_up(k, TRI_K_ALIGN); i += 16) {
    size_t here = i >= k ? 0 : k - i;
    v16 t = here >= 16 ? v_load(x + i) : here ? v_load_part(x + i, here) : v_set(0);
    t = round_clamped(v_mul(t, times), -128.0f);
    EACH_PART(p) sums += (vi)t.p[p] - ROUND_BITS;
    place(t, q, i, rows);
  }
  int32_t total = 0;
  for (int i = 0; i < TRI_LANES; i++) total += sums[i];
  *sum = total;
  return s;
}

/* Whole multiples of unit, -127 to 127. */
INLINE v16 in_units(v16 t, float unit) {
  if (unit == 0) return round_clamped(v_set(0), -127.0f); /* also a maximum so small that its 127th part is 0 */
  return round_clamped(v_div(t, v_set(unit)), -127.0f);
}

static void op_quant_row_q8(const float *x, size_t k, int8_t *q, size_t rows, float *d) {
  for (size_t g = 0; g < k / TRI_Q8_BLOCK; g++) {
    const float *from = x + g * TRI_Q8_BLOCK;
    float step = absmax(from, TRI_Q8_BLOCK) / 127.0f;
    d[g] = step;
    for (size_t i = 0; i < TRI_Q8_BLOCK; i += 16) place(in_units(v_load(from + i), step), q, g * TRI_Q8_BLOCK + i, rows);
  }
}

/* --- conversions --- */

INLINE void convert_to_f32(const char *x, tri_ftype type, float *y, size_t n) {
  size_t i = 0, bytes = type_size(type);
  for (; i + 16 <= n; i += 16) v_store(y + i, v_load_as(x + i * bytes, type));
  if (i < n) v_store_part(y + i, v_load_part_as(x + i * bytes, type, n - i), n - i);
}

static void from_int8(const char *vector, float *y, size_t n) {
  v16 unit = v_set(unit_of(vector, TRI_INT8));
  const char *x = elements(vector, TRI_INT8);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) v_store(y + i, v_mul(v_load_int8(x + i), unit));
  if (i < n) v_store_part(y + i, v_mul(v_load_part_as(x + i, TRI_INT8, n - i), unit), n - i);
}

static void to_int8(const float *x, char *vector, size_t n) {
  float unit = absmax(x, n) / 127.0f;
  int8_t bytes[16];
  memcpy(vector, &unit, sizeof unit);
  for (size_t i = 0; i < n; i += 16) {
    size_t here = n - i < 16 ? n - i : 16;
    place(in_units(here < 16 ? v_load_part(x + i, here) : v_load(x + i), unit), bytes, 0, 1);
    memcpy(vector + 4 + i, bytes, tri_round_up(here, 4)); /* up to the padding */
  }
}

static void op_to_f32(const void *x, tri_ftype type, float *y, size_t n) {
  switch (type) {
  case TRI_F32: memmove(y, x, n * sizeof *y); break;
  case TRI_F16: convert_to_f32(x, TRI_F16, y, n); break;
  case TRI_BF16: convert_to_f32(x, TRI_BF16, y, n); break;
  case TRI_INT8: from_int8(x, y, n); break;
  }
}

static void op_from_f32(const float *x, tri_ftype type, void *y, size_t n) {
  if (type == TRI_F32) {
    memmove(y, x, n * sizeof *x);
    return;
  }
  if (type == TRI_INT8) {
    to_int8(x, y, n);
    return;
  }
  for (size_t i = 0; i < n; i += 16) {
    size_t here = n - i < 16 ? n - i : 16;
    v16 t = here < 16 ? v_load_part(x + i, here) : v_load(x + i);
    char halves[32];
    if (type == TRI_F16) v_store_f16(halves, t);
    else v_store_bf16(halves, t);
    memcpy((char *)y + i * 2, halves, here * 2);
  }
}

#include "kernels/float_attention.h"

/* A table's float half. */
#define FLOAT_OPS                                                                                                   \
  .quant_row = op_quant_row, .dequant = op_dequant, .quant_row_q8 = op_quant_row_q8, .matmul = op_matmul,           \
  .dot = op_dot, .rmsnorm = op_rmsnorm, .rope = op_rope, .attend = op_attend, .attend_merge = op_attend_merge,      \
  .attend_end = op_attend_end, .put_key = op_put_key, .relu2_gate = op_relu2_gate, .silu_gate = op_silu_gate, .add = op_add,               \
  .to_f32 = op_to_f32, .from_f32 = op_from_f32, .logsumexp = op_logsumexp
