/* SPDX-License-Identifier: MIT */
/* A nodes file: what is taken reads the same when it is written down, and whatever it wishes, a plan is made or refused. */
#include <stdlib.h>
#include <string.h>
#include "coordinator/plan_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(const tri_plan_file *f) {
  enum { MOST = 8 }; /* workers, so that a run is short */
  static tri_plan out;
  tri_plan_worker workers[MOST];
  tri_plan_model m = {.layers = 12, .layer_bytes = 1000, .kv_bytes = 10, .embedding_bytes = 500, .head_bytes = 500, .row_bytes = 500};
  uint32_t n = f->count < MOST ? f->count : MOST;
  for (uint32_t i = 0; i < n; i++) {
    workers[i] = (tri_plan_worker){.name = f->node[i].name, .layer_ns = 1000, .head_ns = 1000, .memory_bytes = 8000};
    tri_plan_file_overlay(&f->node[i], &workers[i]);
  }
  for (int goal = TRI_PLAN_THROUGHPUT; goal <= TRI_PLAN_LATENCY; goal++) {
    tri_plan_options options = {.objective = (tri_plan_objective)goal};
    if (tri_plan_make(&out, &m, workers, n, &options, NULL) != TRI_OK) continue;
    char why[TRI_PLAN_REASON];
    for (uint32_t i = 0, next = 0; i < out.stages; next = out.stage[i++].last)
      if (out.stage[i].first != next || out.stage[i].bytes > workers[out.stage[i].worker].memory_bytes) abort();
    for (uint32_t i = 0; i < n; i++) tri_plan_explain(&out, &m, workers, n, &options, i, why);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tri_plan_file f, again;
  if (tri_plan_file_parse(&f, (const char *)data, size, "input", NULL) != TRI_OK) return 0;
  tri_buf text = {0}, second = {0};
  tri_plan_file_write(&f, &text);
  if (tri_plan_file_parse(&again, (const char *)text.data, text.len, "written", NULL) != TRI_OK || again.count != f.count) abort();
  tri_plan_file_write(&again, &second);
  if (second.len != text.len || (text.len && memcmp(second.data, text.data, text.len) != 0)) abort();
  tri_buf_free(&text);
  tri_buf_free(&second);
  plan(&f);
  return 0;
}
