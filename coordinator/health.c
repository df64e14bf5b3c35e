/* SPDX-License-Identifier: MIT */
#include "coordinator/health.h"

#include <stdio.h>
#include <string.h>

const tri_health_record *tri_health_find(const tri_health *h, const uint8_t key[TRI_KEY_BYTES]) {
  for (size_t i = 0; i < h->count; i++)
    if (memcmp(h->records[i].key, key, TRI_KEY_BYTES) == 0) return &h->records[i];
  return NULL;
}

static tri_health_record *make_room(tri_health *h) {
  if (h->count < TRI_HEALTH_KEYS) return &h->records[h->count++];
  tri_health_record *oldest = NULL;
  for (size_t i = 0; i < h->count; i++) {
    tri_health_record *r = &h->records[i];
    if (!r->drained && (!oldest || r->touched_ms < oldest->touched_ms)) oldest = r;
  }
  return oldest ? oldest : &h->records[0];
}

tri_health_record *tri_health_of(tri_health *h, const uint8_t key[TRI_KEY_BYTES], int64_t now_ms) {
  const tri_health_record *known = tri_health_find(h, key);
  tri_health_record *r = known ? &h->records[known - h->records] : make_room(h);
  if (!known) *r = (tri_health_record){.slow = 1};
  memcpy(r->key, key, TRI_KEY_BYTES);
  r->touched_ms = now_ms;
  return r;
}

size_t tri_health_drained(const tri_health *h) {
  size_t n = 0;
  for (size_t i = 0; i < h->count; i++) n += h->records[i].drained;
  return n;
}

bool tri_health_lost(tri_health_record *r, int64_t now_ms) {
  if (r->losses == TRI_HEALTH_LOSSES) memmove(r->lost_ms, r->lost_ms + 1, --r->losses * sizeof *r->lost_ms);
  r->lost_ms[r->losses++] = now_ms;
  if (r->losses < TRI_HEALTH_LOSSES || now_ms - r->lost_ms[0] > TRI_HEALTH_LOSSES_MS) return false;
  /* a time without losses that is longer than the punishment forgives */
  bool again = r->out_ms && now_ms - r->out_until_ms < r->out_ms + TRI_HEALTH_LOSSES_MS;
  r->out_ms = again ? r->out_ms * 2 : TRI_HEALTH_OUT_MS;
  if (r->out_ms > TRI_HEALTH_OUT_MAX_MS) r->out_ms = TRI_HEALTH_OUT_MAX_MS;
  r->out_until_ms = now_ms + r->out_ms;
  r->losses = 0;
  return true;
}

bool tri_health_is_out(const tri_health_record *r, int64_t now_ms, char why[TRI_MAX_NAME]) {
  if (r->leaving) snprintf(why, TRI_MAX_NAME, "it wants to end");
  else if (r->drained) snprintf(why, TRI_MAX_NAME, "drained");
  else if (now_ms < r->out_until_ms)
    snprintf(why, TRI_MAX_NAME, "failed %d times in a short time; back in %lld s", TRI_HEALTH_LOSSES,
             (long long)(r->out_until_ms - now_ms + 999) / 1000);
  else return false;
  return true;
}

bool tri_health_came_back(const tri_health *h, int64_t since_ms, int64_t now_ms) {
  for (size_t i = 0; i < h->count; i++)
    if (h->records[i].out_until_ms > since_ms && h->records[i].out_until_ms <= now_ms) return true;
  return false;
}

void tri_health_hello(tri_health_record *r) {
  r->leaving = false;
  r->slow = 1;
  r->keep_ms = 0;
  r->look_ms = 0, r->look_steps = 0, r->looks = 0;
}

/* Does this look differ by more than half, in the same direction as those before? */
static bool agrees(tri_health_record *r, double ratio) {
  const double much = 1.5;
  int way = ratio > r->slow * much ? 1 : ratio < r->slow / much ? -1 : 0;
  if (way * r->looks <= 0) r->looks = 0;
  bool nearer = way > 0 ? ratio < r->nearest : ratio > r->nearest;
  if (!r->looks || nearer) r->nearest = ratio;
  r->looks += way;
  return r->looks == way * TRI_HEALTH_LOOKS && way;
}

bool tri_health_tempo(tri_health_record *r, double ratio, uint64_t steps, int64_t span_ms, int64_t now_ms) {
  if (steps < r->look_steps + TRI_HEALTH_STEPS || now_ms - r->look_ms < span_ms) return false;
  r->look_ms = now_ms, r->look_steps = steps;
  if (!agrees(r, ratio)) return false;
  r->slow = r->nearest;
  r->looks = 0;
  return true;
}

bool tri_health_forget(tri_health *h, int64_t now_ms) {
  bool any = false;
  for (size_t i = 0; i < h->count; i++) {
    tri_health_record *r = &h->records[i];
    int64_t keep_ms = r->keep_ms ? r->keep_ms : TRI_HEALTH_KEEP_MS;
    if (r->slow == 1 || now_ms - r->look_ms < keep_ms) continue;
    r->slow = 1, r->looks = 0;
    r->keep_ms = 2 * keep_ms < TRI_HEALTH_KEEP_MAX_MS ? 2 * keep_ms : TRI_HEALTH_KEEP_MAX_MS;
    any = true;
  }
  return any;
}
