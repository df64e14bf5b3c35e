/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_CLIENT_H
#define TRI_CLI_CLIENT_H
#include "base/buf.h"
#include "proto/codec.h"

/* A client's connection to a coordinator. Several jobs may be under way; their events come interleaved. */

typedef struct tri_client tri_client;

/* Reads the key folder (secret.key, coordinator.key; NULL: this user's own for clients), dials the endpoint (NULL: the one in
 * coordinator.key) and waits until the connection stands: TRI_E_UNREACHABLE when nothing answers
 * within timeout_ms, TRI_E_DENIED when our key or theirs is not the right one. `interrupt_fd` (-1: none) ends every wait
 * with TRI_E_CANCELLED once it is readable; it stays the caller's. */
TRI_MUST_CHECK tri_status tri_client_dial(tri_client **out, const char *endpoint, const char *key_dir, int interrupt_fd, int64_t timeout_ms,
                                          tri_error *err);
void tri_client_close(tri_client **c);

/* Ask for a job: payload is the prompt's text, or with m->ids its ids as int32. m->protocol is filled in. The answer comes as
 * an event, in the order of the submits. */
TRI_MUST_CHECK tri_status tri_client_submit(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len, tri_error *err);
TRI_MUST_CHECK tri_status tri_client_cancel(tri_client *c, uint64_t job, tri_error *err);

/* Be told of a job of before, from this token of its answer on: ACCEPTED, TOKENS and DONE as ever, or REFUSE. */
TRI_MUST_CHECK tri_status tri_client_follow(tri_client *c, uint64_t job, uint32_t from, tri_error *err);
/* After TRI_E_UNREACHABLE: until the connection stands again. Jobs under way are to be followed anew. */
TRI_MUST_CHECK tri_status tri_client_reconnect(tri_client *c, int64_t timeout_ms, tri_error *err);
/* Jobs with larger numbers than `after`, at most `limit` (0: as many as there may be), or with `job` that one and its text: JSON, appended
 * to *json. No jobs may be under way, here and below. */
TRI_MUST_CHECK tri_status tri_client_jobs(tri_client *c, uint64_t after, uint32_t limit, uint64_t job, tri_buf *json, int64_t timeout_ms,
                                          tri_error *err);
TRI_MUST_CHECK tri_status tri_client_forget(tri_client *c, uint64_t job, int64_t timeout_ms, tri_error *err);

/* An admin's wish: leave this worker out of plans, or (undo) no longer. The answer comes as an event. */
TRI_MUST_CHECK tri_status tri_client_drain(tri_client *c, const char *name, bool undo, tri_error *err);

typedef struct tri_client_event {
  const tri_msg *msg;     /* ACCEPTED, REFUSE (of the oldest submit without an answer), TOKENS, DONE, STATUS, DRAINING or TRACE */
  const uint8_t *payload; /* both valid until the next call on this client */
  size_t payload_len;
} tri_client_event;

/* The next event. timeout_ms < 0: wait for ever. TRI_E_TIMEOUT: nothing came; TRI_E_UNREACHABLE: the connection is lost. */
TRI_MUST_CHECK tri_status tri_client_next(tri_client *c, tri_client_event *out, int64_t timeout_ms, tri_error *err);
/* Ask for the coordinator's status and wait for it: JSON, appended to *json. No jobs may be under way. */
TRI_MUST_CHECK tri_status tri_client_status(tri_client *c, tri_buf *json, int64_t timeout_ms, tri_error *err);
/* Begin or end tracing steps, or get those after that one, and wait for the answer: likewise. docs/PROTOCOL.md has the document. */
TRI_MUST_CHECK tri_status tri_client_trace(tri_client *c, tri_trace_action action, uint64_t after, tri_buf *json, int64_t timeout_ms,
                                           tri_error *err);
/* Get them while jobs are under way: the answer is an event. */
TRI_MUST_CHECK tri_status tri_client_ask_trace(tri_client *c, uint64_t after, tri_error *err);

#endif
