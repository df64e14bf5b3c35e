/* SPDX-License-Identifier: MIT */
#include "engine/model_impl.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/matrix.h"
#include "engine/order.h"
#include "engine/show.h"

/* --- tensors --- */

/* What a tensor may be, and its name in messages. */
typedef struct kind {
  bool (*fits)(uint32_t type);
  const char *names;
} kind;

static bool is_f32(uint32_t type) { return type == TRI_TYPE_F32; }
static const kind linears = {tri_ternary_may_be,
                             "I2_S, TL1, TL2, TQ1_0, TQ2_0, IQ1_BN, IQ2_BN, IQ2_BN_R4, and F32, F16, BF16 and Q8_0 of ternary values"};
static const kind vectors = {is_f32, "F32"};
static const kind matrices = {tri_matrix_is, tri_matrix_names};

static tri_status need_tensor(const tri_model *m, const char *name, size_t rows, size_t cols, kind what, const tri_gguf_tensor **out,
                              tri_error *err) {
  const char *path = tri_gguf_path(m->gguf);
  const tri_gguf_tensor *t = tri_gguf_find(m->gguf, name);
  if (!t) return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is missing", path, name);
  if (t->n_dims > 2 || t->dims[0] != cols || t->dims[1] != rows)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is [%llu, %llu], not [%zu, %zu]", path, name, (unsigned long long)t->dims[1],
                           (unsigned long long)t->dims[0], rows, cols);
  if (what.fits(t->type)) return *out = t, TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has type %s (%u); %s can be read here", path, name, tri_type_name(t->type),
                         t->type, what.names);
}

static bool is_sub(int norm) { return norm == TRI_NORM_ATTN_SUB || norm == TRI_NORM_FFN_SUB; }

static tri_status find_layer(tri_model *m, int layer, tri_error *err) {
  const tri_shape *s = &m->shape;
  char name[96];
  tri_status status = TRI_OK;
  for (int i = 0; i < TRI_LINEARS && status == TRI_OK; i++) {
    size_t rows, cols;
    tri_shape_linear(s, (tri_linear)i, &rows, &cols);
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, tri_linear_name((tri_linear)i));
    const tri_gguf_tensor *t = NULL;
    status = need_tensor(m, name, rows, cols, linears, &t, err);
    if (status == TRI_OK && t->data) status = tri_ternary_open(&m->layers[layer].linear[i], m->gguf, t, NULL, 0, err);
  }
  for (int i = 0; i < TRI_LINEARS && status == TRI_OK; i++) {
    size_t rows, cols;
    tri_shape_linear(s, (tri_linear)i, &rows, &cols);
    snprintf(name, sizeof name, "blk.%d.%s.bias", layer, tri_linear_name((tri_linear)i));
    if (!tri_gguf_find(m->gguf, name)) continue;
    status = need_tensor(m, name, 1, rows, vectors, &m->layers[layer].bias[i], err);
  }
  for (int i = 0; i < TRI_NORMS && status == TRI_OK; i++) {
    if (is_sub(i) && !s->sub_norms) continue;
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, tri_norm_name((tri_norm)i));
    status = need_tensor(m, name, 1, tri_shape_norm(s, (tri_norm)i), vectors, &m->layers[layer].norm[i], err);
  }
  return status;
}

static bool is_listed(const char *const *names, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

/* What find_tensors and find_layer look at, and what bitnet.cpp writes besides: a linear's scale as a tensor of its own, which
 * stands in the linear's last bytes too. */
static bool is_known(const tri_shape *s, const char *name) {
  static const char *const outer[] = {"token_embd.weight", "output.weight", "output_norm.weight", "rope_freqs.weight"};
  static const char *const ends[] = {"weight", "bias", "scale", "weight_scale"};
  char part[80];
  int layer, used = 0;
  bool known = false;
  if (is_listed(outer, sizeof outer / sizeof *outer, name)) return true;
  if (sscanf(name, "blk.%4d.%n", &layer, &used) != 1 || !used || layer < 0 || layer >= s->n_layers) return false;
  snprintf(part, sizeof part, "%s", name + used);
  char *end = strchr(part, '.');
  if (!end) return false;
  *end++ = 0;
  for (int i = 0; i < TRI_LINEARS; i++)
    known |= strcmp(part, tri_linear_name((tri_linear)i)) == 0 && is_listed(ends, sizeof ends / sizeof *ends, end);
  for (int i = 0; i < TRI_NORMS; i++)
    known |= strcmp(part, tri_norm_name((tri_norm)i)) == 0 && (s->sub_norms || !is_sub(i)) && strcmp(end, "weight") == 0;
  return known;
}

/* A tensor left out would change the result in silence: a norm of queries, say, or an adapter. */
static tri_status refuse_unknown(const tri_model *m, tri_error *err) {
  for (size_t i = 0; i < tri_gguf_tensor_count(m->gguf); i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(m->gguf, i);
    if (!is_known(&m->shape, TRI_SHOW(t->name)))
      return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has no place in this architecture as Trireme knows it",
                             tri_gguf_path(m->gguf), TRI_SHOW(t->name));
  }
  return TRI_OK;
}

static tri_status find_rope_factors(tri_model *m, tri_error *err) {
  static const char name[] = "rope_freqs.weight";
  size_t pairs = (size_t)m->shape.hd / 2;
  if (!tri_gguf_find(m->gguf, name)) return TRI_OK;
  tri_status status = need_tensor(m, name, 1, pairs, vectors, &m->rope_factors, err);
  for (size_t i = 0; i < pairs && status == TRI_OK && m->rope_factors->data; i++) {
    float factor = ((const float *)(const void *)m->rope_factors->data)[i];
    if (!(factor > 0) || !isfinite(factor))
      status = tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: %g is no positive factor", tri_gguf_path(m->gguf), name, (double)factor);
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
  tri_status status = need_tensor(m, "token_embd.weight", vocab, d, matrices, &m->embedding, err);
  s->tied = !tri_gguf_find(m->gguf, "output.weight");
  m->head = m->embedding;
  if (status == TRI_OK && !s->tied) status = need_tensor(m, "output.weight", vocab, d, matrices, &m->head, err);
  if (status == TRI_OK) status = need_tensor(m, "output_norm.weight", 1, d, vectors, &m->head_norm, err);
  if (status == TRI_OK) status = find_rope_factors(m, err);
  if (status == TRI_OK && !(m->layers = calloc((size_t)s->n_layers, sizeof *m->layers)))
    status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (int i = 0; i < s->n_layers && status == TRI_OK; i++) status = find_layer(m, i, err);
  return status == TRI_OK ? refuse_unknown(m, err) : status;
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
  tri_gguf *g;
  tri_model *m;
  tri_status status = tri_gguf_open(&g, path, err);
  if (status == TRI_OK) status = tri_model_open_gguf(&m, &g, true, err);
  if (status != TRI_OK) return status;
  status = tri_order_check(m->gguf, err);
  if (status != TRI_OK) return tri_model_close(&m), status;
  *out = m;
  return TRI_OK;
}

tri_status tri_model_open_gguf(tri_model **out, tri_gguf **g, bool text, tri_error *err) {
  tri_model *m = calloc(1, sizeof *m);
  if (!m) return tri_gguf_close(g), tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  m->gguf = *g, *g = NULL;
  tri_status status = tri_shape_read(&m->shape, m->gguf, err);
  if (status == TRI_OK) status = find_tensors(m, err);
  if (status != TRI_OK) return tri_model_close(&m), status;
  if (text) open_tokenizer(m);
  else tri_status_fail(&m->no_tokenizer, TRI_E_NOT_FOUND, "%s: opened without its tokenizer", tri_gguf_path(m->gguf));
  *out = m;
  return TRI_OK;
}

void tri_model_close(tri_model **model) {
  tri_model *m = *model;
  if (!m) return;
  tri_tokenizer_close(&m->tokenizer);
  tri_gguf_close(&m->gguf);
  if (!m->phantom) free(m->layers);
  free(m->phantom), free(m->phantom_bytes);
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

/* A layer's tensors stand in one part, so one of them speaks for all. */
static bool has_layer(const tri_model *m, int layer) {
  const tri_layer_tensors *t = &m->layers[layer];
  return t->linear[0].tensor && t->norm[TRI_NORM_ATTN]->data;
}

tri_status tri_model_check_present(const tri_model *m, int first, int last, bool embed, bool head, tri_error *err) {
  char what[32] = "";
  if (m->rope_factors && !m->rope_factors->data) snprintf(what, sizeof what, "rope_freqs");
  if (embed && !m->embedding->data) snprintf(what, sizeof what, "the embedding");
  if (head && !(m->head->data && m->head_norm->data)) snprintf(what, sizeof what, "the head");
  for (int i = first; i < last; i++)
    if (!has_layer(m, i)) snprintf(what, sizeof what, "layer %d", i);
  return what[0] ? tri_status_fail(err, TRI_E_NOT_FOUND, "%s: %s is not here", tri_gguf_path(m->gguf), what) : TRI_OK;
}

float tri_model_rope_step(const tri_model *m, int pair) {
  const tri_shape *s = &m->shape;
  double factor = m->rope_factors ? (double)((const float *)(const void *)m->rope_factors->data)[pair] : 1;
  return (float)(1 / (pow((double)s->rope_theta, (double)(2 * pair) / (double)s->hd) * factor * (double)s->rope_scale));
}

tri_status tri_model_need_tokenizer(const tri_model *m, const tri_tokenizer **out, tri_error *err) {
  if (!m->tokenizer) return tri_status_fail(err, m->no_tokenizer.status, "%s", m->no_tokenizer.text);
  *out = m->tokenizer;
  return TRI_OK;
}

void tri_model_id(const tri_model *m, uint8_t id[TRI_MODEL_ID_BYTES]) {
  uint64_t bytes = tri_gguf_file_bytes(m->gguf);
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, TRI_MODEL_ID_BYTES);
  for (size_t i = 0; i < tri_gguf_part_count(m->gguf); i++) {
    tri_str header = tri_gguf_header(m->gguf, i);
    crypto_generichash_update(&state, (const uint8_t *)header.data, header.len);
  }
  crypto_generichash_update(&state, (const uint8_t *)&bytes, sizeof bytes);
  crypto_generichash_final(&state, id, TRI_MODEL_ID_BYTES);
}

size_t tri_model_head_bytes(const tri_model *m) {
  size_t vocab = tri_round_up((size_t)m->shape.vocab, TRI_BLOCK_ROWS), d = (size_t)m->shape.d;
  if (tri_matrix_is_float(m->head->type)) return m->head->bytes;
  if (m->head->type == TRI_TYPE_Q6_K) return tri_q6_bytes(vocab, d);
  return vocab * d + vocab * d / TRI_Q8_BLOCK * sizeof(float);
}
