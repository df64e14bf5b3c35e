/* SPDX-License-Identifier: MIT */
#include "engine/bpe.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

static const uint32_t NONE = UINT32_MAX; /* no rank, no neighbour */
enum { SHORT = 24 };                      /* symbols of a short word */

typedef struct rule {
  uint64_t pair; /* left << 32 | right */
  uint32_t rank; /* NONE: an empty slot */
  int32_t merged;
} rule;

struct tri_bpe {
  uint64_t mask;
  rule slots[];
};

/* One symbol of the word, at the index of its first one. */
typedef struct tri_bpe_node {
  int32_t id;
  int32_t merged; /* what this symbol and the next one join to, at `rank` */
  uint32_t rank;
  uint32_t prev, next;
} node;

tri_status tri_bpe_create(tri_bpe **out, size_t n_rules, tri_error *err) {
  if (n_rules > TRI_VOCAB_MERGES)
    return tri_status_fail(err, TRI_E_LIMIT, "%zu merges, more than the limit of %d", n_rules,
                           TRI_VOCAB_MERGES);
  size_t n_slots = 16;
  while (n_slots < n_rules + n_rules / 2) n_slots *= 2;
  tri_bpe *b = malloc(sizeof *b + n_slots * sizeof *b->slots);
  if (!b) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for %zu merges", n_rules);
  b->mask = n_slots - 1;
  for (size_t i = 0; i < n_slots; i++) b->slots[i].rank = NONE;
  *out = b;
  return TRI_OK;
}

void tri_bpe_destroy(tri_bpe **b) {
  free(*b);
  *b = NULL;
}

static inline uint64_t pair_of(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline uint64_t slot_of(const tri_bpe *b, uint64_t pair) {
  uint64_t h = pair * 0x9e3779b97f4a7c15u;
  return (h ^ h >> 32) & b->mask;
}

/* The rule of a pair, or the empty slot where it would stand. At most two thirds of the slots are full. */
static inline const rule *rule_at(const tri_bpe *b, uint64_t pair) {
  uint64_t i = slot_of(b, pair);
  while (b->slots[i].rank != NONE && b->slots[i].pair != pair) i = (i + 1) & b->mask;
  return &b->slots[i];
}

void tri_bpe_add(tri_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  uint64_t pair = pair_of(left, right);
  rule *r = &b->slots[rule_at(b, pair) - b->slots];
  *r = (rule){pair, rank, merged};
}

void tri_bpe_scratch_free(tri_bpe_scratch *s) {
  free(s->symbols);
  free(s->nodes);
  free(s->heap);
  *s = (tri_bpe_scratch){0};
}

/* --- a binary heap of rank << 32 | index: the lowest rank first, of equals the leftmost --- */

static bool heap_push(tri_bpe_scratch *s, size_t *n, uint64_t key) {
  if (*n == s->heap_cap) {
    size_t cap = s->heap_cap ? s->heap_cap * 2 : 64;
    uint64_t *p = realloc(s->heap, cap * sizeof *p);
    if (!p) return false;
    s->heap = p, s->heap_cap = cap;
  }
  size_t i = (*n)++;
  for (; i && s->heap[(i - 1) / 2] > key; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
  s->heap[i] = key;
  return true;
}

static uint64_t heap_pop(tri_bpe_scratch *s, size_t *n) {
  uint64_t *h = s->heap, top = h[0], last = h[--*n];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= *n) break;
    if (child + 1 < *n && h[child + 1] < h[child]) child++;
    if (h[child] >= last) break;
    h[i] = h[child];
    i = child;
  }
  h[i] = last;
  return top;
}

/* --- merging --- */

/* Make *array hold n elements; what it held is lost. */
static bool grow(void *array, size_t *cap, size_t n, size_t size) {
  void **p = array;
  size_t wanted = n < 64 ? 64 : n, bytes;
  if (n <= *cap) return true;
  free(*p);
  *p = NULL, *cap = 0;
  if (!tri_size_mul(wanted, size, &bytes) || !(*p = malloc(bytes))) return false;
  *cap = wanted;
  return true;
}

int32_t *tri_bpe_symbols(tri_bpe_scratch *s, size_t n) {
  return grow(&s->symbols, &s->n_symbols, n, sizeof *s->symbols) ? s->symbols : NULL;
}

static inline uint32_t rank_at(const tri_bpe *b, const int32_t *ids, size_t i) {
  return rule_at(b, pair_of(ids[i], ids[i + 1]))->rank;
}

/* A short word, as most are: looking through all ranks for the lowest is faster than a heap. */
static tri_status merge_short(const tri_bpe *b, int32_t *ids, size_t n, tri_ids *out) {
  uint32_t ranks[SHORT];
  for (size_t i = 0; i + 1 < n; i++) ranks[i] = rank_at(b, ids, i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == NONE) break;
    ids[best] = rule_at(b, pair_of(ids[best], ids[best + 1]))->merged;
    n--;
    memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
    memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
    if (best + 1 < n) ranks[best] = rank_at(b, ids, best);
    if (best > 0) ranks[best - 1] = rank_at(b, ids, best - 1);
  }
  for (size_t i = 0; i < n; i++)
    if (tri_ids_push(out, ids[i]) != TRI_OK) return TRI_E_NOMEM;
  return TRI_OK;
}

/* Look up the pair that starts at node i and queue it. A node's rank always is that of its pair now, so that
 * an entry of the heap is stale exactly when its rank differs from the node's. */
static bool queue_pair(const tri_bpe *b, tri_bpe_scratch *s, size_t *n_heap, uint32_t i) {
  node *a = &s->nodes[i];
  a->rank = NONE;
  if (a->next == NONE) return true;
  const rule *r = rule_at(b, pair_of(a->id, s->nodes[a->next].id));
  if (r->rank == NONE) return true;
  a->rank = r->rank, a->merged = r->merged;
  return heap_push(s, n_heap, (uint64_t)r->rank << 32 | i);
}

tri_status tri_bpe_merge(const tri_bpe *b, tri_bpe_scratch *s, size_t n, tri_ids *out) {
  if (!n) return TRI_OK;
  if (n <= SHORT) return merge_short(b, s->symbols, n, out);
  if (!grow(&s->nodes, &s->n_nodes, n, sizeof *s->nodes)) return TRI_E_NOMEM;
  node *nodes = s->nodes;
  size_t n_heap = 0;
  for (size_t i = 0; i < n; i++)
    nodes[i] = (node){s->symbols[i], 0, NONE, i ? (uint32_t)i - 1 : NONE, i + 1 < n ? (uint32_t)i + 1 : NONE};
  for (size_t i = 0; i + 1 < n; i++)
    if (!queue_pair(b, s, &n_heap, (uint32_t)i)) return TRI_E_NOMEM;
  while (n_heap) {
    uint64_t top = heap_pop(s, &n_heap);
    uint32_t i = (uint32_t)top;
    node *a = &nodes[i];
    if (a->rank != top >> 32) continue;
    node *gone = &nodes[a->next];
    a->id = a->merged;
    a->next = gone->next;
    if (gone->next != NONE) nodes[gone->next].prev = i;
    gone->rank = NONE;
    if (!queue_pair(b, s, &n_heap, i)) return TRI_E_NOMEM;
    if (a->prev != NONE && !queue_pair(b, s, &n_heap, a->prev)) return TRI_E_NOMEM;
  }
  for (uint32_t i = 0; i != NONE; i = nodes[i].next)
    if (tri_ids_push(out, nodes[i].id) != TRI_OK) return TRI_E_NOMEM;
  return TRI_OK;
}
