/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_PLAIN_GRAMMAR_H
#define TRI_TESTS_PLAIN_GRAMMAR_H
#include <stdlib.h>
#include "engine/grammar.h"

/* Membership by trying everything, straight from what a grammar means. For short texts. Allocation failure aborts. */

enum { PLAIN_MOST = 30 }; /* bytes */

typedef struct plain {
  const tri_grammar *g;
  const uint8_t *text;
  int len;
  uint32_t *ends;   /* [n_symbols, len + 1] found before: bit 31 and the answer */
  uint8_t *begins;  /* likewise: 2 and the answer */
} plain;

/* The lengths at which the text may be once the symbols from `at` to their END have been read from length i on: bit j. */
static inline uint32_t plain_ends(const plain *p, uint32_t at, int i) {
  uint32_t *found = &p->ends[at * (uint32_t)(p->len + 1) + (uint32_t)i], reached = 0, arg = tri_grammar_arg(p->g, at);
  if (*found) return *found & ~(1u << 31);
  switch (tri_grammar_kind(p->g, at)) {
  case TRI_SYMBOL_END: reached = 1u << i; break;
  case TRI_SYMBOL_BYTES:
    if (i < p->len && tri_grammar_takes(p->g, arg, p->g->class_of[p->text[i]])) reached = plain_ends(p, at + 1, i + 1);
    break;
  case TRI_SYMBOL_CALL: {
    uint32_t after = 0;
    for (uint32_t a = p->g->first[arg]; a < p->g->first[arg + 1]; a++) after |= plain_ends(p, p->g->starts[a], i);
    for (int j = i; j <= p->len; j++)
      if (after >> j & 1) reached |= plain_ends(p, at + 1, j);
  }
  }
  return *found = reached | 1u << 31, reached;
}

/* Whether what is left from length i on begins something that the symbols from `at` on derive. Every rule derives something. */
static inline bool plain_begins(const plain *p, uint32_t at, int i) {
  uint8_t *found = &p->begins[at * (uint32_t)(p->len + 1) + (uint32_t)i];
  uint32_t arg = tri_grammar_arg(p->g, at), after = 0;
  bool yes = false;
  if (i == p->len) return true;
  if (tri_grammar_kind(p->g, at) == TRI_SYMBOL_END) return false;
  if (*found) return *found & 1;
  if (tri_grammar_kind(p->g, at) == TRI_SYMBOL_BYTES) {
    yes = tri_grammar_takes(p->g, arg, p->g->class_of[p->text[i]]) && plain_begins(p, at + 1, i + 1);
  } else {
    for (uint32_t a = p->g->first[arg]; a < p->g->first[arg + 1]; a++)
      yes |= plain_begins(p, p->g->starts[a], i), after |= plain_ends(p, p->g->starts[a], i);
    for (int j = i; j <= p->len; j++) yes |= (after >> j & 1) && plain_begins(p, at + 1, j);
  }
  return *found = (uint8_t)(2 | yes), yes;
}

/* Whether the text is one of the grammar's, and whether it begins one. */
static inline bool plain_accepts(const tri_grammar *g, const void *text, int len, bool *viable) {
  size_t cells = (size_t)g->n_symbols * (size_t)(len + 1);
  plain p = {g, text, len, calloc(cells, sizeof *p.ends), calloc(cells, sizeof *p.begins)};
  uint32_t ends = 0;
  if (!p.ends || !p.begins || len > PLAIN_MOST) abort();
  *viable = false;
  for (uint32_t a = g->first[g->root]; a < g->first[g->root + 1]; a++)
    ends |= plain_ends(&p, g->starts[a], 0), *viable |= plain_begins(&p, g->starts[a], 0);
  free(p.ends), free(p.begins);
  return ends >> len & 1;
}

#endif
