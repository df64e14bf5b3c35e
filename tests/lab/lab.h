/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_LAB_H
#define TRI_TESTS_LAB_LAB_H
#include <sys/types.h>
#include "tests/lab/hub.h"

/* A lab that stands: a keeper, and below it a first process that holds the network's namespaces and is the first of a pid
 * namespace, so that with it ends everything in the lab. Whoever of them is killed, the other goes too; the keeper then removes
 * control groups and folder, and if it was the keeper that was killed, the next lab_up or lab_down on this machine. */

typedef struct lab {
  char name[16];
  pid_t keeper, first; /* as seen from outside */
  lab_topology topology;
} lab;

#define LAB_FOLDER_PATTERN "/run/tri-lab-%s"

/* TRI_E_UNSUPPORTED or TRI_E_DENIED with the reason where this machine can't have a lab. */
TRI_MUST_CHECK tri_status lab_possible(tri_error *err);
/* owned: it ends with the calling process, however that ends. TRI_E_BUSY: one of this name stands. */
TRI_MUST_CHECK tri_status lab_up(lab *out, const char *name, const lab_topology *t, bool owned, tri_error *err);
/* TRI_E_NOT_FOUND: none of this name stands. */
TRI_MUST_CHECK tri_status lab_open(lab *out, const char *name, tri_error *err);
/* Ends it and waits until nothing is left of it, nor of others that were killed. Also of none. */
TRI_MUST_CHECK tri_status lab_down(const char *name, tri_error *err);

/* Start a program in a node: its namespace, its cgroups, the lab's pids. It gets SIGKILL when the calling thread ends. Its outputs
 * go to output_fd (-1: ours), and kept_fd (-1: none) stays open in it. Returns its pid as a child of ours, or -1. */
pid_t lab_spawn(const lab *l, int node, const char *const *argv, int output_fd, int kept_fd, tri_error *err);
/* The calling thread's sockets are a node's from now on; those it has are not touched. */
TRI_MUST_CHECK tri_status lab_enter(const lab *l, int node, tri_error *err);

TRI_MUST_CHECK tri_status lab_plug(const lab *l, int node, bool in, tri_error *err);
/* What the topology says of it, over `factor`: of the CPU, or of the link. */
TRI_MUST_CHECK tri_status lab_slow(const lab *l, int node, double factor, bool link, tri_error *err);
lab_traffic lab_read_traffic(const lab *l, int node);

#endif
