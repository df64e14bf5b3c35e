/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"

#include <string.h>
#include "base/clock.h"

typedef uint64_t v8 __attribute__((vector_size(64)));
typedef struct read_job {
  const v8 *data;
  uint64_t sums[TRI_POOL_MAX_THREADS]; /* kept, so that the reads are not optimised away */
} read_job;

static void read_fn(void *arg, int thread, int threads) {
  read_job *job = arg;
  size_t first, last;
  tri_pool_split(TRI_BENCH_READ_BYTES / sizeof(v8) / 8, thread, threads, &first, &last);
  v8 a = {0}, b = {0}, c = {0}, d = {0};
  for (const v8 *p = job->data + first * 8, *end = job->data + last * 8; p < end; p += 8) {
    a ^= p[0], b ^= p[1], c ^= p[2], d ^= p[3];
    a ^= p[4], b ^= p[5], c ^= p[6], d ^= p[7];
  }
  a ^= b ^ c ^ d;
  job->sums[thread] = a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

double tri_bench_read(tri_pool *pool, const tri_mem *buffer) {
  read_job job = {.data = buffer->data};
  int64_t start = tri_clock_ns();
  tri_pool_run(pool, read_fn, &job);
  return (double)TRI_BENCH_READ_BYTES / (double)(tri_clock_ns() - start);
}

tri_status tri_bench_read_buffer(tri_mem *out, tri_error *err) {
  *out = tri_mem_get(TRI_BENCH_READ_BYTES);
  if (!out->data) return tri_status_fail(err, TRI_E_NOMEM, "no memory for the bandwidth test (%s)", TRI_UNITS(TRI_BENCH_READ_BYTES));
  memset(out->data, 1, TRI_BENCH_READ_BYTES); /* untouched pages would all be the same zero page */
  return TRI_OK;
}

enum { PEAK_K = 1024, PEAK_ROWS = 16, PEAK_RUNS = 4000 };
typedef struct peak_job {
  const tri_kernels *k;
  const tri_mem *operands; /* for each thread: one row block, one panel, the result */
  size_t weights, panel, each;
} peak_job;

static void peak_fn(void *arg, int thread, int threads) {
  (void)threads;
  const peak_job *job = arg;
  uint8_t *own = (uint8_t *)job->operands->data + (size_t)thread * job->each;
  int32_t *y = (int32_t *)(void *)(own + job->weights + job->panel);
  for (int i = 0; i < PEAK_RUNS; i++)
    job->k->gemm[TRI_FORM_I2S](own, PEAK_K, (int8_t *)own + job->weights, PEAK_ROWS, 0, 1, y, TRI_BLOCK_ROWS);
}

double tri_bench_arithmetic(tri_pool *pool, const tri_kernels *k) {
  peak_job job = {.k = k, .weights = tri_i2s_bytes(TRI_BLOCK_ROWS, PEAK_K), .panel = PEAK_ROWS * PEAK_K};
  job.each = tri_round_up(job.weights + job.panel + PEAK_ROWS * TRI_BLOCK_ROWS * sizeof(int32_t), 4096);
  int threads = tri_pool_threads(pool);
  tri_mem operands = tri_mem_get((size_t)threads * job.each); /* zeros are codes too */
  if (!operands.data) return 0;
  job.operands = &operands;
  double best = 0, operations = 2.0 * TRI_BLOCK_ROWS * PEAK_K * PEAK_ROWS * PEAK_RUNS * threads;
  for (int i = 0; i < 5; i++) {
    int64_t start = tri_clock_ns();
    tri_pool_run(pool, peak_fn, &job);
    double rate = operations / (double)(tri_clock_ns() - start);
    if (rate > best) best = rate;
  }
  tri_mem_free(&operands);
  return best;
}
