/* SPDX-License-Identifier: MIT */
/* The glue's memory of the plan that served last, so that workers which start again need not change places: what they measure wobbles,
 * and a layer that moves has to be fetched. It is a nodes file (plan_file.h) in the key folder. */
#include "coordinator/coordinator_impl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/log.h"
#include "coordinator/plan_file.h"

static void file_path(const coordinator *c, char out[PATH_MAX]) { snprintf(out, PATH_MAX, "%s/plan", c->config->key_dir); }

void coordinator_remember_plan(const coordinator *c) {
  char path[PATH_MAX];
  tri_error err = {0};
  tri_buf text = {0};
  tri_file_writer *w = NULL;
  tri_plan_file *f = calloc(1, sizeof *f);
  if (!f) return;
  for (uint32_t i = 0; i < c->pipeline.stages; i++) {
    tri_plan_node *node = &f->node[f->count++];
    snprintf(node->name, sizeof node->name, "%s", c->registry.workers[c->pipeline.worker[i]].hello.name);
    node->worker.first = c->pipeline.part[i].first, node->worker.last = c->pipeline.part[i].last;
  }
  tri_plan_file_write(f, &text);
  file_path(c, path);
  tri_status status = tri_buf_ok(&text) ? tri_file_writer_open(&w, path, 0644, &err) : TRI_E_NOMEM;
  if (status == TRI_OK) status = tri_file_writer_write(w, text.data, text.len, &err);
  if (status == TRI_OK) status = tri_file_writer_commit(&w, &err);
  if (status != TRI_OK) TRI_WARN("the plan is not remembered for the next start: %s", err.text);
  tri_file_writer_abort(&w);
  tri_buf_free(&text);
  free(f);
}

/* The workers with the layers that they had; who had none gets none. False: one of those is not there, or is meant for something else. */
static bool recall(const tri_plan_file *f, const tri_plan_worker *workers, uint32_t n, tri_plan_worker *out) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < n; i++) {
    const tri_plan_node *had = tri_plan_file_find(f, workers[i].name);
    out[i] = workers[i];
    if (!had) {
      if (workers[i].must || workers[i].last) return false;
      out[i].excluded = true;
      continue;
    }
    if (workers[i].excluded || (workers[i].last && (workers[i].first != had->worker.first || workers[i].last != had->worker.last))) return false;
    out[i].first = had->worker.first, out[i].last = had->worker.last;
    found++;
  }
  return found == f->count;
}

void coordinator_keep_plan(coordinator *c, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n, const tri_plan_options *options) {
  char path[PATH_MAX];
  tri_error none;
  tri_plan_file *f = malloc(sizeof *f);
  tri_plan_worker *pinned = malloc(n * sizeof *pinned);
  tri_plan *last = malloc(sizeof *last);
  file_path(c, path);
  bool there = f && pinned && last && tri_plan_file_read(f, path, &none) == TRI_OK && recall(f, workers, n, pinned) &&
               tri_plan_make(last, m, pinned, n, options, &none) == TRI_OK;
  if (there) {
    bool latency = options->objective == TRI_PLAN_LATENCY;
    double best_ns = (double)(latency ? c->plan.token_ns : c->plan.slowest_ns), last_ns = (double)(latency ? last->token_ns : last->slowest_ns);
    /* as while it serves: coordinator_review */
    if (c->config->replan_gain == 0 || last_ns < best_ns * (1 + c->config->replan_gain)) c->plan = *last;
    else TRI_INFO("the plan of before is left: it would be slower by %.0f %%", 100 * (last_ns / best_ns - 1));
  }
  free(f), free(pinned), free(last);
}
