/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_LOOP_H
#define TRI_PROTO_LOOP_H
#include "proto/link.h"

/* One thread's event loop over links, file descriptors and a tick. Callbacks run on the thread in tri_loop_run and may add,
 * remove and stop. */

typedef struct tri_loop tri_loop;
typedef void tri_loop_fn(void *arg);

TRI_MUST_CHECK tri_status tri_loop_create(tri_loop **out, tri_net *net, tri_error *err); /* also serves the net's allow function */
void tri_loop_destroy(tri_loop **loop);
/* fn is called while the link has messages and after each change of a dialled link's state: it should look at the state, then
 * receive until TRI_E_AGAIN or a fair number. */
TRI_MUST_CHECK tri_status tri_loop_add_link(tri_loop *loop, tri_link *link, tri_loop_fn *fn, void *arg, tri_error *err);
void tri_loop_remove_link(tri_loop *loop, tri_link *link);
TRI_MUST_CHECK tri_status tri_loop_add_fd(tri_loop *loop, int fd, tri_loop_fn *fn, void *arg, tri_error *err);
void tri_loop_remove_fd(tri_loop *loop, int fd);
/* fn every `ms`; one per loop */
void tri_loop_set_tick(tri_loop *loop, int64_t ms, tri_loop_fn *fn, void *arg);
/* Runs until tri_loop_stop, or `timeout_ms` (< 0: for ever) has passed: TRI_E_TIMEOUT. */
TRI_MUST_CHECK tri_status tri_loop_run(tri_loop *loop, int64_t timeout_ms, tri_error *err);
/* From a callback, or before tri_loop_run, which then returns at once. */
void tri_loop_stop(tri_loop *loop);
/* SIGTERM and SIGINT (blocked for all threads; call before threads start) arrive as a callback. */
TRI_MUST_CHECK tri_status tri_loop_on_signal(tri_loop *loop, tri_loop_fn *fn, void *arg, tri_error *err);

#endif
