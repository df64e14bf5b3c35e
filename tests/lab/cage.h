/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_CAGE_H
#define TRI_TESTS_LAB_CAGE_H
#include <stdbool.h>
#include "tests/lab/topology.h"

/* A node's share of the machine: control groups tri-lab-LAB/NODE, of version 1 (one tree a controller) or version 2. */

/* TRI_E_UNSUPPORTED with the reason where this machine has none that we may write. */
TRI_MUST_CHECK tri_status lab_cage_check(tri_error *err);
TRI_MUST_CHECK tri_status lab_cage_make(const char *lab, const lab_node *n, tri_error *err);
/* Percent of one core; 0: no limit. */
TRI_MUST_CHECK tri_status lab_cage_set_cpu(const char *lab, const char *node, double cpu, tri_error *err);
/* Put the calling process into it; between fork and exec. */
bool lab_cage_enter(const char *lab, const char *node);

typedef struct lab_cage_use {
  double cpu;              /* the limit, percent; 0: none */
  int64_t cpu_us;          /* used so far */
  int64_t memory, peak;    /* bytes, page cache included; the peak is 0 where the kernel doesn't tell */
  int processes;
} lab_cage_use;
lab_cage_use lab_cage_read(const char *lab, const char *node);

/* SIGKILL to all that is in it, until nothing is. */
void lab_cage_kill(const char *lab, const char *node);
/* Removes a lab's groups with all that is left in them. */
void lab_cage_remove(const char *lab);

#endif
