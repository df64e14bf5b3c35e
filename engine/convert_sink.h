/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONVERT_SINK_H
#define TRI_ENGINE_CONVERT_SINK_H
#include "engine/convert.h"
#include "engine/ternary.h"

/* Engine-internal: where every conversion's tensors go: to the file, in its order and with progress. */

typedef struct tri_convert_sink {
  tri_gguf_writer *writer;            /* the holder's to open and to end */
  const tri_convert_options *options; /* for its progress; may be NULL */
  uint64_t done, total;               /* bytes of tensor data; the holder sets total */
} tri_convert_sink;

/* Check that each of the options' tiles is for a shape that one of the linears has: a shape misspelt would go unnoticed.
 * TRI_E_INVALID. */
TRI_MUST_CHECK tri_status tri_convert_sink_check(const tri_convert_options *o, const tri_ternary_form *forms, size_t n, tri_error *err);
/* The keys that tell the tile sizes of the linears, one for each shape; nothing for types without. */
void tri_convert_sink_tiles(tri_gguf_writer *w, const tri_ternary_form *forms, size_t n);

/* Check that `type` has room for this scale, which f16 may not have: TRI_E_UNSUPPORTED names the tensor. */
TRI_MUST_CHECK tri_status tri_convert_sink_holds(uint32_t type, float scale, const char *name, tri_error *err);
/* The key that keeps what f16 takes from the linears' scales [n], in the file's order, 0 where there is none to keep; zeroes those
 * that lose nothing. No key for other types, or where nothing is lost. */
void tri_convert_sink_scales(tri_gguf_writer *w, uint32_t type, float *scales, size_t n);

/* The next bytes of tensor `name`, as they will stand in the file. */
TRI_MUST_CHECK tri_status tri_convert_sink_bytes(tri_convert_sink *s, const char *name, const void *bytes, size_t len, tri_error *err);

/* Puts rows [first, last) of a linear into its tensor (tri_ternary_put with these scales); `trits` is scratch for them. */
typedef tri_status tri_convert_rows(void *arg, const tri_ternary_form *f, size_t first, size_t last, const float *scales, int8_t *trits,
                                    uint8_t *tensor, tri_error *err);
/* A whole linear, from the rows that `rows` puts, TRI_TERNARY_ROWS at a time; row_scales: [m], or NULL where `scale` is all rows'.
 * Holds the tensor in memory meanwhile: TL2's parts interleave rows. */
TRI_MUST_CHECK tri_status tri_convert_sink_linear(tri_convert_sink *s, const char *name, const tri_ternary_form *f, float scale,
                                                  const float *row_scales, tri_convert_rows *rows, void *arg, tri_error *err);

#endif
