/* SPDX-License-Identifier: MIT */
#include "engine/single.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "base/quota.h"

int tri_single_cores(void) {
  cpu_set_t set;
  int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  double quota = tri_quota_cores();
  if (quota > 0 && quota < cores) cores = (int)quota + (quota > (int)quota);
  return cores < 1 ? 1 : cores > TRI_POOL_MAX_THREADS ? TRI_POOL_MAX_THREADS : cores;
}

tri_status tri_single_open(tri_single *out, const char *path, const tri_single_options *o, tri_error *err) {
  tri_single s = {0};
  char why[256];
  if (!(s.kernels = tri_kernels_pick(why, sizeof why))) return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s", why);
  tri_status status = tri_model_open(&s.model, path, err);
  if (status == TRI_OK) status = tri_pool_create(&s.pool, o->threads ? o->threads : tri_single_cores(), err);
  if (status == TRI_OK) status = tri_tune_choose(&s.tune, tri_model_shape(s.model), s.kernels, s.pool, err);
  if (status == TRI_OK) {
    const tri_shape *shape = tri_model_shape(s.model);
    tri_stage_spec spec = {.first = 0, .last = shape->n_layers, .embed = true, .head = true, .slots = o->slots ? o->slots : 1,
                           .context = o->context && o->context < shape->context ? o->context : shape->context,
                           .max_rows = o->max_rows ? o->max_rows : 256, .kv_type = o->kv_type, .tune = &s.tune};
    status = tri_stage_open(&s.stage, s.model, s.kernels, s.pool, &spec, o->progress, o->progress_arg, err);
    s.hidden = malloc((size_t)spec.max_rows * (size_t)shape->d * sizeof *s.hidden);
    s.rows = malloc((size_t)spec.max_rows * sizeof *s.rows);
    if (status == TRI_OK && (!s.hidden || !s.rows)) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  }
  if (status != TRI_OK) return tri_single_close(&s), status;
  *out = s;
  return TRI_OK;
}

void tri_single_close(tri_single *s) {
  free(s->hidden), free(s->rows);
  tri_stage_close(&s->stage);
  tri_pool_destroy(&s->pool);
  tri_model_close(&s->model);
  *s = (tri_single){0};
}

static tri_status run_chunk(tri_single *s, int32_t slot, int32_t pos, const int32_t *tokens, size_t n, tri_error *err) {
  if (n < 1 || n > (size_t)tri_stage_get_spec(s->stage)->max_rows)
    return tri_status_fail(err, TRI_E_INVALID, "%zu rows are not between 1 and %d", n, tri_stage_get_spec(s->stage)->max_rows);
  for (size_t i = 0; i < n; i++) s->rows[i] = (tri_row){slot, pos + (int32_t)i, tokens[i]};
  tri_status status = tri_stage_check_rows(s->stage, s->rows, (int32_t)n, err);
  if (status == TRI_OK) tri_stage_run(s->stage, s->rows, (int32_t)n, s->hidden);
  return status;
}

tri_status tri_single_feed(tri_single *s, int32_t slot, int32_t pos, const int32_t *tokens, size_t n, float *logits, tri_error *err) {
  size_t chunk = (size_t)tri_stage_get_spec(s->stage)->max_rows, d = (size_t)tri_model_shape(s->model)->d;
  for (size_t i = 0; i < n; i += chunk) {
    size_t count = n - i < chunk ? n - i : chunk;
    tri_status status = run_chunk(s, slot, pos + (int32_t)i, tokens + i, count, err);
    if (status != TRI_OK) return status;
    if (i + count == n && logits) tri_stage_logits(s->stage, s->hidden + (count - 1) * d, 1, logits);
  }
  return TRI_OK;
}

tri_status tri_single_feed_all(tri_single *s, int32_t slot, int32_t pos, const int32_t *tokens, size_t n, float *logits, tri_error *err) {
  tri_status status = run_chunk(s, slot, pos, tokens, n, err);
  if (status == TRI_OK) tri_stage_logits(s->stage, s->hidden, (int32_t)n, logits);
  return status;
}
