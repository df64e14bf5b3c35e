/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_CREW_H
#define TRI_TESTS_LAB_CREW_H
#include <limits.h>
#include "base/args.h"
#include "cli/client.h"
#include "cli/folder.h"
#include "proto/token.h"
#include "tests/lab/lab.h"

/* The processes of a cluster in a lab: the coordinator in node 0, a worker in each of nodes 1 to `workers`. */

typedef struct crew_options {
  const char *model;
  bool copies;                 /* each worker has the model's file too; else it gets its parts over the network into a cache of its own */
  int workers, slots, context; /* context 0: the model's */
  const char *wire;
  const tri_args_list *coordinator_args, *worker_args; /* added to their command lines */
  int64_t ready_ms;                                    /* give up if it doesn't serve by then */
} crew_options;

typedef struct crew {
  const lab *lab;
  crew_options options;
  tri_folder folder; /* keys, caches and log */
  char endpoint[TRI_MAX_ENDPOINT], token[TRI_TOKEN_TEXT];
  bool joined;       /* the workers' keys are made and known */
  pid_t pids[LAB_NODES]; /* by node; 0: none */
} crew;

/* Makes keys and a token as docs/SECURITY.md says, by the programs beside this one. The workers join with it when they first start. */
TRI_MUST_CHECK tri_status crew_make(crew *out, const lab *l, const crew_options *o, tri_error *err);
/* Returns once the pipeline serves; *took_us is the time from the start of the first program. On failure *err has the reason, and
 * the end of the log goes to stderr. */
TRI_MUST_CHECK tri_status crew_start(crew *c, int64_t *took_us, tri_error *err);
/* Ends the programs and waits for them; crew_start may follow. */
void crew_stop(crew *c);
void crew_free(crew *c);
/* A client in node 0. The calling thread is in that node from now on. */
TRI_MUST_CHECK tri_status crew_dial(tri_client **out, const crew *c, tri_error *err);
/* The most memory that a node's program ever had resident, bytes; 0: it isn't running. */
int64_t crew_peak(const crew *c, int node);

#endif
