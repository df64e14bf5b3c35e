/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_ENGINE_PLAIN_FILE_H
#define TRI_TESTS_ENGINE_PLAIN_FILE_H
#include <stdio.h>

#include "engine/gguf.h"
#include "engine/matrix.h"
#include "engine/ternary.h"
#include "tests/engine/plain.h"
#include "tests/test.h"

/* Files of the models of plain.h, with linears of any type that holds their weights. */

static tri_error plain_err;

typedef struct plain_file {
  plain p;
  uint32_t type;         /* of the linears; 0: I2_S, */
  bool f32;              /* or F32, whose number is 0 */
  tri_i2s_order order;   /* of I2_S */
  bool noisy;            /* float linears are master weights */
  const char *key;  /* one key more, after the architecture's name and a dot, … */
  double number;    /* … of this value, … */
  const char *text; /* … or this one */
  const char *extra; /* a tensor more, F32 [extra_n] of ones */
  uint64_t extra_n;
} plain_file;

typedef struct plain_tensor {
  char name[64];
  const char *part;
  int layer;
  enum { FLOATS, NORM, LINEAR, BIAS, SCALES, FACTORS, ONES } kind;
  uint64_t m, k;
} plain_tensor;

typedef struct plain_list {
  plain_tensor items[128];
  size_t n;
} plain_list;

static inline uint32_t plain_type(const plain_file *f) { return f->type || f->f32 ? f->type : TRI_TYPE_I2_S; }
static inline void plain_add(plain_list *l, const char *part, int layer, int kind, uint64_t m, uint64_t k) {
  plain_tensor *t = &l->items[l->n++];
  *t = (plain_tensor){.part = part, .layer = layer, .kind = kind, .m = m, .k = k};
  const char *end = kind == BIAS ? "bias" : kind == SCALES ? "scale" : "weight";
  if (layer < 0) snprintf(t->name, sizeof t->name, "%s.%s", part, end);
  else snprintf(t->name, sizeof t->name, "blk.%d.%s.%s", layer, part, end);
  assert_true(l->n < 128);
}

static inline void plain_add_linear(plain_list *l, const plain_file *f, const char *part, int layer, int m, int k) {
  const plain *p = &f->p;
  plain_add(l, part, layer, LINEAR, (uint64_t)m, (uint64_t)k);
  if (p->row_scales && !tri_ternary_has_rows(plain_type(f))) plain_add(l, part, layer, SCALES, 1, (uint64_t)m);
  if (p->bias) plain_add(l, part, layer, BIAS, 1, (uint64_t)m);
}

static inline void plain_list_tensors(const plain_file *f, plain_list *l) {
  const plain *p = &f->p;
  int width = p->heads * p->hd, kv = p->kv * p->hd;
  uint64_t d = (uint64_t)p->d, vocab = (uint64_t)p->vocab;
  l->n = 0;
  plain_add(l, "token_embd", -1, FLOATS, vocab, d);
  plain_add(l, "output_norm", -1, NORM, 1, d);
  if (!p->tied) plain_add(l, "output", -1, FLOATS, vocab, d);
  if (p->slow_pairs) plain_add(l, "rope_freqs", -1, FACTORS, 1, (uint64_t)p->hd / 2);
  for (int i = 0; i < p->layers; i++) {
    plain_add(l, "attn_norm", i, NORM, 1, d), plain_add(l, "ffn_norm", i, NORM, 1, d);
    if (p->sub_norms)
      plain_add(l, "attn_sub_norm", i, NORM, 1, (uint64_t)width), plain_add(l, "ffn_sub_norm", i, NORM, 1, (uint64_t)p->ffn);
    plain_add_linear(l, f, "attn_q", i, width, p->d), plain_add_linear(l, f, "attn_k", i, kv, p->d),
        plain_add_linear(l, f, "attn_v", i, kv, p->d);
    plain_add_linear(l, f, "attn_output", i, p->d, width);
    plain_add_linear(l, f, "ffn_gate", i, p->ffn, p->d), plain_add_linear(l, f, "ffn_up", i, p->ffn, p->d),
        plain_add_linear(l, f, "ffn_down", i, p->d, p->ffn);
  }
  if (!f->extra) return;
  plain_add(l, "", -1, ONES, 1, f->extra_n);
  snprintf(l->items[l->n - 1].name, sizeof l->items[0].name, "%s", f->extra);
}

static inline float plain_float_at(const plain *p, const plain_tensor *t, size_t i) {
  int layer = t->layer < 0 ? 0 : t->layer;
  return t->kind == NORM     ? plain_norm(t->part, layer, i)
         : t->kind == SCALES ? plain_scale(p, t->part, layer, i)
         : t->kind == BIAS   ? plain_bias(t->part, layer, i)
         : t->kind == FLOATS ? plain_value(t->part, layer, i)
         : t->kind == ONES   ? 1
                             : plain_factor(p, (int)i);
}

static inline void plain_put_floats(tri_gguf_writer *w, const plain *p, const plain_tensor *t) {
  float *x = malloc(t->m * t->k * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < t->m * t->k; i++) x[i] = plain_float_at(p, t, i);
  assert_ok(tri_gguf_writer_data(w, x, t->m * t->k * sizeof *x, &plain_err), plain_err);
  free(x);
}

static inline uint64_t plain_bytes(uint32_t type, uint64_t m, uint64_t k) {
  uint64_t bytes;
  assert_true(tri_type_bytes(type, m * k, k, &bytes));
  return bytes;
}

/* Linears of float types. */
static inline void plain_put_values(const plain_file *f, const plain_tensor *t, uint8_t *bytes) {
  float *x = malloc(t->m * t->k * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < t->m * t->k; i++)
    x[i] = f->noisy ? plain_value(t->part, t->layer, i)
                    : (float)plain_trit(t->part, t->layer, i) * plain_scale(&f->p, t->part, t->layer, i / t->k);
  tri_matrix_encode(tri_kernels_get(TRI_ISA_PORTABLE), f->type, x, t->m * t->k, bytes);
  free(x);
}

/* As bitnet.cpp places the codes where it isn't built for x86. */
static inline void plain_put_order(const plain_file *f, const plain_tensor *t, const int8_t *trits, uint8_t *bytes) {
  memset(bytes, 0, t->m * t->k / 4);
  for (size_t e = 0; e < t->m * t->k; e++) {
    size_t arm = e / 64 * 16 + e % 16, fours = e / t->k / 4 * t->k + e % t->k;
    size_t shift = f->order == TRI_I2S_ARM ? e % 64 / 16 : e / t->k % 4;
    bytes[f->order == TRI_I2S_ARM ? arm : fours] |= (uint8_t)((trits[e] + 1) << (6 - 2 * shift));
  }
}

static inline void plain_put_linear(tri_gguf_writer *w, const plain_file *f, const plain_tensor *t) {
  tri_ternary_form form = {.type = plain_type(f), .m = t->m, .k = t->k};
  uint64_t n = plain_bytes(form.type, t->m, t->k);
  int8_t *trits = malloc(t->m * t->k);
  uint8_t *bytes = malloc(n);
  float *scales = malloc(t->m * sizeof *scales);
  assert_true(trits && bytes && scales);
  for (size_t i = 0; i < t->m * t->k; i++) trits[i] = (int8_t)plain_trit(t->part, t->layer, i);
  for (size_t i = 0; i < t->m; i++) scales[i] = plain_scale(&f->p, t->part, t->layer, i);
  if (tri_ternary_is(form.type)) {
    tri_ternary_put(&form, 0, t->m, trits, scales, bytes);
    tri_ternary_finish(&form, f->p.row_scales ? 1 : scales[0], bytes);
    if (f->order != TRI_I2S_X86) plain_put_order(f, t, trits, bytes);
  } else {
    plain_put_values(f, t, bytes);
  }
  assert_ok(tri_gguf_writer_data(w, bytes, n, &plain_err), plain_err);
  free(trits), free(bytes), free(scales);
}

static inline void plain_put_metadata(tri_gguf_writer *w, const plain_file *f) {
  const plain *p = &f->p;
  const struct {
    const char *field;
    int value;
  } fields[] = {{"embedding_length", p->d},
                {"block_count", p->layers},
                {"attention.head_count", p->heads},
                {"attention.head_count_kv", p->kv},
                {"attention.key_length", p->hd},
                {"feed_forward_length", p->ffn},
                {"context_length", 64}};
  char key[96];
  tri_gguf_writer_str(w, "general.architecture", p->arch);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    snprintf(key, sizeof key, "%s.%s", p->arch, fields[i].field);
    tri_gguf_writer_u32(w, key, (uint32_t)fields[i].value);
  }
  snprintf(key, sizeof key, "%s.rope.freq_base", p->arch);
  tri_gguf_writer_f32(w, key, (float)plain_theta);
  snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", p->arch);
  tri_gguf_writer_f32(w, key, (float)plain_eps);
  if (p->rope_scale != 1) {
    snprintf(key, sizeof key, "%s.rope.scaling.type", p->arch);
    tri_gguf_writer_str(w, key, "linear");
    snprintf(key, sizeof key, "%s.rope.scaling.factor", p->arch);
    tri_gguf_writer_f32(w, key, (float)p->rope_scale);
  }
  if (!f->key) return;
  snprintf(key, sizeof key, "%s.%s", p->arch, f->key);
  if (f->text) tri_gguf_writer_str(w, key, f->text);
  else if (f->number == floor(f->number)) tri_gguf_writer_u32(w, key, (uint32_t)f->number);
  else tri_gguf_writer_f32(w, key, (float)f->number);
}

/* Write the model to `path`. */
static inline void plain_write_file(const char *path, const plain_file *f) {
  static plain_list l;
  tri_gguf_writer *w;
  plain_list_tensors(f, &l);
  assert_ok(tri_gguf_writer_open(&w, path, &plain_err), plain_err);
  plain_put_metadata(w, f);
  for (size_t i = 0; i < l.n; i++) {
    const plain_tensor *t = &l.items[i];
    tri_gguf_writer_tensor(w, t->name, t->kind == LINEAR ? plain_type(f) : TRI_TYPE_F32, t->m > 1 ? 2 : 1, (uint64_t[]){t->k, t->m});
  }
  assert_ok(tri_gguf_writer_begin(w, &plain_err), plain_err);
  for (size_t i = 0; i < l.n; i++) {
    if (l.items[i].kind == LINEAR) plain_put_linear(w, f, &l.items[i]);
    else plain_put_floats(w, &f->p, &l.items[i]);
  }
  assert_ok(tri_gguf_writer_commit(&w, &plain_err), plain_err);
}

#endif
