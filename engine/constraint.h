/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONSTRAINT_H
#define TRI_ENGINE_CONSTRAINT_H
#include "engine/automaton.h"
#include "engine/lexicon.h"

/* A grammar held to while tokens are drawn: which of the vocabulary's tokens may come next. One for each sequence.
 *
 * The set for a state of the grammar is found by walking the vocabulary's trie, and kept; a walk goes on only where the grammar
 * does. Its cost is bounded: a token for which more than TRI_CONSTRAINT_WORK places of the grammar had to be looked at fails. */

typedef struct tri_constraint tri_constraint;
enum {
  TRI_CONSTRAINT_WORK = 4 << 20,
  TRI_CONSTRAINT_SETS = 64, /* kept; vocabulary / 8 bytes each */
};

/* From GBNF text. The lexicon must outlive it. bytes: as of tri_automaton_create; sets and grammar come on top. TRI_E_INVALID,
 * TRI_E_LIMIT: the grammar's; TRI_E_UNSUPPORTED: the vocabulary has no token that ends a text. */
TRI_MUST_CHECK tri_status tri_constraint_create(tri_constraint **out, const char *gbnf, size_t len, const tri_lexicon *l, size_t bytes,
                                                tri_error *err);
void tri_constraint_destroy(tri_constraint **c);

/* The tokens that may follow these [n] (of the answer alone, without the prompt): a bit for each of the vocabulary, as
 * tri_sampler_pick takes them; valid until the next call. Tokens without text are never among them, those that end a text are
 * where the grammar may end. Calls with growing answers of one sequence cost only what is new; a shorter one starts again.
 * TRI_E_INVALID: the tokens do not follow the grammar; TRI_E_LIMIT: too much work or memory; TRI_E_UNSUPPORTED: the vocabulary
 * cannot spell what the grammar wants. */
TRI_MUST_CHECK tri_status tri_constraint_allowed(tri_constraint *c, const int32_t *tokens, size_t n, const uint32_t **allowed,
                                                 tri_error *err);

#endif
