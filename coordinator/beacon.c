/* SPDX-License-Identifier: MIT */
/* The glue's side that tells askers on this network where the coordinator is. */
#include "proto/beacon.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "coordinator/coordinator_impl.h"

enum { EACH_BURST = 8, EACH_PER_S = 2, ALL_BURST = 64, ALL_PER_S = 32 };

static void on_question(void *arg) {
  coordinator *c = arg;
  uint16_t port = (uint16_t)strtoul(strrchr(c->endpoint, ':') + 1, NULL, 10);
  tri_beacon_answer(c->beacon_fd, c->key.public_key, port, &c->beacon_throttle, tri_clock_ms());
}

void coordinator_beacon_start(coordinator *c) {
  tri_error err;
  bool loopback = strncmp(c->endpoint, "tcp://127.", 10) == 0 || strncmp(c->endpoint, "tcp://[::1]", 11) == 0;
  if (!c->config->announce) return;
  tri_throttle_init(&c->beacon_throttle, EACH_BURST, EACH_PER_S, ALL_BURST, ALL_PER_S, tri_clock_ms());
  tri_status status = tri_beacon_listen(&c->beacon_fd, loopback, &err);
  if (status == TRI_OK) status = tri_loop_add_fd(c->loop, c->beacon_fd, on_question, c, &err);
  if (status != TRI_OK) TRI_INFO("not announced on this network: %s", err.text);
}

void coordinator_beacon_close(coordinator *c) {
  if (c->beacon_fd < 0) return;
  if (c->loop) tri_loop_remove_fd(c->loop, c->beacon_fd);
  close(c->beacon_fd);
  c->beacon_fd = -1;
}
