/* SPDX-License-Identifier: MIT */
/* A trained model against the numbers that another program (transformers, float32) recorded for it in refs.json and
 * logits_N.npy. Arguments: the model made by `trireme convert`, the folder with the references, the validation text. */
#include "tests/test.h"
#include <jansson.h>
#include <stdlib.h>
#include "base/file.h"
#include "engine/sampler.h"
#include "engine/single.h"
#include "tests/npy.h"

static const char *model_path, *folder, *valid_path;
static tri_single single;
static const tri_tokenizer *tokenizer;
static json_t *refs;
static size_t vocab;
static tri_error err;

static int set_up(void **state) {
  (void)state;
  /* the reference keeps keys and values in float32 */
  tri_single_options o = {.threads = 2, .kv_type = TRI_F32, .max_rows = 64};
  char path[512];
  snprintf(path, sizeof path, "%s/refs.json", folder);
  refs = json_load_file(path, JSON_ALLOW_NUL, NULL);
  if (!refs || tri_single_open(&single, model_path, &o, &err) != TRI_OK) return fprintf(stderr, "%s\n", err.text), -1;
  vocab = (size_t)tri_model_shape(single.model)->vocab;
  return tri_model_need_tokenizer(single.model, &tokenizer, &err);
}

static int tear_down(void **state) {
  (void)state;
  tri_single_close(&single);
  json_decref(refs);
  return 0;
}

/* A JSON array of numbers as int32, malloc'ed. */
static int32_t *ids_of(const json_t *array, size_t *n) {
  *n = json_array_size(array);
  int32_t *ids = malloc((*n + 1) * sizeof *ids);
  for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
  return ids;
}

static void assert_encodes(const json_t *item, bool bos) {
  const json_t *text = json_object_get(item, "text");
  size_t n;
  int32_t *want = ids_of(json_object_get(item, "ids"), &n);
  tri_ids got = {0};
  if (bos) assert_int_equal(tri_ids_push(&got, tri_tokenizer_bos(tokenizer)), TRI_OK);
  assert_ok(tri_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), true, &got, &err), err);
  if (got.len != n || (n && memcmp(got.data, want, n * sizeof *want) != 0)) fail_msg("other ids for '%s'", json_string_value(text));
  tri_ids_free(&got);
  free(want);
}

static void every_text_has_the_reference_ids(void **state) {
  (void)state;
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(refs, "tokenizer_vectors"), i, item) assert_encodes(item, false);
  json_array_foreach(json_object_get(refs, "prompts"), i, item) assert_encodes(item, true);
}

static void logits_match(void **state) {
  (void)state;
  json_t *item;
  size_t i;
  json_array_foreach(json_object_get(refs, "prompts"), i, item) {
    const char *file = json_string_value(json_object_get(item, "logits"));
    if (!file) continue;
    char path[512];
    size_t n, count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    float *want = npy_load(path, &count), *got = malloc(count * sizeof *got);
    int32_t *ids = ids_of(json_object_get(item, "ids"), &n);
    assert_int_equal(count, n * vocab);
    assert_ok(tri_single_feed_all(&single, 0, 0, ids, n, got, &err), err);
    double first = largest_difference(got, want, vocab), all = relative_rms(got, want, count);
    double most = largest_difference(got, want, count);
    print_message("logits: position 0 within %.1e, all within %.2g, %.4f relative RMS over %zu\n", first, most, all, n);
    assert_true(first <= 1e-4);
    assert_true(all <= 0.035);
    free(want), free(got), free(ids);
  }
}

static int32_t argmax(const float *x) {
  size_t best = 0;
  for (size_t i = 1; i < vocab; i++)
    if (x[i] > x[best]) best = i;
  return (int32_t)best;
}

/* Fed the reference's own greedy tokens, ours must be the same wherever the reference was not torn between two. */
static void greedy_agrees(void **state) {
  (void)state;
  json_t *item;
  size_t p, same = 0, all = 0;
  float *logits = malloc(vocab * sizeof *logits);
  json_array_foreach(json_object_get(refs, "prompts"), p, item) {
    size_t n, m;
    int32_t *ids = ids_of(json_object_get(item, "ids"), &n), *greedy = ids_of(json_object_get(item, "greedy_ids"), &m);
    const json_t *gaps = json_object_get(item, "top1_top2_gap");
    assert_ok(tri_single_feed(&single, 0, 0, ids, n, logits, &err), err);
    for (size_t i = 0; i < m; i++) {
      bool equal = argmax(logits) == greedy[i];
      double gap = json_real_value(json_array_get(gaps, i));
      if (!equal && gap > 0.25) fail_msg("prompt %zu, token %zu: %d, the reference has %d by %.3f", p, i, argmax(logits), greedy[i], gap);
      same += equal, all++;
      assert_ok(tri_single_feed(&single, 0, (int32_t)(n + i), &greedy[i], 1, logits, &err), err);
    }
    free(ids), free(greedy);
  }
  print_message("greedy tokens equal at %zu of %zu\n", same, all);
  assert_true((double)same >= 0.97 * (double)all);
  free(logits);
}

static void loss_matches(void **state) {
  (void)state;
  if (!valid_path) skip(); /* too slow under a sanitizer */
  const json_t *valid = json_object_get(refs, "valid");
  enum { WINDOW = 512, CHUNK = 64 };
  tri_buf text = {0};
  tri_ids ids = {0};
  tri_sampler *sampler;
  float *logits = malloc(CHUNK * vocab * sizeof *logits);
  assert_ok(tri_file_read(&text, valid_path, 1 << 24, &err), err);
  assert_ok(tri_tokenizer_encode(tokenizer, (char *)text.data, text.len, false, &ids, &err), err);
  assert_int_equal(ids.len, json_integer_value(json_object_get(valid, "tokens")));
  assert_ok(tri_sampler_create(&sampler, vocab, single.kernels, &err), err);
  double nll = 0;
  size_t count = 0;
  for (size_t w = 0; w + WINDOW <= ids.len; w += WINDOW)
    for (size_t i = 0; i < WINDOW - 1; i += CHUNK) {
      size_t rows = WINDOW - 1 - i < CHUNK ? WINDOW - 1 - i : CHUNK;
      assert_ok(tri_single_feed_all(&single, 0, (int32_t)i, ids.data + w + i, rows, logits, &err), err);
      for (size_t r = 0; r < rows; r++, count++) nll -= (double)tri_sampler_logprob(sampler, logits + r * vocab, ids.data[w + i + r + 1]);
    }
  double want = json_real_value(json_object_get(valid, "nll_per_token")), got = nll / (double)count;
  print_message("NLL %.6f, the reference %.6f: %+.4f %% over %zu\n", got, want, 100 * (got / want - 1), count);
  assert_int_equal(count, json_integer_value(json_object_get(valid, "predicted_tokens")));
  assert_true(fabs(got / want - 1) <= 1e-3);
  tri_sampler_destroy(&sampler);
  tri_ids_free(&ids);
  tri_buf_free(&text);
  free(logits);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  model_path = argv[1], folder = argv[2], valid_path = argc > 3 ? argv[3] : NULL;
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_text_has_the_reference_ids), cmocka_unit_test(logits_match),
                                     cmocka_unit_test(greedy_agrees), cmocka_unit_test(loss_matches)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
