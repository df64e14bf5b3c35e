/* SPDX-License-Identifier: MIT */
#include "coordinator/plan.h"

#include <stdlib.h>
#include <string.h>
#include "base/units.h"

/* The best way to give layers [0, l) to the first i workers. */
typedef struct cell {
  uint64_t cost;    /* slowest stage in us, or sum of squares, by the pass */
  uint32_t idle;    /* workers without a layer */
  uint32_t taken;   /* layers of the i-th worker in that way; 0: it is idle */
  bool possible;
} cell;

typedef struct search {
  const tri_plan_model *m;
  const tri_plan_worker *workers;
  uint32_t n;
  uint64_t extra_bytes; /* pretended on every worker, to find out what is missing */
  uint64_t cap_us;      /* no stage may be slower; UINT64_MAX: pass one, which finds the cap */
  cell *cells;          /* [n + 1, layers + 1] */
} search;

uint64_t tri_plan_bytes(const tri_plan_model *m, const tri_plan_worker *w, uint32_t layers, bool embed, bool head) {
  return layers * (m->layer_bytes + m->kv_bytes) + (embed ? m->embedding_bytes : 0) + (head ? m->head_bytes : 0) + w->buffer_bytes;
}

static uint64_t stage_us(const search *s, uint32_t worker, uint32_t first, uint32_t last) {
  const tri_plan_worker *w = &s->workers[worker];
  return (uint64_t)(last - first) * w->layer_us + (last == s->m->layers ? w->head_us : 0);
}

static cell *at(const search *s, uint32_t worker, uint32_t layers) { return &s->cells[(size_t)worker * (s->m->layers + 1) + layers]; }

static void offer(cell *c, uint32_t idle, uint64_t cost, uint32_t taken) {
  if (c->possible && (c->idle < idle || (c->idle == idle && c->cost <= cost))) return;
  *c = (cell){.cost = cost, .idle = idle, .taken = taken, .possible = true};
}

static void extend(const search *s, uint32_t worker, uint32_t first) {
  const cell *from = at(s, worker, first);
  if (!from->possible) return;
  offer(at(s, worker + 1, first), from->idle + 1, from->cost, 0);
  for (uint32_t last = first + 1; last <= s->m->layers; last++) {
    uint64_t us = stage_us(s, worker, first, last);
    uint64_t bytes = tri_plan_bytes(s->m, &s->workers[worker], last - first, first == 0, last == s->m->layers);
    /* not break: only the longest run carries the head */
    if (us > s->cap_us || bytes > s->workers[worker].memory_bytes + s->extra_bytes) continue;
    uint64_t cost = s->cap_us == UINT64_MAX ? (us > from->cost ? us : from->cost) : from->cost + us * us;
    offer(at(s, worker + 1, last), from->idle, cost, last - first);
  }
}

/* Dynamic programme over (workers used up, layers placed). Fewest idle workers first, then the cost: both orders survive
 * adding the same tail to two ways, so the best way's beginning is a best beginning. */
static const cell *solve(const search *s) {
  memset(s->cells, 0, (size_t)(s->n + 1) * (s->m->layers + 1) * sizeof *s->cells);
  at(s, 0, 0)->possible = true;
  for (uint32_t worker = 0; worker < s->n; worker++)
    for (uint32_t first = 0; first <= s->m->layers; first++) extend(s, worker, first);
  return at(s, s->n, s->m->layers);
}

static void collect(const search *s, tri_plan *out) {
  out->stages = s->n - at(s, s->n, s->m->layers)->idle;
  uint32_t last = s->m->layers, stage = out->stages;
  for (uint32_t worker = s->n; worker-- > 0;) {
    uint32_t taken = at(s, worker + 1, last)->taken;
    if (taken == 0) continue;
    uint32_t first = last - taken;
    out->stage[--stage] = (tri_plan_stage){.worker = worker, .first = first, .last = last,
                                           .bytes = tri_plan_bytes(s->m, &s->workers[worker], taken, first == 0, last == s->m->layers),
                                           .us = stage_us(s, worker, first, last)};
    last = first;
  }
}

static uint64_t largest_buffers(const search *s) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < s->n; i++)
    if (s->workers[i].buffer_bytes > most) most = s->workers[i].buffer_bytes;
  return most;
}

/* All of the model, without buffers. */
static uint64_t model_bytes(const tri_plan_model *m) { return tri_plan_bytes(m, &(tri_plan_worker){0}, m->layers, true, true); }

/* The least that every worker would have to have more, by bisection: feasibility is monotone in it. */
static uint64_t missing_per_worker(search *s) {
  uint64_t low = 0, high = model_bytes(s->m) + largest_buffers(s);
  while (low + 1 < high) {
    s->extra_bytes = low + (high - low) / 2;
    if (solve(s)->possible) high = s->extra_bytes;
    else low = s->extra_bytes;
  }
  s->extra_bytes = 0;
  return high;
}

static tri_status explain(search *s, tri_error *err) {
  const tri_plan_model *m = s->m;
  uint64_t need = model_bytes(m), have = 0;
  for (uint32_t i = 0; i < s->n; i++) {
    need += s->workers[i].buffer_bytes;
    have += s->workers[i].memory_bytes;
  }
  const char *first = have >= need ? "no cut fits although the sum would do: " : "";
  return tri_status_fail(err, TRI_E_LIMIT,
                         "the model does not fit: %s%u layers of %s with %s of KV cache each, embedding and head of %s, and buffers of %s "
                         "on each worker need %s; %u worker(s) offer %s: the model needs %s more on each of them (or more workers, or a "
                         "smaller --ctx)",
                         first, m->layers, TRI_UNITS(m->layer_bytes), TRI_UNITS(m->kv_bytes), TRI_UNITS(m->embedding_bytes + m->head_bytes),
                         TRI_UNITS(largest_buffers(s)), TRI_UNITS(need), s->n, TRI_UNITS(have), TRI_UNITS(missing_per_worker(s)));
}

static tri_status run_passes(search *s, tri_plan *out, tri_error *err) {
  s->cap_us = UINT64_MAX;
  const cell *end = solve(s);
  if (!end->possible) return explain(s, err);
  s->cap_us = end->cost;
  solve(s); /* possible again: pass one's own split meets the cap */
  collect(s, out);
  return TRI_OK;
}

tri_status tri_plan_split(tri_plan *out, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n, tri_error *err) {
  if (n == 0) return tri_status_fail(err, TRI_E_INVALID, "no workers to plan for");
  if (n > TRI_PLAN_MAX_WORKERS) return tri_status_fail(err, TRI_E_LIMIT, "%u workers: at most %d", n, TRI_PLAN_MAX_WORKERS);
  if (m->layers == 0 || m->layers > TRI_PLAN_MAX_LAYERS)
    return tri_status_fail(err, TRI_E_LIMIT, "%u layers: from 1 to %d can be planned", m->layers, TRI_PLAN_MAX_LAYERS);
  search s = {.m = m, .workers = workers, .n = n};
  s.cells = malloc((size_t)(n + 1) * (m->layers + 1) * sizeof *s.cells);
  if (!s.cells) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a plan of %u workers", n);
  tri_status status = run_passes(&s, out, err);
  free(s.cells);
  return status;
}
