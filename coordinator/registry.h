/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_REGISTRY_H
#define TRI_COORDINATOR_REGISTRY_H
#include "proto/codec.h"
#include "proto/link.h"

/* The workers, known by key. Pure: events and the time come in, states come out; it holds no socket and no clock.
 *
 *   hello ──▶ JOINED ──assign──▶ ASSIGNED ──bound──▶ BOUND ──ready──▶ READY
 *                ▲                   └───────────── drop of the plan ──┘
 *   any ──no sign of life for lost_ms, or connection gone──▶ LOST ──hello──▶ JOINED */

enum {
  TRI_REGISTRY_MAX = TRI_MAX_STAGES,
  TRI_REGISTRY_HEARTBEAT_MS = 1000,
};

typedef enum tri_worker_state {
  TRI_WORKER_LOST, TRI_WORKER_JOINED, TRI_WORKER_ASSIGNED, TRI_WORKER_BOUND, TRI_WORKER_READY
} tri_worker_state;

typedef struct tri_worker {
  tri_worker_state state;
  uint8_t key[TRI_KEY_BYTES];
  tri_peer peer;              /* its present connection */
  char address[64];           /* as seen on the control link */
  tri_msg_hello hello;        /* with what heartbeats have said of its link since */
  int stage;                  /* in the present plan; -1: spare */
  uint32_t port;              /* of its data link; 0: none */
  uint64_t stage_bytes;       /* that the stage holds, from Bound */
  tri_msg_heartbeat beat;     /* the last one */
  double busy_share;          /* of the time between the last two heartbeats spent computing */
  double fetch_bytes_per_s;   /* between the last two heartbeats in which it was getting parts */
  int64_t seen_ms, beat_ms;
} tri_worker;

typedef struct tri_registry {
  tri_worker workers[TRI_REGISTRY_MAX]; /* indices are stable while a worker is not LOST */
  size_t count;                         /* records in use, lost ones included */
  uint8_t model_id[TRI_ID_BYTES];
  int64_t lost_ms; /* a worker silent for longer is lost */
} tri_registry;

void tri_registry_init(tri_registry *r, const uint8_t model_id[TRI_ID_BYTES], int64_t lost_ms);

/* A worker says hello over `from`. On success *index is its record, JOINED. Refused, with a sentence that names the field and
 * what to do: TRI_E_PROTOCOL another protocol; TRI_E_INVALID another model, or a field out of range; TRI_E_BUSY this key or
 * this name is connected already; TRI_E_LIMIT too many workers. */
TRI_MUST_CHECK tri_status tri_registry_hello(tri_registry *r, const tri_incoming *from, const tri_msg_hello *hello, int64_t now_ms,
                                             int *index, tri_error *err);
/* The record of a key in any state, or of a name that is not lost; -1: none. */
int tri_registry_find(const tri_registry *r, const uint8_t key[TRI_KEY_BYTES]);
int tri_registry_find_name(const tri_registry *r, const char *name);
/* The worker that a message comes from: its key's record, if that is live and the message came over its present connection. */
int tri_registry_sender(const tri_registry *r, const tri_incoming *from);
void tri_registry_heartbeat(tri_registry *r, int index, const tri_msg_heartbeat *beat, int64_t now_ms);
/* A live worker that has been silent for too long, or -1. The caller then calls lose for it. */
int tri_registry_overdue(const tri_registry *r, int64_t now_ms);
void tri_registry_lose(tri_registry *r, int index);
/* The live workers in the order in which stages are given out: as in `expect` (names, n_expect of them), then by name with
 * numbers in numerical order. Returns how many. */
size_t tri_registry_order(const tri_registry *r, const char *const *expect, size_t n_expect, int out[TRI_REGISTRY_MAX]);
const char *tri_registry_state_name(tri_worker_state state);

#endif
