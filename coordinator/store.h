/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_STORE_H
#define TRI_COORDINATOR_STORE_H
#include "base/buf.h"
#include "proto/codec.h"

/* Jobs on disk (SQLite, in WAL mode): what was accepted, and all that its client was told, so that both outlive the coordinator's
 * process. One thread.
 *
 * An accepted job is on the disk itself before tri_store_accept returns. What is told later is written in transactions that tri_store_commit
 * ends: before it is sent, so that it outlives the process; a power cut may lose the last of it, and then it is computed again.
 * Times are of the wall clock, in ms since 1970. Errors: TRI_E_IO, TRI_E_LIMIT (disk full), TRI_E_INVALID (no such file of ours, damaged,
 * or of a later version), each with the file's name and what to do. */

typedef struct tri_store tri_store;

typedef enum tri_store_state { TRI_STORE_QUEUED, TRI_STORE_RUNNING, TRI_STORE_ENDED } tri_store_state;

/* Buffers point into the store's memory until its next call. */
typedef struct tri_store_job {
  uint64_t id;
  uint8_t client_key[TRI_KEY_BYTES];
  char client[TRI_MAX_NAME];
  char idempotency[TRI_MAX_IDEMPOTENCY]; /* empty: none; else no two jobs of a client have the same */
  const uint8_t *request, *payload;        /* Submit's envelope, and its payload */
  size_t request_len, payload_len;
  tri_store_state state;
  uint32_t prompt_tokens, tokens;
  int64_t submitted_ms, started_ms, ended_ms; /* 0: not yet */
  tri_done_reason reason;                  /* ENDED */
  char error[TRI_MAX_TEXT];                /* FAILED */
} tri_store_job;

/* A piece of what the client was told: a Tokens envelope and its text. */
typedef struct tri_store_piece {
  uint32_t index; /* of its first token in the answer */
  const uint8_t *envelope, *text;
  size_t envelope_len, text_len;
} tri_store_piece;

/* Opens or makes the file, and brings one of an earlier version up to date. */
TRI_MUST_CHECK tri_status tri_store_open(tri_store **out, const char *path, tri_error *err);
/* Commits what there is to commit. */
void tri_store_close(tri_store **s);

/* The largest id that a job of this file ever had; 0: none. */
TRI_MUST_CHECK tri_status tri_store_last_id(tri_store *s, uint64_t *id, tri_error *err);
/* The job of this client with this idempotency key; 0: there is none. */
TRI_MUST_CHECK tri_status tri_store_twin(tri_store *s, const uint8_t client_key[TRI_KEY_BYTES], const char *idempotency, uint64_t *id,
                                         tri_error *err);
/* Keep a new job, QUEUED, whose id is larger than all before. */
TRI_MUST_CHECK tri_status tri_store_accept(tri_store *s, const tri_store_job *job, tri_error *err);
TRI_MUST_CHECK tri_status tri_store_started(tri_store *s, uint64_t id, int64_t now_ms, tri_error *err);
/* A piece with so many tokens; 0 are possible. */
TRI_MUST_CHECK tri_status tri_store_add(tri_store *s, uint64_t id, const tri_store_piece *piece, uint32_t tokens, tri_error *err);
/* `rest` is the text that comes with Done. */
TRI_MUST_CHECK tri_status tri_store_ended(tri_store *s, uint64_t id, tri_done_reason reason, const char *error, const uint8_t *rest,
                                          size_t rest_len, int64_t now_ms, tri_error *err);
/* On failure what was to be committed is gone, as after a rollback. */
TRI_MUST_CHECK tri_status tri_store_commit(tri_store *s, tri_error *err);
void tri_store_rollback(tri_store *s);

/* TRI_E_NOT_FOUND: no such job. */
TRI_MUST_CHECK tri_status tri_store_get(tri_store *s, uint64_t id, tri_store_job *out, tri_error *err);
/* Calls `fn` for jobs with after < id, in the order of ids, until it returns false: those not ended, or all. The callback may not call the
 * store. */
TRI_MUST_CHECK tri_status tri_store_each(tri_store *s, uint64_t after, bool unfinished, bool (*fn)(void *arg, const tri_store_job *job),
                                         void *arg, tri_error *err);
/* Pieces with index >= first, in their order; last, if the job has ended, the rest of the text as a piece without an envelope. */
TRI_MUST_CHECK tri_status tri_store_pieces(tri_store *s, uint64_t id, uint32_t first, bool (*fn)(void *arg, const tri_store_piece *piece),
                                           void *arg, tri_error *err);
/* Forget an ended job. TRI_E_NOT_FOUND, TRI_E_BUSY: it has not ended. */
TRI_MUST_CHECK tri_status tri_store_remove(tri_store *s, uint64_t id, tri_error *err);
/* Forget ended jobs: those that ended before `before_ms`, and the oldest of those beyond `most`. *n receives how many. */
TRI_MUST_CHECK tri_status tri_store_prune(tri_store *s, int64_t before_ms, uint32_t most, uint32_t *n, tri_error *err);

#endif
