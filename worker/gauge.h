/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_GAUGE_H
#define TRI_WORKER_GAUGE_H
#include <stddef.h>
#include "proto/codec.h"

/* How far away the coordinator is, and how fast the link to it: by Pings, which it answers. Pure: no socket and no clock.
 *
 * First a few alone: the shortest way there and back counts, as others only ever add time. Then trains, whose messages are sent all
 * at once, each train four times as many bytes as the one before: bytes that come down, then bytes that go up. A train's rate is its
 * bytes over what it took beyond the way there and back; it counts once that is long enough to be told from a delay, and is so again
 * when it is tried twice more, or with the largest train. So a fast link sees 3 to 7 MB each way and a slow one 32 KB. Figures are rounded, so that a plan made of them doesn't
 * change when they wobble by a few percent. */

enum { TRI_GAUGE_ALONE = 8, TRI_GAUGE_TRAIN = 8, TRI_GAUGE_SIZES = 4, TRI_GAUGE_LONG_US = 20000, TRI_GAUGE_TRIES = 3, TRI_GAUGE_SLOW_US = 100000 /* not again */ };

typedef struct tri_gauge_figures {
  uint32_t rtt_us;             /* there and back, of a short message */
  uint32_t down_kbps, up_kbps; /* from and to the coordinator, kbit/s */
} tri_gauge_figures;           /* 0: not measured */

typedef enum tri_gauge_phase { TRI_GAUGE_DONE, TRI_GAUGE_RTT, TRI_GAUGE_DOWN, TRI_GAUGE_UP } tri_gauge_phase;

typedef struct tri_gauge {
  tri_gauge_figures figures; /* as far as they are known */
  tri_gauge_phase phase;
  uint32_t id;               /* of the last Ping; over one connection they never come back */
  uint32_t size;             /* of the trains, 0 to TRI_GAUGE_SIZES - 1 */
  uint32_t tries;            /* of this size that took long */
  uint32_t to_send, awaited; /* of this train, or of those alone */
  int64_t sent_us;           /* the train's first */
  int64_t least_us, best_us; /* there and back alone; the best train of this size beyond that */
} tri_gauge;

void tri_gauge_begin(tri_gauge *g);
/* The next Ping to send now, if there is one, and how many bytes of payload with it. */
bool tri_gauge_next(tri_gauge *g, int64_t now_us, tri_msg_ping *out, size_t *payload);
/* An answer has come with so many bytes. One that was not awaited changes nothing. */
void tri_gauge_pong(tri_gauge *g, const tri_msg_pong *m, size_t payload, int64_t now_us);
/* The rate of bytes that took so long, kbit/s, rounded as all figures are; 0: none. */
uint32_t tri_gauge_kbps(uint64_t bytes, int64_t us);

#endif
