/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_WORKER_IMPL_H
#define TRI_WORKER_WORKER_IMPL_H
#include "proto/beacon.h"
#include "proto/link.h"
#include "proto/loop.h"
#include "proto/server.h"
#include "worker/fetch.h"
#include "worker/gauge.h"
#include "worker/runner.h"
#include "worker/tempo.h"
#include "worker/worker.h"

/* Inside worker/ only: the state that the control side (worker.c, seek.c) and the data side (flow.c) share. Everything here belongs to
 * the I/O thread. */

enum {
  WORKER_FAIR = 64,                  /* messages of one link before the others get their turn */
  WORKER_TICK_MS = 100,
  WORKER_BIND_MS = 10000,            /* for a fixed data port to become free again */
  WORKER_LINK_MS = 15000,            /* for the next stage to answer */
  WORKER_LEAVE_MS = 30000,           /* for the coordinator to do without us */
  WORKER_ADMITTED = TRI_MAX_STAGES,  /* keys that may get parts from here */
};

typedef enum worker_state { CALLING, KNOCKED, PREPARING, GREETED, IDLE, LOADING, BINDING, BOUND, LINKING, READY } worker_state;

typedef struct worker {
  const tri_worker_config *config;
  tri_keypair key;
  uint8_t coordinator_key[TRI_KEY_BYTES];
  tri_shard_source source;   /* where parts are; its manifest is empty until the coordinator has told it */
  tri_gguf *local;           /* of --model, with its parts; NULL without */
  tri_parts *local_parts;
  tri_runner *runner;
  tri_fetch *fetch;          /* with the manifest */
  tri_msg_hello hello;
  bool measuring, measured;  /* the model's speed here; then hello is complete, and d is known */
  int32_t d;                 /* values of a row */
  tri_gauge gauge;           /* of the link to the coordinator */
  bool gauged;               /* so far as it could be; hello has what came of it */
  int64_t gauge_until_ms, next_gauge_ms;
  bool restart;              /* the coordinator serves another model now: begin anew */
  tri_net *net;
  tri_loop *loop;
  tri_link *control;
  tri_link *parts;           /* listens for those who get parts from here */
  uint16_t parts_port;
  tri_server *server;        /* over it */
  uint8_t admitted[WORKER_ADMITTED][TRI_KEY_BYTES];
  size_t n_admitted;
  char endpoint[TRI_MAX_ENDPOINT]; /* the coordinator's: as configured, or where it was found */
  tri_beacon_asker asker;    /* fd -1: not asking */
  int64_t unreached_ms, next_ask_ms; /* since when it does not answer; 0: it does */
  worker_state state;
  uint32_t greeted;          /* the control connection that heard our Hello */
  bool welcomed_once, warned;
  int64_t start_ms, beat_ms, next_beat_ms;
  int64_t since_ms;          /* of BINDING or LINKING */
  uint32_t prefetching;      /* what for parts are coming beside the epoch; 0: nothing */
  int64_t leave_by_ms;       /* asked to end: then we do, whatever the coordinator says; 0: not asked */
  int64_t retry_ms;          /* CALLING over a connection that is up: when to say hello again */
  tri_status outcome;        /* why it ended */
  tri_error *err;
  /* of the epoch */
  tri_msg_assign assign;     /* epoch 0: none */
  size_t stage_bytes;
  tri_link *upstream;        /* listens; NULL at the first stage */
  tri_link *downstream;      /* dialled; NULL at the last */
  uint32_t downstream_connection;
  bool paused;               /* upstream is out of the loop until the runner has room */
  tri_task *held;            /* a step that waits for its Open, or for room */
  tri_task *unsent;          /* a result that waits for the next stage's queue */
  tri_opening opens[TRI_MAX_OPENS];
  size_t n_opens;
  tri_tempo tempo;
  /* since the process began */
  uint64_t steps, rows, dropped, sent_bytes;
  uint64_t ticked_steps, told_steps; /* at the last tick, in the last heartbeat */
  tri_msg incoming, outgoing; /* scratch: they are large */
} worker;

/* --- worker.c --- */
/* Dial the coordinator at w->endpoint, in the place of a link that there was. */
tri_status worker_dial(worker *w, tri_error *err);
void worker_send(worker *w, void *payload, size_t len, bool owned); /* w->outgoing to the coordinator */
/* Tell the coordinator that this epoch is over, and drop it. */
void worker_fault(worker *w, tri_status status, const char *fmt, ...) TRI_PRINTF(3, 4);

/* --- parts.c --- */
/* The local file's parts and the store, as far as they are configured. */
tri_status worker_parts_open(worker *w, tri_error *err);
/* Listen for others who need parts. */
tri_status worker_parts_listen(worker *w, tri_error *err);
void worker_parts_close(worker *w);
bool worker_parts_allow(const worker *w, const uint8_t key[TRI_KEY_BYTES]);
/* The coordinator says who may get parts from here, or no longer. */
void worker_parts_admit(worker *w, const tri_msg_admit *m);
/* The model's list has come. TRI_E_AGAIN: it is another one than before. */
tri_status worker_parts_model(worker *w, const uint8_t *manifest, size_t len, tri_error *err);
/* Tell the coordinator which parts are here. */
void worker_parts_tell(worker *w);
/* Get what a task lacked; worker_fetched is called in the end, perhaps from here. */
void worker_parts_get(worker *w, const tri_shard_lack *lack);
/* For a plan to come: get those of these parts (bits, as of Holds) that are not here, while the stage serves on. */
void worker_parts_prefetch(worker *w, uint32_t id, const uint8_t *bits, size_t len);
/* Tell the coordinator how that went. */
void worker_parts_prefetched(worker *w, tri_status status, const tri_error *err);
/* worker.c: all is here, or can't come. */
void worker_fetched(void *worker, tri_status status, const tri_error *err);
/* --- reach.c --- */
/* Measure the link to the coordinator: worker_gauged is called in the end, perhaps from here. */
void worker_reach_begin(worker *w);
void worker_reach_pong(worker *w, const tri_msg_pong *m, size_t payload);
void worker_reach_tick(worker *w, int64_t now_ms);
/* worker.c: w->hello has what is known of it now. */
void worker_gauged(worker *w);
/* --- seek.c --- */
/* Look for a coordinator that does not answer where it was; dial where it answers. */
void worker_seek(worker *w, int64_t now_ms);
/* We are welcome: what was found is kept. */
void worker_seek_done(worker *w);

/* --- flow.c --- */
tri_status worker_flow_bind(worker *w, uint16_t *port, tri_error *err); /* listen for the stage before */
tri_status worker_flow_connect(worker *w, const tri_msg_connect *m, tri_error *err);
void worker_flow_open(worker *w, const tri_msg_open *m, const uint8_t *payload, size_t len);
/* A step for the first stage, from the coordinator. */
void worker_flow_first(worker *w, const tri_msg_step *m);
/* A step task came back from the runner: takes it over. */
void worker_flow_done(worker *w, tri_task *task);
/* Go on with what had to wait. */
void worker_flow_resume(worker *w);
/* Look at the link to the next stage. */
void worker_flow_watch(worker *w, int64_t now_ms);
void worker_flow_drop(worker *w);

#endif
