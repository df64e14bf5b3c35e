/* SPDX-License-Identifier: MIT */
#include "proto/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>
#include "base/clock.h"
#include "proto/net.h"

/* A link, a file descriptor, or (link NULL, fd -1) the place of one that was removed. */
typedef struct entry {
  tri_link *link;
  int fd;
  uint32_t changes; /* of the link, that fn has been called for */
  tri_loop_fn *fn;
  void *arg;
} entry;

struct tri_loop {
  tri_net *net;
  entry *entries;
  size_t count, capacity;
  zmq_pollitem_t *items; /* room for two an entry and one for the handshakes */
  tri_loop_fn *tick;
  void *tick_arg;
  int64_t tick_ms, tick_due_ms;
  int signal_fd;
  tri_loop_fn *on_signal;
  void *signal_arg;
  bool stopped;
};

tri_status tri_loop_create(tri_loop **out, tri_net *net, tri_error *err) {
  tri_loop *l = calloc(1, sizeof *l);
  if (l) l->items = malloc(sizeof *l->items);
  if (!l || !l->items) return free(l), tri_status_fail(err, TRI_E_NOMEM, "out of memory for a loop");
  l->net = net, l->signal_fd = -1;
  *out = l;
  return TRI_OK;
}

void tri_loop_destroy(tri_loop **loop) {
  tri_loop *l = *loop;
  if (!l) return;
  if (l->signal_fd >= 0) close(l->signal_fd);
  free(l->entries);
  free(l->items);
  free(l);
  *loop = NULL;
}

static tri_status add(tri_loop *l, entry e, tri_error *err) {
  if (l->count == l->capacity) {
    size_t capacity = l->capacity ? 2 * l->capacity : 8;
    entry *entries = realloc(l->entries, capacity * sizeof *entries);
    if (entries) l->entries = entries;
    zmq_pollitem_t *items = realloc(l->items, (2 * capacity + 1) * sizeof *items);
    if (items) l->items = items;
    if (!entries || !items) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a loop's entry");
    l->capacity = capacity;
  }
  l->entries[l->count++] = e;
  return TRI_OK;
}

/* Removed entries keep their place until the callbacks of this round have run. */
static void mark_removed(entry *e) { *e = (entry){.fd = -1}; }
static bool is_removed(const entry *e) { return !e->link && e->fd < 0; }

tri_status tri_loop_add_link(tri_loop *loop, tri_link *link, tri_loop_fn *fn, void *arg, tri_error *err) {
  return add(loop, (entry){.link = link, .fd = -1, .fn = fn, .arg = arg}, err);
}
tri_status tri_loop_add_fd(tri_loop *loop, int fd, tri_loop_fn *fn, void *arg, tri_error *err) {
  if (fd < 0) return tri_status_fail(err, TRI_E_INVALID, "a loop's file descriptor is negative");
  return add(loop, (entry){.fd = fd, .fn = fn, .arg = arg}, err);
}
void tri_loop_remove_link(tri_loop *loop, tri_link *link) {
  for (size_t i = 0; i < loop->count; i++)
    if (link && loop->entries[i].link == link) mark_removed(&loop->entries[i]);
}
void tri_loop_remove_fd(tri_loop *loop, int fd) {
  for (size_t i = 0; i < loop->count; i++)
    if (fd >= 0 && loop->entries[i].fd == fd) mark_removed(&loop->entries[i]);
}

void tri_loop_set_tick(tri_loop *loop, int64_t ms, tri_loop_fn *fn, void *arg) {
  loop->tick = fn, loop->tick_arg = arg, loop->tick_ms = ms, loop->tick_due_ms = tri_clock_ms() + ms;
}
void tri_loop_stop(tri_loop *loop) { loop->stopped = true; }

static void read_signal(void *arg) {
  tri_loop *l = arg;
  struct signalfd_siginfo info;
  if (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) l->on_signal(l->signal_arg);
}

tri_status tri_loop_on_signal(tri_loop *loop, tri_loop_fn *fn, void *arg, tri_error *err) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int fd = pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
  if (fd < 0) return tri_status_fail(err, TRI_E_IO, "cannot take signals: %s", strerror(errno));
  tri_status status = tri_loop_add_fd(loop, fd, read_signal, loop, err);
  if (status != TRI_OK) return close(fd), status;
  loop->signal_fd = fd, loop->on_signal = fn, loop->signal_arg = arg;
  return TRI_OK;
}

static void compact(tri_loop *l) {
  size_t n = 0;
  for (size_t i = 0; i < l->count; i++)
    if (!is_removed(&l->entries[i])) l->entries[n++] = l->entries[i];
  l->count = n;
}

/* A link that libzmq has given up gets a new socket when it is due. Returns when the next thing must happen. */
static int64_t tend_links(tri_loop *l, int64_t now, int64_t until) {
  for (size_t i = 0; i < l->count; i++) {
    tri_link *link = l->entries[i].link;
    if (!link) continue;
    if (tri_link_changes(link) != l->entries[i].changes) return now; /* its function has not heard of it */
    int64_t due = tri_link_due_ms(link);
    if (due && due <= now) tri_link_redial(link);
    else if (due && due < until) until = due;
  }
  return until;
}

/* Item 0 is for the handshakes, 1 + 2 i and 2 + 2 i for entry i; a place without use polls nothing. */
static size_t fill_items(tri_loop *l) {
  zmq_pollitem_t none = {NULL, -1, 0, 0};
  l->items[0] = (zmq_pollitem_t){l->net->zap, -1, ZMQ_POLLIN, 0};
  for (size_t i = 0; i < l->count; i++) {
    const entry *e = &l->entries[i];
    void *monitor = e->link ? tri_link_monitor(e->link) : NULL;
    l->items[1 + 2 * i] = (zmq_pollitem_t){e->link ? tri_link_socket(e->link) : NULL, e->fd, ZMQ_POLLIN, 0};
    l->items[2 + 2 * i] = monitor ? (zmq_pollitem_t){monitor, -1, ZMQ_POLLIN, 0} : none;
  }
  return 1 + 2 * l->count;
}

static void dispatch(tri_loop *l, size_t polled) {
  if (l->items[0].revents) tri_net_serve(l->net);
  /* Callbacks may add entries (at the end, for the next round) and so move both arrays, or remove some. */
  for (size_t i = 0; i < polled && !l->stopped; i++) {
    entry *e = &l->entries[i];
    if (is_removed(e)) continue;
    if (l->items[2 + 2 * i].revents) tri_link_get_state(e->link);
    uint32_t changes = e->link ? tri_link_changes(e->link) : 0;
    bool call = l->items[1 + 2 * i].revents != 0 || changes != e->changes;
    e->changes = changes;
    if (call) e->fn(e->arg);
  }
}

static void tick(tri_loop *l) {
  int64_t now = tri_clock_ms();
  if (!l->tick || now < l->tick_due_ms) return;
  l->tick_due_ms = now + l->tick_ms;
  l->tick(l->tick_arg);
}

tri_status tri_loop_run(tri_loop *loop, int64_t timeout_ms, tri_error *err) {
  const int64_t day = 24 * 3600 * 1000, start = tri_clock_ms();
  tri_status status = TRI_OK;
  while (!loop->stopped && status == TRI_OK) {
    compact(loop);
    int64_t now = tri_clock_ms(), until = now + day;
    if (timeout_ms >= 0 && now - start >= timeout_ms) { status = TRI_E_TIMEOUT; break; }
    if (timeout_ms >= 0 && start + timeout_ms < until) until = start + timeout_ms;
    if (loop->tick && loop->tick_due_ms < until) until = loop->tick_due_ms;
    until = tend_links(loop, now, until);
    size_t polled = loop->count;
    int n = zmq_poll(loop->items, (int)fill_items(loop), until > now ? (long)(until - now) : 0);
    if (n < 0 && zmq_errno() != EINTR) status = tri_status_fail(err, TRI_E_INTERNAL, "cannot poll: %s", zmq_strerror(zmq_errno()));
    if (n >= 0) dispatch(loop, polled);
    if (!loop->stopped) tick(loop);
  }
  loop->stopped = false;
  return status;
}
