/* SPDX-License-Identifier: MIT */
/* A plan in words: why a worker is left out, and what is missing when nothing fits. */
#include "coordinator/plan_impl.h"

#include <stdio.h>
#include <string.h>
#include "base/units.h"

/* --- left out --- */

/* The best plan of all the plan's workers and worker i, each with a layer, over the places for it: in a fixed order its own, and
 * in a long pipeline both ends and one place between, which all are much alike. False: there is none. */
static bool plan_with(plan_problem *p, const tri_plan *plan, bool fixed, uint32_t i, tri_plan *out) {
  enum { LONG = 8 };
  plan_cost best = {0};
  for (uint32_t place = 0; place <= plan->stages; place++) {
    if (!fixed && plan->stages > LONG && place > 1 && place < plan->stages) continue;
    plan_order order = {0};
    for (uint32_t s = 0; s < plan->stages; s++) order.worker[order.count++] = plan->stage[s].worker;
    order.worker[order.count++] = i;
    plan_order_move(&order, plan->stages, place);
    if (fixed && ((place > 0 && order.worker[place - 1] > i) || (place < plan->stages && order.worker[place + 1] < i))) continue;
    tri_plan tried = {0};
    plan_cost cost;
    if (plan_split(p, &order, &tried, &cost, NULL) != TRI_OK || !cost.possible || cost.idle || !plan_cost_less(&cost, &best)) continue;
    best = cost;
    *out = tried;
  }
  if (best.possible) plan_finish(p, out);
  return best.possible;
}

static double ms(uint64_t ns) { return (double)ns / 1e6; }

static void compare(const tri_plan *plan, const tri_plan *with, tri_plan_objective objective, char *out) {
  double more = ms(with->token_ns) - ms(plan->token_ns);
  char later[64] = "";
  if (more > 0) snprintf(later, sizeof later, ", and each token takes %.3g ms more", more);
  if (objective == TRI_PLAN_LATENCY && more > 0)
    snprintf(out, TRI_PLAN_REASON, "left out: with it each token takes %.3g ms more", more);
  else if (objective == TRI_PLAN_LATENCY)
    snprintf(out, TRI_PLAN_REASON, "left out: with it a token is no faster");
  else if (with->slowest_ns > plan->slowest_ns)
    snprintf(out, TRI_PLAN_REASON, "left out: with it the slowest stage takes %.3g ms, not %.3g ms", ms(with->slowest_ns),
             ms(plan->slowest_ns));
  else
    snprintf(out, TRI_PLAN_REASON, "left out: the slowest stage gets no faster with it%s", later);
}

bool tri_plan_explain(const tri_plan *plan, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                      const tri_plan_options *options, uint32_t i, char out[TRI_PLAN_REASON]) {
  for (uint32_t s = 0; s < plan->stages; s++)
    if (plan->stage[s].worker == i) return false;
  tri_plan_worker wished[TRI_PLAN_MAX_WORKERS];
  plan_problem p = {.m = m, .workers = wished, .n = n, .rows = options->rows ? options->rows : 1, .objective = options->objective};
  memcpy(wished, workers, n * sizeof *wished);
  for (uint32_t k = 0; k < n; k++) wished[k].must = true;
  tri_plan with;
  if (workers[i].excluded) snprintf(out, TRI_PLAN_REASON, "left out: excluded");
  else if (plan_room(&p, i, false, false) == 0)
    snprintf(out, TRI_PLAN_REASON, "left out: %s, a layer needs %s there", TRI_UNITS(workers[i].memory_bytes),
             TRI_UNITS(tri_plan_bytes(m, &workers[i], 1, false, false)));
  else if (!plan_with(&p, plan, options->fixed_order, i, &with))
    snprintf(out, TRI_PLAN_REASON, "left out: no split fits that uses it beside the others");
  else compare(plan, &with, options->objective, out);
  return true;
}

/* --- nothing fits --- */

/* All of the model, without buffers. */
static uint64_t model_bytes(const tri_plan_model *m) { return tri_plan_bytes(m, &(tri_plan_worker){0}, m->layers, true, true); }

/* The least that every worker would have to have more, by bisection: what fits, fits with more. */
static uint64_t missing_per_worker(plan_problem *p, uint64_t buffers, bool (*fits)(plan_problem *, void *), void *arg) {
  uint64_t low = 0, high = model_bytes(p->m) + buffers;
  while (low + 1 < high) {
    p->extra_bytes = low + (high - low) / 2;
    if (fits(p, arg)) high = p->extra_bytes;
    else low = p->extra_bytes;
  }
  return high;
}

tri_status plan_explain_lack(plan_problem *p, bool (*fits)(plan_problem *p, void *arg), void *arg, tri_error *err) {
  const tri_plan_model *m = p->m;
  uint64_t need = model_bytes(m), have = 0, buffers = 0;
  uint32_t n = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    const tri_plan_worker *w = &p->workers[i];
    if (w->excluded) continue;
    n++;
    need += w->buffer_bytes;
    have += w->memory_bytes;
    if (w->buffer_bytes > buffers) buffers = w->buffer_bytes;
  }
  p->objective = TRI_PLAN_THROUGHPUT; /* what fits does not depend on it, and its order is found soonest */
  uint64_t missing = missing_per_worker(p, buffers, fits, arg);
  return tri_status_fail(err, TRI_E_LIMIT,
                         "the model does not fit: %s%u layers of %s with %s of KV cache each, embedding and head of %s, and buffers of %s "
                         "on each worker need %s; %u worker(s) offer %s: the model needs %s more on %s (or more workers, or a "
                         "smaller --ctx%s)",
                         have >= need ? "no cut fits although the sum would do: " : "", m->layers, TRI_UNITS(m->layer_bytes),
                         TRI_UNITS(m->kv_bytes), TRI_UNITS(m->embedding_bytes + m->head_bytes), TRI_UNITS(buffers), TRI_UNITS(need), n,
                         TRI_UNITS(have), TRI_UNITS(missing), n == 1 ? "it" : "each of them",
                         plan_has_wishes(p->workers, p->n) ? ", or fewer layers and positions given by hand" : "");
}
