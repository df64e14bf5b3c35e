/* SPDX-License-Identifier: MIT */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Each cut keeps the best of a total order (larger logit first, then lower id), so it comes down to one
 * threshold. Candidates always stand in ascending order of id, and so do all sums: no result depends on how a
 * selection moved things about. */

struct tri_sampler {
  const tri_kernels *k;
  size_t vocab;
  float *logits;   /* [vocab] clean copy, then with the penalty */
  uint64_t *order; /* [vocab] candidates' keys: selection scratch */
  int32_t *ids;    /* [vocab] candidates, ascending */
  double *weights; /* [vocab] by id: exp((logit - max) / temperature) */
};

static tri_status check_range(bool ok, const char *name, double value, const char *range, tri_error *err) {
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_INVALID, "%s is %g; it must be %s", name, value, range);
}

tri_status tri_sampler_check(const tri_sampler_params *p, tri_error *err) {
  tri_status st = check_range(p->temperature >= 0 && p->temperature <= 100, "temperature", p->temperature,
                              "from 0 to 100", err);
  if (st == TRI_OK) st = check_range(p->top_k >= 0, "top_k", p->top_k, "0 (off) or more", err);
  if (st == TRI_OK)
    st = check_range(p->top_p > 0 && p->top_p <= 1, "top_p", p->top_p, "above 0 and at most 1 (off)", err);
  if (st == TRI_OK)
    st = check_range(p->min_p >= 0 && p->min_p <= 1, "min_p", p->min_p, "from 0 (off) to 1", err);
  if (st == TRI_OK)
    st = check_range(p->repeat_penalty >= 0.01f && p->repeat_penalty <= 100, "repeat_penalty",
                     p->repeat_penalty, "from 0.01 to 100 (1 is off)", err);
  if (st == TRI_OK) st = check_range(p->repeat_last >= 0, "repeat_last", p->repeat_last, "0 or more", err);
  return st;
}

tri_status tri_sampler_create(tri_sampler **out, size_t vocab, const tri_kernels *k, tri_error *err) {
  if (!vocab || vocab > INT32_MAX)
    return tri_status_fail(err, TRI_E_INVALID, "a sampler for %zu tokens", vocab);
  tri_sampler *s = calloc(1, sizeof *s);
  if (s) {
    *s = (tri_sampler){.k = k, .vocab = vocab};
    s->logits = malloc(vocab * sizeof *s->logits);
    s->order = malloc(vocab * sizeof *s->order);
    s->ids = malloc(vocab * sizeof *s->ids);
    s->weights = malloc(vocab * sizeof *s->weights);
  }
  if (!s || !s->logits || !s->order || !s->ids || !s->weights) {
    tri_sampler_destroy(&s);
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a sampler of %zu tokens", vocab);
  }
  *out = s;
  return TRI_OK;
}

size_t tri_sampler_bytes(size_t vocab) {
  const tri_sampler *s = NULL;
  return sizeof *s + vocab * (sizeof *s->logits + sizeof *s->order + sizeof *s->ids + sizeof *s->weights);
}

void tri_sampler_destroy(tri_sampler **s) {
  if (!*s) return;
  free((*s)->logits);
  free((*s)->order);
  free((*s)->ids);
  free((*s)->weights);
  free(*s);
  *s = NULL;
}

/* --- logits --- */

static float clean(float logit) { return isnan(logit) ? -INFINITY : logit; }

static void copy_clean(tri_sampler *s, const float *logits) {
  for (size_t i = 0; i < s->vocab; i++) s->logits[i] = clean(logits[i]);
}

/* From the original logit, so that a token that stands in the history twice is penalised once. */
static void penalise(tri_sampler *s, const tri_sampler_params *p, const float *logits, const int32_t *history,
                     size_t n) {
  if (p->repeat_penalty == 1) return;
  size_t last = (size_t)p->repeat_last < n ? (size_t)p->repeat_last : n;
  for (size_t i = n - last; i < n; i++) {
    int32_t id = history[i];
    if (id < 0 || (size_t)id >= s->vocab || isnan(logits[id])) continue;
    s->logits[id] = logits[id] > 0 ? logits[id] / p->repeat_penalty : logits[id] * p->repeat_penalty;
  }
}

static int32_t argmax(const tri_sampler *s) {
  int32_t best = 0;
  float max = s->logits[0];
  for (size_t i = 1; i < s->vocab; i++)
    if (s->logits[i] > max) best = (int32_t)i, max = s->logits[i];
  return best;
}

/* log softmax of a clean logit, given the row's logsumexp */
static float logprob_of(float logit, float total) {
  if (isfinite(total)) return logit - total;
  /* an infinite logit takes all; without any mass nothing is probable */
  return logit == INFINITY ? 0 : -INFINITY;
}

/* --- the order: larger keys are better --- */

static uint64_t key_of(float logit, int32_t id) {
  uint32_t bits;
  logit += 0.0f; /* -0 and 0 are a tie */
  memcpy(&bits, &logit, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 1u << 31;
  return (uint64_t)bits << 32 | (uint32_t)~id;
}
static int32_t id_of(uint64_t key) { return (int32_t) ~(uint32_t)key; }

/* Sift h[i] of a heap of n down; sign 0: largest on top, ~0: smallest on top. */
static void sift_down(uint64_t *h, size_t n, size_t i, uint64_t sign) {
  uint64_t key = h[i];
  for (size_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && (h[child + 1] ^ sign) > (h[child] ^ sign)) child++;
    if ((h[child] ^ sign) <= (key ^ sign)) break;
    h[i] = h[child];
  }
  h[i] = key;
}

static void heapify(uint64_t *h, size_t n, uint64_t sign) {
  for (size_t i = n / 2; i--;) sift_down(h, n, i, sign);
}

/* --- candidates --- */

static size_t keep_from(tri_sampler *s, size_t n, uint64_t threshold) {
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (key_of(s->logits[s->ids[i]], s->ids[i]) >= threshold) s->ids[kept++] = s->ids[i];
  return kept;
}

static size_t cut_top_k(tri_sampler *s, size_t n, size_t k) {
  if (!k || k >= n) return n;
  uint64_t *h = s->order; /* the k best so far, the worst of them on top */
  for (size_t i = 0; i < k; i++) h[i] = key_of(s->logits[s->ids[i]], s->ids[i]);
  heapify(h, k, ~0ull);
  for (size_t i = k; i < n; i++) {
    float logit = s->logits[s->ids[i]];
    if (logit <= s->logits[id_of(h[0])]) continue; /* an equal one has a higher id: candidates ascend */
    h[0] = key_of(logit, s->ids[i]);
    sift_down(h, k, 0, ~0ull);
  }
  return keep_from(s, n, h[0]);
}

static void weigh(tri_sampler *s, size_t n, double temperature) {
  float max = s->logits[s->ids[0]];
  for (size_t i = 1; i < n; i++)
    if (s->logits[s->ids[i]] > max) max = s->logits[s->ids[i]];
  for (size_t i = 0; i < n; i++) {
    float logit = s->logits[s->ids[i]];
    s->weights[s->ids[i]] =
        logit == max ? 1 : exp(((double)logit - max) / temperature); /* max may be infinite */
  }
}

static size_t cut_min_p(tri_sampler *s, size_t n, double min_p) {
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (s->weights[s->ids[i]] >= min_p) s->ids[kept++] = s->ids[i]; /* the largest weight is 1 */
  return kept;
}

static double total_weight(const tri_sampler *s, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += s->weights[s->ids[i]];
  return sum;
}

static size_t cut_top_p(tri_sampler *s, size_t n, double top_p) {
  if (top_p >= 1) return n;
  uint64_t *h = s->order, best = 0;
  for (size_t i = 0; i < n; i++) h[i] = key_of(s->logits[s->ids[i]], s->ids[i]);
  heapify(h, n, 0);
  double target = top_p * total_weight(s, n), sum = 0;
  for (size_t left = n; left && sum < target;) {
    best = h[0];
    sum += s->weights[id_of(best)];
    h[0] = h[--left];
    sift_down(h, left, 0, 0);
  }
  return keep_from(s, n, best);
}

static int32_t draw(const tri_sampler *s, size_t n, double uniform) {
  double target = uniform * total_weight(s, n), sum = 0;
  for (size_t i = 0; i < n; i++) {
    sum += s->weights[s->ids[i]];
    if (sum > target) return s->ids[i];
  }
  return s->ids[n - 1]; /* uniform < 1, so only rounding leads here */
}

/* --- picking --- */

static int32_t pick_random(tri_sampler *s, const tri_sampler_params *p, uint64_t position) {
  size_t n = 0;
  for (size_t i = 0; i < s->vocab; i++)
    if (s->logits[i] > -INFINITY) s->ids[n++] = (int32_t)i;
  if (!n) return 0;
  n = cut_top_k(s, n, (size_t)p->top_k);
  weigh(s, n, p->temperature);
  n = cut_min_p(s, n, p->min_p);
  n = cut_top_p(s, n, p->top_p);
  return draw(s, n, tri_sampler_uniform(p->seed, position));
}

tri_sample tri_sampler_pick(tri_sampler *s, const tri_sampler_params *p, const float *logits,
                            const int32_t *history, size_t n, uint64_t position) {
  copy_clean(s, logits);
  float total = s->k->logsumexp(s->logits, s->vocab);
  penalise(s, p, logits, history, n);
  int32_t token = p->temperature > 0 ? pick_random(s, p, position) : argmax(s);
  return (tri_sample){token, logprob_of(clean(logits[token]), total)};
}

float tri_sampler_logprob(tri_sampler *s, const float *logits, int32_t token) {
  if (token < 0 || (size_t)token >= s->vocab) return -INFINITY;
  copy_clean(s, logits);
  return logprob_of(s->logits[token], s->k->logsumexp(s->logits, s->vocab));
}

/* splitmix64's finaliser (Steele, Lea, Flood 2014) */
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

double tri_sampler_uniform(uint64_t seed, uint64_t position) {
  const uint64_t gamma = 0x9e3779b97f4a7c15u;
  uint64_t x = mix(mix(seed + gamma) + (position + 1) * gamma);
  return (double)(x >> 11) * 0x1p-53;
}
