/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_WORKER_H
#define TRI_WORKER_WORKER_H
#include "proto/keys.h"
#include "worker/measure.h"

/* A worker's life on its links: hello, stage by stage of each epoch, steps in and out, heartbeats.
 *
 *   CALLING ──connected: Knock──▶ KNOCKED ──Model──▶ PREPARING (gets the metadata, measures) ──Hello──▶ GREETED ──Welcome──▶ IDLE
 *   IDLE ──Assign──▶ LOADING (gets parts, packs them) ──Bound──▶ BOUND ──Connect──▶ LINKING
 *      ▲                                                ▲                                    (last stage) └──Ready──▶ READY
 *      └─ connection lost, any state                    └──────────── Stop, Fault, a new Assign: the stage is dropped */

typedef struct tri_worker_config {
  const char *model_path;  /* NULL: parts come from the cache folder, the coordinator and other workers only */
  const char *cache_dir;   /* of parts; NULL: the user's */
  uint64_t cache_bytes;    /* most that is kept there */
  const char *coordinator; /* tcp://HOST:PORT */
  bool seek;             /* when it does not answer, ask on this network where it is now */
  const char *key_dir;
  const char *name;      /* NULL: the key's name */
  const char *listen;    /* of the data link, tcp://ADDRESS:PORT; port 0 picks one */
  const char *advertise; /* host that the stage before dials; NULL: as the coordinator sees this worker */
  int threads;
  uint64_t memory_bytes;
  int64_t give_up_ms;    /* without ever having reached the coordinator; 0: never */
} tri_worker_config;

/* Runs until SIGTERM or SIGINT or the coordinator says so (TRI_OK), or for good reason cannot go on: TRI_E_DENIED the
 * coordinator refused the key or holds another one than coordinator.key; what a Refuse said; TRI_E_UNREACHABLE given up. */
TRI_MUST_CHECK tri_status tri_worker_run(const tri_worker_config *config, tri_error *err);

#endif
