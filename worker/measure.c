/* SPDX-License-Identifier: MIT */
#include "worker/measure.h"

#include <stdlib.h>
#include "base/clock.h"
#include "base/file.h"

/* Other processes only ever add time, so the least counts; and the more runs, the likelier one of them was left alone. */
enum { WARM_UP = 2, LEAST_RUNS = 3, RUNS = 300, BUDGET_MS = 250 /* unless LEAST_RUNS take longer */, POSITIONS = 16 };

static uint32_t microseconds(int64_t ns) {
  int64_t us = (ns + 500) / 1000;
  return us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* One row, at positions that follow each other as in decoding. */
static void time_runs(tri_stage *s, float *hidden, float *logits, size_t d, tri_measure *out) {
  int64_t layer_ns = INT64_MAX, head_ns = INT64_MAX, until_ms = tri_clock_ms() + BUDGET_MS;
  int32_t context = tri_stage_get_spec(s)->context;
  for (int i = -WARM_UP; i < LEAST_RUNS || (i < RUNS && tri_clock_ms() < until_ms); i++) {
    for (size_t j = 0; j < d; j++) hidden[j] = (float)((int)(j % 17) - 8) * 0.1f;
    tri_row row = {.slot = 0, .pos = (i + WARM_UP) % context, .token = 0};
    int64_t start = tri_clock_ns();
    tri_stage_run(s, &row, 1, hidden);
    int64_t middle = tri_clock_ns();
    tri_stage_logits(s, hidden, 1, logits);
    int64_t end = tri_clock_ns();
    if (i < 0) continue;
    if (middle - start < layer_ns) layer_ns = middle - start;
    if (end - middle < head_ns) head_ns = end - middle;
  }
  out->layer_us = microseconds(layer_ns);
  out->head_us = microseconds(head_ns);
}

tri_status tri_measure_model(tri_measure *out, const tri_model *m, const tri_kernels *k, tri_pool *pool, const tri_tune *tune,
                             tri_error *err) {
  const tri_shape *shape = tri_model_shape(m);
  size_t d = (size_t)shape->d, vocab = (size_t)shape->vocab;
  tri_stage_spec spec = {.first = 0, .last = 1, .head = true, .slots = 1, .max_rows = 1, .kv_type = TRI_F16, .tune = tune,
                         .context = shape->context < POSITIONS ? shape->context : POSITIONS};
  tri_stage *stage;
  tri_status status = tri_stage_open(&stage, m, k, pool, &spec, NULL, NULL, err);
  if (status != TRI_OK) return status;
  float *hidden = malloc((d + vocab) * sizeof *hidden);
  if (hidden) time_runs(stage, hidden, hidden + d, d, out);
  else status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for the measurement");
  free(hidden);
  tri_stage_close(&stage);
  /* a head of a float type was read in place, and its pages would count as ours although another stage may hold it */
  tri_file_map_drop(tri_model_head(m)->data, tri_model_head(m)->bytes);
  return status;
}
