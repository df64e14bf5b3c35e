/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_INTERRUPT_H
#define TRI_CLI_INTERRUPT_H
#include <signal.h>
#include <stdbool.h>
#include "base/status.h"

/* SIGINT and SIGTERM as a descriptor to wait on, for a command that has something to end first. Begin before other threads
 * are started: they inherit the mask. */
typedef struct tri_interrupt {
  int fd; /* readable once interrupted; -1: not begun */
  bool masked;
  sigset_t old;
} tri_interrupt;

#define TRI_INTERRUPT_NONE \
  (tri_interrupt) { .fd = -1 }

TRI_MUST_CHECK tri_status tri_interrupt_begin(tri_interrupt *i, tri_error *err);
void tri_interrupt_end(tri_interrupt *i); /* also after a failed begin, or none */

#endif
