/* SPDX-License-Identifier: MIT */
#include "worker/tempo.h"

#include <stdlib.h>

void tri_tempo_add(tri_tempo *p, uint32_t rows, uint64_t us) {
  p->steps[p->next].rows = rows;
  p->steps[p->next].us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
  p->next = (p->next + 1) % TRI_TEMPO_STEPS;
  if (p->n < TRI_TEMPO_STEPS) p->n++;
}

static size_t count_alike(const tri_tempo *p, uint32_t rows) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += p->steps[i].rows == rows;
  return n;
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

tri_tempo_look tri_tempo_read(const tri_tempo *p) {
  uint32_t rows = 0, us[TRI_TEMPO_STEPS];
  size_t most = 0, n = 0;
  for (size_t i = 0; i < p->n; i++) {
    size_t alike = count_alike(p, p->steps[i].rows);
    if (alike > most) most = alike, rows = p->steps[i].rows;
  }
  if (most < TRI_TEMPO_LEAST) return (tri_tempo_look){0};
  for (size_t i = 0; i < p->n; i++)
    if (p->steps[i].rows == rows) us[n++] = p->steps[i].us;
  qsort(us, n, sizeof *us, compare);
  return (tri_tempo_look){.rows = rows, .median_us = us[n / 2], .p95_us = us[n * 95 / 100]};
}
