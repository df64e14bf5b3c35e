/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "base/log.h"
#include "worker/worker_impl.h"

enum { PATIENCE_MS = 3000, ASK_MS = 2000 };

/* Only the address changes: the link proves the key there as everywhere. */
static void move_to(worker *w, const char *endpoint) {
  tri_error err;
  TRI_INFO("the coordinator does not answer at %s, but at %s", w->endpoint, endpoint);
  strcpy(w->endpoint, endpoint);
  if (worker_dial(w, &err) != TRI_OK) TRI_WARN("%s", err.text);
}

void worker_seek(worker *w, int64_t now_ms) {
  tri_error err;
  tri_beacon b;
  char endpoint[TRI_MAX_ENDPOINT];
  if (!w->config->seek || tri_link_get_state(w->control) != TRI_LINK_CONNECTING) {
    w->unreached_ms = 0;
    tri_beacon_close(&w->asker);
    return;
  }
  if (!w->unreached_ms) w->unreached_ms = now_ms;
  if (now_ms - w->unreached_ms < PATIENCE_MS) return;
  if (w->asker.fd < 0 && tri_beacon_open(&w->asker, w->coordinator_key, &err) != TRI_OK) return;
  if (now_ms >= w->next_ask_ms) {
    w->next_ask_ms = now_ms + ASK_MS;
    if (tri_beacon_ask(&w->asker, &err) != TRI_OK) TRI_DEBUG("%s", err.text);
  }
  while (tri_beacon_next(&w->asker, &b, endpoint) == TRI_OK) {
    if (strcmp(endpoint, w->endpoint) == 0) continue;
    move_to(w, endpoint);
    w->unreached_ms = now_ms; /* it has as long there before others are tried */
    return;
  }
}

void worker_seek_done(worker *w) {
  tri_error err;
  if (strcmp(w->endpoint, w->config->coordinator) == 0) return;
  if (tri_keys_save_coordinator(w->coordinator_key, w->endpoint, w->config->key_dir, &err) != TRI_OK) TRI_WARN("%s", err.text);
}
