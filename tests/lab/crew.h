/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_CREW_H
#define TRI_TESTS_LAB_CREW_H
#include <jansson.h>
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
  bool quiet;                  /* it may fail to start: then no log is shown */
  const char *wire;
  const tri_args_list *coordinator_args, *worker_args; /* added to their command lines; may be NULL */
  int64_t ready_ms;                                    /* give up if it doesn't serve by then */
} crew_options;

typedef struct crew {
  const lab *lab;
  crew_options options;
  tri_folder folder; /* keys, caches and log */
  char endpoint[TRI_MAX_ENDPOINT], token[TRI_TOKEN_TEXT];
  bool joined;       /* the workers' keys are made and known */
  pid_t pids[LAB_NODES]; /* by node; 0: none */
  void (*look)(void *arg); /* called every 50 ms or so while crew_start waits; may be NULL */
  void *look_arg;
} crew;

/* Makes keys and a token as docs/SECURITY.md says, by the programs beside this one. The workers join with it when they first start. */
TRI_MUST_CHECK tri_status crew_make(crew *out, const lab *l, const crew_options *o, tri_error *err);
/* Returns once the pipeline serves; *took_us is the time from the start of the first program. On failure *err has the reason, and
 * the end of the log goes to stderr. */
TRI_MUST_CHECK tri_status crew_start(crew *c, int64_t *took_us, tri_error *err);
/* Asks the workers to end, and waits; returns how many did not and were killed. */
int crew_stop_workers(crew *c);
/* The coordinator as well; crew_start may follow. */
void crew_stop(crew *c);
/* The path of a program beside this one. */
void crew_program(char out[PATH_MAX], const char *program);
/* What `trireme` prints for these words, which ask for JSON; in node 0, or without a crew outside. *out is the caller's. */
TRI_MUST_CHECK tri_status crew_ask(crew *c, const char *const *words, json_t **out, tri_error *err);
void crew_free(crew *c);
/* A client in node 0. The calling thread is in that node from now on. */
TRI_MUST_CHECK tri_status crew_dial(tri_client **out, const crew *c, tri_error *err);
/* The most memory that a node's program ever had resident, bytes; 0: it isn't running. */
int64_t crew_peak(const crew *c, int node);

#endif
