/* SPDX-License-Identifier: MIT */
#include "proto/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct tri_mailbox {
  pthread_mutex_t lock;
  pthread_cond_t filled;
  size_t capacity, head, count; /* a ring: items [head, head + count) */
  bool closed;
  int fd; /* an eventfd, written when the queue fills from empty and read when it empties */
  void *items[];
};

tri_status tri_mailbox_create(tri_mailbox **out, size_t capacity, tri_error *err) {
  if (capacity == 0 || capacity > SIZE_MAX / (2 * sizeof(void *)))
    return tri_status_fail(err, TRI_E_INVALID, "a mailbox for %zu items", capacity);
  tri_mailbox *m = calloc(1, sizeof *m + capacity * sizeof m->items[0]);
  if (!m) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a mailbox");
  m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (m->fd < 0) {
    free(m);
    return tri_status_fail(err, TRI_E_IO, "cannot make an eventfd: %s", strerror(errno));
  }
  m->capacity = capacity;
  pthread_mutex_init(&m->lock, NULL);
  pthread_cond_init(&m->filled, NULL);
  *out = m;
  return TRI_OK;
}

void tri_mailbox_destroy(tri_mailbox **m) {
  tri_mailbox *b = *m;
  if (!b) return;
  pthread_cond_destroy(&b->filled);
  pthread_mutex_destroy(&b->lock);
  close(b->fd);
  free(b);
  *m = NULL;
}

tri_status tri_mailbox_put(tri_mailbox *m, void *item) {
  tri_status status = TRI_OK;
  pthread_mutex_lock(&m->lock);
  if (m->closed) status = TRI_E_CANCELLED;
  else if (m->count == m->capacity) status = TRI_E_BUSY;
  else {
    m->items[(m->head + m->count++) % m->capacity] = item;
    if (m->count == 1) eventfd_write(m->fd, 1);
    pthread_cond_signal(&m->filled);
  }
  pthread_mutex_unlock(&m->lock);
  return status;
}

static void *take_locked(tri_mailbox *m) {
  if (m->count == 0) return NULL;
  void *item = m->items[m->head];
  m->head = (m->head + 1) % m->capacity;
  eventfd_t value;
  if (--m->count == 0) eventfd_read(m->fd, &value);
  return item;
}

void *tri_mailbox_take(tri_mailbox *m) {
  pthread_mutex_lock(&m->lock);
  void *item = take_locked(m);
  pthread_mutex_unlock(&m->lock);
  return item;
}

void *tri_mailbox_wait(tri_mailbox *m) {
  pthread_mutex_lock(&m->lock);
  while (m->count == 0 && !m->closed) pthread_cond_wait(&m->filled, &m->lock);
  void *item = take_locked(m);
  pthread_mutex_unlock(&m->lock);
  return item;
}

void tri_mailbox_close(tri_mailbox *m) {
  pthread_mutex_lock(&m->lock);
  m->closed = true;
  pthread_cond_broadcast(&m->filled);
  pthread_mutex_unlock(&m->lock);
}

int tri_mailbox_fd(const tri_mailbox *m) { return m->fd; }
