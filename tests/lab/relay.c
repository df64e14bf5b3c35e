/* SPDX-License-Identifier: MIT */
#include "tests/lab/hub.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

/* Frames under way in one direction; one more is lost, as on a full wire. The kernel keeps frames of a TAP device under its MTU. */
enum { FRAMES = 4096, FRAME_BYTES = 1536 };
typedef struct lane {
  int from, to;
  unsigned first, count;
  struct { int64_t due_ns; size_t len; } frames[FRAMES];
  uint8_t bytes[FRAMES][FRAME_BYTES];
} lane;
static lane lanes[2]; /* a process has one relay */

/* False once the device is gone. */
static bool take(lane *l, int64_t delay_ns) {
  for (;;) {
    uint8_t lost[FRAME_BYTES];
    unsigned at = (l->first + l->count) % FRAMES;
    ssize_t n = read(l->from, l->count < FRAMES ? l->bytes[at] : lost, FRAME_BYTES);
    if (n < 0) return errno == EAGAIN || errno == EINTR || errno == EIO; /* EIO: it is down */
    if (n == 0) return false;
    if (l->count == FRAMES) continue;
    l->frames[at].due_ns = tri_clock_ns() + delay_ns, l->frames[at].len = (size_t)n;
    l->count++;
  }
}

/* What is due; a frame that the other side doesn't take is lost. Returns the time until the next one, or -1: none. */
static int64_t give(lane *l) {
  for (; l->count; l->first = (l->first + 1) % FRAMES, l->count--) {
    int64_t left = l->frames[l->first].due_ns - tri_clock_ns();
    if (left > 0) return left;
    ssize_t n = write(l->to, l->bytes[l->first], l->frames[l->first].len);
    (void)n;
  }
  return -1;
}

_Noreturn void lab_relay(int a_fd, int b_fd, double delay_ms) {
  int64_t delay_ns = (int64_t)(delay_ms * 1e6);
  lanes[0].from = lanes[1].to = a_fd, lanes[1].from = lanes[0].to = b_fd;
  for (;;) {
    int64_t a = give(&lanes[0]), b = give(&lanes[1]), wait = a < 0 || (b >= 0 && b < a) ? b : a;
    struct timespec limit = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
    struct pollfd fds[] = {{.fd = a_fd, .events = POLLIN}, {.fd = b_fd, .events = POLLIN}};
    if (ppoll(fds, 2, wait < 0 ? NULL : &limit, NULL) < 0 && errno != EINTR) _exit(1);
    if (!take(&lanes[0], delay_ns) || !take(&lanes[1], delay_ns)) _exit(0);
  }
}
