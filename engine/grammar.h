/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_GRAMMAR_H
#define TRI_ENGINE_GRAMMAR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/sampling.h"
#include "base/status.h"

/* What text may look like: a context-free grammar over bytes, from the text of a GBNF file (llama.cpp's form of BNF).
 *
 *   root ::= "yes" | "no" reason?          # the text is what `root` derives
 *   reason ::= ", because " [^\n.]{1,80} "."
 *
 * Literals and classes are of Unicode characters, with the escapes \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH; `.` is any
 * character. ( ) groups, | separates alternatives; * + ? {m} {m,} {m,n} repeat what stands before them. A rule ends with its
 * line, unless in a group, after ::= or |, or if the next line begins with |. # begins a comment.
 *
 * Refused by name and line: rules that are missing, defined twice, or can never end, and left recursion (also by way of what
 * may be empty, as in (x?)*), since no text would be needed to go on in it for ever. */

enum {
  TRI_GRAMMAR_SYMBOLS = 1 << 16,  /* once groups and repetitions are written out */
  TRI_GRAMMAR_REPEATS = 10000,    /* in {m,n} */
};

typedef enum tri_symbol {
  TRI_SYMBOL_END,   /* of an alternative */
  TRI_SYMBOL_BYTES, /* one byte of a set */
  TRI_SYMBOL_CALL,  /* a rule */
} tri_symbol;

/* Symbols of all alternatives stand one after another, each alternative ended by END. Immutable after parsing. */
typedef struct tri_grammar {
  uint32_t *symbols;    /* [n_symbols] see tri_grammar_kind and _arg */
  uint32_t *starts;     /* where alternatives begin, those of rule r at [first[r], first[r + 1]) */
  uint32_t *first;      /* [n_rules + 1] */
  bool *nullable;       /* [n_rules] derives the empty text */
  uint32_t *rank;       /* [n_rules] rules before those that they may begin with */
  uint32_t *by_rank;    /* [n_rules] the other way round */
  uint8_t (*sets)[32];  /* [n_sets] a bit for each class of bytes */
  uint8_t class_of[256]; /* bytes that no set tells apart are of one class */
  uint32_t n_symbols, n_rules, n_sets, n_classes, root;
} tri_grammar;

static inline tri_symbol tri_grammar_kind(const tri_grammar *g, uint32_t at) { return (tri_symbol)(g->symbols[at] >> 30); }
static inline uint32_t tri_grammar_arg(const tri_grammar *g, uint32_t at) { return g->symbols[at] & ((1u << 30) - 1); } /* set or rule */
static inline bool tri_grammar_takes(const tri_grammar *g, uint32_t set, uint32_t class) {
  return g->sets[set][class / 8] >> class % 8 & 1;
}

/* At most TRI_GRAMMAR_BYTES of text. TRI_E_INVALID with line and reason; TRI_E_LIMIT when it is too large. */
TRI_MUST_CHECK tri_status tri_grammar_parse(tri_grammar **out, const char *text, size_t len, tri_error *err);
void tri_grammar_free(tri_grammar **g);

#endif
