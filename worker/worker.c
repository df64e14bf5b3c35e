/* SPDX-License-Identifier: MIT */
#include "worker/worker_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"

static void finish(worker *w, tri_status outcome) {
  w->outcome = outcome;
  tri_loop_stop(w->loop);
}

void worker_send(worker *w, void *payload, size_t len, bool owned) {
  tri_error err;
  tri_status status = tri_link_send(w->control, NULL, &w->outgoing, payload, len, owned, &err);
  /* a lost connection is noticed by its state; the coordinator then takes us for lost too */
  if (status != TRI_OK) TRI_WARN("%s to the coordinator: %s", tri_msg_kind_name(w->outgoing.kind), err.text);
}

/* --- the epoch --- */

static bool give_runner(worker *w, tri_task *t) {
  if (t && tri_runner_put(w->runner, t) == TRI_OK) return true;
  tri_task_free(&t);
  TRI_WARN("no room for another task");
  return false;
}

static void drop_epoch(worker *w) {
  worker_flow_drop(w);
  if (w->fetch) tri_fetch_stop(w->fetch);
  w->prefetching = 0;
  w->tempo = (tri_tempo){0};
  tri_runner_expect(w->runner, 0);
  if (w->assign.epoch) give_runner(w, tri_task_new(TRI_TASK_DROP, w->assign.epoch));
  w->assign = (tri_msg_assign){0};
  if (w->state > IDLE) w->state = IDLE;
}

void worker_fault(worker *w, tri_status status, const char *fmt, ...) {
  uint32_t epoch = w->assign.epoch;
  if (!epoch) return;
  w->outgoing = (tri_msg){.kind = TRI_MSG_FAULT, .fault = {.epoch = epoch, .status = status}};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(w->outgoing.fault.text, sizeof w->outgoing.fault.text, fmt, ap);
  va_end(ap);
  TRI_ERROR("%s", w->outgoing.fault.text);
  worker_send(w, NULL, 0, false);
  drop_epoch(w);
}

static void load(worker *w) {
  tri_task *t = tri_task_new(TRI_TASK_LOAD, w->assign.epoch);
  if (t) t->assign = w->assign;
  if (!give_runner(w, t)) worker_fault(w, TRI_E_BUSY, "cannot load: too many tasks are waiting");
}

static void on_assign(worker *w, const tri_msg_assign *m) {
  drop_epoch(w);
  w->assign = *m;
  w->state = LOADING;
  TRI_INFO("epoch %u: stage %u of %u, layers %u to %u%s%s", m->epoch, m->stage + 1, m->stages, m->first, m->last - 1,
           m->embed ? ", embedding" : "", m->head ? ", head" : "");
  tri_runner_expect(w->runner, m->epoch);
  load(w);
}

/* Listen for the stage before, then tell. A fixed port may still be held by the link of the epoch before. */
static void try_bind(worker *w, size_t stage_bytes, int64_t now_ms) {
  tri_error err;
  uint16_t port;
  tri_status status = worker_flow_bind(w, &port, &err);
  if (status == TRI_E_IO && now_ms - w->since_ms < WORKER_BIND_MS) return;
  if (status != TRI_OK) {
    worker_fault(w, status, "the data link: %s", err.text);
    return;
  }
  w->state = BOUND;
  w->outgoing = (tri_msg){.kind = TRI_MSG_BOUND, .bound = {.epoch = w->assign.epoch, .port = port, .bytes = stage_bytes}};
  worker_send(w, NULL, 0, false);
  if (!w->assign.head) return;
  w->state = READY; /* the last stage has no one to connect to */
  w->outgoing = (tri_msg){.kind = TRI_MSG_READY, .ready = {.epoch = w->assign.epoch}};
  worker_send(w, NULL, 0, false);
}

static void on_loaded(worker *w, tri_task *t) {
  if (t->epoch == w->assign.epoch && w->state == LOADING) {
    if (t->lack.n) {
      if (t->lack.damaged) TRI_WARN("%s", t->err.text);
      worker_parts_get(w, &t->lack);
    } else if (t->status != TRI_OK) {
      worker_fault(w, t->status, "cannot load its stage: %s", t->err.text);
    } else {
      w->state = BINDING;
      w->since_ms = tri_clock_ms();
      w->stage_bytes = t->stage_bytes;
      worker_parts_tell(w);
      try_bind(w, t->stage_bytes, w->since_ms);
    }
  }
  tri_task_free(&t);
}

static void on_connect(worker *w, const tri_msg_connect *m) {
  if (m->epoch != w->assign.epoch || w->state != BOUND) return;
  tri_error err;
  w->state = LINKING;
  w->since_ms = tri_clock_ms();
  tri_status status = worker_flow_connect(w, m, &err);
  if (status != TRI_OK) worker_fault(w, status, "the next stage: %s", err.text);
}

/* --- before the first hello --- */

static void say_hello(worker *w) {
  w->state = GREETED;
  w->next_beat_ms = 0;
  w->outgoing = (tri_msg){.kind = TRI_MSG_HELLO, .hello = w->hello};
  worker_send(w, NULL, 0, false);
}

/* Hello says how fast the model is here, for which its metadata must be here, and how far away the coordinator is: one after the other,
 * as computing would disturb the second. */
static void prepare(worker *w) {
  w->state = PREPARING;
  if (w->measured && w->gauged) say_hello(w);
  else if (w->measured) worker_reach_begin(w);
  else if (!w->measuring) w->measuring = give_runner(w, tri_task_new(TRI_TASK_MEASURE, 0));
}

static void on_model(worker *w, const tri_incoming *in) {
  tri_error err;
  if (w->state != KNOCKED) return;
  tri_status status = worker_parts_model(w, in->payload, in->payload_len, &err);
  if (status == TRI_OK) {
    prepare(w);
  } else if (status == TRI_E_AGAIN) {
    TRI_INFO("the coordinator serves another model now");
    w->restart = true;
    finish(w, TRI_OK);
  } else {
    finish(w, tri_status_fail(w->err, status, "the coordinator at %s: %s", w->endpoint, err.text));
  }
}

static void on_measured(worker *w, tri_task *t) {
  w->measuring = false;
  if (t->status == TRI_OK) {
    tri_msg_hello *h = &w->hello;
    h->layer_us = t->measure.layer_us, h->head_us = t->measure.head_us;
    h->layer_rows_us = t->measure.layer_rows_us, h->head_rows_us = t->measure.head_rows_us;
    memcpy(h->model_id, t->model_id, sizeof h->model_id);
    w->d = t->d;
    w->measured = true;
    TRI_INFO("%s kernels, %u thread%s: %u us a layer, %u us for the head", h->isa, h->threads, h->threads == 1 ? "" : "s", h->layer_us,
             h->head_us);
    if (w->state == PREPARING) prepare(w);
  } else if (w->state == PREPARING && t->lack.n) {
    worker_parts_get(w, &t->lack);
  } else if (!t->lack.n) {
    finish(w, tri_status_fail(w->err, t->status, "cannot work with the coordinator's model: %s", t->err.text));
  }
  tri_task_free(&t);
}

void worker_gauged(worker *w) {
  w->gauged = true;
  if (w->state == PREPARING) say_hello(w);
}

void worker_fetched(void *arg, tri_status status, const tri_error *err) {
  worker *w = arg;
  if (w->state == LOADING && status == TRI_OK) load(w);
  else if (w->state == LOADING) worker_fault(w, status, "cannot get its parts of the model: %s", err->text);
  else if (w->prefetching) worker_parts_prefetched(w, status, err);
  else if (w->state == PREPARING && status == TRI_OK) prepare(w);
  else if (w->state == PREPARING) finish(w, tri_status_fail(w->err, status, "cannot get the model's metadata: %s", err->text));
}

static void on_tasks_done(void *arg) {
  worker *w = arg;
  /* one that waits for the next stage's queue goes first, and the order must hold */
  worker_flow_resume(w);
  for (tri_task *t; !w->unsent && (t = tri_runner_take(w->runner));) {
    if (t->kind == TRI_TASK_STEP) worker_flow_done(w, t);
    else if (t->kind == TRI_TASK_LOAD) on_loaded(w, t);
    else if (t->kind == TRI_TASK_MEASURE) on_measured(w, t);
    else tri_task_free(&t);
  }
  worker_flow_resume(w);
}

/* --- control --- */

static void on_refuse(worker *w, const tri_msg_refuse *m) {
  /* after a lost connection the coordinator may not have noticed yet that the old one is gone */
  if (m->status == TRI_E_AGAIN || (m->status == TRI_E_BUSY && w->welcomed_once)) {
    TRI_WARN("the coordinator says: %s; trying again", m->text);
    drop_epoch(w);
    w->state = CALLING;
    w->retry_ms = tri_clock_ms() + 1000;
    return;
  }
  tri_status status = m->status == TRI_E_NOMEM || m->status == TRI_E_LIMIT ? (tri_status)m->status : TRI_E_DENIED;
  finish(w, tri_status_fail(w->err, status, "the coordinator at %s refused this worker: %s", w->endpoint, m->text));
}

static void on_welcome(worker *w, uint32_t heartbeat_ms) {
  if (w->state == GREETED) {
    w->state = IDLE;
    TRI_INFO("joined the coordinator at %s", w->endpoint);
    worker_seek_done(w);
    worker_parts_tell(w);
  }
  w->welcomed_once = true;
  w->beat_ms = heartbeat_ms < WORKER_TICK_MS ? WORKER_TICK_MS : heartbeat_ms;
}

static void on_control(worker *w, const tri_incoming *in, const tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_WELCOME: on_welcome(w, m->welcome.heartbeat_ms); break;
  case TRI_MSG_REFUSE: on_refuse(w, &m->refuse); break;
  case TRI_MSG_MODEL: on_model(w, in); break;
  case TRI_MSG_SOURCE:
    if (w->fetch) tri_fetch_source(w->fetch, &m->source);
    break;
  case TRI_MSG_ADMIT: worker_parts_admit(w, &m->admit); break;
  case TRI_MSG_PONG: worker_reach_pong(w, &m->pong, in->payload_len); break;
  case TRI_MSG_ASSIGN:
    if (w->state >= IDLE) on_assign(w, &m->assign);
    break;
  case TRI_MSG_PREFETCH:
    if (w->state >= IDLE && w->state != LOADING) worker_parts_prefetch(w, m->prefetch.id, in->payload, in->payload_len);
    break;
  case TRI_MSG_CONNECT: on_connect(w, &m->connect); break;
  case TRI_MSG_OPEN:
    worker_flow_open(w, &m->open, in->payload, in->payload_len);
    worker_flow_resume(w);
    break;
  case TRI_MSG_STEP: worker_flow_first(w, &m->step); break;
  case TRI_MSG_STOP:
    if (m->stop.leave) finish(w, TRI_OK);
    else if (m->stop.epoch == w->assign.epoch) drop_epoch(w);
    break;
  default: TRI_WARN("the coordinator sent %s, which is not for workers", tri_msg_kind_name(m->kind));
  }
}

static void knock(worker *w) {
  drop_epoch(w);
  w->greeted = tri_link_connections(w->control);
  w->state = KNOCKED;
  w->outgoing = (tri_msg){.kind = TRI_MSG_KNOCK, .knock = {.protocol = TRI_PROTOCOL, .version = TRIREME_VERSION}};
  snprintf(w->outgoing.knock.name, sizeof w->outgoing.knock.name, "%s", w->hello.name);
  worker_send(w, NULL, 0, false);
}

/* Follow the control connection: a new one has to be greeted, a refused one ends us. */
static void follow_connection(worker *w, int64_t now_ms) {
  switch (tri_link_get_state(w->control)) {
  case TRI_LINK_UP:
    if (tri_link_connections(w->control) != w->greeted || (w->state == CALLING && now_ms >= w->retry_ms)) knock(w);
    break;
  case TRI_LINK_CONNECTING:
    if (w->leave_by_ms) finish(w, TRI_OK);
    if (w->state != CALLING) {
      TRI_WARN("lost the coordinator at %s; trying again", w->endpoint);
      drop_epoch(w);
      w->state = CALLING;
      w->retry_ms = 0;
    }
    break;
  default: /* denied, or a wrong key */
    tri_link_explain(w->control, w->err);
    finish(w, w->err->status);
  }
}

static void read_control(void *arg) {
  worker *w = arg;
  follow_connection(w, tri_clock_ms());
  for (int i = 0; i < WORKER_FAIR && w->outcome == TRI_E_AGAIN; i++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(w->control, &in, &w->incoming, &err);
    if (status == TRI_E_AGAIN) return;
    if (status != TRI_OK) TRI_WARN("from the coordinator: %s", err.text);
    else on_control(w, &in, &w->incoming);
  }
}

static uint64_t resident_bytes(void) {
  unsigned long long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f) return 0;
  if (fscanf(f, "%*u %llu", &pages) != 1) pages = 0;
  fclose(f);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void send_heartbeat(worker *w) {
  uint64_t here = 0, total = 0;
  tri_tempo_look look = tri_tempo_read(&w->tempo);
  if (w->fetch) tri_fetch_progress(w->fetch, &here, &total);
  w->outgoing = (tri_msg){.kind = TRI_MSG_HEARTBEAT,
                          .heartbeat = {.epoch = w->assign.epoch, .steps = w->steps, .rows = w->rows,
                                        .busy_us = tri_runner_busy_us(w->runner), .rss_bytes = resident_bytes(),
                                        .sent_bytes = w->sent_bytes, .dropped = w->dropped, .fetched_bytes = here,
                                        .fetch_bytes = total, .step_rows = look.rows, .step_us = look.median_us,
                                        .step_p95_us = look.p95_us, .rtt_us = w->hello.rtt_us,
                                        .down_kbps = w->hello.down_kbps, .up_kbps = w->hello.up_kbps}};
  worker_send(w, NULL, 0, false);
}

static void check_patience(worker *w, int64_t now_ms) {
  enum { WARN_MS = 5000 };
  int64_t waited = now_ms - w->start_ms;
  if (w->welcomed_once || w->state != CALLING || waited < WARN_MS) return;
  tri_error err = {0};
  tri_link_explain(w->control, &err);
  if (w->config->give_up_ms && waited >= w->config->give_up_ms) {
    finish(w, tri_status_fail(w->err, TRI_E_UNREACHABLE, "%s", err.text));
  } else if (!w->warned) {
    w->warned = true;
    TRI_WARN("%s; trying on", err.text);
  }
}

static void tick(void *arg) {
  worker *w = arg;
  int64_t now = tri_clock_ms();
  follow_connection(w, now);
  worker_seek(w, now);
  check_patience(w, now);
  if (w->leave_by_ms && now >= w->leave_by_ms) finish(w, TRI_OK);
  if (w->state == BINDING) try_bind(w, w->stage_bytes, now);
  worker_flow_watch(w, now);
  if (w->fetch) tri_fetch_tick(w->fetch, now);
  worker_reach_tick(w, now);
  tri_server_pump(w->server);
  on_tasks_done(w);
  /* one more as soon as the work has paused, so that whoever asks then sees all of it */
  bool paused = w->steps == w->ticked_steps && w->steps != w->told_steps;
  w->ticked_steps = w->steps;
  if (w->state < IDLE || (now < w->next_beat_ms && !paused)) return;
  w->next_beat_ms = now + w->beat_ms;
  w->told_steps = w->steps;
  send_heartbeat(w);
}

/* Others may count on this one: it goes once the coordinator can do without. A second time means at once. */
static void on_signal(void *arg) {
  worker *w = arg;
  if (w->state < IDLE || w->leave_by_ms) {
    TRI_INFO("asked to end");
    finish(w, TRI_OK);
    return;
  }
  TRI_INFO("asked to end: as soon as the cluster can do without, in %d s at the latest; once more ends at once", WORKER_LEAVE_MS / 1000);
  w->leave_by_ms = tri_clock_ms() + WORKER_LEAVE_MS;
  w->outgoing = (tri_msg){.kind = TRI_MSG_LEAVE};
  worker_send(w, NULL, 0, false);
}

static bool allow(void *arg, const char *domain, const uint8_t key[TRI_KEY_BYTES], const char *address) {
  worker *w = arg;
  bool parts = strcmp(domain, "parts") == 0;
  bool ok = parts ? worker_parts_allow(w, key) : w->assign.has_upstream && memcmp(key, w->assign.upstream_key, TRI_KEY_BYTES) == 0;
  char text[TRI_KEY_TEXT];
  tri_keys_text(key, text);
  if (!ok) TRI_WARN("refused a connection to the %s link from %s (key %.8s): %s", domain, address, text,
                    parts ? "the coordinator has not named it" : "it is not the stage before");
  return ok;
}

/* --- start and end --- */

static const char *name_of(const worker *w) { return w->config->name ? w->config->name : w->key.name; }

static tri_status prepare_compute(worker *w, tri_error *err) {
  char why[256];
  const tri_kernels *k = tri_kernels_pick(why, sizeof why);
  if (!k) return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s", why);
  tri_pool *pool;
  tri_status status = tri_pool_create(&pool, w->config->threads, err);
  if (status != TRI_OK) return status;
  tri_msg_hello *h = &w->hello;
  *h = (tri_msg_hello){.protocol = TRI_PROTOCOL, .threads = (uint32_t)tri_pool_threads(pool), .memory_bytes = w->config->memory_bytes,
                       .version = TRIREME_VERSION};
  snprintf(h->name, sizeof h->name, "%s", name_of(w));
  snprintf(h->isa, sizeof h->isa, "%s", k->name);
  if (w->config->advertise) snprintf(h->advertise, sizeof h->advertise, "%s", w->config->advertise);
  return tri_runner_create(&w->runner, &w->source, k, pool, w->config->memory_bytes, err);
}

tri_status worker_dial(worker *w, tri_error *err) {
  tri_link *link;
  tri_net_limit_payload(w->net, TRI_MAX_PROMPT); /* results: logits of at least one row of the largest vocabulary */
  tri_status status = tri_link_dial(&link, w->net, TRI_LINK_CONTROL, w->endpoint, w->coordinator_key, err);
  if (status != TRI_OK) return status;
  if (w->control) tri_loop_remove_link(w->loop, w->control);
  tri_link_close(&w->control);
  w->control = link;
  w->greeted = 0;
  return tri_loop_add_link(w->loop, w->control, read_control, w, err);
}

static tri_status prepare_links(worker *w, tri_error *err) {
  tri_status status = worker_parts_listen(w, err);
  w->hello.parts_port = w->parts_port;
  if (status == TRI_OK) status = worker_dial(w, err);
  if (status == TRI_OK) status = tri_loop_add_fd(w->loop, tri_runner_fd(w->runner), on_tasks_done, w, err);
  tri_loop_set_tick(w->loop, WORKER_TICK_MS, tick, w);
  return status;
}

static void close_all(worker *w) {
  if (w->loop) worker_flow_drop(w);
  if (w->loop) worker_parts_close(w);
  tri_runner_destroy(&w->runner);
  tri_loop_destroy(&w->loop);
  tri_link_close(&w->control);
  tri_beacon_close(&w->asker);
  tri_net_destroy(&w->net);
  tri_parts_close(&w->local_parts);
  tri_gguf_close(&w->local);
  tri_manifest_free(&w->source.manifest);
  tri_keys_wipe(&w->key);
}

/* In each line of the log, so that those of several workers on one machine can be told apart. */
static void log_name(const worker *w) {
  char text[TRI_MAX_NAME + sizeof "worker "];
  snprintf(text, sizeof text, "worker %s", name_of(w));
  tri_log_set_name(text);
}

/* One life; *restart: another is to follow, for another model. */
static tri_status live(const tri_worker_config *config, bool *restart, tri_error *err) {
  worker *w = calloc(1, sizeof *w);
  if (!w) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  *w = (worker){.config = config, .err = err, .outcome = TRI_E_AGAIN, .beat_ms = 1000, .start_ms = tri_clock_ms(), .asker = {.fd = -1}};
  snprintf(w->endpoint, sizeof w->endpoint, "%s", config->coordinator);
  tri_status status = tri_keys_load(&w->key, config->key_dir, err);
  if (status == TRI_OK) log_name(w);
  if (status == TRI_OK) status = tri_keys_load_coordinator(w->coordinator_key, config->key_dir, err);
  if (status == TRI_OK) status = worker_parts_open(w, err);
  if (status == TRI_OK) status = tri_net_create(&w->net, &w->key, allow, w, err);
  if (status == TRI_OK) status = tri_loop_create(&w->loop, w->net, err);
  /* before the compute threads start, so that they leave signals to the loop */
  if (status == TRI_OK) status = tri_loop_on_signal(w->loop, on_signal, w, err);
  if (status == TRI_OK) status = prepare_compute(w, err);
  if (status == TRI_OK) status = prepare_links(w, err);
  if (status == TRI_OK) status = tri_loop_run(w->loop, -1, err);
  if (status == TRI_OK) status = w->outcome;
  *restart = status == TRI_OK && w->restart;
  close_all(w);
  free(w);
  return status;
}

tri_status tri_worker_run(const tri_worker_config *config, tri_error *err) {
  bool restart = true;
  tri_status status = TRI_OK;
  while (status == TRI_OK && restart) status = live(config, &restart, err);
  return status;
}
