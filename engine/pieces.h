/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_PIECES_H
#define TRI_ENGINE_PIECES_H
#include "engine/vocab.h"

/* The bytes of every token, and the way back from bytes to ids. Engine-internal; immutable after open. */

enum { TRI_PIECES_ADDED_BYTES = 512 }; /* longest control or user-defined token */

typedef struct tri_piece_index {
  int32_t *slots; /* open addressing; -1: empty */
  uint64_t mask;
} tri_piece_index;

typedef struct tri_pieces {
  size_t n;
  uint8_t *bytes;
  uint32_t *starts;      /* [n + 1] into bytes */
  uint8_t *types;        /* [n] tri_token_type */
  tri_piece_index words; /* NORMAL tokens: what BPE works on */
  tri_piece_index added; /* CONTROL and USER tokens: found in the text as they are */
  size_t longest_word;
  uint16_t *added_lengths; /* distinct lengths of added tokens, longest first */
  size_t n_added_lengths;
  bool first_special[256]; /* bytes that start a CONTROL or USER token */
  bool first_user[256];    /* bytes that start a USER token */
} tri_pieces;

/* NORMAL tokens are decoded from GPT-2's alphabet; one that has other characters in it is kept as plain text
 * and is no word. Of equal tokens the lowest id is found. */
TRI_MUST_CHECK tri_status tri_pieces_open(tri_pieces *out, const tri_vocab *v, tri_error *err);
void tri_pieces_close(tri_pieces *p);

static inline tri_str tri_pieces_at(const tri_pieces *p, size_t id) {
  return (tri_str){(const char *)p->bytes + p->starts[id], p->starts[id + 1] - p->starts[id]};
}
/* The id of a word's bytes, or -1. */
int32_t tri_pieces_word(const tri_pieces *p, const uint8_t *bytes, size_t len);
/* The longest added token at the start of `len` bytes, or -1; CONTROL ones only with `special`. */
int32_t tri_pieces_added(const tri_pieces *p, const uint8_t *bytes, size_t len, bool special);
/* The id of a word written in GPT-2's alphabet (one side of a merge), or -1. */
int32_t tri_pieces_spelled(const tri_pieces *p, tri_str text);

#endif
