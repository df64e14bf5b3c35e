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

/* Waiting threads spin for a while and then sleep in the kernel. Spinning in vain wastes a core that another process, or a
 * thread of this very team, may need (a node often runs on a quota): so each thread spins as long as it has lately paid. A
 * wait that ends in sleep halves its spins; one that ends in time raises them to twice what it took. And as short spins alone
 * would never find out that longer ones pay again, one wait in PROBE_EVERY spins to the full. */
enum { LEAST_SPINS = 20, MOST_SPINS = 2000, PROBE_EVERY = 16 };

/* How long a thread spins at one gate. */
typedef struct patience {
  int spins;
  unsigned waits;
} patience;

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
  struct member {
    _Alignas(64) tri_pool *pool;
    int thread;
    patience start, phase;
  } members[TRI_POOL_MAX_THREADS];
};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void gate_wait(gate *g, unsigned old, patience *p) {
  int spins = ++p->waits % PROBE_EVERY ? p->spins : MOST_SPINS;
  for (int i = 0; i < spins; i++) {
    if (atomic_load_explicit(&g->value, memory_order_acquire) != old) {
      int want = 2 * i < MOST_SPINS ? 2 * i : MOST_SPINS;
      if (want > p->spins) p->spins = want;
      return;
    }
    relax();
  }
  p->spins = p->spins / 2 > LEAST_SPINS ? p->spins / 2 : LEAST_SPINS;
  atomic_fetch_add(&g->sleepers, 1);
  while (atomic_load(&g->value) == old) syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
  atomic_fetch_sub(&g->sleepers, 1);
}

static void gate_open(gate *g) {
  atomic_fetch_add(&g->value, 1);
  if (atomic_load(&g->sleepers)) syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void tri_pool_barrier(tri_pool *p, int thread) {
  if (p->threads == 1) return;
  unsigned phase = atomic_load_explicit(&p->phase.value, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)p->threads) {
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    gate_open(&p->phase);
  } else {
    gate_wait(&p->phase, phase, &p->members[thread].phase);
  }
}

static void *member_main(void *arg) {
  struct member *me = arg;
  tri_pool *p = me->pool;
  for (unsigned seen = 0;;) {
    gate_wait(&p->start, seen, &me->start);
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
  for (int i = 0; i < threads; i++) p->members[i] = (struct member){p, i, {MOST_SPINS, 0}, {MOST_SPINS, 0}};
  for (int i = 1; i < threads; i++) {
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
