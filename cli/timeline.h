/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_TIMELINE_H
#define TRI_CLI_TIMELINE_H
#include "cli/steps.h"

/* A picture of the pipeline at work: stages as lanes, time from left to right, each step's computing as a rectangle. SVG without scripts,
 * legible on light and dark, some hundred kB at most: it shows some dozen steps from the middle of the time that was measured. */

typedef struct tri_timeline {
  const tri_steps *steps;           /* placed */
  const tri_steps_measure *measure; /* of them, whose n_stages is not 0 */
  const char *const *names;         /* [measure->n_stages] of the stages' workers */
  int64_t from_us, to_us;           /* the time that was measured */
  const char *title;                /* a line */
} tri_timeline;

TRI_MUST_CHECK tri_status tri_timeline_write(const tri_timeline *t, const char *path, tri_error *err);

#endif
