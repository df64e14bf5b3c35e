/* SPDX-License-Identifier: MIT */
#include "engine/convert_out.h"

#include <stdlib.h>
#include <string.h>

#include "engine/matrix.h"

enum { QUANTIZATION_VERSION = 2 };

/* --- the list of tensors --- */

typedef enum part_kind { NORM, SUB_NORM, LINEAR, ATTN_BIAS, MLP_BIAS } part_kind;

typedef struct part {
  const char *source; /* inside "model.layers.N." */
  part_kind kind;
  int which;          /* tri_norm or tri_linear */
  const char *inner;  /* 1bitLLM's name for it, where that is another */
} part;

static const part parts[] = {
    {"input_layernorm", NORM, TRI_NORM_ATTN, NULL},
    {"self_attn.q_proj", LINEAR, TRI_Q, NULL},
    {"self_attn.q_proj", ATTN_BIAS, TRI_Q, NULL},
    {"self_attn.k_proj", LINEAR, TRI_K, NULL},
    {"self_attn.k_proj", ATTN_BIAS, TRI_K, NULL},
    {"self_attn.v_proj", LINEAR, TRI_V, NULL},
    {"self_attn.v_proj", ATTN_BIAS, TRI_V, NULL},
    {"self_attn.attn_sub_norm", SUB_NORM, TRI_NORM_ATTN_SUB, "self_attn.inner_attn_ln"},
    {"self_attn.o_proj", LINEAR, TRI_O, NULL},
    {"self_attn.o_proj", ATTN_BIAS, TRI_O, NULL},
    {"post_attention_layernorm", NORM, TRI_NORM_FFN, NULL},
    {"mlp.gate_proj", LINEAR, TRI_GATE, NULL},
    {"mlp.gate_proj", MLP_BIAS, TRI_GATE, NULL},
    {"mlp.up_proj", LINEAR, TRI_UP, NULL},
    {"mlp.up_proj", MLP_BIAS, TRI_UP, NULL},
    {"mlp.ffn_sub_norm", SUB_NORM, TRI_NORM_FFN_SUB, "mlp.ffn_layernorm"},
    {"mlp.down_proj", LINEAR, TRI_DOWN, NULL},
    {"mlp.down_proj", MLP_BIAS, TRI_DOWN, NULL},
};
enum { PARTS = sizeof parts / sizeof *parts };

static bool has_part(const tri_convert_out *c, const part *p) {
  return p->kind == SUB_NORM ? c->shape.sub_norms : p->kind == ATTN_BIAS ? c->kind.attn_bias : p->kind != MLP_BIAS || c->kind.mlp_bias;
}

static size_t parts_of(const tri_convert_out *c) {
  size_t n = 0;
  for (size_t i = 0; i < PARTS; i++) n += has_part(c, &parts[i]);
  return n;
}

static uint32_t head_type(const tri_convert_out *c) { return c->options.head_type ? *c->options.head_type : c->options.embedding_type; }
/* A head that is the embedding in another type stands in the file as a tensor of its own. */
static bool own_head(const tri_convert_out *c) { return !c->shape.tied || head_type(c) != c->options.embedding_type; }

/* Tensors outside of the layers, in their order. */
typedef enum outer { EMBEDDING, HEAD_NORM, HEAD, ROPE_FACTORS, OUTERS } outer;

static bool has_outer(const tri_convert_out *c, outer o) {
  return o == HEAD ? own_head(c) : o != ROPE_FACTORS || c->kind.has_rope_factors;
}

static size_t outer_count(const tri_convert_out *c) {
  size_t n = 0;
  for (int o = 0; o < OUTERS; o++) n += has_outer(c, (outer)o);
  return n;
}

size_t tri_convert_out_count(const tri_convert_out *c) { return outer_count(c) + (size_t)c->shape.n_layers * parts_of(c); }

static const part *part_at(const tri_convert_out *c, size_t nth) {
  for (size_t i = 0;; i++)
    if (has_part(c, &parts[i]) && nth-- == 0) return &parts[i];
}

static outer outer_at(const tri_convert_out *c, size_t nth) {
  for (int o = 0;; o++)
    if (has_outer(c, (outer)o) && nth-- == 0) return (outer)o;
}

static tri_convert_tensor outer_tensor(const tri_convert_out *c, outer o) {
  static const char *const names[OUTERS][2] = {[EMBEDDING] = {"token_embd.weight", "model.embed_tokens.weight"},
                                               [HEAD_NORM] = {"output_norm.weight", "model.norm.weight"},
                                               [HEAD] = {"output.weight", "lm_head.weight"},
                                               [ROPE_FACTORS] = {"rope_freqs.weight", ""}};
  tri_convert_tensor t = {.vector = o == HEAD_NORM || o == ROPE_FACTORS};
  t.type = o == EMBEDDING ? c->options.embedding_type : o == HEAD ? head_type(c) : TRI_TYPE_F32;
  strcpy(t.name, names[o][0]), strcpy(t.source, names[o == HEAD && c->shape.tied ? EMBEDDING : o][1]);
  t.m = t.vector ? 1 : (uint64_t)c->shape.vocab, t.k = (uint64_t)(o == ROPE_FACTORS ? c->shape.hd / 2 : c->shape.d);
  return t;
}

static tri_convert_tensor layer_tensor(const tri_convert_out *c, size_t layer, const part *p) {
  bool norm = p->kind == NORM || p->kind == SUB_NORM, linear = p->kind == LINEAR;
  tri_convert_tensor t = {.vector = !linear, .type = linear ? c->options.linear_type : TRI_TYPE_F32, .m = 1};
  const char *name = norm ? tri_norm_name((tri_norm)p->which) : tri_linear_name((tri_linear)p->which);
  const char *end = norm || linear ? "weight" : "bias";
  snprintf(t.name, sizeof t.name, "blk.%zu.%s.%s", layer, name, end);
  snprintf(t.source, sizeof t.source, "model.layers.%zu.%s.%s", layer, c->kind.inner_names && p->inner ? p->inner : p->source, end);
  if (norm) {
    t.k = tri_shape_norm(&c->shape, (tri_norm)p->which);
  } else {
    size_t m, k;
    tri_shape_linear(&c->shape, (tri_linear)p->which, &m, &k);
    if (linear) t.form = &c->forms[p->which];
    if (linear) t.m = m, t.k = k;
    else t.k = m;
    t.heads = p->which == TRI_Q ? (uint64_t)c->shape.n_heads : p->which == TRI_K ? (uint64_t)c->shape.n_kv : 0;
  }
  return t;
}

tri_convert_tensor tri_convert_out_tensor(const tri_convert_out *c, size_t i) {
  size_t outers = outer_count(c), n = parts_of(c);
  tri_convert_tensor t = i < outers ? outer_tensor(c, outer_at(c, i)) : layer_tensor(c, (i - outers) / n, part_at(c, (i - outers) % n));
  if (!tri_type_bytes(t.type, t.m * t.k, t.k, &t.bytes)) t.bytes = 0; /* plan refuses it */
  return t;
}

/* --- writing --- */

static void put_u32(const tri_convert_out *c, const char *field, int32_t v) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", c->kind.arch, field);
  tri_gguf_writer_u32(c->sink.writer, key, (uint32_t)v);
}
static void put_f32(const tri_convert_out *c, const char *field, float v) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", c->kind.arch, field);
  tri_gguf_writer_f32(c->sink.writer, key, v);
}

static void put_str(const tri_convert_out *c, const char *field, const char *v) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", c->kind.arch, field);
  tri_gguf_writer_str(c->sink.writer, key, v);
}

static void put_metadata(const tri_convert_out *c) {
  const tri_shape *s = &c->shape;
  tri_gguf_writer_str(c->sink.writer, "general.architecture", c->kind.arch);
  tri_gguf_writer_str(c->sink.writer, "general.name", c->name);
  tri_gguf_writer_u32(c->sink.writer, "general.file_type", tri_ternary_file_type(c->options.linear_type));
  tri_gguf_writer_u32(c->sink.writer, "general.quantization_version", QUANTIZATION_VERSION);
  put_u32(c, "vocab_size", s->vocab);
  put_u32(c, "context_length", s->context);
  put_u32(c, "embedding_length", s->d);
  put_u32(c, "block_count", s->n_layers);
  put_u32(c, "feed_forward_length", s->ffn);
  put_u32(c, "attention.head_count", s->n_heads);
  put_u32(c, "attention.head_count_kv", s->n_kv);
  put_u32(c, "attention.key_length", s->hd);
  put_u32(c, "attention.value_length", s->hd);
  put_f32(c, "attention.layer_norm_rms_epsilon", s->eps);
  put_u32(c, "rope.dimension_count", s->hd);
  put_f32(c, "rope.freq_base", s->rope_theta);
  if (s->rope_scale != 1) put_str(c, "rope.scaling.type", "linear"), put_f32(c, "rope.scaling.factor", s->rope_scale);
  tri_convert_sink_tiles(c->sink.writer, c->forms, TRI_LINEARS);
  tri_convert_sink_scales(c->sink.writer, c->options.linear_type, c->scales, c->n_scales);
}

static tri_status plan_linears(tri_convert_out *c, tri_error *err) {
  const tri_convert_options *o = &c->options;
  for (int i = 0; i < TRI_LINEARS; i++) {
    char name[64];
    size_t m, k;
    tri_shape_linear(&c->shape, (tri_linear)i, &m, &k);
    snprintf(name, sizeof name, "blk.0.%s.weight", tri_linear_name((tri_linear)i));
    tri_status status = tri_ternary_plan(&c->forms[i], o->linear_type, m, k, name, o->tiles, o->n_tiles, NULL, err);
    if (status != TRI_OK) return status;
  }
  return tri_convert_sink_check(o, c->forms, TRI_LINEARS, err);
}

tri_status tri_convert_out_plan(tri_convert_out *c, const char *path, tri_error *err) {
  uint32_t wanted[] = {c->options.embedding_type, head_type(c)};
  char why[256];
  c->kernels = tri_kernels_pick(why, sizeof why);
  if (!c->kernels) return tri_status_fail(err, TRI_E_INVALID, "%s", why);
  for (size_t i = 0; i < 2; i++)
    if (!tri_matrix_writable(wanted[i]))
      return tri_status_fail(err, TRI_E_INVALID, "%s: %s as type %u; F32, F16, BF16, Q8_0 or Q6_K expected", path,
                             i ? "the head" : "embeddings", wanted[i]);
  tri_status status = plan_linears(c, err);
  if (status != TRI_OK) return tri_status_prefix(err, status, "%s", path);
  for (size_t i = 0; i < tri_convert_out_count(c); i++) {
    tri_convert_tensor t = tri_convert_out_tensor(c, i);
    if (!t.bytes)
      return tri_status_fail(err, TRI_E_UNSUPPORTED,
                             "%s: tensor %s: %llu x %llu values don't make whole blocks of %s, whose rows take multiples of %d", path,
                             t.name, (unsigned long long)t.m, (unsigned long long)t.k, tri_type_name(t.type),
                             t.type == TRI_TYPE_Q6_K ? TRI_Q6_BLOCK : TRI_Q8_BLOCK);
    if (t.k > TRI_CONVERT_CHUNK)
      return tri_status_fail(err, TRI_E_LIMIT, "%s: tensor %s: rows of %llu values; at most %d expected",
                             path, t.name, (unsigned long long)t.k, TRI_CONVERT_CHUNK);
  }
  return TRI_OK;
}

static void release(tri_convert_out *c) {
  tri_gguf_writer_abort(&c->sink.writer);
  free(c->encoded);
  c->encoded = NULL;
}

tri_status tri_convert_out_begin(tri_convert_out *c, const char *path, const tri_vocab *vocab,
                                 tri_error *err) {
  c->sink.options = &c->options;
  c->encoded = malloc(TRI_CONVERT_CHUNK * sizeof(float));
  if (!c->encoded) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  tri_status status = tri_gguf_writer_open(&c->sink.writer, path, err);
  if (status != TRI_OK) return release(c), status;
  put_metadata(c);
  if (vocab) tri_vocab_write(vocab, c->sink.writer);
  for (size_t i = 0; i < tri_convert_out_count(c); i++) {
    tri_convert_tensor t = tri_convert_out_tensor(c, i);
    tri_gguf_writer_tensor(c->sink.writer, t.name, t.type, t.vector ? 1 : 2, (uint64_t[]){t.k, t.m});
    c->sink.total += t.bytes;
  }
  status = tri_gguf_writer_begin(c->sink.writer, err);
  if (status != TRI_OK) release(c);
  return status;
}

tri_status tri_convert_out_floats(tri_convert_out *c, const tri_convert_tensor *t, const float *x, size_t n,
                                  tri_error *err) {
  size_t bytes = tri_matrix_encode(c->kernels, t->type, x, n, c->encoded);
  return tri_convert_sink_bytes(&c->sink, t->name, c->encoded, bytes, err);
}

tri_status tri_convert_out_end(tri_convert_out *c, tri_status status, tri_error *err) {
  if (status == TRI_OK) status = tri_gguf_writer_commit(&c->sink.writer, err);
  release(c);
  return status;
}
