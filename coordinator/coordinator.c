/* SPDX-License-Identifier: MIT */
#include "coordinator/coordinator_impl.h"
#include "coordinator/plan_model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "engine/kv.h"

tri_status coordinator_send(coordinator *c, const tri_peer *to, const void *payload, size_t len, tri_error *err) {
  return tri_link_send(c->link, to, &c->outgoing, (void *)payload, len, false, err); /* copied, as it is not given away */
}

void coordinator_refuse(coordinator *c, const tri_incoming *in, tri_status status, const char *text) {
  tri_error err;
  c->outgoing = (tri_msg){.kind = TRI_MSG_REFUSE, .refuse = {.status = status}};
  snprintf(c->outgoing.refuse.text, sizeof c->outgoing.refuse.text, "%s", text);
  if (coordinator_send(c, &in->from, NULL, 0, &err) != TRI_OK) TRI_DEBUG("a refusal could not be sent: %s", err.text);
}

/* --- the allow-list --- */

bool coordinator_file_changed(const coordinator *c, const char *file, coordinator_stamp *stamp) {
  char path[PATH_MAX];
  struct stat st;
  coordinator_stamp now = {0};
  snprintf(path, sizeof path, "%s/%s", c->config->key_dir, file);
  if (stat(path, &st) == 0) now = (coordinator_stamp){.time = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
  bool same = now.time.tv_sec == stamp->time.tv_sec && now.time.tv_nsec == stamp->time.tv_nsec && now.inode == stamp->inode &&
              now.size == stamp->size;
  *stamp = now;
  return !same;
}

static void cut_later(coordinator *c, const uint8_t key[TRI_KEY_BYTES]) {
  for (size_t i = 0; i < c->n_cuts; i++) /* it may go on sending meanwhile */
    if (memcmp(c->cuts[i], key, TRI_KEY_BYTES) == 0) return;
  uint8_t(*cuts)[TRI_KEY_BYTES] = realloc(c->cuts, (c->n_cuts + 1) * sizeof *cuts);
  if (!cuts) { /* then without the words to it */
    tri_link_cut(c->link, key);
    return;
  }
  c->cuts = cuts;
  memcpy(c->cuts[c->n_cuts++], key, TRI_KEY_BYTES);
}

static void cut_now(coordinator *c) {
  for (size_t i = 0; i < c->n_cuts; i++) tri_link_cut(c->link, c->cuts[i]);
  c->n_cuts = 0;
}

/* Who was on the list and is not on the new one, or has another role there. */
static void cut_revoked(coordinator *c, const tri_allow_list *was) {
  for (size_t i = 0; i < was->count; i++) {
    const tri_allowed *old = &was->items[i], *now = tri_keys_find(&c->allowed, old->key);
    if (now && now->role == old->role) continue;
    TRI_INFO("the %s %s %s: its connections end", tri_keys_role_name(old->role), old->name, now ? "has another role now" : "was revoked");
    coordinator_worker_revoked(c, old->key, tri_clock_ms());
    coordinator_client_revoked(c, old->key);
    cut_later(c, old->key);
  }
}

/* A bad list is reported once and the old one stays. */
static tri_status reload_allowed(coordinator *c, tri_error *err) {
  tri_allow_list list = {0}, was = c->allowed;
  if (!coordinator_file_changed(c, "allowed.keys", &c->allowed_stamp)) return TRI_OK;
  tri_status status = tri_keys_load_allowed(&list, c->config->key_dir, err);
  if (status != TRI_OK) return status;
  c->allowed = list;
  if (c->link) cut_revoked(c, &was);
  tri_keys_free_allowed(&was);
  return TRI_OK;
}

void coordinator_follow_allowed(coordinator *c) {
  tri_error err;
  if (reload_allowed(c, &err) != TRI_OK) TRI_ERROR("the allow-list stays as it was: %s", err.text);
}

bool coordinator_may_warn(coordinator *c) {
  int64_t now_ms = tri_clock_ms();
  if (now_ms - c->warned_ms >= 1000) {
    if (c->unwarned) TRI_WARN("%u more lines like these were left out", c->unwarned);
    c->warned_ms = now_ms, c->warned = c->unwarned = 0;
  }
  if (c->warned >= COORDINATOR_WARNINGS) return c->unwarned++, false;
  c->warned++;
  return true;
}

static bool allow(void *arg, const char *domain, const uint8_t key[TRI_KEY_BYTES], const char *address) {
  coordinator *c = arg;
  if (strcmp(domain, COORDINATOR_ENROL_DOMAIN) == 0) return coordinator_enrol_allow(c, address);
  coordinator_follow_allowed(c);
  const tri_allowed *who = tri_keys_find(&c->allowed, key);
  if (who) return true;
  char text[TRI_KEY_TEXT];
  tri_keys_text(key, text);
  c->refused_keys++;
  if (coordinator_may_warn(c)) TRI_WARN("refused a %s connection from %s: key %s is not on the allow-list", domain, address, text);
  return false;
}

/* --- messages --- */

typedef enum sender { SENDER_WORKER, SENDER_CLIENT, SENDER_ADMIN, SENDER_NOBODY } sender;

static sender sender_of(tri_msg_kind kind) {
  switch (kind) {
  case TRI_MSG_KNOCK:
  case TRI_MSG_PING:
  case TRI_MSG_NEED:
  case TRI_MSG_WANT:
  case TRI_MSG_HOLDS:
  case TRI_MSG_HELLO:
  case TRI_MSG_BOUND:
  case TRI_MSG_READY:
  case TRI_MSG_RESULT:
  case TRI_MSG_HEARTBEAT:
  case TRI_MSG_LEAVE:
  case TRI_MSG_PREFETCHED:
  case TRI_MSG_FAULT: return SENDER_WORKER;
  case TRI_MSG_SUBMIT:
  case TRI_MSG_CANCEL:
  case TRI_MSG_TRACE_REQUEST:
  case TRI_MSG_FOLLOW:
  case TRI_MSG_JOBS_REQUEST:
  case TRI_MSG_FORGET:
  case TRI_MSG_STATUS_REQUEST: return SENDER_CLIENT;
  case TRI_MSG_DRAIN: return SENDER_ADMIN;
  default: return SENDER_NOBODY;
  }
}

static void refuse_role(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  char text[256];
  snprintf(text, sizeof text, "the key of %s has the role %s, which may not send %s", who->name, tri_keys_role_name(who->role),
           tri_msg_kind_name(m->kind));
  TRI_WARN("%s (from %s)", text, in->address);
  coordinator_refuse(c, in, TRI_E_DENIED, text);
}

/* A worker measures the link. While jobs run it gets no more than the time of a short message. */
static void on_ping(coordinator *c, const tri_incoming *in, const tri_msg_ping *m) {
  tri_error err;
  bool busy = c->jobs.running > 0 || tri_net_unsent_bytes(c->net) > COORDINATOR_UNSENT_PONGS;
  void *payload = m->bytes && !busy ? calloc(1, m->bytes) : NULL;
  c->outgoing = (tri_msg){.kind = TRI_MSG_PONG, .pong = {.id = m->id, .busy = busy}};
  tri_status status = tri_link_send(c->link, &in->from, &c->outgoing, payload, payload ? m->bytes : 0, payload != NULL, &err);
  if (status != TRI_OK) TRI_DEBUG("a ping of %s was not answered: %s", in->address, err.text);
}

static void on_message(coordinator *c, const tri_incoming *in, const tri_msg *m) {
  /* a connection outlives the removal of its key, so every message is checked */
  const tri_allowed *who = tri_keys_find(&c->allowed, in->key);
  if (!who) {
    c->refused_keys++;
    if (coordinator_may_warn(c)) TRI_WARN("a message from %s was refused: its key is no longer on the allow-list", in->address);
    cut_later(c, in->key);
    coordinator_refuse(c, in, TRI_E_DENIED, "this key is no longer on the coordinator's allow-list");
    return;
  }
  sender role = sender_of(m->kind);
  if (role == SENDER_WORKER && who->role == TRI_ROLE_WORKER && coordinator_parts_message(c, in, m, who)) return;
  if (m->kind == TRI_MSG_PING && who->role == TRI_ROLE_WORKER) on_ping(c, in, &m->ping);
  else if (role == SENDER_WORKER && who->role == TRI_ROLE_WORKER) coordinator_worker_message(c, in, m, who, tri_clock_ms());
  else if (role == SENDER_CLIENT && (who->role == TRI_ROLE_CLIENT || who->role == TRI_ROLE_ADMIN))
    coordinator_client_message(c, in, m, who);
  else if (role == SENDER_ADMIN && who->role == TRI_ROLE_ADMIN) coordinator_on_drain(c, in, m, who);
  else refuse_role(c, in, m, who);
}

static void read_link(void *arg) {
  coordinator *c = arg;
  for (int i = 0; i < COORDINATOR_FAIR; i++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(c->link, &in, &c->incoming, &err);
    if (status == TRI_E_AGAIN) break;
    if (status == TRI_OK) {
      on_message(c, &in, &c->incoming);
      continue;
    }
    const tri_allowed *who = tri_keys_find(&c->allowed, in.key);
    TRI_WARN("a bad message from %s (%s): %s", who ? who->name : "an unknown key", in.address, err.text);
  }
  tri_server_pump(c->server);
  coordinator_pump(c);
}

static void tick(void *arg) {
  coordinator *c = arg;
  cut_now(c);
  coordinator_follow_allowed(c);
  coordinator_enrol_tend(c);
  read_link(c); /* what came while we were busy counts before anyone is found silent */
  coordinator_tend_workers(c, tri_clock_ms());
  coordinator_tend_clients(c);
  coordinator_journal_tend(c, tri_clock_ms());
  coordinator_pump(c);
}

static void on_signal(void *arg) {
  coordinator *c = arg;
  TRI_INFO("asked to end");
  tri_loop_stop(c->loop);
}

/* --- start and end --- */

static tri_status check_config(coordinator *c, tri_pipeline_config *out, tri_error *err) {
  const tri_coordinator_config *config = c->config;
  const tri_shape *shape = tri_model_shape(c->model);
  uint32_t context = config->context ? config->context : (uint32_t)shape->context;
  if (context > (uint32_t)shape->context)
    return tri_status_fail(err, TRI_E_INVALID, "--ctx %u: the model's context is %d", context, shape->context);
  if (config->kv_tokens && config->kv_tokens < context)
    return tri_status_fail(err, TRI_E_INVALID, "--kv-tokens %u: one sequence alone may have the context of %u", config->kv_tokens, context);
  *out = (tri_pipeline_config){.slots = config->slots, .context = context, .max_rows = config->max_rows, .wire = config->wire,
                               .kv_type = config->kv_type, .kv_blocks = tri_plan_kv_blocks(config->slots, context, config->kv_tokens),
                               .layers = (uint32_t)shape->n_layers};
  return TRI_OK;
}

static tri_status prepare_state(coordinator *c, tri_error *err) {
  tri_pipeline_config config;
  tri_status status = check_config(c, &config, err);
  if (status != TRI_OK) return status;
  const tri_tokenizer *tokenizer = tri_model_tokenizer(c->model);
  uint32_t vocab = (uint32_t)tri_model_shape(c->model)->vocab;
  uint8_t id[TRI_ID_BYTES];
  tri_model_id(c->model, id);
  tri_registry_init(&c->registry, id, c->config->lost_ms);
  tri_pipeline_init(&c->pipeline, &config);
  tri_jobs_init(&c->jobs, tokenizer, config.context, vocab, &c->config->limits);
  status = tri_blocks_create(&c->blocks, config.kv_blocks, err);
  if (status == TRI_OK) tri_scheduler_init(&c->scheduler, &c->jobs, c->blocks, config.slots, vocab, c->config->reuse);
  return status;
}

static tri_status start_listening(coordinator *c, tri_error *err) {
  size_t row = (size_t)tri_model_shape(c->model)->vocab * sizeof(float);
  tri_net_limit_payload(c->net, row > TRI_MAX_PROMPT ? row : TRI_MAX_PROMPT);
  uint16_t port;
  tri_status status = tri_link_listen(&c->link, c->net, TRI_LINK_CONTROL, c->config->listen, "control", &port, err);
  if (status == TRI_OK) status = coordinator_parts_serve(c, err);
  if (status == TRI_OK) status = tri_loop_add_link(c->loop, c->link, read_link, c, err);
  if (status != TRI_OK) return status;
  int host = (int)(strrchr(c->config->listen, ':') - c->config->listen);
  snprintf(c->endpoint, sizeof c->endpoint, "%.*s:%u", host, c->config->listen, port);
  TRI_INFO("listening on %s", c->endpoint);
  status = coordinator_enrol_start(c, err);
  if (status != TRI_OK) return status;
  coordinator_beacon_start(c);
  if (c->config->ready_fd >= 0) dprintf(c->config->ready_fd, "%s\n", c->endpoint);
  tri_loop_set_tick(c->loop, COORDINATOR_TICK_MS, tick, c);
  return TRI_OK;
}

static void close_all(coordinator *c) {
  coordinator_enrol_close(c);
  coordinator_beacon_close(c);
  tri_loop_destroy(&c->loop);
  coordinator_journal_close(c);
  coordinator_parts_close(c);
  tri_link_close(&c->link);
  tri_net_destroy(&c->net);
  if (c->blocks) tri_scheduler_stop(&c->scheduler);
  tri_blocks_destroy(&c->blocks);
  tri_jobs_free(&c->jobs);
  tri_trace_free(&c->trace);
  tri_model_close(&c->model);
  tri_keys_free_allowed(&c->allowed);
  tri_keys_wipe(&c->key);
  tri_buf_free(&c->text);
  free(c->cuts);
}

tri_status tri_coordinator_run(const tri_coordinator_config *config, tri_error *err) {
  coordinator *c = calloc(1, sizeof *c);
  if (!c) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  c->config = config;
  c->beacon_fd = -1;
  c->start_ms = tri_clock_ms();
  c->allowed_stamp = COORDINATOR_NEVER_READ;
  tri_status status = tri_keys_load(&c->key, config->key_dir, err);
  if (status == TRI_OK) status = reload_allowed(c, err);
  if (status == TRI_OK) status = tri_model_open(&c->model, config->model_path, err);
  if (status == TRI_OK) status = prepare_state(c, err);
  if (status == TRI_OK) status = coordinator_journal_open(c, err);
  if (status == TRI_OK) status = coordinator_parts_open(c, err);
  if (status == TRI_OK) status = tri_net_create(&c->net, &c->key, allow, c, err);
  if (status == TRI_OK) status = tri_loop_create(&c->loop, c->net, err);
  if (status == TRI_OK) status = tri_loop_on_signal(c->loop, on_signal, c, err);
  if (status == TRI_OK) status = start_listening(c, err);
  if (status == TRI_OK) status = tri_loop_run(c->loop, -1, err);
  close_all(c);
  free(c);
  return status;
}
