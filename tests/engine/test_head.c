/* SPDX-License-Identifier: MIT */
/* Types of the embedding and the head: a small trained model converted with each, against the one in float32. */
#include "tests/test.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/convert.h"
#include "engine/single.h"

enum { TOKENS = 24 };

static char paths[2][64] = {"/tmp/trireme-head-f32-XXXXXX", "/tmp/trireme-head-XXXXXX"};
static tri_error err;
static int32_t tokens[TOKENS];
static size_t vocab;
static float *want; /* [TOKENS, vocab] of the model in float32 */

static void convert(const char *path, uint32_t embedding, const uint32_t *head) {
  tri_convert_options o = {.embedding_type = embedding, .head_type = head, .linear_type = TRI_TYPE_I2_S};
  assert_ok(tri_convert_hf(TRIREME_FIXTURES "/story-llama158", path, &o, &err), err);
}

static tri_single open_single(const char *path, int threads) {
  tri_single s;
  tri_single_options o = {.threads = threads, .kv_type = TRI_F32, .context = 64, .max_rows = 64};
  assert_ok(tri_single_open(&s, path, &o, &err), err);
  return s;
}

static int set_up(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) close(mkstemp(paths[i]));
  convert(paths[0], TRI_TYPE_F32, NULL);
  tri_single s = open_single(paths[0], 1);
  vocab = (size_t)tri_model_shape(s.model)->vocab;
  for (int i = 0; i < TOKENS; i++) tokens[i] = (int32_t)((size_t)(i * 37 + 5) % vocab);
  want = malloc(TOKENS * vocab * sizeof *want);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, want, &err), err);
  tri_single_close(&s);
  return want ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) unlink(paths[i]);
  free(want);
  return 0;
}

/* Logits as in float32 but for rounding, on any number of threads, in a batch and one by one the same. */
static void check(double most) {
  float *got = malloc(TOKENS * vocab * sizeof *got), *one = malloc(vocab * sizeof *one);
  double off = 0, size = 0;
  assert_true(got && one);
  tri_single s = open_single(paths[1], 1);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, got, &err), err);
  tri_single_close(&s);
  s = open_single(paths[1], 3);
  for (int i = 0; i < TOKENS; i++) {
    assert_ok(tri_single_feed(&s, 0, i, tokens + i, 1, one, &err), err);
    assert_memory_equal(one, got + (size_t)i * vocab, vocab * sizeof *one);
  }
  tri_single_close(&s);
  for (size_t i = 0; i < TOKENS * vocab; i++)
    off += (double)(got[i] - want[i]) * (double)(got[i] - want[i]), size += (double)want[i] * (double)want[i];
  print_message("relative RMS %.5f\n", sqrt(off / size));
  assert_true(sqrt(off / size) < most);
  free(got), free(one);
}

static uint32_t type_of(const char *name) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, paths[1], &err), err);
  const tri_gguf_tensor *t = tri_gguf_find(g, name);
  uint32_t type = t ? t->type : UINT32_MAX;
  tri_gguf_close(&g);
  return type;
}

static void both_in_one_type(void **state) {
  (void)state;
  static const struct { uint32_t type; double most; } types[] = {
      {TRI_TYPE_F16, 0.002}, {TRI_TYPE_BF16, 0.01}, {TRI_TYPE_Q8_0, 0.02}, {TRI_TYPE_Q6_K, 0.06}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    convert(paths[1], types[i].type, NULL);
    assert_int_equal(type_of("token_embd.weight"), types[i].type);
    check(types[i].most);
  }
}

/* A tied model whose head has a type of its own gets a second tensor with the embedding's values. */
static void a_head_of_its_own(void **state) {
  (void)state;
  uint32_t head = TRI_TYPE_Q6_K;
  convert(paths[1], TRI_TYPE_F32, &head);
  assert_int_equal(type_of("token_embd.weight"), TRI_TYPE_F32);
  assert_int_equal(type_of("output.weight"), TRI_TYPE_Q6_K);
  check(0.03);
  head = TRI_TYPE_F32;
  convert(paths[1], TRI_TYPE_F32, &head);
  check(1e-30);
}

/* A dummy's tensors don't depend on whether its head stands apart; a row that isn't whole blocks is refused. */
static void dummies(void **state) {
  (void)state;
  uint32_t head = TRI_TYPE_Q8_0;
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S, .head_type = &head};
  assert_fails(tri_convert_dummy("bitnet-3b", paths[1], TRI_TYPE_Q6_K, 1, 0, 3, NULL, &err), TRI_E_UNSUPPORTED, err, "multiples of 256");
  assert_ok(tri_convert_dummy("bitnet-3b", paths[1], TRI_TYPE_F16, 1, 0, 3, &o, &err), err);
  tri_gguf *apart, *tied;
  assert_ok(tri_gguf_open(&apart, paths[1], &err), err);
  assert_ok(tri_convert_dummy("bitnet-3b", paths[1], TRI_TYPE_Q8_0, 1, 0, 3, NULL, &err), err);
  assert_ok(tri_gguf_open(&tied, paths[1], &err), err);
  assert_int_equal(tri_gguf_tensor_count(apart), tri_gguf_tensor_count(tied) + 1);
  for (size_t i = 0; i < tri_gguf_tensor_count(tied); i++) {
    const tri_gguf_tensor *a = tri_gguf_tensor_at(tied, i), *b = tri_gguf_tensor_at(apart, i == 0 ? 2 : i == 1 ? 1 : i + 1);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
  }
  tri_gguf_close(&apart), tri_gguf_close(&tied);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(both_in_one_type), cmocka_unit_test(a_head_of_its_own), cmocka_unit_test(dummies)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
