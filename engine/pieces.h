/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_PIECES_H
#define TRI_ENGINE_PIECES_H
#include "engine/vocab.h"

/* The bytes of every token, and the way back from bytes to ids. Engine-internal; immutable after open. */

enum { TRI_PIECES_WORD_BYTES = 128 }; /* longest NORMAL token of a SentencePiece model */

typedef struct tri_piece_index {
  int32_t *slots; /* open addressing; -1: empty */
  uint64_t mask;
} tri_piece_index;

typedef struct tri_pieces {
  tri_vocab_model model;
  size_t n;
  uint8_t *bytes;
  uint32_t *starts;      /* [n + 1] into bytes */
  uint8_t *types;        /* [n] tri_token_type */
  tri_piece_index words; /* what the model works on: NORMAL tokens, and USER ones that merges may lead to */
  size_t longest_word;
} tri_pieces;

/* NORMAL tokens are decoded from GPT-2's alphabet (one that has other characters in it is kept as plain text and is no word), in a
 * SentencePiece model from U+2581 for a space, and there BYTE tokens ("<0x0A>") to their byte. A USER token is plain text, and a
 * word too where both spellings are the same. Of equal words the lowest id is found. TRI_E_LIMIT: a word that is too long. */
TRI_MUST_CHECK tri_status tri_pieces_open(tri_pieces *out, const tri_vocab *v, tri_error *err);
void tri_pieces_close(tri_pieces *p);

static inline tri_str tri_pieces_at(const tri_pieces *p, size_t id) {
  return (tri_str){(const char *)p->bytes + p->starts[id], p->starts[id + 1] - p->starts[id]};
}
/* The id of a word's bytes, or -1. */
int32_t tri_pieces_word(const tri_pieces *p, const uint8_t *bytes, size_t len);
/* The id of a word written as the vocabulary writes it (one side of a merge), or -1. */
int32_t tri_pieces_spelled(const tri_pieces *p, tri_str text);
/* The byte that a BYTE token stands for: "<0x0A>" -> 10; -1 if it isn't written so. */
int tri_pieces_byte(tri_str text);

#endif
