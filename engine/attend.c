/* SPDX-License-Identifier: MIT */
/* Attention of a step's rows. Its work is in units: a block of TRI_ATTENTION_BLOCK positions of one KV head, for one row and the
 * query heads that share the KV head; a row's KV head with all its blocks is a pair. Threads take equal, contiguous parts of all
 * units, so a lone row of a long sequence is shared as well as a long prompt. Blocks are always merged one by one in ascending
 * order, wherever they were made: the bits don't depend on who made them. */
#include "engine/stage_impl.h"

#include <math.h>
#include <string.h>

/* One (row, KV head), and a block of it. */
typedef struct unit {
  size_t row, head, block, blocks;
} unit;

typedef struct work {
  tri_stage *s;
  int layer;
  const tri_row *rows;
  size_t n, hd, kv_heads, group; /* group: query heads of a KV head */
} work;

static size_t blocks_of(const work *w, size_t row) { return (size_t)w->rows[row].pos / TRI_ATTENTION_BLOCK + 1; }

static size_t count_units(const work *w) {
  size_t total = 0;
  for (size_t r = 0; r < w->n; r++) total += blocks_of(w, r) * w->kv_heads;
  return total;
}

static unit find_unit(const work *w, size_t index) {
  unit u = {0};
  while (index >= blocks_of(w, u.row) * w->kv_heads) index -= blocks_of(w, u.row++) * w->kv_heads;
  u.blocks = blocks_of(w, u.row);
  u.head = index / u.blocks, u.block = index % u.blocks;
  return u;
}

static void next_pair(const work *w, unit *u) {
  u->block = 0;
  if (++u->head < w->kv_heads) return;
  u->head = 0;
  if (++u->row < w->n) u->blocks = blocks_of(w, u->row);
}

/* --- buffers: see tri_attend_floats --- */

static size_t part_floats(const work *w) { return w->group * (w->hd + 2); }
static float *scratch_of(const work *w, int thread) { return (float *)w->s->scores.data + (size_t)thread * w->s->attend_ld; }
static float *total_of(const work *w, int thread) { return scratch_of(w, thread) + w->group * TRI_ATTENTION_BLOCK; }
static float *part_of(const work *w, int thread) { return total_of(w, thread) + part_floats(w); }
/* The parts of the pair that begins on this thread and ends on another. */
static float *shared_of(const work *w, int thread, size_t block) { return part_of(w, thread) + (1 + block) * part_floats(w); }

size_t tri_attend_floats(const tri_shape *shape, size_t context) {
  size_t group = (size_t)(shape->n_heads / shape->n_kv), part = group * ((size_t)shape->hd + 2);
  size_t blocks = (context + TRI_ATTENTION_BLOCK - 1) / TRI_ATTENTION_BLOCK;
  return tri_round_up(group * TRI_ATTENTION_BLOCK + (2 + blocks) * part, 16); /* threads don't share cache lines */
}

/* --- work --- */

static void run_block(const work *w, unit u, int thread, float *part) {
  tri_stage *s = w->s;
  const tri_row *row = &w->rows[u.row];
  size_t first = u.block * TRI_ATTENTION_BLOCK, left = (size_t)row->pos + 1 - first;
  const tri_attention a = {.k = tri_kv_keys(s->kv, w->layer, row->slot, u.head), .v = tri_kv_values(s->kv, w->layer, row->slot, u.head),
                           .type = tri_kv_type(s->kv), .step = tri_kv_step(s->kv), .hd = w->hd, .heads = w->group,
                           .q = (float *)s->qkv.data + u.row * s->qkv_ld + u.head * w->group * w->hd,
                           .scale = 1.0f / sqrtf((float)w->hd)};
  s->k->attend(&a, first, left < TRI_ATTENTION_BLOCK ? left : TRI_ATTENTION_BLOCK, scratch_of(w, thread), part);
}

static void end_pair(const work *w, unit u, const float *total) {
  tri_stage *s = w->s;
  s->k->attend_end(total, w->group, w->hd, (float *)s->ctx.data + (u.row * w->kv_heads + u.head) * w->group * w->hd);
}

static void whole_pair(const work *w, unit u, int thread) {
  float *total = total_of(w, thread), *part = part_of(w, thread);
  run_block(w, u, thread, total);
  for (u.block = 1; u.block < u.blocks; u.block++) {
    run_block(w, u, thread, part);
    w->s->k->attend_merge(total, part, w->group, w->hd);
  }
  end_pair(w, u, total);
}

/* The thread on which the pair that holds unit `index` begins, u being that unit. */
static int owner_of(unit u, size_t index, size_t units, int thread, int threads) {
  size_t first, last, begin = index - u.block;
  for (;; thread--) {
    tri_pool_split(units, thread, threads, &first, &last);
    if (begin >= first) return thread;
  }
}

/* Parts of blocks [u.block, end) of a pair that several threads share. */
static void shared_pair(const work *w, unit u, size_t end, int thread, int owner) {
  for (; u.block < end; u.block++) run_block(w, u, thread, shared_of(w, owner, u.block));
}

void tri_attend_run(tri_stage *s, int layer, const tri_row *rows, size_t n, int thread, int threads) {
  size_t heads = (size_t)s->shape.n_kv, first, last;
  const work w = {s, layer, rows, n, (size_t)s->shape.hd, heads, (size_t)s->shape.n_heads / heads};
  size_t units = count_units(&w);
  unit kept = {0}; /* the shared pair that begins here */
  tri_pool_split(units, thread, threads, &first, &last);
  for (size_t i = first; i < last;) {
    unit u = i == first ? find_unit(&w, i) : kept;
    size_t here = u.blocks - u.block < last - i ? u.blocks - u.block : last - i;
    kept = u;
    if (here == u.blocks) whole_pair(&w, u, thread);
    else shared_pair(&w, u, u.block + here, thread, owner_of(u, i, units, thread, threads));
    i += here;
    if (i < last) next_pair(&w, &kept);
  }
  if (threads == 1) return;
  tri_pool_barrier(s->pool, thread);
  bool begins = first < last && kept.block == 0, ends = last == units || find_unit(&w, last).block == 0;
  if (!begins || ends) return;
  float *total = shared_of(&w, thread, 0);
  for (size_t b = 1; b < kept.blocks; b++) s->k->attend_merge(total, shared_of(&w, thread, b), w.group, w.hd);
  end_pair(&w, kept, total);
}
