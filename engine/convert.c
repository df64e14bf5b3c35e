/* SPDX-License-Identifier: MIT */
#include "engine/convert_source.h"

#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/show.h"
#include "kernels/i2s.h"

/* One tensor to write and where it comes from. */
typedef struct step {
  tri_convert_tensor t;
  const tri_safetensor *weight, *scale; /* scale: of packed linears, else NULL */
  double gamma; /* of a linear, once it is measured: absmean's, … */
  float size;   /* … and the scale that is written; 0 before */
} step;

typedef struct job {
  tri_convert_out out;
  tri_convert_source *source;
  tri_convert_scheme scheme;
  const char *folder;
  step *steps;
  uint8_t *raw;  /* scratch: TRI_CONVERT_CHUNK values as in the file, but aligned */
  float *floats; /* scratch: the same as floats */
} job;

/* --- finding and checking the inputs --- */

static bool is_float(tri_dtype d) { return d == TRI_DTYPE_F32 || d == TRI_DTYPE_F16 || d == TRI_DTYPE_BF16; }

static tri_status check_dims(const job *j, const tri_convert_tensor *t, const tri_safetensor *w, uint64_t m,
                             tri_error *err) {
  bool fits = t->vector ? w->n_dims == 1 && w->dims[0] == t->k
                        : w->n_dims == 2 && w->dims[0] == m && w->dims[1] == t->k;
  if (fits) return TRI_OK;
  return tri_status_fail(
      err, TRI_E_FORMAT, "%s: tensor %s: %d dimensions [%llu, %llu]; [%llu, %llu] expected by config.json",
      j->folder, t->source, w->n_dims, (unsigned long long)(w->n_dims > 0 ? w->dims[0] : 0),
      (unsigned long long)(w->n_dims > 1 ? w->dims[1] : 1), (unsigned long long)(t->vector ? t->k : m),
      (unsigned long long)(t->vector ? 1 : t->k));
}

static tri_status find_scale_tensor(const job *j, step *s, tri_error *err) {
  char name[sizeof s->t.source + 8];
  snprintf(name, sizeof name, "%s_scale", s->t.source);
  tri_status status = tri_convert_source_find(j->source, name, &s->scale, err);
  if (status != TRI_OK) return status;
  if (!s->scale) return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is missing", j->folder, name);
  if (s->scale->count != 1 || !is_float(s->scale->dtype))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s must be one F32, F16 or BF16 value", j->folder,
                           name);
  return TRI_OK;
}

static tri_status find_step(const job *j, step *s, tri_error *err) {
  bool linear = s->t.form != NULL;
  if (!*s->t.source) return TRI_OK; /* made from config.json */
  tri_status status = tri_convert_source_find(j->source, s->t.source, &s->weight, err);
  if (status != TRI_OK) return status;
  if (!s->weight)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s is missing", j->folder, s->t.source);
  if (is_float(s->weight->dtype)) return check_dims(j, &s->t, s->weight, s->t.m, err);
  if (!linear || s->weight->dtype != TRI_DTYPE_U8)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s: dtype %s; F32, F16 or BF16%s expected",
                           j->folder, s->t.source, tri_dtype_name(s->weight->dtype),
                           linear ? ", or packed U8" : "");
  if (s->t.m % 4)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: %llu rows can't be packed by fours", j->folder,
                           s->t.source, (unsigned long long)s->t.m);
  status = check_dims(j, &s->t, s->weight, s->t.m / 4, err);
  return status == TRI_OK ? find_scale_tensor(j, s, err) : status;
}

static tri_status find_all(job *j, tri_error *err) {
  size_t n = tri_convert_out_count(&j->out);
  j->steps = calloc(n, sizeof *j->steps);
  j->raw = malloc(TRI_CONVERT_CHUNK * sizeof(float));
  j->floats = malloc(TRI_CONVERT_CHUNK * sizeof(float));
  if (!j->steps || !j->raw || !j->floats)
    return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", j->folder);
  for (size_t i = 0; i < n; i++) {
    j->steps[i].t = tri_convert_out_tensor(&j->out, i);
    tri_status status = find_step(j, &j->steps[i], err);
    if (status != TRI_OK) return status;
  }
  const char *unused = tri_convert_source_unused(j->source, j->out.shape.tied);
  if (!unused) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has no place in the architecture that config.json states", j->folder,
                         TRI_SHOW_TEXT(unused));
}

/* --- values --- */

/* Values [first, first + n) of a float tensor, in j->floats; n <= TRI_CONVERT_CHUNK. */
static const float *read_floats(const job *j, const tri_safetensor *w, uint64_t first, size_t n) {
  size_t size = tri_dtype_bytes(w->dtype);
  tri_ftype type = w->dtype == TRI_DTYPE_F32 ? TRI_F32 : w->dtype == TRI_DTYPE_F16 ? TRI_F16 : TRI_BF16;
  memcpy(j->raw, w->data + first * size, n * size);
  j->out.kernels->to_f32(j->raw, type, j->floats, n);
  return j->floats;
}

/* The row of the source that stands at row r of the file. llama.cpp's `llama` rotates adjacent pairs where
 * Hugging Face rotates halves of a head, so its files interleave the halves. */
static uint64_t source_row(const job *j, const tri_convert_tensor *t, uint64_t r) {
  if (!t->heads || j->out.shape.neox) return r;
  uint64_t hd = (t->vector ? t->k : t->m) / t->heads, i = r % hd;
  return r - i + i / 2 + (i % 2 ? hd / 2 : 0);
}

/* A vector is shorter than a chunk. */
static tri_status write_bias(job *j, const step *s, tri_error *err) {
  float *x = malloc((size_t)s->t.k * sizeof *x);
  if (!x) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", j->folder);
  const float *source = read_floats(j, s->weight, 0, (size_t)s->t.k);
  for (uint64_t r = 0; r < s->t.k; r++) x[r] = source[source_row(j, &s->t, r)];
  tri_status status = tri_convert_out_floats(&j->out, &s->t, x, (size_t)s->t.k, err);
  free(x);
  return status;
}

static tri_status write_floats(job *j, const step *s, tri_error *err) {
  tri_status status = TRI_OK;
  if (!s->weight) return tri_convert_out_floats(&j->out, &s->t, j->out.kind.rope_factors, (size_t)s->t.k, err);
  if (s->t.vector && s->t.heads) return write_bias(j, s, err);
  for (uint64_t at = 0; at < s->weight->count && status == TRI_OK;) {
    uint64_t left = s->weight->count - at;
    size_t n = left < TRI_CONVERT_CHUNK ? (size_t)left : TRI_CONVERT_CHUNK;
    status = tri_convert_out_floats(&j->out, &s->t, read_floats(j, s->weight, at, n), n, err);
    at += n;
  }
  return status;
}

/* The scale: absmean's gamma; with
 * TRI_CONVERT_EXACT the weights are trits times gamma already, or it is an error: rounding an ordinary model
 * would ruin it. */
static tri_status measure(const job *j, const step *s, double *gamma, tri_error *err) {
  const tri_safetensor *w = s->weight;
  double sum = 0, top = 0;
  bool uneven = false;
  for (uint64_t at = 0; at < w->count;) {
    uint64_t left = w->count - at;
    size_t n = left < TRI_CONVERT_CHUNK ? (size_t)left : TRI_CONVERT_CHUNK;
    const float *x = read_floats(j, w, at, n);
    for (size_t i = 0; i < n; i++) {
      double size = fabs((double)x[i]);
      sum += size;
      if (top == 0) top = size;
      uneven |= size != 0 && size != top;
    }
    at += n;
  }
  if (!isfinite(sum))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s holds values that are not finite", j->folder,
                           s->t.source);
  if (j->scheme == TRI_CONVERT_EXACT && uneven)
    return tri_status_fail(
        err, TRI_E_UNSUPPORTED,
        "%s: tensor %s is not ternary, and config.json has no quantization_config of quant_method \"bitnet\"",
        j->folder, s->t.source);
  if (j->scheme == TRI_CONVERT_EXACT)
    *gamma = top > 0 ? top : 1;
  else
    *gamma = tri_ternary_gamma(sum, w->count);
  return TRI_OK;
}

static tri_status read_scale(const job *j, step *s, tri_error *err) {
  if (!s->scale) {
    tri_status status = measure(j, s, &s->gamma, err);
    s->size = (float)s->gamma;
    return status;
  }
  float v = read_floats(j, s->scale, 0, 1)[0];
  s->size = j->scheme == TRI_CONVERT_AUTOBITLINEAR ? v : 1 / v;
  if (!(v > 0) || !isfinite(v) || !isfinite(s->size))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s_scale: %g is no scale", j->folder, s->t.source,
                           (double)v);
  if (!tri_i2s_check(s->weight->data, s->weight->bytes))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s holds code 3, which is no ternary weight",
                           j->folder, s->t.source);
  return TRI_OK;
}

static void read_trits(const job *j, const step *s, uint64_t row, double gamma, int8_t *out) {
  size_t k = (size_t)s->t.k;
  if (s->scale) {
    /* Hugging Face packs row r of m into bits 2i, 2i+1 of packed row r % (m/4), i = r / (m/4) */
    uint64_t quarter = s->t.m / 4;
    const uint8_t *p = s->weight->data + row % quarter * k;
    unsigned shift = 2 * (unsigned)(row / quarter);
    for (size_t i = 0; i < k; i++) out[i] = (int8_t)((p[i] >> shift & 3) - 1);
    return;
  }
  tri_ternary_round(read_floats(j, s->weight, row * k, k), k, gamma, out);
}

/* Where the type rounds scales, all are needed before anything is written. */
static tri_status measure_all(job *j, tri_error *err) {
  const tri_convert_options *o = &j->out.options;
  size_t n = tri_convert_out_count(&j->out);
  uint64_t looked = 0, to_look = 0;
  if (!tri_layouts_halves(o->linear_type)) return TRI_OK;
  j->out.scales = calloc(n, sizeof *j->out.scales);
  if (!j->out.scales) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", j->folder);
  for (size_t i = 0; i < n; i++)
    if (j->steps[i].t.form) to_look += j->steps[i].weight->bytes;
  for (size_t i = 0; i < n; i++) {
    step *s = &j->steps[i];
    if (!s->t.form) continue;
    tri_status status = read_scale(j, s, err);
    if (status != TRI_OK) return status;
    status = tri_convert_sink_holds(o->linear_type, s->size, s->t.source, err);
    if (status != TRI_OK) return tri_status_prefix(err, status, "%s", j->folder);
    j->out.scales[j->out.n_scales++] = s->size;
    tri_file_map_drop(s->weight->data, s->weight->bytes);
    if (o->progress) o->progress(o->progress_arg, looked += s->weight->bytes, to_look, s->t.name);
  }
  return TRI_OK;
}

typedef struct linear_source {
  const job *j;
  const step *s;
} linear_source;

static tri_status put_rows(void *arg, const tri_ternary_form *f, size_t first, size_t last, const float *scales, int8_t *trits,
                           uint8_t *tensor, tri_error *err) {
  const linear_source *from = arg;
  (void)err;
  for (size_t r = first; r < last; r++)
    read_trits(from->j, from->s, source_row(from->j, &from->s->t, r), from->s->gamma, trits + (r - first) * f->k);
  tri_ternary_put(f, first, last, trits, scales, tensor);
  return TRI_OK;
}

static tri_status write_linear(job *j, step *s, tri_error *err) {
  linear_source from = {j, s};
  tri_status status = s->size == 0 ? read_scale(j, s, err) : TRI_OK;
  if (status != TRI_OK) return status;
  return tri_convert_sink_linear(&j->out.sink, s->t.name, s->t.form, s->size, NULL, put_rows, &from, err);
}

/* --- the whole --- */

static void name_after_folder(char out[128], const char *folder) {
  char path[PATH_MAX];
  snprintf(out, 128, "%s", realpath(folder, path) ? basename(path) : "model");
}

static tri_status write_all(job *j, const char *out_path, const tri_vocab *vocab, tri_error *err) {
  tri_status status = tri_convert_out_begin(&j->out, out_path, vocab, err);
  if (status != TRI_OK) return status;
  for (size_t i = 0; i < tri_convert_out_count(&j->out) && status == TRI_OK; i++) {
    step *s = &j->steps[i];
    status = s->t.form ? write_linear(j, s, err) : write_floats(j, s, err);
    if (s->weight) tri_file_map_drop(s->weight->data, s->weight->bytes);
  }
  return tri_convert_out_end(&j->out, status, err);
}

static tri_status read_vocab(tri_vocab *vocab, bool *has, const char *folder,
                             const tri_convert_config *config, tri_error *err) {
  tri_status status = tri_convert_vocab_read(vocab, folder, config, err);
  *has = status == TRI_OK;
  if (status != TRI_E_NOT_FOUND) return status;
  TRI_WARN("%s: neither tokenizer.json nor tokenizer.model: the file will have no tokenizer and take token ids only", folder);
  return TRI_OK;
}

tri_status tri_convert_hf(const char *folder, const char *out_path, const tri_convert_options *o,
                          tri_error *err) {
  tri_convert_config config;
  tri_vocab vocab = {0};
  bool has_vocab = false;
  tri_status status = tri_convert_config_read(&config, folder, err);
  if (status != TRI_OK) return status;
  job j = {.folder = folder, .scheme = config.scheme};
  j.out = (tri_convert_out){.kind = config.kind, .shape = config.shape, .options = *o};
  name_after_folder(j.out.name, folder);
  status = tri_convert_out_plan(&j.out, out_path, err);
  if (status == TRI_OK) status = tri_convert_source_open(&j.source, folder, err);
  if (status == TRI_OK) status = find_all(&j, err);
  if (status == TRI_OK) status = read_vocab(&vocab, &has_vocab, folder, &config, err);
  if (status == TRI_OK) status = measure_all(&j, err);
  if (status == TRI_OK) status = write_all(&j, out_path, has_vocab ? &vocab : NULL, err);
  tri_vocab_free(&vocab);
  tri_convert_source_close(&j.source);
  free(j.steps), free(j.raw), free(j.floats), free(j.out.scales);
  return status;
}
