/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_KERNELS_LEVELS_H
#define TRI_TESTS_KERNELS_LEVELS_H
#include <stdio.h>
#include <stdlib.h>
#include "kernels/i2s.h"
#include "kernels/levels.h"
#include "tests/test.h"

enum { MOST_LEVELS = TRI_ISA_COUNT + 4 };

/* Under emulation every operation costs tens of times as much: TRIREME_BRIEF asks for fewer of the same kinds. */
static inline bool test_brief(void) { return getenv("TRIREME_BRIEF") != NULL; }

/* TRIREME_LEVELS, if set, names those that must run, as "portable avx2": a test on a CPU that is emulated for a level's
 * sake must not pass because that level was skipped. */
static inline void expect_levels(void) {
  const char *want = getenv("TRIREME_LEVELS");
  char here[128] = "";
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) {
    if (!tri_kernels_get((tri_isa)isa)) continue;
    if (*here) strcat(here, " ");
    strcat(here, tri_kernels_isa_name((tri_isa)isa));
  }
  if (!want || strcmp(want, here) == 0) return;
  printf("levels \"%s\" run here, not \"%s\"\n", here, want);
  exit(1);
}

/* Every table that this CPU can run, portable first; says on stdout which levels run and which are skipped. */
static inline int all_levels(const tri_kernels **out) {
  int count = 0;
  expect_levels();
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) {
    const tri_kernels *table = tri_kernels_get((tri_isa)isa);
    printf("level %-8s %s\n", tri_kernels_isa_name((tri_isa)isa), table ? "runs" : "SKIPPED (not on this machine)");
    if (table) out[count++] = table;
  }
  for (int n = 0; tri_levels_extra(n); n++) {
    out[count++] = tri_levels_extra(n);
    printf("level %-8s runs (for tests only)\n", out[count - 1]->name);
  }
  fflush(stdout);
  return count;
}

/* TRIREME_SEED replays a run */
static inline uint64_t test_seed(void) {
  const char *text = getenv("TRIREME_SEED");
  uint64_t seed = text ? strtoull(text, NULL, 0) : 0x5eed;
  printf("seed 0x%llx\n", (unsigned long long)seed);
  return seed ? seed : 1;
}

static inline void *lines_alloc(size_t bytes) {
  void *p = aligned_alloc(64, tri_round_up(bytes ? bytes : 1, 64));
  assert_non_null(p);
  return p;
}

static inline void *bytes_alloc(size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  assert_non_null(p);
  return p;
}

static inline float random_float(uint64_t *state, float size) {
  return ((float)(test_random(state) >> 40) / (1 << 23) - 1) * size;
}

/* floats of widely different sizes */
static inline void random_floats(uint64_t *state, float *x, size_t n, float size) {
  for (size_t i = 0; i < n; i++) x[i] = random_float(state, size * (float)(1 + test_random(state) % 4 * 10));
}

#endif
