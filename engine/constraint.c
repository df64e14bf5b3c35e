/* SPDX-License-Identifier: MIT */
#include "engine/constraint.h"

#include <stdlib.h>
#include <string.h>

struct tri_constraint {
  const tri_lexicon *l;
  tri_grammar *grammar;
  tri_automaton *automaton;
  uint32_t state;
  size_t fed;          /* tokens of the answer that have led to it */
  size_t bytes;        /* that the automaton may take */
  size_t words;        /* in a set of tokens */
  uint32_t *path;      /* [longest + 1] states along a token */
  uint32_t *sets;      /* [TRI_CONSTRAINT_SETS, words] */
  uint32_t set_of[TRI_CONSTRAINT_SETS]; /* the state whose set it is, 0: none; state s at s % TRI_CONSTRAINT_SETS */
};

static size_t words_of(size_t vocab) { return (vocab + 31) / 32; }

static tri_status fail_stuck(const tri_constraint *c, tri_error *err) {
  return tri_status_fail(err, TRI_E_LIMIT, "after %zu tokens of the answer the grammar %s", c->fed, tri_automaton_why(c->automaton));
}

/* Sets are of states whose numbers mean nothing any more. */
static void forget_sets(tri_constraint *c) { memset(c->set_of, 0, sizeof c->set_of); }

static tri_status restart(tri_constraint *c, tri_error *err) {
  c->fed = 0;
  c->state = tri_automaton_start(c->automaton);
  return c->state == TRI_AUTOMATON_STUCK ? fail_stuck(c, err) : TRI_OK;
}

static tri_status compact(tri_constraint *c, tri_error *err) {
  c->state = tri_automaton_compact(c->automaton, c->state);
  forget_sets(c);
  return c->state == TRI_AUTOMATON_STUCK ? fail_stuck(c, err) : TRI_OK;
}

tri_status tri_constraint_create(tri_constraint **out, const char *gbnf, size_t len, const tri_lexicon *l, size_t bytes, tri_error *err) {
  if (!l->n_ends)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "a grammar needs an end-of-text token to end with, and the vocabulary has none");
  tri_constraint *c = calloc(1, sizeof *c);
  if (!c) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a grammar");
  c->l = l, c->bytes = bytes, c->words = words_of(l->vocab);
  tri_status status = tri_grammar_parse(&c->grammar, gbnf, len, err);
  if (status == TRI_OK) status = tri_automaton_create(&c->automaton, c->grammar, bytes, err);
  c->path = malloc((l->longest + 1) * sizeof *c->path);
  c->sets = malloc(TRI_CONSTRAINT_SETS * c->words * sizeof *c->sets);
  if (status == TRI_OK && (!c->path || !c->sets)) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for a grammar");
  if (status == TRI_OK) status = restart(c, err);
  if (status != TRI_OK) return tri_constraint_destroy(&c), status;
  *out = c;
  return TRI_OK;
}

void tri_constraint_destroy(tri_constraint **constraint) {
  tri_constraint *c = *constraint;
  if (!c) return;
  tri_automaton_destroy(&c->automaton);
  tri_grammar_free(&c->grammar);
  free(c->path), free(c->sets);
  free(c);
  *constraint = NULL;
}

/* --- along the answer --- */

/* Stops at the state that is DEAD or STUCK. */
static uint32_t read_piece(tri_constraint *c, uint32_t state, tri_str piece) {
  for (size_t i = 0; i < piece.len && state != TRI_AUTOMATON_DEAD && state != TRI_AUTOMATON_STUCK; i++)
    state = tri_automaton_next(c->automaton, state, (uint8_t)piece.data[i]);
  return state;
}

static tri_status feed(tri_constraint *c, int32_t token, tri_error *err) {
  tri_str piece = tri_tokenizer_piece(c->l->tokenizer, token, false);
  uint32_t next = piece.len ? read_piece(c, c->state, piece) : TRI_AUTOMATON_DEAD;
  if (next == TRI_AUTOMATON_STUCK) return fail_stuck(c, err);
  if (next == TRI_AUTOMATON_DEAD)
    return tri_status_fail(err, TRI_E_INVALID, "token %d, number %zu of the answer, does not follow the grammar", token, c->fed + 1);
  c->state = next, c->fed++;
  return TRI_OK;
}

/* --- over the vocabulary --- */

static void set_bit(uint32_t *set, int32_t id) { set[id / 32] |= 1u << id % 32; }

/* Along the trie: `alive` bytes of the token before could be read, and path[0..alive] are the states that they led to. False
 * when a limit was reached. */
static bool walk(tri_constraint *c, uint32_t *set) {
  const tri_lexicon *l = c->l;
  size_t alive = 0;
  c->path[0] = c->state;
  for (size_t i = 0; i < l->n; i++) {
    if (i && l->shared[i] > alive) continue; /* begins with what could not be read */
    tri_str piece = tri_tokenizer_piece(l->tokenizer, l->ids[i], false);
    for (alive = l->shared[i]; alive < piece.len; alive++) {
      uint32_t next = tri_automaton_next(c->automaton, c->path[alive], (uint8_t)piece.data[alive]);
      if (next == TRI_AUTOMATON_STUCK) return false;
      if (next == TRI_AUTOMATON_DEAD) break;
      c->path[alive + 1] = next;
    }
    if (alive == piece.len) set_bit(set, l->ids[i]);
  }
  return true;
}

/* With what a former walk left behind forgotten, there may be room. */
static tri_status find_set(tri_constraint *c, uint32_t *set, tri_error *err) {
  for (int try = 0; try < 2; try++) {
    memset(set, 0, c->words * sizeof *set);
    if (walk(c, set)) break;
    if (try == 1 || tri_automaton_bytes(c->automaton) < c->bytes / 4) return fail_stuck(c, err);
    tri_status status = compact(c, err);
    if (status != TRI_OK) return status;
  }
  if (tri_automaton_accepts(c->automaton, c->state))
    for (size_t i = 0; i < c->l->n_ends; i++) set_bit(set, c->l->ends[i]);
  for (size_t i = 0; i < c->words; i++)
    if (set[i]) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "after %zu tokens of the answer no token of the vocabulary goes on in the grammar",
                         c->fed);
}

tri_status tri_constraint_allowed(tri_constraint *c, const int32_t *tokens, size_t n, const uint32_t **allowed, tri_error *err) {
  tri_status status = n < c->fed ? restart(c, err) : TRI_OK;
  tri_automaton_allow(c->automaton, TRI_CONSTRAINT_WORK);
  while (status == TRI_OK && c->fed < n) {
    /* for each as if it had come alone: an answer that could go on can be taken up again elsewhere */
    tri_automaton_allow(c->automaton, TRI_CONSTRAINT_WORK);
    status = feed(c, tokens[c->fed], err);
    if (status == TRI_OK && tri_automaton_bytes(c->automaton) > c->bytes / 2) status = compact(c, err);
  }
  if (status != TRI_OK) return status;
  uint32_t slot = c->state % TRI_CONSTRAINT_SETS, *set = c->sets + slot * c->words;
  if (c->set_of[slot] != c->state) {
    c->set_of[slot] = 0;
    status = find_set(c, set, err);
    if (status != TRI_OK) return status;
    if (c->state % TRI_CONSTRAINT_SETS == slot) c->set_of[slot] = c->state;
  }
  *allowed = set;
  return TRI_OK;
}
