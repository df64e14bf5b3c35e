/* SPDX-License-Identifier: MIT */
#include "worker/measure.h"

#include <stdlib.h>
#include "base/clock.h"

/* Other processes only ever add time, so the least counts; and the more runs, the likelier one of them was left alone. */
enum {
  WARM_UP = 2, LEAST_RUNS = 3, RUNS = 300, BUDGET_MS = 250 /* unless LEAST_RUNS take longer */, POSITIONS = 32,
  HEAD_ROWS = 16384, /* of the vocabulary: enough to be read from memory, not to need all of it */
};

static uint32_t microseconds(int64_t ns) {
  int64_t us = (ns + 500) / 1000;
  return us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Rows of one sequence, at positions that follow each other as in decoding; least times in ns. */
static void time_runs(tri_stage *s, int32_t n, float *hidden, float *logits, size_t d, int64_t *layer_ns, int64_t *head_ns) {
  int64_t until_ms = tri_clock_ms() + BUDGET_MS;
  tri_row rows[TRI_MEASURE_ROWS];
  *layer_ns = *head_ns = INT64_MAX;
  for (int i = -WARM_UP; i < LEAST_RUNS || (i < RUNS && tri_clock_ms() < until_ms); i++) {
    for (size_t j = 0; j < (size_t)n * d; j++) hidden[j] = (float)((int)(j % 17) - 8) * 0.1f;
    for (int32_t r = 0; r < n; r++) rows[r] = (tri_row){.pos = n == 1 ? (i + WARM_UP) % POSITIONS : r};
    int64_t start = tri_clock_ns();
    tri_stage_run(s, rows, n, hidden);
    int64_t middle = tri_clock_ns();
    tri_stage_logits(s, hidden, n, logits);
    int64_t end = tri_clock_ns();
    if (i < 0) continue;
    if (middle - start < *layer_ns) *layer_ns = middle - start;
    if (end - middle < *head_ns) *head_ns = end - middle;
  }
}

static void time_stage(tri_stage *s, const tri_shape *timed, int32_t vocab, float *hidden, tri_measure *out) {
  size_t d = (size_t)timed->d;
  float *logits = hidden + TRI_MEASURE_ROWS * d;
  double whole = (double)vocab / timed->vocab;
  int64_t layer_ns, head_ns;
  time_runs(s, 1, hidden, logits, d, &layer_ns, &head_ns);
  out->layer_us = microseconds(layer_ns), out->head_us = microseconds((int64_t)((double)head_ns * whole));
  time_runs(s, TRI_MEASURE_ROWS, hidden, logits, d, &layer_ns, &head_ns);
  out->layer_rows_us = microseconds(layer_ns), out->head_rows_us = microseconds((int64_t)((double)head_ns * whole));
}

tri_status tri_measure_model(tri_measure *out, const tri_model *m, const tri_kernels *k, tri_pool *pool, const tri_tune *tune,
                             tri_error *err) {
  tri_model *phantom;
  tri_status status = tri_model_open_phantom(&phantom, tri_model_shape(m), tri_model_head(m)->type, HEAD_ROWS, err);
  if (status != TRI_OK) return status;
  const tri_shape *timed = tri_model_shape(phantom);
  tri_stage_spec spec = {.first = 0, .last = 1, .head = true, .slots = 1, .max_rows = TRI_MEASURE_ROWS, .kv_type = TRI_F16, .tune = tune,
                         .context = POSITIONS};
  tri_stage *stage = NULL;
  float *hidden = malloc(TRI_MEASURE_ROWS * (size_t)(timed->d + timed->vocab) * sizeof *hidden);
  status = hidden ? tri_stage_open(&stage, phantom, k, pool, &spec, NULL, NULL, err)
                  : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the measurement");
  if (status == TRI_OK) time_stage(stage, timed, tri_model_shape(m)->vocab, hidden, out);
  free(hidden);
  tri_stage_close(&stage);
  tri_model_close(&phantom);
  return status;
}
