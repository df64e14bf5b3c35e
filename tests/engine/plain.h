/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_ENGINE_PLAIN_H
#define TRI_TESTS_ENGINE_PLAIN_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A small model whose every weight is a function of name and place, and its forward pass as plainly as it can be said: one
 * token after another, in double, no blocks, no tricks. What the engine makes of a file of it must agree. */

typedef struct plain {
  const char *arch;
  bool sub_norms, relu2, neox, tied, bias;
  bool row_scales;  /* each row of a linear has a scale of its own */
  bool slow_pairs;  /* rope_freqs.weight: the later a pair, the slower it turns */
  double rope_scale;
  int d, layers, heads, kv, hd, ffn, vocab;
} plain;

static const double plain_theta = 1000, plain_eps = 1e-5;

static inline uint64_t plain_noise(const char *name, int layer, size_t i) {
  uint64_t z = 0x9e3779b97f4a7c15u * (i + 1) + 0xd1342543de82ef95u * (uint64_t)(layer + 1);
  for (; *name; name++) z = (z ^ (uint8_t)*name) * 0x100000001b3u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}
/* In (-1, 1), 16 bits: exact in every float type from F32 on. */
static inline float plain_value(const char *name, int layer, size_t i) {
  return (float)((int)(plain_noise(name, layer, i) >> 48) - 32768) / 32768;
}
static inline int plain_trit(const char *name, int layer, size_t i) { return (int)(plain_noise(name, layer, i) >> 40 & 0xffff) % 3 - 1; }
/* 11 bits at most: exact in F16. */
static inline float plain_scale(const plain *p, const char *name, int layer, size_t row) {
  return (float)((plain_noise(name, -2 - layer, p->row_scales ? row : 0) >> 50 & 63) + 64) / 1024;
}
static inline float plain_norm(const char *name, int layer, size_t i) { return 1 + plain_value(name, layer, i) / 4; }
static inline float plain_bias(const char *name, int layer, size_t i) { return plain_value(name, 1000 + layer, i) / 2; }
static inline float plain_factor(const plain *p, int pair) { return p->slow_pairs ? 1 + (float)pair / 4 : 1; }

static inline void plain_rms(const double *x, const char *name, int layer, int n, double *y) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += x[i] * x[i];
  for (int i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / n + plain_eps) * (double)plain_norm(name, layer, (size_t)i);
}

/* INT8 activations of the whole row, then y = scale * (W q) / s + bias. */
static inline void plain_linear(const plain *p, const char *name, int layer, const double *x, int m, int k, double *y) {
  double top = 1e-5;
  for (int i = 0; i < k; i++) top = fmax(top, fabs(x[i]));
  for (int r = 0; r < m; r++) {
    long sum = 0;
    for (int i = 0; i < k; i++)
      sum += plain_trit(name, layer, (size_t)r * (size_t)k + (size_t)i) * (long)fmax(-128, fmin(127, rint(x[i] * 127 / top)));
    y[r] = (double)sum * top / 127 * (double)plain_scale(p, name, layer, (size_t)r);
    if (p->bias) y[r] += (double)plain_bias(name, layer, (size_t)r);
  }
}

static inline void plain_rotate(const plain *p, double *head, int pos) {
  for (int i = 0; i < p->hd / 2; i++) {
    double angle = pos / p->rope_scale * pow(plain_theta, -2.0 * i / p->hd) / (double)plain_factor(p, i);
    double *a = &head[p->neox ? i : 2 * i], *b = &head[p->neox ? i + p->hd / 2 : 2 * i + 1], x = *a, y = *b;
    *a = x * cos(angle) - y * sin(angle), *b = x * sin(angle) + y * cos(angle);
  }
}

/* Keys and values of all positions up to and with pos; one query head. */
static inline void plain_attend(const double *q, const double *keys, const double *values, size_t step, int pos, int hd, double *out) {
  double total = 0, *weight = malloc(((size_t)pos + 1) * sizeof *weight);
  for (int t = 0; t <= pos; t++) {
    double score = 0;
    for (int i = 0; i < hd; i++) score += q[i] * keys[(size_t)t * step + (size_t)i];
    total += weight[t] = exp(score / sqrt(hd));
  }
  for (int i = 0; i < hd; i++) {
    out[i] = 0;
    for (int t = 0; t <= pos; t++) out[i] += weight[t] / total * values[(size_t)t * step + (size_t)i];
  }
  free(weight);
}

typedef struct plain_scratch {
  double *q, *ctx, *normed, *gate, *up, *y;
} plain_scratch;

static inline void plain_layer(const plain *p, int layer, int pos, double *x, double *keys, double *values, const plain_scratch *s) {
  int width = p->heads * p->hd, kv = p->kv * p->hd;
  double *k = keys + (size_t)(pos * kv), *v = values + (size_t)(pos * kv);
  plain_rms(x, "attn_norm", layer, p->d, s->normed);
  plain_linear(p, "attn_q", layer, s->normed, width, p->d, s->q);
  plain_linear(p, "attn_k", layer, s->normed, kv, p->d, k);
  plain_linear(p, "attn_v", layer, s->normed, kv, p->d, v);
  for (int h = 0; h < p->heads; h++) plain_rotate(p, s->q + h * p->hd, pos);
  for (int h = 0; h < p->kv; h++) plain_rotate(p, k + h * p->hd, pos);
  for (int h = 0; h < p->heads; h++) {
    int at = h / (p->heads / p->kv) * p->hd;
    plain_attend(s->q + h * p->hd, keys + at, values + at, (size_t)kv, pos, p->hd, s->ctx + h * p->hd);
  }
  if (p->sub_norms) plain_rms(s->ctx, "attn_sub_norm", layer, width, s->ctx);
  plain_linear(p, "attn_output", layer, s->ctx, p->d, width, s->y);
  for (int i = 0; i < p->d; i++) x[i] += s->y[i];
  plain_rms(x, "ffn_norm", layer, p->d, s->normed);
  plain_linear(p, "ffn_gate", layer, s->normed, p->ffn, p->d, s->gate);
  plain_linear(p, "ffn_up", layer, s->normed, p->ffn, p->d, s->up);
  for (int i = 0; i < p->ffn; i++) {
    double g = s->gate[i];
    s->gate[i] = (p->relu2 ? fmax(g, 0) * fmax(g, 0) : g / (1 + exp(-g))) * s->up[i];
  }
  if (p->sub_norms) plain_rms(s->gate, "ffn_sub_norm", layer, p->ffn, s->gate);
  plain_linear(p, "ffn_down", layer, s->gate, p->d, p->ffn, s->y);
  for (int i = 0; i < p->d; i++) x[i] += s->y[i];
}

static inline const char *plain_head(const plain *p) { return p->tied ? "token_embd" : "output"; }

/* logits [n, vocab] of n tokens */
static inline void plain_run(const plain *p, const int32_t *tokens, int n, float *logits) {
  size_t d = (size_t)p->d, kv = (size_t)(p->kv * p->hd) * (size_t)n, width = (size_t)(p->heads * p->hd), ffn = (size_t)p->ffn;
  double *all = calloc(2 * kv * (size_t)p->layers + 2 * width + 3 * d + 2 * ffn, sizeof *all), *rest = all + 2 * kv * (size_t)p->layers;
  plain_scratch s = {.q = rest, .ctx = rest + width, .normed = rest + 2 * width, .y = rest + 2 * width + d};
  double *x = s.y + d;
  s.gate = x + d, s.up = s.gate + ffn;
  for (int t = 0; t < n; t++) {
    for (size_t i = 0; i < d; i++) x[i] = (double)plain_value("token_embd", 0, (size_t)tokens[t] * d + i);
    for (int l = 0; l < p->layers; l++) plain_layer(p, l, t, x, all + 2 * kv * (size_t)l, all + 2 * kv * (size_t)l + kv, &s);
    plain_rms(x, "output_norm", 0, p->d, s.normed);
    for (size_t r = 0; r < (size_t)p->vocab; r++) {
      double sum = 0;
      for (size_t i = 0; i < d; i++) sum += s.normed[i] * (double)plain_value(plain_head(p), 0, r * d + i);
      logits[(size_t)t * (size_t)p->vocab + r] = (float)sum;
    }
  }
  free(all);
}

#endif
