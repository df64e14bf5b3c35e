/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TERNARY_H
#define TRI_ENGINE_TERNARY_H
#include "engine/layouts.h"
#include "engine/tiles.h"

/* Ternary matrices of model files as trits and scales, whatever their type. Reading serves the stages (packing for run time),
 * conversion and inspection; writing serves conversion.
 *
 * I2_S, TL1 and TL2 have one scale for the matrix; TQ1_0, TQ2_0, IQ1_BN, IQ2_BN and IQ2_BN_R4 (layouts.h) have one for a row. F32, F16,
 * BF16 and Q8_0 serve where the values of each row are -s, 0 and s. A tensor "NAME.scale" of F32 beside "NAME.weight" multiplies
 * the scale: one value all of it, as llama.cpp writes it; m values each row's. */

enum { TRI_TERNARY_ROWS = 128 }; /* rows are read and written in groups of this many; the last may be shorter */

/* How an [m, k] matrix stands in a file. */
typedef struct tri_ternary_form {
  uint32_t type;
  size_t m, k;
  tri_tiles tiles;     /* TL1 and TL2, else {0} */
  tri_i2s_order order; /* I2_S; a reader that knows better than TRI_I2S_X86 sets it after tri_ternary_open */
} tri_ternary_form;

/* One ternary tensor of an open file. A view: it borrows the file's object. */
typedef struct tri_ternary {
  tri_ternary_form form;
  bool by_rows;         /* rows may have scales of their own, told by tri_ternary_rows */
  float scale;          /* else this one: finite, positive */
  const float *factors; /* of by_rows: [m] of NAME.scale, or NULL */
  float factor;         /* of by_rows without factors: NAME.scale's one value, else 1 */
  float exact;          /* of types whose scale is f16: the matrix's scale before it was rounded, from the file's key, else 0 */
  const tri_gguf *gguf;
  const tri_gguf_tensor *tensor;
} tri_ternary;

bool tri_ternary_is(uint32_t type);       /* holds ternary weights and nothing else */
bool tri_ternary_may_be(uint32_t type);   /* is one of all those named above */
bool tri_ternary_writable(uint32_t type); /* tri_ternary_put writes it: those of tri_ternary_is but IQ2_BN_R4 */
bool tri_ternary_has_rows(uint32_t type); /* each row's scale stands in the tensor */
extern const char tri_ternary_names[];    /* of those of tri_ternary_is, for messages */
uint32_t tri_ternary_file_type(uint32_t type); /* what general.file_type says of a model with such linears */
/* "I2_S", "TL2 in tiles of BM=128, BK=96" */
const char *tri_ternary_describe(const tri_ternary_form *f, char out[64]);

/* --- reading --- */

/* Check all that the header, the tile sizes and a single scale tell of a tensor; the codes, and scales of rows, are checked by
 * tri_ternary_rows. Tile sizes are those given for the shape, else those of the file's own key, else bitnet.cpp's preset. The
 * numbers of bitnet.cpp's types have other meanings in some llama.cpp files: the room that the tensor has tells which, and
 * general.file_type where the room leaves doubt. TRI_E_UNSUPPORTED: no tile sizes known, or another type of this number;
 * TRI_E_LIMIT: more than TRI_MAX_K columns; TRI_E_INVALID: given sizes that don't fit; TRI_E_FORMAT: the rest. Messages name file
 * and tensor. */
TRI_MUST_CHECK tri_status tri_ternary_open(tri_ternary *out, const tri_gguf *g, const tri_gguf_tensor *t,
                                           const tri_tiles_given *given, size_t n_given, tri_error *err);

/* Rows [first, last) as int8 [last - first, k] in {-1, 0, 1}, and their scales [last - first] (NULL: not wanted), 0 where a row is
 * zero and has none; first is a multiple of TRI_TERNARY_ROWS, last too or m. Threads may read at once. False if the rows hold what
 * no ternary matrix has; the result is then of no use, and tri_ternary_damaged tells what the reason may be. */
bool tri_ternary_rows(const tri_ternary *x, size_t first, size_t last, int8_t *trits, float *scales);
/* The same check without a result, for I2_S alone: of bytes [first, last) of its m * k / 4 code bytes. */
bool tri_ternary_codes_ok(const tri_ternary *x, size_t first, size_t last);
tri_status tri_ternary_damaged(const tri_ternary *x, tri_error *err); /* TRI_E_FORMAT; of values that aren't ternary TRI_E_UNSUPPORTED */

/* --- master weights, rounded by absmean: gamma = mean|W|, trit = w / gamma rounded half to even and cut to [-1, 1] (Ma et al. 2024,
 * "The Era of 1-bit LLMs", eq. 1 to 3) --- */

double tri_ternary_gamma(double sum, uint64_t n); /* of n sizes |w| with this sum; at least 1e-5, as the reference has it */
void tri_ternary_round(const float *x, size_t n, double gamma, int8_t *trits);

/* --- writing --- */

/* How tensor `name` of shape [m, k] will stand in a file as `type`: with the tile sizes given, else `usual` (NULL: by
 * tri_tiles_choose). TRI_E_UNSUPPORTED names the tensor and the rule of the type that it breaks. */
TRI_MUST_CHECK tri_status tri_ternary_plan(tri_ternary_form *out, uint32_t type, size_t m, size_t k, const char *name,
                                           const tri_tiles_given *given, size_t n_given, const tri_tiles *usual, tri_error *err);
size_t tri_ternary_bytes(const tri_ternary_form *f);
/* Put rows [first, last) into the tensor's tri_ternary_bytes; ranges as in tri_ternary_rows. scales: [last - first], of types of
 * tri_ternary_has_rows. */
void tri_ternary_put(const tri_ternary_form *f, size_t first, size_t last, const int8_t *trits, const float *scales, uint8_t *tensor);
/* Put what isn't rows: the matrix's scale, and zeros elsewhere. */
void tri_ternary_finish(const tri_ternary_form *f, float scale, uint8_t *tensor);

/* The key that keeps scales exact where the type rounds them to f16: f32 values, one for each ternary tensor in the file's order, 0
 * where there is none to keep. Other programs don't know it and lose at most 2^-11 of a scale. */
#define TRI_TERNARY_SCALES_KEY "trireme.scales"

#endif
