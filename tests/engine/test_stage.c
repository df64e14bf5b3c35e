/* SPDX-License-Identifier: MIT */
/* The forward pass against bitnet.cpp's own numbers for a small random llama, and against itself: rows must not depend on
 * batches, threads or cuts. */
#include "tests/test.h"
#include <stdlib.h>
#include "engine/single.h"
#include "tests/npy.h"

#define DIR TRIREME_FIXTURES "/bitnetcpp-tiny-llama/"
enum { TOKENS = 48, D = 256, VOCAB = 512, LAYERS = 4 };

static int32_t tokens[TOKENS];
static tri_error err;

static int read_tokens(void **state) {
  (void)state;
  FILE *f = fopen(DIR "tokens.txt", "r");
  for (int i = 0; f && i < TOKENS; i++)
    if (fscanf(f, "%d", &tokens[i]) != 1) return -1;
  return f ? fclose(f) : -1;
}

static tri_single open_single(int threads, tri_ftype kv) {
  tri_single s;
  tri_single_options o = {.threads = threads, .kv_type = kv, .slots = 3, .max_rows = 64};
  assert_ok(tri_single_open(&s, DIR "model-i2_s.gguf", &o, &err), err);
  return s;
}

static float layers_seen[LAYERS][TOKENS * D];
static void keep_layer(void *arg, int32_t layer, const float *hidden, int32_t n) {
  (void)arg;
  memcpy(layers_seen[layer], hidden, (size_t)n * D * sizeof *hidden);
}

static void logits_and_layers_match_bitnet_cpp(void **state) {
  (void)state;
  size_t n;
  float *want = npy_load(DIR "logits-i2_s-batch.npy", &n), *layers = npy_load(DIR "layers-i2_s-batch.npy", &n);
  assert_non_null(want);
  assert_int_equal(n, (LAYERS + 1) * TOKENS * D);
  tri_single s = open_single(2, TRI_F16); /* bitnet.cpp's cache is f16 too: position 0 then agrees to the last bits */
  static float got[TOKENS * VOCAB];
  tri_stage_watch(s.stage, keep_layer, NULL);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, got, &err), err);
  double first = largest_difference(got, want, VOCAB), all = relative_rms(got, want, TOKENS * VOCAB);
  print_message("position 0 within %.2e, sequence %.4f relative RMS\n", first, all);
  assert_true(first <= 1e-4);
  assert_true(all <= 0.035);
  for (int i = 0; i < LAYERS; i++) {
    double at0 = largest_difference(layers_seen[i], layers + (size_t)i * TOKENS * D, D);
    double rms = relative_rms(layers_seen[i], layers + (size_t)i * TOKENS * D, TOKENS * D);
    print_message("layer %d: position 0 within %.2e, %.4f relative RMS\n", i, at0, rms);
    assert_true(at0 <= 1e-4);
    assert_true(rms <= 0.035);
  }
  tri_single_close(&s);
  free(want), free(layers);
}

/* The same tokens in one batch, one by one, in uneven chunks, in other slots, on more threads: the same bits. */
static void a_row_depends_on_nothing_beside_it(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  tri_single s = open_single(1, TRI_F16);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, want, &err), err);
  tri_single_close(&s);
  for (int threads = 1; threads <= 5; threads += 2) {
    s = open_single(threads, TRI_F16);
    for (int i = 0, chunk = 1; i < TOKENS; i += chunk, chunk = 1 + (i * 7) % 11) {
      if (chunk > TOKENS - i) chunk = TOKENS - i;
      assert_ok(tri_single_feed_all(&s, threads % 3, i, tokens + i, (size_t)chunk, got + i * VOCAB, &err), err);
    }
    assert_memory_equal(got, want, sizeof want);
    tri_single_close(&s);
  }
}

/* Rows of several sequences in one step: each as if alone. */
static void sequences_share_a_step(void **state) {
  (void)state;
  static float alone[3][TOKENS * D], mixed[3 * 16 * D];
  tri_single s = open_single(2, TRI_F16);
  for (int q = 0; q < 3; q++) {
    tri_row rows[TOKENS];
    for (int i = 0; i < 16; i++) rows[i] = (tri_row){0, i, tokens[(i + q * 5) % TOKENS]};
    tri_stage_run(s.stage, rows, 16, alone[q]);
  }
  tri_row rows[48];
  for (int i = 0; i < 48; i++) rows[i] = (tri_row){i % 3, i / 3, tokens[(i / 3 + (i % 3) * 5) % TOKENS]};
  tri_stage_run(s.stage, rows, 48, mixed);
  for (int i = 0; i < 48; i++) assert_memory_equal(mixed + i * D, alone[i % 3] + i / 3 * D, D * sizeof(float));
  tri_single_close(&s);
}

/* Two stages one after the other are the whole model. */
static void cuts_change_nothing(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB], hidden[TOKENS * D];
  tri_single s = open_single(2, TRI_F16);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, want, &err), err);
  tri_row rows[TOKENS];
  for (int i = 0; i < TOKENS; i++) rows[i] = (tri_row){0, i, tokens[i]};
  for (int cut = 0; cut <= LAYERS; cut++) {
    tri_stage_spec spec = {.first = 0, .last = cut, .embed = true, .slots = 1, .context = 64, .max_rows = 64, .kv_type = TRI_F16};
    tri_stage *a, *b;
    assert_ok(tri_stage_open(&a, s.model, s.kernels, s.pool, &spec, NULL, NULL, &err), err);
    spec.first = cut, spec.last = LAYERS, spec.embed = false, spec.head = true;
    assert_ok(tri_stage_open(&b, s.model, s.kernels, s.pool, &spec, NULL, NULL, &err), err);
    tri_stage_run(a, rows, TOKENS, hidden);
    tri_stage_run(b, rows, TOKENS, hidden);
    tri_stage_logits(b, hidden, TOKENS, got);
    assert_memory_equal(got, want, sizeof want);
    tri_stage_close(&a), tri_stage_close(&b);
  }
  tri_single_close(&s);
}

/* What is foretold is what is held, to the byte. */
static void bytes_are_known_beforehand(void **state) {
  (void)state;
  for (int threads = 1; threads <= 3; threads += 2) {
    tri_single s = open_single(threads, TRI_F16);
    for (int i = 0; i < 32; i++) {
      tri_stage_spec spec = {.first = i & 1, .last = i & 2 ? LAYERS : 1, .embed = !(i & 1), .head = i & 4, .slots = 1 + (i & 3),
                             .context = 100 + 7 * i, .max_rows = 1 + 9 * i, .blocks = i % 3 ? 0 : 1 + i, .kv_type = i & 8 ? TRI_INT8 : TRI_F16,
                             .tune = i & 16 ? &s.tune : NULL};
      tri_stage *stage;
      assert_ok(tri_stage_open(&stage, s.model, s.kernels, s.pool, &spec, NULL, NULL, &err), err);
      assert_int_equal(tri_stage_bytes(stage), tri_stage_need_bytes(s.model, &spec, threads));
      tri_stage_close(&stage);
    }
    tri_single_close(&s);
  }
}

/* Several blocks of positions, of each cache type: the bits don't depend on how many threads share them, nor on the rows in a
 * step; and the loss of precision is the type's. */
static void long_sequences_split_anywhere(void **state) {
  (void)state;
  enum { LONG = 300, ALONE = 6 };
  static int32_t ids[LONG];
  static float full[VOCAB], want[VOCAB], got[VOCAB];
  static const struct {
    tri_ftype type;
    double most;
  } types[] = {{TRI_F32, 0}, {TRI_F16, 0.05}, {TRI_INT8, 0.1}};
  for (int i = 0; i < LONG; i++) ids[i] = tokens[i % TOKENS] ^ i / TOKENS;
  for (size_t t = 0; t < 3; t++) {
    tri_single s = open_single(1, types[t].type);
    assert_ok(tri_single_feed(&s, 0, 0, ids, LONG, want, &err), err);
    tri_single_close(&s);
    if (t == 0) memcpy(full, want, sizeof want);
    print_message("%zu: %.5f relative RMS from F32\n", t, relative_rms(want, full, VOCAB));
    assert_true(relative_rms(want, full, VOCAB) <= types[t].most);
    for (int threads = 2; threads <= 5; threads += 3) {
      s = open_single(threads, types[t].type);
      int at = LONG - ALONE;
      assert_ok(tri_single_feed(&s, 1, 0, ids, (size_t)at, NULL, &err), err);
      for (; at < LONG; at++) assert_ok(tri_single_feed(&s, 1, at, ids + at, 1, got, &err), err);
      assert_memory_equal(got, want, sizeof want);
      tri_single_close(&s);
    }
  }
}

/* Blocks of positions anywhere, given as the sequence grows, and shared by sequences that begin alike: the bits of a cache in one
 * piece. */
static void blocks_may_stand_anywhere(void **state) {
  (void)state;
  enum { SHARED = 2 * TRI_KV_BLOCK, LONG = SHARED + 140, CHUNK = 60, BLOCKS = 9 };
  static const uint32_t tables[2][5] = {{8, 3, 0, 7, 2}, {8, 3, 5, 1, 6}};
  static int32_t ids[2][LONG];
  static float want[2][VOCAB], got[VOCAB];
  for (int i = 0; i < LONG; i++) ids[0][i] = tokens[i % TOKENS] ^ i / TOKENS, ids[1][i] = ids[0][i] ^ (i >= SHARED);
  tri_single s = open_single(2, TRI_INT8);
  for (int q = 0; q < 2; q++) assert_ok(tri_single_feed(&s, q, 0, ids[q], LONG, want[q], &err), err);
  tri_stage_spec spec = *tri_stage_get_spec(s.stage);
  spec.blocks = BLOCKS;
  tri_stage_close(&s.stage);
  assert_ok(tri_stage_open(&s.stage, s.model, s.kernels, s.pool, &spec, NULL, NULL, &err), err);
  for (int q = 0; q < 2; q++) {
    int32_t mapped = 0, at = q ? SHARED : 0;
    if (q) assert_ok(tri_stage_map(s.stage, q, 0, tables[q], mapped = SHARED / TRI_KV_BLOCK, &err), err);
    for (int32_t n; at < LONG; at += n) {
      n = LONG - at < CHUNK ? LONG - at : CHUNK;
      int32_t need = (at + n + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK;
      if (need > mapped) {
        assert_fails(tri_single_feed(&s, q, at, ids[q] + at, (size_t)n, got, &err), TRI_E_INVALID, err, "has no KV block, the first");
        assert_ok(tri_stage_map(s.stage, q, mapped, tables[q] + mapped, need - mapped, &err), err);
        mapped = need;
      }
      assert_ok(tri_single_feed(&s, q, at, ids[q] + at, (size_t)n, got, &err), err);
    }
    assert_memory_equal(got, want[q], sizeof got);
  }
  assert_ok(tri_single_feed(&s, 0, LONG - 1, ids[0] + LONG - 1, 1, got, &err), err); /* the other has changed nothing */
  assert_memory_equal(got, want[0], sizeof got);
  tri_single_close(&s);
}

static void wild_blocks_are_refused(void **state) {
  (void)state;
  tri_single s = open_single(1, TRI_F16);
  const uint32_t blocks[] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, beyond[] = {0, 24};
  static const struct { int32_t slot, first, n; const char *part; } cases[] = {
      {3, 0, 1, "slot 3 of 3"}, {-1, 0, 1, "slot -1"}, {0, 9, 1, "KV block 9 comes after 8"}, {0, -1, 1, "KV block -1"},
      {0, 0, 9, "9 KV blocks from 0 on, the context has 8"}, {0, 8, 1, "1 KV blocks from 8 on"}, {0, 0, -1, "-1 KV blocks"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(tri_stage_map(s.stage, cases[i].slot, cases[i].first, blocks, cases[i].n, &err), TRI_E_INVALID, err, cases[i].part);
  assert_fails(tri_stage_map(s.stage, 0, 0, beyond, 2, &err), TRI_E_INVALID, err, "KV block number 24 of 24");
  assert_ok(tri_single_feed(&s, 0, 511, tokens, 1, NULL, &err), err); /* what is refused changes nothing */
  assert_ok(tri_stage_map(s.stage, 0, 2, blocks, 1, &err), err);      /* and a table ends with what was mapped last */
  assert_fails(tri_single_feed(&s, 0, 192, tokens, 1, NULL, &err), TRI_E_INVALID, err, "position 192 of slot 0 has no KV block, the first 192");
  tri_single_close(&s);
}

static void wild_rows_are_refused(void **state) {
  (void)state;
  tri_single s = open_single(1, TRI_F16);
  static float got[VOCAB];
  int32_t bad[2] = {-1, VOCAB};
  assert_fails(tri_single_feed_all(&s, 0, 0, bad, 1, got, &err), TRI_E_INVALID, err, "token -1");
  assert_fails(tri_single_feed_all(&s, 0, 0, bad + 1, 1, got, &err), TRI_E_INVALID, err, "token 512");
  assert_fails(tri_single_feed_all(&s, 3, 0, tokens, 1, got, &err), TRI_E_INVALID, err, "slot 3");
  assert_fails(tri_single_feed_all(&s, 0, 512, tokens, 1, got, &err), TRI_E_INVALID, err, "position 512");
  assert_fails(tri_single_feed_all(&s, 0, 0, tokens, 65, NULL, &err), TRI_E_INVALID, err, "65 rows");
  tri_single_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(logits_and_layers_match_bitnet_cpp),
                                     cmocka_unit_test(a_row_depends_on_nothing_beside_it), cmocka_unit_test(sequences_share_a_step),
                                     cmocka_unit_test(cuts_change_nothing), cmocka_unit_test(bytes_are_known_beforehand),
                                     cmocka_unit_test(long_sequences_split_anywhere),
                                     cmocka_unit_test(blocks_may_stand_anywhere), cmocka_unit_test(wild_blocks_are_refused),
                                     cmocka_unit_test(wild_rows_are_refused)};
  return cmocka_run_group_tests(tests, read_tokens, NULL);
}
