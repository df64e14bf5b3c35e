/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_LOG_H
#define TRI_BASE_LOG_H
#include "base/status.h"

/* One line per event on stderr, logfmt: `time level=info room=worker msg="…"`. Thread-safe. The level comes
 * from TRIREME_LOG (error, warn, info, debug; default info) or tri_log_set_level. Never log keys or prompts. */

typedef enum { TRI_LOG_ERROR, TRI_LOG_WARN, TRI_LOG_INFO, TRI_LOG_DEBUG } tri_log_level;

void tri_log_set_level(tri_log_level level);
/* Name that stands in every line of this process, e.g. "worker w1". Copied, cut at 47 bytes. */
void tri_log_set_name(const char *name);
void tri_log_write(tri_log_level level, const char *fmt, ...) TRI_PRINTF(2, 3);

#define TRI_ERROR(...) tri_log_write(TRI_LOG_ERROR, __VA_ARGS__)
#define TRI_WARN(...) tri_log_write(TRI_LOG_WARN, __VA_ARGS__)
#define TRI_INFO(...) tri_log_write(TRI_LOG_INFO, __VA_ARGS__)
#define TRI_DEBUG(...) tri_log_write(TRI_LOG_DEBUG, __VA_ARGS__)

#endif
