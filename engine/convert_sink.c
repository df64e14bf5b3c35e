/* SPDX-License-Identifier: MIT */
#include "engine/convert_sink.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/i2s.h"

static bool has_shape(const tri_ternary_form *forms, size_t n, size_t m, size_t k) {
  for (size_t i = 0; i < n; i++)
    if (forms[i].m == m && forms[i].k == k) return true;
  return false;
}

static tri_status check_given(const tri_tiles_given *given, size_t n_given, const tri_ternary_form *forms, size_t n, tri_error *err) {
  for (size_t i = 0; i < n_given; i++)
    if (!has_shape(forms, n, given[i].m, given[i].k))
      return tri_status_fail(err, TRI_E_INVALID, "tile sizes for %zux%zu, but no ternary tensor has %zu rows and %zu columns", given[i].m,
                             given[i].k, given[i].m, given[i].k);
  return TRI_OK;
}

tri_status tri_convert_sink_check(const tri_convert_options *o, const tri_ternary_form *forms, size_t n, tri_error *err) {
  if (o->n_tiles && o->linear_type != TRI_TYPE_TL1 && o->linear_type != TRI_TYPE_TL2)
    return tri_status_fail(err, TRI_E_INVALID, "tile sizes for %s, which has none", tri_type_name(o->linear_type));
  tri_status status = check_given(o->tiles, o->n_tiles, forms, n, err);
  return status == TRI_OK ? check_given(o->in_tiles, o->n_in_tiles, forms, n, err) : status;
}

void tri_convert_sink_tiles(tri_gguf_writer *w, const tri_ternary_form *forms, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (forms[i].tiles.bm && !has_shape(forms, i, forms[i].m, forms[i].k))
      tri_tiles_write(w, forms[i].type, forms[i].m, forms[i].k, forms[i].tiles);
}

static float half_of(float scale) { return tri_f16_to_f32(tri_f16_from_f32(scale)); }

tri_status tri_convert_sink_holds(uint32_t type, float scale, const char *name, tri_error *err) {
  float half = half_of(scale);
  if (!tri_layouts_halves(type) || (half > 0 && isfinite(half))) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "tensor %s has the scale %g, which %s can't hold", name, (double)scale,
                         tri_type_name(type));
}

void tri_convert_sink_scales(tri_gguf_writer *w, uint32_t type, float *scales, size_t n) {
  bool needed = false;
  for (size_t i = 0; i < n; i++) {
    if (half_of(scales[i]) == scales[i]) scales[i] = 0;
    needed |= scales[i] != 0;
  }
  if (tri_layouts_halves(type) && needed) tri_gguf_writer_f32s(w, TRI_TERNARY_SCALES_KEY, scales, n);
}

tri_status tri_convert_sink_bytes(tri_convert_sink *s, const char *name, const void *bytes, size_t len, tri_error *err) {
  tri_status status = tri_gguf_writer_data(s->writer, bytes, len, err);
  s->done += len;
  if (status == TRI_OK && s->options && s->options->progress)
    s->options->progress(s->options->progress_arg, s->done, s->total, name);
  return status;
}

tri_status tri_convert_sink_linear(tri_convert_sink *s, const char *name, const tri_ternary_form *f, float scale, const float *row_scales,
                                   tri_convert_rows *rows, void *arg, tri_error *err) {
  size_t bytes = tri_ternary_bytes(f);
  int8_t *trits = malloc(TRI_TERNARY_ROWS * f->k);
  uint8_t *tensor = malloc(bytes);
  float same[TRI_TERNARY_ROWS];
  tri_status status = TRI_OK;
  for (size_t i = 0; i < TRI_TERNARY_ROWS; i++) same[i] = scale;
  if (!trits || !tensor) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for tensor %s", name);
  for (size_t first = 0; first < f->m && status == TRI_OK; first += TRI_TERNARY_ROWS) {
    size_t last = f->m - first < TRI_TERNARY_ROWS ? f->m : first + TRI_TERNARY_ROWS;
    status = rows(arg, f, first, last, row_scales ? row_scales + first : same, trits, tensor, err);
  }
  if (status == TRI_OK) {
    tri_ternary_finish(f, row_scales ? 1 : scale, tensor);
    status = tri_convert_sink_bytes(s, name, tensor, bytes, err);
  }
  free(trits), free(tensor);
  return status;
}
