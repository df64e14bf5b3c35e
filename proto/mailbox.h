/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_MAILBOX_H
#define TRI_PROTO_MAILBOX_H
#include <stddef.h>
#include "base/status.h"

/* A bounded queue of pointers between threads, with an eventfd so that a loop can poll the receiving end. Order is kept. */

typedef struct tri_mailbox tri_mailbox;

TRI_MUST_CHECK tri_status tri_mailbox_create(tri_mailbox **out, size_t capacity, tri_error *err);
void tri_mailbox_destroy(tri_mailbox **m); /* does not free items left inside */
/* TRI_E_BUSY when full; ownership passes on success. Any thread. */
TRI_MUST_CHECK tri_status tri_mailbox_put(tri_mailbox *m, void *item);
/* NULL when empty. */
void *tri_mailbox_take(tri_mailbox *m);
/* Wait for an item; NULL once closed and empty. */
void *tri_mailbox_wait(tri_mailbox *m);
void tri_mailbox_close(tri_mailbox *m); /* wakes waiters; later puts fail with TRI_E_CANCELLED */
int tri_mailbox_fd(const tri_mailbox *m); /* readable while the queue is not empty */

#endif
