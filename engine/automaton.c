/* SPDX-License-Identifier: MIT */
#include "engine/automaton.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "engine/interner.h"

/* An item is a place in the grammar's symbols << 32 | the continuation's number. States and continuations are both sorted sets of
 * items in one interner, so a continuation's number is always below those of the sets it stands in. */

enum { NONE = UINT32_MAX, SEEN_SLOTS = 2 * TRI_AUTOMATON_ITEMS, EMPTY_SET = TRI_AUTOMATON_DEAD };
#define ACCEPT ((uint64_t)UINT32_MAX << 32) /* the item of a text that is complete */

/* A call met in a step: `back` is the place behind it, with its continuation. */
typedef struct call {
  uint64_t back;
  uint32_t next; /* of the same rule, or NONE */
} call;

struct tri_automaton {
  const tri_grammar *g;
  tri_interner *sets;
  tri_buf row_of; /* uint32_t by set: its row, or NONE */
  tri_buf rows;   /* uint32_t [rows, n_classes]: the set after a byte of the class, or NONE if not known yet */
  size_t most_bytes;
  uint64_t items_left;
  const char *why;
  /* scratch of one step */
  tri_buf todo, due, merged; /* uint64_t items */
  tri_buf calls;
  uint32_t *first_call;      /* [n_rules] in calls, or NONE */
  uint64_t *waiting;         /* a bit for each rank with calls */
  uint64_t *seen;            /* [SEEN_SLOTS] items of this step */
  uint32_t *seen_in, step;   /* [SEEN_SLOTS] the step in which a slot was filled */
  size_t looked;             /* at so many items in this step */
};

static uint32_t place_of(uint64_t item) { return (uint32_t)(item >> 32); }
static uint32_t continuation_of(uint64_t item) { return (uint32_t)item; }
static uint64_t item_of(uint32_t place, uint32_t continuation) { return (uint64_t)place << 32 | continuation; }
static void push_item(tri_buf *b, uint64_t item) { tri_buf_append(b, &item, sizeof item); }
static const uint64_t *items_of(const tri_automaton *a, uint32_t set, size_t *n) {
  const uint64_t *items = tri_interner_get(a->sets, set, n);
  *n /= sizeof *items;
  return items;
}

static uint32_t stuck(tri_automaton *a, const char *why) { return a->why = why, TRI_AUTOMATON_STUCK; }

/* --- sets --- */

static int compare(const void *x, const void *y) {
  uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
  return (a > b) - (a < b);
}

/* The number of the set of these items, which are put in order. */
static uint32_t put_set(tri_automaton *a, tri_buf *items) {
  uint64_t *p = (uint64_t *)(void *)items->data;
  size_t n = items->len / sizeof *p, kept = 0;
  if (!tri_buf_ok(items)) return stuck(a, "needs more memory than there is");
  if (n > 1) qsort(p, n, sizeof *p, compare);
  for (size_t i = 0; i < n; i++)
    if (!kept || p[i] != p[kept - 1]) p[kept++] = p[i];
  if (tri_automaton_bytes(a) + kept * sizeof *p > a->most_bytes) return stuck(a, "needs too much memory for its states");
  uint32_t set = tri_interner_put(a->sets, p, kept * sizeof *p, NULL);
  return set == TRI_INTERNER_NONE ? stuck(a, "needs more memory than there is") : set;
}

size_t tri_automaton_bytes(const tri_automaton *a) { return tri_interner_bytes(a->sets) + a->row_of.cap + a->rows.cap; }

/* --- one step --- */

/* True the first time in this step. */
static bool see(tri_automaton *a, uint64_t item) {
  uint64_t hash = item * 0x9e3779b97f4a7c15u;
  size_t i = (hash ^ hash >> 32) % SEEN_SLOTS;
  for (; a->seen_in[i] == a->step; i = (i + 1) % SEEN_SLOTS)
    if (a->seen[i] == item) return false;
  a->seen[i] = item, a->seen_in[i] = a->step;
  return true;
}

/* False when one of the two limits is reached. */
static bool look_at(tri_automaton *a, size_t items) {
  a->looked += items;
  if (a->looked > TRI_AUTOMATON_ITEMS) return stuck(a, "has too many ways to go on at once; make it less ambiguous"), false;
  if (items > a->items_left) return stuck(a, "takes too much work for one token; make it less ambiguous"), false;
  a->items_left -= items;
  return true;
}

/* The items of a set as well. */
static bool append_set(tri_automaton *a, tri_buf *to, uint32_t set) {
  size_t n;
  const uint64_t *items = items_of(a, set, &n);
  if (!look_at(a, n)) return false;
  tri_buf_append(to, items, n * sizeof *items);
  return true;
}

static void note_call(tri_automaton *a, uint32_t rule, uint64_t back) {
  call c = {back, a->first_call[rule]};
  a->first_call[rule] = (uint32_t)(a->calls.len / sizeof c);
  tri_buf_append(&a->calls, &c, sizeof c);
  a->waiting[a->g->rank[rule] / 64] |= 1ull << a->g->rank[rule] % 64;
}

/* Follow items until a byte is due, or another rule has to be begun. What a called rule may leave empty is stepped over at
 * once: by the time that the rule itself is begun, all its callers are known. */
static bool follow(tri_automaton *a) {
  const tri_grammar *g = a->g;
  while (a->todo.len) {
    uint64_t item;
    memcpy(&item, a->todo.data + (a->todo.len -= sizeof item), sizeof item);
    if (!see(a, item)) continue;
    if (!look_at(a, 1)) return false;
    uint32_t place = place_of(item);
    if (item == ACCEPT || tri_grammar_kind(g, place) == TRI_SYMBOL_BYTES) {
      push_item(&a->due, item);
    } else if (tri_grammar_kind(g, place) == TRI_SYMBOL_END) {
      if (!append_set(a, &a->todo, continuation_of(item))) return false;
    } else {
      uint64_t back = item_of(place + 1, continuation_of(item));
      note_call(a, tri_grammar_arg(g, place), back);
      if (g->nullable[tri_grammar_arg(g, place)]) push_item(&a->todo, back);
    }
  }
  return true;
}

/* What follows a rule that is begun in this step: the places behind its calls, or where such a place is an end what follows there. */
static uint32_t continuation(tri_automaton *a, uint32_t rule) {
  a->merged.len = 0;
  for (uint32_t i = a->first_call[rule]; i != NONE;) {
    const call *c = (const call *)(const void *)a->calls.data + i;
    if (tri_grammar_kind(a->g, place_of(c->back)) != TRI_SYMBOL_END) push_item(&a->merged, c->back);
    else if (!append_set(a, &a->merged, continuation_of(c->back))) return TRI_AUTOMATON_STUCK;
    i = c->next;
  }
  return put_set(a, &a->merged);
}

static uint32_t lowest_waiting(const tri_automaton *a) {
  for (uint32_t word = 0; word * 64 < a->g->n_rules; word++)
    if (a->waiting[word]) return word * 64 + (uint32_t)__builtin_ctzll(a->waiting[word]);
  return NONE;
}

/* The state of the items in todo. Rules are begun in the order of their ranks, callers first. */
static uint32_t close_items(tri_automaton *a) {
  const tri_grammar *g = a->g;
  a->due.len = a->calls.len = 0;
  a->looked = 0;
  if (++a->step == 0) memset(a->seen_in, 0, SEEN_SLOTS * sizeof *a->seen_in), a->step = 1;
  bool ok = follow(a);
  for (uint32_t rank; (rank = lowest_waiting(a)) != NONE;) {
    uint32_t rule = g->by_rank[rank];
    a->waiting[rank / 64] &= ~(1ull << rank % 64);
    uint32_t then = ok ? continuation(a, rule) : TRI_AUTOMATON_STUCK;
    a->first_call[rule] = NONE;
    ok = then != TRI_AUTOMATON_STUCK;
    for (uint32_t i = g->first[rule]; ok && i < g->first[rule + 1]; i++) push_item(&a->todo, item_of(g->starts[i], then));
    ok = ok && follow(a);
  }
  if (!ok) return TRI_AUTOMATON_STUCK;
  return tri_buf_ok(&a->todo) && tri_buf_ok(&a->calls) ? put_set(a, &a->due) : stuck(a, "needs more memory than there is");
}

static uint32_t step(tri_automaton *a, uint32_t state, uint32_t class) {
  size_t n;
  const uint64_t *items = items_of(a, state, &n);
  a->todo.len = 0;
  for (size_t i = 0; i < n; i++)
    if (items[i] != ACCEPT && tri_grammar_takes(a->g, tri_grammar_arg(a->g, place_of(items[i])), class))
      push_item(&a->todo, items[i] + ((uint64_t)1 << 32));
  return close_items(a);
}

/* --- remembered --- */

/* The state's row, made when it is first asked for. NULL: out of memory. */
static uint32_t *row(tri_automaton *a, uint32_t state) {
  uint32_t index, classes = a->g->n_classes;
  while (a->row_of.len <= state * sizeof index && tri_buf_ok(&a->row_of)) tri_buf_append(&a->row_of, &(uint32_t){NONE}, sizeof index);
  if (!tri_buf_ok(&a->row_of)) return NULL;
  memcpy(&index, a->row_of.data + state * sizeof index, sizeof index);
  if (index == NONE) {
    index = (uint32_t)(a->rows.len / (classes * sizeof index));
    uint8_t *cells = tri_buf_reserve(&a->rows, classes * sizeof index);
    if (!cells) return NULL;
    memset(cells, 0xff, classes * sizeof index);
    a->rows.len += classes * sizeof index;
    memcpy(a->row_of.data + state * sizeof index, &index, sizeof index);
  }
  return (uint32_t *)(void *)a->rows.data + index * classes;
}

uint32_t tri_automaton_next(tri_automaton *a, uint32_t state, uint8_t byte) {
  uint32_t class = a->g->class_of[byte], *cells = row(a, state);
  if (!cells) return stuck(a, "needs more memory than there is");
  if (cells[class] != NONE) return cells[class];
  uint32_t next = step(a, state, class);
  if (next != TRI_AUTOMATON_STUCK) cells[class] = next;
  return next;
}

uint32_t tri_automaton_start(tri_automaton *a) {
  a->merged.len = 0;
  push_item(&a->merged, ACCEPT);
  uint32_t end = put_set(a, &a->merged);
  if (end == TRI_AUTOMATON_STUCK) return end;
  a->todo.len = 0;
  for (uint32_t i = a->g->first[a->g->root]; i < a->g->first[a->g->root + 1]; i++) push_item(&a->todo, item_of(a->g->starts[i], end));
  return close_items(a);
}

bool tri_automaton_accepts(const tri_automaton *a, uint32_t state) {
  size_t n;
  const uint64_t *items = items_of(a, state, &n);
  return n && items[n - 1] == ACCEPT; /* the largest item there can be */
}

/* --- forgetting --- */

/* Each set that is needed, in ascending order, so that continuations are there before the sets they stand in. */
static uint32_t copy_needed(tri_automaton *a, tri_interner *to, const bool *needed, uint32_t *renamed, uint32_t state) {
  for (uint32_t set = 0; set <= state; set++) {
    size_t n;
    if (!needed[set]) continue;
    const uint64_t *items = items_of(a, set, &n);
    a->merged.len = 0;
    for (size_t i = 0; i < n; i++)
      push_item(&a->merged, items[i] == ACCEPT ? ACCEPT : item_of(place_of(items[i]), renamed[continuation_of(items[i])]));
    if (!tri_buf_ok(&a->merged)) return TRI_AUTOMATON_STUCK;
    if (n > 1) qsort(a->merged.data, n, sizeof *items, compare);
    renamed[set] = tri_interner_put(to, a->merged.data, a->merged.len, NULL);
    if (renamed[set] == TRI_INTERNER_NONE) return TRI_AUTOMATON_STUCK;
  }
  return renamed[state];
}

static void mark_needed(const tri_automaton *a, bool *needed, uint32_t state) {
  needed[EMPTY_SET] = needed[state] = true;
  for (uint32_t set = state; set > EMPTY_SET; set--) {
    size_t n;
    const uint64_t *items = items_of(a, set, &n);
    for (size_t i = 0; needed[set] && i < n; i++)
      if (items[i] != ACCEPT) needed[continuation_of(items[i])] = true;
  }
}

uint32_t tri_automaton_compact(tri_automaton *a, uint32_t state) {
  tri_interner *sets;
  if (tri_interner_create(&sets, NULL) != TRI_OK) return stuck(a, "needs more memory than there is");
  bool *needed = calloc(state + 1, sizeof *needed);
  uint32_t *renamed = calloc(state + 1, sizeof *renamed), to = TRI_AUTOMATON_STUCK;
  if (needed && renamed) {
    mark_needed(a, needed, state);
    to = copy_needed(a, sets, needed, renamed, state);
  }
  free(needed), free(renamed);
  tri_interner_destroy(&a->sets);
  a->sets = sets;
  tri_buf_free(&a->row_of), tri_buf_free(&a->rows);
  return to == TRI_AUTOMATON_STUCK ? stuck(a, "needs more memory than there is") : to;
}

/* --- life --- */

tri_status tri_automaton_create(tri_automaton **out, const tri_grammar *g, size_t bytes, tri_error *err) {
  tri_automaton *a = calloc(1, sizeof *a);
  if (!a) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a grammar");
  *a = (tri_automaton){.g = g, .most_bytes = bytes, .items_left = UINT64_MAX, .why = ""};
  tri_status status = tri_interner_create(&a->sets, err);
  a->first_call = malloc((g->n_rules + 1) * sizeof *a->first_call);
  a->waiting = calloc(g->n_rules / 64 + 1, sizeof *a->waiting);
  a->seen = malloc(SEEN_SLOTS * sizeof *a->seen);
  a->seen_in = calloc(SEEN_SLOTS, sizeof *a->seen_in);
  if (status == TRI_OK && (!a->first_call || !a->waiting || !a->seen || !a->seen_in || put_set(a, &a->merged) != EMPTY_SET))
    status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for a grammar");
  if (status != TRI_OK) return tri_automaton_destroy(&a), status;
  memset(a->first_call, 0xff, (g->n_rules + 1) * sizeof *a->first_call);
  *out = a;
  return TRI_OK;
}

void tri_automaton_destroy(tri_automaton **automaton) {
  tri_automaton *a = *automaton;
  if (!a) return;
  tri_interner_destroy(&a->sets);
  tri_buf *const bufs[] = {&a->row_of, &a->rows, &a->todo, &a->due, &a->merged, &a->calls};
  for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) tri_buf_free(bufs[i]);
  free(a->first_call), free(a->waiting), free(a->seen), free(a->seen_in);
  free(a);
  *automaton = NULL;
}

void tri_automaton_allow(tri_automaton *a, uint64_t items) { a->items_left = items; }
const char *tri_automaton_why(const tri_automaton *a) { return a->why; }
