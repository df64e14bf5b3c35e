/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONVERT_H
#define TRI_ENGINE_CONVERT_H
#include "engine/layouts.h"
#include "engine/tiles.h"

/* A Hugging Face folder (config.json, tokenizer.json or tokenizer.model, safetensors in one file or shards) or a GGUF file -> GGUF. */

typedef struct tri_convert_options {
  uint32_t embedding_type; /* TRI_TYPE_F32, F16, BF16, Q8_0 (hidden_size % 32 == 0) or Q6_K (% 256 == 0) */
  const uint32_t *head_type; /* of the head, likewise; NULL: embedding_type. Where it differs, a tied model gets a head of its own. */
  bool retype_embedding;   /* of a GGUF file: its embedding becomes embedding_type, too */
  uint32_t linear_type;    /* one that tri_ternary_writable names */
  bool absmean;            /* of a GGUF file: float linears that aren't ternary are master weights, to be rounded */
  const tri_i2s_order *in_order; /* how a GGUF file's I2_S was packed; NULL: as its weights tell, else x86. TRI_E_INVALID if they deny it */
  /* Called often, with the bytes of tensor data done and in all, and the tensor at work; may be NULL. Where scales of rows have to be
   * looked at first, that has a total of its own before the writing's. */
  void (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);
  void *progress_arg;
  const tri_tiles_given *tiles; /* tile sizes to write TL1 or TL2 with; the other shapes' come from tri_tiles_choose */
  size_t n_tiles;
  const tri_tiles_given *in_tiles; /* tile sizes of a GGUF file that doesn't say its own */
  size_t n_in_tiles;
} tri_convert_options;

/* BitNetForCausalLM -> "bitnet-b1.58", 1bitLLM's BitnetForCausalLM -> "bitnet", LlamaForCausalLM with ternary linears -> "llama"
 * (q and k rows interleaved for its adjacent-pair rotary, as llama.cpp's converter does). Packed uint8 linears keep their trits; float ones
 * are rounded by absmean where config.json says that the model is a BitNet, and must be ternary already where it doesn't. All inputs are
 * checked before anything is written; memory stays within the largest tensor. Without tokenizer: a warning in the
 * log and a file without tokenizer. TRI_E_FORMAT, TRI_E_UNSUPPORTED, TRI_E_NOT_FOUND, TRI_E_INVALID (options), TRI_E_IO. */
TRI_MUST_CHECK tri_status tri_convert_hf(const char *folder, const char *out_path, const tri_convert_options *o, tri_error *err);

/* The same model with its linears as linear_type: the trits and scales stay bit for bit, other tensors and the metadata are copied,
 * except for general.file_type and keys that tell of tile sizes, scales and parts of a file. Linears of float types count where
 * their values are ternary (or with `absmean`). Scales of rows become a tensor NAME.scale in types without; scales that f16 would
 * round are kept in a key. head_type (NULL: as it is) works as for folders. Where the linears' type stays, so do the file's tile
 * sizes, if none are given. All tensors' shapes and rows' scales are checked before anything is written, codes while it is; memory
 * stays within the largest tensor. Errors as above. */
TRI_MUST_CHECK tri_status tri_convert_gguf(const char *in_path, const char *out_path, const tri_convert_options *o, tri_error *err);

/* The shapes of tri_convert_dummy, i from 0; NULL past the end: "bitnet-2b" is Microsoft's 2B4T, "bitnet-large" and "bitnet-3b"
 * are 1bitLLM's, "llama3-8b" is HF1BitLLM's, "falcon3-…" and "falcon-e-…" are TII's, "trilm-4b" is SpectraSuite's 3.9B. */
const char *tri_convert_dummy_name(size_t i);
enum { TRI_CONVERT_DUMMY_VOCAB = 258 }; /* a dummy's least: a token for each byte, begin and end */
/* Random ternary weights at a real model's shape, for speed work.
 * Streamed: memory stays small. The seed fixes every byte. layers > 0 overrides the number of layers, vocab > 0 that of tokens. `o`
 * serves for its linear_type, head_type, tiles and progress and may be NULL: I2_S. Its tokenizer has one token a byte, so text works. */
TRI_MUST_CHECK tri_status tri_convert_dummy(const char *shape, const char *out_path, uint32_t embedding_type, int layers, int vocab,
                                            uint64_t seed, const tri_convert_options *o, tri_error *err);

#endif
