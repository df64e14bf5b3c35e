/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MODEL_IMPL_H
#define TRI_ENGINE_MODEL_IMPL_H
#include "engine/model.h"

/* What model.c and phantom.c share. */

struct tri_model {
  tri_gguf *gguf;
  tri_shape shape;
  tri_tokenizer *tokenizer;
  tri_error no_tokenizer; /* why tokenizer is NULL */
  tri_layer_tensors *layers; /* [n_layers] */
  const tri_gguf_tensor *embedding, *head, *head_norm, *rope_factors; /* rope_factors: F32 [hd/2], or NULL */
  void *phantom, *phantom_bytes; /* phantom.c's: what the pointers above lead to */
};

#endif
