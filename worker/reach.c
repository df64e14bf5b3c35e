/* SPDX-License-Identifier: MIT */
/* The link to the coordinator measured (gauge.h): before Hello, and again while there is nothing to do and its rates are not known. */
#include "worker/worker_impl.h"

#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"

enum { PATIENCE_MS = 1500 /* then what is known must do */, AGAIN_MS = 30000 };

/* Other traffic and other processes only ever make a link look slower. */
static void take(tri_msg_hello *h, const tri_gauge_figures *f) {
  if (f->rtt_us && (!h->rtt_us || f->rtt_us < h->rtt_us)) h->rtt_us = f->rtt_us;
  if (f->down_kbps > h->down_kbps) h->down_kbps = f->down_kbps;
  if (f->up_kbps > h->up_kbps) h->up_kbps = f->up_kbps;
}

static void end(worker *w) {
  tri_msg_hello *h = &w->hello;
  w->gauge.phase = TRI_GAUGE_DONE;
  w->next_gauge_ms = tri_clock_ms() + AGAIN_MS;
  take(h, &w->gauge.figures);
  TRI_INFO("the coordinator is %u us away, %.1f Mbit/s down, %.1f Mbit/s up", h->rtt_us, h->down_kbps / 1e3, h->up_kbps / 1e3);
  worker_gauged(w);
}

static void pump(worker *w) {
  tri_error err;
  size_t len;
  w->outgoing = (tri_msg){.kind = TRI_MSG_PING};
  while (tri_gauge_next(&w->gauge, tri_clock_us(), &w->outgoing.ping, &len)) {
    void *payload = len ? calloc(1, len) : NULL;
    tri_status status = len && !payload ? TRI_E_NOMEM : tri_link_send(w->control, NULL, &w->outgoing, payload, len, len > 0, &err);
    if (status == TRI_OK) continue;
    end(w);
    return;
  }
}

void worker_reach_begin(worker *w) {
  tri_gauge_begin(&w->gauge);
  w->gauge_until_ms = tri_clock_ms() + PATIENCE_MS;
  pump(w);
}

void worker_reach_pong(worker *w, const tri_msg_pong *m, size_t payload) {
  if (w->gauge.phase == TRI_GAUGE_DONE) return;
  tri_gauge_pong(&w->gauge, m, payload, tri_clock_us());
  if (w->gauge.phase == TRI_GAUGE_DONE) end(w);
  else pump(w);
}

void worker_reach_tick(worker *w, int64_t now_ms) {
  if (w->fetch) take(&w->hello, &(tri_gauge_figures){.down_kbps = tri_fetch_kbps(w->fetch)});
  bool known = w->hello.down_kbps && w->hello.up_kbps;
  if (w->gauge.phase != TRI_GAUGE_DONE && now_ms > w->gauge_until_ms) end(w);
  else if (w->gauge.phase == TRI_GAUGE_DONE && w->state == IDLE && !known && now_ms >= w->next_gauge_ms) worker_reach_begin(w);
}
