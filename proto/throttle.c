/* SPDX-License-Identifier: MIT */
#include "proto/throttle.h"

#include <arpa/inet.h>
#include <string.h>

static tri_bucket full(uint32_t burst, int64_t now_ms) { return (tri_bucket){burst * 1000, now_ms}; }

static void refill(tri_bucket *b, uint32_t burst, uint32_t per_s, int64_t now_ms) {
  int64_t passed = now_ms - b->seen_ms, most = (int64_t)burst * 1000;
  if (passed < 0) passed = 0;
  if (passed > most) passed = most; /* full by then, and the product stays small */
  int64_t milli = b->milli + passed * per_s;
  *b = (tri_bucket){(uint32_t)(milli < most ? milli : most), now_ms};
}

void tri_throttle_init(tri_throttle *t, uint32_t each_burst, uint32_t each_per_s, uint32_t all_burst, uint32_t all_per_s, int64_t now_ms) {
  *t = (tri_throttle){.each_burst = each_burst, .each_per_s = each_per_s, .all_burst = all_burst, .all_per_s = all_per_s,
                      .all = full(all_burst, now_ms)};
}

/* IPv4 in its four bytes, IPv6 by its first eight. */
static bool read_prefix(const char *address, uint8_t out[8]) {
  struct in6_addr v6;
  struct in_addr v4 = {0};
  memset(out, 0, 8);
  bool is_v6 = inet_pton(AF_INET6, address, &v6) == 1;
  if (is_v6 && IN6_IS_ADDR_V4MAPPED(&v6)) memcpy(&v4, v6.s6_addr + 12, 4), is_v6 = false;
  else if (!is_v6) inet_pton(AF_INET, address, &v4);
  if (is_v6) memcpy(out, v6.s6_addr, 8);
  else memcpy(out, &v4, 4);
  return is_v6;
}

/* The address's bucket; a new one, or the one that has been quiet for the longest, becomes it. */
static tri_bucket *find(tri_throttle *t, const char *address, int64_t now_ms) {
  uint8_t prefix[8];
  bool v6 = read_prefix(address, prefix);
  uint32_t oldest = 0;
  for (uint32_t i = 0; i < t->count; i++) {
    if (t->each[i].v6 == v6 && memcmp(t->each[i].prefix, prefix, sizeof prefix) == 0) return &t->each[i].bucket;
    if (t->each[i].bucket.seen_ms < t->each[oldest].bucket.seen_ms) oldest = i;
  }
  uint32_t at = t->count < TRI_THROTTLE_ADDRESSES ? t->count++ : oldest;
  memcpy(t->each[at].prefix, prefix, sizeof prefix);
  t->each[at].v6 = v6;
  t->each[at].bucket = full(t->each_burst, now_ms);
  return &t->each[at].bucket;
}

bool tri_throttle_take(tri_throttle *t, const char *address, int64_t now_ms) {
  tri_bucket *b = find(t, address, now_ms);
  refill(b, t->each_burst, t->each_per_s, now_ms);
  refill(&t->all, t->all_burst, t->all_per_s, now_ms);
  bool ok = b->milli >= 1000 && t->all.milli >= 1000;
  if (ok) b->milli -= 1000, t->all.milli -= 1000;
  else t->refused++;
  return ok;
}
