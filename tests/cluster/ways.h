/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_CLUSTER_WAYS_H
#define TRI_TESTS_CLUSTER_WAYS_H
#include "tests/cluster/lab.h"

/* Jobs of each kind on their way through a cluster that changes under them. What each says must be what it says undisturbed, to the bit. */

enum { WAYS_PREDICT = 120 };
typedef enum ways_kind { WAYS_GREEDY, WAYS_SEEDED, WAYS_GRAMMAR, WAYS_STOPPED, WAYS_SCORED, WAYS_KINDS } ways_kind;

/* For a group of tests, in place of lab_begin and lab_end: finds out what the jobs say undisturbed, and that the engine alone says the
 * same. */
int ways_prepare(void **state);
int ways_clean_up(void **state);

/* A cluster for them: of `o` the numbers of workers, memory and the like are taken, the rest is filled in. */
tri_cluster *ways_start(tri_cluster_options o);

typedef struct ways {
  tri_client *client[WAYS_KINDS];
  lab_job job[WAYS_KINDS];
  bool over[WAYS_KINDS];
} ways;

/* Submits one of each, in the order of the kinds. Two run at a time. */
void ways_begin(ways *w, const tri_cluster *c);
/* Until this job has so many log-probabilities, of which each token and each scored row has one. */
void ways_go_on(ways *w, ways_kind kind, size_t n);
/* To the end: each says what it would have said alone, nothing twice, nothing missing, no word of a failure. */
void ways_finish(ways *w);

#endif
