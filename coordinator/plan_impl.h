/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_IMPL_H
#define TRI_COORDINATOR_PLAN_IMPL_H
#include "coordinator/plan.h"

/* Inside the planner's files only. */

typedef struct plan_problem {
  const tri_plan_model *m;
  const tri_plan_worker *workers;
  uint32_t n, rows;
  tri_plan_objective objective;
  uint64_t extra_bytes; /* pretended on every worker, to find out what is missing */
  uint64_t work;        /* elementary steps so far */
} plan_problem;

/* Workers in the order in which they may be stages: indices into the problem's. */
typedef struct plan_order {
  uint32_t count;
  uint32_t worker[TRI_PLAN_MAX_WORKERS];
} plan_order;

/* How good a split is: the first that differs decides, less is better. */
typedef struct plan_cost {
  bool possible;
  uint32_t idle;  /* workers that must have a layer and have none */
  uint64_t main;  /* the objective, in ns */
  uint32_t stages;
  double squares; /* of the stages' times in us: evenness */
} plan_cost;

bool plan_cost_less(const plan_cost *a, const plan_cost *b);

/* --- plan.c: the model of cost --- */
uint64_t plan_send_ns(const plan_problem *p, uint32_t from);    /* a step's rows through its own link, up */
uint64_t plan_receive_ns(const plan_problem *p, uint32_t to);   /* and down */
uint64_t plan_layer_ns(const plan_problem *p, uint32_t worker); /* a step through one layer */
uint64_t plan_head_ns(const plan_problem *p, uint32_t worker);
uint64_t plan_way_ns(const plan_problem *p, uint32_t worker);   /* its own link there and back, and handing on */
/* Layers that fit on a worker beside what its role needs. */
uint32_t plan_room(const plan_problem *p, uint32_t worker, bool embed, bool head);
/* What a plan that has its stages says beside them. */
void plan_finish(const plan_problem *p, tri_plan *out);
/* Some have given layers or a position. */
bool plan_has_wishes(const tri_plan_worker *workers, uint32_t n);
static inline bool plan_pinned(const tri_plan_worker *w) { return w->last > 0; }

/* --- plan_split.c --- */
/* The best split over workers in this order: exact. out may be NULL: the cost alone. TRI_E_NOMEM, or TRI_OK with cost->possible
 * false. */
tri_status plan_split(plan_problem *p, const plan_order *order, tri_plan *out, plan_cost *cost, tri_error *err);

/* --- plan_order.c --- */
/* The order for the problem's objective, out of the workers that are not excluded. False: the model fits in no order. */
bool plan_order_throughput(plan_problem *p, plan_order *out, uint64_t *slowest_ns);
/* The worker at `from` stands at `to` afterwards. */
void plan_order_move(plan_order *o, uint32_t from, uint32_t to);
/* --- plan_latency.c --- */
tri_status plan_order_latency(plan_problem *p, plan_order *out, bool *possible, tri_error *err);
/* --- plan_climb.c --- */
/* With pinned layers or positions. *possible false: no order was found that fits. */
/* Moves workers of *o, one at a time, as long as the best split over the order gets better and p->work is below most_work. */
tri_status plan_climb(plan_problem *p, plan_order *o, uint64_t most_work, bool *possible, tri_error *err);
tri_status plan_order_climb(plan_problem *p, plan_order *out, bool *possible, tri_error *err);

/* --- plan_explain.c --- */
/* The error when nothing fits. fits tells whether the problem's extra_bytes are enough. */
tri_status plan_explain_lack(plan_problem *p, bool (*fits)(plan_problem *p, void *arg), void *arg, tri_error *err);

#endif
