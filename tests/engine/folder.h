/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_ENGINE_FOLDER_H
#define TRI_TESTS_ENGINE_FOLDER_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/gguf.h"
#include "kernels/i2s.h"
#include "tests/test.h"

/* Small Hugging Face folders, in `dir`, whose every value is a function of name and place. */

enum { D = 64, LAYERS = 2, HEADS = 4, KV = 2, HD = 16, FFN = 96, VOCAB = 40 };

typedef struct variant {
  bool llama, packed, exact, sharded, tied;
  bool inner; /* 1bitLLM's class, with its names of the sub-norms */
  bool bias;
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

static char dir[64];

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
  const char *inner;
} norms[] = {
    {"input_layernorm", "attn_norm", D, false, NULL},
    {"post_attention_layernorm", "ffn_norm", D, false, NULL},
    {"self_attn.attn_sub_norm", "attn_sub_norm", HEADS *HD, true, "self_attn.inner_attn_ln"},
    {"mlp.ffn_sub_norm", "ffn_sub_norm", FFN, true, "mlp.ffn_layernorm"},
};
enum { LINEARS = sizeof linears / sizeof *linears, NORMS = sizeof norms / sizeof *norms };

static const char *norm_source(const variant *v, const struct norm *n) { return v->inner && n->inner ? n->inner : n->source; }

static void put_layer(const variant *v, shard *s, int layer) {
  char name[128];
  for (size_t i = 0; i < LINEARS; i++) {
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, linears[i].source);
    if (v->packed)
      put_packed(v, s, name, linears[i].m, linears[i].k);
    else
      put_floats(v, s, name, linears[i].m, linears[i].k);
    snprintf(name, sizeof name, "model.layers.%d.%s.bias", layer, linears[i].source);
    if (v->bias) put_floats(v, s, name, 1, linears[i].m);
  }
  for (size_t i = 0; i < NORMS; i++) {
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, norm_source(v, &norms[i]));
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
      "\"tie_word_embeddings\":%s,\"attention_bias\":%s,\"mlp_bias\":%s,\"eos_token_id\":[3,5],\"quantization_config\":%"
      "s}",
      v->llama ? "LlamaForCausalLM" : v->inner ? "BitnetForCausalLM" : "BitNetForCausalLM", v->llama || v->inner ? "silu" : "relu2", D, FFN,
      LAYERS, HEADS, KV, VOCAB, v->tied ? "true" : "false", v->bias ? "true" : "false", v->bias ? "true" : "false", v->quant);
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

#endif
