/* SPDX-License-Identifier: MIT */
/* The glue's changes of who takes part, while it serves: who is drained, who leaves, and the switch to another plan. */
#include "coordinator/coordinator_impl.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

/* How long a switch that is ready may wait for a moment that costs less. */
enum { DRAIN_PATIENCE_MS = 30000, LEAVE_PATIENCE_MS = 5000 };

static tri_worker *worker_at(coordinator *c, int index) { return &c->registry.workers[index]; }

/* --- who is not to be used --- */

tri_health_record *coordinator_health_of(coordinator *c, int index) {
  return tri_health_of(&c->health, worker_at(c, index)->key, tri_clock_ms());
}

static bool is_unwilling(const coordinator *c, int index) {
  const tri_health_record *r = tri_health_find(&c->health, c->registry.workers[index].key);
  return r && tri_health_unwilling(r);
}

/* A stage's worker that is not to be used, or -1. */
static int unwilling_now(const coordinator *c) {
  for (uint32_t i = 0; i < c->pipeline.stages; i++)
    if (is_unwilling(c, c->pipeline.worker[i])) return c->pipeline.worker[i];
  return -1;
}

static bool is_unwilling_planned(const coordinator *c) {
  const tri_change *ch = &c->change;
  for (uint32_t i = 0; ch->state && i < ch->plan.stages; i++)
    if (is_unwilling(c, ch->order[ch->plan.stage[i].worker])) return true;
  return false;
}

size_t coordinator_leave_out(const coordinator *c, int *order, size_t n, bool all, int64_t now_ms) {
  char why[TRI_MAX_NAME];
  size_t kept = 0;
  for (size_t i = 0; i < n; i++) {
    const tri_health_record *r = tri_health_find(&c->health, c->registry.workers[order[i]].key);
    bool out = r && (all ? tri_health_unwilling(r) : tri_health_is_out(r, now_ms, why));
    if (!out) order[kept++] = order[i];
  }
  return kept;
}

/* A drained worker counts as if it were there: who drains it does not want the others to wait for it. */
size_t coordinator_count(const coordinator *c) {
  size_t n = tri_health_drained(&c->health);
  for (size_t i = 0; i < c->registry.count; i++) n += c->registry.workers[i].state != TRI_WORKER_LOST && !is_unwilling(c, (int)i);
  return n;
}

/* The record of a worker by name, those that are there first; -1: none. */
static int find_by_name(const coordinator *c, const char *name) {
  int index = tri_registry_find_name(&c->registry, name);
  for (size_t i = 0; index < 0 && i < c->registry.count; i++)
    if (strcmp(c->registry.workers[i].hello.name, name) == 0) index = (int)i;
  return index;
}

const char *coordinator_absent(const coordinator *c) {
  for (size_t i = 0; i < c->config->n_expect; i++) {
    int index = find_by_name(c, c->config->expect[i]);
    bool there = index >= 0 && (c->registry.workers[index].state != TRI_WORKER_LOST || is_unwilling(c, index));
    if (!there) return c->config->expect[i];
  }
  return NULL;
}

/* --- another plan --- */

void coordinator_call_off_change(coordinator *c) {
  tri_change_end(&c->change);
  tri_scheduler_resume(&c->scheduler);
}

bool coordinator_prepare_change(coordinator *c, const char *why, int64_t patience_ms, int64_t now_ms, tri_error *err) {
  int order[TRI_REGISTRY_MAX];
  if (coordinator_make_plan(c, true, order, err) != TRI_OK) return false;
  TRI_INFO("a plan after epoch %u is prepared, of %u stages: %s", c->pipeline.epoch, c->plan.stages, why);
  tri_change_begin(&c->change, &c->plan, order, why, patience_ms, now_ms);
  for (uint32_t i = 0; i < c->plan.stages; i++) {
    int index = order[c->plan.stage[i].worker];
    if (coordinator_parts_prefetch(c, index, &c->plan.stage[i], c->change.id)) tri_change_lack(&c->change, index);
  }
  return true;
}

/* What was tried for those who are drained won't do: then they stay, and whoever waits for it sees why. */
static void give_up_drains(coordinator *c, const char *why) {
  TRI_ERROR("the plan stays as it is: %s", why);
  snprintf(c->change_trouble, sizeof c->change_trouble, "%s", why);
  coordinator_call_off_change(c);
  for (uint32_t i = 0; i < c->pipeline.stages; i++) coordinator_health_of(c, c->pipeline.worker[i])->drained = false;
}

/* Whoever leaves can't be held: without a plan, jobs wait for one. */
static void change_failed(coordinator *c, const char *why, int64_t now_ms) {
  int index = unwilling_now(c);
  give_up_drains(c, why);
  if (index >= 0 && is_unwilling(c, index)) coordinator_drop_pipeline(c, NULL, now_ms);
}

static void change_without(coordinator *c, int index, int64_t now_ms) {
  char text[TRI_MAX_TEXT];
  tri_error err;
  const char *name = worker_at(c, index)->hello.name;
  bool leaves = coordinator_health_of(c, index)->leaving;
  snprintf(text, sizeof text, "worker %s %s", name, leaves ? "wants to end" : "is drained");
  if (coordinator_prepare_change(c, text, leaves ? LEAVE_PATIENCE_MS : DRAIN_PATIENCE_MS, now_ms, &err)) return;
  snprintf(text, sizeof text, "without %s: %.400s", name, err.text);
  change_failed(c, text, now_ms);
}

static void prefetch_failed(coordinator *c, int index, const char *how, int64_t now_ms) {
  char why[TRI_MAX_TEXT];
  snprintf(why, sizeof why, "worker %s cannot get the parts that it would need: %.400s", worker_at(c, index)->hello.name, how);
  change_failed(c, why, now_ms);
}

/* Rows that running jobs would have to compute again. */
static uint64_t rows_at_stake(const coordinator *c) {
  uint64_t rows = 0;
  for (const tri_job *job = c->jobs.first; job; job = job->next)
    if (job->state == TRI_JOB_RUNNING) rows += job->done;
  return rows;
}

static void switch_plan(coordinator *c, int64_t now_ms) {
  coordinator_drop_pipeline(c, NULL, now_ms);
  c->plan = c->change.plan;
  c->change_trouble[0] = 0;
  coordinator_start_plan(c, c->change.order, now_ms);
}

void coordinator_tend_change(coordinator *c, int64_t now_ms) {
  if (c->pipeline.state == TRI_PIPELINE_IDLE) return;
  int index = unwilling_now(c), order[TRI_REGISTRY_MAX];
  tri_error err;
  if (index >= 0 && c->pipeline.state != TRI_PIPELINE_SERVING) { /* nothing runs that would have to be spared */
    coordinator_drop_pipeline(c, NULL, now_ms);
    if (coordinator_make_plan(c, true, order, &err) == TRI_OK) coordinator_start_plan(c, order, now_ms);
    return;
  }
  if (c->change.state == TRI_CHANGE_PREPARING || c->change.state == TRI_CHANGE_WAITING)
    if (is_unwilling_planned(c)) coordinator_call_off_change(c);
  if (c->change.state == TRI_CHANGE_NONE && index >= 0) change_without(c, index, now_ms);
  else if (c->change.state == TRI_CHANGE_NONE) coordinator_review(c, now_ms);
  switch (tri_change_next(&c->change, rows_at_stake(c), c->scheduler.n_flights, now_ms)) {
  case TRI_CHANGE_NOTHING: break;
  case TRI_CHANGE_PAUSE: tri_scheduler_pause(&c->scheduler); break;
  case TRI_CHANGE_SWITCH: switch_plan(c, now_ms); break;
  case TRI_CHANGE_STUCK: prefetch_failed(c, tri_change_laggard(&c->change), "nothing has come for too long", now_ms); break;
  }
}

void coordinator_on_prefetched(coordinator *c, int index, uint32_t id, tri_status status, const char *text, int64_t now_ms) {
  if (c->change.state != TRI_CHANGE_PREPARING || id != c->change.id) return;
  if (status == TRI_OK) tri_change_got(&c->change, index, id);
  else prefetch_failed(c, index, text, now_ms);
}

/* --- who leaves, who is drained --- */

void coordinator_on_leave(coordinator *c, int index) {
  const tri_worker *w = worker_at(c, index);
  tri_error err;
  TRI_INFO("worker %s wants to end", w->hello.name);
  coordinator_health_of(c, index)->leaving = true;
  if (w->stage >= 0) return; /* the tick looks for a plan without it */
  if (tri_change_uses(&c->change, index)) coordinator_call_off_change(c);
  c->outgoing = (tri_msg){.kind = TRI_MSG_STOP, .stop = {.epoch = c->pipeline.epoch, .leave = true}};
  if (coordinator_send(c, &w->peer, NULL, 0, &err) != TRI_OK) TRI_DEBUG("stop to %s: %s", w->hello.name, err.text);
}

static void undo_drain(coordinator *c, int index, char text[TRI_MAX_TEXT]) {
  const char *name = worker_at(c, index)->hello.name;
  tri_health_record *r = coordinator_health_of(c, index);
  bool was = r->drained;
  r->drained = false;
  coordinator_review_soon(c);
  /* what is prepared without it is begun anew if another wants it */
  if (was && (c->change.state == TRI_CHANGE_PREPARING || c->change.state == TRI_CHANGE_WAITING)) coordinator_call_off_change(c);
  snprintf(text, TRI_MAX_TEXT, was ? "%s may have a stage again" : "%s was not drained", name);
}

static tri_status drain(coordinator *c, int index, char text[TRI_MAX_TEXT], tri_error *err) {
  int order[TRI_REGISTRY_MAX];
  const tri_worker *w = worker_at(c, index);
  tri_health_record *r = coordinator_health_of(c, index);
  bool before = r->drained;
  r->drained = true;
  tri_error why;
  if (w->stage >= 0 && coordinator_make_plan(c, false, order, &why) != TRI_OK) {
    r->drained = before;
    return tri_status_fail(err, why.status, "without %s: %.400s", w->hello.name, why.text);
  }
  const char *said = w->stage >= 0 ? "a plan without %s is prepared; until then it goes on serving" : "%s has no stage, and will get none";
  snprintf(text, TRI_MAX_TEXT, said, w->hello.name);
  return TRI_OK;
}

void coordinator_on_drain(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  int index = find_by_name(c, m->drain.name);
  char text[TRI_MAX_TEXT];
  tri_error err;
  tri_status status = TRI_OK;
  if (index < 0) status = tri_status_fail(&err, TRI_E_NOT_FOUND, "there is no worker named %s; `trireme status` lists them", m->drain.name);
  else if (m->drain.undo) undo_drain(c, index, text);
  else status = drain(c, index, text, &err);
  if (status != TRI_OK) {
    TRI_WARN("%s tried to drain %s: %s", who->name, m->drain.name, err.text);
    coordinator_refuse(c, in, status, err.text);
    return;
  }
  TRI_INFO("%s %s worker %s: %s", who->name, m->drain.undo ? "takes back" : "drains", m->drain.name, text);
  c->outgoing = (tri_msg){.kind = TRI_MSG_DRAINING};
  memcpy(c->outgoing.draining.text, text, sizeof text);
  if (coordinator_send(c, &in->from, NULL, 0, &err) != TRI_OK) TRI_DEBUG("an answer could not be sent: %s", err.text);
}
