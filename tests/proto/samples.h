/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_SAMPLES_H
#define TRI_TESTS_SAMPLES_H
#include "proto/codec.h"

/* A valid message of the kind; `state` (see test_random) decides its values, which are extreme half of the time. */
void sample_message(tri_msg *m, tri_msg_kind kind, uint64_t *state);
/* Every count, text and list at its limit. */
void sample_largest(tri_msg *m, tri_msg_kind kind);

#endif
