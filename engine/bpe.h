/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_BPE_H
#define TRI_ENGINE_BPE_H
#include "engine/tokenizer.h"

/* Byte-pair merges (Sennrich et al. 2016): of a word's adjacent pairs the one of lowest rank is joined first,
 * the leftmost of equals, until no pair has a rule. Engine-internal; immutable after the last add. */

typedef struct tri_bpe tri_bpe;

/* Room for n_rules rules, at most TRI_VOCAB_MERGES. */
TRI_MUST_CHECK tri_status tri_bpe_create(tri_bpe **out, size_t n_rules, tri_error *err);
void tri_bpe_destroy(tri_bpe **b);
/* left, right -> merged at this rank; ranks are distinct. A later rule for the same pair replaces the earlier
 * one. At most n_rules calls. */
void tri_bpe_add(tri_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t merged);

/* Scratch of one thread: {0} is a valid empty one; it grows to the longest word. */
typedef struct tri_bpe_scratch {
  struct tri_bpe_node *nodes;
  uint64_t *heap;
  size_t n_nodes, heap_cap;
} tri_bpe_scratch;
void tri_bpe_scratch_free(tri_bpe_scratch *s);

/* Merge the n bytes of a word, n < 2^32 - 1, and append the result to *out; symbols holds each byte's own
 * token. O(n log n). TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_bpe_word(const tri_bpe *b, tri_bpe_scratch *s, const uint8_t *bytes, size_t n,
                                       const int32_t symbols[256], tri_ids *out);

#endif
