/* SPDX-License-Identifier: MIT */
#include "cli/client.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "proto/beacon.h"
#include "proto/loop.h"

struct tri_client {
  tri_keypair key;
  tri_net *net;
  tri_loop *loop;
  tri_link *link;
  int interrupt_fd;
  bool interrupted;
  uint32_t connection; /* that our jobs belong to; 0: not yet there */
  tri_incoming in;
  tri_msg incoming, outgoing;
  tri_status received; /* TRI_E_AGAIN: nothing yet */
  tri_error receive_error;
};

/* Take one message or a change of the connection, and give the loop back to its caller. */
static void on_link(void *arg) {
  tri_client *c = arg;
  c->received = tri_link_recv(c->link, &c->in, &c->incoming, &c->receive_error);
  tri_loop_stop(c->loop);
}

static void on_interrupt(void *arg) {
  tri_client *c = arg;
  c->interrupted = true;
  tri_loop_stop(c->loop);
}

static tri_status wait_for_something(tri_client *c, int64_t timeout_ms, tri_error *err) {
  c->received = TRI_E_AGAIN;
  tri_status status = c->interrupted ? TRI_OK : tri_loop_run(c->loop, timeout_ms, err);
  if (c->interrupted) return tri_status_fail(err, TRI_E_CANCELLED, "interrupted");
  return status;
}

static tri_status wait_until_up(tri_client *c, int64_t timeout_ms, tri_error *err) {
  int64_t until = tri_clock_ms() + timeout_ms;
  while (tri_link_get_state(c->link) == TRI_LINK_CONNECTING) {
    int64_t left = until - tri_clock_ms();
    tri_status status = wait_for_something(c, left > 0 ? left : 0, err);
    if (status == TRI_E_TIMEOUT) break;
    if (status != TRI_OK) return status;
  }
  c->connection = tri_link_connections(c->link);
  if (tri_link_get_state(c->link) == TRI_LINK_UP) return TRI_OK;
  tri_error why = {0};
  tri_link_explain(c->link, &why);
  return tri_status_fail(err, why.status, "%s", why.text);
}

static tri_status dial(tri_client *c, const char *endpoint, const uint8_t key[TRI_KEY_BYTES], int64_t timeout_ms, tri_error *err) {
  tri_status status = tri_link_dial(&c->link, c->net, TRI_LINK_CONTROL, endpoint, key, err);
  if (status == TRI_OK) status = tri_loop_add_link(c->loop, c->link, on_link, c, err);
  return status == TRI_OK ? wait_until_up(c, timeout_ms, err) : status;
}

/* Where the key folder says that the coordinator is; if it is not there any more, where it answers on this network. */
static tri_status dial_kept(tri_client *c, const char *dir, const uint8_t key[TRI_KEY_BYTES], int64_t timeout_ms, tri_error *err) {
  enum { SEEK_MS = 2000 };
  char kept[TRI_MAX_ENDPOINT], now[TRI_MAX_ENDPOINT];
  tri_status status = tri_keys_load_endpoint(kept, dir, err);
  if (status != TRI_OK) return status;
  if (kept[0]) status = dial(c, kept, key, timeout_ms, err);
  else
    status = tri_status_fail(err, TRI_E_UNREACHABLE, "%s/coordinator.key does not say where the coordinator is, and none answers on this "
                             "network: --coordinator tcp://HOST:PORT", dir);
  if (status != TRI_E_UNREACHABLE || tri_beacon_find(key, SEEK_MS, now, NULL) != TRI_OK || strcmp(now, kept) == 0) return status;
  if (c->link) tri_loop_remove_link(c->loop, c->link);
  tri_link_close(&c->link);
  status = dial(c, now, key, timeout_ms, err);
  if (status == TRI_OK && tri_keys_save_coordinator(key, now, dir, NULL) != TRI_OK) return TRI_OK; /* then it is sought again */
  return status;
}

tri_status tri_client_dial(tri_client **out, const char *endpoint, const char *key_dir, int interrupt_fd, int64_t timeout_ms,
                           tri_error *err) {
  uint8_t coordinator_key[TRI_KEY_BYTES];
  char own_dir[PATH_MAX];
  tri_client *c = calloc(1, sizeof *c);
  if (!c) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a client");
  c->interrupt_fd = interrupt_fd;
  tri_status status = key_dir ? TRI_OK : tri_keys_default_dir(own_dir, "client", err);
  if (!key_dir) key_dir = own_dir;
  if (status == TRI_OK) status = tri_keys_load(&c->key, key_dir, err);
  if (status == TRI_OK) status = tri_keys_load_coordinator(coordinator_key, key_dir, err);
  if (status == TRI_OK) status = tri_net_create(&c->net, &c->key, NULL, NULL, err);
  if (status == TRI_OK) status = tri_loop_create(&c->loop, c->net, err);
  if (status == TRI_OK && interrupt_fd >= 0) status = tri_loop_add_fd(c->loop, interrupt_fd, on_interrupt, c, err);
  if (status == TRI_OK)
    status = endpoint ? dial(c, endpoint, coordinator_key, timeout_ms, err) : dial_kept(c, key_dir, coordinator_key, timeout_ms, err);
  if (status != TRI_OK) return tri_client_close(&c), status;
  *out = c;
  return TRI_OK;
}

void tri_client_close(tri_client **client) {
  tri_client *c = *client;
  if (!c) return;
  tri_loop_destroy(&c->loop);
  tri_link_close(&c->link);
  tri_net_destroy(&c->net);
  tri_keys_wipe(&c->key);
  free(c);
  *client = NULL;
}

static tri_status send_out(tri_client *c, const void *payload, size_t len, tri_error *err) {
  return tri_link_send(c->link, NULL, &c->outgoing, (void *)payload, len, false, err); /* copied, as it is not given away */
}

tri_status tri_client_submit(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len, tri_error *err) {
  if (len > TRI_MAX_PROMPT)
    return tri_status_fail(err, TRI_E_LIMIT, "the prompt has %zu bytes, at most %d can be sent", len, TRI_MAX_PROMPT);
  c->outgoing = (tri_msg){.kind = TRI_MSG_SUBMIT, .submit = *m};
  c->outgoing.submit.protocol = TRI_PROTOCOL;
  return send_out(c, payload, len, err);
}

tri_status tri_client_cancel(tri_client *c, uint64_t job, tri_error *err) {
  c->outgoing = (tri_msg){.kind = TRI_MSG_CANCEL, .cancel = {.job = job}};
  return send_out(c, NULL, 0, err);
}

tri_status tri_client_drain(tri_client *c, const char *name, bool undo, tri_error *err) {
  if (strlen(name) >= TRI_MAX_NAME) return tri_status_fail(err, TRI_E_INVALID, "a worker's name has at most %d bytes", TRI_MAX_NAME - 1);
  c->outgoing = (tri_msg){.kind = TRI_MSG_DRAIN, .drain = {.undo = undo}};
  strcpy(c->outgoing.drain.name, name);
  return send_out(c, NULL, 0, err);
}

static bool is_lost(tri_client *c) {
  return tri_link_get_state(c->link) != TRI_LINK_UP || tri_link_connections(c->link) != c->connection;
}

tri_status tri_client_next(tri_client *c, tri_client_event *out, int64_t timeout_ms, tri_error *err) {
  int64_t until = tri_clock_ms() + timeout_ms;
  for (;;) {
    int64_t left = until - tri_clock_ms();
    tri_status status = wait_for_something(c, timeout_ms < 0 ? -1 : left > 0 ? left : 0, err);
    if (status == TRI_E_TIMEOUT)
      return tri_status_fail(err, TRI_E_TIMEOUT, "the coordinator has not answered within %.0f s", (double)timeout_ms / 1e3);
    if (status != TRI_OK) return status;
    if (c->received == TRI_OK) {
      *out = (tri_client_event){.msg = &c->incoming, .payload = c->in.payload, .payload_len = c->in.payload_len};
      return TRI_OK;
    }
    if (c->received != TRI_E_AGAIN) return tri_status_fail(err, c->received, "from the coordinator: %s", c->receive_error.text);
    if (is_lost(c)) return tri_status_fail(err, TRI_E_UNREACHABLE, "the connection to the coordinator was lost");
  }
}

/* The answer to c->outgoing, which is to be a document of that kind. */
static tri_status fetch(tri_client *c, tri_msg_kind kind, tri_buf *json, int64_t timeout_ms, tri_error *err) {
  tri_status status = send_out(c, NULL, 0, err);
  tri_client_event e;
  if (status == TRI_OK) status = tri_client_next(c, &e, timeout_ms, err);
  if (status != TRI_OK) return status;
  if (e.msg->kind == TRI_MSG_REFUSE)
    return tri_status_fail(err, (tri_status)e.msg->refuse.status, "the coordinator refused: %s", e.msg->refuse.text);
  if (e.msg->kind != kind)
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator answered with %s", tri_msg_kind_name(e.msg->kind));
  tri_buf_append(json, e.payload, e.payload_len);
  return tri_buf_ok(json) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the %s", tri_msg_kind_name(kind));
}

tri_status tri_client_status(tri_client *c, tri_buf *json, int64_t timeout_ms, tri_error *err) {
  c->outgoing = (tri_msg){.kind = TRI_MSG_STATUS_REQUEST, .status_request = {.protocol = TRI_PROTOCOL}};
  return fetch(c, TRI_MSG_STATUS, json, timeout_ms, err);
}

static void ask_trace(tri_client *c, tri_trace_action action, uint64_t after) {
  c->outgoing = (tri_msg){.kind = TRI_MSG_TRACE_REQUEST, .trace_request = {.protocol = TRI_PROTOCOL, .action = action, .after = after}};
}

tri_status tri_client_trace(tri_client *c, tri_trace_action action, uint64_t after, tri_buf *json, int64_t timeout_ms, tri_error *err) {
  ask_trace(c, action, after);
  return fetch(c, TRI_MSG_TRACE, json, timeout_ms, err);
}

tri_status tri_client_ask_trace(tri_client *c, uint64_t after, tri_error *err) {
  ask_trace(c, TRI_TRACE_GET, after);
  return send_out(c, NULL, 0, err);
}

tri_status tri_client_jobs(tri_client *c, uint64_t after, uint32_t limit, uint64_t job, tri_buf *json, int64_t timeout_ms, tri_error *err) {
  c->outgoing = (tri_msg){.kind = TRI_MSG_JOBS_REQUEST, .jobs_request = {.after = after, .job = job, .limit = limit}};
  return fetch(c, TRI_MSG_JOBS, json, timeout_ms, err);
}

tri_status tri_client_forget(tri_client *c, uint64_t job, int64_t timeout_ms, tri_error *err) {
  tri_buf none = {0};
  c->outgoing = (tri_msg){.kind = TRI_MSG_FORGET, .forget = {.job = job}};
  tri_status status = fetch(c, TRI_MSG_JOBS, &none, timeout_ms, err);
  tri_buf_free(&none);
  return status;
}

tri_status tri_client_follow(tri_client *c, uint64_t job, uint32_t from, tri_error *err) {
  c->outgoing = (tri_msg){.kind = TRI_MSG_FOLLOW, .follow = {.job = job, .from = from}};
  return send_out(c, NULL, 0, err);
}

tri_status tri_client_reconnect(tri_client *c, int64_t timeout_ms, tri_error *err) { return wait_until_up(c, timeout_ms, err); }
