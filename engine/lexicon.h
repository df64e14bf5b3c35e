/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_LEXICON_H
#define TRI_ENGINE_LEXICON_H
#include "engine/tokenizer.h"

/* A vocabulary's tokens in the order of their bytes: a walk over it with the length that each shares with the one before is a
 * walk over their trie. Control tokens have no bytes and are not in it. Immutable, so threads may share it. */
typedef struct tri_lexicon {
  const tri_tokenizer *tokenizer;
  size_t vocab;     /* logits in a row, at least the tokenizer's size */
  size_t n;         /* tokens with bytes */
  size_t longest;   /* bytes */
  int32_t *ids;     /* [n] ascending by bytes, then by id */
  uint16_t *shared; /* [n] bytes in common with the token before */
  int32_t *ends;    /* [n_ends] tokens that end a text */
  size_t n_ends;
} tri_lexicon;

/* The tokenizer must outlive it. TRI_E_LIMIT: a token of more than 65535 bytes. */
TRI_MUST_CHECK tri_status tri_lexicon_create(tri_lexicon **out, const tri_tokenizer *t, size_t vocab, tri_error *err);
void tri_lexicon_destroy(tri_lexicon **l);

#endif
