/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_STEPS_H
#define TRI_CLI_STEPS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

/* Traced steps as a coordinator tells of them (docs/PROTOCOL.md, "The trace document"), and where in time each stage had them. All
 * times are of the coordinator's clock. */

enum { TRI_STEPS_MOST = 1 << 18 /* kept; later ones are counted only */ };

/* A stage's part in a step. */
typedef struct tri_steps_part {
  uint32_t wait_us, compute_us;  /* as the stage itself says */
  int64_t arrived_us, start_us;  /* as far as can be told: tri_steps_place */
} tri_steps_part;

typedef struct tri_steps_run {
  uint64_t job;
  uint32_t rows;
  bool prompt;
} tri_steps_run;

typedef struct tri_steps_one {
  uint64_t id;
  uint32_t epoch, n_stages, n_runs, rows;
  int64_t sent_us, took_us;
  size_t parts, runs; /* where its own begin in the lists */
} tri_steps_one;

typedef struct tri_steps {
  tri_steps_one *one;
  tri_steps_part *parts;
  tri_steps_run *runs;
  size_t n, cap, n_parts, cap_parts, n_runs, cap_runs, left_out;
  uint64_t last; /* id of the last one */
  bool more;     /* the coordinator has more of them now */
} tri_steps;

/* Append what a document tells. TRI_E_PROTOCOL when it makes no sense; steps of a document that was wrong may have been added. */
TRI_MUST_CHECK tri_status tri_steps_add(tri_steps *s, const void *json, size_t len, tri_error *err);
void tri_steps_free(tri_steps *s);

/* Find out when each stage had each step. The time that no stage accounts for is spread evenly over the ways between; but a stage
 * computes one step after the other, so where that would overlap, a step is taken to have been on its way for longer before. */
void tri_steps_place(tri_steps *s);

/* When one stream was under way: when it began, had its first token, and ended. */
typedef struct tri_span {
  int64_t begin_us, first_us, end_us;
} tri_span;
/* While `streams` of these, which are in the order of their beginnings, were under way: from the first token of the last of the first
 * ones to the first end that no beginning followed. streams 0: from the first beginning to the last end. False: never. */
bool tri_span_window(const tri_span *spans, size_t n, size_t streams, int64_t *from_us, int64_t *to_us);
/* The same, of the jobs in these steps. */
TRI_MUST_CHECK tri_status tri_steps_window(const tri_steps *s, size_t streams, int64_t *from_us, int64_t *to_us, bool *found,
                                           tri_error *err);

typedef struct tri_steps_stage {
  double busy;            /* share of the time */
  double compute_us, wait_us; /* of a step, mean */
} tri_steps_stage;

typedef struct tri_steps_measure {
  size_t steps;           /* whose results came within it */
  uint32_t n_stages;      /* 0: none */
  double seconds, rows, prompt_rows, on_way; /* rows of a step, of them prompts', and steps on their way: means */
  double took_us, compute_us, wait_us, hop_us; /* of a step: until its result, by all stages, in all queues; one way between. Means */
  double bubble_slowest, bubble_mean;     /* share of the time in which the busiest stage, and the mean one, did nothing */
  tri_steps_stage stage[256];
} tri_steps_measure;

/* Of those placed steps that belong to the last epoch, within this time. */
void tri_steps_measure_within(const tri_steps *s, int64_t from_us, int64_t to_us, tri_steps_measure *out);

#endif
