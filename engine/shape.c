/* SPDX-License-Identifier: MIT */
#include "engine/shape.h"

#include <math.h>
#include <stdio.h>

#include "engine/show.h"

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

static bool is_text(tri_str s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

bool tri_shape_set_arch(tri_shape *s, tri_str name) {
  for (size_t i = 0; i < sizeof arch_names / sizeof *arch_names; i++) {
    const struct arch_name *a = &arch_names[i];
    if (is_text(name, a->name)) return s->arch = a->arch, s->gate = a->gate, s->sub_norms = a->sub_norms, s->neox = a->neox, true;
  }
  return false;
}

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
  char arch[16]; /* every known name fits */
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

static float get_float(reader *r, const char *field, float otherwise) {
  char key[128];
  double v = 0;
  key_name(r, field, key);
  if (!tri_gguf_kv_find(r->g, key)) return otherwise;
  bool number = tri_gguf_get_f64(r->g, key, &v);
  if (number && isfinite(v) && v > 0) return (float)v;
  if (r->status == TRI_OK)
    r->status =
        tri_status_fail(r->err, TRI_E_FORMAT, "%s: %s is %g, not a positive number", tri_gguf_path(r->g), key, number ? v : (double)NAN);
  return otherwise;
}

/* Keys of models that share an architecture's name but compute something else, and the value at which they change nothing. */
static void refuse_extras(reader *r) {
  static const struct {
    const char *field;
    double neutral;
  } extras[] = {{"expert_count", 0}, {"attention.sliding_window", 0}, {"attn_logit_softcapping", 0}, {"final_logit_softcapping", 0},
                {"attention.scale", 0}, {"attention.clamp_kqv", 0}, {"residual_scale", 1}, {"embedding_scale", 1}, {"logit_scale", 1}};
  for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
    char key[128];
    uint64_t whole;
    double v;
    key_name(r, extras[i].field, key);
    if (!tri_gguf_kv_find(r->g, key)) continue;
    bool number = tri_gguf_get_f64(r->g, key, &v) || (tri_gguf_get_u64(r->g, key, &whole) && (v = (double)whole, true));
    if (r->status == TRI_OK && number && v != extras[i].neutral)
      r->status =
          tri_status_fail(r->err, TRI_E_UNSUPPORTED, "%s: %s is %g: models that need it are not supported", tri_gguf_path(r->g), key, v);
    else if (r->status == TRI_OK && !number)
      r->status = tri_status_fail(r->err, TRI_E_UNSUPPORTED, "%s: the key %s is no number", tri_gguf_path(r->g), key);
  }
}

/* rope.scaling.type "linear" with its factor; rope.scale_linear is what the key was called before. */
static float read_rope_scale(reader *r) {
  char key[128];
  tri_str type;
  key_name(r, "rope.scaling.type", key);
  if (!tri_gguf_kv_find(r->g, key)) return get_float(r, "rope.scale_linear", 1);
  bool text = tri_gguf_get_str(r->g, key, &type);
  if (text && is_text(type, "none")) return 1;
  if (text && is_text(type, "linear")) return get_float(r, "rope.scaling.factor", 1);
  if (r->status == TRI_OK)
    r->status = tri_status_fail(r->err, TRI_E_UNSUPPORTED, "%s: %s is \"%s\"; \"none\" and \"linear\" are supported", tri_gguf_path(r->g),
                                key, text ? TRI_SHOW(type) : "no text");
  return 1;
}

tri_status tri_shape_read(tri_shape *out, const tri_gguf *g, tri_error *err) {
  tri_str arch;
  if (!tri_gguf_get_str(g, "general.architecture", &arch))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the key general.architecture is missing", tri_gguf_path(g));
  tri_shape s = {0};
  reader r = {.g = g, .err = err};
  if (!tri_shape_set_arch(&s, arch))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: architecture '%s' is unknown; known are bitnet-b1.58, bitnet-25, bitnet and llama",
                           tri_gguf_path(g), TRI_SHOW(arch));
  snprintf(r.arch, sizeof r.arch, "%.*s", (int)arch.len, arch.data);
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
  s.rope_scale = read_rope_scale(&r);
  refuse_extras(&r);
  if (r.status != TRI_OK) return r.status;
  if (s.n_heads % s.n_kv != 0 || s.hd < 2 || s.hd % 2 != 0 || s.hd > TRI_MAX_HEAD_DIM)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: %d heads over %d KV heads of %d values do not fit together (values: even, at most %d)",
                           tri_gguf_path(g), s.n_heads, s.n_kv, s.hd, TRI_MAX_HEAD_DIM);
  if (has_int(&r, "rope.dimension_count", &v) && v != (uint64_t)s.hd)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: rotary embedding over %llu of %d values is not supported", tri_gguf_path(g),
                           (unsigned long long)v, s.hd);
  if (has_int(&r, "attention.value_length", &v) && v != (uint64_t)s.hd)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: values of %llu elements beside keys of %d are not supported", tri_gguf_path(g),
                           (unsigned long long)v, s.hd);
  *out = s;
  return TRI_OK;
}
