/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_CHANGE_H
#define TRI_COORDINATOR_CHANGE_H
#include "coordinator/plan.h"
#include "coordinator/registry.h"

/* A change of plan while the present one serves. Pure: no socket, no clock.
 *
 *   NONE ──begin──▶ PREPARING ──parts are where they are needed──▶ WAITING ──it costs little──▶ SETTLING ──nothing in flight──▶ switch
 *     ▲──────────────── end: a failure, or another wish ─────────────┘
 *
 * A switch costs what the running jobs have to compute again, one row for each token so far, and nothing when none runs. The cost
 * grows while one waits for it to fall, so the wait is as long as the switch would take: whatever comes, that is at most twice as bad
 * as the best moment. */

enum {
  TRI_CHANGE_STUCK_MS = 60000, /* without a byte for those who lack parts */
  TRI_CHANGE_SETTLE_MS = 2000, /* for the steps in flight; what is lost of them is computed again */
};

typedef enum tri_change_state { TRI_CHANGE_NONE, TRI_CHANGE_PREPARING, TRI_CHANGE_WAITING, TRI_CHANGE_SETTLING } tri_change_state;

typedef struct tri_change {
  tri_change_state state;
  uint32_t id;                 /* of this one, or of the last */
  char why[TRI_MAX_TEXT];
  tri_plan plan;               /* its worker i is the registry's order[i] */
  int order[TRI_REGISTRY_MAX];
  uint8_t lacks[TRI_REGISTRY_MAX]; /* by registry index: has yet to get parts for it */
  int64_t since_ms;            /* of the state */
  int64_t got_ms;              /* when something last came for it */
  int64_t patience_ms;         /* with WAITING, at most */
} tri_change;

/* Prepare for this plan, in place of another. The caller then says who lacks parts of it, and asks them to get them. */
void tri_change_begin(tri_change *c, const tri_plan *plan, const int *order, const char *why, int64_t patience_ms, int64_t now_ms);
void tri_change_lack(tri_change *c, int worker);
/* This worker has got what it lacked; of the change `id`, or it means nothing. */
void tri_change_got(tri_change *c, int worker, uint32_t id);
/* A worker has got something; perhaps it was for this. */
void tri_change_progress(tri_change *c, int worker, int64_t now_ms);
/* A worker that lacks parts, or -1. */
int tri_change_laggard(const tri_change *c);
/* Has this worker a stage in the plan that is prepared? */
bool tri_change_uses(const tri_change *c, int worker);
void tri_change_end(tri_change *c);

typedef enum tri_change_act {
  TRI_CHANGE_NOTHING, TRI_CHANGE_PAUSE /* send no more steps */, TRI_CHANGE_SWITCH, TRI_CHANGE_STUCK /* parts don't come */
} tri_change_act;
/* What is to be done now, with so many rows of running jobs to be computed again and so many steps in flight. */
tri_change_act tri_change_next(tri_change *c, uint64_t rows, uint32_t flights, int64_t now_ms);

const char *tri_change_state_name(tri_change_state state);

#endif
