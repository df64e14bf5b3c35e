/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_STATUS_H
#define TRI_BASE_STATUS_H

/* Status codes and error detail, used by every room above kernels/.
 *
 * A function that can fail returns tri_status; 0 is success. Where a person will want to know more than the
 * code, it also takes a `tri_error *err` (may be NULL) and writes one sentence there: what (file, field or
 * peer), why, and where possible what to do. On failure a function leaves its outputs unchanged. */

#define TRI_MUST_CHECK __attribute__((warn_unused_result))
#define TRI_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef enum tri_status {
  TRI_OK = 0,
  /* try again later */
  TRI_E_AGAIN = -1,
  TRI_E_TIMEOUT = -2,
  TRI_E_BUSY = -3,
  TRI_E_UNREACHABLE = -4, /* a peer does not answer, or its connection is lost */
  /* what we were given is wrong */
  TRI_E_INVALID = -20,     /* an argument or option */
  TRI_E_FORMAT = -21,      /* malformed bytes: file or frame */
  TRI_E_UNSUPPORTED = -22, /* well-formed, but not something we can do */
  TRI_E_NOT_FOUND = -23,
  TRI_E_DENIED = -24,   /* a peer refuses, or may not */
  TRI_E_PROTOCOL = -25, /* a peer broke the protocol */
  TRI_E_LIMIT = -26,    /* a stated limit was exceeded */
  TRI_E_CANCELLED = -27,
  /* our side */
  TRI_E_NOMEM = -40,
  TRI_E_IO = -41,
  TRI_E_INTERNAL = -42,
} tri_status;

typedef struct tri_error {
  tri_status status;
  char text[512];
} tri_error;

/* Fill *err (if not NULL) and return `status`, so that a failing path is one line. */
tri_status tri_status_fail(tri_error *err, tri_status status, const char *fmt, ...) TRI_PRINTF(3, 4);

/* Put "prefix: " before the text already in *err (a caller adds the file or peer it knows). Returns status. */
tri_status tri_status_prefix(tri_error *err, tri_status status, const char *fmt, ...) TRI_PRINTF(3, 4);

/* A short lower-case name: "ok", "timeout", … */
const char *tri_status_name(tri_status status);

/* The process exit code for a status. */
int tri_status_exit_code(tri_status status);
/* What the codes mean, for every `--help`; README.md has the same sentence. */
#define TRI_STATUS_EXIT_CODES \
  "0 ok, 1 failed, 2 wrong usage, 3 bad file or unsupported model, 4 cluster unreachable, refused or lost, " \
  "5 busy or timed out, 130 interrupted"

#endif
