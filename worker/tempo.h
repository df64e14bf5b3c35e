/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_TEMPO_H
#define TRI_WORKER_TEMPO_H
#include <stddef.h>
#include <stdint.h>

/* How long steps take here: percentiles over a window that moves with them. Pure. */

enum {
  TRI_TEMPO_STEPS = 64, /* the window */
  TRI_TEMPO_LEAST = 20, /* below that, one slow step would be the 95th percentile */
};

typedef struct tri_tempo {
  struct { uint32_t rows, us; } steps[TRI_TEMPO_STEPS]; /* a ring */
  size_t n, next;
} tri_tempo;

typedef struct tri_tempo_look {
  uint32_t rows;              /* in each of the steps looked at; 0: there are too few alike */
  uint32_t median_us, p95_us; /* computing one of them */
} tri_tempo_look;

void tri_tempo_add(tri_tempo *p, uint32_t rows, uint64_t us);
/* Of the steps in the window those with as many rows as most have, since a step's time depends on that. */
tri_tempo_look tri_tempo_read(const tri_tempo *p);

#endif
