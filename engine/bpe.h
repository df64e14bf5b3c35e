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
/* left, right -> merged at this rank. A later rule for the same pair replaces the earlier one. At most n_rules calls. */
void tri_bpe_add(tri_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t merged);

/* Scratch of one thread: {0} is a valid empty one; it grows to the longest word. */
typedef struct tri_bpe_scratch {
  int32_t *symbols;
  struct tri_bpe_node *nodes;
  uint64_t *heap;
  size_t n_symbols, n_nodes, heap_cap;
} tri_bpe_scratch;
void tri_bpe_scratch_free(tri_bpe_scratch *s);

/* Room for the n symbols of a word, n < 2^32 - 1, which the caller sets; NULL: no memory. */
int32_t *tri_bpe_symbols(tri_bpe_scratch *s, size_t n);
/* Merge the first n of them and append the result to *out. O(n log n). TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_bpe_merge(const tri_bpe *b, tri_bpe_scratch *s, size_t n, tri_ids *out);

#endif
