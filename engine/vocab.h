/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_VOCAB_H
#define TRI_ENGINE_VOCAB_H
#include "engine/gguf.h"

/* A tokenizer's data as plain arrays: what GGUF metadata and tokenizer.json both come down to. */

enum { TRI_VOCAB_TOKENS = 1 << 22, TRI_VOCAB_MERGES = 1 << 22 }; /* most of each, else TRI_E_LIMIT */

typedef enum tri_token_type { TRI_TOKEN_NORMAL = 1, TRI_TOKEN_UNKNOWN = 2, TRI_TOKEN_CONTROL = 3, TRI_TOKEN_USER = 4,
                              TRI_TOKEN_UNUSED = 5, TRI_TOKEN_BYTE = 6 } tri_token_type;

typedef struct tri_vocab {
  size_t n_tokens, n_merges;
  tri_str *tokens;      /* [n_tokens] in GPT-2's printable byte alphabet for NORMAL ones, plain text for others */
  int32_t *types;       /* [n_tokens] tri_token_type */
  tri_str *merges;      /* [n_merges] "left right" */
  const char *pre;      /* pre-tokenizer's name as in tokenizer.ggml.pre: "llama-bpe"; a literal */
  int32_t bos, eos;     /* -1: none */
  int32_t eot;          /* end of turn, -1: none */
  bool add_bos;
  bool ignore_merges;   /* a whole word that is a token is taken as it is */
  void *arena;          /* owns what the strings point into, or NULL when they point into a mapping */
} tri_vocab;

/* From GGUF metadata (tokenizer.ggml.*); strings point into g's mapping. TRI_E_UNSUPPORTED names a tokenizer model or
 * pre-tokenizer that we lack, TRI_E_FORMAT a key that is missing or contradicts another. Without types every token is
 * NORMAL; without add_bos_token BOS is added when there is one (Llama 3's default). */
TRI_MUST_CHECK tri_status tri_vocab_from_gguf(tri_vocab *out, const tri_gguf *g, tri_error *err);
/* From the bytes of a Hugging Face tokenizer.json: byte-level BPE with Llama 3's pre-tokenizer, else TRI_E_UNSUPPORTED
 * quoting what it has. Ids must be 0..n-1 without gaps. add_bos and bos follow the post-processor; where it names none, and
 * for eos and eot, Llama 3's names are looked up (a caller with config.json knows better). The result owns its strings. */
TRI_MUST_CHECK tri_status tri_vocab_from_json(tri_vocab *out, const char *json, size_t len, tri_error *err);
/* Put the same keys into a file being written; errors surface in the writer's begin. */
void tri_vocab_write(const tri_vocab *v, tri_gguf_writer *w);
/* Frees the arrays and the arena (both are malloc's) and zeroes *v. */
void tri_vocab_free(tri_vocab *v);
/* The literal for a pre-tokenizer's name or alias, or NULL if we lack it. */
const char *tri_vocab_pre(tri_str name);

#endif
