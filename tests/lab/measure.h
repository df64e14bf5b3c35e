/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_MEASURE_H
#define TRI_TESTS_LAB_MEASURE_H
#include <jansson.h>
#include "tests/lab/crew.h"

/* What a cluster in a lab does and costs. Bytes, CPU time and memory are the kernel's counts, not the programs'. Results are JSON
 * objects; "nodes" in them lists for each node cpu_s, core_share, sent_bytes, received_bytes and sent_share_of_rate. */

enum { MEASURE_STREAMS = 64, MEASURE_ROUNDS = 25 };

/* Starts the crew, and puts under `key`: ready_s, nodes; and of the coordinator, of the time in which its link was busiest (all but the
 * first and last 5 % of its bytes), feed_s and feed_share_of_rate. */
TRI_MUST_CHECK tri_status measure_start(crew *c, json_t *doc, const char *key, tri_error *err);
/* Under "idle": so long without a request. */
void measure_idle(const crew *c, int64_t seconds, json_t *doc);
/* Under "memory": the most that each program had resident, and its control group with the page cache. */
void measure_memory(const crew *c, json_t *doc);

/* Several requests at once, all alike, as often as `rounds` says. */
typedef struct measure_load {
  int streams, rounds;
  int64_t prompt, predict; /* tokens of each */
} measure_load;
/* *out is the caller's. Figures of the round whose tokens_per_s are the median: tokens_per_s in all, decode_tokens_per_s while all were
 * under way, first_token_ms (their median), prefill_tokens_per_s of the prompts until the first of them had a token; and tokens_per_s_all,
 * those of each round. */
TRI_MUST_CHECK tri_status measure_run(const crew *c, tri_client *client, const measure_load *l, json_t **out, tri_error *err);

/* Under "status": what the coordinator says of itself. */
TRI_MUST_CHECK tri_status measure_status(tri_client *client, json_t *doc, tri_error *err);

/* Of one of those results. */
double measure_number(const json_t *o, const char *key);
/* Sorts them. */
double measure_median(double *values, int n);
/* A key of the n-th node. */
double measure_node(const json_t *part, int node, const char *key);

#endif
