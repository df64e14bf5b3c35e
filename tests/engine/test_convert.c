/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "engine/convert.h"
#include "engine/model.h"
#include "engine/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "kernels/i2s.h"
#include "tests/engine/folder.h"

/* Small folders made here, converted, and each value of the file compared with a plain computation. */

static char out_path[96];
static tri_error err;

static const char *const files[] = {"config.json",     "model.safetensors", "model.safetensors.index.json",
                                    "one.safetensors", "two.safetensors",   "tokenizer.json",
                                    "tokenizer_config.json", "chat_template.jinja", "out.gguf"};

static int make_dir(void **state) {
  (void)state;
  tri_log_set_level(TRI_LOG_ERROR);
  strcpy(dir, "/tmp/trireme-convert-XXXXXX");
  if (!mkdtemp(dir)) return -1;
  snprintf(out_path, sizeof out_path, "%s/out.gguf", dir);
  return 0;
}
static void empty_dir(void) {
  char path[160];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    snprintf(path, sizeof path, "%s/%s", dir, files[i]), unlink(path);
}
static int remove_dir(void **state) {
  (void)state;
  empty_dir();
  return rmdir(dir); /* fails if something is left behind */
}

/* --- the comparison --- */

static int code_at(const uint8_t *codes, size_t e) {
  return (codes[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3) - 1;
}

/* Where row r of a matrix with rotating heads comes from: halves [2][hd/2] of a head become pairs [hd/2][2]. */
static size_t paired(const variant *v, size_t heads, size_t r) {
  return v->llama && heads ? r / HD * HD + r % 2 * (HD / 2) + r % HD / 2 : r;
}

static void check_linear(const variant *v, const tri_gguf *g, int layer, const struct linear *l) {
  char source[128], name[64];
  snprintf(source, sizeof source, "model.layers.%d.%s.weight", layer, l->source);
  snprintf(name, sizeof name, "blk.%d.%s.weight", layer, l->name);
  const tri_gguf_tensor *t = tri_gguf_find(g, name);
  assert_true(t && t->type == TRI_TYPE_I2_S && t->n_dims == 2 && t->dims[0] == l->k && t->dims[1] == l->m);
  double gamma = 0;
  for (size_t i = 0; i < l->m * l->k; i++) gamma += fabs((double)master(v, source, i));
  gamma /= (double)(l->m * l->k);
  if (v->exact) gamma = 0.375;
  float ws = packed_scale(source), scale, want = !v->packed ? (float)gamma : v->multiply ? ws : 1 / ws;
  memcpy(&scale, t->data + l->m * l->k / 4, sizeof scale);
  if (scale != want) fail_msg("%s: scale %g, not %g", name, (double)scale, (double)want);
  for (int i = 4; i < 32; i++) assert_int_equal(t->data[l->m * l->k / 4 + (size_t)i], 0);
  for (size_t r = 0; r < l->m; r++) {
    for (size_t c = 0; c < l->k; c++) {
      size_t i = paired(v, l->heads, r) * l->k + c;
      int trits =
          v->packed ? trit(source, i) : (int)fmax(-1, fmin(1, nearbyint(master(v, source, i) / gamma)));
      if (code_at(t->data, r * l->k + c) != trits)
        fail_msg("%s: [%zu, %zu] is %d, not %d", name, r, c, code_at(t->data, r * l->k + c), trits);
    }
  }
}

static float value_at(const tri_gguf_tensor *t, size_t i) {
  uint32_t bits;
  uint16_t half;
  float x;
  if (t->type == TRI_TYPE_F32) return memcpy(&x, t->data + 4 * i, 4), x;
  memcpy(&half, t->data + (t->type == TRI_TYPE_Q8_0 ? i / 32 * 34 : 2 * i), 2);
  if (t->type == TRI_TYPE_Q8_0)
    return tri_f16_to_f32(half) * (float)(int8_t)t->data[i / 32 * 34 + 2 + i % 32];
  if (t->type == TRI_TYPE_F16) return tri_f16_to_f32(half);
  bits = (uint32_t)half << 16;
  return memcpy(&x, &bits, 4), x;
}

/* heads: of a bias whose values rotate in pairs, else 0 */
static void check_values(const variant *v, const tri_gguf *g, const char *name, const char *source,
                         uint32_t type, size_t m, size_t k, size_t heads) {
  const tri_gguf_tensor *t = tri_gguf_find(g, name);
  assert_true(t && t->type == type && t->dims[0] == k && t->dims[1] == m && t->n_dims == (m > 1 ? 2 : 1));
  for (size_t i = 0; i < m * k; i++) {
    float off = fabsf(value_at(t, i) - master(v, source, paired(v, heads, i)));
    if (off > (type == TRI_TYPE_Q8_0 ? 0.0041f : 0))
      fail_msg("%s: value %zu is off by %g", name, i, (double)off);
  }
}

static void check_floats(const variant *v, const tri_gguf *g, const char *name, const char *source, uint32_t type, size_t m, size_t k) {
  check_values(v, g, name, source, type, m, k, 0);
}

static void check_metadata(const variant *v, const tri_gguf *g) {
  static const struct {
    const char *field;
    uint64_t value;
  } want[] = {{"block_count", LAYERS},         {"context_length", 128},      {"embedding_length", D},
              {"feed_forward_length", FFN},    {"vocab_size", VOCAB},        {"attention.head_count", HEADS},
              {"attention.head_count_kv", KV}, {"attention.key_length", HD}, {"attention.value_length", HD},
              {"rope.dimension_count", HD}};
  const char *arch = v->llama ? "llama" : v->inner ? "bitnet" : "bitnet-b1.58";
  char key[96];
  tri_str s;
  uint64_t n;
  double f;
  assert_true(tri_gguf_get_str(g, "general.architecture", &s) && s.len == strlen(arch) &&
              memcmp(s.data, arch, s.len) == 0);
  assert_true(tri_gguf_get_str(g, "general.name", &s) && s.len == strlen(strrchr(dir, '/') + 1));
  assert_true(tri_gguf_get_u64(g, "general.file_type", &n) && n == 40);
  assert_true(tri_gguf_get_u64(g, "general.quantization_version", &n) && n == 2);
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    snprintf(key, sizeof key, "%s.%s", arch, want[i].field);
    if (!tri_gguf_get_u64(g, key, &n) || n != want[i].value) fail_msg("%s", key);
  }
  snprintf(key, sizeof key, "%s.rope.freq_base", arch);
  assert_true(tri_gguf_get_f64(g, key, &f) && f == 123);
  snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
  assert_true(tri_gguf_get_f64(g, key, &f) && f == (double)1e-5f);
}

static void note_progress(void *arg, uint64_t done, uint64_t total, const char *tensor) {
  uint64_t *last = arg;
  assert_true(done > last[0] && done <= total && tensor[0]);
  last[0] = done, last[1] = total;
}

static tri_status convert(const variant *v, uint64_t progress[2]) {
  tri_convert_options o = {.embedding_type = v->embedding_type,
                           .linear_type = TRI_TYPE_I2_S,
                           .progress = progress ? note_progress : NULL,
                           .progress_arg = progress};
  return tri_convert_hf(dir, out_path, &o, &err);
}

static void every_kind_of_folder_converts(void **state) {
  (void)state;
  static const variant variants[] = {
      {.packed = true,
       .multiply = true,
       .quant = auto_quant,
       .dtype = "BF16",
       .sharded = true,
       .tied = true,
       .embedding_type = TRI_TYPE_F16},
      {.packed = true, .quant = plain_quant, .dtype = "F32", .tied = true, .embedding_type = TRI_TYPE_F32},
      {.packed = true, .quant = plain_quant, .dtype = "F16", .llama = true, .embedding_type = TRI_TYPE_BF16},
      {.quant = plain_quant, .dtype = "BF16", .llama = true, .embedding_type = TRI_TYPE_Q8_0},
      {.quant = auto_quant, .dtype = "F16", .tied = true, .embedding_type = TRI_TYPE_Q8_0},
      {.quant = "null", .dtype = "F32", .embedding_type = TRI_TYPE_F16},
      {.quant = "null", .dtype = "F32", .llama = true, .exact = true, .embedding_type = TRI_TYPE_F32},
      {.quant = "null", .dtype = "BF16", .inner = true, .tied = true, .embedding_type = TRI_TYPE_F16},
      {.quant = plain_quant, .packed = true, .dtype = "F32", .llama = true, .bias = true, .embedding_type = TRI_TYPE_F16},
      {.quant = plain_quant, .dtype = "F32", .bias = true, .embedding_type = TRI_TYPE_F16},
  };
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    const variant *v = &variants[i];
    uint64_t progress[2] = {0};
    char name[64], source[128];
    tri_gguf *g;
    make_folder(v);
    assert_ok(convert(v, progress), err);
    assert_true(progress[0] > 0 && progress[0] == progress[1]);
    assert_ok(tri_gguf_open(&g, out_path, &err), err);
    check_metadata(v, g);
    check_floats(v, g, "token_embd.weight", "model.embed_tokens.weight", v->embedding_type, VOCAB, D);
    check_floats(v, g, "output_norm.weight", "model.norm.weight", TRI_TYPE_F32, 1, D);
    if (!v->tied) check_floats(v, g, "output.weight", "lm_head.weight", v->embedding_type, VOCAB, D);
    for (int layer = 0; layer < LAYERS; layer++) {
      for (size_t n = 0; n < LINEARS; n++) {
        check_linear(v, g, layer, &linears[n]);
        snprintf(name, sizeof name, "blk.%d.%s.bias", layer, linears[n].name);
        snprintf(source, sizeof source, "model.layers.%d.%s.bias", layer, linears[n].source);
        if (v->bias) check_values(v, g, name, source, TRI_TYPE_F32, 1, linears[n].m, linears[n].heads);
      }
      for (size_t n = 0; n < NORMS; n++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, norms[n].name);
        snprintf(source, sizeof source, "model.layers.%d.%s.weight", layer, norm_source(v, &norms[n]));
        if (!norms[n].sub || !v->llama) check_floats(v, g, name, source, TRI_TYPE_F32, 1, norms[n].k);
      }
    }
    assert_int_equal(tri_gguf_tensor_count(g), (v->tied ? 2 : 3) + LAYERS * (LINEARS * (v->bias ? 2 : 1) + (v->llama ? 2 : 4)));
    assert_null(tri_gguf_kv_find(g, "tokenizer.ggml.model"));
    tri_gguf_close(&g);
    empty_dir();
  }
}

/* --- rotary scaling --- */

/* The frequencies as transformers' _compute_llama3_parameters has them, by wavelengths. */
static double llama3_factor(int pair) {
  const double factor = 8, low = 1, high = 4, old = 64;
  double wave = 2 * M_PI * pow(123, 2.0 * pair / HD), smooth = (old / wave - low) / (high - low);
  if (wave < old / high) return 1;
  return wave > old / low ? factor : 1 / ((1 - smooth) / factor + smooth);
}

static void rotary_scaling_comes_along(void **state) {
  (void)state;
  static const char *const configs[][2] = {
      {"\"rope_parameters\":{\"rope_type\":\"default\",",
       "\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1,\"high_freq_factor\":4,"
       "\"original_max_position_embeddings\":64,"},
      {"\"rope_parameters\":{\"rope_type\":\"default\",", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0},\"x\":{"},
      {"\"attention_bias\"", "\"rope_scaling\":null,\"attention_bias\""},
  };
  for (int i = 0; i < 3; i++) {
    variant v = {.llama = true, .packed = true, .quant = plain_quant, .dtype = "F32", .embedding_type = TRI_TYPE_F32,
                 .config_old = configs[i][0], .config_new = configs[i][1]};
    tri_gguf *g;
    tri_model *m;
    tri_str type;
    double factor;
    make_folder(&v);
    assert_ok(convert(&v, NULL), err);
    assert_ok(tri_gguf_open(&g, out_path, &err), err);
    const tri_gguf_tensor *t = tri_gguf_find(g, "rope_freqs.weight");
    assert_true((t != NULL) == (i == 0));
    assert_true(tri_gguf_get_str(g, "llama.rope.scaling.type", &type) == (i == 1));
    if (i == 1) assert_true(tri_gguf_get_f64(g, "llama.rope.scaling.factor", &factor) && factor == 4);
    assert_ok(tri_model_open(&m, out_path, &err), err);
    bool seen[2] = {false};
    for (int pair = 0; pair < HD / 2; pair++) {
      double theta = i == 1 ? 10000 : 123, want = pow(theta, -2.0 * pair / HD) / (i == 0 ? llama3_factor(pair) : i == 1 ? 4 : 1);
      assert_true(fabs((double)tri_model_rope_step(m, pair) / want - 1) < 1e-6);
      seen[llama3_factor(pair) > 1] = true;
    }
    assert_true(seen[0] && seen[1]);
    tri_model_close(&m);
    tri_gguf_close(&g);
    empty_dir();
  }
}

/* --- failures --- */

#define Q0 "model.layers.0.self_attn.q_proj.weight"

static void each_wrong_folder_has_its_error(void **state) {
  (void)state;
#define PACKED .packed = true, .quant = plain_quant, .dtype = "F32", .tied = true
#define MASTER .quant = plain_quant, .dtype = "F32", .tied = true
#define SHARDED PACKED, .sharded = true
  static const struct {
    variant v;
    tri_status status;
    const char *part;
  } cases[] = {
      {{PACKED, .drop = "model.norm.weight"}, TRI_E_FORMAT, "tensor model.norm.weight is missing"},
      {{PACKED, .drop = Q0 "_scale"}, TRI_E_FORMAT, "tensor " Q0 "_scale is missing"},
      {{SHARDED, .drop = "model.norm.weight"},
       TRI_E_FORMAT,
       "one.safetensors: tensor model.norm.weight is missing, though the index"},
      {{PACKED, .cut = "model.embed_tokens.weight"}, TRI_E_FORMAT, "[39, 64]; [40, 64] expected"},
      {{MASTER, .cut = Q0}, TRI_E_FORMAT, "[63, 64]; [64, 64] expected"},
      {{PACKED, .cut = "model.norm.weight"}, TRI_E_FORMAT, "tensor model.norm.weight: 1 dimensions [63"},
      {{PACKED, .poison = Q0}, TRI_E_FORMAT, Q0 " holds code 3"},
      {{PACKED, .poison = Q0 "_scale"}, TRI_E_FORMAT, Q0 "_scale: 0 is no scale"},
      {{MASTER, .poison = Q0}, TRI_E_FORMAT, Q0 " holds values that are not finite"},
      {{PACKED, .extra = "model.layers.0.self_attn.q_proj.bias"}, TRI_E_UNSUPPORTED,
       "q_proj.bias has no place in the architecture that config.json states"},
      {{PACKED, .extra = "model.layers.0.self_attn.q_norm.weight"}, TRI_E_UNSUPPORTED, "q_norm.weight has no place"},
      {{.llama = true, .quant = "null", .dtype = "F32"},
       TRI_E_UNSUPPORTED,
       "is not ternary, and config.json has no quantization_config"},
      {{SHARDED, .index_file = "../two.safetensors"},
       TRI_E_FORMAT,
       "must be the name of a file in this folder"},
      {{SHARDED, .index_file = ".."}, TRI_E_FORMAT, "must be the name of a file in this folder"},
      {{SHARDED, .index_file = "three.safetensors"}, TRI_E_NOT_FOUND, "three.safetensors"},
      {{PACKED, .config_old = "BitNetForCausalLM", .config_new = "GPT2LMHeadModel"},
       TRI_E_UNSUPPORTED,
       "\"GPT2LMHeadModel\"; known are BitNetForCausalLM (bitnet), BitnetForCausalLM and LlamaForCausalLM (llama)"},
      {{PACKED, .config_old = "relu2", .config_new = "gelu"},
       TRI_E_UNSUPPORTED,
       "hidden_act \"gelu\"; \"relu2\" expected"},
      {{PACKED, .config_old = "\"attention_bias\":false", .config_new = "\"attention_bias\":true"},
       TRI_E_FORMAT,
       "tensor model.layers.0.self_attn.q_proj.bias is missing"},
      {{PACKED, .config_old = "\"default\"", .config_new = "\"yarn\""},
       TRI_E_UNSUPPORTED,
       "rotary scaling \"yarn\"; \"linear\" and \"llama3\" are supported"},
      {{PACKED, .config_old = "\"default\"", .config_new = "\"linear\""}, TRI_E_FORMAT, "rope_scaling.factor must be a positive number"},
      {{PACKED, .config_old = "\"default\"",
        .config_new = "\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1,\"original_max_position_embeddings\":64"},
       TRI_E_FORMAT, "high_freq_factor 1 is not above low_freq_factor 4"},
      {{PACKED, .config_old = "\"attention_bias\"", .config_new = "\"partial_rotary_factor\":0.5,\"attention_bias\""},
       TRI_E_UNSUPPORTED, "partial_rotary_factor 0.5"},
      {{PACKED, .config_old = "\"bitnet\"", .config_new = "\"gptq\""},
       TRI_E_UNSUPPORTED,
       "quant_method \"gptq\""},
      {{PACKED, .config_old = "convert\":null", .config_new = "convert\":[\"mlp\"]"},
       TRI_E_UNSUPPORTED,
       "modules_to_not_convert names \"mlp\""},
      {{PACKED, .config_old = "\"hidden_size\":64", .config_new = "\"hidden_size\":\"64\""},
       TRI_E_FORMAT,
       "hidden_size must be an integer"},
      {{PACKED, .config_old = "\"hidden_size\":64", .config_new = "\"hidden_size\":99999999"},
       TRI_E_FORMAT,
       "hidden_size must be an integer from 1 to 65536"},
      {{PACKED, .config_old = "\"hidden_size\":64", .config_new = "\"hidden_size\":66"},
       TRI_E_FORMAT,
       "don't fit together"},
      {{PACKED, .config_old = "1e-05", .config_new = "-1"},
       TRI_E_FORMAT,
       "rms_norm_eps must be a positive number"},
      {{PACKED, .config_old = "[3,5]", .config_new = "99"},
       TRI_E_FORMAT,
       "eos_token_id is not the id of one of 40 tokens"},
      {{PACKED, .config_old = "[\"", .config_new = "["}, TRI_E_FORMAT, "config.json: no JSON"},
      {{PACKED, .embedding_type = TRI_TYPE_I2_S}, TRI_E_INVALID, "F32, F16, BF16, Q8_0 or Q6_K expected"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    make_folder(&cases[i].v);
    err.text[0] = 0;
    tri_status status = convert(&cases[i].v, NULL);
    assert_case(i, status, cases[i].status, err, cases[i].part);
    assert_int_equal(access(out_path, F_OK), -1);
    empty_dir();
  }
  assert_fails(convert(&cases[0].v, NULL), TRI_E_NOT_FOUND, err, "config.json");
}

/* --- tokenizers --- */

/* `%s`: added_tokens, vocab's tail, merges */
static const char tokenizer_format[] =
    "{\"added_tokens\":[%s],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{"
    "\"type\":\"Split\","
    "\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{"
    "1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":"
    "\"Isolated\",\"invert\":false},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},\"post_processor\":{\"type\":"
    "\"TemplateProcessing\","
    "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]},"
    "\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2%s},\"merges\":[%"
    "s]}}";
static const char s_token[] = "{\"id\":3,\"content\":\"<s>\",\"special\":true}";

static void vocabularies_come_from_tokenizer_json(void **state) {
  (void)state;
  static const char *const merges[] = {"\"a b\"", "[\"a\",\"b\"]"};
  for (int i = 0; i < 2; i++) {
    tri_vocab v;
    tri_buf b = {0};
    tri_buf_printf(&b, tokenizer_format,
                   "{\"id\":3,\"content\":\"<s>\",\"special\":true},{\"id\":4,\"content\":\"<u>\"}", "",
                   merges[i]);
    assert_ok(tri_vocab_from_json(&v, (char *)b.data, b.len, &err), err);
    tri_buf_free(&b);
    assert_true(v.n_tokens == 5 && v.n_merges == 1 && v.bos == 3 && v.add_bos && v.eos == -1 && v.eot == -1 &&
                v.ignore_merges);
    assert_true(v.merges[0].len == 3 && memcmp(v.merges[0].data, "a b", 3) == 0);
    assert_true(v.tokens[2].len == 2 && memcmp(v.tokens[2].data, "ab", 2) == 0);
    assert_true(v.types[0] == TRI_TOKEN_NORMAL && v.types[3] == TRI_TOKEN_CONTROL &&
                v.types[4] == TRI_TOKEN_USER);
    assert_string_equal(v.pre, "llama-bpe");
    tri_vocab_free(&v);
  }
}

static void each_wrong_tokenizer_has_its_error(void **state) {
  (void)state;
#define TWO "{\"id\":3,\"content\":\"<s>\"},{\"id\":2,\"content\":\"ab\"}"
  static const struct {
    const char *added, *tail, *merges, *from, *to;
    tri_status status;
    const char *part;
  } cases[] = {
      {s_token, ",\"c\":5", "", "", "", TRI_E_FORMAT, "token \"c\": its id must be an integer from 0 to 4"},
      {s_token, ",\"c\":4,\"d\":4", "", "", "", TRI_E_FORMAT, "have the same id, 4"},
      {s_token, ",\"c\":-1", "", "", "", TRI_E_FORMAT, "token \"c\": its id"},
      {s_token, ",\"c\":1.0", "", "", "", TRI_E_FORMAT, "token \"c\": its id"},
      {s_token, ",\"<s>\":4", "", "", "", TRI_E_FORMAT, "token \"<s>\" has two different ids"},
      {TWO ",{\"id\":5,\"content\":\"c\"}", "", "", "", "", TRI_E_FORMAT, "no token has the id 4"},
      {"{\"id\":3}", "", "", "", "", TRI_E_FORMAT, "added_tokens[0] has no content"},
      {s_token, "", "\"ab\"", "", "", TRI_E_FORMAT, "model.merges[0] must be"},
      {s_token, "", "\"a b c\"", "", "", TRI_E_FORMAT, "model.merges[0] must be"},
      {s_token, "", "[\"a\"]", "", "", TRI_E_FORMAT, "model.merges[0] must be"},
      {s_token, "", "[\"a \",\"b\"]", "", "", TRI_E_FORMAT, "model.merges[0] must be"},
      {"", "", "", "", "", TRI_E_FORMAT, "names \"<s>\", which is no token"},
      {s_token, "", "", "{1,3}", "{1,4}", TRI_E_UNSUPPORTED, "p{N}{1,4}| ?[^"},
      {s_token, "", "", "Isolated", "Removed", TRI_E_UNSUPPORTED, "behavior \"Removed\""},
      {s_token, "", "", "\"add_prefix_space\":false", "\"add_prefix_space\":true", TRI_E_UNSUPPORTED, "add_prefix_space"},
      {s_token, "", "", "\"Split\"", "\"Whitespace\"", TRI_E_UNSUPPORTED, "pre_tokenizer \"Whitespace\""},
      {s_token, "", "", "\"ByteLevel\"", "\"Digits\"", TRI_E_UNSUPPORTED, "has no ByteLevel"},
      {s_token, "", "", "\"BPE\"", "\"WordPiece\"", TRI_E_UNSUPPORTED, "model type \"WordPiece\""},
      {s_token, "", "", "\"BPE\"", "\"Unigram\"", TRI_E_UNSUPPORTED, "a Unigram model whose text is spelled in bytes"},
      {s_token, "", "", "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFKC\"}", TRI_E_UNSUPPORTED, "normalizer \"NFKC\""},
      {s_token, "", "", "\"merges\":[", "\"merges\":7,\"x\":[", TRI_E_FORMAT,
       "model.merges must be an array"},
      {s_token, "", "", "{\"Sequence\"", "{\"SpecialToken\"", TRI_E_UNSUPPORTED,
       "elsewhere than once before"},
      {s_token, "", "", "\"model\":{", "\"model\":", TRI_E_FORMAT, "no JSON"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_vocab v = {0};
    tri_buf b = {0};
    tri_buf_printf(&b, tokenizer_format, cases[i].added, cases[i].tail, cases[i].merges);
    replace(&b, cases[i].from, cases[i].to);
    err.text[0] = 0;
    tri_status status = tri_vocab_from_json(&v, (char *)b.data, b.len, &err);
    assert_case(i, status, cases[i].status, err, cases[i].part);
    tri_buf_free(&b);
  }
}

static const variant with_tokenizer = {
    .packed = true, .quant = plain_quant, .dtype = "F32", .tied = true, .embedding_type = TRI_TYPE_F16};

static void make_folder_with_tokenizer(const char *from, const char *to) {
  tri_buf b = {0};
  tri_buf_printf(&b, tokenizer_format, s_token, "", "\"a b\"");
  replace(&b, from, to);
  make_folder(&with_tokenizer);
  write_file("tokenizer.json", b.data, b.len);
  tri_buf_free(&b);
}

static void a_tokenizer_is_filled_up_to_the_embedding(void **state) {
  (void)state;
  tri_gguf *g;
  tri_vocab v;
  make_folder_with_tokenizer("", "");
  assert_ok(convert(&with_tokenizer, NULL), err);
  assert_ok(tri_gguf_open(&g, out_path, &err), err);
  assert_ok(tri_vocab_from_gguf(&v, g, &err), err);
  assert_true(v.n_tokens == VOCAB && v.n_merges == 1 && v.bos == 3 && v.eos == 3 &&
              v.eot == 5); /* config.json's */
  assert_true(v.types[3] == TRI_TOKEN_CONTROL && v.types[4] == TRI_TOKEN_UNUSED &&
              v.types[VOCAB - 1] == TRI_TOKEN_UNUSED);
  tri_vocab_free(&v);
  tri_gguf_close(&g);
  empty_dir();
}

static void assert_converted_template(const char *want) {
  tri_gguf *g;
  tri_vocab v;
  assert_ok(convert(&with_tokenizer, NULL), err);
  assert_ok(tri_gguf_open(&g, out_path, &err), err);
  assert_ok(tri_vocab_from_gguf(&v, g, &err), err);
  assert_string_equal(v.chat_template, want);
  tri_vocab_free(&v);
  tri_gguf_close(&g);
}

static void a_chat_template_comes_along(void **state) {
  (void)state;
  static const char one[] = "{\"model_max_length\":1000000000000000019884624838656,\"chat_template\":\"{{ 1 }}\\n\"}";
  static const char several[] =
      "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},{\"name\":\"default\",\"template\":\"y\"}]}";
  make_folder_with_tokenizer("", "");
  write_file("tokenizer_config.json", one, strlen(one));
  assert_converted_template("{{ 1 }}\n");
  write_file("tokenizer_config.json", several, strlen(several));
  assert_converted_template("y");
  write_file("chat_template.jinja", "{{ 2 }}", 7);
  assert_converted_template("{{ 2 }}");
  empty_dir();
  make_folder_with_tokenizer("", "");
  write_file("tokenizer_config.json", "{", 1);
  assert_fails(convert(&with_tokenizer, NULL), TRI_E_FORMAT, err, "tokenizer_config.json: no JSON (line 1)");
  empty_dir();
}

static void a_folders_tokenizer_must_be_right(void **state) {
  (void)state;
  make_folder_with_tokenizer("\"BPE\"", "\"WordPiece\"");
  assert_fails(convert(&with_tokenizer, NULL), TRI_E_UNSUPPORTED, err, "model type \"WordPiece\"");
  assert_ptr_equal(strstr(err.text, dir), err.text);
  empty_dir();
  tri_buf many = {0};
  tri_buf_printf(&many, "\"ab\":2");
  for (int i = 4; i <= VOCAB; i++) tri_buf_printf(&many, ",\"t%d\":%d", i, i);
  make_folder_with_tokenizer("\"ab\":2", (char *)many.data);
  assert_fails(convert(&with_tokenizer, NULL), TRI_E_FORMAT, err, "41 tokens, but config.json has a vocab_size of 40");
  tri_buf_free(&many);
  empty_dir();
}

/* --- dummies --- */

static void a_dummy_has_its_shape_and_takes_any_text(void **state) {
  (void)state;
  tri_gguf *g;
  tri_vocab v;
  tri_tokenizer *t;
  tri_ids ids = {0};
  assert_ok(tri_convert_dummy("bitnet-3b", out_path, TRI_TYPE_Q8_0, 1, 0, 42, NULL, &err), err);
  assert_ok(tri_gguf_open(&g, out_path, &err), err);
  assert_int_equal(tri_gguf_tensor_count(g), 2 + 11);
  const tri_gguf_tensor *down = tri_gguf_find(g, "blk.0.ffn_down.weight");
  assert_true(down->dims[0] == 8640 && down->dims[1] == 3200);
  assert_true(tri_i2s_check(down->data, down->bytes - 32));
  int64_t counts[3] = {0};
  for (size_t e = 0; e < 128 * 1000; e++) counts[code_at(down->data, e) + 1]++;
  for (int i = 0; i < 3; i++) assert_true(llabs(counts[i] - 128 * 1000 / 3) < 1000);
  static const uint8_t golden[] = {0x65, 0x82, 0x21, 0x9a, 0x4a, 0x01, 0x15, 0x41}; /* the seed fixes every byte, on every machine */
  assert_memory_equal(down->data, golden, sizeof golden);
  assert_ok(tri_vocab_from_gguf(&v, g, &err), err);
  assert_ok(tri_tokenizer_open(&t, &v, &err), err);
  uint8_t text[256];
  for (int i = 0; i < 256; i++) text[i] = (uint8_t)i;
  assert_ok(tri_tokenizer_encode(t, (const char *)text, sizeof text, false, &ids, &err), err);
  assert_int_equal(ids.len, 256);
  for (int i = 0; i < 256; i++) assert_int_equal(ids.data[i], i);
  assert_int_equal(tri_tokenizer_bos(t), 32000);
  assert_true(tri_tokenizer_is_end(t, 32001));
  tri_ids_free(&ids);
  tri_tokenizer_close(&t);
  tri_gguf_close(&g);
  empty_dir();
  assert_fails(tri_convert_dummy("bitnet-4b", out_path, TRI_TYPE_F16, 1, 0, 42, NULL, &err), TRI_E_INVALID, err,
               "no shape \"bitnet-4b\"; known are bitnet-large, ");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_folder_converts),
      cmocka_unit_test(rotary_scaling_comes_along),
      cmocka_unit_test(each_wrong_folder_has_its_error),
      cmocka_unit_test(vocabularies_come_from_tokenizer_json),
      cmocka_unit_test(each_wrong_tokenizer_has_its_error),
      cmocka_unit_test(a_tokenizer_is_filled_up_to_the_embedding),
      cmocka_unit_test(a_chat_template_comes_along),
      cmocka_unit_test(a_folders_tokenizer_must_be_right),
      cmocka_unit_test(a_dummy_has_its_shape_and_takes_any_text),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
