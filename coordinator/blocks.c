/* SPDX-License-Identifier: MIT */
#include "coordinator/blocks.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = UINT32_MAX };

typedef struct block {
  uint32_t count;          /* chains that it is in */
  uint32_t before, after;  /* in the list that it is in, while count is 0 */
  bool named;
  uint8_t name[TRI_BLOCKS_NAME];
} block;

struct tri_blocks {
  uint32_t n, mask;     /* of `table` */
  block *blocks;        /* [n + 2]: the blocks, then the heads of both lists, which are rings */
  uint32_t unused, cached; /* lists of blocks that no chain has: without a name; with one, the first to go in front */
  uint32_t *table;      /* open addressing by name: blocks, or NONE; at most half full */
  tri_blocks_stats stats;
};

/* --- lists --- */

static void append(tri_blocks *b, uint32_t list, uint32_t i) {
  uint32_t last = b->blocks[list].before;
  b->blocks[i].before = last, b->blocks[i].after = list;
  b->blocks[last].after = b->blocks[list].before = i;
}

static void unlink_block(tri_blocks *b, uint32_t i) {
  b->blocks[b->blocks[i].before].after = b->blocks[i].after;
  b->blocks[b->blocks[i].after].before = b->blocks[i].before;
}

/* --- names --- */

/* The name of a full block that follows the one of this name. */
static void name_next(uint8_t name[TRI_BLOCKS_NAME], const int32_t *tokens) {
  struct { uint8_t before[TRI_BLOCKS_NAME]; int32_t tokens[TRI_KV_BLOCK]; } all;
  memcpy(all.before, name, sizeof all.before);
  memcpy(all.tokens, tokens, sizeof all.tokens);
  crypto_generichash(name, TRI_BLOCKS_NAME, (const uint8_t *)&all, sizeof all, NULL, 0);
}

/* A hash is as good as random: its first bytes say where to look. */
static uint32_t home(const tri_blocks *b, const uint8_t *name) {
  uint32_t at;
  memcpy(&at, name, sizeof at);
  return at & b->mask;
}

/* Where this name stands in the table, or would. */
static uint32_t find_name(const tri_blocks *b, const uint8_t *name) {
  uint32_t at = home(b, name);
  while (b->table[at] != NONE && memcmp(b->blocks[b->table[at]].name, name, TRI_BLOCKS_NAME) != 0) at = (at + 1) & b->mask;
  return at;
}

/* Those behind the gap come forward that would not be found any more (Knuth, TAOCP 3, 6.4, algorithm R). */
static void remove_name(tri_blocks *b, uint32_t i) {
  uint32_t gap = find_name(b, b->blocks[i].name);
  for (uint32_t at = (gap + 1) & b->mask; b->table[at] != NONE; at = (at + 1) & b->mask) {
    uint32_t wanted = home(b, b->blocks[b->table[at]].name);
    if (((at - wanted) & b->mask) < ((at - gap) & b->mask)) continue; /* it wants to be behind the gap */
    b->table[gap] = b->table[at];
    gap = at;
  }
  b->table[gap] = NONE;
  b->blocks[i].named = false;
}

/* --- life --- */

void tri_blocks_clear(tri_blocks *b) {
  b->stats.in_use = b->stats.cached = 0;
  for (uint32_t i = 0; i < b->n + 2; i++) b->blocks[i] = (block){.before = i, .after = i};
  for (uint32_t i = 0; i < b->n; i++) append(b, b->unused, i);
  memset(b->table, 0xff, ((size_t)b->mask + 1) * sizeof *b->table);
}

tri_status tri_blocks_create(tri_blocks **out, uint32_t n, tri_error *err) {
  tri_blocks *b = calloc(1, sizeof *b);
  size_t size = 2;
  while (size < 2 * (size_t)n) size *= 2;
  if (b && n <= INT32_MAX / 2) {
    b->n = b->stats.total = n, b->mask = (uint32_t)size - 1;
    b->unused = n, b->cached = n + 1;
    b->blocks = calloc((size_t)n + 2, sizeof *b->blocks);
    b->table = malloc(size * sizeof *b->table);
  }
  if (!b || !b->blocks || !b->table) {
    tri_blocks_destroy(&b);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory to keep a book of %u KV blocks", n);
  }
  tri_blocks_clear(b);
  *out = b;
  return TRI_OK;
}

void tri_blocks_destroy(tri_blocks **b) {
  if (!*b) return;
  free((*b)->blocks);
  free((*b)->table);
  free(*b);
  *b = NULL;
}

tri_blocks_stats tri_blocks_get_stats(const tri_blocks *b) { return b->stats; }

/* --- chains --- */

static tri_status reserve(tri_blocks_chain *c, uint32_t n) {
  if (n <= c->capacity) return TRI_OK;
  uint32_t capacity = n > 2 * c->capacity ? n : 2 * c->capacity;
  uint32_t *blocks = realloc(c->blocks, capacity * sizeof *blocks);
  if (!blocks) return TRI_E_NOMEM;
  c->blocks = blocks, c->capacity = capacity;
  return TRI_OK;
}

static void join(tri_blocks *b, tri_blocks_chain *c, uint32_t i) {
  if (!b->blocks[i].count++) {
    unlink_block(b, i);
    b->stats.in_use++;
    b->stats.cached -= b->blocks[i].named;
  }
  c->blocks[c->n++] = i;
}

tri_status tri_blocks_find(tri_blocks *b, tri_blocks_chain *c, const int32_t *prompt, uint32_t n, uint32_t *held) {
  uint32_t most = n ? (n - 1) / TRI_KV_BLOCK : 0;
  *held = 0;
  if (reserve(c, most) != TRI_OK) return TRI_E_NOMEM;
  b->stats.asked += most;
  while (c->n < most) {
    uint8_t name[TRI_BLOCKS_NAME];
    memcpy(name, c->name, sizeof name);
    name_next(name, prompt + (size_t)c->n * TRI_KV_BLOCK);
    uint32_t i = b->table[find_name(b, name)];
    if (i == NONE) break;
    join(b, c, i);
    memcpy(c->name, name, sizeof name);
  }
  b->stats.hits += c->named = c->n;
  *held = c->n * TRI_KV_BLOCK;
  return TRI_OK;
}

static uint32_t take(tri_blocks *b) {
  uint32_t i = b->blocks[b->unused].after;
  if (i != b->unused) return i;
  i = b->blocks[b->cached].after;
  remove_name(b, i);
  b->stats.cached--, b->stats.evictions++;
  return i;
}

tri_status tri_blocks_extend(tri_blocks *b, tri_blocks_chain *c, uint32_t positions) {
  uint32_t n = positions / TRI_KV_BLOCK + (positions % TRI_KV_BLOCK != 0);
  if (n <= c->n) return TRI_OK;
  if (n - c->n > b->n - b->stats.in_use) return TRI_E_BUSY;
  if (reserve(c, n) != TRI_OK) return TRI_E_NOMEM;
  while (c->n < n) join(b, c, take(b));
  return TRI_OK;
}

void tri_blocks_sent(tri_blocks *b, tri_blocks_chain *c, const int32_t *tokens, uint32_t n) {
  for (uint32_t full = n / TRI_KV_BLOCK; c->named < full && c->named < c->n; c->named++) {
    name_next(c->name, tokens + (size_t)c->named * TRI_KV_BLOCK);
    uint32_t at = find_name(b, c->name), i = c->blocks[c->named];
    if (b->table[at] != NONE) continue; /* somebody was faster */
    b->table[at] = i;
    b->blocks[i].named = true;
    memcpy(b->blocks[i].name, c->name, TRI_BLOCKS_NAME);
  }
}

void tri_blocks_release(tri_blocks *b, tri_blocks_chain *c) {
  while (c->n) { /* from the last: it is worth nothing without those before it */
    uint32_t i = c->blocks[--c->n];
    if (--b->blocks[i].count) continue;
    append(b, b->blocks[i].named ? b->cached : b->unused, i);
    b->stats.in_use--;
    b->stats.cached += b->blocks[i].named;
  }
  tri_blocks_forget(c);
}

void tri_blocks_forget(tri_blocks_chain *c) {
  free(c->blocks);
  *c = (tri_blocks_chain){0};
}
