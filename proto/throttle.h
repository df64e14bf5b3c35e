/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_THROTTLE_H
#define TRI_PROTO_THROTTLE_H
#include <stdbool.h>
#include <stdint.h>

/* How often strangers may try, for each address and all together: token buckets. Plain data of fixed size, no clock: who floods
 * us costs a look-up and no memory. An IPv6 address counts by its first 64 bits, as one machine commonly has all that
 * share them. Once more addresses than places are at it, the one that has been quiet for the longest is forgotten; the limit of
 * all together holds then too. */

enum { TRI_THROTTLE_ADDRESSES = 256 };

typedef struct tri_bucket {
  uint32_t milli;   /* thousandths of tries left */
  int64_t seen_ms;
} tri_bucket;

typedef struct tri_throttle {
  uint32_t each_burst, each_per_s, all_burst, all_per_s; /* tries at once, and tries a second that come back */
  tri_bucket all;
  struct { uint8_t prefix[8]; bool v6; tri_bucket bucket; } each[TRI_THROTTLE_ADDRESSES];
  uint32_t count;
  uint64_t refused;
} tri_throttle;

void tri_throttle_init(tri_throttle *t, uint32_t each_burst, uint32_t each_per_s, uint32_t all_burst, uint32_t all_per_s, int64_t now_ms);
/* Count one try from this address (text; one that can't be read counts as 0.0.0.0). False, and counted in `refused`: too many. */
bool tri_throttle_take(tri_throttle *t, const char *address, int64_t now_ms);

#endif
