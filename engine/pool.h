/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_POOL_H
#define TRI_ENGINE_POOL_H
#include <stddef.h>
#include "base/status.h"

/* A fixed team of threads that run one function together (the caller is thread 0) and meet at barriers. Barriers spin
 * as long as that has lately paid, then sleep; idle threads sleep. One caller at a time. */

typedef struct tri_pool tri_pool;
typedef void tri_pool_fn(void *arg, int thread, int threads);

enum { TRI_POOL_MAX_THREADS = 64 };

TRI_MUST_CHECK tri_status tri_pool_create(tri_pool **out, int threads, tri_error *err);
void tri_pool_destroy(tri_pool **p);
int tri_pool_threads(const tri_pool *p);
/* Run fn on every thread; returns when all have returned. */
void tri_pool_run(tri_pool *p, tri_pool_fn *fn, void *arg);
/* Inside fn: wait until every thread is here. */
void tri_pool_barrier(tri_pool *p, int thread);
/* This thread's part [*first, *last) of n items, contiguous, sizes differing by at most one. */
void tri_pool_split(size_t n, int thread, int threads, size_t *first, size_t *last);

#endif
