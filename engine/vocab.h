/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_VOCAB_H
#define TRI_ENGINE_VOCAB_H
#include "engine/gguf.h"
#include "engine/words.h"

/* A tokenizer's data as plain arrays: what GGUF metadata, tokenizer.json and SentencePiece's tokenizer.model come down to. */

enum { TRI_VOCAB_TOKENS = 1 << 22, TRI_VOCAB_MERGES = 1 << 22, TRI_VOCAB_FILE_BYTES = 256 << 20 }; /* most, else TRI_E_LIMIT */

typedef enum tri_vocab_model {
  TRI_VOCAB_BYTES,   /* byte-level BPE; GGUF's "gpt2" */
  TRI_VOCAB_PIECES,  /* SentencePiece's BPE over characters; "llama" */
  TRI_VOCAB_UNIGRAM, /* SentencePiece's unigram model; "t5" */
} tri_vocab_model;

typedef enum tri_token_type { TRI_TOKEN_NORMAL = 1, TRI_TOKEN_UNKNOWN = 2, TRI_TOKEN_CONTROL = 3, TRI_TOKEN_USER = 4,
                              TRI_TOKEN_UNUSED = 5, TRI_TOKEN_BYTE = 6 } tri_token_type;

/* How an added token (CONTROL, USER or UNKNOWN) is found in a text; bits. */
typedef enum tri_token_flag {
  TRI_TOKEN_LSTRIP = 1,      /* takes the white space before it */
  TRI_TOKEN_RSTRIP = 2,      /* and after it */
  TRI_TOKEN_SINGLE_WORD = 4, /* not inside a word */
  TRI_TOKEN_NORMALIZED = 8,  /* is looked for in the normalised text, normalised itself */
} tri_token_flag;

/* The space that SentencePiece models put before a text; bits. */
typedef enum tri_vocab_prefix {
  TRI_PREFIX_SPACE = 1,       /* before each stretch of text between added tokens */
  TRI_PREFIX_FIRST = 2,       /* of these only at the very start */
  TRI_PREFIX_UNLESS_THERE = 4 /* not where the stretch begins with one */
} tri_vocab_prefix;

typedef struct tri_vocab {
  tri_vocab_model model;
  size_t n_tokens, n_merges;
  tri_str *tokens;      /* [n_tokens] NORMAL ones in GPT-2's printable byte alphabet (BYTES), or with U+2581 for a space; others plain */
  int32_t *types;       /* [n_tokens] tri_token_type */
  int32_t *flags;       /* [n_tokens] tri_token_flag, or NULL: all 0 */
  float *scores;        /* [n_tokens] of PIECES and UNIGRAM, else NULL: the greater is taken first */
  tri_str *merges;      /* [n_merges] "left right"; PIECES without any merge by scores */
  char pre[TRI_WORDS_NAME]; /* BYTES: pre-tokenizer's name as in tokenizer.ggml.pre, one that tri_words_find knows */
  int32_t bos, eos;     /* -1: none */
  int32_t eot;          /* end of turn, -1: none */
  int32_t unk;          /* PIECES and UNIGRAM: for a character that neither tokens nor BYTE tokens can spell; -1: none */
  bool add_bos, add_eos;
  bool ignore_merges;   /* a whole word that is a token is taken as it is */
  bool composes;        /* the text is first brought into Unicode's normal form C */
  uint8_t prefix;       /* tri_vocab_prefix */
  bool squeezes;        /* runs of spaces count as one, and none at the start and end */
  bool splits;          /* a space always begins a new word (PIECES, UNIGRAM) */
  char *chat_template;  /* the model's own (engine/template.h), owned; NULL: none */
  void *arena;          /* owns what the strings point into, or NULL when they point into a mapping */
} tri_vocab;

/* From GGUF metadata (tokenizer.ggml.*); strings point into g's mapping. TRI_E_UNSUPPORTED names a tokenizer model or
 * pre-tokenizer that we lack, TRI_E_FORMAT a key that is missing or contradicts another. Without types every token is
 * NORMAL; without add_bos_token BOS is added when there is one and the model's family does so (all but gpt-2's and qwen2's). */
TRI_MUST_CHECK tri_status tri_vocab_from_gguf(tri_vocab *out, const tri_gguf *g, tri_error *err);
/* From the bytes of a Hugging Face tokenizer.json: byte-level BPE with pre-tokenizers that tri_words_step has, or a SentencePiece
 * model; else TRI_E_UNSUPPORTED quoting what it has. Ids must be 0..n-1 without gaps. add_bos, add_eos and bos follow the
 * post-processor; where it names none, and for eos and eot, usual names are looked up (a caller with config.json knows
 * better). The result owns its strings. */
TRI_MUST_CHECK tri_status tri_vocab_from_json(tri_vocab *out, const char *json, size_t len, tri_error *err);
/* From the bytes of SentencePiece's tokenizer.model (sentencepiece_model.proto: BPE or unigram, without a character map). The
 * result owns its strings. */
TRI_MUST_CHECK tri_status tri_vocab_from_sentencepiece(tri_vocab *out, const void *bytes, size_t len, tri_error *err);
/* From tokenizer.json or tokenizer.model, told apart by their first bytes, or from a folder that holds one of them (the former
 * first); with the chat template beside it. Messages begin with the path. TRI_E_NOT_FOUND: neither is there. */
TRI_MUST_CHECK tri_status tri_vocab_from_path(tri_vocab *out, const char *path, tri_error *err);
/* Put the same keys into a file being written; errors surface in the writer's begin. */
void tri_vocab_write(const tri_vocab *v, tri_gguf_writer *w);
/* Frees the arrays and the arena (all are malloc's) and zeroes *v. */
void tri_vocab_free(tri_vocab *v);

/* For readers of files: ids by their usual names (<s>, <|endoftext|>, …), -1 where there is none. Engine-internal. */
void tri_vocab_find_ends(tri_vocab *v);

#endif
