/* SPDX-License-Identifier: MIT */
#include "worker/gauge.h"

static const uint32_t sizes[TRI_GAUGE_SIZES] = {4 << 10, 16 << 10, 64 << 10, 256 << 10};
_Static_assert(256 << 10 <= TRI_PING_BYTES, "the largest train's messages are longer than may be");

/* To the nearest of four binary digits: steps of 6 to 12 percent. */
static uint32_t rounded(uint64_t v) {
  if (v > UINT32_MAX) v = UINT32_MAX;
  int beyond = v >> 4 ? 60 - __builtin_clzll(v) : 0; /* digits */
  uint64_t half = beyond ? 1ull << (beyond - 1) : 0;
  v = (v + half) >> beyond << beyond;
  return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

uint32_t tri_gauge_kbps(uint64_t bytes, int64_t us) { return us > 0 ? rounded(bytes * 8000 / (uint64_t)us) : 0; }

void tri_gauge_begin(tri_gauge *g) {
  *g = (tri_gauge){.phase = TRI_GAUGE_RTT, .id = g->id, .to_send = 1, .awaited = TRI_GAUGE_ALONE, .least_us = INT64_MAX};
}

bool tri_gauge_next(tri_gauge *g, int64_t now_us, tri_msg_ping *out, size_t *payload) {
  if (g->phase == TRI_GAUGE_DONE || !g->to_send) return false;
  if (g->phase == TRI_GAUGE_RTT || g->to_send == TRI_GAUGE_TRAIN) g->sent_us = now_us;
  g->to_send--;
  *out = (tri_msg_ping){.id = ++g->id, .bytes = g->phase == TRI_GAUGE_DOWN ? sizes[g->size] : 0};
  *payload = g->phase == TRI_GAUGE_UP ? sizes[g->size] : 0;
  return true;
}

static void begin_train(tri_gauge *g) { g->to_send = g->awaited = TRI_GAUGE_TRAIN; }

static void begin_size(tri_gauge *g, uint32_t size) {
  g->size = size;
  g->tries = 0, g->best_us = INT64_MAX;
  begin_train(g);
}

static void begin_trains(tri_gauge *g, tri_gauge_phase phase) {
  g->phase = phase;
  begin_size(g, 0);
}

static void end_train(tri_gauge *g, int64_t took_us) {
  int64_t beyond_us = took_us > g->least_us ? took_us - g->least_us : took_us;
  if (beyond_us < g->best_us) g->best_us = beyond_us;
  uint32_t kbps = tri_gauge_kbps((uint64_t)TRI_GAUGE_TRAIN * sizes[g->size], g->best_us);
  *(g->phase == TRI_GAUGE_DOWN ? &g->figures.down_kbps : &g->figures.up_kbps) = kbps;
  /* over a long way the first trains wait for TCP, which begins slowly, more than for the link */
  bool is_long = g->best_us >= TRI_GAUGE_LONG_US + 2 * g->least_us;
  if (is_long && ++g->tries < TRI_GAUGE_TRIES && took_us < TRI_GAUGE_SLOW_US) begin_train(g);
  else if (!is_long && g->size + 1 < TRI_GAUGE_SIZES) begin_size(g, g->size + 1);
  else if (g->phase == TRI_GAUGE_DOWN) begin_trains(g, TRI_GAUGE_UP);
  else g->phase = TRI_GAUGE_DONE;
}

void tri_gauge_pong(tri_gauge *g, const tri_msg_pong *m, size_t payload, int64_t now_us) {
  int64_t took_us = now_us - g->sent_us;
  uint32_t oldest = g->id + g->to_send + 1 - (g->phase == TRI_GAUGE_RTT ? 1 : g->awaited);
  if (g->phase == TRI_GAUGE_DONE || m->id != oldest || took_us < 0) return;
  if (g->phase == TRI_GAUGE_RTT) {
    if (took_us < g->least_us) g->least_us = took_us;
    if (--g->awaited) {
      g->to_send = 1;
      return;
    }
    g->figures.rtt_us = rounded(g->least_us > 0 ? (uint64_t)g->least_us : 1);
    if (m->busy) g->phase = TRI_GAUGE_DONE;
    else begin_trains(g, TRI_GAUGE_DOWN);
  } else if (m->busy || payload != (g->phase == TRI_GAUGE_DOWN ? sizes[g->size] : 0)) {
    g->phase = TRI_GAUGE_DONE; /* what is known stays */
  } else if (--g->awaited == 0) {
    end_train(g, took_us);
  }
}
