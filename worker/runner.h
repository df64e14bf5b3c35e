/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_RUNNER_H
#define TRI_WORKER_RUNNER_H
#include "engine/stage.h"
#include "engine/wire.h"
#include "proto/codec.h"
#include "worker/measure.h"
#include "worker/shard.h"

/* The compute thread: it owns the stage and does one task after another, so that links are served while it computes. Tasks go
 * in and come back, in order. */

typedef struct tri_runner tri_runner;

enum { TRI_RUNNER_TASKS = 2 * TRI_MAX_FLIGHTS + 2 /* given and not yet taken back */ };

typedef enum tri_task_kind {
  TRI_TASK_MEASURE, /* how fast is the model here? */
  TRI_TASK_LOAD, /* open the stage of `assign`, in place of the one there */
  TRI_TASK_STEP,
  TRI_TASK_DROP, /* close the stage */
} tri_task_kind;

/* A sequence that begins. */
typedef struct tri_opening {
  tri_msg_open open;
  uint8_t *payload;      /* malloc'ed, or NULL: the grammar that its answer follows, then int32 [open.held] tokens */
  size_t payload_len;
} tri_opening;

typedef struct tri_task {
  tri_task_kind kind;
  uint32_t epoch;
  /* MEASURE and LOAD */
  tri_shard_lack lack;   /* out: parts without which it can't be done */
  /* MEASURE */
  tri_measure measure;   /* out, like the next two */
  int32_t d;             /* values of a row */
  uint8_t model_id[TRI_MODEL_ID_BYTES];
  /* LOAD */
  tri_msg_assign assign;
  size_t stage_bytes;    /* out: all that is held for it, tri_need_bytes */
  /* STEP */
  tri_msg_step step;
  uint8_t *payload;      /* rows from the stage before, malloc'ed; NULL at the first stage */
  size_t payload_len;
  tri_opening *opens;    /* malloc'ed, with their payloads: sequences that begin in this step (last stage) */
  size_t n_opens;
  int64_t arrived_us;    /* when it was here whole */
  int64_t began_us;      /* out: when computing began */
  tri_msg_result result; /* out, last stage */
  uint8_t *out;          /* rows for the next stage, or logits: malloc'ed, owned by the task; NULL without any */
  size_t out_len;
  uint64_t busy_us;      /* out: that it took, the wait before it left out */
  /* how it went: TRI_E_PROTOCOL for a step that the sender should never have sent */
  tri_status status;
  tri_error err;
} tri_task;

tri_task *tri_task_new(tri_task_kind kind, uint32_t epoch); /* NULL when out of memory */
void tri_task_free(tri_task **task);                        /* with what it owns */

/* Models are opened over `source`, which must outlive the runner, and whose manifest must be there with the first task. memory_bytes: a stage
 * that needs more is not loaded. The pool becomes the runner's, also on failure. */
TRI_MUST_CHECK tri_status tri_runner_create(tri_runner **out, const tri_shard_source *source, const tri_kernels *k, tri_pool *pool,
                                            uint64_t memory_bytes, tri_error *err);
void tri_runner_destroy(tri_runner **r); /* after the task at hand; frees what is queued */
/* Ownership passes on success; TRI_E_BUSY when TRI_RUNNER_TASKS are out. */
TRI_MUST_CHECK tri_status tri_runner_put(tri_runner *r, tri_task *task);
tri_task *tri_runner_take(tri_runner *r); /* the next one done, the caller's to free; NULL: none */
int tri_runner_fd(const tri_runner *r);   /* readable while there is one to take */
size_t tri_runner_tasks(const tri_runner *r); /* given and not yet taken back */
/* Steps of other epochs are from now on passed over without work. */
void tri_runner_expect(tri_runner *r, uint32_t epoch);
uint64_t tri_runner_busy_us(const tri_runner *r); /* spent in steps so far, the one at hand included */

#endif
