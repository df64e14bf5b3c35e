/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TERNARY_H
#define TRI_ENGINE_TERNARY_H
#include "engine/tiles.h"

/* Ternary matrices of model files as trits and one scale, whatever their type: I2_S, TL1 or TL2. Reading serves the stages
 * (packing for run time), conversion and inspection; writing serves conversion. */

enum { TRI_TERNARY_ROWS = 128 }; /* rows are read and written in groups of this many; the last may be shorter */

/* How an [m, k] matrix stands in a file. */
typedef struct tri_ternary_form {
  uint32_t type;   /* TRI_TYPE_I2_S, TRI_TYPE_TL1 or TRI_TYPE_TL2 */
  size_t m, k;
  tri_tiles tiles; /* {0} for I2_S */
} tri_ternary_form;

/* One ternary tensor of an open file. A view: it borrows the file's object. */
typedef struct tri_ternary {
  tri_ternary_form form;
  float scale; /* finite, positive */
  const tri_gguf *gguf;
  const tri_gguf_tensor *tensor;
} tri_ternary;

bool tri_ternary_is(uint32_t type);
uint32_t tri_ternary_file_type(uint32_t type); /* what general.file_type says of a model with such linears */
/* "I2_S", "TL2 in tiles of BM=128, BK=96" */
const char *tri_ternary_describe(const tri_ternary_form *f, char out[64]);

/* --- reading --- */

/* Check all that the header, the tile sizes and the scale tell of a tensor; the codes are checked by tri_ternary_rows. Tile
 * sizes are those given for the shape, else those of the file's own key, else bitnet.cpp's preset. The numbers of all three
 * types have other meanings in some llama.cpp files: the room that the tensor has tells which, and general.file_type where
 * the room leaves doubt. TRI_E_UNSUPPORTED: no tile sizes known, or another type of this number; TRI_E_LIMIT: more than
 * TRI_MAX_K columns; TRI_E_INVALID: given sizes that don't fit; TRI_E_FORMAT: the rest. Messages name file and tensor. */
TRI_MUST_CHECK tri_status tri_ternary_open(tri_ternary *out, const tri_gguf *g, const tri_gguf_tensor *t,
                                           const tri_tiles_given *given, size_t n_given, tri_error *err);

/* Rows [first, last) as int8 [last - first, k] in {-1, 0, 1}; first is a multiple of TRI_TERNARY_ROWS, last too or m.
 * Threads may read at once. False if the rows hold codes that no ternary weight has; the trits are then of no use, and
 * tri_ternary_damaged tells what the reason may be. */
bool tri_ternary_rows(const tri_ternary *x, size_t first, size_t last, int8_t *trits);
/* The same check without a result, for I2_S alone: of bytes [first, last) of its m * k / 4 code bytes. */
bool tri_ternary_codes_ok(const tri_ternary *x, size_t first, size_t last);
tri_status tri_ternary_damaged(const tri_ternary *x, tri_error *err); /* TRI_E_FORMAT */

/* --- writing --- */

/* How tensor `name` of shape [m, k] will stand in a file as `type`: with the tile sizes given, else `usual` (NULL: by
 * tri_tiles_choose). TRI_E_UNSUPPORTED names the tensor and the rule of the type that it breaks. */
TRI_MUST_CHECK tri_status tri_ternary_plan(tri_ternary_form *out, uint32_t type, size_t m, size_t k, const char *name,
                                           const tri_tiles_given *given, size_t n_given, const tri_tiles *usual, tri_error *err);
size_t tri_ternary_bytes(const tri_ternary_form *f);
/* Put rows [first, last) into the tensor's tri_ternary_bytes; ranges as in tri_ternary_rows. */
void tri_ternary_put(const tri_ternary_form *f, size_t first, size_t last, const int8_t *trits, uint8_t *tensor);
/* Put what isn't rows: the scale, and zeros elsewhere. */
void tri_ternary_finish(const tri_ternary_form *f, float scale, uint8_t *tensor);

#endif
