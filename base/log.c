/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = -1; /* -1: not yet read from the environment */
static char log_name[48] = "trireme";

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static int level_now(void) {
  int level = atomic_load_explicit(&log_level, memory_order_relaxed);
  if (level >= 0) return level;
  level = TRI_LOG_INFO;
  const char *env = getenv("TRIREME_LOG");
  for (int i = 0; env && i < 4; i++)
    if (strcasecmp(env, level_names[i]) == 0) level = i;
  atomic_store_explicit(&log_level, level, memory_order_relaxed);
  return level;
}

void tri_log_set_level(tri_log_level level) { atomic_store_explicit(&log_level, (int)level, memory_order_relaxed); }

void tri_log_set_name(const char *name) { snprintf(log_name, sizeof log_name, "%s", name); }

/* Quotes and control bytes would let a peer's text forge a line. */
static void sanitise(char *s) {
  for (; *s; s++) {
    if (*s == '"') *s = '\'';
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = ' ';
  }
}

void tri_log_write(tri_log_level level, const char *fmt, ...) {
  if ((int)level > level_now()) return;
  char msg[900], line[1100], stamp[32];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  sanitise(msg);
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  struct tm tm;
  gmtime_r(&ts.tv_sec, &tm);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
  int n = snprintf(line, sizeof line, "%s.%03ldZ level=%s name=\"%s\" msg=\"%s\"\n", stamp, ts.tv_nsec / 1000000,
                   level_names[level], log_name, msg);
  if (n > (int)sizeof line - 1) n = (int)sizeof line - 1;
  /* one write, so that lines of several processes on one terminal stay whole */
  ssize_t done = write(STDERR_FILENO, line, (size_t)n);
  (void)done;
}
