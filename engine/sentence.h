/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SENTENCE_H
#define TRI_ENGINE_SENTENCE_H
#include "engine/bpe.h"
#include "engine/pieces.h"

/* SentencePiece's two models (Kudo and Richardson 2018), over normalised text whose spaces are spaces. Engine-internal; immutable
 * after open. */

typedef struct tri_sentence tri_sentence;

/* `pieces` must outlive it. TRI_E_FORMAT: a merge of tokens that don't exist, scores that are no numbers. */
TRI_MUST_CHECK tri_status tri_sentence_open(tri_sentence **out, const tri_vocab *v, const tri_pieces *pieces, tri_error *err);
void tri_sentence_close(tri_sentence **s);

typedef struct tri_sentence_scratch {
  tri_bpe_scratch bpe;
  struct tri_sentence_step *steps; /* of the unigram model's search, one a byte */
  size_t n_steps;
} tri_sentence_scratch;
void tri_sentence_scratch_free(tri_sentence_scratch *s);

/* Append the ids of a text. A character that no token has is spelled in BYTE tokens, else it is the unknown token, one for a run
 * of them; without that one it is left out. Linear in the text but for O(log n) of a run that BPE must take whole. TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_sentence_encode(const tri_sentence *s, tri_sentence_scratch *scratch, const uint8_t *text, size_t len,
                                              tri_ids *out);

/* One merge of the vocabulary's list as a rule: both kinds of BPE have them. */
TRI_MUST_CHECK tri_status tri_sentence_add_merge(tri_bpe *bpe, const tri_pieces *pieces, tri_str merge, size_t rank, tri_error *err);

#endif
