/* SPDX-License-Identifier: MIT */
#include "coordinator/trace.h"

#include <stdlib.h>
#include <string.h>

enum { RING = TRI_TRACE_STEPS + TRI_MAX_FLIGHTS /* those on their way overwrite none of those that are kept */ };

/* --- who asks --- */

static bool is_same(const tri_peer *a, const tri_peer *b) {
  return a->route_len == b->route_len && memcmp(a->route, b->route, a->route_len) == 0;
}

static tri_trace_asker *find(tri_trace *t, const tri_peer *who, int64_t now_us) {
  for (int i = 0; i < TRI_TRACE_ASKERS; i++)
    if (t->askers[i].until_us > now_us && is_same(&t->askers[i].peer, who)) return &t->askers[i];
  return NULL;
}

static tri_trace_asker *free_place(tri_trace *t, int64_t now_us) {
  for (int i = 0; i < TRI_TRACE_ASKERS; i++)
    if (t->askers[i].until_us <= now_us) return &t->askers[i];
  return NULL;
}

static bool is_wanted(const tri_trace *t, int64_t now_us) {
  for (int i = 0; i < TRI_TRACE_ASKERS; i++)
    if (t->askers[i].until_us > now_us) return true;
  return false;
}

void tri_trace_free(tri_trace *t) {
  free(t->steps);
  *t = (tri_trace){0};
}

static tri_status begin(tri_trace *t, const tri_peer *who, int64_t now_us, tri_error *err) {
  tri_trace_asker *place = find(t, who, now_us);
  if (!place) place = free_place(t, now_us);
  if (!place) return tri_status_fail(err, TRI_E_BUSY, "%d clients trace already, which is as many as there may be", TRI_TRACE_ASKERS);
  if (!t->steps && !(t->steps = calloc(RING, sizeof *t->steps)))
    return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a trace");
  *place = (tri_trace_asker){*who, now_us + TRI_TRACE_LEASE_US};
  return TRI_OK;
}

tri_status tri_trace_ask(tri_trace *t, const tri_peer *who, tri_trace_action action, int64_t now_us, tri_error *err) {
  if (action == TRI_TRACE_ON) return begin(t, who, now_us, err);
  tri_trace_asker *asker = find(t, who, now_us);
  if (action == TRI_TRACE_GET && !asker)
    return tri_status_fail(err, TRI_E_INVALID, "no trace was begun, or nothing was asked of it for %d s", TRI_TRACE_LEASE_US / 1000000);
  if (asker) asker->until_us = action == TRI_TRACE_GET ? now_us + TRI_TRACE_LEASE_US : 0;
  if (!is_wanted(t, now_us)) tri_trace_free(t);
  return TRI_OK;
}

/* --- steps --- */

static tri_trace_step *at(const tri_trace *t, uint64_t i) { return &t->steps[i % RING]; }

bool tri_trace_sent(tri_trace *t, const tri_scheduler *s, int64_t now_us) {
  if (!t->steps) return false;
  if (!is_wanted(t, now_us)) return tri_trace_free(t), false;
  const tri_flight *f = tri_scheduler_newest(s);
  tri_trace_step *step = at(t, t->sent++);
  step->id = f->step, step->epoch = s->epoch, step->sent_us = now_us, step->n_runs = f->n_runs;
  for (uint32_t i = 0; i < f->n_runs; i++) {
    const tri_job *job = tri_jobs_find(s->jobs, f->runs[i].job);
    bool drawn = job && f->runs[i].rows == 1 && f->runs[i].pos >= job->prompt;
    step->runs[i] = (tri_trace_run){f->runs[i].job, f->runs[i].rows, !drawn};
  }
  return true;
}

void tri_trace_landed(tri_trace *t, uint64_t id, const tri_times *times, uint32_t stages, int64_t now_us) {
  if (t->landed == t->sent || at(t, t->landed)->id != id) return; /* it was on its way when tracing began */
  tri_trace_step *step = at(t, t->landed++);
  uint64_t all_us = 0;
  for (uint32_t i = 0; i < times->n; i++) all_us += (uint64_t)times->wait_us[i] + times->compute_us[i];
  step->took_us = now_us - step->sent_us;
  step->n_stages = times->n == stages && all_us <= (uint64_t)step->took_us ? stages : 0;
  if (!step->n_stages) {
    t->wrong++;
    return;
  }
  memcpy(step->wait_us, times->wait_us, stages * sizeof *step->wait_us);
  memcpy(step->compute_us, times->compute_us, stages * sizeof *step->compute_us);
}

void tri_trace_lost(tri_trace *t) { t->sent = t->landed; }

const tri_trace_step *tri_trace_next(const tri_trace *t, uint64_t after) {
  uint64_t low = t->landed > TRI_TRACE_STEPS ? t->landed - TRI_TRACE_STEPS : 0, high = t->landed;
  while (low < high) { /* ids ascend */
    uint64_t middle = low + (high - low) / 2;
    if (at(t, middle)->id > after) high = middle;
    else low = middle + 1;
  }
  while (low < t->landed && !at(t, low)->n_stages) low++;
  return low < t->landed ? at(t, low) : NULL;
}
