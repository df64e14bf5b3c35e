/* SPDX-License-Identifier: MIT */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tri_status tri_status_fail(tri_error *err, tri_status status, const char *fmt, ...) {
  if (err) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    err->status = status;
  }
  return status;
}

tri_status tri_status_prefix(tri_error *err, tri_status status, const char *fmt, ...) {
  if (err) {
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->text) snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", old);
    err->status = status;
  }
  return status;
}

const char *tri_status_name(tri_status status) {
  switch (status) {
  case TRI_OK: return "ok";
  case TRI_E_AGAIN: return "again";
  case TRI_E_TIMEOUT: return "timeout";
  case TRI_E_BUSY: return "busy";
  case TRI_E_UNREACHABLE: return "unreachable";
  case TRI_E_INVALID: return "invalid";
  case TRI_E_FORMAT: return "format";
  case TRI_E_UNSUPPORTED: return "unsupported";
  case TRI_E_NOT_FOUND: return "not found";
  case TRI_E_DENIED: return "denied";
  case TRI_E_PROTOCOL: return "protocol";
  case TRI_E_LIMIT: return "limit";
  case TRI_E_CANCELLED: return "cancelled";
  case TRI_E_NOMEM: return "out of memory";
  case TRI_E_IO: return "i/o";
  case TRI_E_INTERNAL: return "internal";
  }
  return "unknown";
}

int tri_status_exit_code(tri_status status) {
  switch (status) {
  case TRI_OK: return 0;
  case TRI_E_INVALID: return 2;
  case TRI_E_FORMAT:
  case TRI_E_UNSUPPORTED:
  case TRI_E_NOT_FOUND: return 3;
  case TRI_E_UNREACHABLE:
  case TRI_E_DENIED:
  case TRI_E_PROTOCOL: return 4;
  case TRI_E_AGAIN:
  case TRI_E_TIMEOUT:
  case TRI_E_BUSY: return 5;
  case TRI_E_CANCELLED: return 130; /* as a shell says of a program that SIGINT has ended */
  default: return 1;
  }
}
