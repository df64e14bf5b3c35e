/* SPDX-License-Identifier: MIT */
/* The data side: steps from the stage before (or the coordinator), through the runner, to the next stage (or the coordinator). */
#include "worker/worker_impl.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

static bool is_last(const worker *w) { return w->assign.stage + 1 == w->assign.stages; }

/* --- in --- */

/* The Open of the sequence that begins in this slot, taken off the list; NULL if it is not here yet. */
static bool take_open(worker *w, uint32_t slot, tri_opening *out) {
  for (size_t i = 0; i < w->n_opens; i++) {
    if (w->opens[i].open.slot != slot) continue;
    *out = w->opens[i];
    memmove(&w->opens[i], &w->opens[i + 1], (w->n_opens - i - 1) * sizeof *w->opens);
    w->n_opens--;
    return true;
  }
  return false;
}

/* An Open comes straight from the coordinator and a step through the pipeline, so either may be here first. The coordinator
 * sends exactly one Open for each run that begins a sequence, and the order per slot is the same on both ways. */
static bool collect_opens(worker *w, tri_task *t) {
  const tri_msg_step *m = &t->step;
  if (!is_last(w)) return true;
  if (!t->opens && !(t->opens = malloc(m->n_runs * sizeof *t->opens))) return false;
  size_t seen = 0;
  for (uint32_t i = 0; i < m->n_runs; i++) {
    if (!m->runs[i].begins || seen++ < t->n_opens) continue;
    if (!take_open(w, m->runs[i].slot, &t->opens[t->n_opens])) return false;
    t->n_opens++;
  }
  return true;
}

static void pause_upstream(worker *w) {
  if (w->paused || !w->upstream) return;
  tri_loop_remove_link(w->loop, w->upstream);
  w->paused = true;
}

/* False: the step had to be held, so no further one may be taken in. Room is kept for loading and dropping. */
static bool submit(worker *w, tri_task *t) {
  bool room = tri_runner_tasks(w->runner) < TRI_RUNNER_TASKS / 2;
  if (room && collect_opens(w, t) && tri_runner_put(w->runner, t) == TRI_OK) return true;
  w->held = t;
  pause_upstream(w);
  return false;
}

static tri_task *step_task(worker *w, const tri_msg_step *m, const uint8_t *payload, size_t len) {
  tri_task *t = tri_task_new(TRI_TASK_STEP, m->epoch);
  if (t) {
    t->step = *m;
    t->arrived_us = tri_clock_us();
    t->payload_len = len;
    if (len && (t->payload = malloc(len))) memcpy(t->payload, payload, len);
  }
  if (!t || (len && !t->payload)) {
    tri_task_free(&t);
    worker_fault(w, TRI_E_NOMEM, "out of memory for a step of %u rows", m->n_rows);
  }
  return t;
}

/* Slots are looked at here already, as a step may have to wait for its slot's Open; the rest is the runner's to check. */
static bool has_slots(const worker *w, const tri_msg_step *m) {
  for (uint32_t i = 0; i < m->n_runs; i++)
    if (m->runs[i].slot >= w->assign.slots) return false;
  return true;
}

/* In a step that is traced each stage before has said how long it had it. */
static bool has_times(const worker *w, const tri_msg_step *m) { return !m->trace || m->times.n == w->assign.stage; }

static void drop_step(worker *w, const char *why) {
  char key[TRI_KEY_TEXT] = "";
  if (w->assign.has_upstream) tri_keys_text(w->assign.upstream_key, key);
  w->dropped++;
  TRI_WARN("a step of %s%.8s was dropped: %s", *key ? "the stage before, key " : "the coordinator", key, why);
}

static void read_upstream(void *arg) {
  worker *w = arg;
  for (int i = 0; i < WORKER_FAIR && w->upstream && !w->held; i++) {
    tri_incoming in;
    tri_error err = {0};
    tri_status status = tri_link_recv(w->upstream, &in, &w->incoming, &err);
    if (status == TRI_E_AGAIN) return;
    const tri_msg *m = &w->incoming;
    char from[TRI_KEY_TEXT];
    if (status != TRI_OK) {
      tri_keys_text(in.key, from);
      TRI_WARN("from the stage before (key %.8s, %s): %s", from, in.address, err.text);
      w->dropped++;
    } else if (m->kind != TRI_MSG_STEP) {
      drop_step(w, "it is no step");
    } else if (m->step.epoch != w->assign.epoch) {
      w->dropped++; /* on its way while the plan changed */
    } else if (!has_slots(w, &m->step)) {
      drop_step(w, "it names a slot that was not agreed");
    } else if (!has_times(w, &m->step)) {
      drop_step(w, "it has not the times of the stages before");
    } else {
      tri_task *t = step_task(w, &m->step, in.payload, in.payload_len);
      if (!t) return;
      submit(w, t);
    }
  }
}

void worker_flow_first(worker *w, const tri_msg_step *m) {
  if (m->epoch != w->assign.epoch || w->state != READY || w->assign.stage != 0 || !has_times(w, m)) {
    w->dropped++;
    return;
  }
  /* there is room for TRI_MAX_FLIGHTS */
  if (w->held) {
    worker_fault(w, TRI_E_PROTOCOL, "more steps than this stage has room for");
    return;
  }
  tri_task *t = step_task(w, m, NULL, 0);
  if (t) submit(w, t);
}

void worker_flow_open(worker *w, const tri_msg_open *m, const uint8_t *payload, size_t len) {
  tri_opening opening = {.open = *m, .payload_len = len};
  if (m->epoch != w->assign.epoch || !is_last(w)) w->dropped++;
  else if (w->n_opens == TRI_MAX_OPENS) worker_fault(w, TRI_E_PROTOCOL, "more sequences begun than steps can be in flight");
  else if (len && !(opening.payload = malloc(len))) worker_fault(w, TRI_E_NOMEM, "out of memory for the %zu bytes of an Open", len);
  else {
    if (len) memcpy(opening.payload, payload, len);
    w->opens[w->n_opens++] = opening;
  }
}

/* --- out --- */

/* False: the queue is full, the task is kept. */
static bool send_on(worker *w, tri_task *t) {
  tri_error err;
  tri_link *link = is_last(w) ? w->control : w->downstream;
  if (is_last(w)) w->outgoing = (tri_msg){.kind = TRI_MSG_RESULT, .result = t->result};
  else w->outgoing = (tri_msg){.kind = TRI_MSG_STEP, .step = t->step};
  uint64_t before = tri_link_sent_bytes(link);
  tri_status status = tri_link_send(link, NULL, &w->outgoing, t->out, t->out_len, false, &err);
  w->sent_bytes += tri_link_sent_bytes(link) - before;
  if (status == TRI_E_BUSY) return w->unsent = t, false;
  if (status != TRI_OK) worker_fault(w, status, "cannot send step %llu on: %s", (unsigned long long)t->step.id, err.text);
  else w->steps++, w->rows += t->step.n_rows;
  tri_task_free(&t);
  return true;
}

static uint32_t clip_us(int64_t us) { return us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us; }

/* How long we had it, for who traces it. */
static void add_times(tri_task *t) {
  tri_times *times = &t->step.times;
  times->wait_us[times->n] = clip_us(t->began_us - t->arrived_us), times->compute_us[times->n++] = clip_us((int64_t)t->busy_us);
  t->result.times = *times;
}

/* A step that was refused began nothing: what belongs to it stays for the one that will. */
static void give_opens_back(worker *w, tri_task *t) {
  size_t n = t->n_opens;
  if (!n || w->n_opens + n > TRI_MAX_OPENS) return;
  memmove(&w->opens[n], w->opens, w->n_opens * sizeof *w->opens);
  memcpy(w->opens, t->opens, n * sizeof *w->opens);
  w->n_opens += n;
  t->n_opens = 0;
}

void worker_flow_done(worker *w, tri_task *t) {
  if (t->epoch != w->assign.epoch || t->status == TRI_E_CANCELLED) {
    tri_task_free(&t);
  } else if (t->status == TRI_E_PROTOCOL) {
    drop_step(w, t->err.text);
    give_opens_back(w, t);
    tri_task_free(&t);
  } else if (t->status != TRI_OK) {
    worker_fault(w, t->status, "step %llu: %s", (unsigned long long)t->step.id, t->err.text);
    tri_task_free(&t);
  } else {
    tri_tempo_add(&w->tempo, t->step.n_rows, t->busy_us);
    if (t->step.trace) add_times(t);
    send_on(w, t);
  }
}

void worker_flow_resume(worker *w) {
  if (w->unsent) {
    tri_task *t = w->unsent;
    w->unsent = NULL;
    if (!send_on(w, t)) return;
  }
  if (w->held) {
    tri_task *t = w->held;
    w->held = NULL;
    if (!submit(w, t)) return;
  }
  if (!w->paused || !w->upstream) return;
  tri_error err;
  w->paused = false;
  if (tri_loop_add_link(w->loop, w->upstream, read_upstream, w, &err) != TRI_OK) worker_fault(w, TRI_E_NOMEM, "%s", err.text);
}

/* --- links --- */

tri_status worker_flow_bind(worker *w, uint16_t *port, tri_error *err) {
  *port = 0;
  /* for both data links of this epoch: the one listened on here and the one dialled on Connect */
  tri_net_limit_payload(w->net, w->assign.max_rows * tri_wire_row_bytes((tri_wire)w->assign.wire, (size_t)w->d));
  if (w->assign.stage == 0) return TRI_OK;
  tri_status status = tri_link_listen(&w->upstream, w->net, TRI_LINK_DATA, w->config->listen, "data", port, err);
  if (status == TRI_OK) status = tri_loop_add_link(w->loop, w->upstream, read_upstream, w, err);
  return status;
}

static void downstream_changed(void *arg) { worker_flow_watch(arg, tri_clock_ms()); }

tri_status worker_flow_connect(worker *w, const tri_msg_connect *m, tri_error *err) {
  tri_status status = tri_link_dial(&w->downstream, w->net, TRI_LINK_DATA, m->endpoint, m->server_key, err);
  if (status == TRI_OK) status = tri_loop_add_link(w->loop, w->downstream, downstream_changed, w, err);
  return status;
}

void worker_flow_watch(worker *w, int64_t now_ms) {
  if (!w->downstream) return;
  tri_link_state state = tri_link_get_state(w->downstream);
  uint32_t connection = tri_link_connections(w->downstream);
  tri_error err = {0};
  if (w->state == LINKING && state == TRI_LINK_UP) {
    w->downstream_connection = connection;
    w->state = READY;
    w->outgoing = (tri_msg){.kind = TRI_MSG_READY, .ready = {.epoch = w->assign.epoch}};
    worker_send(w, NULL, 0, false);
    return;
  }
  bool failed = state == TRI_LINK_DENIED || state == TRI_LINK_WRONG_KEY || (w->state == LINKING && now_ms - w->since_ms > WORKER_LINK_MS);
  /* what was on its way over a lost connection is gone, so the epoch cannot go on */
  bool lost = w->state == READY && (state != TRI_LINK_UP || connection != w->downstream_connection);
  if (!failed && !lost) return;
  tri_link_explain(w->downstream, &err);
  if (lost) worker_fault(w, TRI_E_IO, "lost the link to the next stage");
  else worker_fault(w, err.status, "the next stage: %s", err.text);
}

void worker_flow_drop(worker *w) {
  tri_link *const links[] = {w->upstream, w->downstream};
  for (int i = 0; i < 2; i++)
    if (links[i]) tri_loop_remove_link(w->loop, links[i]);
  tri_link_close(&w->upstream);
  tri_link_close(&w->downstream);
  tri_task_free(&w->held);
  tri_task_free(&w->unsent);
  while (w->n_opens) free(w->opens[--w->n_opens].payload);
  w->paused = false;
}
