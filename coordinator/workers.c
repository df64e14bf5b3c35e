/* SPDX-License-Identifier: MIT */
/* The glue's side that faces workers: who is there, the pipeline over them, steps out and results in. */
#include "coordinator/coordinator_impl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "coordinator/plan_model.h"

static tri_worker *worker_at(coordinator *c, int index) { return &c->registry.workers[index]; }

/* --- the end of an epoch --- */

static void tell_starter(const coordinator *c, const char *what, const char *text) {
  if (c->config->ready_fd >= 0) dprintf(c->config->ready_fd, "%s%s%s\n", what, text[0] ? " " : "", text);
}

static void log_end(coordinator *c, const char *why) {
  if (why) TRI_ERROR("epoch %u ends: %s", c->pipeline.epoch, why);
  else TRI_INFO("epoch %u ends by plan: %s", c->pipeline.epoch, c->change.state ? c->change.why : "others are to take part");
  snprintf(c->trouble, sizeof c->trouble, "%s", why ? why : "");
}

/* Running jobs wait for the next one; the workers drop their stages. A failure to come up backs off, a loss while serving does not:
 * what is left, or who comes back, may serve at once. */
void coordinator_drop_pipeline(coordinator *c, const char *why, int64_t now_ms) {
  if (c->pipeline.state == TRI_PIPELINE_IDLE) return;
  bool served = c->pipeline.state == TRI_PIPELINE_SERVING;
  log_end(c, why);
  tri_change_end(&c->change);
  for (uint32_t i = 0; i < c->pipeline.stages; i++) {
    const tri_worker *w = worker_at(c, c->pipeline.worker[i]);
    tri_error err;
    bool leave = coordinator_health_of(c, c->pipeline.worker[i])->leaving;
    c->outgoing = (tri_msg){.kind = TRI_MSG_STOP, .stop = {.epoch = c->pipeline.epoch, .leave = leave}};
    if (w->state != TRI_WORKER_LOST && coordinator_send(c, &w->peer, NULL, 0, &err) != TRI_OK)
      TRI_DEBUG("stop to %s: %s", w->hello.name, err.text);
  }
  tri_scheduler_stop(&c->scheduler);
  tri_trace_lost(&c->trace);
  tri_pipeline_drop(&c->pipeline, &c->registry);
  coordinator_interrupt_jobs(c, why);
  if (served || !why) {
    c->retry_ms = 0;
    c->retry_at_ms = why ? now_ms + COORDINATOR_PROBE_MS : now_ms; /* by then it is known who is still there */
  } else {
    c->retry_ms = c->retry_ms ? c->retry_ms * 2 : COORDINATOR_RETRY_MS;
    if (c->retry_ms > COORDINATOR_RETRY_MAX_MS) c->retry_ms = COORDINATOR_RETRY_MAX_MS;
    c->retry_at_ms = now_ms + c->retry_ms;
    tell_starter(c, "failed", why);
  }
}

/* It ended an epoch: by its loss, or by what it said. */
static void count_failure(coordinator *c, int index, int64_t now_ms) {
  tri_health_record *health = coordinator_health_of(c, index);
  if (!health->leaving && tri_health_lost(health, now_ms))
    TRI_WARN("worker %s failed %d times in a short time: plans leave it out for %lld s", worker_at(c, index)->hello.name, TRI_HEALTH_LOSSES,
             (long long)health->out_ms / 1000);
}

static void lose_worker(coordinator *c, int index, const char *how, int64_t now_ms) {
  tri_worker *w = worker_at(c, index);
  char text[TRI_MAX_TEXT];
  int stage = w->stage;
  if (coordinator_health_of(c, index)->leaving) TRI_INFO("worker %s has left", w->hello.name);
  else TRI_WARN("worker %s from %s: %s", w->hello.name, w->address, how);
  count_failure(c, index, now_ms);
  if (tri_change_uses(&c->change, index)) coordinator_call_off_change(c);
  if (stage >= 0)
    snprintf(text, sizeof text, "worker %s (stage %d, layers %u to %u) was lost: %s", w->hello.name, stage + 1,
             c->pipeline.part[stage].first, c->pipeline.part[stage].last - 1, how);
  tri_registry_lose(&c->registry, index);
  if (stage >= 0) coordinator_drop_pipeline(c, text, now_ms);
}

void coordinator_worker_revoked(coordinator *c, const uint8_t key[TRI_KEY_BYTES], int64_t now_ms) {
  int index = tri_registry_find(&c->registry, key);
  if (index >= 0) coordinator_health_of(c, index)->drained = false; /* it is no longer one that will be back */
  if (index < 0 || worker_at(c, index)->state == TRI_WORKER_LOST) return;
  const tri_incoming in = {.from = worker_at(c, index)->peer};
  coordinator_refuse(c, &in, TRI_E_DENIED, "this worker's key was revoked");
  lose_worker(c, index, "its key was revoked", now_ms);
}

/* Send something harmless: a peer that has gone is noticed by it. */
static bool is_connected(coordinator *c, int index) {
  tri_error err;
  c->outgoing = (tri_msg){.kind = TRI_MSG_WELCOME, .welcome = {.heartbeat_ms = TRI_REGISTRY_HEARTBEAT_MS}};
  return coordinator_send(c, &worker_at(c, index)->peer, NULL, 0, &err) != TRI_E_NOT_FOUND;
}

static void probe(coordinator *c, int64_t now_ms) {
  for (size_t i = 0; i < c->registry.count; i++)
    if (worker_at(c, (int)i)->state != TRI_WORKER_LOST && !is_connected(c, (int)i)) lose_worker(c, (int)i, "its connection ended", now_ms);
}

static void send_payload_to_stage(coordinator *c, uint32_t stage, const tri_buf *payload, int64_t now_ms) {
  int index = c->pipeline.worker[stage];
  tri_worker *w = worker_at(c, index);
  tri_error err;
  tri_status status = coordinator_send(c, &w->peer, payload->data, payload->len, &err);
  if (status != TRI_OK) lose_worker(c, index, err.text, now_ms);
}

static void send_to_stage(coordinator *c, uint32_t stage, int64_t now_ms) { send_payload_to_stage(c, stage, &(tri_buf){0}, now_ms); }

/* --- bringing a pipeline up --- */

static bool enough_workers(const coordinator *c) {
  return coordinator_count(c) >= c->config->min_workers && !coordinator_absent(c);
}

tri_plan_worker coordinator_speed_of(const tri_msg_hello *h) {
  return (tri_plan_worker){.name = h->name, .layer_ns = 1000ull * h->layer_us, .head_ns = 1000ull * h->head_us,
                           .layer_rows_ns = 1000ull * h->layer_rows_us, .head_rows_ns = 1000ull * h->head_rows_us,
                           .rtt_ns = 1000ull * h->rtt_us, .up_bytes_s = 125ull * h->up_kbps, .down_bytes_s = 125ull * h->down_kbps};
}

static void set_pace(const coordinator *c, tri_pace *out) {
  *out = (tri_pace){.stages = c->pipeline.stages, .max_rows = c->config->max_rows, .hop_us = TRI_PLAN_HAND_US,
                    .target_us = (double)c->config->itl_target_ms * 1e3};
  for (uint32_t i = 0; i < out->stages; i++) {
    const tri_worker *w = &c->registry.workers[c->pipeline.worker[i]];
    const tri_plan_stage *part = &c->pipeline.part[i];
    out->stage[i] = (tri_pace_stage){.worker = coordinator_speed_of(&w->hello), .layers = part->last - part->first,
                                     .head = part->last == c->pipeline.config.layers, .scale = 1, .busy_us = w->beat.busy_us};
  }
}

bool coordinator_is_wanted(const coordinator *c, const char *name) {
  bool expected = false;
  for (size_t i = 0; i < c->config->n_expect && !expected; i++) expected = strcmp(c->config->expect[i], name) == 0;
  return expected || c->config->all_workers;
}

static void slow_down(tri_plan_worker *w, double slow) {
  uint64_t *const times[] = {&w->layer_ns, &w->head_ns, &w->layer_rows_ns, &w->head_rows_ns};
  for (int i = 0; i < 4; i++) *times[i] = (uint64_t)((double)*times[i] * slow);
}

typedef enum among { AMONG_HEALTHY, AMONG_WILLING, AS_IT_IS } among;

/* Whom a plan may use. */
static size_t choose(coordinator *c, among whom, int order[TRI_REGISTRY_MAX]) {
  size_t n = tri_registry_order(&c->registry, c->config->expect, c->config->n_expect, order);
  if (whom != AS_IT_IS) return coordinator_leave_out(c, order, n, whom == AMONG_WILLING, tri_clock_ms());
  memcpy(order, c->pipeline.worker, c->pipeline.stages * sizeof *order);
  return c->pipeline.stages;
}

static tri_status plan_over(coordinator *c, among whom, bool tell, int order[TRI_REGISTRY_MAX], tri_error *err) {
  const tri_pipeline_config *config = &c->pipeline.config;
  tri_plan_load load = {.slots = config->slots, .context = config->context, .max_rows = config->max_rows,
                        .kv_blocks = config->kv_blocks, .kv_type = (tri_ftype)config->kv_type, .wire = c->config->wire};
  tri_plan_model m = tri_plan_model_of(c->model, &load);
  tri_plan_worker workers[TRI_REGISTRY_MAX];
  size_t live = tri_registry_order(&c->registry, NULL, 0, order), n = choose(c, whom, order);
  if (!n) return tri_status_fail(err, TRI_E_LIMIT, "no worker is left: those that are there are drained, or want to end");
  for (size_t i = 0; i < n; i++) {
    const tri_msg_hello *h = &worker_at(c, order[i])->hello;
    workers[i] = coordinator_speed_of(h);
    workers[i].memory_bytes = h->memory_bytes, workers[i].buffer_bytes = tri_plan_model_buffers(c->model, &load, h->threads);
    workers[i].must = coordinator_is_wanted(c, h->name);
    const tri_plan_node *node = c->config->nodes ? tri_plan_file_find(c->config->nodes, h->name) : NULL;
    if (node) tri_plan_file_overlay(node, &workers[i]);
    slow_down(&workers[i], coordinator_health_of(c, order[i])->slow);
    if (whom != AS_IT_IS) continue;
    workers[i].first = c->pipeline.part[i].first, workers[i].last = c->pipeline.part[i].last, workers[i].position = 0;
  }
  m.hub_ns = tri_plan_hub_ns(workers, (uint32_t)n);
  /* a person who names workers, or counts them, has an order in mind */
  bool ordered = whom == AS_IT_IS || c->config->all_workers || c->config->n_expect > 0;
  tri_plan_options options = {.objective = c->config->objective, .fixed_order = ordered,
                              .rows = tri_plan_rows(config->slots, (uint32_t)live)};
  tri_status status = tri_plan_make(&c->plan, &m, workers, (uint32_t)n, &options, err);
  if (status == TRI_OK && whom != AS_IT_IS) coordinator_keep_plan(c, &m, workers, (uint32_t)n, &options);
  char why[TRI_PLAN_REASON];
  for (uint32_t i = 0; i < n && tell && status == TRI_OK; i++)
    if (tri_plan_explain(&c->plan, &m, workers, (uint32_t)n, &options, i, why)) TRI_INFO("worker %s is %s", workers[i].name, why);
  return status;
}

tri_status coordinator_make_plan(coordinator *c, bool tell, int order[TRI_REGISTRY_MAX], tri_error *err) {
  tri_status status = plan_over(c, AMONG_HEALTHY, tell, order, err);
  return status == TRI_E_LIMIT ? plan_over(c, AMONG_WILLING, tell, order, err) : status;
}

tri_status coordinator_price_present(coordinator *c, int order[TRI_REGISTRY_MAX], tri_error *err) {
  return plan_over(c, AS_IT_IS, false, order, err);
}

static void bring_up(coordinator *c, int64_t now_ms) {
  int order[TRI_REGISTRY_MAX];
  tri_error err;
  if (coordinator_make_plan(c, true, order, &err) != TRI_OK) {
    if (strcmp(c->trouble, err.text) != 0) {
      TRI_ERROR("%s", err.text);
      tell_starter(c, "failed", err.text);
    }
    snprintf(c->trouble, sizeof c->trouble, "%s", err.text);
    c->retry_at_ms = now_ms + COORDINATOR_RETRY_MS;
    return;
  }
  c->review = false; /* all that was new is in it */
  coordinator_start_plan(c, order, now_ms);
}

void coordinator_start_plan(coordinator *c, const int order[TRI_REGISTRY_MAX], int64_t now_ms) {
  tri_pipeline_start(&c->pipeline, &c->registry, &c->plan, order);
  uint32_t epoch = c->pipeline.epoch;
  for (uint32_t i = 0; i < c->pipeline.stages; i++) {
    const tri_plan_stage *part = &c->pipeline.part[i];
    const tri_worker *w = worker_at(c, c->pipeline.worker[i]);
    TRI_INFO("epoch %u: stage %u is %s, layers %u to %u, %s, %.2f ms a step", epoch, i + 1, w->hello.name, part->first, part->last - 1,
             TRI_UNITS(part->bytes), (double)part->ns / 1e6);
    c->outgoing = (tri_msg){.kind = TRI_MSG_ASSIGN};
    tri_pipeline_assign(&c->pipeline, &c->registry, i, &c->outgoing.assign);
    send_to_stage(c, i, now_ms);
    if (c->pipeline.state == TRI_PIPELINE_IDLE) return; /* one was gone */
  }
}

static void connect_stages(coordinator *c, int64_t now_ms) {
  for (uint32_t i = 0; i + 1 < c->pipeline.stages; i++) {
    c->outgoing = (tri_msg){.kind = TRI_MSG_CONNECT};
    tri_pipeline_connect(&c->pipeline, &c->registry, i, &c->outgoing.connect);
    send_to_stage(c, i, now_ms);
    if (c->pipeline.state == TRI_PIPELINE_IDLE) return;
  }
}

static void begin_serving(coordinator *c, int64_t now_ms) {
  TRI_INFO("epoch %u serves with %u stages", c->pipeline.epoch, c->pipeline.stages);
  c->trouble[0] = 0;
  c->retry_ms = 0;
  c->progress_ms = now_ms;
  coordinator_remember_plan(c);
  set_pace(c, &c->pace);
  tri_scheduler_start(&c->scheduler, c->pipeline.epoch, &c->pace);
  if (!c->told_ready) tell_starter(c, "ready", "");
  c->told_ready = true;
}

/* --- messages --- */

static void on_hello(coordinator *c, const tri_incoming *in, const tri_msg_hello *hello, const tri_allowed *who, int64_t now_ms) {
  tri_error err;
  int index;
  /* a worker that was restarted is faster here than its silence is noticed */
  const int rivals[] = {tri_registry_find(&c->registry, in->key), tri_registry_find_name(&c->registry, hello->name)};
  for (int i = 0; i < 2; i++)
    if (rivals[i] >= 0 && worker_at(c, rivals[i])->state != TRI_WORKER_LOST && !is_connected(c, rivals[i]))
      lose_worker(c, rivals[i], "its connection ended", now_ms);
  tri_status status = tri_registry_hello(&c->registry, in, hello, now_ms, &index, &err);
  if (status != TRI_OK) {
    TRI_WARN("refused worker %s from %s (key of %s): %s", hello->name, in->address, who->name, err.text);
    coordinator_refuse(c, in, status, err.text);
    return;
  }
  TRI_INFO("worker %s joined from %s (key of %s): %s, %u thread%s, %s, %.2f ms a layer, %.2f ms for the head", hello->name, in->address,
           who->name, hello->isa, hello->threads, hello->threads == 1 ? "" : "s", TRI_UNITS(hello->memory_bytes), hello->layer_us / 1e3,
           hello->head_us / 1e3);
  tri_health_hello(coordinator_health_of(c, index));
  coordinator_review_soon(c);
  coordinator_parts_holds(c, index, NULL, 0);
  c->given_bytes[index] = 0;
  c->outgoing = (tri_msg){.kind = TRI_MSG_WELCOME, .welcome = {.heartbeat_ms = TRI_REGISTRY_HEARTBEAT_MS}};
  if (coordinator_send(c, &in->from, NULL, 0, &err) != TRI_OK) lose_worker(c, index, err.text, now_ms);
}

static void on_result(coordinator *c, int index, const tri_msg_result *m, const tri_incoming *in, int64_t now_ms) {
  tri_error err;
  char text[TRI_MAX_TEXT];
  tri_worker *w = worker_at(c, index);
  tri_status status;
  c->progress_ms = now_ms;
  tri_buf_clear(&c->text);
  if (w->stage + 1 != (int)c->pipeline.stages || c->pipeline.state != TRI_PIPELINE_SERVING)
    status = tri_status_fail(&err, TRI_E_PROTOCOL, "a result, but it is not the last stage");
  else status = tri_scheduler_result(&c->scheduler, m, in->payload_len, &err);
  if (status == TRI_OK) {
    tri_trace_landed(&c->trace, m->id, &m->times, c->pipeline.stages, tri_clock_us());
    while (tri_scheduler_output_next(&c->scheduler, m, tri_clock_us(), &c->output, &c->text)) {
      coordinator_tell(c, in->payload, in->payload_len);
      tri_buf_clear(&c->text);
    }
    return;
  }
  snprintf(text, sizeof text, "worker %s: %s", w->hello.name, err.text);
  count_failure(c, index, now_ms);
  coordinator_drop_pipeline(c, text, now_ms);
}

static void on_fault(coordinator *c, int index, const tri_msg_fault *m, int64_t now_ms) {
  char text[TRI_MAX_TEXT];
  const tri_worker *w = worker_at(c, index);
  int n = snprintf(text, sizeof text, "worker %s (stage %d): %.300s", w->hello.name, w->stage + 1, m->text);
  uint32_t next = (uint32_t)w->stage + 1;
  if (m->status == TRI_E_IO && next < c->pipeline.stages)
    snprintf(text + n, sizeof text - (size_t)n, "; that is worker %s (stage %u)", worker_at(c, c->pipeline.worker[next])->hello.name,
             next + 1);
  TRI_WARN("%s", text);
  /* a broken link is most often the other end's death: then that is the cause to name */
  uint32_t epoch = c->pipeline.epoch;
  probe(c, now_ms);
  if (c->pipeline.epoch != epoch || c->pipeline.state == TRI_PIPELINE_IDLE) return;
  if (m->status != TRI_E_IO) count_failure(c, index, now_ms); /* not where a link broke, which may be the other end's doing */
  coordinator_drop_pipeline(c, text, now_ms);
}

static uint32_t epoch_of(const tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_BOUND: return m->bound.epoch;
  case TRI_MSG_READY: return m->ready.epoch;
  case TRI_MSG_RESULT: return m->result.epoch;
  default: return m->fault.epoch;
  }
}

/* What belongs to an epoch: dropped and counted when it is another than the present one. */
static void on_epoch_message(coordinator *c, int index, const tri_incoming *in, const tri_msg *m, int64_t now_ms) {
  tri_error err;
  bool complete = false;
  tri_status status = TRI_OK;
  if (c->pipeline.state == TRI_PIPELINE_IDLE || epoch_of(m) != c->pipeline.epoch || worker_at(c, index)->stage < 0) {
    c->dropped++;
    return;
  }
  if (m->kind == TRI_MSG_BOUND) {
    status = tri_pipeline_bound(&c->pipeline, &c->registry, index, &m->bound, &complete, &err);
    if (complete) connect_stages(c, now_ms);
  } else if (m->kind == TRI_MSG_READY) {
    status = tri_pipeline_ready(&c->pipeline, &c->registry, index, &complete, &err);
    if (complete) begin_serving(c, now_ms);
  } else if (m->kind == TRI_MSG_RESULT) {
    on_result(c, index, &m->result, in, now_ms);
  } else {
    on_fault(c, index, &m->fault, now_ms);
  }
  if (status == TRI_OK) return;
  count_failure(c, index, now_ms);
  coordinator_drop_pipeline(c, err.text, now_ms);
}

static void on_heartbeat(coordinator *c, int index, const tri_msg_heartbeat *m, int64_t now_ms) {
  if (m->fetched_bytes != worker_at(c, index)->beat.fetched_bytes) tri_change_progress(&c->change, index, now_ms);
  tri_registry_heartbeat(&c->registry, index, m, now_ms);
  if (c->pipeline.state == TRI_PIPELINE_SERVING && worker_at(c, index)->stage >= 0)
    tri_pace_correct(&c->scheduler.pace, (uint32_t)worker_at(c, index)->stage, m->busy_us);
  coordinator_look_at(c, index, m, now_ms);
}

void coordinator_worker_message(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who, int64_t now_ms) {
  if (m->kind == TRI_MSG_HELLO) {
    on_hello(c, in, &m->hello, who, now_ms);
    return;
  }
  int index = tri_registry_sender(&c->registry, in);
  if (index < 0) {
    coordinator_refuse(c, in, TRI_E_AGAIN, "this coordinator does not know you yet; say hello");
    return;
  }
  worker_at(c, index)->seen_ms = now_ms;
  if (m->kind == TRI_MSG_HOLDS) coordinator_parts_holds(c, index, in->payload, in->payload_len);
  else if (m->kind == TRI_MSG_LEAVE) coordinator_on_leave(c, index);
  else if (m->kind == TRI_MSG_PREFETCHED)
    coordinator_on_prefetched(c, index, m->prefetched.id, (tri_status)m->prefetched.status, m->prefetched.text, now_ms);
  else if (m->kind == TRI_MSG_HEARTBEAT) on_heartbeat(c, index, &m->heartbeat, now_ms);
  else on_epoch_message(c, index, in, m, now_ms);
}

/* --- time passes --- */

/* Steps in flight, but no stage has computed for a while: one was lost on the way. */
static void watch_progress(coordinator *c, int64_t now_ms) {
  uint64_t progress = 0;
  for (uint32_t i = 0; i < c->pipeline.stages; i++) {
    const tri_msg_heartbeat *beat = &worker_at(c, c->pipeline.worker[i])->beat;
    progress += beat->steps + beat->busy_us;
  }
  if (progress != c->progress || !c->scheduler.n_flights) {
    c->progress = progress;
    c->progress_ms = now_ms;
  }
  if (c->pipeline.state == TRI_PIPELINE_SERVING && now_ms - c->progress_ms > COORDINATOR_STALL_MS)
    coordinator_drop_pipeline(c, "a step was lost between the stages: none of them has had work for too long", now_ms);
}

void coordinator_tend_workers(coordinator *c, int64_t now_ms) {
  char silent[64];
  snprintf(silent, sizeof silent, "no sign of life for %lld s", (long long)c->config->lost_ms / 1000);
  for (int i; (i = tri_registry_overdue(&c->registry, now_ms)) >= 0;) lose_worker(c, i, silent, now_ms);
  if (now_ms >= c->next_probe_ms) {
    probe(c, now_ms);
    c->next_probe_ms = now_ms + COORDINATOR_PROBE_MS;
  }
  watch_progress(c, now_ms);
  coordinator_tend_change(c, now_ms);
  if (c->pipeline.state == TRI_PIPELINE_IDLE && now_ms >= c->retry_at_ms && enough_workers(c)) bring_up(c, now_ms);
}

void coordinator_pump(coordinator *c) {
  int64_t now_ms = tri_clock_ms();
  if (c->change.state >= TRI_CHANGE_WAITING) coordinator_tend_change(c, now_ms); /* a job's end is a good moment, before the next begins */
  while (coordinator_journal_flush(c)) {
    coordinator_admit(c);
    if (!tri_scheduler_next(&c->scheduler, &c->action)) return;
    for (uint32_t i = 0; i < c->action.n_opens; i++) {
      c->outgoing = (tri_msg){.kind = TRI_MSG_OPEN};
      tri_buf_clear(&c->text);
      tri_scheduler_open(&c->scheduler, &c->action, i, &c->outgoing.open, &c->text);
      send_payload_to_stage(c, c->pipeline.stages - 1, &c->text, now_ms);
      if (c->pipeline.state != TRI_PIPELINE_SERVING) return;
    }
    c->outgoing = (tri_msg){.kind = TRI_MSG_STEP, .step = c->action.step};
    c->outgoing.step.trace = tri_trace_sent(&c->trace, &c->scheduler, tri_clock_us());
    send_to_stage(c, 0, now_ms);
  }
}
