/* SPDX-License-Identifier: MIT */
#include "engine/ternary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/show.h"
#include "kernels/i2s.h"
#include "kernels/tl1.h"
#include "kernels/tl2.h"

enum { TRAILER = 32, I2S_BLOCK = 128 }; /* every type ends in a scale and 28 bytes that mean nothing */

_Static_assert(TRI_TERNARY_ROWS % TRI_TL1_ROWS == 0 && TRI_TERNARY_ROWS % TRI_TL2_ROWS == 0, "whole groups of rows");

/* --- the three types --- */

static tri_tl1 tl1_of(const tri_ternary_form *f) { return (tri_tl1){f->m, f->k, f->tiles.bm, f->tiles.bk, f->tiles.sub}; }
static tri_tl2 tl2_of(const tri_ternary_form *f) { return (tri_tl2){f->m, f->k, f->tiles.bm, f->tiles.bk}; }

bool tri_ternary_is(uint32_t type) { return type == TRI_TYPE_I2_S || type == TRI_TYPE_TL1 || type == TRI_TYPE_TL2; }

/* The rule of its type that a form breaks, or NULL. */
static const char *misfit(const tri_ternary_form *f) {
  tri_tl1 tl1 = tl1_of(f);
  tri_tl2 tl2 = tl2_of(f);
  if (f->type == TRI_TYPE_TL1) return tri_tl1_misfit(&tl1);
  if (f->type == TRI_TYPE_TL2) return f->tiles.sub && f->tiles.sub != 32 ? "bm must be 32" : tri_tl2_misfit(&tl2);
  return (f->m * f->k) % I2S_BLOCK ? "rows times columns must be a multiple of 128" : NULL;
}

size_t tri_ternary_bytes(const tri_ternary_form *f) {
  uint64_t bytes;
  return tri_type_bytes(f->type, (uint64_t)f->m * f->k, f->k, &bytes) ? (size_t)bytes : 0;
}

/* The bytes that hold rows; between them and the trailer stand zeros. */
static size_t code_bytes(const tri_ternary_form *f) {
  tri_tl2 tl2 = tl2_of(f);
  return f->type == TRI_TYPE_TL2 ? tri_tl2_bytes(&tl2) : f->m * f->k / 4;
}

const char *tri_ternary_describe(const tri_ternary_form *f, char out[64]) {
  int n = snprintf(out, 64, "%s", tri_type_name(f->type));
  if (f->type != TRI_TYPE_I2_S) n += snprintf(out + n, 64 - (size_t)n, " in tiles of BM=%u, BK=%u", f->tiles.bm, f->tiles.bk);
  if (f->type == TRI_TYPE_TL1) snprintf(out + n, 64 - (size_t)n, ", bm=%u", f->tiles.sub);
  return out;
}
#define DESCRIBE(form) tri_ternary_describe(form, (char[64]){0})

/* --- reading --- */

/* What else the types' numbers have meant, per 32 values of a row, and what general.file_type says of ours. */
static const struct number {
  uint32_t type, file_type;
  const char *other;
  uint32_t other_bytes;
} numbers[] = {{TRI_TYPE_I2_S, 40, "IQ4_NL_4_4", 18}, {TRI_TYPE_TL1, 38, "IQ4_NL_8_8", 18}, {TRI_TYPE_TL2, 39, "MXFP4", 17}};

static const struct number *find_number(uint32_t type) {
  const struct number *n = numbers;
  while (n->type != type) n++;
  return n;
}
uint32_t tri_ternary_file_type(uint32_t type) { return find_number(type)->file_type; }

static tri_status check_number(const tri_ternary *x, tri_error *err) {
  const tri_gguf_tensor *t = x->tensor;
  const struct number *n = find_number(t->type);
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
  bool tiled = x->form.type == TRI_TYPE_TL1 || x->form.type == TRI_TYPE_TL2;
  return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s holds codes that are no ternary weights in %s: the file is damaged%s",
                         tri_gguf_path(x->gguf), TRI_SHOW(x->tensor->name), DESCRIBE(&x->form),
                         tiled ? ", or it was made with other tile sizes" : "");
}

static tri_status check_trailer(tri_ternary *x, tri_error *err) {
  const tri_gguf_tensor *t = x->tensor;
  for (const uint8_t *p = t->data + code_bytes(&x->form); p < t->data + t->bytes - TRAILER; p++)
    if (*p) return tri_ternary_damaged(x, err);
  memcpy(&x->scale, t->data + t->bytes - TRAILER, sizeof x->scale);
  if (isfinite(x->scale) && x->scale > 0) return TRI_OK;
  return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s has the scale %g, which is not a positive number", tri_gguf_path(x->gguf),
                         TRI_SHOW(t->name), (double)x->scale);
}

tri_status tri_ternary_open(tri_ternary *out, const tri_gguf *g, const tri_gguf_tensor *t, const tri_tiles_given *given,
                            size_t n_given, tri_error *err) {
  const char *path = tri_gguf_path(g);
  tri_ternary x = {.form = {.type = t->type, .m = t->dims[1], .k = t->dims[0]}, .gguf = g, .tensor = t};
  if (!tri_ternary_is(t->type) || t->dims[2] != 1 || t->dims[3] != 1)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s of type %s is no ternary matrix", path, TRI_SHOW(t->name),
                           tri_type_name(t->type));
  if (x.form.k > TRI_MAX_K)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: tensor %s has %zu columns, more than %d", path, TRI_SHOW(t->name), x.form.k, TRI_MAX_K);
  tri_status status = check_number(&x, err);
  if (status == TRI_OK && t->type != TRI_TYPE_I2_S) status = find_tiles(&x, given, n_given, err);
  if (status == TRI_OK) status = check_trailer(&x, err);
  if (status == TRI_OK) *out = x;
  return status;
}

bool tri_ternary_codes_ok(const tri_ternary *x, size_t first, size_t last) {
  return tri_i2s_check(x->tensor->data + first, last - first);
}

bool tri_ternary_rows(const tri_ternary *x, size_t first, size_t last, int8_t *trits) {
  tri_tl1 tl1 = tl1_of(&x->form);
  tri_tl2 tl2 = tl2_of(&x->form);
  const uint8_t *data = x->tensor->data;
  size_t k = x->form.k;
  if (x->form.type == TRI_TYPE_TL1) return tri_tl1_unpack(&tl1, data, first, last, trits);
  if (x->form.type == TRI_TYPE_TL2) return tri_tl2_unpack(&tl2, data, first, last, trits);
  if (!tri_ternary_codes_ok(x, first * k / 4, last * k / 4)) return false;
  tri_i2s_trits(data + first * k / 4, (last - first) * k, trits);
  return true;
}

/* --- writing --- */

tri_status tri_ternary_plan(tri_ternary_form *out, uint32_t type, size_t m, size_t k, const char *name, const tri_tiles_given *given,
                            size_t n_given, const tri_tiles *usual, tri_error *err) {
  tri_ternary_form f = {.type = type, .m = m, .k = k};
  if (!tri_ternary_is(type)) return tri_status_fail(err, TRI_E_INVALID, "linears as type %u; I2_S, TL1 or TL2 expected", type);
  const tri_tiles *stated = tri_tiles_find(given, n_given, m, k);
  if (type != TRI_TYPE_I2_S) f.tiles = stated ? *stated : usual ? *usual : tri_tiles_choose(type, m, k);
  const char *rule = misfit(&f);
  if (rule) return tri_status_fail(err, TRI_E_UNSUPPORTED, "tensor %s of %zu x %zu can't be %s: %s", name, m, k, DESCRIBE(&f), rule);
  if (type == TRI_TYPE_TL2) f.tiles.sub = 0;
  *out = f;
  return TRI_OK;
}

void tri_ternary_put(const tri_ternary_form *f, size_t first, size_t last, const int8_t *trits, uint8_t *tensor) {
  tri_tl1 tl1 = tl1_of(f);
  tri_tl2 tl2 = tl2_of(f);
  if (f->type == TRI_TYPE_TL1) tri_tl1_pack(&tl1, trits, first, last, tensor);
  else if (f->type == TRI_TYPE_TL2) tri_tl2_pack(&tl2, trits, first, last, tensor);
  else tri_i2s_to_file(trits, (last - first) * f->k, tensor + first * f->k / 4);
}

void tri_ternary_finish(const tri_ternary_form *f, float scale, uint8_t *tensor) {
  size_t codes = code_bytes(f), bytes = tri_ternary_bytes(f);
  memset(tensor + codes, 0, bytes - codes);
  memcpy(tensor + bytes - TRAILER, &scale, sizeof scale);
}
