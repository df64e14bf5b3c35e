/* SPDX-License-Identifier: MIT */
#include "engine/order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/shape.h"
#include "engine/ternary.h"

enum { ORDERS = TRI_I2S_FOURS + 1, NEAR = 128, LAYERS = 2, ROWS = 512 };

static const double LEAST = 100, AHEAD = 3; /* the sum of z squared that leaves no doubt, and how many times the other ones */

static const char *const names[ORDERS] = {[TRI_I2S_X86] = "x86", [TRI_I2S_ARM] = "arm", [TRI_I2S_FOURS] = "fours"};
const char *tri_order_name(tri_i2s_order order) { return names[order]; }

static const tri_gguf_tensor *find(const tri_gguf *g, int layer, const char *part) {
  char name[96];
  snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
  return tri_gguf_find(g, name);
}

static tri_norm norm_before(tri_linear l) {
  return l == TRI_O ? TRI_NORM_ATTN_SUB : l == TRI_DOWN ? TRI_NORM_FFN_SUB : l == TRI_GATE || l == TRI_UP ? TRI_NORM_FFN : TRI_NORM_ATTN;
}

/* How many of the first rows have a weight in each column, [k]; false if the rows can't be read. */
static bool count(const tri_ternary *x, int8_t *trits, float *counts) {
  size_t k = x->form.k, m = x->form.m < ROWS ? x->form.m : ROWS;
  memset(counts, 0, k * sizeof *counts);
  for (size_t first = 0; first < m; first += TRI_TERNARY_ROWS) {
    size_t last = m - first < TRI_TERNARY_ROWS ? m : first + TRI_TERNARY_ROWS;
    if (!tri_ternary_rows(x, first, last, trits, NULL)) return false;
    for (size_t r = 0; r < last - first; r++)
      for (size_t c = 0; c < k; c++) counts[c] += (float)(trits[r * k + c] != 0);
  }
  return true;
}

static double mean(const float *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i];
  return sum / (double)n;
}

/* z squared; 0 where one of the two is the same everywhere. */
static double relation(const float *a, const float *b, size_t k) {
  double aa = 0, bb = 0, ab = 0;
  for (size_t at = 0, n; at < k; at += n) {
    n = k - at < NEAR ? k - at : NEAR;
    double of_a = mean(a + at, n), of_b = mean(b + at, n);
    for (size_t i = at; i < at + n; i++) {
      double x = (double)a[i] - of_a, y = (double)b[i] - of_b;
      aa += x * x, bb += y * y, ab += x * y;
    }
  }
  double z2 = ab * ab / (aa * bb) * (double)k;
  return isfinite(z2) ? z2 : 0;
}

static void add_linear(const tri_gguf *g, int layer, tri_linear linear, double sums[ORDERS]) {
  const tri_gguf_tensor *t = find(g, layer, tri_linear_name(linear)), *norm = find(g, layer, tri_norm_name(norm_before(linear)));
  tri_ternary x;
  tri_error err;
  if (!t || !norm || t->type != TRI_TYPE_I2_S || norm->type != TRI_TYPE_F32 || norm->n_dims != 1 || norm->dims[0] != t->dims[0]) return;
  if (tri_ternary_open(&x, g, t, NULL, 0, &err) != TRI_OK) return;
  int8_t *trits = malloc(TRI_TERNARY_ROWS * x.form.k);
  float *counts = malloc(x.form.k * sizeof *counts);
  for (int o = 0; o < ORDERS && trits && counts; o++) {
    x.form.order = (tri_i2s_order)o;
    if ((o != TRI_I2S_FOURS || x.form.m % 4 == 0) && count(&x, trits, counts))
      sums[o] += relation(counts, (const float *)(const void *)norm->data, x.form.k);
  }
  free(trits), free(counts);
}

bool tri_order_find(const tri_gguf *g, tri_i2s_order *out) {
  double sums[ORDERS] = {0};
  int layers = 0, best = 0;
  while (find(g, layers, tri_linear_name(TRI_Q))) layers++;
  for (int i = 0; i < LAYERS && i < layers; i++)
    for (int l = 0; l < TRI_LINEARS; l++) add_linear(g, i * layers / LAYERS, (tri_linear)l, sums);
  for (int o = 1; o < ORDERS; o++)
    if (sums[o] > sums[best]) best = o;
  bool sure = sums[best] >= LEAST;
  for (int o = 0; o < ORDERS; o++) sure = sure && (o == best || sums[best] >= AHEAD * sums[o]);
  *out = (tri_i2s_order)best;
  return sure;
}

tri_status tri_order_check(const tri_gguf *g, tri_error *err) {
  tri_i2s_order order;
  if (!tri_order_find(g, &order) || order == TRI_I2S_X86) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED,
                         "%s: its I2_S weights are packed %s, and not as x86 has them; make a file of them that is: "
                         "trireme convert %s -o NEW.gguf",
                         tri_gguf_path(g), order == TRI_I2S_ARM ? "as bitnet.cpp does on ARM" : "four rows in a byte", tri_gguf_path(g));
}
