/* SPDX-License-Identifier: MIT */
/* The split over workers in a given order: a dynamic programme. */
#include "coordinator/plan_impl.h"

#include <stdlib.h>

/* The best way to give layers [0, l) to workers in the order, the last of whom is a given one. */
typedef struct cell {
  plan_cost cost;
  uint16_t taken;  /* layers of that last worker */
  uint16_t before; /* place in the order of the stage before, + 1; 0: it is the first stage */
} cell;

typedef struct search {
  plan_problem *p;
  const plan_order *order;
  uint64_t cap_ns; /* no stage or link may be slower; UINT64_MAX: no matter */
  bool widest;     /* cost.main is the slowest stage or link; else the sum, or nothing once there is a cap */
  cell *cells;     /* [order->count, layers + 1] */
  cell *entry;     /* [layers + 1]: the best ways that a worker can follow */
} search;

bool plan_cost_less(const plan_cost *a, const plan_cost *b) {
  if (!a->possible || !b->possible) return a->possible;
  if (a->idle != b->idle) return a->idle < b->idle;
  if (a->main != b->main) return a->main < b->main;
  if (a->stages != b->stages) return a->stages < b->stages;
  return a->squares < b->squares;
}

static const tri_plan_worker *worker_at(const search *s, uint32_t place) { return &s->p->workers[s->order->worker[place]]; }
static cell *at(const search *s, uint32_t place, uint32_t layers) { return &s->cells[(size_t)place * (s->p->m->layers + 1) + layers]; }

static uint64_t link_ns(const search *s, uint32_t from, uint32_t to) {
  uint64_t up = plan_send_ns(s->p, s->order->worker[from]), down = plan_receive_ns(s->p, s->order->worker[to]);
  return up > down ? up : down;
}

static void add(const search *s, plan_cost *c, uint64_t ns) {
  if (ns > s->cap_ns) c->possible = false;
  if (s->widest) c->main = c->main > ns ? c->main : ns;
  else if (s->p->objective == TRI_PLAN_LATENCY) c->main += ns;
}

/* Leaving out the workers at [from, to). */
static bool skip(const search *s, uint32_t from, uint32_t to, uint32_t *idle) {
  for (uint32_t i = from; i < to; i++) {
    if (plan_pinned(worker_at(s, i))) return false;
    *idle += worker_at(s, i)->must;
  }
  return true;
}

static void offer(cell *to, const cell *from) {
  if (plan_cost_less(&from->cost, &to->cost)) *to = *from;
}

/* entry[l]: layers [0, l) are placed, and the worker at `place` is next. All costs only grow by what follows, and the order
 * between two ways survives it, so the best way's beginning is a best beginning. */
static void enter(search *s, uint32_t place) {
  uint32_t layers = s->p->m->layers, idle = 0;
  for (uint32_t l = 0; l <= layers; l++) s->entry[l].cost.possible = false;
  if (skip(s, 0, place, &idle)) s->entry[0] = (cell){.cost = {.possible = true, .idle = idle}};
  for (uint32_t from = 0; from < place; from++) {
    idle = 0;
    if (!skip(s, from + 1, place, &idle)) continue;
    uint64_t ns = link_ns(s, from, place);
    s->p->work += layers;
    for (uint32_t l = 1; l < layers; l++) {
      cell way = *at(s, from, l);
      if (!way.cost.possible) continue;
      way.cost.idle += idle;
      add(s, &way.cost, ns);
      way.before = (uint16_t)(from + 1);
      offer(&s->entry[l], &way);
    }
  }
}

static void extend(search *s, uint32_t place, uint32_t first) {
  const tri_plan_worker *w = worker_at(s, place);
  uint32_t worker = s->order->worker[place], layers = s->p->m->layers;
  if (plan_pinned(w) && w->first != first) return;
  for (uint32_t last = first + 1; last <= layers; last++) {
    bool head = last == layers;
    s->p->work++;
    /* room and time only shrink as the run grows, with the head at its end */
    if (last - first > plan_room(s->p, worker, first == 0, head)) break;
    uint64_t ns = (last - first) * plan_layer_ns(s->p, worker) + (head ? plan_head_ns(s->p, worker) : 0);
    if (ns > s->cap_ns) break;
    if (plan_pinned(w) && w->last != last) continue;
    cell way = s->entry[first];
    double us = (double)ns / 1e3;
    way.cost.squares += us * us;
    way.cost.stages++;
    way.taken = (uint16_t)(last - first);
    add(s, &way.cost, ns);
    if (!s->widest && s->p->objective == TRI_PLAN_LATENCY) add(s, &way.cost, plan_way_ns(s->p, worker));
    offer(at(s, place, last), &way);
  }
}

/* Returns the place of the last stage in the best way, or UINT32_MAX. */
static uint32_t solve(search *s, plan_cost *best) {
  uint32_t layers = s->p->m->layers, end = UINT32_MAX;
  *best = (plan_cost){0};
  for (uint32_t place = 0; place < s->order->count; place++) {
    for (uint32_t l = 0; l <= layers; l++) at(s, place, l)->cost.possible = false;
    enter(s, place);
    for (uint32_t first = 0; first < layers; first++)
      if (s->entry[first].cost.possible) extend(s, place, first);
    plan_cost whole = at(s, place, layers)->cost;
    if (!whole.possible || !skip(s, place + 1, s->order->count, &whole.idle) || !plan_cost_less(&whole, best)) continue;
    *best = whole;
    end = place;
  }
  return end;
}

static void collect(const search *s, uint32_t place, tri_plan *out) {
  const tri_plan_model *m = s->p->m;
  uint32_t last = m->layers;
  out->stages = at(s, place, last)->cost.stages;
  for (uint32_t stage = out->stages; stage-- > 0;) {
    const cell *c = at(s, place, last);
    uint32_t worker = s->order->worker[place], first = last - c->taken;
    out->stage[stage] = (tri_plan_stage){.worker = worker, .first = first, .last = last,
        .bytes = tri_plan_bytes(m, worker_at(s, place), c->taken, first == 0, last == m->layers),
        .ns = c->taken * plan_layer_ns(s->p, worker) + (last == m->layers ? plan_head_ns(s->p, worker) : 0)};
    last = first;
    place = c->before - 1u;
  }
}

/* For throughput the first pass finds how fast the slowest can be, the second the fewest and most even stages that keep to it. */
static uint32_t run_passes(search *s, plan_cost *cost) {
  s->cap_ns = UINT64_MAX;
  s->widest = s->p->objective == TRI_PLAN_THROUGHPUT;
  uint32_t end = solve(s, cost);
  if (end == UINT32_MAX || !s->widest) return end;
  s->cap_ns = cost->main;
  s->widest = false;
  end = solve(s, cost); /* possible again: pass one's own split keeps to the cap */
  cost->main = s->cap_ns;
  return end;
}

tri_status plan_split(plan_problem *p, const plan_order *order, tri_plan *out, plan_cost *cost, tri_error *err) {
  search s = {.p = p, .order = order};
  *cost = (plan_cost){0};
  if (order->count == 0) return TRI_OK;
  s.cells = malloc((size_t)(order->count + 1) * (p->m->layers + 1) * sizeof *s.cells);
  if (!s.cells) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a plan of %u workers", order->count);
  s.entry = s.cells + (size_t)order->count * (p->m->layers + 1);
  uint32_t end = run_passes(&s, cost);
  if (end != UINT32_MAX && out) collect(&s, end, out);
  free(s.cells);
  return TRI_OK;
}
