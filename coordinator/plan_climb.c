/* SPDX-License-Identifier: MIT */
/* Who stands where when some have given layers or positions. Runs of layers between given ones are filled by capacity to begin
 * with; then workers are moved, one at a time, as long as the best split over the order gets better. Few workers: all orders. */
#include "coordinator/plan_impl.h"

#include <stddef.h>

enum {
  ALL_ORDERS = 5,       /* up to so many workers each order is tried */
  MOST_WORK = 10000000, /* elementary steps, a tenth of a second or so */
};

/* Layers [first, last) between pinned runs, and what the workers put there can take. */
typedef struct gap {
  uint32_t first, last;
  uint64_t room;
  double ns; /* with its workers: layers over the sum of their speeds */
  plan_order order;
} gap;

static void append(plan_order *o, uint32_t worker) { o->worker[o->count++] = worker; }

/* The pinned worker whose run begins first, at or after `from`. */
static int next_pinned(const plan_problem *p, uint32_t from) {
  int next = -1;
  for (uint32_t i = 0; i < p->n; i++)
    if (plan_pinned(&p->workers[i]) && p->workers[i].first >= from && (next < 0 || p->workers[i].first < p->workers[next].first))
      next = (int)i;
  return next;
}

/* The gap that is worst off: one that still has no room for its layers before one that has, then the slower. */
static gap *neediest(gap *gaps, uint32_t n) {
  gap *worst = &gaps[0];
  for (uint32_t g = 1; g < n; g++) {
    uint64_t a = gaps[g].last - gaps[g].first, b = worst->last - worst->first;
    uint64_t lack = a > gaps[g].room ? a - gaps[g].room : 0, worst_lack = b > worst->room ? b - worst->room : 0;
    if (lack > worst_lack || (lack == worst_lack && (double)a / gaps[g].ns > (double)b / worst->ns)) worst = &gaps[g];
  }
  return worst;
}

static void begin(const plan_problem *p, plan_order *out) {
  static const double SLOWEST = 1e-30; /* nobody is there yet */
  gap gaps[TRI_PLAN_MAX_WORKERS + 1];
  uint32_t n = 0, reached = 0, pinned[TRI_PLAN_MAX_WORKERS + 1], before = 0;
  for (int i; (i = next_pinned(p, reached)) >= 0; reached = p->workers[i].last) {
    gaps[n++] = (gap){.first = reached, .last = p->workers[i].first, .ns = SLOWEST};
    pinned[before++] = (uint32_t)i;
  }
  gaps[n++] = (gap){.first = reached, .last = p->m->layers, .ns = SLOWEST};
  for (uint32_t i = 0; i < p->n; i++) {
    if (p->workers[i].excluded || plan_pinned(&p->workers[i])) continue;
    gap *g = neediest(gaps, n);
    append(&g->order, i);
    g->room += plan_room(p, i, false, false);
    g->ns += 1.0 / (double)(plan_layer_ns(p, i) + 1);
  }
  *out = (plan_order){0};
  for (uint32_t g = 0; g < n; g++) {
    for (uint32_t k = 0; k < gaps[g].order.count; k++) append(out, gaps[g].order.worker[k]);
    if (g < before) append(out, pinned[g]);
  }
}

/* Those with positions, wherever they stand, stand in the order of these. */
static bool keeps_positions(const plan_problem *p, const plan_order *o) {
  uint32_t reached = 0;
  for (uint32_t i = 0; i < o->count; i++) {
    uint32_t position = p->workers[o->worker[i]].position;
    if (position && position < reached) return false;
    if (position) reached = position;
  }
  return true;
}

static void sort_positions(const plan_problem *p, plan_order *o) {
  for (uint32_t i = 0; i < o->count; i++)
    for (uint32_t j = 0; j < i; j++) {
      uint32_t *a = &o->worker[j], *b = &o->worker[i], swap = *a;
      if (p->workers[*a].position && p->workers[*b].position && p->workers[*a].position > p->workers[*b].position) *a = *b, *b = swap;
    }
}

/* *o becomes `tried` if that is better. */
static tri_status try(plan_problem *p, const plan_order *tried, plan_order *o, plan_cost *best, tri_error *err) {
  plan_cost cost;
  if (!keeps_positions(p, tried)) return TRI_OK;
  tri_status status = plan_split(p, tried, NULL, &cost, err);
  if (status == TRI_OK && plan_cost_less(&cost, best)) *best = cost, *o = *tried;
  return status;
}

/* One round over all moves. */
static tri_status climb_once(plan_problem *p, plan_order *o, plan_cost *best, uint64_t most_work, tri_error *err) {
  tri_status status = TRI_OK;
  for (uint32_t from = 0; from < o->count; from++) {
    for (uint32_t to = 0; to < o->count && p->work < most_work && status == TRI_OK; to++) {
      plan_order tried = *o;
      plan_order_move(&tried, from, to);
      if (from != to) status = try(p, &tried, o, best, err);
    }
  }
  return status;
}

/* All orders of the workers of `tried` from `fixed` on. */
static tri_status try_all(plan_problem *p, plan_order *tried, uint32_t fixed, plan_order *o, plan_cost *best, tri_error *err) {
  if (fixed == tried->count) return try(p, tried, o, best, err);
  tri_status status = TRI_OK;
  for (uint32_t i = fixed; i < tried->count && status == TRI_OK; i++) {
    plan_order_move(tried, i, fixed);
    status = try_all(p, tried, fixed + 1, o, best, err);
    plan_order_move(tried, fixed, i);
  }
  return status;
}

tri_status plan_climb(plan_problem *p, plan_order *o, uint64_t most_work, bool *possible, tri_error *err) {
  plan_cost best = {0}, before;
  plan_order start = *o;
  tri_status status = try(p, &start, o, &best, err);
  do {
    before = best;
    if (status == TRI_OK) status = climb_once(p, o, &best, most_work, err);
  } while (status == TRI_OK && plan_cost_less(&best, &before));
  *possible = best.possible;
  return status;
}

tri_status plan_order_climb(plan_problem *p, plan_order *out, bool *possible, tri_error *err) {
  begin(p, out);
  sort_positions(p, out);
  if (out->count > ALL_ORDERS) return plan_climb(p, out, MOST_WORK, possible, err);
  plan_cost best = {0};
  plan_order tried = *out;
  tri_status status = try_all(p, &tried, 0, out, &best, err);
  *possible = best.possible;
  return status;
}
