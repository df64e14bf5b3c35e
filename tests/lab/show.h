/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_SHOW_H
#define TRI_TESTS_LAB_SHOW_H
#include "tests/lab/measure.h"

/* `trireme-lab show SCENARIO`: what docs/OPERATIONS.md and docs/SCALING.md say of speed and cost, measured here, beside the limits that
 * it keeps to. */
#define LAB_SHOW_SUMMARY "Measure what the documentation says of speed and cost."

/* argv[0] is the command's name. Returns the process' exit code: 1 where a limit is not kept. */
int lab_show(int argc, char **argv);

/* --- for scenarios --- */

typedef struct show {
  const char *lab, *model;
  int64_t nodes, network, rounds; /* 0: as the scenario likes */
  double cpu;
  json_t *doc, *claims;  /* the claims stand in the document as well */
} show;

/* A figure with a limit, and one without. */
void show_at_most(show *s, const char *what, double value, const char *unit, double limit);
void show_at_least(show *s, const char *what, double value, const char *unit, double limit);
void show_figure(show *s, const char *what, double value, const char *unit);
void show_text(show *s, const char *what, const char *text);

/* A head and `n` equal workers w1, w2, … */
void show_nodes(lab_topology *out, int n, double cpu, int64_t rate, double delay_ms);
/* From tests/lab. */
TRI_MUST_CHECK tri_status show_topology(lab_topology *out, const char *file, tri_error *err);
/* Makes a lab and a crew in it, has `fn` measure, and ends both. `keep` is given to fn. */
typedef tri_status show_fn(show *s, crew *c, void *keep, tri_error *err);
TRI_MUST_CHECK tri_status show_crew(show *s, const lab_topology *t, const crew_options *o, show_fn *fn, void *keep, tri_error *err);
/* What most scenarios want: one word more for each worker and slots for `streams`; workers read the model's file. */
crew_options show_options(const show *s, int workers, int streams);
/* Starts it and measures one load. *out is the caller's, and has the status at its end as well. */
TRI_MUST_CHECK tri_status show_load(crew *c, const measure_load *l, json_t **out, tri_error *err);

/* --- scenarios --- */

tri_status show_cold_start(show *s, tri_error *err);
tri_status show_hop(show *s, tri_error *err);
tri_status show_many(show *s, tri_error *err);
tri_status show_split(show *s, tri_error *err);
tri_status show_best_split(show *s, tri_error *err);
tri_status show_prediction(show *s, tri_error *err);
tri_status show_scaling(show *s, tri_error *err);

#endif
