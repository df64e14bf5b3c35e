/* SPDX-License-Identifier: MIT */
/* Small models of every family, written to files here, run by the engine and by the plain forward pass of plain.h; and what a
 * file may not hold. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/single.h"
#include "tests/engine/plain_file.h"
#include "tests/npy.h"

enum { TOKENS = 12, VOCAB = 64 };

static char path[64];
static tri_error err;

static int make_path(void **state) {
  (void)state;
  strcpy(path, "/tmp/trireme-model-XXXXXX");
  int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}
static int remove_path(void **state) {
  (void)state;
  return unlink(path);
}

/* --- running --- */

#define SIZES .d = 128, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 256, .vocab = VOCAB
#define LLAMA .arch = "llama", .rope_scale = 1, SIZES
#define WIDE                                                                                                                               \
  .arch = "llama", .rope_scale = 1, .tied = true, .d = 256, .layers = 2, .heads = 4, .kv = 2, .hd = 64, .ffn = 512, .vocab = VOCAB
#define BITNET .sub_norms = true, .neox = true, .rope_scale = 1, SIZES

static const plain families[] = {
    {LLAMA},
    {LLAMA, .tied = true, .bias = true},
    {LLAMA, .slow_pairs = true},
    {LLAMA, .row_scales = true, .bias = true},
    {.arch = "llama", .rope_scale = 4, SIZES},
    {.arch = "llama", .rope_scale = 2, .slow_pairs = true, .bias = true, SIZES},
    {BITNET, .tied = true, .arch = "bitnet"},
    {BITNET, .tied = true, .relu2 = true, .arch = "bitnet-b1.58"},
    {BITNET, .relu2 = true, .bias = true, .arch = "bitnet-25"},
};
enum { FAMILIES = sizeof families / sizeof *families };

static void run(const char *file_path, float *logits, const int32_t *tokens) {
  tri_single s;
  tri_single_options o = {.threads = 2, .kv_type = TRI_F32, .max_rows = 16};
  assert_ok(tri_single_open(&s, file_path, &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, tokens, TOKENS, logits, &err), err);
  assert_int_equal(tri_stage_bytes(s.stage), tri_stage_need_bytes(s.model, tri_stage_get_spec(s.stage), 2));
  tri_single_close(&s);
}

static void pick_tokens(int32_t tokens[TOKENS]) {
  for (int i = 0; i < TOKENS; i++) tokens[i] = (i * 29 + 7) % VOCAB;
}

/* No INT8 rounding falls to the other side with these numbers: one that did would be worth 1e-3. */
static void families_run_as_the_plain_forward_pass_does(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  int32_t tokens[TOKENS];
  pick_tokens(tokens);
  for (size_t i = 0; i < FAMILIES; i++) {
    plain_write_file(path, &(plain_file){.p = families[i]});
    run(path, got, tokens);
    plain_run(&families[i], tokens, TOKENS, want);
    double all = relative_rms(got, want, TOKENS * VOCAB), first = relative_rms(got, want, VOCAB);
    print_message("%zu, %s: %.2e at position 0, %.2e over all\n", i, families[i].arch, first, all);
    assert_true(first <= 1e-6 && all <= 1e-6);
  }
}

/* Scales of the matrix or of rows, in each type that can hold them. */
static void every_type_of_linears_runs_alike(void **state) {
  (void)state;
  static const uint32_t types[] = {TRI_TYPE_I2_S,  TRI_TYPE_TQ1_0, TRI_TYPE_TQ2_0, TRI_TYPE_IQ1_BN, TRI_TYPE_IQ2_BN,
                                   TRI_TYPE_F32,   TRI_TYPE_F16,   TRI_TYPE_BF16,  TRI_TYPE_Q8_0};
  static float want[TOKENS * VOCAB], first[TOKENS * VOCAB], got[TOKENS * VOCAB];
  int32_t tokens[TOKENS];
  pick_tokens(tokens);
  for (int rows = 0; rows < 2; rows++)
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
      plain_file f = {.p = {WIDE, .row_scales = rows}, .type = types[i], .f32 = types[i] == TRI_TYPE_F32};
      plain_write_file(path, &f);
      run(path, i == 0 ? first : got, tokens);
      if (i == 0) plain_run(&f.p, tokens, TOKENS, want);
      if (types[i] == TRI_TYPE_Q8_0) assert_true(relative_rms(got, want, VOCAB) < 2e-2); /* scales are 127 times an f16 */
      else if (i == 0) assert_true(relative_rms(first, want, VOCAB) < 1e-6);
      else if (memcmp(got, first, sizeof got) != 0) fail_msg("%s differs from I2_S", tri_type_name(types[i]));
    }
}

static void master_weights_are_not_taken_for_ternary_ones(void **state) {
  (void)state;
  tri_single s;
  tri_single_options o = {.threads = 1, .kv_type = TRI_F32, .max_rows = 16};
  plain_write_file(path, &(plain_file){.p = {LLAMA}, .type = TRI_TYPE_F16, .noisy = true});
  assert_fails(tri_single_open(&s, path, &o, &err), TRI_E_UNSUPPORTED, err,
               "tensor blk.0.attn_q.weight is F16 and not ternary: a row has values besides -s, 0 and s");
}

/* --- what is refused --- */

static void what_would_be_left_out_is_refused(void **state) {
  (void)state;
  static const struct {
    plain_file f;
    tri_status status;
    const char *part;
  } cases[] = {
      {{.p = {LLAMA}, .extra = "blk.0.attn_q_norm.weight", .extra_n = 64},
       TRI_E_UNSUPPORTED,
       "tensor blk.0.attn_q_norm.weight has no place in this architecture"},
      {{.p = {LLAMA}, .extra = "blk.2.attn_norm.weight", .extra_n = 128}, TRI_E_UNSUPPORTED, "blk.2.attn_norm.weight has no place"},
      {{.p = {LLAMA}, .extra = "blk.0.attn_sub_norm.weight", .extra_n = 256}, TRI_E_UNSUPPORTED, "blk.0.attn_sub_norm.weight has no place"},
      {{.p = {LLAMA}, .extra = "blk.0.attn_norm.bias", .extra_n = 128}, TRI_E_UNSUPPORTED, "blk.0.attn_norm.bias has no place"},
      {{.p = {LLAMA}, .extra = "output.bias", .extra_n = VOCAB}, TRI_E_UNSUPPORTED, "output.bias has no place"},
      {{.p = {LLAMA}, .extra = "blk.0.attn_k.bias", .extra_n = 4}, TRI_E_FORMAT, "tensor blk.0.attn_k.bias is [1, 4], not [1, 128]"},
      {{.p = {LLAMA}, .extra = "rope_freqs.weight", .extra_n = 64}, TRI_E_FORMAT, "tensor rope_freqs.weight is [1, 64], not [1, 32]"},
      {{.p = {LLAMA}, .extra = "blk.0.attn_k.scale", .extra_n = 4}, TRI_E_FORMAT,
       "tensor blk.0.attn_k.scale must be F32 of 1 or 128 values"},
      {{.p = {LLAMA}, .key = "rope.scaling.type", .text = "yarn"},
       TRI_E_UNSUPPORTED,
       "llama.rope.scaling.type is \"yarn\"; \"none\" and \"linear\" are supported"},
      {{.p = {LLAMA}, .key = "rope.scale_linear", .number = -0.5}, TRI_E_FORMAT, "llama.rope.scale_linear is -0.5, not a positive number"},
      {{.p = {LLAMA}, .key = "expert_count", .number = 8}, TRI_E_UNSUPPORTED, "llama.expert_count is 8: models that need it"},
      {{.p = {LLAMA}, .key = "logit_scale", .number = 0.125}, TRI_E_UNSUPPORTED, "llama.logit_scale is 0.125: models"},
      {{.p = {LLAMA}, .key = "attention.sliding_window", .text = "4096"},
       TRI_E_UNSUPPORTED,
       "the key llama.attention.sliding_window is no number"},
      {{.p = {LLAMA}, .key = "attention.value_length", .number = 32}, TRI_E_UNSUPPORTED, "values of 32 elements beside keys of 64"},
      {{.p = {LLAMA}, .key = "rope.dimension_count", .number = 32}, TRI_E_UNSUPPORTED, "rotary embedding over 32 of 64 values"},
      {{.p = {LLAMA}, .key = "expert_count", .number = 0}, TRI_OK, ""},
      {{.p = {LLAMA}, .key = "rope.scaling.type", .text = "none"}, TRI_OK, ""},
      {{.p = {LLAMA}, .extra = "blk.1.ffn_up.weight_scale", .extra_n = 1}, TRI_OK, ""},
      {{.p = {LLAMA}, .extra = "blk.1.ffn_up.scale", .extra_n = 1}, TRI_OK, ""},
      {{.p = {WIDE}, .type = TRI_TYPE_Q6_K}, TRI_E_UNSUPPORTED, "has type Q6_K (14); I2_S, TL1, TL2, TQ1_0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_model *m = NULL;
    plain_write_file(path, &cases[i].f);
    err.text[0] = 0;
    tri_status status = tri_model_open(&m, path, &err);
    assert_case(i, status, cases[i].status, err, cases[i].part);
    tri_model_close(&m);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(families_run_as_the_plain_forward_pass_does),
      cmocka_unit_test(every_type_of_linears_runs_alike),
      cmocka_unit_test(master_weights_are_not_taken_for_ternary_ones),
      cmocka_unit_test(what_would_be_left_out_is_refused),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
