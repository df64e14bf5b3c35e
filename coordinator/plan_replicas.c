/* SPDX-License-Identifier: MIT */
#include "coordinator/plan_replicas.h"

#include <stdlib.h>
#include <string.h>
#include "coordinator/plan_impl.h"

enum { NOBODY = TRI_PLAN_MAX_REPLICAS };

typedef struct search {
  const tri_plan_model *m;
  const tri_plan_worker *workers;
  uint32_t n, count;
  const tri_plan_options *options;
  uint8_t group[TRI_PLAN_MAX_WORKERS]; /* NOBODY: excluded, or left over */
  double rate[TRI_PLAN_MAX_REPLICAS];  /* steps/s of each group; below 0: it lacks memory, by how much */
  tri_plan_worker alone[TRI_PLAN_MAX_WORKERS]; /* scratch: all but one group excluded */
} search;

static void pick(search *s, uint32_t g) {
  memcpy(s->alone, s->workers, s->n * sizeof *s->alone);
  for (uint32_t i = 0; i < s->n; i++) s->alone[i].excluded = s->group[i] != g;
}

/* Room for layers that a group lacks: some gradient for groups that do not fit yet. */
static double lack(const search *s, plan_problem *p, uint32_t g) {
  double room = 0;
  for (uint32_t i = 0; i < s->n; i++)
    if (s->group[i] == g) room += plan_room(p, i, false, false);
  return -1 - (room < s->m->layers ? s->m->layers - room : 0);
}

/* The slowest stage's rate: a bisection, not a whole plan. */
static double rate(search *s, uint32_t g) {
  plan_order order;
  uint64_t slowest_ns;
  plan_problem p = {.m = s->m, .workers = s->alone, .n = s->n, .rows = s->options->rows ? s->options->rows : 1};
  pick(s, g);
  if (!plan_order_throughput(&p, &order, &slowest_ns)) return lack(s, &p, g);
  return slowest_ns ? 1e9 / (double)slowest_ns : 1e9;
}

/* Groups that fit count, then the sum of rates. */
static double value(const search *s) {
  double sum = 0, lacking = 0;
  for (uint32_t g = 0; g < s->count; g++) {
    if (s->rate[g] < 0) lacking += s->rate[g];
    else sum += s->rate[g];
  }
  return lacking < 0 ? lacking : sum;
}

/* Whether it gains when worker i goes to group `to`, and j (if not its own self) to i's; then it stays so. */
static bool try(search *s, uint32_t i, uint32_t j, uint32_t to) {
  uint8_t from = s->group[i];
  double before = value(s), from_rate = s->rate[from], to_rate = s->rate[to];
  s->group[i] = (uint8_t)to;
  if (j != i) s->group[j] = from;
  s->rate[from] = rate(s, from);
  s->rate[to] = rate(s, to);
  if (value(s) > before * (1 + (before > 0 ? 1e-9 : -1e-9))) return true;
  if (j != i) s->group[j] = (uint8_t)to;
  s->group[i] = from;
  s->rate[from] = from_rate, s->rate[to] = to_rate;
  return false;
}

static bool improve(search *s) {
  bool gained = false;
  for (uint32_t i = 0; i < s->n; i++) {
    if (s->group[i] == NOBODY) continue;
    for (uint32_t to = 0; to < s->count; to++)
      if (to != s->group[i] && try(s, i, i, to)) gained = true;
    for (uint32_t j = 0; j < i; j++)
      if (s->group[j] != NOBODY && s->group[j] != s->group[i] && try(s, i, j, s->group[j])) gained = true;
  }
  return gained;
}

/* The fastest first, to and fro over the groups. */
static void deal(search *s) {
  uint32_t sorted[TRI_PLAN_MAX_WORKERS], dealt = 0;
  for (uint32_t i = 0; i < s->n; i++) {
    uint32_t k = i;
    for (; k > 0 && s->workers[sorted[k - 1]].layer_ns > s->workers[i].layer_ns; k--) sorted[k] = sorted[k - 1];
    sorted[k] = i;
  }
  for (uint32_t k = 0; k < s->n; k++) {
    uint32_t turn = dealt / s->count, place = dealt % s->count;
    s->group[sorted[k]] = NOBODY;
    if (s->workers[sorted[k]].excluded) continue;
    s->group[sorted[k]] = (uint8_t)(turn % 2 ? s->count - 1 - place : place);
    dealt++;
  }
  for (uint32_t g = 0; g < s->count; g++) s->rate[g] = rate(s, g);
}

static void share_out(search *s, uint32_t count) {
  enum { ROUNDS = 8, MOST_WORKERS = 64 };
  s->count = count;
  deal(s);
  for (int round = 0; round < ROUNDS && s->n <= MOST_WORKERS && improve(s); round++) continue;
}

static uint32_t included(const search *s) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->n; i++) n += !s->workers[i].excluded;
  return n;
}

/* --- plans of groups --- */

static tri_status plan_groups(search *s, tri_plan_replicas *out, tri_error *err) {
  for (out->count = 0; out->count < s->count; out->count++) {
    pick(s, out->count);
    tri_status status = tri_plan_make(&out->plan[out->count], s->m, s->alone, s->n, s->options, err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

/* One plan after another, each of who is left over. */
static tri_status plan_leftovers(search *s, tri_plan_replicas *out, uint32_t most, tri_error *err) {
  for (uint32_t i = 0; i < s->n; i++) s->group[i] = s->workers[i].excluded ? NOBODY : 0;
  for (out->count = 0; out->count < most; out->count++) {
    tri_plan *plan = &out->plan[out->count];
    bool any = false;
    for (uint32_t i = 0; i < s->n; i++) any |= s->group[i] == 0;
    if (!any) break;
    pick(s, 0);
    tri_status status = tri_plan_make(plan, s->m, s->alone, s->n, s->options, err);
    if (status == TRI_E_LIMIT && out->count > 0) break; /* the rest is too little for another */
    if (status != TRI_OK) return status;
    for (uint32_t i = 0; i < plan->stages; i++) s->group[plan->stage[i].worker] = NOBODY;
  }
  return TRI_OK;
}

/* The best number of groups; 1 when no more fit. */
static uint32_t best_count(search *s) {
  uint32_t best = 1;
  double most = 0;
  for (uint32_t count = 1; count <= TRI_PLAN_MAX_REPLICAS && count <= included(s); count++) {
    share_out(s, count);
    if (value(s) <= most) continue;
    most = value(s);
    best = count;
  }
  return best;
}

static tri_status fill(search *s, tri_plan_replicas *out, uint32_t count, tri_error *err) {
  if (count == 1) {
    out->count = 1;
    return tri_plan_make(out->plan, s->m, s->workers, s->n, s->options, err);
  }
  if (count == 0 && s->options->objective == TRI_PLAN_LATENCY) return plan_leftovers(s, out, TRI_PLAN_MAX_REPLICAS, err);
  if (count == 0) return fill(s, out, best_count(s), err);
  share_out(s, count);
  if (value(s) < 0)
    return tri_status_fail(err, TRI_E_LIMIT, "%u replicas: the workers cannot be shared out so that each holds the model", count);
  return plan_groups(s, out, err);
}

tri_status tri_plan_replicate(tri_plan_replicas *out, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                              const tri_plan_options *options, uint32_t count, tri_error *err) {
  if (options->fixed_order || plan_has_wishes(workers, n)) {
    if (count > 1)
      return tri_status_fail(err, TRI_E_INVALID, "%u replicas: not with layers, positions or an order given by hand", count);
    count = 1;
  }
  search *s = calloc(1, sizeof *s);
  tri_plan_replicas r = {.plan = calloc(TRI_PLAN_MAX_REPLICAS, sizeof *r.plan)};
  tri_status status = s && r.plan ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for plans of %u workers", n);
  if (count > TRI_PLAN_MAX_REPLICAS || n > TRI_PLAN_MAX_WORKERS)
    status = tri_status_fail(err, TRI_E_LIMIT, "%u replicas of %u workers: at most %d of %d", count, n, TRI_PLAN_MAX_REPLICAS,
                             TRI_PLAN_MAX_WORKERS);
  if (status == TRI_OK) {
    *s = (search){.m = m, .workers = workers, .n = n, .options = options};
    if (count > 1 && count > included(s))
      status = tri_status_fail(err, TRI_E_LIMIT, "%u replicas: there are %u workers", count, included(s));
    else status = fill(s, &r, count, err);
  }
  free(s);
  if (status != TRI_OK) return tri_plan_replicas_free(&r), status;
  uint32_t rows = options->rows ? options->rows : 1;
  for (uint32_t i = 0; i < r.count; i++) {
    double one = 1e9 / (double)r.plan[i].token_ns;
    r.one_per_s = one > r.one_per_s ? one : r.one_per_s;
    r.many_per_s += rows * 1e9 / (double)r.plan[i].slowest_ns;
  }
  *out = r;
  return TRI_OK;
}

void tri_plan_replicas_free(tri_plan_replicas *r) {
  free(r->plan);
  *r = (tri_plan_replicas){0};
}
