/* SPDX-License-Identifier: MIT */
/* One layer's ternary products, for tests/bench/instructions to count. Level: TRIREME_ISA.
 *   bench_layer levels                  "LEVEL FORM" for each that runs here
 *   bench_layer run FORM ROWS D TIMES   the products, TIMES times, for an emulator that counts
 *   bench_layer step FORM ROWS D        their instructions, counted by stepping through them */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "kernels/form.h"
#include "kernels/levels.h"

/* All matrices read the same weights and activations, and those are zero bytes, which every form takes for weights: no
 * product's path depends on values or addresses, and there is nothing to make that an emulator would have to run. */
typedef struct layer {
  const tri_kernels *kernels;
  tri_form form;
  size_t d, rows;
  uint8_t *weights;
  int8_t *panel;
  int32_t *y;
} layer;

/* Rows go in panels as the engine makes them. */
static void product(const layer *l, size_t m, size_t k) {
  for (size_t r = 0; r < l->rows; r += l->kernels->panel_rows) {
    size_t left = l->rows - r, n = left < l->kernels->panel_rows ? left : l->kernels->panel_rows;
    l->kernels->gemm[l->form](l->weights, k, l->panel, n, 0, m / TRI_BLOCK_ROWS, l->y, m);
  }
}

/* Queries, keys, values, output; gate, up, down. */
static void products(const layer *l) {
  size_t d = l->d, ffn = 3 * d;
  product(l, d, d), product(l, d / 4, d), product(l, d / 4, d), product(l, d, d);
  product(l, ffn, d), product(l, ffn, d), product(l, d, ffn);
}

static void *zeros(size_t bytes) {
  char *p = calloc(1, bytes + 63);
  if (!p) perror("bench_layer"), exit(1);
  return p + (64 - (uintptr_t)p % 64) % 64; /* the program's end frees it */
}

/* Steps until the child stops for the mark, at which it stands now. */
static unsigned long steps_to_mark(pid_t child, int mark) {
  for (unsigned long steps = 0;; steps++) {
    int status;
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) || waitpid(child, &status, 0) != child) perror("bench_layer: ptrace"), exit(1);
    if (WIFSTOPPED(status) && WSTOPSIG(status) == mark) return steps;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
      fprintf(stderr, "bench_layer: the stepped process ended (wait status 0x%x)\n", (unsigned)status), exit(1);
  }
}

/* A child marks the ends of two stretches by signals: nothing, then the products. The difference is the products alone. */
static unsigned long count_steps(const layer *l) {
  enum { MARK = SIGUSR1 };
  cpu_set_t one; /* three times as fast when parent and child share a CPU */
  CPU_ZERO(&one);
  CPU_SET((size_t)sched_getcpu(), &one);
  sched_setaffinity(0, sizeof one, &one);
  pid_t child = fork();
  if (child < 0) perror("bench_layer: fork"), exit(1);
  if (!child) {
    products(l); /* binds library functions */
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(errno);
    raise(MARK), raise(MARK);
    products(l);
    raise(MARK);
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) || WSTOPSIG(status) != MARK)
    fprintf(stderr, "bench_layer: may not trace (wait status 0x%x): is ptrace forbidden here?\n", (unsigned)status), exit(1);
  unsigned long nothing = steps_to_mark(child, MARK), all = steps_to_mark(child, MARK);
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return all - nothing;
}

static void print_level(const tri_kernels *t) {
  for (int f = 0; t && f < TRI_FORM_COUNT; f++)
    if (t->gemm[f]) printf("%s %s\n", t->name, tri_form_name((tri_form)f));
}

static void print_levels(void) {
  const tri_kernels *extra;
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) print_level(tri_kernels_get((tri_isa)isa));
  for (int n = 0; (extra = tri_levels_extra(n)); n++) print_level(extra);
}

/* Tables that are never picked count too. */
static const tri_kernels *named(const char *name, char *why, size_t n) {
  const tri_kernels *extra;
  for (int i = 0; name && (extra = tri_levels_extra(i)); i++)
    if (!strcmp(name, extra->name)) return extra;
  return tri_kernels_pick(why, n);
}

static size_t number(const char *text, size_t most) {
  char *end;
  unsigned long n = strtoul(text, &end, 10);
  if (end == text || *end || n < 1 || n > most)
    fprintf(stderr, "bench_layer: %s is not a number from 1 to %zu\n", text, most), exit(2);
  return n;
}

int main(int argc, char **argv) {
  char why[256];
  bool step = argc == 5 && !strcmp(argv[1], "step");
  if (argc == 2 && !strcmp(argv[1], "levels")) return print_levels(), 0;
  if (!step && (argc != 6 || strcmp(argv[1], "run")))
    return fprintf(stderr, "usage: bench_layer levels | run FORM ROWS D TIMES | step FORM ROWS D\n"), 2;

  layer l = {named(getenv("TRIREME_ISA"), why, sizeof why), 0, number(argv[4], 8192), number(argv[3], 1024), NULL, NULL, NULL};
  if (!l.kernels) return fprintf(stderr, "bench_layer: %s\n", why), 2;
  if (l.d % 64) return fprintf(stderr, "bench_layer: D must be a multiple of 64\n"), 2;
  while (l.form < TRI_FORM_COUNT && strcmp(argv[2], tri_form_name(l.form))) l.form++;
  if (l.form == TRI_FORM_COUNT || !l.kernels->gemm[l.form])
    return fprintf(stderr, "bench_layer: level %s has no form %s\n", l.kernels->name, argv[2]), 2;

  size_t widest = 3 * l.d;
  l.weights = zeros(tri_form_bytes(l.form, l.d, widest) + tri_form_bytes(l.form, widest, l.d));
  l.panel = zeros(TRI_PANEL_ROWS * tri_round_up(widest, TRI_K_ALIGN));
  l.y = zeros(TRI_PANEL_ROWS * widest * sizeof *l.y);
  if (step) return printf("%lu\n", count_steps(&l)), 0;
  for (size_t times = number(argv[5], 1000); times; times--) products(&l);
  return 0;
}
