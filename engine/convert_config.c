/* SPDX-License-Identifier: MIT */
#include "engine/convert_source.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "engine/show.h"

/* Hugging Face's config.json. Whatever changes the arithmetic and isn't done here is refused by name. */

enum { MAX_CONFIG_BYTES = 1 << 20 };

static const struct known {
  const char *class, *model_type, *arch, *act;
  bool inner_names;
  float rope_theta; /* the class's default */
} known[] = {
    {"BitNetForCausalLM", "bitnet", "bitnet-b1.58", "relu2", false, 500000.0f}, /* Microsoft's 2B4T */
    {"BitnetForCausalLM", NULL, "bitnet", "silu", true, 10000.0f},              /* 1bitLLM's large and 3B */
    {"LlamaForCausalLM", "llama", "llama", "silu", false, 10000.0f},
    {"LLaMAForCausalLM", NULL, "llama", "silu", false, 10000.0f},
};

typedef struct reader {
  const json_t *root;
  const char *path;
  const struct known *kind;
  tri_status status; /* the first failure */
  tri_error *err;
} reader;

#define FAIL(r, code, ...)                                                                                   \
  ((r)->status = (r)->status != TRI_OK ? (r)->status : tri_status_fail((r)->err, code, __VA_ARGS__))

static bool absent(const json_t *v) { return !v || json_is_null(v); }

static int32_t read_int(reader *r, const char *key, int32_t otherwise, int32_t max) {
  const json_t *v = json_object_get(r->root, key);
  if (absent(v) && otherwise > 0) return otherwise;
  json_int_t n = json_integer_value(v);
  if (!json_is_integer(v) || n < 1 || n > max)
    FAIL(r, TRI_E_FORMAT, "%s: %s must be an integer from 1 to %d", r->path, key, max);
  return (int32_t)n;
}

static float read_number(reader *r, const json_t *v, const char *key, float otherwise) {
  if (absent(v) && otherwise > 0) return otherwise;
  float x = (float)json_number_value(v);
  if (!json_is_number(v) || !(x > 0) || !isfinite(x))
    FAIL(r, TRI_E_FORMAT, "%s: %s must be a positive number", r->path, key);
  return x;
}

static void read_kind(reader *r) {
  const char *class = json_string_value(json_array_get(json_object_get(r->root, "architectures"), 0));
  const char *type = json_string_value(json_object_get(r->root, "model_type"));
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (class ? strcmp(class, known[i].class) == 0 : type && known[i].model_type && strcmp(type, known[i].model_type) == 0)
      r->kind = &known[i];
  if (!r->kind)
    FAIL(r, TRI_E_UNSUPPORTED,
         "%s: architecture \"%s\"; known are BitNetForCausalLM (bitnet), BitnetForCausalLM and LlamaForCausalLM (llama)",
         r->path,
         TRI_SHOW_TEXT(class  ? class
                       : type ? type
                              : ""));
}

static void read_extras(reader *r, tri_convert_kind *kind) {
  kind->arch = r->kind->arch, kind->inner_names = r->kind->inner_names;
  kind->attn_bias = json_is_true(json_object_get(r->root, "attention_bias"));
  kind->mlp_bias = json_is_true(json_object_get(r->root, "mlp_bias"));
  const char *act = json_string_value(json_object_get(r->root, "hidden_act"));
  if (act && strcmp(act, r->kind->act) != 0)
    FAIL(r, TRI_E_UNSUPPORTED, "%s: hidden_act \"%s\"; \"%s\" expected for %s", r->path, TRI_SHOW_TEXT(act),
         r->kind->act, r->kind->class);
}

/* --- rotary embedding --- */

/* Llama 3.1's scaling: pairs whose waves are longer than the old context / low_freq_factor turn `factor` times slower, those
 * shorter than the old context / high_freq_factor as before, and those between are blended (transformers'
 * modeling_rope_utils, "llama3"). Written as bitnet.cpp and llama.cpp do: what each pair's frequency is divided by. */
static void fill_llama3(reader *r, const json_t *scaling, const tri_shape *s, tri_convert_kind *kind) {
  double factor = (double)read_number(r, json_object_get(scaling, "factor"), "rope_scaling.factor", 0);
  double low = (double)read_number(r, json_object_get(scaling, "low_freq_factor"), "rope_scaling.low_freq_factor", 0);
  double high = (double)read_number(r, json_object_get(scaling, "high_freq_factor"), "rope_scaling.high_freq_factor", 0);
  static const char old_key[] = "original_max_position_embeddings";
  double old = (double)read_number(r, json_object_get(scaling, old_key), "rope_scaling.original_max_position_embeddings", 0);
  if (r->status == TRI_OK && !(high > low))
    FAIL(r, TRI_E_FORMAT, "%s: rope_scaling.high_freq_factor %g is not above low_freq_factor %g", r->path, high, low);
  if (r->status != TRI_OK) return;
  kind->has_rope_factors = true;
  for (int i = 0; i < s->hd / 2; i++) {
    double turns = old * pow((double)s->rope_theta, -2.0 * i / s->hd) / (2 * M_PI); /* old context in waves */
    double blend = (turns - low) / (high - low);
    kind->rope_factors[i] = (float)(blend >= 1 ? 1 : blend <= 0 ? factor : 1 / ((1 - blend) / factor + blend));
  }
}

/* rope_theta stands at the top, or (transformers 5) in rope_parameters, with what else there is; rope_scaling is what that
 * was called before. */
static void read_rope(reader *r, tri_shape *s, tri_convert_kind *kind) {
  const json_t *parameters = json_object_get(r->root, "rope_parameters"), *theta = json_object_get(r->root, "rope_theta");
  const json_t *scaling = json_is_object(parameters) ? parameters : json_object_get(r->root, "rope_scaling");
  const json_t *type = json_object_get(scaling, "rope_type");
  if (absent(theta)) theta = json_object_get(parameters, "rope_theta");
  s->rope_theta = read_number(r, theta, "rope_theta", r->kind->rope_theta);
  s->rope_scale = 1;
  if (!type) type = json_object_get(scaling, "type");
  const char *name = json_string_value(type);
  const json_t *partial = json_object_get(r->root, "partial_rotary_factor");
  if (!absent(partial) && json_number_value(partial) != 1)
    FAIL(r, TRI_E_UNSUPPORTED, "%s: partial_rotary_factor %g is not supported", r->path, json_number_value(partial));
  if (absent(scaling) || (name && strcmp(name, "default") == 0) || (!type && scaling == parameters)) return;
  if (name && strcmp(name, "linear") == 0) s->rope_scale = read_number(r, json_object_get(scaling, "factor"), "rope_scaling.factor", 0);
  else if (name && strcmp(name, "llama3") == 0) fill_llama3(r, scaling, s, kind);
  else FAIL(r, TRI_E_UNSUPPORTED, "%s: rotary scaling \"%s\"; \"linear\" and \"llama3\" are supported", r->path,
            TRI_SHOW_TEXT(name ? name : ""));
}

static tri_convert_scheme read_scheme(reader *r) {
  const json_t *q = json_object_get(r->root, "quantization_config"),
               *skipped = json_object_get(q, "modules_to_not_convert");
  if (absent(q)) return strcmp(r->kind->arch, "llama") != 0 ? TRI_CONVERT_BITLINEAR : TRI_CONVERT_EXACT;
  const char *method = json_string_value(json_object_get(q, "quant_method"));
  const char *class = json_string_value(json_object_get(q, "linear_class"));
  if (!method || strcmp(method, "bitnet") != 0)
    FAIL(r, TRI_E_UNSUPPORTED, "%s: quant_method \"%s\"; only \"bitnet\" is supported", r->path,
         TRI_SHOW_TEXT(method ? method : ""));
  for (size_t i = 0; i < json_array_size(skipped); i++) {
    const char *name = json_string_value(json_array_get(skipped, i));
    if (!name || strcmp(name, "lm_head") != 0)
      FAIL(r, TRI_E_UNSUPPORTED, "%s: modules_to_not_convert names \"%s\"; only lm_head can stay as it is",
           r->path, TRI_SHOW_TEXT(name ? name : ""));
  }
  if (json_is_true(json_object_get(q, "use_rms_norm")))
    FAIL(r, TRI_E_UNSUPPORTED, "%s: quantization_config.use_rms_norm is not supported", r->path);
  if (!class || strcmp(class, "bitlinear") == 0) return TRI_CONVERT_BITLINEAR;
  if (strcmp(class, "autobitlinear") != 0)
    FAIL(r, TRI_E_UNSUPPORTED, "%s: linear_class \"%s\"; bitlinear and autobitlinear are known", r->path,
         TRI_SHOW_TEXT(class));
  return TRI_CONVERT_AUTOBITLINEAR;
}

static void read_shape(reader *r, tri_shape *s) {
  if (!tri_shape_set_arch(s, (tri_str){r->kind->arch, strlen(r->kind->arch)}))
    FAIL(r, TRI_E_INTERNAL, "%s: architecture %s is not in the list of shapes", r->path, r->kind->arch);
  s->tied = json_is_true(json_object_get(r->root, "tie_word_embeddings"));
  s->d = read_int(r, "hidden_size", 0, 1 << 16);
  s->n_layers = read_int(r, "num_hidden_layers", 0, 1024);
  s->n_heads = read_int(r, "num_attention_heads", 0, 1024);
  s->ffn = read_int(r, "intermediate_size", 0, TRI_MAX_K);
  s->vocab = read_int(r, "vocab_size", 0, TRI_VOCAB_TOKENS);
  s->context = read_int(r, "max_position_embeddings", 0, 1 << 20);
  s->eps = read_number(r, json_object_get(r->root, "rms_norm_eps"), "rms_norm_eps", 0);
  if (r->status != TRI_OK) return;
  s->n_kv = read_int(r, "num_key_value_heads", s->n_heads, 1024);
  bool divides = s->d % s->n_heads == 0 || !absent(json_object_get(r->root, "head_dim"));
  s->hd = read_int(r, "head_dim", s->d / s->n_heads, 1024);
  if (r->status == TRI_OK && (!divides || s->hd % 2 || s->n_heads % s->n_kv))
    FAIL(r, TRI_E_FORMAT, "%s: %d heads of %d values over %d KV heads at hidden_size %d don't fit together",
         r->path, s->n_heads, s->hd, s->n_kv, s->d);
}

/* eos_token_id may be a list, whose second is then the end of a turn. */
static int32_t read_id(reader *r, const char *key, size_t nth, int32_t vocab) {
  const json_t *v = json_object_get(r->root, key);
  if (json_is_array(v))
    v = json_array_get(v, nth);
  else if (nth > 0)
    v = NULL;
  if (absent(v)) return -1;
  if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= vocab)
    FAIL(r, TRI_E_FORMAT, "%s: %s is not the id of one of %d tokens", r->path, key, vocab);
  return (int32_t)json_integer_value(v);
}

tri_status tri_convert_config_read(tri_convert_config *out, const char *folder, tri_error *err) {
  char path[TRI_CONVERT_PATH];
  tri_buf text = {0};
  json_error_t e;
  tri_status status = tri_convert_path(path, folder, "config.json", err);
  if (status == TRI_OK) status = tri_file_read(&text, path, MAX_CONFIG_BYTES, err);
  if (status != TRI_OK) return tri_buf_free(&text), status;
  json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &e);
  tri_buf_free(&text);
  reader r = {.root = root, .path = path, .err = err};
  tri_convert_config c = {0};
  if (!json_is_object(root))
    FAIL(&r, TRI_E_FORMAT, "%s: no JSON object: %s (line %d)", path,
         root ? "another value" : TRI_SHOW_TEXT(e.text), e.line);
  if (r.status == TRI_OK) read_kind(&r);
  if (r.status == TRI_OK) {
    read_extras(&r, &c.kind);
    read_shape(&r, &c.shape);
    if (r.status == TRI_OK) read_rope(&r, &c.shape, &c.kind);
    c.scheme = read_scheme(&r);
    c.bos = read_id(&r, "bos_token_id", 0, c.shape.vocab);
    c.eos = read_id(&r, "eos_token_id", 0, c.shape.vocab),
    c.eot = read_id(&r, "eos_token_id", 1, c.shape.vocab);
  }
  json_decref(root);
  if (r.status == TRI_OK) *out = c;
  return r.status;
}
