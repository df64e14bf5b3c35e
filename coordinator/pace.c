/* SPDX-License-Identifier: MIT */
#include "coordinator/pace.h"

#include "base/buf.h"
#include "kernels/kernels.h"

#define TRI_PACE_SLOWER 2.0    /* a stream's tokens while prompts are computed, without a target */
#define TRI_PACE_BETTER 0.9999   /* another step has to gain something */
#define TRI_PACE_WINDOW_US 2e6 /* of computing, between two corrections */
#define TRI_PACE_TRUST 0.5     /* weight of a new correction */
#define TRI_PACE_MOST 50.0     /* scales are within 1/50 and 50: a machine that stood still says nothing */

enum { LEAST_CHUNK = 4 /* a prompt gets on, whatever the target */ };

double tri_pace_stage_us(const tri_pace *p, uint32_t i, uint32_t rows, uint32_t samples) {
  const tri_pace_stage *s = &p->stage[i];
  double ns = (double)tri_plan_stage_ns(&s->worker, s->layers, false, rows);
  if (s->head && samples) ns += (double)tri_plan_stage_ns(&s->worker, 0, true, samples);
  return ns / 1e3 * s->scale;
}

/* Of all stages, for one step. */
typedef struct pass {
  double slowest_us, all_us; /* hops included */
} pass;

static pass pass_of(const tri_pace *p, uint32_t rows, uint32_t samples) {
  pass out = {0, (p->stages + 1) * p->hop_us};
  for (uint32_t i = 0; i < p->stages; i++) {
    double us = tri_pace_stage_us(p, i, rows, samples);
    if (us > out.slowest_us) out.slowest_us = us;
    out.all_us += us;
  }
  return out;
}

static uint32_t per_step(uint32_t n, uint32_t steps) { return (n + steps - 1) / steps; }

static uint32_t most_steps(const tri_pace *p) {
  uint32_t most = 2 * p->stages + 2;
  return most < TRI_MAX_FLIGHTS ? most : TRI_MAX_FLIGHTS;
}

/* Steps that keep the slowest stage busy. */
static uint32_t full_depth(const tri_pace *p, pass one) {
  double n = one.slowest_us > 0 ? one.all_us / one.slowest_us : p->stages;
  uint32_t depth = (uint32_t)(n + 1e-6) + 1; /* rounded up, or one that waits in front of it */
  return depth < most_steps(p) ? depth : most_steps(p);
}

static double cycle_us(const tri_pace *p, uint32_t depth, uint32_t streams, uint32_t chunk) {
  uint32_t share = per_step(streams, depth);
  pass one = pass_of(p, share + chunk, share);
  double all = depth * one.slowest_us;
  return all > one.all_us ? all : one.all_us;
}

static uint32_t best_depth(const tri_pace *p, uint32_t streams, double *cycle) {
  uint32_t most = streams < most_steps(p) ? streams : most_steps(p), best = per_step(streams, p->max_rows);
  if (most < best) most = best;
  *cycle = cycle_us(p, best, streams, 0);
  for (uint32_t depth = best + 1; depth <= most; depth++) {
    double us = cycle_us(p, depth, streams, 0);
    if (us < *cycle * TRI_PACE_BETTER) *cycle = us, best = depth;
  }
  return best;
}

/* The next number of rows that is worth trying: kernels take whole panels, or quarters of one, best. */
static uint32_t next_rows(uint32_t rows) {
  uint32_t step = rows >= TRI_PANEL_ROWS ? TRI_PANEL_ROWS : TRI_PANEL_ROWS / 3;
  return (rows / step + 1) * step;
}

/* Prompts alone: the chunk with which the last row is through soonest. Small ones fill the pipeline sooner, large ones cost less. */
static tri_pace_choice choose_chunk(const tri_pace *p, uint32_t waiting) {
  tri_pace_choice out = {0};
  uint32_t most = waiting < p->max_rows ? waiting : p->max_rows;
  double best = 0;
  for (uint32_t rows = next_rows(0); rows <= most || !out.chunk || (most == waiting && rows < most + TRI_PANEL_ROWS); rows = next_rows(rows)) {
    uint32_t chunk = rows < most ? rows : most;
    pass one = pass_of(p, chunk, 0);
    double us = one.all_us + ((double)waiting / chunk - 1) * one.slowest_us;
    if (!out.chunk || us <= best) best = us, out = (tri_pace_choice){full_depth(p, one), 0, chunk};
  }
  return out;
}

/* The largest chunk beside streams that keep their pace. */
static tri_pace_choice choose_both(const tri_pace *p, uint32_t streams) {
  double alone;
  uint32_t depth = best_depth(p, streams, &alone);
  double target = p->target_us > 0 ? p->target_us : alone * TRI_PACE_SLOWER;
  tri_pace_choice out = {0};
  for (uint32_t chunk = LEAST_CHUNK; !out.chunk || chunk <= p->max_rows;) {
    uint32_t full = full_depth(p, pass_of(p, per_step(streams, depth) + chunk, per_step(streams, depth)));
    uint32_t steps = full > depth ? full : depth, share = per_step(streams, steps);
    uint32_t room = p->max_rows > share ? p->max_rows - share : 0;
    if (out.chunk && cycle_us(p, steps, streams, chunk) > target) break;
    out = (tri_pace_choice){steps, share, chunk < room ? chunk : room};
    if (chunk >= room) break;
    chunk = next_rows(share + chunk) - share;
  }
  return out;
}

tri_pace_choice tri_pace_choose(const tri_pace *p, uint32_t streams, uint32_t waiting) {
  if (!streams) return choose_chunk(p, waiting);
  if (waiting) return choose_both(p, streams);
  double cycle;
  uint32_t depth = best_depth(p, streams, &cycle);
  return (tri_pace_choice){depth, per_step(streams, depth), 0};
}

void tri_pace_landed(tri_pace *p, uint32_t rows, uint32_t samples) {
  for (uint32_t i = 0; i < p->stages; i++) p->stage[i].expected_us += tri_pace_stage_us(p, i, rows, samples) / p->stage[i].scale;
}

void tri_pace_correct(tri_pace *p, uint32_t i, uint64_t busy_us) {
  tri_pace_stage *s = &p->stage[i];
  bool begins = !s->busy_us || busy_us < s->busy_us;
  if (!begins && s->expected_us * s->scale < TRI_PACE_WINDOW_US) return;
  if (!begins) {
    double ratio = (double)(busy_us - s->busy_us) / s->expected_us;
    if (ratio < 1 / TRI_PACE_MOST) ratio = 1 / TRI_PACE_MOST;
    if (ratio > TRI_PACE_MOST) ratio = TRI_PACE_MOST;
    s->scale += TRI_PACE_TRUST * (ratio - s->scale);
  }
  s->expected_us = 0, s->busy_us = busy_us;
}
