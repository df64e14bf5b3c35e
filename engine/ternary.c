/* SPDX-License-Identifier: MIT */
#include "engine/ternary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/matrix.h"
#include "engine/show.h"
#include "kernels/i2s.h"
#include "kernels/tl1.h"
#include "kernels/tl2.h"

enum { TRAILER = 32, I2S_BLOCK = 128 }; /* bitnet.cpp's types end in a scale and 28 bytes that mean nothing */

const char tri_ternary_names[] = "I2_S, TL1, TL2, TQ1_0, TQ2_0, IQ1_BN, IQ2_BN and IQ2_BN_R4";

_Static_assert(TRI_TERNARY_ROWS % TRI_TL1_ROWS == 0 && TRI_TERNARY_ROWS % TRI_TL2_ROWS == 0, "whole groups of rows");

/* --- the types --- */

static tri_tl1 tl1_of(const tri_ternary_form *f) { return (tri_tl1){f->m, f->k, f->tiles.bm, f->tiles.bk, f->tiles.sub}; }
static tri_tl2 tl2_of(const tri_ternary_form *f) { return (tri_tl2){f->m, f->k, f->tiles.bm, f->tiles.bk}; }

static bool is_tiled(uint32_t type) { return type == TRI_TYPE_TL1 || type == TRI_TYPE_TL2; }

bool tri_ternary_is(uint32_t type) { return type == TRI_TYPE_I2_S || is_tiled(type) || tri_layouts_is(type); }
bool tri_ternary_may_be(uint32_t type) { return tri_ternary_is(type) || tri_matrix_is_float(type) || type == TRI_TYPE_Q8_0; }
bool tri_ternary_writable(uint32_t type) { return tri_ternary_is(type) && type != TRI_TYPE_IQ2_BN_R4; }
bool tri_ternary_has_rows(uint32_t type) { return tri_layouts_is(type) || !tri_ternary_is(type); }

/* The rule of its type that a form breaks, or NULL. */
static const char *misfit(const tri_ternary_form *f) {
  tri_tl1 tl1 = tl1_of(f);
  tri_tl2 tl2 = tl2_of(f);
  if (f->type == TRI_TYPE_TL1) return tri_tl1_misfit(&tl1);
  if (f->type == TRI_TYPE_TL2) return f->tiles.sub && f->tiles.sub != 32 ? "bm must be 32" : tri_tl2_misfit(&tl2);
  if (tri_layouts_is(f->type)) return tri_layouts_misfit(f->type, f->m, f->k);
  if (f->type != TRI_TYPE_I2_S) return NULL;
  return (f->m * f->k) % I2S_BLOCK ? "rows times columns must be a multiple of 128" : NULL;
}

size_t tri_ternary_bytes(const tri_ternary_form *f) {
  uint64_t bytes;
  return tri_type_bytes(f->type, (uint64_t)f->m * f->k, f->k, &bytes) ? (size_t)bytes : 0;
}

/* Of bitnet.cpp's types: the bytes that hold rows; between them and the trailer stand zeros. */
static size_t code_bytes(const tri_ternary_form *f) {
  tri_tl2 tl2 = tl2_of(f);
  return f->type == TRI_TYPE_TL2 ? tri_tl2_bytes(&tl2) : f->m * f->k / 4;
}

const char *tri_ternary_describe(const tri_ternary_form *f, char out[64]) {
  int n = snprintf(out, 64, "%s", tri_type_name(f->type));
  if (is_tiled(f->type)) n += snprintf(out + n, 64 - (size_t)n, " in tiles of BM=%u, BK=%u", f->tiles.bm, f->tiles.bk);
  if (f->type == TRI_TYPE_TL1) snprintf(out + n, 64 - (size_t)n, ", bm=%u", f->tiles.sub);
  return out;
}
#define DESCRIBE(form) tri_ternary_describe(form, (char[64]){0})

/* --- reading --- */

/* What general.file_type says of a type, and what else its number has meant, per 32 values of a row (NULL: nothing). */
static const struct number {
  uint32_t type, file_type;
  const char *other;
  uint32_t other_bytes;
} numbers[] = {{TRI_TYPE_I2_S, 40, "IQ4_NL_4_4", 18}, {TRI_TYPE_TL1, 38, "IQ4_NL_8_8", 18}, {TRI_TYPE_TL2, 39, "MXFP4", 17},
               {TRI_TYPE_TQ1_0, 36, NULL, 0},         {TRI_TYPE_TQ2_0, 37, NULL, 0},        {TRI_TYPE_IQ1_BN, 136, NULL, 0},
               {TRI_TYPE_IQ2_BN, 137, NULL, 0},       {TRI_TYPE_IQ2_BN_R4, 337, NULL, 0}};

static const struct number *find_number(uint32_t type) {
  const struct number *n = numbers;
  while (n->type != type) n++;
  return n;
}
uint32_t tri_ternary_file_type(uint32_t type) { return find_number(type)->file_type; }

static tri_status check_number(const tri_ternary *x, tri_error *err) {
  const tri_gguf_tensor *t = x->tensor;
  const struct number *n = tri_ternary_is(t->type) ? find_number(t->type) : NULL;
  if (!n || !n->other) return TRI_OK;
  size_t other = x->form.m * x->form.k / 32 * n->other_bytes;
  if (x->form.k % 32 || t->room < other) return TRI_OK;
  uint64_t file_type;
  bool known = tri_gguf_get_u64(x->gguf, "general.file_type", &file_type);
  if (known && file_type == n->file_type && t->room - other >= TRAILER) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED,
                         "%s: tensor %s: type number %u is %s in bitnet.cpp's files and %s in llama.cpp's, and by its %zu bytes "
                         "and general.file_type this seems to be %s",
                         tri_gguf_path(x->gguf), TRI_SHOW(t->name), t->type, tri_type_name(t->type), n->other, t->room, n->other);
}

static tri_status find_tiles(tri_ternary *x, const tri_tiles_given *given, size_t n_given, tri_error *err) {
  tri_ternary_form *f = &x->form;
  const char *path = tri_gguf_path(x->gguf);
  const tri_tiles *stated = tri_tiles_find(given, n_given, f->m, f->k);
  bool found = stated != NULL;
  tri_status status = TRI_OK;
  if (found) f->tiles = *stated;
  else status = tri_tiles_read(x->gguf, f->type, f->m, f->k, &found, &f->tiles, err);
  if (status != TRI_OK) return status;
  if (!found && !tri_tiles_preset(f->type, f->m, f->k, &f->tiles))
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: tensor %s is %s, whose tile sizes stand neither in the file nor among bitnet.cpp's presets: see the "
                           "kernel_config.ini that it was made with, and run trireme convert --in-tiles %zux%zu=BM,BK%s",
                           path, TRI_SHOW(x->tensor->name), tri_type_name(f->type), f->m, f->k, f->type == TRI_TYPE_TL1 ? ",bm" : "");
  const char *rule = misfit(f);
  if (rule)
    return tri_status_fail(err, stated ? TRI_E_INVALID : TRI_E_FORMAT, "%s: tensor %s of %zu x %zu can't be %s: %s", path,
                           TRI_SHOW(x->tensor->name), f->m, f->k, DESCRIBE(f), rule);
  if (f->type == TRI_TYPE_TL2) f->tiles.sub = 0;
  return TRI_OK;
}

tri_status tri_ternary_damaged(const tri_ternary *x, tri_error *err) {
  const char *path = tri_gguf_path(x->gguf), *name = TRI_SHOW(x->tensor->name);
  if (!tri_ternary_is(x->form.type))
    return tri_status_fail(err, TRI_E_UNSUPPORTED,
                           "%s: tensor %s is %s and not ternary: a row has values besides -s, 0 and s (a BitNet's master weights can "
                           "be rounded: trireme convert --absmean)",
                           path, name, DESCRIBE(&x->form));
  if (tri_layouts_is(x->form.type))
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: tensor %s holds codes that are no ternary weights in %s, or a row whose blocks have different scales: "
                           "the file is damaged, or made from a model that isn't ternary",
                           path, name, DESCRIBE(&x->form));
  return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s holds codes that are no ternary weights in %s: the file is damaged%s", path,
                         name, DESCRIBE(&x->form), is_tiled(x->form.type) ? ", or it was made with other tile sizes" : "");
}

static tri_status check_scale(const tri_ternary *x, const tri_str name, float scale, tri_error *err) {
  if (isfinite(scale) && scale > 0) return TRI_OK;
  return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s has the scale %g, which is not a positive number", tri_gguf_path(x->gguf),
                         TRI_SHOW(name), (double)scale);
}

static tri_status check_trailer(tri_ternary *x, tri_error *err) {
  const tri_gguf_tensor *t = x->tensor;
  for (const uint8_t *p = t->data + code_bytes(&x->form); p < t->data + t->bytes - TRAILER; p++)
    if (*p) return tri_ternary_damaged(x, err);
  memcpy(&x->scale, t->data + t->bytes - TRAILER, sizeof x->scale);
  return check_scale(x, t->name, x->scale, err);
}

/* A row's scale must be its own: bytes that another tensor has too are an older layout, without scales. */
static tri_status check_room(const tri_ternary *x, tri_error *err) {
  const tri_gguf_tensor *t = x->tensor;
  const char *rule = misfit(&x->form);
  if (rule)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s of %zu x %zu can't be %s: %s", tri_gguf_path(x->gguf), TRI_SHOW(t->name),
                           x->form.m, x->form.k, DESCRIBE(&x->form), rule);
  if (t->room >= t->bytes) return TRI_OK;
  return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s: %zu of its %zu bytes belong to the next tensor", tri_gguf_path(x->gguf),
                         TRI_SHOW(t->name), t->bytes - t->room, t->bytes);
}

/* NAME.scale beside NAME.weight. */
static tri_status find_factors(tri_ternary *x, tri_error *err) {
  static const char weight[] = ".weight";
  char name[80];
  tri_str own = x->tensor->name;
  x->factor = 1;
  if (own.len < sizeof weight || memcmp(own.data + own.len - (sizeof weight - 1), weight, sizeof weight - 1) != 0) return TRI_OK;
  snprintf(name, sizeof name, "%.*s.scale", (int)(own.len - (sizeof weight - 1)), own.data);
  const tri_gguf_tensor *t = tri_gguf_find(x->gguf, name);
  if (!t) return TRI_OK;
  const float *values = (const float *)(const void *)t->data;
  if (t->type != TRI_TYPE_F32 || t->n_dims != 1 || (t->dims[0] != 1 && t->dims[0] != x->form.m))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s must be F32 of 1 or %zu values", tri_gguf_path(x->gguf), name, x->form.m);
  for (uint64_t i = 0; i < t->dims[0]; i++) {
    tri_status status = check_scale(x, t->name, values[i], err);
    if (status != TRI_OK) return status;
  }
  if (t->dims[0] == 1) return x->factor = values[0], TRI_OK;
  x->by_rows = true, x->factors = values;
  return TRI_OK;
}

/* The tensor's value of TRI_TERNARY_SCALES_KEY. */
static void find_exact(tri_ternary *x) {
  const tri_gguf_kv *kv = tri_gguf_kv_find(x->gguf, TRI_TERNARY_SCALES_KEY);
  if (!tri_layouts_halves(x->form.type) || !kv || kv->type != TRI_GGUF_ARRAY || kv->element_type != TRI_GGUF_F32) return;
  uint64_t nth = 0;
  for (size_t i = 0; tri_gguf_tensor_at(x->gguf, i) != x->tensor; i++) nth += tri_ternary_is(tri_gguf_tensor_at(x->gguf, i)->type);
  if (nth < kv->count) memcpy(&x->exact, kv->data + nth * sizeof x->exact, sizeof x->exact);
  if (!isfinite(x->exact)) x->exact = 0;
}

tri_status tri_ternary_open(tri_ternary *out, const tri_gguf *g, const tri_gguf_tensor *t, const tri_tiles_given *given,
                            size_t n_given, tri_error *err) {
  const char *path = tri_gguf_path(g);
  tri_ternary x = {.form = {.type = t->type, .m = t->dims[1], .k = t->dims[0]}, .gguf = g, .tensor = t};
  x.by_rows = tri_ternary_has_rows(t->type);
  if (!tri_ternary_may_be(t->type) || t->dims[2] != 1 || t->dims[3] != 1)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s of type %s is no ternary matrix", path, TRI_SHOW(t->name),
                           tri_type_name(t->type));
  if (x.form.k > TRI_MAX_K)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: tensor %s has %zu columns, more than %d", path, TRI_SHOW(t->name), x.form.k, TRI_MAX_K);
  tri_status status = check_number(&x, err);
  if (status == TRI_OK && is_tiled(t->type)) status = find_tiles(&x, given, n_given, err);
  if (status == TRI_OK) status = tri_ternary_has_rows(t->type) ? check_room(&x, err) : check_trailer(&x, err);
  if (status == TRI_OK) status = find_factors(&x, err);
  if (status == TRI_OK && !x.by_rows) status = check_scale(&x, t->name, x.scale *= x.factor, err);
  if (status != TRI_OK) return status;
  find_exact(&x);
  *out = x;
  return TRI_OK;
}

bool tri_ternary_codes_ok(const tri_ternary *x, size_t first, size_t last) {
  return tri_i2s_check(x->tensor->data + first, last - first);
}

/* A row of values that are -s, 0 or s. */
static bool read_values(const tri_ternary *x, size_t row, int8_t *trits, float *scale) {
  enum { CHUNK = 256 }; /* whole blocks of any type */
  const tri_kernels *kernels = tri_kernels_get(TRI_ISA_PORTABLE);
  size_t k = x->form.k, n;
  uint64_t bytes = 0;
  float values[CHUNK], size = 0;
  bool good = tri_type_bytes(x->form.type, k, k, &bytes);
  const uint8_t *data = x->tensor->data + row * bytes;
  for (size_t i = 0; i < k; i += n) {
    n = k - i < CHUNK ? k - i : CHUNK;
    tri_matrix_floats(kernels, x->form.type, data + bytes * i / k, n, values);
    for (size_t j = 0; j < n; j++) {
      if (size == 0) size = fabsf(values[j]);
      good &= values[j] == 0 || fabsf(values[j]) == size;
      trits[i + j] = (int8_t)((values[j] > 0) - (values[j] < 0));
    }
  }
  *scale = size;
  return good && isfinite(size);
}

static bool read_rows(const tri_ternary *x, size_t first, size_t last, int8_t *trits, float *scales) {
  bool good = true;
  if (tri_layouts_is(x->form.type)) return tri_layouts_unpack(x->form.type, x->tensor->data, x->form.k, first, last, trits, scales);
  for (size_t r = first; r < last; r++) good &= read_values(x, r, trits + (r - first) * x->form.k, &scales[r - first]);
  return good;
}

static bool read_codes(const tri_ternary *x, size_t first, size_t last, int8_t *trits) {
  tri_tl1 tl1 = tl1_of(&x->form);
  tri_tl2 tl2 = tl2_of(&x->form);
  const uint8_t *data = x->tensor->data;
  size_t k = x->form.k;
  if (x->form.type == TRI_TYPE_TL1) return tri_tl1_unpack(&tl1, data, first, last, trits);
  if (x->form.type == TRI_TYPE_TL2) return tri_tl2_unpack(&tl2, data, first, last, trits);
  if (!tri_ternary_codes_ok(x, first * k / 4, last * k / 4)) return false;
  if (x->form.order == TRI_I2S_X86) tri_i2s_trits(data + first * k / 4, (last - first) * k, trits);
  else tri_layouts_i2s(x->form.order, data, k, first, last, trits);
  return true;
}

/* The row's scale as it stands in the tensor becomes what it stands for. */
static float whole_scale(const tri_ternary *x, size_t row, float scale) {
  if (x->exact > 0 && tri_f16_to_f32(tri_f16_from_f32(x->exact)) == scale) scale = x->exact;
  return scale * (x->factors ? x->factors[row] : x->factor);
}

static bool read_group(const tri_ternary *x, size_t first, size_t last, int8_t *trits, float *scales) {
  float own[TRI_TERNARY_ROWS];
  bool rows = tri_ternary_has_rows(x->form.type);
  for (size_t r = 0; r < last - first; r++) own[r] = x->scale;
  if (!(rows ? read_rows(x, first, last, trits, own) : read_codes(x, first, last, trits))) return false;
  for (size_t r = 0; r < last - first; r++) {
    float scale = x->by_rows ? whole_scale(x, first + r, own[r]) : own[r];
    if (!isfinite(scale)) return false;
    if (scales) scales[r] = scale;
  }
  return true;
}

bool tri_ternary_rows(const tri_ternary *x, size_t first, size_t last, int8_t *trits, float *scales) {
  bool good = true;
  for (size_t r = first; r < last && good; r += TRI_TERNARY_ROWS) {
    size_t end = last - r < TRI_TERNARY_ROWS ? last : r + TRI_TERNARY_ROWS;
    good = read_group(x, r, end, trits + (r - first) * x->form.k, scales ? scales + (r - first) : NULL);
  }
  return good;
}

/* --- master weights --- */

double tri_ternary_gamma(double sum, uint64_t n) { return fmax(sum / (double)n, 1e-5); }

/* Half to even: zero up to and with half of gamma, a sign beyond. */
void tri_ternary_round(const float *x, size_t n, double gamma, int8_t *trits) {
  double half = gamma / 2;
  for (size_t i = 0; i < n; i++) trits[i] = (int8_t)((x[i] > half) - (x[i] < -half));
}

/* --- writing --- */

tri_status tri_ternary_plan(tri_ternary_form *out, uint32_t type, size_t m, size_t k, const char *name, const tri_tiles_given *given,
                            size_t n_given, const tri_tiles *usual, tri_error *err) {
  tri_ternary_form f = {.type = type, .m = m, .k = k};
  if (!tri_ternary_writable(type))
    return tri_status_fail(err, TRI_E_INVALID, "linears as type %u; I2_S, TL1, TL2, TQ1_0, TQ2_0, IQ1_BN or IQ2_BN expected", type);
  const tri_tiles *stated = tri_tiles_find(given, n_given, m, k);
  if (is_tiled(type)) f.tiles = stated ? *stated : usual ? *usual : tri_tiles_choose(type, m, k);
  const char *rule = misfit(&f);
  if (rule) return tri_status_fail(err, TRI_E_UNSUPPORTED, "tensor %s of %zu x %zu can't be %s: %s", name, m, k, DESCRIBE(&f), rule);
  if (type == TRI_TYPE_TL2) f.tiles.sub = 0;
  *out = f;
  return TRI_OK;
}

void tri_ternary_put(const tri_ternary_form *f, size_t first, size_t last, const int8_t *trits, const float *scales, uint8_t *tensor) {
  tri_tl1 tl1 = tl1_of(f);
  tri_tl2 tl2 = tl2_of(f);
  if (tri_layouts_is(f->type)) tri_layouts_pack(f->type, trits, scales, f->k, first, last, tensor);
  else if (f->type == TRI_TYPE_TL1) tri_tl1_pack(&tl1, trits, first, last, tensor);
  else if (f->type == TRI_TYPE_TL2) tri_tl2_pack(&tl2, trits, first, last, tensor);
  else tri_i2s_to_file(trits, (last - first) * f->k, tensor + first * f->k / 4);
}

void tri_ternary_finish(const tri_ternary_form *f, float scale, uint8_t *tensor) {
  if (tri_layouts_is(f->type)) return; /* scales stand with the rows */
  size_t codes = code_bytes(f), bytes = tri_ternary_bytes(f);
  memset(tensor + codes, 0, bytes - codes);
  memcpy(tensor + bytes - TRAILER, &scale, sizeof scale);
}
