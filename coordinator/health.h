/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_HEALTH_H
#define TRI_COORDINATOR_HEALTH_H
#include "proto/codec.h"

/* What is remembered of a worker by its key, whether it is connected or not: who wants it left out of plans, how often it was lost, and
 * how fast it is beside what it measured at its start. Pure: no socket, no clock. */

enum {
  TRI_HEALTH_KEYS = 2 * TRI_MAX_STAGES,
  TRI_HEALTH_LOSSES = 3,               /* within the window below: it is left out for a while, each time twice as long */
  TRI_HEALTH_LOSSES_MS = 300000,
  TRI_HEALTH_OUT_MS = 60000,
  TRI_HEALTH_OUT_MAX_MS = 3600000,
  TRI_HEALTH_STEPS = 20,               /* least new ones for another look at its speed */
  TRI_HEALTH_KEEP_MS = 600000,         /* what is believed of a speed is forgotten so long after the last look: without a stage there is none.
                                          Twice as long each further time, up to */
  TRI_HEALTH_KEEP_MAX_MS = 3600000,
  TRI_HEALTH_LOOKS = 3,                /* that must agree before another speed is believed */
};

typedef struct tri_health_record {
  uint8_t key[TRI_KEY_BYTES];
  int64_t touched_ms;
  bool drained;       /* a person wants it left out */
  bool leaving;       /* it wants to end */
  int64_t lost_ms[TRI_HEALTH_LOSSES]; /* the last ones, oldest first */
  uint32_t losses;    /* of them */
  int64_t out_until_ms, out_ms; /* left out for having been lost too often; how long the last time */
  double slow;        /* how many times longer its steps take than it measured at its start, as is believed; 1 at first */
  int64_t keep_ms;    /* how long that is believed without a look; 0: as at first */
  int64_t look_ms;    /* of the last one */
  uint64_t look_steps;
  int looks;          /* > 0: so many in a row say slower than `slow`, < 0: faster */
  double nearest;     /* of these the one nearest to `slow` */
} tri_health_record;

typedef struct tri_health {
  tri_health_record records[TRI_HEALTH_KEYS];
  size_t count;
} tri_health;

/* The record of a key, made if there is none, in place of the one that was of no use for longest if there are too many: those that are
 * drained stay. Valid until another is asked for. */
tri_health_record *tri_health_of(tri_health *h, const uint8_t key[TRI_KEY_BYTES], int64_t now_ms);
/* The record of a key if there is one, or NULL. */
const tri_health_record *tri_health_find(const tri_health *h, const uint8_t key[TRI_KEY_BYTES]);
size_t tri_health_drained(const tri_health *h); /* how many are */

/* A new process with this key has said hello: it does not want to end, and has measured itself. */
void tri_health_hello(tri_health_record *r);
/* Its last steps took `ratio` times what it measured, and it has done `steps` in all; one look in span_ms is enough. True when `slow` has
 * changed: by more than half, in TRI_HEALTH_LOOKS looks in a row, to what the most moderate of them says. */
bool tri_health_tempo(tri_health_record *r, double ratio, uint64_t steps, int64_t span_ms, int64_t now_ms);
/* Forget speeds that are not looked at any more. True: there was one. */
bool tri_health_forget(tri_health *h, int64_t now_ms);
/* Has somebody's time out ended in (since, now]? */
bool tri_health_came_back(const tri_health *h, int64_t since_ms, int64_t now_ms);
/* It was lost without having wanted to end, or ended an epoch by a fault or a wrong message of its own. True: once too often. */
bool tri_health_lost(tri_health_record *r, int64_t now_ms);
/* Drained, or about to end: not to be used, whatever that costs. */
static inline bool tri_health_unwilling(const tri_health_record *r) { return r->drained || r->leaving; }
/* Is it to be left out of plans, and why: a few words, as for a table. */
bool tri_health_is_out(const tri_health_record *r, int64_t now_ms, char why[TRI_MAX_NAME]);

#endif
