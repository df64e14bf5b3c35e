/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PACE_H
#define TRI_COORDINATOR_PACE_H
#include "coordinator/plan.h"
#include "proto/codec.h"

/* How many steps are in the pipeline at once, and how many rows each of them has. Pure arithmetic over what the stages' steps are
 * expected to take, corrected by what they take. docs/SCALING.md explains it:
 *
 *   With D steps on their way, each row of which is a token of another stream, a stream gets a token every
 *     cycle(D) = max(D * slowest stage, sum of all stages + hops)
 *   for the slowest stage has to do all D of them, and each has to pass all stages. Few large steps cost less computing (weights are
 *   read once a step), many small ones leave no stage idle: D is the one with the least cycle. */

typedef struct tri_pace_stage {
  tri_plan_worker worker; /* layer_ns to head_rows_ns */
  uint32_t layers;
  bool head;
  double scale;           /* a step takes so many times what the worker's own timing lets expect */
  double expected_us;     /* of the steps since the last correction */
  uint64_t busy_us;       /* the worker's counter then */
} tri_pace_stage;

typedef struct tri_pace {
  uint32_t stages, max_rows;
  double hop_us;      /* from one process to the next, without computing */
  double target_us;   /* between two tokens of a stream while prompts are computed; 0: twice what it is without them */
  tri_pace_stage stage[TRI_MAX_STAGES];
} tri_pace;

typedef struct tri_pace_choice {
  uint32_t depth; /* steps on their way, at most */
  uint32_t share; /* streams that one step carries, at most */
  uint32_t chunk; /* rows of prompts beside them, at most */
} tri_pace_choice;

/* What stage `i` takes for a step of `rows` rows, for `samples` of which a token is wanted. */
double tri_pace_stage_us(const tri_pace *p, uint32_t i, uint32_t rows, uint32_t samples);
/* For `streams` that generate and `waiting` rows of prompts; at least one of them is not 0. */
tri_pace_choice tri_pace_choose(const tri_pace *p, uint32_t streams, uint32_t waiting);
/* A step of so many rows has come back. */
void tri_pace_landed(tri_pace *p, uint32_t rows, uint32_t samples);
/* Stage i's counter of time spent in steps stands at busy_us now: what it took is compared with what was expected. */
void tri_pace_correct(tri_pace *p, uint32_t i, uint64_t busy_us);

#endif
