/* SPDX-License-Identifier: MIT */
#include "engine/model.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tri_model {
  tri_gguf *gguf;
  tri_shape shape;
  tri_tokenizer *tokenizer;
  tri_error no_tokenizer; /* why tokenizer is NULL */
  tri_layer_tensors *layers; /* [n_layers] */
  const tri_gguf_tensor *embedding, *head, *head_norm;
};

/* What the architecture's name in a file stands for. bitnet.cpp writes `bitnet` for 1bitLLM's large and 3B, `bitnet-b1.58`
 * (earlier `bitnet-25`) for Microsoft's 2B4T. */
static const struct arch_name {
  const char *name;
  tri_arch arch;
  tri_gate gate;
  bool sub_norms, neox;
} arch_names[] = {
    {"bitnet-b1.58", TRI_ARCH_BITNET, TRI_GATE_RELU2, true, true},
    {"bitnet-25", TRI_ARCH_BITNET, TRI_GATE_RELU2, true, true},
    {"bitnet", TRI_ARCH_BITNET, TRI_GATE_SILU, true, true},
    {"llama", TRI_ARCH_LLAMA, TRI_GATE_SILU, false, false},
};

static const char *const linear_names[TRI_LINEARS] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
static const char *const norm_names[TRI_NORMS] = {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"};

const char *tri_linear_name(tri_linear which) { return linear_names[which]; }

void tri_shape_linear(const tri_shape *s, tri_linear which, size_t *m, size_t *k) {
  size_t d = (size_t)s->d, ffn = (size_t)s->ffn, q = (size_t)s->n_heads * (size_t)s->hd, kv = (size_t)s->n_kv * (size_t)s->hd;
  const size_t shapes[TRI_LINEARS][2] = {{q, d}, {kv, d}, {kv, d}, {d, q}, {ffn, d}, {ffn, d}, {d, ffn}};
  *m = shapes[which][0], *k = shapes[which][1];
}

const char *tri_norm_name(tri_norm which) { return norm_names[which]; }

size_t tri_shape_norm(const tri_shape *s, tri_norm which) {
  if (which == TRI_NORM_ATTN_SUB) return (size_t)s->n_heads * (size_t)s->hd;
  return (size_t)(which == TRI_NORM_FFN_SUB ? s->ffn : s->d);
}

/* --- metadata --- */

typedef struct reader {
  const tri_gguf *g;
  const char *arch;
  tri_error *err;
  tri_status status;
} reader;

static void key_name(const reader *r, const char *field, char out[128]) { snprintf(out, 128, "%s.%s", r->arch, field); }

static bool has_int(const reader *r, const char *field, uint64_t *v) {
  char key[128];
  key_name(r, field, key);
  return tri_gguf_get_u64(r->g, key, v);
}

/* A whole number in [1, most]; the first failure stays in r->status. */
static int32_t need_int(reader *r, const char *field, uint64_t most) {
  uint64_t v = 0;
  bool found = has_int(r, field, &v);
  if (r->status == TRI_OK && !found)
    r->status = tri_status_fail(r->err, TRI_E_FORMAT, "%s: the key %s.%s is missing or no whole number", tri_gguf_path(r->g), r->arch,
                                field);
  else if (r->status == TRI_OK && (v < 1 || v > most))
    r->status = tri_status_fail(r->err, TRI_E_LIMIT, "%s: %s.%s is %llu, not between 1 and %llu", tri_gguf_path(r->g), r->arch, field,
                                (unsigned long long)v, (unsigned long long)most);
  return r->status == TRI_OK ? (int32_t)v : 1;
}

static float get_float(const reader *r, const char *field, float otherwise) {
  char key[128];
  double v;
  key_name(r, field, key);
  return tri_gguf_get_f64(r->g, key, &v) && isfinite(v) && v > 0 ? (float)v : otherwise;
}

static tri_status read_shape(const tri_gguf *g, tri_shape *out, tri_error *err) {
  tri_str arch;
  if (!tri_gguf_get_str(g, "general.architecture", &arch))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the key general.architecture is missing", tri_gguf_path(g));
  const struct arch_name *name = NULL;
  for (size_t i = 0; i < sizeof arch_names / sizeof *arch_names; i++)
    if (arch.len == strlen(arch_names[i].name) && memcmp(arch.data, arch_names[i].name, arch.len) == 0) name = &arch_names[i];
  if (!name)
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: architecture '%.*s' is unknown; known are bitnet-b1.58, bitnet-25, bitnet and llama", tri_gguf_path(g),
                           (int)(arch.len < 64 ? arch.len : 64), arch.data);
  reader r = {g, name->name, err, TRI_OK};
  tri_shape s = {.arch = name->arch, .gate = name->gate, .sub_norms = name->sub_norms, .neox = name->neox};
  s.d = need_int(&r, "embedding_length", 1 << 16);
  s.n_layers = need_int(&r, "block_count", 1024);
  s.n_heads = need_int(&r, "attention.head_count", 1024);
  uint64_t v;
  s.n_kv = has_int(&r, "attention.head_count_kv", &v) ? need_int(&r, "attention.head_count_kv", 1024) : s.n_heads;
  s.ffn = need_int(&r, "feed_forward_length", TRI_MAX_K);
  s.context = need_int(&r, "context_length", 1 << 20);
  s.hd = has_int(&r, "attention.key_length", &v) ? need_int(&r, "attention.key_length", 1024) : s.d / s.n_heads;
  s.eps = get_float(&r, "attention.layer_norm_rms_epsilon", 1e-5f);
  s.rope_theta = get_float(&r, "rope.freq_base", 10000.0f);
  if (r.status != TRI_OK) return r.status;
  if (s.n_heads % s.n_kv != 0 || s.hd < 2 || s.hd % 2 != 0 || s.hd > TRI_MAX_HEAD_DIM)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %d heads over %d KV heads of %d values do not fit together (values: even, at most %d)",
                           tri_gguf_path(g), s.n_heads, s.n_kv, s.hd, TRI_MAX_HEAD_DIM);
  if (has_int(&r, "rope.dimension_count", &v) && v != (uint64_t)s.hd)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: rotary embedding over %llu of %d values is not supported", tri_gguf_path(g),
                           (unsigned long long)v, s.hd);
  *out = s;
  return TRI_OK;
}

/* --- tensors --- */

static const uint32_t ternary_types[] = {TRI_TYPE_I2_S, TRI_TYPE_TL1, TRI_TYPE_TL2};
static const uint32_t norm_types[] = {TRI_TYPE_F32};
static const uint32_t matrix_types[] = {TRI_TYPE_F16, TRI_TYPE_BF16, TRI_TYPE_F32, TRI_TYPE_Q8_0, TRI_TYPE_Q6_K};
#define TYPES(a) a, sizeof(a) / sizeof *(a)

static tri_status need_tensor(const tri_model *m, const char *name, size_t rows, size_t cols, const uint32_t *types, size_t n_types,
                              const tri_gguf_tensor **out, tri_error *err) {
  const char *path = tri_gguf_path(m->gguf);
  const tri_gguf_tensor *t = tri_gguf_find(m->gguf, name);
  if (!t) return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is missing", path, name);
  if (t->n_dims > 2 || t->dims[0] != cols || t->dims[1] != rows)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is [%llu, %llu], not [%zu, %zu]", path, name, (unsigned long long)t->dims[1],
                           (unsigned long long)t->dims[0], rows, cols);
  for (size_t i = 0; i < n_types; i++)
    if (t->type == types[i]) return *out = t, TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has type %s (%u); %s can be read here", path, name, tri_type_name(t->type),
                         t->type,
                         types == ternary_types ? "I2_S, TL1 and TL2" : types == norm_types ? "F32" : "F32, F16, BF16, Q8_0 and Q6_K");
}

static tri_status find_layer(tri_model *m, int layer, tri_error *err) {
  const tri_shape *s = &m->shape;
  char name[96];
  tri_status status = TRI_OK;
  for (int i = 0; i < TRI_LINEARS && status == TRI_OK; i++) {
    size_t rows, cols;
    tri_shape_linear(s, (tri_linear)i, &rows, &cols);
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, linear_names[i]);
    const tri_gguf_tensor *t = NULL;
    status = need_tensor(m, name, rows, cols, TYPES(ternary_types), &t, err);
    if (status == TRI_OK) status = tri_ternary_open(&m->layers[layer].linear[i], m->gguf, t, NULL, 0, err);
  }
  for (int i = 0; i < TRI_NORMS && status == TRI_OK; i++) {
    bool sub = i == TRI_NORM_ATTN_SUB || i == TRI_NORM_FFN_SUB;
    if (sub && !s->sub_norms) continue;
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, norm_names[i]);
    status = need_tensor(m, name, 1, tri_shape_norm(s, (tri_norm)i), TYPES(norm_types), &m->layers[layer].norm[i], err);
  }
  return status;
}

static tri_status find_tensors(tri_model *m, tri_error *err) {
  tri_shape *s = &m->shape;
  const tri_gguf_tensor *e = tri_gguf_find(m->gguf, "token_embd.weight");
  if (!e || e->dims[1] < 1 || e->dims[1] > 1 << 22)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor token_embd.weight is missing or has no rows", tri_gguf_path(m->gguf));
  s->vocab = (int32_t)e->dims[1];
  size_t vocab = (size_t)s->vocab, d = (size_t)s->d;
  tri_status status = need_tensor(m, "token_embd.weight", vocab, d, TYPES(matrix_types), &m->embedding, err);
  s->tied = !tri_gguf_find(m->gguf, "output.weight");
  m->head = m->embedding;
  if (status == TRI_OK && !s->tied) status = need_tensor(m, "output.weight", vocab, d, TYPES(matrix_types), &m->head, err);
  if (status == TRI_OK) status = need_tensor(m, "output_norm.weight", 1, d, TYPES(norm_types), &m->head_norm, err);
  if (status == TRI_OK && !(m->layers = calloc((size_t)s->n_layers, sizeof *m->layers)))
    status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (int i = 0; i < s->n_layers && status == TRI_OK; i++) status = find_layer(m, i, err);
  return status;
}

static void open_tokenizer(tri_model *m) {
  tri_vocab vocab = {0};
  if (tri_vocab_from_gguf(&vocab, m->gguf, &m->no_tokenizer) != TRI_OK) return;
  if (vocab.n_tokens > (size_t)m->shape.vocab)
    tri_status_fail(&m->no_tokenizer, TRI_E_FORMAT, "%s: the tokenizer has %zu tokens, the embedding %d rows", tri_gguf_path(m->gguf),
                    vocab.n_tokens, m->shape.vocab);
  else if (tri_tokenizer_open(&m->tokenizer, &vocab, &m->no_tokenizer) == TRI_OK) return;
  tri_vocab_free(&vocab);
}

tri_status tri_model_open(tri_model **out, const char *path, tri_error *err) {
  tri_model *m = calloc(1, sizeof *m);
  if (!m) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = tri_gguf_open(&m->gguf, path, err);
  if (status == TRI_OK) status = read_shape(m->gguf, &m->shape, err);
  if (status == TRI_OK) status = find_tensors(m, err);
  if (status != TRI_OK) return tri_model_close(&m), status;
  open_tokenizer(m);
  *out = m;
  return TRI_OK;
}

void tri_model_close(tri_model **model) {
  tri_model *m = *model;
  if (!m) return;
  tri_tokenizer_close(&m->tokenizer);
  tri_gguf_close(&m->gguf);
  free(m->layers);
  free(m);
  *model = NULL;
}

const tri_gguf *tri_model_gguf(const tri_model *m) { return m->gguf; }
const tri_shape *tri_model_shape(const tri_model *m) { return &m->shape; }
const tri_tokenizer *tri_model_tokenizer(const tri_model *m) { return m->tokenizer; }
const tri_layer_tensors *tri_model_layer(const tri_model *m, int layer) { return &m->layers[layer]; }
const tri_gguf_tensor *tri_model_embedding(const tri_model *m) { return m->embedding; }
const tri_gguf_tensor *tri_model_head(const tri_model *m) { return m->head; }
const tri_gguf_tensor *tri_model_head_norm(const tri_model *m) { return m->head_norm; }

tri_status tri_model_need_tokenizer(const tri_model *m, const tri_tokenizer **out, tri_error *err) {
  if (!m->tokenizer) return tri_status_fail(err, m->no_tokenizer.status, "%s", m->no_tokenizer.text);
  *out = m->tokenizer;
  return TRI_OK;
}

void tri_model_id(const tri_model *m, uint8_t id[TRI_MODEL_ID_BYTES]) {
  tri_str header = tri_gguf_header(m->gguf);
  uint64_t bytes = tri_gguf_file_bytes(m->gguf);
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, TRI_MODEL_ID_BYTES);
  crypto_generichash_update(&state, (const uint8_t *)header.data, header.len);
  crypto_generichash_update(&state, (const uint8_t *)&bytes, sizeof bytes);
  crypto_generichash_final(&state, id, TRI_MODEL_ID_BYTES);
}

size_t tri_model_head_bytes(const tri_model *m) {
  size_t vocab = tri_round_up((size_t)m->shape.vocab, TRI_BLOCK_ROWS), d = (size_t)m->shape.d;
  if (m->head->type == TRI_TYPE_Q6_K) return tri_q6_bytes(vocab, d);
  if (m->head->type == TRI_TYPE_Q8_0) return vocab * d + vocab * d / TRI_Q8_BLOCK * sizeof(float);
  return m->head->bytes;
}
