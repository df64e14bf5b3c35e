/* SPDX-License-Identifier: MIT */
#include "coordinator/change.h"

#include <stdio.h>
#include <string.h>

const char *tri_change_state_name(tri_change_state state) {
  static const char *const names[] = {"none", "preparing", "waiting", "settling"};
  return names[state];
}

void tri_change_begin(tri_change *c, const tri_plan *plan, const int *order, const char *why, int64_t patience_ms, int64_t now_ms) {
  *c = (tri_change){.state = TRI_CHANGE_PREPARING, .id = c->id + 1, .plan = *plan, .since_ms = now_ms, .got_ms = now_ms,
                    .patience_ms = patience_ms};
  memcpy(c->order, order, sizeof c->order);
  snprintf(c->why, sizeof c->why, "%s", why);
}

void tri_change_lack(tri_change *c, int worker) { c->lacks[worker] = 1; }

void tri_change_got(tri_change *c, int worker, uint32_t id) {
  if (id == c->id) c->lacks[worker] = 0;
}

void tri_change_progress(tri_change *c, int worker, int64_t now_ms) {
  if (c->lacks[worker]) c->got_ms = now_ms;
}

int tri_change_laggard(const tri_change *c) {
  const uint8_t *at = memchr(c->lacks, 1, sizeof c->lacks);
  return at ? (int)(at - c->lacks) : -1;
}

bool tri_change_uses(const tri_change *c, int worker) {
  for (uint32_t i = 0; c->state && i < c->plan.stages; i++)
    if (c->order[c->plan.stage[i].worker] == worker) return true;
  return false;
}

void tri_change_end(tri_change *c) { c->state = TRI_CHANGE_NONE; }

static void enter(tri_change *c, tri_change_state state, int64_t now_ms) {
  c->state = state;
  c->since_ms = now_ms;
}

static bool is_moment(const tri_change *c, uint64_t rows, int64_t now_ms) {
  int64_t waited_ms = now_ms - c->since_ms;
  return waited_ms >= c->patience_ms || (double)waited_ms >= (double)rows * (double)c->plan.row_ns / 1e6;
}

tri_change_act tri_change_next(tri_change *c, uint64_t rows, uint32_t flights, int64_t now_ms) {
  if (c->state == TRI_CHANGE_PREPARING && now_ms - c->got_ms > TRI_CHANGE_STUCK_MS) return TRI_CHANGE_STUCK;
  if (c->state == TRI_CHANGE_PREPARING && tri_change_laggard(c) < 0) enter(c, TRI_CHANGE_WAITING, now_ms);
  if (c->state == TRI_CHANGE_WAITING && is_moment(c, rows, now_ms)) {
    enter(c, TRI_CHANGE_SETTLING, now_ms);
    if (flights) return TRI_CHANGE_PAUSE;
  }
  bool settled = c->state == TRI_CHANGE_SETTLING && (!flights || now_ms - c->since_ms >= TRI_CHANGE_SETTLE_MS);
  return settled ? TRI_CHANGE_SWITCH : TRI_CHANGE_NOTHING;
}
