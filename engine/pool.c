/* SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Spinning longer than a barrier of a busy team usually lasts wastes a core that another process may need (a node often
 * runs on a quota), so the spin is short and then the thread sleeps in the kernel. */
enum { SPINS = 2000 };

/* A word that threads wait on. Padded: a spinner must not slow its neighbours' writes. */
typedef struct gate {
  _Alignas(64) _Atomic unsigned value;
  _Atomic unsigned sleepers;
} gate;

struct tri_pool {
  int threads;
  tri_pool_fn *fn;
  void *arg;
  bool quit;
  gate start;             /* generation of the current run */
  gate phase;             /* generation of the barrier */
  _Alignas(64) _Atomic unsigned arrived; /* threads at the barrier */
  pthread_t ids[TRI_POOL_MAX_THREADS];
  struct member { tri_pool *pool; int thread; } members[TRI_POOL_MAX_THREADS];
};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void gate_wait(gate *g, unsigned old) {
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit(&g->value, memory_order_acquire) != old) return;
    relax();
  }
  atomic_fetch_add(&g->sleepers, 1);
  while (atomic_load(&g->value) == old) syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
  atomic_fetch_sub(&g->sleepers, 1);
}

static void gate_open(gate *g) {
  atomic_fetch_add(&g->value, 1);
  if (atomic_load(&g->sleepers)) syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void tri_pool_barrier(tri_pool *p, int thread) {
  (void)thread;
  if (p->threads == 1) return;
  unsigned phase = atomic_load_explicit(&p->phase.value, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)p->threads) {
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    gate_open(&p->phase);
  } else {
    gate_wait(&p->phase, phase);
  }
}

static void *member_main(void *arg) {
  struct member *me = arg;
  tri_pool *p = me->pool;
  for (unsigned seen = 0;;) {
    gate_wait(&p->start, seen);
    seen++; /* runs are never skipped: the caller waits for every member at the closing barrier */
    if (p->quit) return NULL;
    p->fn(p->arg, me->thread, p->threads);
    tri_pool_barrier(p, me->thread);
  }
}

void tri_pool_run(tri_pool *p, tri_pool_fn *fn, void *arg) {
  if (p->threads == 1) {
    fn(arg, 0, 1);
    return;
  }
  p->fn = fn, p->arg = arg;
  gate_open(&p->start);
  fn(arg, 0, p->threads);
  tri_pool_barrier(p, 0);
}

tri_status tri_pool_create(tri_pool **out, int threads, tri_error *err) {
  if (threads < 1 || threads > TRI_POOL_MAX_THREADS)
    return tri_status_fail(err, TRI_E_INVALID, "threads: %d is not between 1 and %d", threads, TRI_POOL_MAX_THREADS);
  tri_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
  if (!p) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the thread pool");
  *p = (tri_pool){.threads = 1};
  for (int i = 1; i < threads; i++) {
    p->members[i] = (struct member){p, i};
    /* the member may start before `threads` is final, but it reads it only after the first gate_open */
    if (pthread_create(&p->ids[i], NULL, member_main, &p->members[i]) != 0) {
      tri_pool_destroy(&p);
      return tri_status_fail(err, TRI_E_NOMEM, "cannot start thread %d of %d", i + 1, threads);
    }
    p->threads = i + 1;
  }
  *out = p;
  return TRI_OK;
}

void tri_pool_destroy(tri_pool **pool) {
  tri_pool *p = *pool;
  if (!p) return;
  p->quit = true;
  gate_open(&p->start);
  for (int i = 1; i < p->threads; i++) pthread_join(p->ids[i], NULL);
  free(p);
  *pool = NULL;
}

int tri_pool_threads(const tri_pool *p) { return p->threads; }

void tri_pool_split(size_t n, int thread, int threads, size_t *first, size_t *last) {
  *first = n * (size_t)thread / (size_t)threads;
  *last = n * ((size_t)thread + 1) / (size_t)threads;
}
