/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONVERT_H
#define TRI_ENGINE_CONVERT_H
#include "engine/gguf.h"

/* A Hugging Face folder (config.json, tokenizer.json, safetensors in one file or shards) -> GGUF. */

typedef struct tri_convert_options {
  uint32_t embedding_type; /* TRI_TYPE_F32, F16, BF16 or Q8_0, for embedding and untied head */
  uint32_t linear_type;    /* TRI_TYPE_I2_S */
  /* called with bytes done and in all; may be NULL */
  void (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);
  void *progress_arg;
} tri_convert_options;

TRI_MUST_CHECK tri_status tri_convert_hf(const char *folder, const char *out_path, const tri_convert_options *o, tri_error *err);

/* Random ternary weights at a real model's shape, for speed work: "bitnet-2b", "bitnet-3b", "llama3-8b".
 * Streamed: memory stays small. The seed fixes every byte. layers > 0 overrides the number of layers. */
TRI_MUST_CHECK tri_status tri_convert_dummy(const char *shape, const char *out_path, uint32_t embedding_type, int layers, uint64_t seed,
                                            const tri_convert_options *o, tri_error *err);

#endif
