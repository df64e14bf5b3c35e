/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_TOPOLOGY_H
#define TRI_TESTS_LAB_TOPOLOGY_H
#include <stdint.h>
#include "base/status.h"

/* What a lab is made of: a TOML file (docs/LAB.md has the keys). The first node is where the coordinator runs. */

enum { LAB_NODES = 100, LAB_NAME = 12 };

typedef struct lab_node {
  char name[LAB_NAME]; /* also its link's in the hub */
  double cpu;          /* percent of one core; 0: no limit */
  int64_t memory;      /* bytes; 0: no limit */
  int64_t rate;        /* of its link, bit/s each way; 0: no limit */
  double delay_ms;     /* on its link, each way */
} lab_node;

typedef struct lab_topology {
  lab_node nodes[LAB_NODES];
  int count;
} lab_topology;

TRI_MUST_CHECK tri_status lab_topology_read(lab_topology *out, const char *path, tri_error *err);
/* Index of a node, or -1. */
int lab_topology_find(const lab_topology *t, const char *name);
/* "10.77.0.1" for node 0, and so on. */
void lab_topology_address(int node, char out[16]);

#endif
