/* SPDX-License-Identifier: MIT */
/* From what was read to the tables of a grammar, and what must hold of them. */
#include "engine/grammar_impl.h"

#include <stdlib.h>
#include <string.h>

/* Where each rule is called: `alts` of rule r at [first[r], first[r + 1]), an alternative once for each call. */
typedef struct uses {
  uint32_t *first, *alts;
} uses;

static const grammar_rule *rule_at(const grammar_builder *b, uint32_t rule) {
  return (const grammar_rule *)(const void *)b->rules.data + rule;
}

static tri_status fail_at(const grammar_builder *b, uint32_t rule, tri_status status, const char *why) {
  const grammar_rule *r = rule_at(b, rule);
  size_t len = 0;
  const char *name = r->name == GRAMMAR_NO_NAME ? "" : tri_interner_get(b->names, r->name, &len);
  return tri_status_fail(b->err, status, "grammar, line %u: rule '%.*s' %s", r->line, (int)(len < 64 ? len : 64), name, why);
}

/* --- tables --- */

static void sort_alts(const grammar_builder *b, tri_grammar *g) {
  const grammar_alt *alts = (const grammar_alt *)(const void *)b->alts.data;
  size_t n = b->alts.len / sizeof *alts;
  for (size_t i = 0; i < n; i++) g->first[alts[i].rule + 1]++;
  for (uint32_t r = 0; r < g->n_rules; r++) g->first[r + 1] += g->first[r];
  for (size_t i = n; i--;) g->starts[--g->first[alts[i].rule + 1]] = alts[i].start;
  /* each count has become the start of its own rule, one place too high */
  for (uint32_t r = 0; r < g->n_rules; r++) g->first[r] = g->first[r + 1];
  g->first[g->n_rules] = (uint32_t)n;
}

/* Classes are split by one set after another until no set tells two bytes of a class apart. */
static void classify(const grammar_builder *b, tri_grammar *g) {
  g->n_classes = 1;
  for (uint32_t s = 0; s < g->n_sets; s++) {
    size_t len;
    uint16_t moved[256];
    const uint8_t *set = tri_interner_get(b->sets, s, &len);
    memset(moved, 0xff, sizeof moved); /* none */
    bool keeps[256] = {false};         /* some byte of the class is not in the set */
    for (int c = 0; c < 256; c++) keeps[g->class_of[c]] |= !(set[c / 8] >> c % 8 & 1);
    for (int c = 0; c < 256; c++) {
      uint8_t class = g->class_of[c];
      if (!(set[c / 8] >> c % 8 & 1) || !keeps[class]) continue;
      if (moved[class] == UINT16_MAX) moved[class] = (uint16_t)g->n_classes++;
      g->class_of[c] = (uint8_t)moved[class];
    }
  }
  for (uint32_t s = 0; s < g->n_sets; s++) {
    size_t len;
    const uint8_t *set = tri_interner_get(b->sets, s, &len);
    for (int c = 0; c < 256; c++)
      if (set[c / 8] >> c % 8 & 1) g->sets[s][g->class_of[c] / 8] |= (uint8_t)(1u << g->class_of[c] % 8);
  }
}

static tri_status allocate(const grammar_builder *b, tri_grammar *g) {
  size_t alts = b->alts.len / sizeof(grammar_alt);
  g->n_symbols = (uint32_t)(b->symbols.len / sizeof *g->symbols);
  g->n_rules = (uint32_t)(b->rules.len / sizeof(grammar_rule));
  g->n_sets = tri_interner_count(b->sets);
  g->symbols = malloc((g->n_symbols + 1) * sizeof *g->symbols);
  g->starts = malloc((alts + 1) * sizeof *g->starts);
  g->first = calloc(g->n_rules + 1, sizeof *g->first);
  g->nullable = calloc(g->n_rules + 1, sizeof *g->nullable);
  g->rank = calloc(g->n_rules + 1, sizeof *g->rank);
  g->by_rank = calloc(g->n_rules + 1, sizeof *g->by_rank);
  g->sets = calloc(g->n_sets + 1, sizeof *g->sets);
  if (!g->symbols || !g->starts || !g->first || !g->nullable || !g->rank || !g->by_rank || !g->sets)
    return tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  if (g->n_symbols) memcpy(g->symbols, b->symbols.data, g->n_symbols * sizeof *g->symbols);
  return TRI_OK;
}

/* --- which rules derive the empty text, which any text at all --- */

static tri_status find_uses(const grammar_builder *b, const tri_grammar *g, uses *u) {
  u->first = calloc(g->n_rules + 2, sizeof *u->first);
  u->alts = malloc((g->n_symbols + 1) * sizeof *u->alts);
  if (!u->first || !u->alts) return tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  for (uint32_t at = 0; at < g->n_symbols; at++)
    if (tri_grammar_kind(g, at) == TRI_SYMBOL_CALL) u->first[tri_grammar_arg(g, at) + 2]++;
  for (uint32_t r = 0; r < g->n_rules; r++) u->first[r + 2] += u->first[r + 1];
  for (uint32_t a = 0; a < g->first[g->n_rules]; a++)
    for (uint32_t at = g->starts[a]; tri_grammar_kind(g, at) != TRI_SYMBOL_END; at++)
      if (tri_grammar_kind(g, at) == TRI_SYMBOL_CALL) u->alts[u->first[tri_grammar_arg(g, at) + 1]++] = a;
  return TRI_OK;
}

/* has[r]: some alternative of r consists of rules that have it and, if they count as having it, of bytes. In linear time. */
static tri_status spread(const grammar_builder *b, const tri_grammar *g, const uses *u, bool with_bytes, bool *has) {
  uint32_t n_alts = g->first[g->n_rules], *lacks = calloc(n_alts + 1, sizeof *lacks), *owner = malloc((n_alts + 1) * sizeof *owner);
  uint32_t *todo = malloc((g->n_rules + 1) * sizeof *todo), n = 0;
  bool ok = lacks && owner && todo;
  for (uint32_t r = 0; ok && r < g->n_rules; r++)
    for (uint32_t a = g->first[r]; a < g->first[r + 1]; a++) {
      owner[a] = r;
      for (uint32_t at = g->starts[a]; tri_grammar_kind(g, at) != TRI_SYMBOL_END; at++)
        lacks[a] += !with_bytes || tri_grammar_kind(g, at) == TRI_SYMBOL_CALL;
      if (!lacks[a] && !has[r]) has[r] = true, todo[n++] = r;
    }
  while (ok && n) {
    uint32_t r = todo[--n];
    for (uint32_t i = u->first[r]; i < u->first[r + 1]; i++) {
      uint32_t a = u->alts[i];
      if (--lacks[a] == 0 && !has[owner[a]]) has[owner[a]] = true, todo[n++] = owner[a];
    }
  }
  free(lacks), free(owner), free(todo);
  return ok ? TRI_OK : tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
}

static tri_status check_ends(const grammar_builder *b, const tri_grammar *g, const uses *u) {
  bool *ends = calloc(g->n_rules + 1, sizeof *ends);
  tri_status status = ends ? spread(b, g, u, true, ends) : tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  for (uint32_t r = 0; status == TRI_OK && r < g->n_rules; r++)
    if (!ends[r]) status = fail_at(b, r, TRI_E_INVALID, "can never end: every alternative needs the rule itself");
  free(ends);
  return status;
}

/* --- ranks: depth first along what a rule may begin with --- */

typedef struct frame {
  uint32_t rule, alt, at;
} frame;

/* The next rule that the frame's may begin with, or false. */
static bool next_beginning(const tri_grammar *g, frame *f, uint32_t *rule) {
  for (; f->alt < g->first[f->rule + 1]; f->alt++, f->at = 0) {
    uint32_t at = g->starts[f->alt] + f->at;
    if (f->at && !g->nullable[tri_grammar_arg(g, at - 1)]) continue;
    if (tri_grammar_kind(g, at) != TRI_SYMBOL_CALL) continue;
    f->at++;
    *rule = tri_grammar_arg(g, at);
    return true;
  }
  return false;
}

static tri_status rank_rules(const grammar_builder *b, tri_grammar *g) {
  enum { NEW, OPEN, DONE };
  uint8_t *seen = calloc(g->n_rules + 1, sizeof *seen);
  frame *stack = malloc((g->n_rules + 1) * sizeof *stack);
  tri_status status = seen && stack ? TRI_OK : tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  uint32_t next = g->n_rules;
  for (uint32_t r = 0; status == TRI_OK && r < g->n_rules; r++) {
    uint32_t depth = 0, begins;
    if (seen[r] == NEW) stack[depth++] = (frame){r, g->first[r], 0}, seen[r] = OPEN;
    while (status == TRI_OK && depth) {
      frame *f = &stack[depth - 1];
      if (!next_beginning(g, f, &begins)) {
        seen[f->rule] = DONE, g->rank[f->rule] = --next, depth--;
      } else if (seen[begins] == OPEN) {
        status = fail_at(b, begins, TRI_E_INVALID,
                         "is left-recursive: it may begin with itself, or repeats what may be empty; write it as a repetition with * or +");
      } else if (seen[begins] == NEW) {
        stack[depth++] = (frame){begins, g->first[begins], 0}, seen[begins] = OPEN;
      }
    }
  }
  for (uint32_t r = 0; status == TRI_OK && r < g->n_rules; r++) g->by_rank[g->rank[r]] = r;
  free(seen), free(stack);
  return status;
}

/* --- all of it --- */

static tri_status find_root(const grammar_builder *b, tri_grammar *g) {
  for (uint32_t r = 0; r < g->n_rules; r++)
    if (!rule_at(b, r)->defined) return fail_at(b, r, TRI_E_INVALID, "is used here, but nowhere defined");
  for (uint32_t id = 0; id < tri_interner_count(b->names); id++) {
    size_t len;
    const char *name = tri_interner_get(b->names, id, &len);
    memcpy(&g->root, b->name_rules.data + id * sizeof g->root, sizeof g->root);
    if (len == 4 && memcmp(name, "root", 4) == 0) return TRI_OK;
  }
  return tri_status_fail(b->err, TRI_E_INVALID, "the grammar has no rule 'root'");
}

static tri_status fill(const grammar_builder *b, tri_grammar *g, uses *u) {
  tri_status status = allocate(b, g);
  if (status != TRI_OK) return status;
  status = find_root(b, g);
  if (status != TRI_OK) return status;
  sort_alts(b, g);
  classify(b, g);
  status = find_uses(b, g, u);
  if (status == TRI_OK) status = spread(b, g, u, false, g->nullable);
  if (status == TRI_OK) status = check_ends(b, g, u);
  return status == TRI_OK ? rank_rules(b, g) : status;
}

tri_status grammar_finish(const grammar_builder *b, tri_grammar **out) {
  uses u = {0};
  tri_grammar *g = calloc(1, sizeof *g);
  tri_status status = g ? fill(b, g, &u) : tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar");
  free(u.first), free(u.alts);
  if (status != TRI_OK) return tri_grammar_free(&g), status;
  *out = g;
  return TRI_OK;
}
