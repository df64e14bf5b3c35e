/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_TEST_H
#define TRI_TESTS_TEST_H
/* cmocka wants these four before it, in this order */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "base/status.h"

/* Assert success and show the detail text when it fails. */
#define assert_ok(call, err)                                                                                 \
  do {                                                                                                       \
    tri_status status_ = (call);                                                                             \
    if (status_ != TRI_OK) fail_msg("%s: %s (%s)", #call, (err).text, tri_status_name(status_));             \
  } while (0)

/* Assert a failure with this status whose text holds `part`. */
#define assert_fails(call, want, err, part)                                                                  \
  do {                                                                                                       \
    tri_status status_ = (call);                                                                             \
    if (status_ != (want)) fail_msg("%s: %s, not %s", #call, tri_status_name(status_), tri_status_name(want)); \
    if (!strstr((err).text, part)) fail_msg("%s: \"%s\" lacks \"%s\"", #call, (err).text, part);             \
  } while (0)

/* Case `i` of a table: its status is the wanted one, and the text holds `part` (clear the text before). */
#define assert_case(i, status, want, err, part)                                                              \
  do {                                                                                                       \
    if ((status) != (want) || !strstr((err).text, part))                                                     \
      fail_msg("case %zu: %s \"%s\"; %s \"%s\" expected", (size_t)(i), tri_status_name(status), (err).text,  \
               tri_status_name(want), part);                                                                 \
  } while (0)

/* xorshift64*: the same numbers everywhere; print the seed in a failing test */
static inline uint64_t test_random(uint64_t *state) {
  *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
  return *state * 2685821657736338717ull;
}

#endif
