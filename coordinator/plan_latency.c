/* SPDX-License-Identifier: MIT */
/* Who stands where, for latency.
 *
 * Up to EXACT workers: all sets of them, with each pair of ends. The cheapest way through a set (links) and the cheapest split
 * over it (each one a layer, the rest to the fastest as far as they have room) are independent of each other once the ends are
 * given, so their sum's least is the optimum.
 *
 * Beyond: a link's time is the larger of its ends' two, and so at least their mean. Counted as the mean, each worker has a cost of
 * its own, and a dynamic programme over (workers, layers placed, ends given) finds the best set exactly; where all links are
 * alike the mean is the time. Where they are not, the set is brought into a good order, and then workers, also those left out,
 * are moved as long as that gains. */
#include "coordinator/plan_impl.h"

#include <stdlib.h>
#include <string.h>

enum { EXACT = 10, SETS = 1 << EXACT, FIRST = 1, LAST = 2, STATES = 4, MOST_WORK = 5000000 };

static uint64_t link_ns(const plan_problem *p, uint32_t from, uint32_t to) {
  uint64_t up = plan_send_ns(p, from), down = plan_receive_ns(p, to);
  return up > down ? up : down;
}

static uint64_t alone_ns(const plan_problem *p, uint32_t i) {
  return p->m->layers * plan_layer_ns(p, i) + plan_head_ns(p, i) + plan_way_ns(p, i);
}

/* The fastest that can take everything. */
static uint64_t best_alone(const plan_problem *p, plan_order *out) {
  uint64_t best = UINT64_MAX;
  for (uint32_t i = 0; i < p->n; i++) {
    if (p->workers[i].excluded || plan_room(p, i, true, true) < p->m->layers || alone_ns(p, i) >= best) continue;
    best = alone_ns(p, i);
    *out = (plan_order){.count = 1, .worker = {i}};
  }
  return best;
}

/* --- exact --- */

typedef struct exact {
  plan_problem *p;
  uint32_t n, id[EXACT];        /* fastest first */
  uint64_t way[SETS][EXACT];    /* least time of the links from `start` through a set to its last */
  uint8_t before[SETS][EXACT];
} exact;

static void find_ways(exact *e, uint32_t start) {
  memset(e->way, 0xff, sizeof e->way);
  e->way[1u << start][start] = 0;
  for (uint32_t set = 1; set < 1u << e->n; set++) {
    for (uint32_t last = 0; last < e->n; last++) {
      if (e->way[set][last] == UINT64_MAX) continue;
      for (uint32_t next = 0; next < e->n; next++) {
        if (set & 1u << next) continue;
        uint64_t ns = e->way[set][last] + link_ns(e->p, e->id[last], e->id[next]), *to = &e->way[set | 1u << next][next];
        e->p->work++;
        if (ns < *to) *to = ns, e->before[set | 1u << next][next] = (uint8_t)last;
      }
    }
  }
}

/* The cheapest split over a set with these ends; UINT64_MAX: it does not fit. */
static uint64_t share_out(const exact *e, uint32_t set, uint32_t start, uint32_t end) {
  uint32_t left = e->p->m->layers, used = (uint32_t)__builtin_popcount(set);
  uint64_t ns = plan_head_ns(e->p, e->id[end]);
  if (used > left) return UINT64_MAX;
  left -= used;
  for (uint32_t i = 0; i < e->n; i++) {
    if (!(set & 1u << i)) continue;
    uint32_t room = plan_room(e->p, e->id[i], i == start, i == end);
    if (room == 0) return UINT64_MAX;
    uint32_t more = room - 1 < left ? room - 1 : left;
    left -= more;
    ns += (1 + more) * plan_layer_ns(e->p, e->id[i]) + plan_way_ns(e->p, e->id[i]);
    e->p->work++;
  }
  return left ? UINT64_MAX : ns;
}

static void trace(const exact *e, uint32_t set, uint32_t end, plan_order *out) {
  out->count = (uint32_t)__builtin_popcount(set);
  for (uint32_t place = out->count; place-- > 0;) {
    out->worker[place] = e->id[end];
    uint32_t before = e->before[set][end];
    set &= ~(1u << end);
    end = before;
  }
}

static uint64_t search_sets(exact *e, uint64_t best, plan_order *out) {
  int fewest = out->count ? 1 : EXACT + 1;
  for (uint32_t start = 0; start < e->n; start++) {
    find_ways(e, start);
    for (uint32_t set = 1; set < 1u << e->n; set++) {
      int stages = __builtin_popcount(set);
      for (uint32_t end = 0; end < e->n && stages > 1; end++) {
        if (e->way[set][end] == UINT64_MAX || end == start) continue;
        uint64_t split = share_out(e, set, start, end);
        if (split == UINT64_MAX) continue;
        uint64_t ns = split + e->way[set][end];
        if (ns > best || (ns == best && stages >= fewest)) continue;
        best = ns, fewest = stages;
        trace(e, set, end, out);
      }
    }
  }
  return best;
}

static tri_status order_exactly(plan_problem *p, const plan_order *those, uint64_t *best, plan_order *out, tri_error *err) {
  exact *e = malloc(sizeof *e);
  if (!e) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a plan of %u workers", those->count);
  e->p = p, e->n = those->count;
  for (uint32_t i = 0; i < e->n; i++) { /* by speed */
    uint32_t k = i;
    for (; k > 0 && plan_layer_ns(p, e->id[k - 1]) > plan_layer_ns(p, those->worker[i]); k--) e->id[k] = e->id[k - 1];
    e->id[k] = those->worker[i];
  }
  *best = search_sets(e, *best, out);
  free(e);
  return TRI_OK;
}

/* --- beyond --- */

typedef struct way {
  uint64_t twice_ns; /* halves of links stay whole numbers */
  uint16_t taken;    /* layers of the worker considered last; 0: it is left out */
  uint8_t role;      /* it has taken: FIRST, LAST or neither */
} way;

typedef struct table {
  plan_problem *p;
  const plan_order *those;
  way *ways; /* [workers + 1, STATES, layers + 1] */
} table;

static way *way_at(const table *t, uint32_t considered, uint32_t state) {
  return &t->ways[((size_t)considered * STATES + state) * (t->p->m->layers + 1)];
}

static void consider(table *t, uint32_t k, uint32_t state, uint32_t role) {
  plan_problem *p = t->p;
  uint32_t i = t->those->worker[k], layers = p->m->layers, room = plan_room(p, i, role == FIRST, role == LAST);
  if (role & state) return;
  const way *from = way_at(t, k, state);
  way *to = way_at(t, k + 1, state | role);
  uint64_t once = 2 * plan_way_ns(p, i) + (role == LAST ? 2 * plan_head_ns(p, i) : plan_send_ns(p, i)) +
                  (role == FIRST ? 0 : plan_receive_ns(p, i)), each = 2 * plan_layer_ns(p, i);
  for (uint32_t l = 0; l < layers; l++) {
    if (from[l].twice_ns == UINT64_MAX) continue;
    for (uint32_t taken = 1; taken <= room && l + taken <= layers; taken++) {
      uint64_t ns = from[l].twice_ns + once + taken * each;
      p->work++;
      if (ns < to[l + taken].twice_ns) to[l + taken] = (way){.twice_ns = ns, .taken = (uint16_t)taken, .role = (uint8_t)role};
    }
  }
}

static void fill(table *t) {
  uint32_t layers = t->p->m->layers;
  for (uint32_t state = 0; state < STATES; state++)
    for (uint32_t l = 0; l <= layers; l++) way_at(t, 0, state)[l].twice_ns = state || l ? UINT64_MAX : 0;
  for (uint32_t k = 0; k < t->those->count; k++) {
    for (uint32_t state = 0; state < STATES; state++)
      for (uint32_t l = 0; l <= layers; l++)
        way_at(t, k + 1, state)[l] = (way){.twice_ns = way_at(t, k, state)[l].twice_ns};
    for (uint32_t state = 0; state < STATES; state++)
      for (uint32_t role = 0; role <= LAST; role++) consider(t, k, state, role);
  }
}

static void read_set(const table *t, plan_order *out) {
  uint32_t first = 0, last = 0, state = FIRST | LAST, l = t->p->m->layers;
  *out = (plan_order){.count = 1};
  for (uint32_t k = t->those->count; k-- > 0;) {
    way w = way_at(t, k + 1, state)[l];
    if (w.taken == 0) continue;
    if (w.role == FIRST) first = t->those->worker[k];
    else if (w.role == LAST) last = t->those->worker[k];
    else out->worker[out->count++] = t->those->worker[k];
    l -= w.taken, state &= ~(uint32_t)w.role;
  }
  out->worker[0] = first;
  out->worker[out->count++] = last;
}

static uint64_t links_ns(plan_problem *p, const plan_order *o) {
  uint64_t ns = 0;
  for (uint32_t i = 0; i + 1 < o->count; i++) ns += link_ns(p, o->worker[i], o->worker[i + 1]);
  p->work += o->count;
  return ns;
}

/* Those between the ends stand where the links cost least: each is moved to its best place, until none gains. */
static void settle(plan_problem *p, plan_order *o) {
  enum { ROUNDS = 4 };
  bool gained = true;
  for (int round = 0; round < ROUNDS && gained; round++) {
    gained = false;
    for (uint32_t from = 1; from + 1 < o->count; from++) {
      for (uint32_t to = 1; to + 1 < o->count; to++) {
        plan_order tried = *o;
        plan_order_move(&tried, from, to);
        if (links_ns(p, &tried) < links_ns(p, o)) *o = tried, gained = true;
      }
    }
  }
}

static tri_status order_by_set(plan_problem *p, const plan_order *those, uint64_t *best, plan_order *out, tri_error *err) {
  table t = {.p = p, .those = those};
  t.ways = malloc((size_t)(those->count + 1) * STATES * (p->m->layers + 1) * sizeof *t.ways);
  if (!t.ways) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a plan of %u workers", those->count);
  fill(&t);
  uint64_t twice = way_at(&t, those->count, FIRST | LAST)[p->m->layers].twice_ns;
  if (twice != UINT64_MAX && twice / 2 < *best) {
    plan_order set;
    read_set(&t, &set);
    uint64_t mean = twice / 2, links = 0;
    settle(p, &set);
    for (uint32_t i = 0; i + 1 < set.count; i++)
      links += (plan_send_ns(p, set.worker[i]) + plan_receive_ns(p, set.worker[i + 1])) / 2;
    uint64_t real = mean - links + links_ns(p, &set);
    if (real < *best) *best = real, *out = set;
  }
  free(t.ways);
  return TRI_OK;
}

static bool links_alike(const plan_problem *p, const plan_order *o) {
  for (uint32_t i = 0; i < o->count; i++)
    if (plan_send_ns(p, o->worker[i]) != plan_send_ns(p, o->worker[0]) || plan_receive_ns(p, o->worker[i]) != plan_send_ns(p, o->worker[0]))
      return false;
  return true;
}

/* Those left out stand before the last, where a split can take them in again. */
static tri_status improve(plan_problem *p, const plan_order *those, plan_order *o, tri_error *err) {
  bool used[TRI_PLAN_MAX_WORKERS] = {false}, possible;
  uint32_t last = o->worker[--o->count];
  for (uint32_t i = 0; i < o->count; i++) used[o->worker[i]] = true;
  for (uint32_t i = 0; i < those->count; i++)
    if (!used[those->worker[i]] && those->worker[i] != last) o->worker[o->count++] = those->worker[i];
  o->worker[o->count++] = last;
  return plan_climb(p, o, p->work + MOST_WORK, &possible, err);
}

tri_status plan_order_latency(plan_problem *p, plan_order *out, bool *possible, tri_error *err) {
  plan_order those = {0};
  for (uint32_t i = 0; i < p->n; i++)
    if (!p->workers[i].excluded) those.worker[those.count++] = i;
  *out = (plan_order){0};
  uint64_t best = best_alone(p, out);
  tri_status status = those.count <= EXACT ? order_exactly(p, &those, &best, out, err) : order_by_set(p, &those, &best, out, err);
  *possible = best != UINT64_MAX;
  if (status == TRI_OK && *possible && those.count > EXACT && !links_alike(p, &those)) status = improve(p, &those, out, err);
  return status;
}
