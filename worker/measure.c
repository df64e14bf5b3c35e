/* SPDX-License-Identifier: MIT */
#include "worker/measure.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/quota.h"

/* Other processes only ever add time. One row's runs are short, so most are left alone on a busy machine too, and the median counts: the
 * least would be of one some of whose weights were in a cache. Many rows' are long, and bound by computing: there the least counts. */
enum {
  LEAST_RUNS = 3, RUNS = 300, BUDGET_MS = 250 /* unless LEAST_RUNS take longer */, POSITIONS = 32,
  WEIGHTS = 64 << 20, WEIGHTS_MOST = 256 << 20, /* bytes of layers, and of the head */
  SLICES = 256, SAMPLES = 4096,
};

/* What is timed: stages with a layer and a slice of the head each, one after the other. */
typedef struct timing {
  tri_model *models[SLICES];
  tri_stage *stages[SLICES];
  int32_t n;
  const tri_shape *shape; /* with a slice of the vocabulary */
  float *hidden, *logits; /* [TRI_MEASURE_ROWS, d], [TRI_MEASURE_ROWS, vocab] */
  int64_t layer_ns[SAMPLES], head_ns[SAMPLES];
} timing;

static uint32_t microseconds(int64_t ns) {
  int64_t us = (ns + 500) / 1000;
  return us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t typical(int64_t *ns, int n, bool many_rows) {
  qsort(ns, (size_t)n, sizeof *ns, by_time);
  return ns[many_rows ? 0 : n / 2];
}

typedef struct moment {
  int64_t ns, cpu_ns; /* CPU time of all threads; 0 without a quota */
} moment;

static moment now(double quota) {
  struct timespec t = {0};
  if (quota > 0) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (moment){tri_clock_ns(), (int64_t)t.tv_sec * 1000000000 + t.tv_nsec};
}

/* Under a quota many short runs go by without meeting its end, but in the long run their CPU time takes what the quota makes of it. */
static int64_t took(moment from, moment to, double quota) {
  int64_t ns = to.ns - from.ns, long_ns = quota > 0 ? (int64_t)((double)(to.cpu_ns - from.cpu_ns) / quota) : 0;
  return long_ns > ns ? long_ns : ns;
}

/* Rows of one sequence, at positions that follow each other as in decoding; times in us. The first round warms up. */
static void time_runs(timing *t, int32_t n, double slices, uint32_t *layer_us, uint32_t *head_us) {
  int64_t until_ms = tri_clock_ms() + BUDGET_MS;
  tri_row rows[TRI_MEASURE_ROWS];
  int samples = 0;
  double quota = tri_quota_cores();
  for (int i = 0; i <= LEAST_RUNS || (i < RUNS && tri_clock_ms() < until_ms); i++) {
    if (i == 1) samples = 0;
    for (size_t j = 0; j < (size_t)n * (size_t)t->shape->d; j++) t->hidden[j] = (float)((int)(j % 17) - 8) * 0.1f;
    for (int32_t r = 0; r < n; r++) rows[r] = (tri_row){.pos = n == 1 ? i % POSITIONS : r};
    for (int32_t s = 0; s < t->n && samples < SAMPLES; s++) {
      moment start = now(quota);
      tri_stage_run(t->stages[s], rows, n, t->hidden);
      moment middle = now(quota);
      tri_stage_logits(t->stages[s], t->hidden, n, t->logits);
      t->layer_ns[samples] = took(start, middle, quota), t->head_ns[samples++] = took(middle, now(quota), quota);
    }
  }
  *layer_us = microseconds(typical(t->layer_ns, samples, n > 1));
  *head_us = microseconds((int64_t)((double)typical(t->head_ns, samples, n > 1) * slices));
}

/* Twice what the last cache holds, so that going around evicts what comes next; most ARM systems don't tell. */
static size_t weights_to_time(uint64_t memory_bytes) {
  long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  size_t bytes = cache > WEIGHTS / 2 ? 2 * (size_t)cache : WEIGHTS;
  if (bytes > WEIGHTS_MOST) bytes = WEIGHTS_MOST;
  return bytes < memory_bytes / 4 ? bytes : (size_t)(memory_bytes / 4);
}

static int32_t times(size_t bytes, size_t each, int32_t most) {
  size_t n = (bytes + each - 1) / each;
  return n < 1 ? 1 : n < (size_t)most ? (int32_t)n : most;
}

static tri_status open_slices(timing *t, const tri_model *m, size_t bytes, const tri_kernels *k, tri_pool *pool, const tri_tune *tune,
                              tri_error *err) {
  const tri_shape *shape = tri_model_shape(m);
  size_t layer = 0, rows, cols;
  for (int i = 0; i < TRI_LINEARS; i++) tri_shape_linear(shape, (tri_linear)i, &rows, &cols), layer += rows * cols / 4;
  int32_t n = times(bytes, layer, shape->n_layers < SLICES ? shape->n_layers : SLICES);
  int32_t vocab = times(bytes, (size_t)shape->d, shape->vocab), slice = times((size_t)vocab, (size_t)n, vocab);
  const tri_stage_spec spec = {.first = 0, .last = 1, .head = true, .slots = 1, .max_rows = TRI_MEASURE_ROWS, .kv_type = TRI_F16,
                               .tune = tune, .context = POSITIONS};
  tri_status status = TRI_OK;
  for (; t->n < n && status == TRI_OK; t->n++) {
    status = tri_model_open_phantom(&t->models[t->n], shape, tri_model_head(m)->type, slice, err);
    if (status == TRI_OK) status = tri_stage_open(&t->stages[t->n], t->models[t->n], k, pool, &spec, NULL, NULL, err);
  }
  if (status != TRI_OK) return status;
  t->shape = tri_model_shape(t->models[0]);
  t->hidden = malloc(TRI_MEASURE_ROWS * (size_t)(t->shape->d + t->shape->vocab) * sizeof *t->hidden);
  if (!t->hidden) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the measurement");
  t->logits = t->hidden + TRI_MEASURE_ROWS * (size_t)t->shape->d;
  return TRI_OK;
}

tri_status tri_measure_model(tri_measure *out, const tri_model *m, const tri_kernels *k, tri_pool *pool, const tri_tune *tune,
                             uint64_t memory_bytes, tri_error *err) {
  timing *t = calloc(1, sizeof *t);
  if (!t) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the measurement");
  tri_status status = open_slices(t, m, weights_to_time(memory_bytes), k, pool, tune, err);
  if (status == TRI_OK) {
    double slices = (double)tri_model_shape(m)->vocab / t->shape->vocab;
    time_runs(t, 1, slices, &out->layer_us, &out->head_us);
    time_runs(t, TRI_MEASURE_ROWS, slices, &out->layer_rows_us, &out->head_rows_us);
  }
  free(t->hidden);
  for (int32_t i = 0; i < t->n; i++) {
    if (t->stages[i]) tri_stage_close(&t->stages[i]);
    if (t->models[i]) tri_model_close(&t->models[i]);
  }
  free(t);
  return status;
}
