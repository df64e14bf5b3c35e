/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_NET_BENCH_H
#define TRI_TESTS_NET_BENCH_H
#include "tests/test.h"
#include "proto/loop.h"

/* A listener and two that may dial it, each with its own key and context, in one loop on one thread. Ports are free ones. */

enum { BENCH_DIALLERS = 2, BENCH_WAIT_MS = 8000 };

typedef struct bench_end {
  tri_keypair key;
  tri_net *net;
  tri_link *link;
  int received, malformed;   /* messages so far */
  tri_msg last;
  tri_incoming from;         /* of the last message, with the payload's copy below */
  uint8_t payload[4096];     /* its beginning */
  tri_error error;           /* of the last malformed one */
} bench_end;

typedef struct bench {
  tri_loop *loop;
  bench_end listener, dialler[BENCH_DIALLERS];
  bool allow[BENCH_DIALLERS]; /* whom the listener lets in */
  int asked;                  /* how often it was asked */
  char endpoint[TRI_MAX_ENDPOINT];
  uint16_t port;
} bench;

extern bench B;
extern tri_error err;

/* For cmocka: nets and keys, no links yet; and everything away. */
int bench_set_up(void **state);
int bench_tear_down(void **state);

/* Listen on a free port of the loopback, or on B.port when `again`. */
void bench_listen(tri_link_kind kind, bool again);
void bench_dial(int which, tri_link_kind kind, const uint8_t *server_key);
void bench_close(bench_end *end);
/* Both of the above with all allowed, and wait until it is up. */
void bench_connect(tri_link_kind kind);
/* Run the loop until cond holds; fails the test after BENCH_WAIT_MS. */
#define bench_until(cond) bench_wait(cond, #cond, __LINE__)
void bench_wait(bool (*cond)(void), const char *what, int line);
/* A short message, `job` tells it from others. */
tri_msg bench_message(uint64_t job);
tri_status bench_send(bench_end *from, const tri_peer *to, uint64_t job);

#endif
