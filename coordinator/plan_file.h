/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_FILE_H
#define TRI_COORDINATOR_PLAN_FILE_H
#include <stddef.h>
#include "base/buf.h"
#include "coordinator/plan.h"

/* A nodes file: what a person knows of the workers, or wishes. TOML, one table a worker; all keys but name may be missing:
 *
 *   [[node]]
 *   name = "n1"
 *   memory = "700M"           # it may use; or bytes as a number
 *   threads = 2               # its buffers depend on them
 *   layer_us = 812.5          # one row through one layer, one row through the head
 *   head_us = 2400
 *   layer_rows_us = 7224      # 24 rows at once, all of them
 *   head_rows_us = 21600
 *   rtt_us = 180              # to the coordinator and back
 *   up_mbit = 100             # its link
 *   down_mbit = 100
 *   layers = "0-11"           # exactly these
 *   position = 1              # before those of a higher one
 *   exclude = true */

enum { TRI_PLAN_FILE_NAME = 64 };

typedef struct tri_plan_node {
  char name[TRI_PLAN_FILE_NAME];
  uint32_t threads;       /* 0: not given */
  tri_plan_worker worker; /* fields that are 0: not given. Its name is NULL: bind it (tri_plan_file_overlay does not touch names) */
} tri_plan_node;

typedef struct tri_plan_file {
  uint32_t count;
  tri_plan_node node[TRI_PLAN_MAX_WORKERS];
} tri_plan_file;

/* `name` stands before errors, which give the node and the key: TRI_E_FORMAT, TRI_E_UNSUPPORTED, TRI_E_INVALID, TRI_E_LIMIT,
 * TRI_E_NOMEM; reading also TRI_E_IO and TRI_E_NOT_FOUND. *out is large: not for the stack of a thread. */
TRI_MUST_CHECK tri_status tri_plan_file_parse(tri_plan_file *out, const char *text, size_t len, const char *name, tri_error *err);
TRI_MUST_CHECK tri_status tri_plan_file_read(tri_plan_file *out, const char *path, tri_error *err);
/* The node of a name, or NULL. */
const tri_plan_node *tri_plan_file_find(const tri_plan_file *f, const char *name);
/* What the file gives goes before what *w has. */
void tri_plan_file_overlay(const tri_plan_node *node, tri_plan_worker *w);
/* The text of a file that reads as *f. */
void tri_plan_file_write(const tri_plan_file *f, tri_buf *out);

#endif
