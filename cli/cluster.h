/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_CLUSTER_H
#define TRI_CLI_CLUSTER_H
#include <sys/types.h>
#include "cli/client.h"
#include "engine/wire.h"

/* A whole cluster on this machine: a coordinator and workers as child processes in a process group of their own, with keys in
 * a temporary folder. They end with this process in every case (also when it is killed); the folder goes with
 * tri_cluster_stop, or when this process was killed with the next tri_cluster_start of the same user. While a cluster stands,
 * SIGINT and SIGTERM are blocked in the calling thread (so start it before other threads): they end the waits of its clients
 * with TRI_E_CANCELLED, and the caller goes on to stop it. */

typedef struct tri_cluster tri_cluster;

enum { TRI_CLUSTER_WORKERS = 64 };

typedef struct tri_cluster_options {
  const char *model_path;
  int workers;       /* 1 to TRI_CLUSTER_WORKERS */
  int threads;       /* of each worker; 0: the cores shared out */
  tri_wire wire;
  tri_ftype kv_type;
  int context;       /* 0: the model's */
  int slots;         /* this and the next two as trireme-coordinator has them; 0, NULL: its default */
  int kv_tokens;
  const char *reuse;
  bool no_orphans;   /* jobs end with their clients */
  const char *nodes; /* a nodes file for the coordinator, whose plan may then leave workers out; NULL: each has a layer */
  int64_t memory;    /* of each worker, bytes; 0: no limit but the machine's */
  int least;         /* workers that it serves with; 0: all of them */
  bool lasting;      /* running jobs outlive a worker: they go on without it, or once it is back. Else they fail with it */
  int replan_every_s; /* another plan is taken while one serves at most so often; 0: the coordinator's default */
  int lost_after_s;  /* a worker silent for so long is lost; 0: 30, as this machine may be busy, and one that ends is noticed
                        at once anyway */
  bool fetch;        /* workers have no model file: parts come from the coordinator and each other into their key folders' "parts" */
  int absent;        /* the last so many workers have keys, but are not started: for tri_cluster_restart, or for a test that
                        plays them. Then tri_cluster_start returns once the coordinator listens */
} tri_cluster_options;

/* Returns once the pipeline serves. When it cannot come up, everything is ended and *err says why; if a process died, the end
 * of the cluster's log goes to stderr. The programs are found beside the running one. */
TRI_MUST_CHECK tri_status tri_cluster_start(tri_cluster **out, const tri_cluster_options *o, tri_error *err);
/* Until the pipeline serves for the first time; tri_cluster_start has done so when no worker is absent. */
TRI_MUST_CHECK tri_status tri_cluster_wait(tri_cluster *c, tri_error *err);
/* Ends and reaps every process, removes the folder. */
void tri_cluster_stop(tri_cluster **c);
/* A client of it. Close it before the cluster is stopped. */
TRI_MUST_CHECK tri_status tri_cluster_dial(tri_client **out, const tri_cluster *c, tri_error *err);

/* For those who look closer. */
const char *tri_cluster_endpoint(const tri_cluster *c);
const char *tri_cluster_dir(const tri_cluster *c); /* key folders: coordinator, client, w1, w2, …; log */
pid_t tri_cluster_pid(const tri_cluster *c, int worker); /* 0, 1, …; -1: the coordinator */
/* Start a worker, or the coordinator (-1), again that has ended: reaps it first. */
TRI_MUST_CHECK tri_status tri_cluster_restart(tri_cluster *c, int worker, tri_error *err);

#endif
