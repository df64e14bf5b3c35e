/* SPDX-License-Identifier: MIT */
#include "coordinator/plan_impl.h"

#include <string.h>
#include "base/units.h"

/* --- the model of cost --- */

/* Sums of times stay far below 2^64 with the most workers, layers and rows. */
static const uint64_t LONGEST_NS = 10000000000000, LARGEST_ROW = 1 << 24;

static uint64_t bounded(uint64_t ns) { return ns < LONGEST_NS ? ns : LONGEST_NS; }

/* A step of 1 row takes `one`, of TRI_PLAN_MANY rows `whole`; between them it is linear, beyond proportional. */
static uint64_t step_ns(uint64_t one, uint64_t whole, uint32_t rows) {
  one = bounded(one), whole = bounded(whole);
  if (whole == 0) return rows * one;
  if (whole < one) whole = one;
  return rows > TRI_PLAN_MANY ? whole * rows / TRI_PLAN_MANY : one + (rows - 1) * (whole - one) / (TRI_PLAN_MANY - 1);
}

uint64_t tri_plan_stage_ns(const tri_plan_worker *w, uint32_t layers, bool head, uint32_t rows) {
  return layers * step_ns(w->layer_ns, w->layer_rows_ns, rows) + (head ? step_ns(w->head_ns, w->head_rows_ns, rows) : 0);
}

uint32_t tri_plan_rows(uint32_t slots, uint32_t workers) {
  uint32_t rows = workers ? slots / workers : slots;
  return rows < 1 ? 1 : rows < TRI_PLAN_MANY ? rows : TRI_PLAN_MANY;
}

static uint64_t transfer_ns(uint64_t row_bytes, uint32_t rows, uint64_t bytes_s) {
  return bytes_s ? rows * row_bytes * 1000000000 / bytes_s : 0;
}

uint64_t plan_layer_ns(const plan_problem *p, uint32_t worker) { return tri_plan_stage_ns(&p->workers[worker], 1, false, p->rows); }
uint64_t plan_head_ns(const plan_problem *p, uint32_t worker) { return tri_plan_stage_ns(&p->workers[worker], 0, true, p->rows); }
uint64_t plan_send_ns(const plan_problem *p, uint32_t from) {
  return transfer_ns(p->m->row_bytes, p->rows, p->workers[from].up_bytes_s);
}
uint64_t plan_receive_ns(const plan_problem *p, uint32_t to) {
  return transfer_ns(p->m->row_bytes, p->rows, p->workers[to].down_bytes_s);
}

uint64_t plan_way_ns(const plan_problem *p, uint32_t worker) {
  uint64_t rtt = p->workers[worker].rtt_ns;
  return (rtt > p->m->hub_ns ? rtt - p->m->hub_ns : 0) + p->m->hand_ns;
}

uint64_t tri_plan_hub_ns(const tri_plan_worker *workers, uint32_t n) {
  uint64_t least = 0;
  for (uint32_t i = 0; i < n; i++)
    if (workers[i].rtt_ns && (!least || workers[i].rtt_ns < least)) least = workers[i].rtt_ns;
  return least / 2;
}

static uint64_t sum(uint64_t a, uint64_t b) {
  uint64_t out;
  return __builtin_add_overflow(a, b, &out) ? UINT64_MAX : out;
}

uint64_t tri_plan_bytes(const tri_plan_model *m, const tri_plan_worker *w, uint32_t layers, bool embed, bool head) {
  uint64_t each = sum(m->layer_bytes, m->kv_bytes), all;
  if (__builtin_mul_overflow(each, layers, &all)) return UINT64_MAX;
  return sum(sum(all, w->buffer_bytes), sum(embed ? m->embedding_bytes : 0, head ? m->head_bytes : 0));
}

uint32_t plan_room(const plan_problem *p, uint32_t worker, bool embed, bool head) {
  const tri_plan_worker *w = &p->workers[worker];
  uint64_t have = sum(w->memory_bytes, p->extra_bytes), ends = tri_plan_bytes(p->m, w, 0, embed, head);
  uint64_t each = sum(p->m->layer_bytes, p->m->kv_bytes);
  if (ends > have) return 0;
  if (each == 0 || (have - ends) / each >= p->m->layers) return p->m->layers;
  return (uint32_t)((have - ends) / each);
}

/* --- wishes --- */

static tri_status check_wish(const tri_plan_model *m, const tri_plan_worker *w, tri_error *err) {
  if (!plan_pinned(w)) return TRI_OK;
  if (w->excluded) return tri_status_fail(err, TRI_E_INVALID, "%s: layers are given to it, and it is excluded", w->name);
  if (w->first >= w->last)
    return tri_status_fail(err, TRI_E_INVALID, "%s: layers %u-%u: the first is after the last", w->name, w->first, w->last - 1);
  if (w->last > m->layers)
    return tri_status_fail(err, TRI_E_INVALID, "%s: layers %u-%u: the model has layers 0-%u", w->name, w->first, w->last - 1,
                           m->layers - 1);
  uint64_t need = tri_plan_bytes(m, w, w->last - w->first, w->first == 0, w->last == m->layers);
  if (need > w->memory_bytes)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: layers %u-%u need %s there, and it may use %s: %s are missing", w->name, w->first,
                           w->last - 1, TRI_UNITS(need), TRI_UNITS(w->memory_bytes), TRI_UNITS(need - w->memory_bytes));
  return TRI_OK;
}

/* Layers [first, last) that lie between pinned runs need someone else. */
static tri_status check_gaps(const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n, tri_error *err) {
  uint32_t free_workers = 0, reached = 0, pins = 0;
  for (uint32_t i = 0; i < n; i++) free_workers += !workers[i].excluded && !plan_pinned(&workers[i]);
  for (uint32_t i = 0; i < n; i++) pins += plan_pinned(&workers[i]);
  for (const tri_plan_worker *next; pins; reached = next->last) {
    next = NULL; /* the run that begins first, at or after what is reached */
    for (uint32_t i = 0; i < n; i++)
      if (plan_pinned(&workers[i]) && workers[i].first >= reached && (!next || workers[i].first < next->first)) next = &workers[i];
    if (!next && reached == m->layers) break;
    if (free_workers == 0 && (!next || next->first > reached))
      return tri_status_fail(err, TRI_E_INVALID, "layers %u-%u are given to no worker, and all others have theirs: a gap", reached,
                             (next ? next->first : m->layers) - 1);
    if (!next) break;
  }
  return TRI_OK;
}

static tri_status check_wishes(const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n, tri_error *err) {
  uint32_t excluded = 0;
  for (uint32_t i = 0; i < n; i++) {
    const tri_plan_worker *a = &workers[i];
    tri_status status = check_wish(m, a, err);
    if (status != TRI_OK) return status;
    excluded += a->excluded;
    for (uint32_t j = 0; j < i && plan_pinned(a); j++) {
      const tri_plan_worker *b = &workers[j];
      if (plan_pinned(b) && a->first < b->last && b->first < a->last)
        return tri_status_fail(err, TRI_E_INVALID, "%s has layers %u-%u and %s has layers %u-%u: they overlap", b->name, b->first,
                               b->last - 1, a->name, a->first, a->last - 1);
    }
  }
  if (excluded == n) return tri_status_fail(err, TRI_E_INVALID, "all %u workers are excluded", n);
  return check_gaps(m, workers, n, err);
}

/* --- the plan --- */

bool plan_has_wishes(const tri_plan_worker *workers, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (plan_pinned(&workers[i]) || workers[i].position) return true;
  return false;
}

static tri_status find_order(plan_problem *p, bool fixed, plan_order *order, bool *possible, tri_error *err) {
  *possible = true;
  *order = (plan_order){0};
  if (fixed) {
    for (uint32_t i = 0; i < p->n; i++)
      if (!p->workers[i].excluded) order->worker[order->count++] = i;
    return TRI_OK;
  }
  if (plan_has_wishes(p->workers, p->n)) return plan_order_climb(p, order, possible, err);
  if (p->objective == TRI_PLAN_LATENCY) return plan_order_latency(p, order, possible, err);
  uint64_t slowest_ns;
  *possible = plan_order_throughput(p, order, &slowest_ns);
  return TRI_OK;
}

static tri_status search(plan_problem *p, bool fixed, tri_plan *out, plan_cost *cost, tri_error *err) {
  plan_order order;
  bool possible;
  *cost = (plan_cost){0};
  tri_status status = find_order(p, fixed, &order, &possible, err);
  return status == TRI_OK && possible ? plan_split(p, &order, out, cost, err) : status;
}

static bool fits(plan_problem *p, void *fixed) {
  plan_cost cost;
  return search(p, *(bool *)fixed, NULL, &cost, NULL) == TRI_OK && cost.possible;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* For steps of `rows` rows: the slowest stage or link, and the sum of all. */
static void measure(plan_problem p, uint32_t rows, const tri_plan *plan, uint64_t *slowest, uint64_t *whole) {
  p.rows = rows;
  *slowest = 0, *whole = p.m->hub_ns + p.m->hand_ns;
  for (uint32_t i = 0; i < plan->stages; i++) {
    const tri_plan_stage *s = &plan->stage[i];
    const tri_plan_worker *w = &p.workers[s->worker];
    uint64_t ns = tri_plan_stage_ns(w, s->last - s->first, s->last == p.m->layers, rows);
    uint64_t send = i + 1 < plan->stages ? larger(plan_send_ns(&p, s->worker), plan_receive_ns(&p, s[1].worker)) : 0;
    *slowest = larger(*slowest, larger(ns, send));
    *whole += ns + send + plan_way_ns(&p, s->worker);
  }
}

void plan_finish(const plan_problem *p, tri_plan *out) {
  uint64_t whole;
  for (uint32_t i = 0; i + 1 < out->stages; i++)
    out->stage[i].send_ns = larger(plan_send_ns(p, out->stage[i].worker), plan_receive_ns(p, out->stage[i + 1].worker));
  measure(*p, p->rows, out, &out->slowest_ns, &whole);
  measure(*p, TRI_PLAN_MANY, out, &out->row_ns, &whole);
  out->row_ns = out->row_ns / TRI_PLAN_MANY;
  measure(*p, 1, out, &whole, &out->token_ns);
  out->work = p->work;
}

static tri_status check_sizes(const tri_plan_model *m, uint32_t n, uint32_t rows, tri_error *err) {
  if (n == 0) return tri_status_fail(err, TRI_E_INVALID, "no workers to plan for");
  if (n > TRI_PLAN_MAX_WORKERS) return tri_status_fail(err, TRI_E_LIMIT, "%u workers: at most %d", n, TRI_PLAN_MAX_WORKERS);
  if (m->layers == 0 || m->layers > TRI_PLAN_MAX_LAYERS)
    return tri_status_fail(err, TRI_E_LIMIT, "%u layers: from 1 to %d can be planned", m->layers, TRI_PLAN_MAX_LAYERS);
  if (m->row_bytes > LARGEST_ROW || rows > TRI_PLAN_MANY)
    return tri_status_fail(err, TRI_E_LIMIT, "steps of %u rows of %s: at most %d rows of %s can be planned", rows, TRI_UNITS(m->row_bytes),
                           TRI_PLAN_MANY, TRI_UNITS(LARGEST_ROW));
  return TRI_OK;
}

tri_status tri_plan_make(tri_plan *out, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                         const tri_plan_options *options, tri_error *err) {
  plan_problem p = {.m = m, .workers = workers, .n = n, .rows = options->rows ? options->rows : 1, .objective = options->objective};
  bool fixed = options->fixed_order;
  plan_cost cost;
  tri_status status = check_sizes(m, n, p.rows, err);
  if (status == TRI_OK) status = check_wishes(m, workers, n, err);
  if (status == TRI_OK) status = search(&p, fixed, out, &cost, err);
  if (status != TRI_OK) return status;
  if (!cost.possible) return plan_explain_lack(&p, fits, &fixed, err);
  plan_finish(&p, out);
  return TRI_OK;
}

static const char *const objectives[] = {[TRI_PLAN_THROUGHPUT] = "throughput", [TRI_PLAN_LATENCY] = "latency"};

const char *tri_plan_objective_name(tri_plan_objective objective) { return objectives[objective]; }

tri_status tri_plan_parse_objective(const char *name, tri_plan_objective *out, tri_error *err) {
  for (int i = 0; i < (int)(sizeof objectives / sizeof *objectives); i++)
    if (strcmp(objectives[i], name) == 0) return *out = (tri_plan_objective)i, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "objective %s: known are throughput and latency", name);
}
