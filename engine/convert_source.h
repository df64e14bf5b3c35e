/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONVERT_SOURCE_H
#define TRI_ENGINE_CONVERT_SOURCE_H
#include "engine/convert_out.h"
#include "engine/safetensors.h"

/* Engine-internal: a Hugging Face folder: its config.json understood, its safetensors open, its tokenizer
 * read. */

/* How the linears' float weights or packed codes become trits and a scale. */
typedef enum tri_convert_scheme {
  TRI_CONVERT_BITLINEAR,     /* packed: y = W x / weight_scale; float weights: absmean */
  TRI_CONVERT_AUTOBITLINEAR, /* packed: y = W x * weight_scale; float weights: absmean */
  TRI_CONVERT_EXACT,         /* no quantisation stated: the float weights must be -s, 0, s already */
} tri_convert_scheme;

typedef struct tri_convert_config {
  tri_convert_kind kind;
  tri_shape shape;
  tri_convert_scheme scheme;
  int32_t bos, eos, eot; /* -1: not stated */
} tri_convert_config;

/* Read FOLDER/config.json. TRI_E_UNSUPPORTED names what we can't do: an architecture, an activation, a rotary scaling,
 * another quantisation. */
TRI_MUST_CHECK tri_status tri_convert_config_read(tri_convert_config *out, const char *folder,
                                                  tri_error *err);

typedef struct tri_convert_source tri_convert_source;

/* The tensors of a folder: those of model.safetensors.index.json's shards, else of model.safetensors. */
TRI_MUST_CHECK tri_status tri_convert_source_open(tri_convert_source **out, const char *folder,
                                                  tri_error *err);
void tri_convert_source_close(tri_convert_source **s);
/* *out is NULL where the folder has no such tensor; an index that names a shard which lacks it is
 * TRI_E_FORMAT. */
TRI_MUST_CHECK tri_status tri_convert_source_find(const tri_convert_source *s, const char *name,
                                                  const tri_safetensor **out, tri_error *err);
/* A tensor of the folder that no call has found, and that isn't one of those that nothing needs (rotary frequencies that a
 * program computed, a copy of the head where the embedding serves): leaving it out would change the result. NULL: none. */
const char *tri_convert_source_unused(const tri_convert_source *s, bool tied);

/* The vocabulary of FOLDER/tokenizer.json, or of tokenizer.model if that is all there is, with config.json's BOS and EOS, filled up
 * with unused tokens to config's vocab_size. TRI_E_NOT_FOUND: there is neither. */
TRI_MUST_CHECK tri_status tri_convert_vocab_read(tri_vocab *out, const char *folder,
                                                 const tri_convert_config *config, tri_error *err);

/* FOLDER/NAME in `path`; TRI_E_LIMIT if that is too long. */
enum { TRI_CONVERT_PATH = 4096 };
TRI_MUST_CHECK tri_status tri_convert_path(char path[TRI_CONVERT_PATH], const char *folder, const char *name,
                                           tri_error *err);

#endif
