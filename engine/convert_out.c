/* SPDX-License-Identifier: MIT */
#include "engine/convert_out.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/i2s.h"
#include "kernels/q6.h"

enum { QUANTIZATION_VERSION = 2 };

/* --- the list of tensors --- */

typedef struct part {
  const char *source; /* inside "model.layers.N." */
  bool norm, sub;            /* sub: only where the architecture has sub-norms */
  int which;                 /* tri_norm or tri_linear */
} part;

static const part parts[] = {
    {"input_layernorm", true, false, TRI_NORM_ATTN},
    {"self_attn.q_proj", false, false, TRI_Q},
    {"self_attn.k_proj", false, false, TRI_K},
    {"self_attn.v_proj", false, false, TRI_V},
    {"self_attn.attn_sub_norm", true, true, TRI_NORM_ATTN_SUB},
    {"self_attn.o_proj", false, false, TRI_O},
    {"post_attention_layernorm", true, false, TRI_NORM_FFN},
    {"mlp.gate_proj", false, false, TRI_GATE},
    {"mlp.up_proj", false, false, TRI_UP},
    {"mlp.ffn_sub_norm", true, true, TRI_NORM_FFN_SUB},
    {"mlp.down_proj", false, false, TRI_DOWN},
};
enum { PARTS = sizeof parts / sizeof *parts, SUB_PARTS = 2 };

static size_t parts_of(const tri_shape *s) { return s->sub_norms ? PARTS : PARTS - SUB_PARTS; }

static uint32_t head_type(const tri_convert_out *c) { return c->options.head_type ? *c->options.head_type : c->options.embedding_type; }
/* A head that is the embedding in another type stands in the file as a tensor of its own. */
static bool own_head(const tri_convert_out *c) { return !c->shape.tied || head_type(c) != c->options.embedding_type; }
static size_t outer_count(const tri_convert_out *c) { return own_head(c) ? 3 : 2; }

size_t tri_convert_out_count(const tri_convert_out *c) {
  return outer_count(c) + (size_t)c->shape.n_layers * parts_of(&c->shape);
}

static const part *part_at(const tri_shape *s, size_t nth) {
  for (size_t i = 0;; i++)
    if ((s->sub_norms || !parts[i].sub) && nth-- == 0) return &parts[i];
}

static tri_convert_tensor outer_tensor(const tri_convert_out *c, size_t i) {
  static const char *const names[][2] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                         {"output_norm.weight", "model.norm.weight"},
                                         {"output.weight", "lm_head.weight"}};
  tri_convert_tensor t = {.vector = i == 1};
  t.type = i == 0 ? c->options.embedding_type : i == 1 ? TRI_TYPE_F32 : head_type(c);
  strcpy(t.name, names[i][0]), strcpy(t.source, names[i == 2 && c->shape.tied ? 0 : i][1]);
  t.m = t.vector ? 1 : (uint64_t)c->shape.vocab, t.k = (uint64_t)c->shape.d;
  return t;
}

static tri_convert_tensor layer_tensor(const tri_convert_out *c, size_t layer, const part *p) {
  tri_convert_tensor t = {.vector = p->norm, .type = p->norm ? TRI_TYPE_F32 : c->options.linear_type, .m = 1};
  snprintf(t.name, sizeof t.name, "blk.%zu.%s.weight", layer,
           p->norm ? tri_norm_name((tri_norm)p->which) : tri_linear_name((tri_linear)p->which));
  snprintf(t.source, sizeof t.source, "model.layers.%zu.%s.weight", layer, p->source);
  if (p->norm) {
    t.k = tri_shape_norm(&c->shape, (tri_norm)p->which);
  } else {
    t.form = &c->forms[p->which];
    t.m = t.form->m, t.k = t.form->k;
    if (p->which == TRI_Q) t.heads = (uint64_t)c->shape.n_heads;
    if (p->which == TRI_K) t.heads = (uint64_t)c->shape.n_kv;
  }
  return t;
}

tri_convert_tensor tri_convert_out_tensor(const tri_convert_out *c, size_t i) {
  size_t outer = outer_count(c), per_layer = parts_of(&c->shape);
  tri_convert_tensor t =
      i < outer ? outer_tensor(c, i)
                : layer_tensor(c, (i - outer) / per_layer, part_at(&c->shape, (i - outer) % per_layer));
  if (!tri_type_bytes(t.type, t.m * t.k, t.k, &t.bytes)) t.bytes = 0; /* plan refuses it */
  return t;
}

/* --- writing --- */

static void put_u32(const tri_convert_out *c, const char *field, int32_t v) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", c->arch, field);
  tri_gguf_writer_u32(c->sink.writer, key, (uint32_t)v);
}
static void put_f32(const tri_convert_out *c, const char *field, float v) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", c->arch, field);
  tri_gguf_writer_f32(c->sink.writer, key, v);
}

static void put_metadata(const tri_convert_out *c) {
  const tri_shape *s = &c->shape;
  tri_gguf_writer_str(c->sink.writer, "general.architecture", c->arch);
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
  tri_convert_sink_tiles(c->sink.writer, c->forms, TRI_LINEARS);
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

static bool writable(uint32_t type) {
  return type == TRI_TYPE_F32 || type == TRI_TYPE_F16 || type == TRI_TYPE_BF16 || type == TRI_TYPE_Q8_0 || type == TRI_TYPE_Q6_K;
}

tri_status tri_convert_out_plan(tri_convert_out *c, const char *path, tri_error *err) {
  uint32_t wanted[] = {c->options.embedding_type, head_type(c)};
  for (size_t i = 0; i < 2; i++)
    if (!writable(wanted[i]))
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
  char why[256];
  c->sink.options = &c->options;
  c->kernels = tri_kernels_pick(why, sizeof why);
  if (!c->kernels) return tri_status_fail(err, TRI_E_INVALID, "%s", why);
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
  if (t->type == TRI_TYPE_F32) return tri_convert_sink_bytes(&c->sink, t->name, x, n * sizeof *x, err);
  if (t->type == TRI_TYPE_Q8_0) {
    tri_q8_to_file(x, n, c->encoded);
    return tri_convert_sink_bytes(&c->sink, t->name, c->encoded, n / TRI_Q8_BLOCK * (TRI_Q8_BLOCK + 2), err);
  }
  if (t->type == TRI_TYPE_Q6_K) {
    tri_q6_to_file(x, n, c->encoded);
    return tri_convert_sink_bytes(&c->sink, t->name, c->encoded, n / TRI_Q6_BLOCK * TRI_Q6_FILE_BYTES, err);
  }
  c->kernels->from_f32(x, t->type == TRI_TYPE_F16 ? TRI_F16 : TRI_BF16, c->encoded, n);
  return tri_convert_sink_bytes(&c->sink, t->name, c->encoded, n * 2, err);
}

tri_status tri_convert_out_end(tri_convert_out *c, tri_status status, tri_error *err) {
  if (status == TRI_OK) status = tri_gguf_writer_commit(&c->sink.writer, err);
  release(c);
  return status;
}
