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
  float *logits;   /* [vocab] clean copy, then with bias and penalties */
  uint64_t *order; /* [vocab] candidates' keys: selection scratch */
  int32_t *ids;    /* [vocab] candidates, ascending; before that, how often a token was there */
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
    st = check_range(p->typical_p >= 0 && p->typical_p <= 1, "typical_p", p->typical_p, "from 0 to 1 (both are off)", err);
  if (st == TRI_OK)
    st = check_range(p->repeat_penalty >= 0.01f && p->repeat_penalty <= 100, "repeat_penalty",
                     p->repeat_penalty, "from 0.01 to 100 (1 is off)", err);
  if (st == TRI_OK)
    st = check_range(fabsf(p->frequency_penalty) <= 100, "frequency_penalty", p->frequency_penalty, "from -100 to 100 (0 is off)", err);
  if (st == TRI_OK)
    st = check_range(fabsf(p->presence_penalty) <= 100, "presence_penalty", p->presence_penalty, "from -100 to 100 (0 is off)", err);
  if (st == TRI_OK) st = check_range(p->repeat_last >= 0, "repeat_last", p->repeat_last, "0 or more", err);
  if (st == TRI_OK && (p->top < 0 || p->top > TRI_SAMPLER_TOP))
    st = tri_status_fail(err, TRI_E_INVALID, "logprobs is %d; it must be from 0 to %d", p->top, TRI_SAMPLER_TOP);
  if (st == TRI_OK && p->n_bias > TRI_SAMPLER_BIASES)
    st = tri_status_fail(err, TRI_E_INVALID, "%u logit biases, more than the limit of %d", p->n_bias, TRI_SAMPLER_BIASES);
  for (uint32_t i = 0; st == TRI_OK && i < p->n_bias; i++)
    st = check_range(p->bias[i] < INFINITY, "a logit bias", p->bias[i], "a number, or -inf", err);
  return st;
}

tri_status tri_sampler_check_tokens(const tri_sampler_params *p, size_t vocab, tri_error *err) {
  for (uint32_t i = 0; i < p->n_bias; i++)
    if (p->bias_tokens[i] < 0 || (size_t)p->bias_tokens[i] >= vocab)
      return tri_status_fail(err, TRI_E_INVALID, "a logit bias for token %d, which is not in the vocabulary of %zu", p->bias_tokens[i],
                             vocab);
  return TRI_OK;
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

static bool has_token(const tri_sampler *s, int32_t id) { return id >= 0 && (size_t)id < s->vocab; }

static void add_bias(tri_sampler *s, const tri_sampler_params *p) {
  for (uint32_t i = 0; i < p->n_bias; i++)
    if (has_token(s, p->bias_tokens[i])) s->logits[p->bias_tokens[i]] = clean(s->logits[p->bias_tokens[i]] + p->bias[i]);
}

static float penalised(const tri_sampler_params *p, float logit, int32_t times) {
  logit = logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
  return logit - (float)times * p->frequency_penalty - p->presence_penalty;
}

/* Each token once, however often it stands in the window. */
static void penalise(tri_sampler *s, const tri_sampler_params *p, const int32_t *history, size_t n) {
  if (p->repeat_penalty == 1 && p->frequency_penalty == 0 && p->presence_penalty == 0) return;
  size_t first = n - ((size_t)p->repeat_last < n ? (size_t)p->repeat_last : n);
  int32_t *times = s->ids;
  for (size_t i = first; i < n; i++)
    if (has_token(s, history[i])) times[history[i]] = 0;
  for (size_t i = first; i < n; i++)
    if (has_token(s, history[i])) times[history[i]]++;
  for (size_t i = first; i < n; i++) {
    int32_t id = history[i];
    if (!has_token(s, id) || !times[id]) continue;
    s->logits[id] = penalised(p, s->logits[id], times[id]);
    times[id] = 0;
  }
}

static void forbid(tri_sampler *s, const uint32_t *allowed) {
  if (!allowed) return;
  for (size_t word = 0; word * 32 < s->vocab; word++)
    for (uint32_t banned = ~allowed[word]; banned; banned &= banned - 1) {
      size_t id = word * 32 + (size_t)__builtin_ctz(banned);
      if (id < s->vocab) s->logits[id] = -INFINITY;
    }
}

static int32_t lowest(const tri_sampler *s, const uint32_t *allowed) {
  if (allowed)
    for (size_t i = 0; i < s->vocab; i++)
      if (allowed[i / 32] >> i % 32 & 1) return (int32_t)i;
  return 0;
}

static int32_t argmax(const tri_sampler *s, int32_t otherwise) {
  int32_t best = otherwise;
  float max = -INFINITY;
  for (size_t i = 0; i < s->vocab; i++)
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

/* The k <= n best candidates in s->order: a heap with the worst of them on top. */
static void gather_best(tri_sampler *s, size_t n, size_t k) {
  uint64_t *h = s->order;
  for (size_t i = 0; i < k; i++) h[i] = key_of(s->logits[s->ids[i]], s->ids[i]);
  heapify(h, k, ~0ull);
  for (size_t i = k; i < n; i++) {
    float logit = s->logits[s->ids[i]];
    if (logit <= s->logits[id_of(h[0])]) continue; /* an equal one has a higher id: candidates ascend */
    h[0] = key_of(logit, s->ids[i]);
    sift_down(h, k, 0, ~0ull);
  }
}

static size_t cut_top_k(tri_sampler *s, size_t n, size_t k) {
  if (!k || k >= n) return n;
  gather_best(s, n, k);
  return keep_from(s, n, s->order[0]);
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

/* The least of the candidates' keys in s->order, taken from the largest down until their weights reach `target`. */
static uint64_t reach(tri_sampler *s, size_t n, double target) {
  uint64_t *h = s->order, best = 0;
  double sum = 0;
  heapify(h, n, 0);
  for (size_t left = n; left && sum < target;) {
    best = h[0];
    sum += s->weights[id_of(best)];
    h[0] = h[--left];
    sift_down(h, left, 0, 0);
  }
  return best;
}

static size_t cut_top_p(tri_sampler *s, size_t n, double top_p) {
  if (top_p >= 1) return n;
  for (size_t i = 0; i < n; i++) s->order[i] = key_of(s->logits[s->ids[i]], s->ids[i]);
  return keep_from(s, n, reach(s, n, top_p * total_weight(s, n)));
}

/* How far a token's information is from the entropy, with the nearest as the largest. With total weight Z, -log p is
 * log Z - log w and the entropy log Z - sum(w log w) / Z, so Z's logarithm cancels. */
static float typicality(double weight, double mean_log) { return -(float)fabs(mean_log - log(weight)); }

static size_t cut_typical(tri_sampler *s, size_t n, double typical_p) {
  if (typical_p <= 0 || typical_p >= 1) return n;
  double total = total_weight(s, n), mean_log = 0;
  for (size_t i = 0; i < n; i++) {
    double w = s->weights[s->ids[i]];
    if (w > 0) mean_log += w / total * log(w);
  }
  for (size_t i = 0; i < n; i++) s->order[i] = key_of(typicality(s->weights[s->ids[i]], mean_log), s->ids[i]);
  uint64_t threshold = reach(s, n, typical_p * total);
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (key_of(typicality(s->weights[s->ids[i]], mean_log), s->ids[i]) >= threshold) s->ids[kept++] = s->ids[i];
  return kept;
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

static size_t gather_possible(tri_sampler *s) {
  size_t n = 0;
  for (size_t i = 0; i < s->vocab; i++)
    if (s->logits[i] > -INFINITY) s->ids[n++] = (int32_t)i;
  return n;
}

static int32_t pick_random(tri_sampler *s, const tri_sampler_params *p, int32_t otherwise, uint64_t position) {
  size_t n = gather_possible(s);
  if (!n) return otherwise;
  n = cut_top_k(s, n, (size_t)p->top_k);
  weigh(s, n, p->temperature);
  n = cut_min_p(s, n, p->min_p);
  n = cut_typical(s, n, p->typical_p);
  n = cut_top_p(s, n, p->top_p);
  return draw(s, n, tri_sampler_uniform(p->seed, position));
}

tri_sample tri_sampler_pick(tri_sampler *s, const tri_sampler_params *p, const uint32_t *allowed, const float *logits,
                            const int32_t *history, size_t n, uint64_t position) {
  copy_clean(s, logits);
  float total = s->k->logsumexp(s->logits, s->vocab);
  add_bias(s, p);
  penalise(s, p, history, n);
  forbid(s, allowed);
  int32_t otherwise = lowest(s, allowed);
  int32_t token = p->temperature > 0 ? pick_random(s, p, otherwise, position) : argmax(s, otherwise);
  return (tri_sample){token, logprob_of(clean(logits[token]), total)};
}

void tri_sampler_top(tri_sampler *s, const float *logits, size_t n, tri_sample *out) {
  if (!n) return;
  copy_clean(s, logits);
  float total = s->k->logsumexp(s->logits, s->vocab);
  for (size_t i = 0; i < s->vocab; i++) s->ids[i] = (int32_t)i;
  gather_best(s, s->vocab, n);
  for (size_t left = n; left--;) {
    int32_t id = id_of(s->order[0]); /* the worst of those left */
    out[left] = (tri_sample){id, logprob_of(s->logits[id], total)};
    s->order[0] = s->order[left];
    sift_down(s->order, left, 0, ~0ull);
  }
}

float tri_sampler_logprob(tri_sampler *s, const float *logits, int32_t token) {
  if (!has_token(s, token)) return -INFINITY;
  copy_clean(s, logits);
  return logprob_of(s->logits[token], s->k->logsumexp(s->logits, s->vocab));
}

bool tri_sampler_holds(const int32_t *tokens, size_t n, int32_t token) {
  for (size_t i = 0; i < n; i++)
    if (tokens[i] == token) return true;
  return false;
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
