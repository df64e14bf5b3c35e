/* SPDX-License-Identifier: MIT */
/* The glue's search for a better plan than the one that serves: others have come, or somebody's speed is another than it was. */
#include "coordinator/coordinator_impl.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"

enum {
  SETTLE_MS = 2000,     /* after the last news: several workers may come at once */
  PATIENCE_MS = 30000,  /* as for a drain: it is a gain, not a need */
  LOOKS_PER_REPLAN = 6, /* looks at a worker's speed in the time between two plans */
};

void coordinator_review_soon(coordinator *c) {
  c->review = true;
  c->news_ms = tri_clock_ms();
}

static uint64_t cost_of(const coordinator *c, const tri_plan *plan) {
  return c->config->objective == TRI_PLAN_LATENCY ? plan->token_ns : plan->slowest_ns;
}

/* Stages of workers that their owner wants to be used. */
static uint32_t count_wanted(const coordinator *c, const tri_plan *plan, const int *order) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < plan->stages; i++) n += coordinator_is_wanted(c, c->registry.workers[order[plan->stage[i].worker]].hello.name);
  return n;
}

static bool is_due(coordinator *c, int64_t now_ms) {
  bool forgot = tri_health_forget(&c->health, now_ms);
  if (forgot || tri_health_came_back(&c->health, c->looked_ms, now_ms)) coordinator_review_soon(c);
  c->looked_ms = now_ms;
  bool rested = !c->replanned_ms || now_ms - c->replanned_ms >= c->config->replan_every_ms;
  return c->review && c->config->replan_gain > 0 && c->pipeline.state == TRI_PIPELINE_SERVING && rested && now_ms - c->news_ms >= SETTLE_MS;
}

void coordinator_review(coordinator *c, int64_t now_ms) {
  int order[TRI_REGISTRY_MAX];
  char why[TRI_MAX_TEXT];
  tri_error err;
  if (!is_due(c, now_ms)) return;
  c->review = false;
  if (coordinator_price_present(c, order, &err) != TRI_OK) {
    TRI_WARN("the present plan can't be compared with others: %s", err.text);
    return;
  }
  uint64_t present_ns = cost_of(c, &c->plan);
  uint32_t present_wanted = count_wanted(c, &c->plan, order);
  if (coordinator_make_plan(c, false, order, &err) != TRI_OK) return; /* the present one is better than none */
  uint64_t planned_ns = cost_of(c, &c->plan);
  bool better = (double)planned_ns * (1 + c->config->replan_gain) <= (double)present_ns;
  if (!better && count_wanted(c, &c->plan, order) <= present_wanted) return;
  const char *what = c->config->objective == TRI_PLAN_LATENCY ? "a token's way" : "the slowest stage";
  snprintf(why, sizeof why, "%s would be %.3f ms, it is %.3f", what, (double)planned_ns / 1e6, (double)present_ns / 1e6);
  if (coordinator_prepare_change(c, why, PATIENCE_MS, now_ms, &err)) c->replanned_ms = now_ms;
}

/* A step in twenty counts half: that much slower than the others, it holds the pipeline up as well. */
static double ratio_of(const tri_msg_heartbeat *m, uint64_t promised_ns) {
  double median = (double)m->step_us, tail = (double)m->step_p95_us / 2;
  return 1e3 * (median > tail ? median : tail) / (double)promised_ns;
}

void coordinator_look_at(coordinator *c, int index, const tri_msg_heartbeat *m, int64_t now_ms) {
  const tri_worker *w = &c->registry.workers[index];
  if (c->pipeline.state != TRI_PIPELINE_SERVING || w->stage < 0 || m->epoch != c->pipeline.epoch) return;
  if (!m->step_rows || m->step_rows > TRI_PLAN_MANY) return; /* nothing, or prompts */
  const tri_plan_stage *part = &c->pipeline.part[w->stage];
  tri_plan_worker measured = coordinator_speed_of(&w->hello);
  uint64_t promised_ns = tri_plan_stage_ns(&measured, part->last - part->first, part->last == c->pipeline.config.layers, m->step_rows);
  tri_health_record *r = coordinator_health_of(c, index);
  if (!tri_health_tempo(r, ratio_of(m, promised_ns), m->steps, c->config->replan_every_ms / LOOKS_PER_REPLAN, now_ms)) return;
  TRI_INFO("worker %s takes %.1f times as long as it measured at its start", w->hello.name, r->slow);
  coordinator_review_soon(c);
}
