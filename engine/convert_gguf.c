/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/convert_sink.h"
#include "engine/matrix.h"
#include "engine/order.h"
#include "engine/shape.h"
#include "engine/show.h"
#include "kernels/i2s.h"

/* GGUF -> GGUF with the ternary linears, the embedding or the head in another type. Names tell which tensor is what: no
 * architecture is understood here. */

typedef enum action { COPY, LINEAR, RETYPE, SCALES } action;

typedef struct step {
  action action;
  char name[65];
  const tri_gguf_tensor *tensor;
  uint32_t type; /* in the output */
  /* LINEAR */
  tri_ternary from;
  tri_ternary_form form;
  double gamma;      /* 0: the tensor is ternary; else its values are rounded by absmean */
  float scale;       /* of all rows … */
  float *row_scales; /* … or [m], each row's: of LINEAR, which owns it, and of SCALES, which writes it */
} step;

typedef struct job {
  const char *path;
  tri_gguf *in;
  const tri_convert_options *options;
  tri_i2s_order order; /* of the input's I2_S */
  const tri_kernels *kernels;
  tri_convert_sink sink;
  step *steps;
  tri_ternary_form *forms; /* of the linears, in order */
  size_t n_steps, n_forms;
  uint64_t looked, to_look; /* bytes of linears whose scales are looked at before anything is written */
} job;

static uint64_t elements(const tri_gguf_tensor *t) { return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]; }

/* --- planning: names --- */

static bool ends_with(tri_str s, const char *end) {
  size_t n = strlen(end);
  return s.len > n && memcmp(s.data + s.len - n, end, n) == 0;
}

static bool is_named(const tri_gguf_tensor *t, const char *name) {
  return t->name.len == strlen(name) && memcmp(t->name.data, name, t->name.len) == 0;
}

/* "blk.N.attn_q.weight" and the like. */
static bool is_linear_name(tri_str name) {
  char end[64];
  for (int i = 0; i < TRI_LINEARS; i++) {
    snprintf(end, sizeof end, ".%s.weight", tri_linear_name((tri_linear)i));
    if (name.len > 4 && memcmp(name.data, "blk.", 4) == 0 && ends_with(name, end)) return true;
  }
  return false;
}

static bool is_linear(const tri_gguf_tensor *t) {
  return tri_ternary_is(t->type) || (tri_ternary_may_be(t->type) && t->n_dims == 2 && is_linear_name(t->name));
}

/* A linear's scale as a tensor of its own: bitnet.cpp's NAME.weight_scale, which stands in the linear's last 32 bytes, too; its
 * programs don't look for it under that name, and it would not be there in another type. And NAME.scale, which is part of the
 * scales that are written. */
static bool is_scale(const tri_gguf *g, const tri_gguf_tensor *t) {
  char name[80];
  bool inside = ends_with(t->name, "_scale");
  if (!inside && !ends_with(t->name, ".scale")) return false;
  snprintf(name, sizeof name, "%.*s%s", (int)(t->name.len - strlen("_scale")), t->name.data, inside ? "" : ".weight");
  const tri_gguf_tensor *linear = tri_gguf_find(g, name);
  return linear && is_linear(linear) && (!inside || (t->data > linear->data && t->data < linear->data + linear->bytes));
}

/* --- planning: scales --- */

/* The values of a float tensor; 0 < n <= 256. */
static void read_values(const job *j, const tri_gguf_tensor *t, uint64_t at, size_t n, float *x) {
  tri_matrix_floats(j->kernels, t->type, t->data + at * t->bytes / elements(t), n, x);
}
enum { CHUNK = 256 }; /* whole blocks of any type */

static tri_status measure_absmean(const job *j, step *s, tri_error *err) {
  uint64_t count = elements(s->tensor);
  double sum = 0;
  float x[CHUNK];
  for (uint64_t at = 0, n; at < count; at += n) {
    n = count - at < CHUNK ? count - at : CHUNK;
    read_values(j, s->tensor, at, (size_t)n, x);
    for (size_t i = 0; i < n; i++) sum += fabs((double)x[i]);
  }
  if (!isfinite(sum)) return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s holds values that are not finite", j->path, s->name);
  s->gamma = tri_ternary_gamma(sum, count), s->scale = (float)s->gamma;
  return TRI_OK;
}

/* The scales of all rows; false if the tensor isn't ternary. One scale where all rows with a weight have the same. */
static tri_status measure_rows(const job *j, step *s, bool *ternary, tri_error *err) {
  size_t m = s->form.m, k = s->form.k;
  int8_t *trits = malloc(TRI_TERNARY_ROWS * k);
  s->row_scales = malloc(m * sizeof *s->row_scales);
  if (!trits || !s->row_scales) return free(trits), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for tensor %s", j->path, s->name);
  *ternary = true;
  for (size_t first = 0; first < m && *ternary; first += TRI_TERNARY_ROWS) {
    size_t last = m - first < TRI_TERNARY_ROWS ? m : first + TRI_TERNARY_ROWS;
    *ternary = tri_ternary_rows(&s->from, first, last, trits, s->row_scales + first);
  }
  free(trits);
  tri_file_map_drop(s->tensor->data, s->tensor->bytes);
  bool even = true;
  for (size_t r = 0; r < m && *ternary; r++) {
    if (s->scale == 0) s->scale = s->row_scales[r];
    even &= s->row_scales[r] == 0 || s->row_scales[r] == s->scale;
  }
  if (s->scale == 0) s->scale = 1; /* no weights at all */
  for (size_t r = 0; r < m && *ternary; r++)
    if (s->row_scales[r] == 0) s->row_scales[r] = s->scale;
  if (even || !*ternary) free(s->row_scales), s->row_scales = NULL;
  return TRI_OK;
}

static tri_status measure(job *j, step *s, tri_error *err) {
  bool ternary = true;
  if (!s->from.by_rows) return s->scale = s->from.scale, TRI_OK;
  if (j->options->progress) j->options->progress(j->options->progress_arg, j->looked += s->tensor->bytes, j->to_look, s->name);
  tri_status status = measure_rows(j, s, &ternary, err);
  if (status != TRI_OK || ternary) return status;
  if (tri_ternary_is(s->tensor->type) || !j->options->absmean) return tri_ternary_damaged(&s->from, err);
  return measure_absmean(j, s, err);
}

/* f16 holds no scale out of its range, and rounds those within. */
static tri_status check_halves(const job *j, const step *s, tri_error *err) {
  size_t n = s->row_scales ? s->form.m : 1;
  bool rounded = false;
  if (!tri_layouts_halves(s->type)) return TRI_OK;
  for (size_t r = 0; r < n; r++) {
    float scale = s->row_scales ? s->row_scales[r] : s->scale;
    tri_status status = tri_convert_sink_holds(s->type, scale, s->name, err);
    if (status != TRI_OK) return tri_status_prefix(err, status, "%s", j->path);
    rounded |= tri_f16_to_f32(tri_f16_from_f32(scale)) != scale;
  }
  if (rounded && s->row_scales) TRI_WARN("tensor %s: the scales of its rows are rounded to f16 in %s", s->name, tri_type_name(s->type));
  return TRI_OK;
}

/* --- planning: steps --- */

static step *add_step(job *j, action a, const tri_gguf_tensor *t, uint32_t type) {
  step *s = &j->steps[j->n_steps++];
  *s = (step){.action = a, .tensor = t, .type = type};
  snprintf(s->name, sizeof s->name, "%.*s", (int)t->name.len, t->name.data);
  return s;
}

/* Types without scales of rows get them as a tensor beside. */
static tri_status plan_scales(job *j, const step *linear, tri_error *err) {
  if (!linear->row_scales || tri_ternary_has_rows(linear->type)) return TRI_OK;
  step *s = add_step(j, SCALES, linear->tensor, TRI_TYPE_F32);
  s->row_scales = linear->row_scales, s->form = linear->form;
  if (!ends_with(linear->tensor->name, ".weight"))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has a scale for each row, which %s can't hold", j->path, linear->name,
                           tri_type_name(linear->type));
  snprintf(strrchr(s->name, '.'), 8, ".scale");
  return TRI_OK;
}

static tri_status plan_linear(job *j, const tri_gguf_tensor *t, tri_error *err) {
  const tri_convert_options *o = j->options;
  step *s = add_step(j, LINEAR, t, o->linear_type);
  tri_status status = tri_ternary_open(&s->from, j->in, t, o->in_tiles, o->n_in_tiles, err);
  if (status != TRI_OK) return status;
  const tri_ternary_form *f = &s->from.form;
  s->from.form.order = j->order;
  if (f->type == TRI_TYPE_I2_S && j->order == TRI_I2S_FOURS && f->m % 4)
    return tri_status_fail(err, TRI_E_INVALID, "%s: tensor %s has %zu rows, which can't stand four in a byte (--in-order fours)", j->path,
                           s->name, f->m);
  status = tri_ternary_plan(&s->form, o->linear_type, f->m, f->k, s->name, o->tiles, o->n_tiles,
                            f->type == o->linear_type ? &f->tiles : NULL, err);
  if (status != TRI_OK) return tri_status_prefix(err, status, "%s", j->path);
  j->forms[j->n_forms++] = s->form;
  status = measure(j, s, err);
  if (status == TRI_OK) status = check_halves(j, s, err);
  return status == TRI_OK ? plan_scales(j, s, err) : status;
}

static tri_status plan_matrix(job *j, const tri_gguf_tensor *t, uint32_t type, tri_error *err) {
  uint64_t bytes;
  step *s = add_step(j, type == t->type ? COPY : RETYPE, t, type);
  if (!tri_matrix_writable(type) && type != t->type)
    return tri_status_fail(err, TRI_E_INVALID, "%s: tensor %s as type %u; F32, F16, BF16, Q8_0 or Q6_K expected", j->path, s->name, type);
  if (!tri_matrix_is(t->type) || !tri_type_bytes(type, elements(t), t->dims[0], &bytes))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s of type %s with rows of %llu values can't become %s", j->path, s->name,
                           tri_type_name(t->type), (unsigned long long)t->dims[0], tri_type_name(type));
  return TRI_OK;
}

/* The embedding, and behind it a head of its own where it had none and is to be of another type. */
static tri_status plan_embedding(job *j, const tri_gguf_tensor *t, tri_error *err) {
  const tri_convert_options *o = j->options;
  uint32_t type = o->retype_embedding ? o->embedding_type : t->type;
  tri_status status = plan_matrix(j, t, type, err);
  if (status != TRI_OK || tri_gguf_find(j->in, "output.weight") || !o->head_type || *o->head_type == type) return status;
  status = plan_matrix(j, t, *o->head_type, err);
  strcpy(j->steps[j->n_steps - 1].name, "output.weight");
  return status;
}

static tri_status plan_step(job *j, const tri_gguf_tensor *t, tri_error *err) {
  const tri_convert_options *o = j->options;
  if (memchr(t->name.data, 0, t->name.len))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s has a zero byte in its name", j->path, TRI_SHOW(t->name));
  if (is_scale(j->in, t)) return TRI_OK;
  if (!t->bytes)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has type number %u, which is unknown here and can't be copied", j->path,
                           TRI_SHOW(t->name), t->type);
  if (is_linear(t)) return plan_linear(j, t, err);
  if (is_named(t, "token_embd.weight")) return plan_embedding(j, t, err);
  if (is_named(t, "output.weight") && o->head_type) return plan_matrix(j, t, *o->head_type, err);
  add_step(j, COPY, t, t->type);
  return TRI_OK;
}

/* The order told, which the weights may deny, else theirs, else x86's. */
static tri_status find_order(job *j, tri_error *err) {
  const tri_i2s_order *told = j->options->in_order;
  tri_i2s_order found;
  bool sure = tri_order_find(j->in, &found);
  if (told && sure && found != *told)
    return tri_status_fail(err, TRI_E_INVALID, "%s: its I2_S weights make sense in the order %s, and none in --in-order %s", j->path,
                           tri_order_name(found), tri_order_name(*told));
  j->order = told ? *told : sure ? found : TRI_I2S_X86;
  if (!told && j->order != TRI_I2S_X86) TRI_INFO("%s: I2_S is packed in the order %s", j->path, tri_order_name(j->order));
  return TRI_OK;
}

static tri_status plan_all(job *j, tri_error *err) {
  size_t n = tri_gguf_tensor_count(j->in);
  char why[256];
  j->kernels = tri_kernels_pick(why, sizeof why);
  if (!j->kernels) return tri_status_fail(err, TRI_E_INVALID, "%s", why);
  j->steps = calloc(2 * n + 1, sizeof *j->steps), j->forms = calloc(n + 1, sizeof *j->forms);
  if (!j->steps || !j->forms) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", j->path);
  for (size_t i = 0; i < n; i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(j->in, i);
    if (is_linear(t) && tri_ternary_has_rows(t->type)) j->to_look += t->bytes;
  }
  tri_status status = find_order(j, err);
  for (size_t i = 0; i < n && status == TRI_OK; i++) status = plan_step(j, tri_gguf_tensor_at(j->in, i), err);
  if (status != TRI_OK) return status;
  if (!j->n_forms)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s has no ternary tensors (%s, or linears of ternary values)", j->path,
                           tri_ternary_names);
  status = tri_convert_sink_check(j->options, j->forms, j->n_forms, err);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", j->path);
}

/* --- writing --- */

static bool is_key(const tri_gguf_kv *kv, const char *name) {
  return kv->key.len == strlen(name) && memcmp(kv->key.data, name, kv->key.len) == 0;
}

/* Keys of the input that would not be true of the output. */
static bool is_stale(const tri_gguf_kv *kv) {
  static const char split[] = "split.";
  return tri_tiles_is_key(kv->key) || is_key(kv, TRI_TERNARY_SCALES_KEY) || is_key(kv, "general.file_type") ||
         (kv->key.len > strlen(split) && memcmp(kv->key.data, split, strlen(split)) == 0);
}

/* What f16 would take from the scales, one value a linear. */
static void put_exact_scales(job *j) {
  float *scales = calloc(j->n_forms, sizeof *scales);
  size_t n = 0;
  for (size_t i = 0; i < j->n_steps && scales; i++)
    if (j->steps[i].action == LINEAR) scales[n++] = j->steps[i].row_scales ? 0 : j->steps[i].scale;
  if (scales) tri_convert_sink_scales(j->sink.writer, j->options->linear_type, scales, n);
  free(scales);
}

static void put_metadata(job *j) {
  for (size_t i = 0; i < tri_gguf_kv_count(j->in); i++) {
    const tri_gguf_kv *kv = tri_gguf_kv_at(j->in, i);
    if (!is_stale(kv)) tri_gguf_writer_copy(j->sink.writer, kv);
  }
  tri_gguf_writer_u32(j->sink.writer, "general.file_type", tri_ternary_file_type(j->options->linear_type));
  tri_convert_sink_tiles(j->sink.writer, j->forms, j->n_forms);
  put_exact_scales(j);
}

static tri_status begin(job *j, tri_error *err) {
  put_metadata(j);
  for (size_t i = 0; i < j->n_steps; i++) {
    const step *s = &j->steps[i];
    uint64_t bytes = 0, m = s->form.m;
    bool scales = s->action == SCALES;
    tri_gguf_writer_tensor(j->sink.writer, s->name, s->type, scales ? 1 : s->tensor->n_dims, scales ? &m : s->tensor->dims);
    if (tri_type_bytes(s->type, scales ? m : elements(s->tensor), scales ? m : s->tensor->dims[0], &bytes)) j->sink.total += bytes;
  }
  return tri_gguf_writer_begin(j->sink.writer, err);
}

typedef struct linear_source {
  const job *j;
  const step *s;
} linear_source;

static tri_status put_rows(void *arg, const tri_ternary_form *f, size_t first, size_t last, const float *scales, int8_t *trits,
                           uint8_t *tensor, tri_error *err) {
  const linear_source *from = arg;
  float x[CHUNK];
  size_t count = (last - first) * f->k;
  if (from->s->gamma == 0 && !tri_ternary_rows(&from->s->from, first, last, trits, NULL)) return tri_ternary_damaged(&from->s->from, err);
  for (size_t at = 0, n; from->s->gamma != 0 && at < count; at += n) {
    n = count - at < CHUNK ? count - at : CHUNK;
    read_values(from->j, from->s->tensor, first * f->k + at, n, x);
    tri_ternary_round(x, n, from->s->gamma, trits + at);
  }
  tri_ternary_put(f, first, last, trits, scales, tensor);
  return TRI_OK;
}

static tri_status copy_bytes(job *j, const step *s, tri_error *err) {
  enum { PIECE = 1 << 20 };
  tri_status status = TRI_OK;
  for (size_t at = 0; at < s->tensor->bytes && status == TRI_OK; at += PIECE) {
    size_t left = s->tensor->bytes - at, n = left < PIECE ? left : PIECE;
    status = tri_convert_sink_bytes(&j->sink, s->name, s->tensor->data + at, n, err);
    tri_file_map_drop(s->tensor->data + at, n);
  }
  return status;
}

static tri_status retype(job *j, const step *s, tri_error *err) {
  float x[CHUNK];
  uint8_t out[CHUNK * sizeof *x];
  uint64_t count = elements(s->tensor);
  tri_status status = TRI_OK;
  for (uint64_t at = 0, n; at < count && status == TRI_OK; at += n) {
    n = count - at < CHUNK ? count - at : CHUNK;
    read_values(j, s->tensor, at, (size_t)n, x);
    status = tri_convert_sink_bytes(&j->sink, s->name, out, tri_matrix_encode(j->kernels, s->type, x, (size_t)n, out), err);
  }
  return status;
}

static tri_status write_step(job *j, const step *s, tri_error *err) {
  linear_source from = {j, s};
  if (s->action == LINEAR) return tri_convert_sink_linear(&j->sink, s->name, &s->form, s->scale, s->row_scales, put_rows, &from, err);
  if (s->action == SCALES) return tri_convert_sink_bytes(&j->sink, s->name, s->row_scales, s->form.m * sizeof *s->row_scales, err);
  return s->action == RETYPE ? retype(j, s, err) : copy_bytes(j, s, err);
}

static tri_status write_all(job *j, const char *out_path, tri_error *err) {
  tri_status status = tri_gguf_writer_open(&j->sink.writer, out_path, err);
  if (status != TRI_OK) return status;
  status = begin(j, err);
  for (size_t i = 0; i < j->n_steps && status == TRI_OK; i++) {
    status = write_step(j, &j->steps[i], err);
    tri_file_map_drop(j->steps[i].tensor->data, j->steps[i].tensor->bytes); /* the pages that tensors and chunks share, too */
  }
  if (status == TRI_OK) status = tri_gguf_writer_commit(&j->sink.writer, err);
  tri_gguf_writer_abort(&j->sink.writer);
  return status;
}

tri_status tri_convert_gguf(const char *in_path, const char *out_path, const tri_convert_options *o, tri_error *err) {
  job j = {.path = in_path, .options = o, .sink = {.options = o}};
  tri_status status = tri_gguf_open(&j.in, in_path, err);
  if (status == TRI_OK) status = plan_all(&j, err);
  if (status == TRI_OK) status = write_all(&j, out_path, err);
  for (size_t i = 0; i < j.n_steps; i++)
    if (j.steps[i].action == LINEAR) free(j.steps[i].row_scales);
  tri_gguf_close(&j.in);
  free(j.steps), free(j.forms);
  return status;
}
