/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "engine/convert.h"
#include "engine/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "kernels/i2s.h"

/* Small folders made here, converted, and each value of the file compared with a plain computation. */

enum { D = 64, LAYERS = 2, HEADS = 4, KV = 2, HD = 16, FFN = 96, VOCAB = 40 };

typedef struct variant {
  bool llama, packed, exact, sharded, tied;
  const char *dtype; /* of all float tensors: "F32", "F16", "BF16" */
  const char *quant; /* config.json's quantization_config */
  bool multiply;     /* the packed scale is weight_scale itself */
  uint32_t embedding_type;
  /* for the failures */
  const char *drop;                    /* no tensor of this name */
  const char *cut;                     /* this tensor lacks its last row */
  const char *poison;                  /* this one's first byte or value is code 3 or infinite */
  const char *extra;                   /* a tensor more, of one value */
  const char *config_old, *config_new; /* replaced in config.json */
  const char *index_file;              /* in place of the second shard's name */
} variant;

static const char auto_quant[] =
    "{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"offline\"}";
static const char plain_quant[] = "{\"quant_method\":\"bitnet\",\"modules_to_not_convert\":null}";

static char dir[64], out_path[96];
static tri_error err;

/* --- the values: a function of name and place --- */

static uint64_t noise(const char *name, size_t i) {
  uint64_t s = 88172645463325252u + i * 0x9e3779b97f4a7c15u;
  for (; *name; name++) s = (s ^ (uint8_t)*name) * 0x100000001b3u;
  return test_random(&s) >> 20;
}
static int trit(const char *name, size_t i) { return (int)(noise(name, i) % 3) - 1; }
static float packed_scale(const char *name) {
  return (float)(noise(name, 0) % 100 + 20) / 1024;
} /* exact in bf16 */

/* n / 256 with |n| <= 255: exact in each of the float types. down_proj is made of ties: mean 2/256, so that
 * 1/256 lies on one half and 3/256 on three halves of it. */
static float master(const variant *v, const char *name, size_t i) {
  if (v->exact) return (float)trit(name, i) * 0.375f;
  if (strstr(name, "down_proj")) return (float)((i & 1 ? 3 : 1) * (noise(name, i) & 1 ? 1 : -1)) / 256;
  return (float)((int)(noise(name, i) % 511) - 255) / 256;
}

/* --- safetensors --- */

typedef struct shard {
  tri_buf header, data;
} shard;

static void put_float(tri_buf *b, const char *dtype, float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint16_t half = dtype[0] == 'B' ? (uint16_t)(bits >> 16) : tri_f16_from_f32(x);
  if (strcmp(dtype, "F32") == 0)
    tri_buf_append(b, &x, 4);
  else
    tri_buf_append(b, &half, 2);
}

static void put_entry(shard *s, const char *name, const char *dtype, const char *shape, size_t start) {
  tri_buf_printf(&s->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                 s->header.len ? "," : "{", name, dtype, shape, start, s->data.len);
}

static bool is_named(const char *name, const char *which) { return which && strcmp(name, which) == 0; }

static void put_floats(const variant *v, shard *s, const char *name, size_t m, size_t k) {
  char shape[64];
  size_t start = s->data.len;
  if (is_named(name, v->drop)) return;
  if (is_named(name, v->cut)) m > 1 ? m-- : k--;
  snprintf(shape, sizeof shape, m > 1 ? "[%zu,%zu]" : "[%zu]", m > 1 ? m : k, k);
  for (size_t i = 0; i < m * k; i++)
    put_float(&s->data, v->dtype, i == 0 && is_named(name, v->poison) ? INFINITY : master(v, name, i));
  put_entry(s, name, v->dtype, shape, start);
}

/* Row r of m stands in bits 2i, 2i+1 of packed row r % (m/4), i = r / (m/4). */
static void put_packed(const variant *v, shard *s, const char *name, size_t m, size_t k) {
  char shape[64], scale[160];
  size_t start = s->data.len, quarter = m / 4;
  for (size_t r = 0; r < quarter; r++)
    for (size_t c = 0; c < k; c++) {
      int byte = 0;
      for (size_t i = 0; i < 4; i++) byte |= (trit(name, (r + i * quarter) * k + c) + 1) << 2 * i;
      tri_buf_byte(&s->data, (uint8_t)(r + c == 0 && is_named(name, v->poison) ? byte | 0xc0 : byte));
    }
  snprintf(shape, sizeof shape, "[%zu,%zu]", quarter, k);
  put_entry(s, name, "U8", shape, start);
  start = s->data.len;
  snprintf(scale, sizeof scale, "%s_scale", name);
  if (is_named(scale, v->drop)) return;
  put_float(&s->data, v->dtype, is_named(scale, v->poison) ? 0 : packed_scale(name));
  put_entry(s, scale, v->dtype, v->multiply ? "[1]" : "[]", start);
}

static void write_file(const char *name, const void *bytes, size_t len) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  fclose(f);
}

static void write_shard(shard *s, const char *name) {
  tri_buf file = {0};
  tri_buf_printf(&s->header, "}");
  uint64_t n = s->header.len;
  tri_buf_append(&file, &n, 8), tri_buf_append(&file, s->header.data, s->header.len),
      tri_buf_append(&file, s->data.data, s->data.len);
  write_file(name, file.data, file.len);
  tri_buf_free(&file), tri_buf_free(&s->header), tri_buf_free(&s->data);
}

/* --- the folder --- */

static void replace(tri_buf *b, const char *from, const char *to) {
  char *at = strstr((char *)b->data, from);
  assert_non_null(at);
  char *rest = strdup(at + strlen(from));
  b->len = (size_t)(at - (char *)b->data);
  tri_buf_printf(b, "%s%s", to, rest);
  free(rest);
}

static const struct linear {
  const char *source, *name;
  size_t m, k, heads;
} linears[] = {
    {"self_attn.q_proj", "attn_q", HEADS *HD, D, HEADS},
    {"self_attn.k_proj", "attn_k", KV *HD, D, KV},
    {"self_attn.v_proj", "attn_v", KV *HD, D, 0},
    {"self_attn.o_proj", "attn_output", D, HEADS *HD, 0},
    {"mlp.gate_proj", "ffn_gate", FFN, D, 0},
    {"mlp.up_proj", "ffn_up", FFN, D, 0},
    {"mlp.down_proj", "ffn_down", D, FFN, 0},
};
static const struct norm {
  const char *source, *name;
  size_t k;
  bool sub;
} norms[] = {
    {"input_layernorm", "attn_norm", D, false},
    {"post_attention_layernorm", "ffn_norm", D, false},
    {"self_attn.attn_sub_norm", "attn_sub_norm", HEADS *HD, true},
    {"mlp.ffn_sub_norm", "ffn_sub_norm", FFN, true},
};
enum { LINEARS = sizeof linears / sizeof *linears, NORMS = sizeof norms / sizeof *norms };

static void put_layer(const variant *v, shard *s, int layer) {
  char name[128];
  for (size_t i = 0; i < LINEARS; i++) {
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, linears[i].source);
    if (v->packed)
      put_packed(v, s, name, linears[i].m, linears[i].k);
    else
      put_floats(v, s, name, linears[i].m, linears[i].k);
  }
  for (size_t i = 0; i < NORMS; i++) {
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, norms[i].source);
    if (!norms[i].sub || !v->llama) put_floats(v, s, name, 1, norms[i].k);
  }
}

static void write_config(const variant *v) {
  tri_buf b = {0};
  tri_buf_printf(
      &b,
      "{\"architectures\":[\"%s\"],\"hidden_act\":\"%s\",\"hidden_size\":%d,\"intermediate_size\":%d,"
      "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"max_position_"
      "embeddings\":128,"
      "\"rms_norm_eps\":1e-05,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":123.0},\"vocab_"
      "size\":%d,"
      "\"tie_word_embeddings\":%s,\"attention_bias\":false,\"eos_token_id\":[3,5],\"quantization_config\":%"
      "s}",
      v->llama ? "LlamaForCausalLM" : "BitNetForCausalLM", v->llama ? "silu" : "relu2", D, FFN, LAYERS, HEADS,
      KV, VOCAB, v->tied ? "true" : "false", v->quant);
  if (v->config_old) replace(&b, v->config_old, v->config_new);
  write_file("config.json", b.data, b.len);
  tri_buf_free(&b);
}

/* Two shards: the second holds layer 1. */
static void write_index(const variant *v) {
  tri_buf b = {0};
  tri_buf_printf(&b, "{\"weight_map\":{\"model.embed_tokens.weight\":\"one.safetensors\",\"model.norm."
                     "weight\":\"one.safetensors\"");
  for (int layer = 0; layer < LAYERS; layer++)
    for (size_t i = 0; i < LINEARS + NORMS; i++) {
      const char *source = i < LINEARS ? linears[i].source : norms[i - LINEARS].source;
      const char *file = layer == 0 ? "one.safetensors" : v->index_file ? v->index_file : "two.safetensors";
      tri_buf_printf(&b, ",\"model.layers.%d.%s.weight\":\"%s\"", layer, source, file);
      if (i < LINEARS) tri_buf_printf(&b, ",\"model.layers.%d.%s.weight_scale\":\"%s\"", layer, source, file);
    }
  tri_buf_printf(&b, "}}");
  write_file("model.safetensors.index.json", b.data, b.len);
  tri_buf_free(&b);
}

static void make_folder(const variant *v) {
  shard one = {0}, two = {0};
  put_floats(v, &one, "model.embed_tokens.weight", VOCAB, D);
  put_floats(v, &one, "model.norm.weight", 1, D);
  if (!v->tied) put_floats(v, &one, "lm_head.weight", VOCAB, D);
  if (v->extra) put_floats(v, &one, v->extra, 1, 1);
  put_layer(v, &one, 0);
  put_layer(v, v->sharded ? &two : &one, 1);
  if (v->sharded) {
    write_index(v);
    write_shard(&two, "two.safetensors");
  }
  write_shard(&one, v->sharded ? "one.safetensors" : "model.safetensors");
  write_config(v);
}

static const char *const files[] = {"config.json",     "model.safetensors", "model.safetensors.index.json",
                                    "one.safetensors", "two.safetensors",   "tokenizer.json",
                                    "out.gguf"};

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
    size_t from = r, half = HD / 2, head = r / HD;
    /* halves [2][hd/2] of a head become pairs [hd/2][2] */
    if (v->llama && l->heads) from = head * HD + r % 2 * half + r % HD / 2;
    for (size_t c = 0; c < l->k; c++) {
      size_t i = from * l->k + c;
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

static void check_floats(const variant *v, const tri_gguf *g, const char *name, const char *source,
                         uint32_t type, size_t m, size_t k) {
  const tri_gguf_tensor *t = tri_gguf_find(g, name);
  assert_true(t && t->type == type && t->dims[0] == k && t->dims[1] == m && t->n_dims == (m > 1 ? 2 : 1));
  for (size_t i = 0; i < m * k; i++) {
    float off = fabsf(value_at(t, i) - master(v, source, i));
    if (off > (type == TRI_TYPE_Q8_0 ? 0.0041f : 0))
      fail_msg("%s: value %zu is off by %g", name, i, (double)off);
  }
}

static void check_metadata(const variant *v, const tri_gguf *g) {
  static const struct {
    const char *field;
    uint64_t value;
  } want[] = {{"block_count", LAYERS},         {"context_length", 128},      {"embedding_length", D},
              {"feed_forward_length", FFN},    {"vocab_size", VOCAB},        {"attention.head_count", HEADS},
              {"attention.head_count_kv", KV}, {"attention.key_length", HD}, {"attention.value_length", HD},
              {"rope.dimension_count", HD}};
  const char *arch = v->llama ? "llama" : "bitnet-b1.58";
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
      for (size_t n = 0; n < LINEARS; n++) check_linear(v, g, layer, &linears[n]);
      for (size_t n = 0; n < NORMS; n++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, norms[n].name);
        snprintf(source, sizeof source, "model.layers.%d.%s.weight", layer, norms[n].source);
        if (!norms[n].sub || !v->llama) check_floats(v, g, name, source, TRI_TYPE_F32, 1, norms[n].k);
      }
    }
    assert_int_equal(tri_gguf_tensor_count(g), (v->tied ? 2 : 3) + LAYERS * (LINEARS + (v->llama ? 2 : 4)));
    assert_null(tri_gguf_kv_find(g, "tokenizer.ggml.model"));
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
      {{PACKED, .extra = "model.layers.0.self_attn.q_proj.bias"}, TRI_E_UNSUPPORTED, "q_proj.bias: biases"},
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
       "\"GPT2LMHeadModel\"; known are BitNetForCausalLM (bitnet) and LlamaForCausalLM (llama)"},
      {{PACKED, .config_old = "relu2", .config_new = "gelu"},
       TRI_E_UNSUPPORTED,
       "hidden_act \"gelu\"; \"relu2\" expected"},
      {{PACKED, .config_old = "\"attention_bias\":false", .config_new = "\"attention_bias\":true"},
       TRI_E_UNSUPPORTED,
       "attention_bias"},
      {{PACKED, .config_old = "\"default\"", .config_new = "\"llama3\""},
       TRI_E_UNSUPPORTED,
       "rotary scaling \"llama3\""},
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
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("case %zu: %s \"%s\"; %s \"%s\" expected", i, tri_status_name(status), err.text,
               tri_status_name(cases[i].status), cases[i].part);
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
      {s_token, "", "", "\"use_regex\":false", "\"use_regex\":true", TRI_E_UNSUPPORTED, "use_regex"},
      {s_token, "", "", "\"Split\"", "\"Digits\"", TRI_E_UNSUPPORTED,
       "only a Sequence of Split and ByteLevel"},
      {s_token, "", "", "\"BPE\"", "\"Unigram\"", TRI_E_UNSUPPORTED, "model type \"Unigram\""},
      {s_token, "", "", "\"BPE\"", "\"BPE\",\"byte_fallback\":true", TRI_E_UNSUPPORTED, "byte_fallback"},
      {s_token, "", "", "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", TRI_E_UNSUPPORTED,
       "normalizer \"NFC\""},
      {s_token, "", "", "\"merges\":[", "\"merges\":7,\"x\":[", TRI_E_FORMAT,
       "model.merges must be an array"},
      {s_token, "", "", "{\"Sequence\"", "{\"SpecialToken\"", TRI_E_UNSUPPORTED,
       "elsewhere than before the text"},
      {s_token, "", "", "\"model\":{", "\"model\":", TRI_E_FORMAT, "no JSON"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_vocab v = {0};
    tri_buf b = {0};
    tri_buf_printf(&b, tokenizer_format, cases[i].added, cases[i].tail, cases[i].merges);
    replace(&b, cases[i].from, cases[i].to);
    err.text[0] = 0;
    tri_status status = tri_vocab_from_json(&v, (char *)b.data, b.len, &err);
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("case %zu: %s \"%s\"; %s \"%s\" expected", i, tri_status_name(status), err.text,
               tri_status_name(cases[i].status), cases[i].part);
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

static void a_folders_tokenizer_must_be_right(void **state) {
  (void)state;
  make_folder_with_tokenizer("\"BPE\"", "\"Unigram\"");
  assert_fails(convert(&with_tokenizer, NULL), TRI_E_UNSUPPORTED, err, "model type \"Unigram\"");
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
  assert_ok(tri_convert_dummy("bitnet-3b", out_path, TRI_TYPE_Q8_0, 1, 42, NULL, &err), err);
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
  assert_fails(tri_convert_dummy("bitnet-4b", out_path, TRI_TYPE_F16, 1, 42, NULL, &err), TRI_E_INVALID, err,
               "known are bitnet-2b");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_folder_converts),
      cmocka_unit_test(each_wrong_folder_has_its_error),
      cmocka_unit_test(vocabularies_come_from_tokenizer_json),
      cmocka_unit_test(each_wrong_tokenizer_has_its_error),
      cmocka_unit_test(a_tokenizer_is_filled_up_to_the_embedding),
      cmocka_unit_test(a_folders_tokenizer_must_be_right),
      cmocka_unit_test(a_dummy_has_its_shape_and_takes_any_text),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
