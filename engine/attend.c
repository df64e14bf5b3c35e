/* SPDX-License-Identifier: MIT */
/* Attention of a step's rows. Rows of a sequence that follow one another go together, as a team, so that keys and values are read
 * once for all. The work is in units: a block of TRI_ATTENTION_BLOCK positions of one KV head, for a team's rows and the query heads
 * that share the KV head; a team's KV head with all its blocks is a pair. Threads take contiguous units, about equally many rows
 * times blocks each, so a lone row of a long sequence is shared as well as a long prompt. Blocks are always merged one by one in
 * ascending order, wherever they were made: the bits don't depend on who made them, nor on a row's team. */
#include "engine/stage_impl.h"

#include <math.h>
#include <string.h>

enum { TEAM_QUERIES = 16 }; /* about as many queries in a team: enough to read keys and values for, few enough to share out */

/* A block of a team's KV head. */
typedef struct unit {
  size_t index;                /* among all units */
  size_t row, rows;            /* the team */
  size_t head, block, blocks;
} unit;

typedef struct work {
  tri_stage *s;
  int layer;
  const tri_row *rows;
  size_t n, hd, kv_heads, group; /* group: query heads of a KV head */
} work;

static size_t at_most(size_t n, size_t most) { return n < most ? n : most; }
static size_t most_rows(size_t group) { return group < TEAM_QUERIES ? TEAM_QUERIES / group : 1; }

/* A team's rows end in the same block. */
static size_t team_rows(const work *w, size_t row) {
  const tri_row *rows = w->rows + row;
  size_t most = at_most(most_rows(w->group), w->n - row), n = 1;
  while (n < most && rows[n].slot == rows->slot && rows[n].pos == rows->pos + (int32_t)n && rows[n].pos % TRI_ATTENTION_BLOCK) n++;
  return n;
}

static unit team_at(const work *w, size_t row, size_t index) {
  if (row == w->n) return (unit){.index = index, .row = row};
  return (unit){.index = index, .row = row, .rows = team_rows(w, row), .blocks = (size_t)w->rows[row].pos / TRI_ATTENTION_BLOCK + 1};
}

static size_t units_of(const work *w, unit team) { return team.blocks * w->kv_heads; }

static size_t count_work(const work *w) {
  size_t total = 0;
  for (unit u = team_at(w, 0, 0); u.row < w->n; u = team_at(w, u.row + u.rows, 0)) total += units_of(w, u) * u.rows;
  return total;
}

/* The unit with which a thread begins whose share of the work begins at `at`. */
static unit find_unit(const work *w, size_t at) {
  unit u = team_at(w, 0, 0);
  for (; u.row < w->n && at >= units_of(w, u) * u.rows; u = team_at(w, u.row + u.rows, u.index + units_of(w, u)))
    at -= units_of(w, u) * u.rows;
  if (u.row == w->n) return u;
  size_t skip = (at + u.rows - 1) / u.rows;
  if (skip == units_of(w, u)) return team_at(w, u.row + u.rows, u.index + skip);
  u.index += skip, u.head = skip / u.blocks, u.block = skip % u.blocks;
  return u;
}

static unit first_unit(const work *w, size_t total, int thread, int threads) {
  size_t first, last;
  tri_pool_split(total, thread, threads, &first, &last);
  return find_unit(w, first);
}

static unit next_pair(const work *w, unit u) {
  u.index += u.blocks - u.block, u.block = 0;
  return ++u.head < w->kv_heads ? u : team_at(w, u.row + u.rows, u.index);
}

/* --- buffers: see tri_attend_floats --- */

static size_t part_floats(const work *w) { return most_rows(w->group) * w->group * (w->hd + 2); }
static float *scratch_of(const work *w, int thread) { return (float *)w->s->scores.data + (size_t)thread * w->s->attend_ld; }
static float *total_of(const work *w, int thread) {
  return scratch_of(w, thread) + most_rows(w->group) * w->group * TRI_ATTENTION_BLOCK;
}
static float *part_of(const work *w, int thread) { return total_of(w, thread) + part_floats(w); }
/* The parts of the pair that begins on this thread and ends on another. */
static float *shared_of(const work *w, int thread, size_t block) { return part_of(w, thread) + (1 + block) * part_floats(w); }

size_t tri_attend_floats(const tri_shape *shape, size_t context) {
  size_t group = (size_t)(shape->n_heads / shape->n_kv), queries = most_rows(group) * group, part = queries * ((size_t)shape->hd + 2);
  size_t blocks = (context + TRI_ATTENTION_BLOCK - 1) / TRI_ATTENTION_BLOCK;
  return tri_round_up(queries * TRI_ATTENTION_BLOCK + (2 + blocks) * part, 16); /* threads don't share cache lines */
}

/* --- work --- */

static void run_block(const work *w, unit u, int thread, float *part) {
  tri_stage *s = w->s;
  const tri_row *row = &w->rows[u.row];
  size_t first = u.block * TRI_ATTENTION_BLOCK, seen = at_most((size_t)row->pos + 1 - first, TRI_ATTENTION_BLOCK);
  tri_attention a = {.heads = w->group, .rows = u.rows, .q = (float *)s->qkv.data + u.row * s->qkv_ld + u.head * w->group * w->hd,
                     .q_ld = s->qkv_ld, .scale = 1.0f / sqrtf((float)w->hd)};
  tri_kv_point(s->kv, w->layer, row->slot, u.head, first, at_most(seen + u.rows - 1, TRI_ATTENTION_BLOCK), &a);
  s->k->attend(&a, seen, scratch_of(w, thread), part);
}

static void merge(const work *w, unit u, float *total, const float *part) {
  w->s->k->attend_merge(total, part, u.rows * w->group, w->hd);
}

static void end_pair(const work *w, unit u, const float *total) {
  size_t width = w->kv_heads * w->group * w->hd;
  for (size_t r = 0; r < u.rows; r++)
    w->s->k->attend_end(total + r * w->group * (w->hd + 2), w->group, w->hd,
                        (float *)w->s->ctx.data + (u.row + r) * width + u.head * w->group * w->hd);
}

static void whole_pair(const work *w, unit u, int thread) {
  float *total = total_of(w, thread), *part = part_of(w, thread);
  run_block(w, u, thread, total);
  for (u.block = 1; u.block < u.blocks; u.block++) {
    run_block(w, u, thread, part);
    merge(w, u, total, part);
  }
  end_pair(w, u, total);
}

/* The thread on which the pair that holds this unit begins. */
static int owner_of(const work *w, unit u, size_t total, int thread, int threads) {
  while (first_unit(w, total, thread, threads).index > u.index - u.block) thread--;
  return thread;
}

/* Parts of blocks [u.block, end) of a pair that several threads share. */
static void shared_pair(const work *w, unit u, size_t end, int thread, int owner) {
  for (; u.block < end; u.block++) run_block(w, u, thread, shared_of(w, owner, u.block));
}

void tri_attend_run(tri_stage *s, int layer, const tri_row *rows, size_t n, int thread, int threads) {
  size_t heads = (size_t)s->shape.n_kv;
  const work w = {s, layer, rows, n, (size_t)s->shape.hd, heads, (size_t)s->shape.n_heads / heads};
  size_t total = count_work(&w);
  unit first = first_unit(&w, total, thread, threads), end = first_unit(&w, total, thread + 1, threads), kept = first;
  for (unit u = first; u.index < end.index; u = next_pair(&w, u)) {
    size_t here = at_most(u.blocks - u.block, end.index - u.index);
    kept = u;
    if (here == u.blocks) whole_pair(&w, u, thread);
    else shared_pair(&w, u, u.block + here, thread, owner_of(&w, u, total, thread, threads));
  }
  if (threads == 1) return;
  tri_pool_barrier(s->pool, thread);
  bool begins = first.index < end.index && kept.block == 0, ends = end.block == 0; /* the last pair here */
  if (!begins || ends) return;
  float *sum = shared_of(&w, thread, 0);
  for (size_t b = 1; b < kept.blocks; b++) merge(&w, kept, sum, shared_of(&w, thread, b));
  end_pair(&w, kept, sum);
}
