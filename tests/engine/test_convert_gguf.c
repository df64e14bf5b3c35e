/* SPDX-License-Identifier: MIT */
/* GGUF to GGUF: every type of linears to every other and back; float linears; embedding and head in other types. */
#include "tests/test.h"

#include <math.h>
#include "engine/convert.h"
#include "engine/single.h"
#include "tests/engine/paths.h"
#include "tests/engine/plain_file.h"
#include "tests/npy.h"

enum { TOKENS = 8, VOCAB = 64 };
#define WIDE                                                                                                                               \
  .arch = "llama", .rope_scale = 1, .tied = true, .d = 256, .layers = 1, .heads = 4, .kv = 2, .hd = 64, .ffn = 512, .vocab = VOCAB

static const uint32_t written[] = {TRI_TYPE_I2_S,  TRI_TYPE_TL1,    TRI_TYPE_TL2,   TRI_TYPE_TQ1_0,
                                   TRI_TYPE_TQ2_0, TRI_TYPE_IQ1_BN, TRI_TYPE_IQ2_BN};
enum { WRITTEN = sizeof written / sizeof *written };

static tri_error err;

static tri_status convert(int from, int to, tri_convert_options o) { return tri_convert_gguf(paths[from], paths[to], &o, &err); }

static tri_gguf *open_file(int i) {
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, paths[i], &err), err);
  return g;
}

static void run(int i, float *logits) {
  int32_t tokens[TOKENS] = {3, 14, 15, 9, 26, 5, 35, 58};
  tri_single s;
  tri_single_options o = {.threads = 2, .kv_type = TRI_F32, .max_rows = 16};
  assert_ok(tri_single_open(&s, paths[i], &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, logits, &err), err);
  tri_single_close(&s);
}

/* From a type through another to a third: the same file as without the way round; and the same logits all the way. With one
 * scale for each matrix, and with scales of rows, which I2_S, TL1 and TL2 get as tensors beside. */
static void every_way_round_ends_at_the_same_bytes(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  for (int rows = 0; rows < 2; rows++) {
    plain_write_file(paths[0], &(plain_file){.p = {WIDE, .row_scales = rows}});
    run(0, want);
    for (size_t i = 0; i < WRITTEN; i++) {
      assert_ok(convert(0, 1, (tri_convert_options){.linear_type = written[i]}), err);
      run(1, got);
      assert_memory_equal(got, want, sizeof want);
      tri_gguf *g = open_file(1);
      assert_true((tri_gguf_find(g, "blk.0.attn_q.scale") != NULL) == (rows && !tri_ternary_has_rows(written[i])));
      uint64_t file_type;
      assert_true(tri_gguf_get_u64(g, "general.file_type", &file_type) && file_type == tri_ternary_file_type(written[i]));
      tri_gguf_close(&g);
      for (size_t k = 0; k < WRITTEN; k++) {
        assert_ok(convert(0, 2, (tri_convert_options){.linear_type = written[k]}), err);
        assert_ok(convert(1, 3, (tri_convert_options){.linear_type = written[k]}), err);
        assert_same_file(paths[2], paths[3]);
      }
    }
  }
}

/* Scales that f16 rounds: llama.cpp's readers get them rounded, ours as they were. */
static void scales_survive_types_that_round_them(void **state) {
  (void)state;
  static const uint32_t halves[] = {TRI_TYPE_TQ1_0, TRI_TYPE_TQ2_0, TRI_TYPE_IQ1_BN};
  tri_convert_options dummy = {.linear_type = TRI_TYPE_I2_S};
  assert_ok(tri_convert_dummy("bitnet-large", paths[0], TRI_TYPE_Q8_0, 1, 0, 7, &dummy, &err), err);
  assert_ok(convert(0, 2, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
  for (size_t i = 0; i < 3; i++) {
    assert_ok(convert(0, 1, (tri_convert_options){.linear_type = halves[i]}), err);
    tri_gguf *g = open_file(1);
    const tri_gguf_kv *kv = tri_gguf_kv_find(g, TRI_TERNARY_SCALES_KEY);
    assert_true(kv && kv->count == 7);
    tri_gguf_close(&g);
    assert_ok(convert(1, 3, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
    assert_same_file(paths[2], paths[3]);
    dummy.linear_type = halves[i];
    assert_ok(tri_convert_dummy("bitnet-large", paths[1], TRI_TYPE_Q8_0, 1, 0, 7, &dummy, &err), err);
    assert_ok(convert(1, 3, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
    assert_same_file(paths[2], paths[3]);
  }
  static const char folder[] = TRIREME_FIXTURES "/story-llama158";
  tri_convert_options o = {.linear_type = TRI_TYPE_I2_S, .embedding_type = TRI_TYPE_BF16};
  assert_ok(tri_convert_hf(folder, paths[1], &o, &err), err);
  assert_ok(convert(1, 2, o), err);
  for (size_t i = 0; i < 3; i++) {
    o.linear_type = halves[i];
    assert_ok(tri_convert_hf(folder, paths[1], &o, &err), err);
    assert_ok(convert(1, 3, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
    assert_same_file(paths[2], paths[3]);
  }
}

static void float_linears_become_ternary_ones(void **state) {
  (void)state;
  static const uint32_t types[] = {TRI_TYPE_F32, TRI_TYPE_F16, TRI_TYPE_BF16};
  for (int rows = 0; rows < 2; rows++) {
    plain_write_file(paths[0], &(plain_file){.p = {WIDE, .row_scales = rows}, .type = TRI_TYPE_TQ2_0});
    assert_ok(convert(0, 2, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
    for (int i = 0; i < 3; i++) {
      plain_write_file(paths[1], &(plain_file){.p = {WIDE, .row_scales = rows}, .type = types[i], .f32 = types[i] == TRI_TYPE_F32});
      assert_ok(convert(1, 3, (tri_convert_options){.linear_type = TRI_TYPE_I2_S, .absmean = true}), err);
      assert_same_file(paths[2], paths[3]);
    }
  }
}

static void master_weights_are_rounded_on_demand(void **state) {
  (void)state;
  static const char q[] = "blk.0.attn_q.weight";
  plain_write_file(paths[0], &(plain_file){.p = {WIDE}, .f32 = true, .noisy = true});
  unlink(paths[1]);
  assert_fails(convert(0, 1, (tri_convert_options){.linear_type = TRI_TYPE_TL2}), TRI_E_UNSUPPORTED, err, "trireme convert --absmean");
  assert_int_equal(access(paths[1], F_OK), -1);
  assert_ok(convert(0, 1, (tri_convert_options){.linear_type = TRI_TYPE_TL2, .absmean = true}), err);
  assert_ok(convert(1, 2, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
  tri_gguf *g = open_file(2);
  tri_ternary x;
  int8_t *trits = malloc(256 * 256);
  double gamma = 0;
  assert_ok(tri_ternary_open(&x, g, tri_gguf_find(g, q), NULL, 0, &err), err);
  assert_true(tri_ternary_rows(&x, 0, 256, trits, NULL));
  for (size_t i = 0; i < 256 * 256; i++) gamma += fabs((double)plain_value("attn_q", 0, i)) / (256 * 256);
  assert_true(fabs((double)x.scale / gamma - 1) < 1e-6);
  for (size_t i = 0; i < 256 * 256; i++)
    assert_int_equal(trits[i], (int)fmax(-1, fmin(1, nearbyint((double)plain_value("attn_q", 0, i) / gamma))));
  free(trits);
  tri_gguf_close(&g);
}

/* A file that was packed in another order holds other weights when read as x86's, and the same when the order is told. */
static void i2_s_of_other_machines_is_read_in_its_order(void **state) {
  (void)state;
  plain_write_file(paths[0], &(plain_file){.p = {WIDE}});
  assert_ok(convert(0, 2, (tri_convert_options){.linear_type = TRI_TYPE_I2_S}), err);
  for (int order = TRI_I2S_ARM; order <= TRI_I2S_FOURS; order++) {
    plain_write_file(paths[1], &(plain_file){.p = {WIDE}, .order = (tri_i2s_order)order});
    assert_ok(convert(1, 3, (tri_convert_options){.linear_type = TRI_TYPE_I2_S, .in_order = &(tri_i2s_order){(tri_i2s_order)order}}), err);
    assert_same_file(paths[2], paths[3]);
  }
}

static void embedding_and_head_change_their_types(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  static const uint32_t types[] = {TRI_TYPE_F16, TRI_TYPE_BF16, TRI_TYPE_Q8_0, TRI_TYPE_Q6_K, TRI_TYPE_F32};
  uint32_t f16 = TRI_TYPE_F16, q8 = TRI_TYPE_Q8_0, q4 = TRI_TYPE_Q4_K;
  for (int tied = 0; tied < 2; tied++) {
    plain p = {WIDE};
    p.tied = tied;
    plain_write_file(paths[0], &(plain_file){.p = p});
    run(0, want);
    for (int i = 0; i < 5; i++) {
      tri_convert_options o = {.linear_type = TRI_TYPE_I2_S, .retype_embedding = true, .embedding_type = types[i], .head_type = &f16};
      assert_ok(convert(0, 1, o), err);
      tri_gguf *g = open_file(1);
      const tri_gguf_tensor *e = tri_gguf_find(g, "token_embd.weight"), *h = tri_gguf_find(g, "output.weight");
      assert_true(e->type == types[i] && (h ? h->type == TRI_TYPE_F16 : tied && types[i] == TRI_TYPE_F16));
      tri_gguf_close(&g);
      run(1, got);
      assert_true(relative_rms(got, want, VOCAB) < (types[i] == TRI_TYPE_Q6_K ? 0.1 : 0.03));
    }
  }
  unlink(paths[1]);
  assert_ok(convert(0, 1, (tri_convert_options){.linear_type = TRI_TYPE_I2_S, .head_type = &q8}), err); /* the embedding as it is */
  tri_gguf *g = open_file(1);
  assert_true(tri_gguf_find(g, "token_embd.weight")->type == TRI_TYPE_F32 && tri_gguf_find(g, "output.weight")->type == TRI_TYPE_Q8_0);
  tri_gguf_close(&g);
  assert_fails(convert(0, 1, (tri_convert_options){.linear_type = TRI_TYPE_I2_S, .head_type = &q4}), TRI_E_INVALID, err,
               "as type 12; F32, F16, BF16, Q8_0 or Q6_K expected");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_way_round_ends_at_the_same_bytes),
      cmocka_unit_test(scales_survive_types_that_round_them),
      cmocka_unit_test(float_linears_become_ternary_ones),
      cmocka_unit_test(master_weights_are_rounded_on_demand),
      cmocka_unit_test(i2_s_of_other_machines_is_read_in_its_order),
      cmocka_unit_test(embedding_and_head_change_their_types),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
