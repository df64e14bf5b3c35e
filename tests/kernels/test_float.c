/* SPDX-License-Identifier: MIT */
/* Float ops: each level bit-equal to portable, and portable near a plain computation in double. */
#include <math.h>
#include "tests/kernels/levels.h"

static const tri_kernels *levels[MOST_LEVELS];
static int level_count;
static uint64_t seed;

enum { MOST = 1500 };
static const size_t sizes[] = {1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 63, 64, 80, 100, 127, 128, 129, 640, 1023, 1500};
enum { SIZES = sizeof sizes / sizeof *sizes };

#define SAME(l, a, b, bytes, ...)                                                                            \
  do {                                                                                                       \
    if (memcmp(a, b, bytes)) {                                                                               \
      print_error("%s differs from portable: ", levels[l]->name);                                            \
      fail_msg(__VA_ARGS__);                                                                                 \
    }                                                                                                        \
  } while (0)

static void near(double got, double want, double tolerance, const char *what, size_t n) {
  if (!(fabs(got - want) <= tolerance)) fail_msg("%s, n %zu: %.9g, not %.9g", what, n, got, want);
}

/* Each product as if it were alone, near the sum in double; levels the same. */
static void products(void **state) {
  (void)state;
  enum { M = 19, ROWS = 6, LD = M + 3 };
  static float x[ROWS * MOST], w[M * MOST], values[M * MOST], y[ROWS * LD], first[ROWS * LD];
  static uint16_t stored[2 * M * MOST + 1];
  for (size_t s = 0; s < SIZES; s++)
    for (int type = TRI_F32; type <= TRI_BF16; type++) {
      size_t k = sizes[s];
      void *data = (char *)stored + 2; /* only 2-byte aligned */
      random_floats(&seed, x, ROWS * k, 1), random_floats(&seed, w, M * k, 1);
      levels[0]->from_f32(w, (tri_ftype)type, data, M * k);
      levels[0]->to_f32(data, (tri_ftype)type, values, M * k);
      for (int l = 0; l < level_count; l++) {
        levels[l]->matmul(data, (tri_ftype)type, M, k, x, ROWS, l ? y : first, LD);
        if (l) SAME(l, y, first, sizeof y, "matmul, type %d, k %zu", type, k);
        for (size_t i = 0; i < M * ROWS; i++) {
          float one = levels[l]->dot(values + i % M * k, x + i / M * k, k);
          SAME(l, &one, &first[i / M * LD + i % M], 4, "dot, type %d, k %zu, product %zu", type, k, i);
        }
      }
      for (size_t i = 0; i < M * ROWS; i++) {
        const float *a = values + i % M * k, *b = x + i / M * k;
        double sum = 0, size = 0;
        for (size_t j = 0; j < k; j++) sum += (double)a[j] * b[j], size += fabs((double)a[j] * b[j]);
        near(first[i / M * LD + i % M], sum, size * 4e-6, "matmul", k);
      }
    }
}

static void element_ops(void **state) {
  (void)state;
  static float x[MOST], up[MOST], first[3][MOST], y[3][MOST];
  for (size_t s = 0; s < SIZES; s++) {
    size_t n = sizes[s];
    random_floats(&seed, x, n, 3), random_floats(&seed, up, n, 1);
    x[n - 1] = -200; /* silu where exp overflows */
    for (int l = 0; l < level_count; l++) {
      float(*out)[MOST] = l ? y : first;
      for (int i = 0; i < 3; i++) memcpy(out[i], x, n * 4);
      levels[l]->add(out[0], up, n);
      levels[l]->relu2_gate(out[1], up, n);
      levels[l]->silu_gate(out[2], up, n);
      for (int i = 0; l && i < 3; i++) SAME(l, out[i], first[i], n * 4, "element op %d, n %zu", i, n);
    }
    for (size_t i = 0; i < n; i++) {
      double g = x[i], relu = g > 0 ? g : 0, silu = g / (1 + exp(-g)) * up[i];
      assert_true(first[0][i] == x[i] + up[i]);
      near(first[1][i], relu * relu * up[i], fabs(relu * relu * up[i]) * 3e-7, "relu2", n);
      near(first[2][i], silu, fabs(silu) * 6e-7 + 1e-34, "silu", n);
    }
  }
}

static void rmsnorm(void **state) {
  (void)state;
  static float x[MOST], w[MOST], first[MOST], y[MOST];
  for (size_t s = 0; s < SIZES; s++) {
    size_t n = sizes[s];
    random_floats(&seed, x, n, 2), random_floats(&seed, w, n, 1);
    levels[0]->rmsnorm(x, w, 1e-5f, first, n);
    for (int l = 0; l < level_count; l++) {
      memcpy(y, x, n * 4);
      levels[l]->rmsnorm(y, w, 1e-5f, y, n); /* in place */
      SAME(l, y, first, n * 4, "rmsnorm, n %zu", n);
    }
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += (double)x[i] * x[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
      double want = w[i] * (x[i] / sqrt(mean + 1e-5));
      near(first[i], want, fabs(want) * 2e-6, "rmsnorm", n);
    }
  }
}

static void rope(void **state) {
  (void)state;
  static const size_t dims[] = {2, 6, 30, 64, 80, 100, 128};
  enum { HEADS = 3 };
  for (size_t s = 0; s < sizeof dims / sizeof *dims; s++)
    for (int neox = 0; neox < 2; neox++) {
      size_t hd = dims[s];
      float x[HEADS * 128], first[HEADS * 128], y[HEADS * 128], c[64], sn[64];
      random_floats(&seed, x, HEADS * hd, 1);
      for (size_t i = 0; i < hd / 2; i++) c[i] = cosf((float)i), sn[i] = sinf((float)i);
      for (int l = 0; l < level_count; l++) {
        memcpy(l ? y : first, x, sizeof x);
        levels[l]->rope(l ? y : first, c, sn, HEADS, hd, neox);
        if (l) SAME(l, y, first, HEADS * hd * 4, "rope, hd %zu, neox %d", hd, neox);
      }
      for (size_t i = 0; i < HEADS * hd / 2; i++) {
        size_t head = i / (hd / 2) * hd, j = i % (hd / 2);
        size_t a = head + (neox ? j : 2 * j), b = head + (neox ? j + hd / 2 : 2 * j + 1);
        near(first[a], (double)x[a] * c[j] - (double)x[b] * sn[j], 4e-6, "rope", hd);
        near(first[b], (double)x[a] * sn[j] + (double)x[b] * c[j], 4e-6, "rope", hd);
      }
    }
}

/* softmax(q . k * scale) v in double */
static void plain_attention(const float *q, const float *k, const float *v, size_t stride, size_t n, size_t hd,
                            double scale, double *out) {
  double *p = bytes_alloc(n * sizeof *p), top = -INFINITY, total = 0;
  for (size_t t = 0; t < n; t++) {
    p[t] = 0;
    for (size_t i = 0; i < hd; i++) p[t] += (double)q[i] * k[t * stride + i] * scale;
    top = fmax(top, p[t]);
  }
  for (size_t t = 0; t < n; t++) total += p[t] = exp(p[t] - top);
  for (size_t i = 0; i < hd; i++) {
    out[i] = 0;
    for (size_t t = 0; t < n; t++) out[i] += p[t] / total * v[t * stride + i];
  }
  free(p);
}

enum { LONGEST = 700, MOST_DIM = 256, MOST_QUERIES = 15 };

/* A head's cache of LONGEST positions in blocks that are not in order, and the numbers that it holds. */
typedef struct cache {
  char *k, *v;
  float *kf, *vf;
} cache;

enum { CACHE_BLOCKS = (LONGEST + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK };

static size_t block_at(size_t pos, tri_ftype type, size_t hd) {
  return pos / TRI_KV_BLOCK * 5 % CACHE_BLOCKS * TRI_KV_BLOCK * tri_ftype_bytes(type, hd);
}
static char *value_at(const cache *c, size_t pos, tri_ftype type, size_t hd) {
  return c->v + block_at(pos, type, hd) + pos % TRI_KV_BLOCK * tri_ftype_bytes(type, hd);
}

/* As the engine does it, for rows that end in the same block: blocks merged in ascending order. n: positions of the first row. */
static void in_blocks(const tri_kernels *t, const cache *c, const tri_attention *attention, size_t n, float *out) {
  static float scratch[MOST_QUERIES * TRI_ATTENTION_BLOCK], total[MOST_QUERIES * (MOST_DIM + 2)], part[MOST_QUERIES * (MOST_DIM + 2)];
  tri_attention a = *attention;
  size_t queries = a.rows * a.heads;
  for (size_t first = 0; first < n; first += TRI_ATTENTION_BLOCK) {
    size_t here = n - first < TRI_ATTENTION_BLOCK ? n - first : TRI_ATTENTION_BLOCK;
    for (size_t i = 0, pos = first; i < TRI_KV_SPAN; i++, pos += TRI_KV_BLOCK)
      a.k[i] = c->k + block_at(pos, a.type, a.hd), a.v[i] = c->v + block_at(pos, a.type, a.hd);
    t->attend(&a, here, scratch, first ? part : total);
    if (first) t->attend_merge(total, part, queries, a.hd);
  }
  t->attend_end(total, queries, a.hd, out);
}

static void fill(const cache *c, const tri_kernels *t, tri_ftype type, size_t hd) {
  float raw[MOST_DIM];
  char vector[4 * MOST_DIM + 4];
  for (size_t pos = 0; pos < LONGEST; pos++) {
    random_floats(&seed, raw, hd, 0.3f);
    t->put_key(raw, type, c->k + block_at(pos, type, hd), pos % TRI_KV_BLOCK, hd);
    t->from_f32(raw, type, vector, hd), t->to_f32(vector, type, c->kf + pos * hd, hd);
    random_floats(&seed, raw, hd, 1);
    char *value = value_at(c, pos, type, hd);
    t->from_f32(raw, type, value, hd), t->to_f32(value, type, c->vf + pos * hd, hd);
  }
}

/* What lies behind the positions in use is never looked at: fill it with what would show. */
static void spoil(const cache *c, tri_ftype type, size_t hd, size_t from) {
  float bad[MOST_DIM];
  for (size_t i = 0; i < hd; i++) bad[i] = NAN;
  for (size_t pos = from; pos < LONGEST; pos++) {
    levels[0]->put_key(bad, type, c->k + block_at(pos, type, hd), pos % TRI_KV_BLOCK, hd);
    levels[0]->from_f32(bad, type, value_at(c, pos, type, hd), hd);
  }
}

/* Every level the same, near the plain computation over the cache's values, and each query as if it were alone. */
static void attention(void **state) {
  (void)state;
  static const size_t dims[] = {2, 8, 16, 24, 64, 80, 100, 128, 192, 256}, lengths[] = {600, 510, 257, 254, 256, 61, 17, 16, 5, 2, 1};
  static const tri_ftype types[] = {TRI_F32, TRI_F16, TRI_INT8};
  size_t total = MOST_DIM * (CACHE_BLOCKS * TRI_KV_BLOCK + TRI_KV_TILE);
  const cache c = {bytes_alloc(total * 5), bytes_alloc(total * 5), bytes_alloc(total * 4), bytes_alloc(total * 4)};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
    for (size_t type = 0; type < 3; type++) {
      size_t hd = dims[i], heads = 1 + i % 5, most = MOST_QUERIES / heads;
      for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j += test_brief() && hd > 100 ? 3 : 1) {
        size_t n = lengths[j], in_block = TRI_ATTENTION_BLOCK - (n - 1) % TRI_ATTENTION_BLOCK, rows = most < in_block ? most : in_block;
        if (j % 2) rows = 1 + rows / 2;
        size_t q_ld = heads * hd + 3;
        float q[MOST_QUERIES * (MOST_DIM + 3)], first[MOST_QUERIES * MOST_DIM], out[MOST_QUERIES * MOST_DIM];
        double want[MOST_DIM];
        random_floats(&seed, q, rows * q_ld, 1);
        fill(&c, levels[0], types[type], hd);
        spoil(&c, types[type], hd, n + rows - 1);
        const tri_attention a = {.type = types[type], .hd = hd, .heads = heads, .rows = rows, .q = q, .q_ld = q_ld,
                                 .scale = 1 / sqrtf((float)hd)};
        for (int l = 0; l < level_count; l++) {
          in_blocks(levels[l], &c, &a, n, l ? out : first);
          if (l) SAME(l, out, first, rows * heads * hd * 4, "attention, type %zu, hd %zu, n %zu, rows %zu", type, hd, n, rows);
        }
        for (size_t r = 0; r < rows; r++)
          for (size_t h = 0; h < heads; h++) {
            const float *got = first + (r * heads + h) * hd;
            const tri_attention one = {.type = a.type, .hd = hd, .heads = 1, .rows = 1, .q = q + r * q_ld + h * hd, .scale = a.scale};
            in_blocks(levels[0], &c, &one, n + r, out);
            assert_memory_equal(out, got, hd * 4);
            plain_attention(one.q, c.kf, c.vf, hd, n + r, hd, a.scale, want);
            for (size_t e = 0; e < hd; e++) near(got[e], want[e], 1e-3, "attention", n + r);
          }
      }
    }
  free(c.k), free(c.v), free(c.kf), free(c.vf);
}

/* The cache's int8: the formula, bit for bit, and what it stands for within half a unit. */
static void int8_vectors(void **state) {
  (void)state;
  static float x[MOST], back[MOST];
  static char vector[MOST + 16];
  for (size_t s = 0; s < SIZES; s++) {
    size_t n = sizes[s], bytes = tri_ftype_bytes(TRI_INT8, n);
    float top = 0, unit;
    random_floats(&seed, x, n, s % 3 ? 1 : 1e-44f);
    for (size_t i = 0; i < n; i++) top = fmaxf(top, fabsf(x[i]));
    for (int l = 0; l < level_count; l++) {
      memset(vector, 0x55, sizeof vector);
      levels[l]->from_f32(x, TRI_INT8, vector, n);
      memcpy(&unit, vector, 4);
      assert_true(unit == top / 127);
      for (size_t i = 0; i < n; i++) {
        float q = unit == 0 ? 0 : fmaxf(-127, fminf(127, nearbyintf(x[i] / unit)));
        assert_int_equal((int8_t)vector[4 + i], (int)q);
      }
      for (size_t i = bytes; i < bytes + 8; i++) assert_int_equal(vector[i], 0x55);
      levels[l]->to_f32(vector, TRI_INT8, back, n);
      for (size_t i = 0; i < n; i++) assert_true(back[i] == (float)(int8_t)vector[4 + i] * unit);
    }
  }
}

/* Conversions: all 65536 halves, and floats of every kind incl. ties, overflow, subnormals and NaN. */
static void conversions(void **state) {
  (void)state;
  static uint16_t halves[65536], first16[65536], back16[65536];
  static float first[65536], wide[65536];
  for (uint32_t i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
  for (int type = TRI_F16; type <= TRI_BF16; type++)
    for (int l = 0; l < level_count; l++)
      for (size_t cut = 0; cut < 20; cut += 19) { /* also a ragged end */
        size_t n = 65536 - cut;
        levels[l]->to_f32(halves, (tri_ftype)type, l ? wide : first, n);
        if (l) SAME(l, wide, first, n * 4, "to_f32, type %d", type);
        for (size_t i = 0; type == TRI_F16 && i < n; i++) {
          float want = tri_f16_to_f32((uint16_t)i);
          SAME(l, (l ? wide : first) + i, &want, 4, "to_f32 of 0x%zx", i);
        }
      }
  for (int round = 0; round < 30; round++) {
    for (uint32_t i = 0; i < 65536; i++) {
      uint32_t bits = (uint32_t)test_random(&seed);
      if (round % 3 == 1) bits = (bits & 0xffffe000) | 0x1000; /* ties of f16 */
      if (round % 3 == 2) bits = (bits & 0x8fffffff) + 0x30000000;
      memcpy(&wide[i], &bits, 4);
    }
    for (int type = TRI_F16; type <= TRI_BF16; type++)
      for (int l = 0; l < level_count; l++) {
        levels[l]->from_f32(wide, (tri_ftype)type, l ? back16 : first16, 65535);
        if (l) SAME(l, back16, first16, 65535 * 2, "from_f32, type %d", type);
      }
  }
  levels[0]->from_f32((float[]){1.0f, 1.00390625f, 1.01171875f, NAN}, TRI_BF16, first16, 4);
  assert_true(first16[0] == 0x3f80 && first16[1] == 0x3f80 && first16[2] == 0x3f82 && (first16[3] & 0x7fc0) == 0x7fc0);
}

static void logsumexp(void **state) {
  (void)state;
  static float x[MOST];
  for (size_t s = 0; s < SIZES; s++)
    for (int size = 1; size <= 1000; size *= 10) {
      size_t n = sizes[s];
      random_floats(&seed, x, n, (float)size);
      if (n > 3) x[1] = -INFINITY;
      float first = levels[0]->logsumexp(x, n);
      for (int l = 1; l < level_count; l++) {
        float y = levels[l]->logsumexp(x, n);
        SAME(l, &y, &first, 4, "logsumexp, n %zu", n);
      }
      double top = -INFINITY, sum = 0;
      for (size_t i = 0; i < n; i++) top = fmax(top, x[i]);
      for (size_t i = 0; i < n; i++) sum += exp(x[i] - top);
      near(first, log(sum) + top, 2e-6 + fabs(top) * 1e-7, "logsumexp", n);
    }
}

/* quant_row: the formula, bit for bit, in any panel; padding zero; nothing else touched. */
static void quant_row(void **state) {
  (void)state;
  static float x[MOST];
  static int8_t panel[TRI_PANEL_ROWS * 1536];
  for (size_t s = 0; s < SIZES; s++)
    for (size_t rows = 1; rows <= TRI_PANEL_ROWS; rows += rows < 4 ? 1 : 5) {
      size_t k = sizes[s], kpad = tri_round_up(k, TRI_K_ALIGN), row = rows / 2;
      random_floats(&seed, x, k, s == 3 ? 1e-7f : 4);
      if (s == 5) memset(x, 0, k * 4);
      float top = 1e-5f;
      for (size_t i = 0; i < k; i++) top = fmaxf(top, fabsf(x[i]));
      for (int l = 0; l < level_count; l++) {
        int32_t sum, want_sum = 0;
        memset(panel, 0x55, sizeof panel);
        float got = levels[l]->quant_row(x, k, panel + 4 * row, rows, &sum), want = 127 / top;
        assert_memory_equal(&got, &want, 4);
        for (size_t i = 0; i < kpad * rows; i++) {
          size_t r = i / 4 % rows, c = i / 4 / rows * 4 + i % 4;
          int q = r != row ? 0x55 : c >= k ? 0 : (int)nearbyintf(fmaxf(-128, fminf(127, x[c] * want)));
          if (panel[i] != q)
            fail_msg("%s: k %zu, %zu rows, column %zu: %d, not %d", levels[l]->name, k, rows, c, panel[i], q);
          if (r == row) want_sum += q;
        }
        assert_int_equal(sum, want_sum);
      }
    }
}

static void dequant(void **state) {
  (void)state;
  static int32_t sums[MOST], y[MOST];
  for (size_t s = 0; s < SIZES; s++) {
    size_t n = sizes[s];
    int32_t sum = (int32_t)(test_random(&seed) % 20001) - 10000;
    for (size_t i = 0; i < n; i++) sums[i] = (int32_t)(test_random(&seed) % 100000001) - 50000000;
    for (int l = 0; l < level_count; l++) {
      memcpy(y, sums, n * 4);
      levels[l]->dequant(y, n, sum, 37.1f, 0.73f);
      for (size_t i = 0; i < n; i++) {
        float want = (float)(sums[i] - sum) / 37.1f * 0.73f;
        assert_memory_equal(&y[i], &want, 4);
      }
    }
  }
}

/* Infinite and undefined inputs give something, the same on every level, without a fault. */
static void odd_values(void **state) {
  (void)state;
  static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-45f};
  for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
    float x[64], d[2];
    int8_t q[2][128], q8[2][64];
    int32_t sum;
    random_floats(&seed, x, 64, 1);
    x[5] = x[37] = odd[o];
    for (int l = 0; l < level_count; l++) {
      float s = levels[l]->quant_row(x, 64, q[l > 0], 1, &sum);
      if (o == 0) assert_true(isnan(s) && sum == 0);
      if (o == 1 || o == 2) assert_true(s == 0 && sum == 0);
      SAME(l, q[l > 0], q[0], 128, "quant_row of an odd value %zu", o);
      for (int i = 64; i < 128; i++) assert_int_equal(q[l > 0][i], 0); /* padding */
      levels[l]->quant_row_q8(x, 64, q8[l > 0], 1, d);
      SAME(l, q8[l > 0], q8[0], 64, "quant_row_q8 of an odd value %zu", o);
      levels[l]->logsumexp(x, 64);
    }
  }
}

int main(void) {
  level_count = all_levels(levels);
  seed = test_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products),    cmocka_unit_test(element_ops), cmocka_unit_test(rmsnorm),
      cmocka_unit_test(rope),        cmocka_unit_test(attention), cmocka_unit_test(int8_vectors),   cmocka_unit_test(conversions),
      cmocka_unit_test(logsumexp),   cmocka_unit_test(quant_row),   cmocka_unit_test(dequant),
      cmocka_unit_test(odd_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
