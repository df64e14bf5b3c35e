/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_GRAMMAR_IMPL_H
#define TRI_ENGINE_GRAMMAR_IMPL_H
#include "base/buf.h"
#include "engine/grammar.h"
#include "engine/interner.h"

/* Inside engine/grammar*.c only: a grammar while it is built. */

enum { GRAMMAR_NO_NAME = UINT32_MAX, GRAMMAR_MOST_CHAR = 0x10ffff };

typedef struct grammar_alt {
  uint32_t rule, start;
} grammar_alt;

typedef struct grammar_rule {
  uint32_t name; /* in names; of a group or repetition, that of the rule it stands in */
  uint32_t line; /* where it is defined, or first used */
  bool defined;
} grammar_rule;

/* Code points lo to hi. */
typedef struct grammar_range {
  uint32_t lo, hi;
} grammar_range;

typedef struct grammar_builder {
  tri_buf symbols;      /* uint32_t, as in tri_grammar */
  tri_buf alts;         /* grammar_alt, in any order of rules */
  tri_buf rules;        /* grammar_rule */
  tri_buf name_rules;   /* uint32_t by name: its rule */
  tri_buf class_rules;  /* uint32_t by class of characters: its rule */
  tri_interner *names, *sets, *classes; /* sets: 32 bytes, a bit for each byte; classes: grammar_range [n] */
  uint32_t line, name;  /* of the rule at hand */
  tri_error *err;
} grammar_builder;

static inline uint32_t grammar_symbol(tri_symbol kind, uint32_t arg) { return (uint32_t)kind << 30 | arg; }

/* tri_status_fail with the line of the rule at hand. */
#define GRAMMAR_FAIL(b, status, ...) \
  tri_status_prefix((b)->err, tri_status_fail((b)->err, status, __VA_ARGS__), "grammar, line %u", (b)->line)

/* --- grammar.c --- */
/* A rule without a name of its own. */
TRI_MUST_CHECK tri_status grammar_add_rule(grammar_builder *b, uint32_t *rule);
TRI_MUST_CHECK tri_status grammar_push(const grammar_builder *b, tri_buf *sequence, uint32_t symbol);
/* One more alternative: the symbols of the sequence, without END. */
TRI_MUST_CHECK tri_status grammar_add_alt(grammar_builder *b, uint32_t rule, const tri_buf *sequence);
/* --- grammar_chars.c --- */
TRI_MUST_CHECK tri_status grammar_push_char(grammar_builder *b, tri_buf *sequence, uint32_t c);
/* One character of these ranges (which are put in order), or of no other; any of them when there are none. */
TRI_MUST_CHECK tri_status grammar_push_class(grammar_builder *b, tri_buf *sequence, grammar_range *ranges, size_t n, bool negated);
/* --- grammar_check.c --- */
/* The tables of what was built, checked. */
TRI_MUST_CHECK tri_status grammar_finish(const grammar_builder *b, tri_grammar **out);

#endif
