/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_FETCH_H
#define TRI_WORKER_FETCH_H
#include "proto/loop.h"
#include "worker/store.h"

/* Getting parts into the store, each from where the coordinator says: the coordinator itself, or a worker that has it. A part comes in chunks,
 * in order, with at most TRI_FETCH_WINDOW asked for and not yet here from one source: that is the flow control. A part that broke off goes on
 * where it stopped. Whether the bytes are right is found out when they are used (shard.h). One thread, in its loop's callbacks. */

enum {
  TRI_FETCH_SOURCES = 8,       /* at once */
  TRI_FETCH_WINDOW = 8,        /* chunks of TRI_CHUNK_BYTES */
  TRI_FETCH_SILENT_MS = 10000, /* a source that gives nothing for so long has failed */
};

typedef struct tri_fetch tri_fetch;

typedef struct tri_fetch_config {
  tri_net *net;
  tri_loop *loop;
  const tri_store *store;
  const tri_manifest *manifest;
  const char *coordinator; /* its endpoint and key */
  const uint8_t *coordinator_key;
  /* A question for the coordinator: who has these? */
  void (*need)(void *arg, const tri_msg_need *m);
  /* All that was wanted is here (TRI_OK), or can't come: the disk's fault, or the limit's. */
  void (*done)(void *arg, tri_status status, const tri_error *err);
  void *arg;
} tri_fetch_config;

TRI_MUST_CHECK tri_status tri_fetch_create(tri_fetch **out, const tri_fetch_config *config, tri_error *err);
void tri_fetch_destroy(tri_fetch **f);
/* These parts [n] are wanted, in place of those wanted before; what has come of those stays. `damaged`: what is here of them is wrong, and was
 * dropped by the caller; they should come from elsewhere. done may be called from here. */
void tri_fetch_want(tri_fetch *f, const uint32_t *parts, size_t n, bool damaged);
/* Nothing is wanted any more. */
void tri_fetch_stop(tri_fetch *f);
/* The coordinator's answer. */
void tri_fetch_source(tri_fetch *f, const tri_msg_source *m);
void tri_fetch_tick(tri_fetch *f, int64_t now_ms);
/* Of what is wanted: bytes here, and in all (0: nothing is wanted). */
void tri_fetch_progress(const tri_fetch *f, uint64_t *here, uint64_t *total);
/* The best rate over half a second since it was created, kbit/s (gauge.h); 0: not known. */
uint32_t tri_fetch_kbps(const tri_fetch *f);

#endif
