/* SPDX-License-Identifier: MIT */
/* A model file's logits against those that another program computed with it. Arguments: the model, a text file of token ids,
 * the other program's logits (float32 .npy, [tokens, vocab]), and the most that those of position 0 may be off. */
#include "tests/test.h"
#include <stdlib.h>
#include "engine/sampler.h"
#include "engine/single.h"
#include "tests/npy.h"

enum { MOST_TOKENS = 4096 };

static const char *model_path, *tokens_path, *logits_path;
static double most_first;
static tri_error err;

static size_t read_tokens(int32_t ids[MOST_TOKENS]) {
  size_t n = 0;
  FILE *f = fopen(tokens_path, "r");
  assert_non_null(f);
  while (n < MOST_TOKENS && fscanf(f, "%d", &ids[n]) == 1) n++;
  fclose(f);
  return n;
}

/* Of each token after those before it. */
static double nll(tri_sampler *s, const float *logits, size_t vocab, const int32_t *ids, size_t n) {
  double sum = 0;
  for (size_t i = 0; i + 1 < n; i++) sum -= (double)tri_sampler_logprob(s, logits + i * vocab, ids[i + 1]);
  return sum / (double)(n - 1);
}

static void logits_are_the_other_program_s(void **state) {
  (void)state;
  static int32_t ids[MOST_TOKENS];
  tri_single s;
  tri_sampler *sampler;
  tri_single_options o = {.threads = 2, .kv_type = TRI_F16, .max_rows = 64}; /* bitnet.cpp's cache is f16 */
  size_t n = read_tokens(ids), count = 0;
  float *want = npy_load(logits_path, &count), *got = malloc(count * sizeof *got);
  assert_true(want && got && n > 1);
  assert_ok(tri_single_open(&s, model_path, &o, &err), err);
  size_t vocab = (size_t)tri_model_shape(s.model)->vocab;
  assert_int_equal(count, n * vocab);
  for (size_t i = 0; i < n; i++) assert_true(ids[i] >= 0 && (size_t)ids[i] < vocab);
  assert_ok(tri_single_feed_all(&s, 0, 0, ids, n, got, &err), err);
  assert_ok(tri_sampler_create(&sampler, vocab, s.kernels, &err), err);
  double first = largest_difference(got, want, vocab), most = largest_difference(got, want, count), rms = relative_rms(got, want, count);
  double a = nll(sampler, got, vocab, ids, n), b = nll(sampler, want, vocab, ids, n);
  print_message("logits: position 0 within %.1e, all within %.2g, %.4f relative RMS over %zu\n", first, most, rms, n);
  print_message("NLL %.6f, the reference %.6f: %+.4f %% over %zu\n", a, b, 100 * (a / b - 1), n - 1);
  assert_true(first <= most_first);
  assert_true(rms <= 0.035);
  assert_true(fabs(a / b - 1) <= 1e-2);
  tri_sampler_destroy(&sampler);
  tri_single_close(&s);
  free(want), free(got);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  model_path = argv[1], tokens_path = argv[2], logits_path = argv[3], most_first = atof(argv[4]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(logits_are_the_other_program_s)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
