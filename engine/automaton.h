/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_AUTOMATON_H
#define TRI_ENGINE_AUTOMATON_H
#include "engine/grammar.h"

/* Which bytes may come next in a text of a grammar. States are numbers, made as they are needed and remembered: equal prospects
 * are one state, and a step that was taken once is a look in a table.
 *
 * A state is a set of items, each a place in the grammar where a byte is due, with a continuation: what follows once its rule has
 * ended, which is again a set of places with continuations. So it is the set of all stacks of a pushdown automaton, with what
 * they share stored once (a graph-structured stack: Tomita 1987), and where a rule ends with a call the caller's
 * continuation is passed on, so that repetitions don't pile up. */

typedef struct tri_automaton tri_automaton;
enum {
  TRI_AUTOMATON_DEAD = 0,             /* the state where nothing fits any more */
  TRI_AUTOMATON_STUCK = INT32_MAX,    /* no state: a limit was reached, see tri_automaton_why */
  TRI_AUTOMATON_BYTES = 16 << 20,     /* that states may take, unless it is told less */
  TRI_AUTOMATON_ITEMS = 16384,        /* looked at in one step */
};

/* The grammar must outlive it. bytes: what states may take, TRI_AUTOMATON_BYTES or less. */
TRI_MUST_CHECK tri_status tri_automaton_create(tri_automaton **out, const tri_grammar *g, size_t bytes, tri_error *err);
void tri_automaton_destroy(tri_automaton **a);

uint32_t tri_automaton_start(tri_automaton *a); /* STUCK when a limit was reached */
/* The state after one more byte: DEAD when it does not fit, STUCK when a limit was reached. */
uint32_t tri_automaton_next(tri_automaton *a, uint32_t state, uint8_t byte);
bool tri_automaton_accepts(const tri_automaton *a, uint32_t state); /* the text may end here */
/* Forget all that this state does not need; its new number. STUCK when out of memory: only tri_automaton_destroy may follow. */
uint32_t tri_automaton_compact(tri_automaton *a, uint32_t state);
size_t tri_automaton_bytes(const tri_automaton *a); /* that states take now */
/* Items that may be looked at from now on before next is STUCK: the bound on a token's cost. */
void tri_automaton_allow(tri_automaton *a, uint64_t items);
/* "needs too much memory for its states": why the last step was STUCK. */
const char *tri_automaton_why(const tri_automaton *a);

#endif
