/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "engine/sampler.h"

static tri_error err;
static const tri_kernels *kernels;
static const tri_sampler_params off = {
    .temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .repeat_last = 64, .seed = 9};

static int pick_kernels(void **state) {
  (void)state;
  kernels = tri_kernels_get(TRI_ISA_PORTABLE);
  return kernels ? 0 : -1;
}

static tri_sampler *sampler_of(size_t vocab) {
  tri_sampler *s;
  assert_ok(tri_sampler_create(&s, vocab, kernels, &err), err);
  return s;
}

/* Roughly normal logits, some of them equal. */
static void random_logits(uint64_t *seed, float *z, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double sum = 0;
    for (int k = 0; k < 4; k++) sum += (double)(test_random(seed) >> 11) * 0x1p-53 - 0.5;
    z[i] = (float)(sum * 6);
    if (test_random(seed) >> 62 == 0) z[i] = roundf(z[i]);
  }
}

/* --- the plain way: sort everything, cut, renormalise --- */

typedef struct item {
  int32_t id;
  float z;
  double p;
  float far; /* from typical */
} item;

static int larger_first(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->z != y->z) return x->z > y->z ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

static int nearest_first(const void *a, const void *b) {
  const item *x = a, *y = b;
  if (x->far != y->far) return x->far < y->far ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

static size_t fewest_that_reach(const item *items, size_t kept, double share) {
  double sum = 0, reached = 0;
  size_t fewest = 0;
  for (size_t i = 0; i < kept; i++) sum += items[i].p;
  while (fewest < kept && reached < share * sum) reached += items[fewest++].p;
  return fewest;
}

static size_t plain_typical(item *items, size_t kept, double typical_p) {
  double sum = 0, entropy = 0;
  for (size_t i = 0; i < kept; i++) sum += items[i].p;
  for (size_t i = 0; i < kept; i++) entropy -= items[i].p > 0 ? items[i].p / sum * log(items[i].p / sum) : 0;
  for (size_t i = 0; i < kept; i++) items[i].far = (float)fabs(-log(items[i].p / sum) - entropy);
  qsort(items, kept, sizeof *items, nearest_first);
  kept = fewest_that_reach(items, kept, typical_p);
  qsort(items, kept, sizeof *items, larger_first);
  return kept;
}

static bool is_set(const uint32_t *allowed, size_t i) { return !allowed || (allowed[i / 32] >> i % 32 & 1); }

/* probs [n] of every token after all cuts */
static void plain_probs(const tri_sampler_params *p, const uint32_t *allowed, const float *logits, size_t n, const int32_t *history,
                        size_t n_history, double *probs) {
  item *items = malloc(n * sizeof *items);
  assert_non_null(items);
  for (size_t i = 0; i < n; i++) {
    items[i] = (item){(int32_t)i, isnan(logits[i]) ? -INFINITY : logits[i], 0, 0};
    for (uint32_t k = 0; k < p->n_bias; k++)
      if (p->bias_tokens[k] == (int32_t)i) items[i].z += p->bias[k];
    int times = 0;
    for (size_t k = 0; k < n_history; k++) times += history[n_history - 1 - k] == (int32_t)i && k < (size_t)p->repeat_last;
    if (times) items[i].z = items[i].z > 0 ? items[i].z / p->repeat_penalty : items[i].z * p->repeat_penalty;
    if (times) items[i].z = items[i].z - (float)times * p->frequency_penalty - p->presence_penalty;
    if (!is_set(allowed, i)) items[i].z = -INFINITY;
  }
  qsort(items, n, sizeof *items, larger_first);
  size_t kept = p->top_k && (size_t)p->top_k < n ? (size_t)p->top_k : n;
  while (kept > 1 && items[kept - 1].z == -INFINITY) kept--;
  for (size_t i = 0; i < kept; i++) items[i].p = exp(((double)items[i].z - items[0].z) / p->temperature);
  while (kept > 1 && items[kept - 1].p < p->min_p) kept--;
  if (p->typical_p > 0 && p->typical_p < 1) kept = plain_typical(items, kept, p->typical_p);
  if (p->top_p < 1) kept = fewest_that_reach(items, kept, p->top_p);
  double sum = 0;
  for (size_t i = 0; i < kept; i++) sum += items[i].p;
  for (size_t i = 0; i < n; i++) probs[items[i].id] = 0;
  for (size_t i = 0; i < kept; i++) probs[items[i].id] = items[i].p / sum;
  free(items);
}

/* The draw in ascending order of id, as the sampler's own contract has it. */
static int32_t plain_draw(const double *probs, size_t n, double u) {
  double sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < n; i++) {
    sum += probs[i];
    if (probs[i] > 0) last = (int32_t)i;
    if (sum > u) return (int32_t)i;
  }
  return last;
}

static void random_bias(uint64_t *seed, tri_sampler_params *p, int vocab) {
  p->n_bias = 20;
  for (uint32_t i = 0; i < p->n_bias; i++) {
    p->bias_tokens[i] = (int32_t)(test_random(seed) % (uint64_t)vocab);
    p->bias[i] = test_random(seed) >> 62 ? (float)(test_random(seed) >> 40 & 255) / 64 - 2 : -INFINITY;
  }
}

static void cuts_are_those_of_the_plain_way(void **state) {
  (void)state;
  enum { V = 300 };
  uint64_t seed = 31337;
  tri_sampler *s = sampler_of(V);
  float z[V];
  double probs[V];
  int32_t history[50];
  uint32_t allowed[V / 32 + 1];
  for (int round = 0; round < 3000; round++) {
    random_logits(&seed, z, V);
    for (int i = 0; i < 50; i++) history[i] = (int32_t)(test_random(&seed) % (V + 4)) - 2;
    tri_sampler_params p = off;
    uint64_t r = test_random(&seed);
    if (r & 1) p.top_k = 1 + (int32_t)((r >> 8 & 63) * (r & 64 ? 1 : 6));
    if (r & 2) p.top_p = 0.05f + 0.9f * (float)(r >> 40 & 255) / 255;
    if (r & 4) p.min_p = 0.3f * (float)(r >> 48 & 255) / 255;
    if (r & 8) p.repeat_penalty = r & 128 ? 1.3f : 0.8f, p.repeat_last = (int32_t)(r >> 32 & 63);
    if (r & 16) p.temperature = 0.1f + 2 * (float)(r >> 56) / 255;
    uint64_t more = test_random(&seed);
    if (more & 1) p.frequency_penalty = 0.5f, p.presence_penalty = -0.25f, p.repeat_last = (int32_t)(r >> 32 & 63);
    if (more & 2) p.typical_p = 0.1f + 0.8f * (float)(more >> 8 & 255) / 255;
    if (more & 4) random_bias(&seed, &p, V);
    for (int i = 0; i < V / 32 + 1; i++) allowed[i] = (uint32_t)test_random(&seed) & (uint32_t)test_random(&seed);
    const uint32_t *mask = more & 8 ? allowed : NULL;
    plain_probs(&p, mask, z, V, history, 50, probs);
    for (uint64_t position = 0; position < 20; position++) {
      tri_sample got = tri_sampler_pick(s, &p, mask, z, history, 50, position);
      if (probs[got.token] <= 0) fail_msg("round %d: token %d was cut", round, got.token);
      int32_t want = plain_draw(probs, V, tri_sampler_uniform(p.seed, position));
      if (got.token != want)
        fail_msg("round %d position %d: token %d, not %d", round, (int)position, got.token, want);
      assert_int_equal(tri_sampler_pick(s, &p, mask, z, history, 50, position).token, got.token); /* a replay */
    }
  }
  tri_sampler_destroy(&s);
  assert_null(s);
}

static void greedy_is_the_largest_with_the_lowest_id(void **state) {
  (void)state;
  float z[6] = {-1, 3, NAN, 3, -INFINITY, 2};
  tri_sampler *s = sampler_of(6);
  tri_sampler_params p = off;
  p.temperature = 0;
  tri_sample got = tri_sampler_pick(s, &p, NULL, z, NULL, 0, 0);
  assert_int_equal(got.token, 1);
  double want = 3 - log(exp(-1) + 2 * exp(3) + exp(2));
  assert_true(fabs(got.logprob - want) < 1e-5);
  p.repeat_penalty = 2;
  assert_int_equal(tri_sampler_pick(s, &p, NULL, z, (const int32_t[]){1, 1, 3, -5, 99}, 5, 0).token, 5);
  p.repeat_last = 3; /* only the 3 is seen, and two that are no tokens */
  assert_int_equal(tri_sampler_pick(s, &p, NULL, z, (const int32_t[]){1, 1, 3, -5, 99}, 5, 0).token, 1);
  tri_sampler_destroy(&s);
}

static void strange_logits_have_a_meaning(void **state) {
  (void)state;
  tri_sampler *s = sampler_of(4);
  tri_sampler_params p = off, greedy = off;
  greedy.temperature = 0;
  const float none[4] = {NAN, -INFINITY, NAN, -INFINITY}, one[4] = {-INFINITY, NAN, -7, -INFINITY},
              inf[4] = {FLT_MAX, -0.0f, INFINITY, 0}, zeros[4] = {-0.0f, 0, -0.0f, 0};
  for (uint64_t position = 0; position < 50; position++) {
    assert_int_equal(tri_sampler_pick(s, &p, NULL, none, NULL, 0, position).token, 0);
    assert_int_equal(tri_sampler_pick(s, &p, NULL, one, NULL, 0, position).token, 2);
    assert_int_equal(tri_sampler_pick(s, &p, NULL, inf, NULL, 0, position).token, 2);
  }
  assert_int_equal(tri_sampler_pick(s, &greedy, NULL, none, NULL, 0, 0).token, 0);
  assert_true(tri_sampler_pick(s, &greedy, NULL, none, NULL, 0, 0).logprob == -INFINITY);
  assert_true(tri_sampler_pick(s, &greedy, NULL, inf, NULL, 0, 0).logprob == 0);
  assert_true(tri_sampler_pick(s, &greedy, NULL, one, NULL, 0, 0).logprob == 0);
  p.top_k = 2; /* -0 and 0 are equal, so ids 0 and 1 stay */
  for (uint64_t position = 0; position < 50; position++)
    assert_true(tri_sampler_pick(s, &p, NULL, zeros, NULL, 0, position).token < 2);
  assert_true(tri_sampler_logprob(s, one, -1) == -INFINITY);
  assert_true(tri_sampler_logprob(s, one, 4) == -INFINITY);
  assert_true(tri_sampler_logprob(s, one, 1) == -INFINITY);
  tri_sampler_destroy(&s);
}

static void draws_follow_the_probabilities(void **state) {
  (void)state;
  enum { V = 40, DRAWS = 200000 };
  uint64_t seed = 5;
  float z[V];
  double probs[V];
  int counts[V] = {0};
  random_logits(&seed, z, V);
  tri_sampler *s = sampler_of(V);
  tri_sampler_params p = off;
  p.temperature = 2.5f, p.top_k = 30, p.top_p = 0.97f, p.seed = 20240229;
  plain_probs(&p, NULL, z, V, NULL, 0, probs);
  for (uint64_t i = 0; i < DRAWS; i++) counts[tri_sampler_pick(s, &p, NULL, z, NULL, 0, i).token]++;
  double chi2 = 0;
  int cells = 0;
  for (int i = 0; i < V; i++) {
    if (probs[i] <= 0) {
      assert_int_equal(counts[i], 0);
      continue;
    }
    double want = probs[i] * DRAWS;
    chi2 += (counts[i] - want) * (counts[i] - want) / want, cells++;
  }
  /* chi-square with f degrees of freedom has mean f and variance 2f; the seed is fixed, so this is no game of
   * chance */
  double f = cells - 1;
  assert_true(cells > 10);
  assert_true(chi2 < f + 4 * sqrt(2 * f));
  tri_sampler_destroy(&s);
}

static void uniform_is_uniform_and_stays_what_it_is(void **state) {
  (void)state;
  enum { N = 100000 };
  /* Written down once: a job replayed by a later version must go on with the same tokens. */
  assert_true(tri_sampler_uniform(0, 0) == 0x1.4e0dba5e9a32fp-1);
  assert_true(tri_sampler_uniform(42, 7) == 0x1.782d47a99890cp-1);
  assert_true(tri_sampler_uniform(UINT64_MAX, UINT64_MAX) == 0x1.1140638c16042p-2);
  int ones[53] = {0};
  double sum = 0, products = 0, last = 0.5;
  for (uint64_t i = 0; i < N; i++) {
    double u = i % 2 ? tri_sampler_uniform(i / 2, 3)
                     : tri_sampler_uniform(3, i / 2); /* neighbours in both arguments */
    assert_true(u >= 0 && u < 1);
    sum += u, products += (u - 0.5) * (last - 0.5), last = u;
    uint64_t bits = (uint64_t)(u * 0x1p53);
    for (int b = 0; b < 53; b++) ones[b] += bits >> b & 1;
  }
  double sd = sqrt(N) / 2;
  for (int b = 0; b < 53; b++) assert_true(fabs(ones[b] - N / 2.0) < 4.5 * sd);
  assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1 / 12.0 / N));
  assert_true(fabs(products / N) < 5 / 12.0 / sqrt(N));
}

static void only_what_is_allowed_comes_even_without_probability(void **state) {
  (void)state;
  tri_sampler *s = sampler_of(70);
  float z[70];
  for (int i = 0; i < 70; i++) z[i] = i < 40 ? 5 : -INFINITY;
  const uint32_t allowed[3] = {0, 1u << 20 | 1u << 31, 1u << 3};
  tri_sampler_params p = off;
  p.temperature = 0;
  assert_int_equal(tri_sampler_pick(s, &p, allowed, z, NULL, 0, 0).token, 52);
  assert_int_equal(tri_sampler_pick(s, &off, allowed, z, NULL, 0, 0).token, 52);
  z[67] = -1e30f;
  assert_int_equal(tri_sampler_pick(s, &p, allowed, z, NULL, 0, 0).token, 67);
  assert_int_equal(tri_sampler_pick(s, &off, allowed, z, NULL, 0, 0).token, 67);
  tri_sampler_destroy(&s);
}

static void top_is_sorted_log_softmax(void **state) {
  (void)state;
  enum { V = 500, N = TRI_SAMPLER_TOP };
  uint64_t seed = 4711;
  float z[V];
  item items[V];
  tri_sample top[N];
  tri_sampler *s = sampler_of(V);
  for (int round = 0; round < 100; round++) {
    double sum = 0;
    random_logits(&seed, z, V); /* with ties */
    for (int i = 0; i < V; i++) items[i] = (item){.id = i, .z = z[i]}, sum += exp(z[i]);
    qsort(items, V, sizeof *items, larger_first);
    size_t n = test_random(&seed) % (N + 1);
    tri_sampler_top(s, z, n, top);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(top[i].token, items[i].id);
      assert_true(fabs(top[i].logprob - (items[i].z - log(sum))) < 1e-4);
    }
  }
  tri_sampler_destroy(&s);
}

static void logprob_is_log_softmax(void **state) {
  (void)state;
  enum { V = 1000 };
  uint64_t seed = 8;
  float z[V];
  random_logits(&seed, z, V);
  z[17] = NAN;
  double sum = 0;
  for (int i = 0; i < V; i++) sum += isnan(z[i]) ? 0 : exp(z[i]);
  tri_sampler *s = sampler_of(V);
  for (int i = 0; i < V; i++)
    if (i != 17) assert_true(fabs(tri_sampler_logprob(s, z, i) - (z[i] - log(sum))) < 1e-4);
  tri_sampler_params p = off;
  p.temperature = 0.5f, p.top_k = 3, p.repeat_penalty = 1.5f; /* none of them shows in it */
  tri_sample got = tri_sampler_pick(s, &p, NULL, z, (const int32_t[]){1, 2}, 2, 11);
  assert_true(got.logprob == tri_sampler_logprob(s, z, got.token));
  tri_sampler_destroy(&s);
}

static void parameters_have_ranges(void **state) {
  (void)state;
  tri_sampler_params p = TRI_SAMPLER_DEFAULTS;
  assert_ok(tri_sampler_check(&p, &err), err);
  assert_ok(tri_sampler_check(&off, &err), err);
#define REFUSES(field, value)                                                                                \
  do {                                                                                                       \
    p = off, p.field = value;                                                                                \
    assert_fails(tri_sampler_check(&p, &err), TRI_E_INVALID, err, #field);                                   \
  } while (0)
  REFUSES(temperature, -0.1f);
  REFUSES(temperature, NAN);
  REFUSES(temperature, INFINITY);
  REFUSES(top_k, -1);
  REFUSES(top_p, 0);
  REFUSES(top_p, 1.01f);
  REFUSES(min_p, -0.5f);
  REFUSES(min_p, NAN);
  REFUSES(repeat_penalty, 0);
  REFUSES(repeat_penalty, NAN);
  REFUSES(repeat_last, -1);
  REFUSES(typical_p, 1.5f);
  REFUSES(frequency_penalty, NAN);
  REFUSES(presence_penalty, -INFINITY);
  p = off, p.top = TRI_SAMPLER_TOP + 1;
  assert_fails(tri_sampler_check(&p, &err), TRI_E_INVALID, err, "logprobs");
  p = off, p.n_bias = TRI_SAMPLER_BIASES + 1;
  assert_fails(tri_sampler_check(&p, &err), TRI_E_INVALID, err, "logit biases");
  p = off, p.n_bias = 2, p.bias_tokens[1] = 300, p.bias[1] = INFINITY;
  assert_fails(tri_sampler_check(&p, &err), TRI_E_INVALID, err, "a logit bias");
  p.bias[1] = -INFINITY;
  assert_ok(tri_sampler_check(&p, &err), err);
  assert_ok(tri_sampler_check_tokens(&p, 301, &err), err);
  assert_fails(tri_sampler_check_tokens(&p, 300, &err), TRI_E_INVALID, err, "token 300");
  tri_sampler *s = NULL;
  assert_fails(tri_sampler_create(&s, 0, kernels, &err), TRI_E_INVALID, err, "0 tokens");
  assert_null(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cuts_are_those_of_the_plain_way),
      cmocka_unit_test(greedy_is_the_largest_with_the_lowest_id),
      cmocka_unit_test(strange_logits_have_a_meaning),
      cmocka_unit_test(draws_follow_the_probabilities),
      cmocka_unit_test(uniform_is_uniform_and_stays_what_it_is),
      cmocka_unit_test(only_what_is_allowed_comes_even_without_probability),
      cmocka_unit_test(top_is_sorted_log_softmax),
      cmocka_unit_test(logprob_is_log_softmax),
      cmocka_unit_test(parameters_have_ranges),
  };
  return cmocka_run_group_tests(tests, pick_kernels, NULL);
}
