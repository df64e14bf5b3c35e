/* SPDX-License-Identifier: MIT */
#include "cli/interrupt.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

tri_status tri_interrupt_begin(tri_interrupt *i, tri_error *err) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  i->masked = sigprocmask(SIG_BLOCK, &set, &i->old) == 0;
  i->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return i->fd >= 0 ? TRI_OK : tri_status_fail(err, TRI_E_IO, "cannot take signals: %s", strerror(errno));
}

void tri_interrupt_end(tri_interrupt *i) {
  if (i->fd >= 0) close(i->fd);
  if (i->masked) sigprocmask(SIG_SETMASK, &i->old, NULL);
  *i = TRI_INTERRUPT_NONE;
}
