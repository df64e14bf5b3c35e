/* SPDX-License-Identifier: MIT */
#include "worker/runner.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "engine/need.h"
#include "engine/kv.h"
#include "proto/mailbox.h"
#include "worker/finish.h"

struct tri_runner {
  const tri_shard_source *source;
  const tri_kernels *kernels;
  tri_pool *pool;
  uint64_t memory_bytes;
  tri_mailbox *in, *done;
  pthread_t thread;
  bool started;
  size_t tasks;               /* owner's side only */
  _Atomic uint32_t expected;  /* epoch */
  _Atomic int64_t busy_us, began_us; /* began: of the task at hand, 0: none */
  /* the runner thread's */
  tri_tune tune;
  bool tuned;
  tri_shard *shard;
  const tri_model *model;     /* the shard's */
  tri_stage *stage;
  uint32_t epoch;
  uint64_t last_step;         /* that was run in it; they count up */
  tri_wire wire;
  float *hidden;              /* [max_rows, d] */
  tri_row *rows;              /* [max_rows] */
  tri_finish *finish;         /* with head */
};

tri_task *tri_task_new(tri_task_kind kind, uint32_t epoch) {
  tri_task *t = calloc(1, sizeof *t);
  if (t) t->kind = kind, t->epoch = epoch;
  return t;
}

void tri_task_free(tri_task **task) {
  tri_task *t = *task;
  if (!t) return;
  free(t->payload);
  free(t->lack.parts);
  for (size_t i = 0; i < t->n_opens; i++) free(t->opens[i].payload);
  free(t->opens);
  free(t->out);
  free(t);
  *task = NULL;
}

static void close_stage(tri_runner *r) {
  tri_finish_destroy(&r->finish);
  tri_stage_close(&r->stage);
  free(r->hidden), r->hidden = NULL;
  free(r->rows), r->rows = NULL;
  tri_shard_close(&r->shard);
  r->model = NULL;
  r->epoch = 0;
}

static tri_status open_shard(tri_runner *r, const size_t *parts, size_t n, bool text, tri_task *t) {
  tri_status status = tri_shard_open(&r->shard, r->source, r->pool, parts, n, text, &t->lack, &t->err);
  if (status == TRI_OK) r->model = tri_shard_model(r->shard);
  return status;
}

/* --- measuring --- */

static void log_tune(const tri_tune *t) {
  for (int i = 0; i < t->n; i++)
    TRI_INFO("%zu x %zu matrices are held as %s%s", t->entries[i].m, t->entries[i].k, tri_form_name(t->entries[i].form),
             t->forced ? " (TRIREME_FORM)" : t->cached ? " (timed earlier)" : t->seconds > 0 ? " (timed now)" : "");
}

/* The forms of matrices are chosen once for a model; both need its shape only. */
static tri_status tune(tri_runner *r, tri_error *err) {
  if (r->tuned) return TRI_OK;
  tri_status status = tri_tune_choose(&r->tune, tri_model_shape(r->model), r->kernels, r->pool, err);
  if (status == TRI_OK) log_tune(&r->tune), r->tuned = true;
  return status;
}

static tri_status measure(tri_runner *r, tri_task *t) {
  close_stage(r);
  tri_status status = open_shard(r, NULL, 0, false, t);
  if (status == TRI_OK) status = tune(r, &t->err);
  if (status == TRI_OK) status = tri_measure_model(&t->measure, r->model, r->kernels, r->pool, &r->tune, r->memory_bytes, &t->err);
  if (status == TRI_OK) t->d = tri_model_shape(r->model)->d, tri_model_id(r->model, t->model_id);
  close_stage(r);
  return status;
}

/* --- loading --- */

static tri_status check_assign(const tri_runner *r, const tri_msg_assign *a, tri_error *err) {
  const tri_shape *shape = tri_model_shape(r->model);
  uint32_t layers = (uint32_t)shape->n_layers;
  if (a->last > layers || a->first >= a->last)
    return tri_status_fail(err, TRI_E_INVALID, "assigned layers %u to %u of a model with %u", a->first, a->last, layers);
  if (a->embed != (a->first == 0) || a->head != (a->last == layers))
    return tri_status_fail(err, TRI_E_INVALID, "assigned layers %u to %u with the wrong ends of the model", a->first, a->last);
  if (a->context > (uint32_t)shape->context)
    return tri_status_fail(err, TRI_E_INVALID, "assigned a context of %u, the model has %d", a->context, shape->context);
  if (a->wire >= TRI_WIRE_COUNT || !tri_kv_name(a->kv_type))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "assigned wire type %u and KV type %u, which this version lacks", a->wire, a->kv_type);
  return TRI_OK;
}

static tri_stage_spec spec_of(const tri_runner *r, const tri_msg_assign *a) {
  return (tri_stage_spec){.first = (int32_t)a->first, .last = (int32_t)a->last, .embed = a->embed, .head = a->head,
                          .slots = (int32_t)a->slots, .context = (int32_t)a->context, .max_rows = (int32_t)a->max_rows,
                          .blocks = (int32_t)a->kv_blocks, .kv_type = (tri_ftype)a->kv_type, .tune = &r->tune};
}

static tri_status check_memory(const tri_runner *r, const tri_stage_spec *spec, tri_error *err) {
  size_t need = tri_need_bytes(r->model, spec, tri_pool_threads(r->pool));
  if (need <= r->memory_bytes) return TRI_OK;
  return tri_status_fail(err, TRI_E_LIMIT, "the stage needs %s, this worker may use %s", TRI_UNITS(need), TRI_UNITS(r->memory_bytes));
}

/* The model with the assigned parts; sizes are known, and checked, before they are read. */
static tri_status open_model(tri_runner *r, tri_task *t) {
  const tri_msg_assign *a = &t->assign;
  tri_status status = open_shard(r, NULL, 0, false, t);
  if (status == TRI_OK) status = check_assign(r, a, &t->err);
  if (status == TRI_OK) status = tune(r, &t->err);
  if (status != TRI_OK) return status;
  tri_stage_spec spec = spec_of(r, a);
  status = check_memory(r, &spec, &t->err);
  size_t *parts = malloc((a->last - a->first + 4) * sizeof *parts);
  if (status == TRI_OK && !parts) status = tri_status_fail(&t->err, TRI_E_NOMEM, "out of memory for a list of parts");
  if (status == TRI_OK) {
    size_t n = tri_parts_needs(tri_shard_parts(r->shard), tri_model_shape(r->model)->tied, a->first, a->last, a->embed, a->head, parts);
    tri_shard_close(&r->shard);
    status = open_shard(r, parts, n, a->head, t);
  }
  free(parts);
  return status;
}

static tri_status load(tri_runner *r, tri_task *t) {
  const tri_msg_assign *a = &t->assign;
  close_stage(r);
  tri_status status = open_model(r, t);
  if (status != TRI_OK) return close_stage(r), status;
  tri_stage_spec spec = spec_of(r, a);
  status = tri_stage_open(&r->stage, r->model, r->kernels, r->pool, &spec, NULL, NULL, &t->err);
  if (status != TRI_OK) return close_stage(r), status;
  size_t d = (size_t)tri_model_shape(r->model)->d;
  r->hidden = malloc(a->max_rows * d * sizeof *r->hidden);
  r->rows = malloc(a->max_rows * sizeof *r->rows);
  if (!r->hidden || !r->rows) status = tri_status_fail(&t->err, TRI_E_NOMEM, "out of memory for %u rows", a->max_rows);
  if (status == TRI_OK && a->head) status = tri_finish_create(&r->finish, r->stage, r->model, r->kernels, &t->err);
  if (status != TRI_OK) return close_stage(r), status;
  r->epoch = t->epoch;
  r->last_step = 0;
  r->wire = (tri_wire)a->wire;
  t->stage_bytes = tri_stage_bytes(r->stage) + a->max_rows * (d * sizeof *r->hidden + sizeof *r->rows);
  if (r->finish) t->stage_bytes += tri_finish_bytes(r->finish);
  return TRI_OK;
}

/* --- steps --- */

/* Everything in a step that could be wrong, before a row of it is run; and the blocks that it maps, on which that depends. */
static tri_status check_step(tri_runner *r, tri_task *t, size_t d) {
  const tri_msg_step *m = &t->step;
  const tri_stage_spec *spec = tri_stage_get_spec(r->stage);
  if (m->id <= r->last_step)
    return tri_status_fail(&t->err, TRI_E_PROTOCOL, "step %llu comes after step %llu", (unsigned long long)m->id, (unsigned long long)r->last_step);
  if (m->n_rows > (uint32_t)spec->max_rows)
    return tri_status_fail(&t->err, TRI_E_PROTOCOL, "a step of %u rows, at most %d were agreed", m->n_rows, spec->max_rows);
  size_t want = spec->embed ? 0 : m->n_rows * tri_wire_row_bytes(r->wire, d);
  if (t->payload_len != want)
    return tri_status_fail(&t->err, TRI_E_PROTOCOL, "a step of %u rows with %zu bytes, not %zu", m->n_rows, t->payload_len, want);
  for (uint32_t i = 0; i < m->n_runs; i++) {
    const tri_run *run = &m->runs[i];
    if (run->n_blocks && tri_stage_map(r->stage, (int32_t)run->slot, (int32_t)run->first_block, m->blocks + run->block,
                                       (int32_t)run->n_blocks, &t->err) != TRI_OK)
      return TRI_E_PROTOCOL;
    for (uint32_t j = 0; j < run->count; j++) {
      uint32_t row = run->row + j;
      r->rows[row] = (tri_row){.slot = (int32_t)run->slot, .pos = (int32_t)(run->pos + j), .token = m->tokens[row]};
    }
  }
  if (tri_stage_check_rows(r->stage, r->rows, (int32_t)m->n_rows, &t->err) != TRI_OK) return TRI_E_PROTOCOL;
  return r->finish ? tri_finish_check(r->finish, m, &t->err) : TRI_OK;
}

static tri_status step(tri_runner *r, tri_task *t) {
  if (!r->stage || t->epoch != r->epoch) return TRI_E_CANCELLED;
  const tri_msg_step *m = &t->step;
  size_t d = (size_t)tri_model_shape(r->model)->d;
  tri_status status = check_step(r, t, d);
  for (size_t i = 0; i < t->n_opens && status == TRI_OK; i++) status = tri_finish_open(r->finish, &t->opens[i], &t->err);
  if (status != TRI_OK) return status;
  r->last_step = m->id;
  if (t->payload_len) tri_wire_decode(r->kernels, r->wire, t->payload, m->n_rows, d, r->hidden);
  free(t->payload), t->payload = NULL;
  tri_stage_run(r->stage, r->rows, (int32_t)m->n_rows, r->hidden);
  if (r->finish) return tri_finish_step(r->finish, m, r->hidden, &t->result, &t->out, &t->out_len, &t->err);
  t->out_len = m->n_rows * tri_wire_row_bytes(r->wire, d);
  if (!(t->out = malloc(t->out_len))) return tri_status_fail(&t->err, TRI_E_NOMEM, "out of memory for %u rows", m->n_rows);
  tri_wire_encode(r->kernels, r->wire, r->hidden, m->n_rows, d, t->out);
  return TRI_OK;
}

static void perform(tri_runner *r, tri_task *t) {
  if (t->kind == TRI_TASK_DROP) close_stage(r);
  else if (t->kind == TRI_TASK_MEASURE) t->status = measure(r, t);
  else if (t->epoch != atomic_load(&r->expected)) t->status = TRI_E_CANCELLED;
  else t->status = t->kind == TRI_TASK_LOAD ? load(r, t) : step(r, t);
}

static void *run(void *arg) {
  tri_runner *r = arg;
  for (tri_task *t; (t = tri_mailbox_wait(r->in));) {
    int64_t start = tri_clock_us();
    if (t->kind == TRI_TASK_STEP) atomic_store(&r->began_us, start);
    perform(r, t);
    t->began_us = start, t->busy_us = (uint64_t)(tri_clock_us() - start);
    if (atomic_exchange(&r->began_us, 0)) atomic_fetch_add(&r->busy_us, (int64_t)t->busy_us);
    if (tri_mailbox_put(r->done, t) != TRI_OK) tri_task_free(&t); /* closed: nobody waits for it any more */
  }
  close_stage(r);
  return NULL;
}

/* --- the owner's side --- */

tri_status tri_runner_create(tri_runner **out, const tri_shard_source *source, const tri_kernels *k, tri_pool *pool, uint64_t memory_bytes,
                             tri_error *err) {
  tri_runner *r = calloc(1, sizeof *r);
  if (!r) return tri_pool_destroy(&pool), tri_status_fail(err, TRI_E_NOMEM, "out of memory for the runner");
  r->source = source, r->kernels = k, r->pool = pool, r->memory_bytes = memory_bytes;
  tri_status status = tri_mailbox_create(&r->in, TRI_RUNNER_TASKS, err);
  if (status == TRI_OK) status = tri_mailbox_create(&r->done, TRI_RUNNER_TASKS, err);
  if (status == TRI_OK && pthread_create(&r->thread, NULL, run, r) != 0)
    status = tri_status_fail(err, TRI_E_NOMEM, "cannot start the compute thread");
  r->started = status == TRI_OK;
  if (status != TRI_OK) return tri_runner_destroy(&r), status;
  *out = r;
  return TRI_OK;
}

static void drain(tri_mailbox *box) {
  for (tri_task *t; (t = tri_mailbox_take(box));) tri_task_free(&t);
}

void tri_runner_destroy(tri_runner **runner) {
  tri_runner *r = *runner;
  if (!r) return;
  if (r->started) {
    drain(r->in);
    tri_mailbox_close(r->in);
    pthread_join(r->thread, NULL);
    drain(r->done);
  }
  tri_mailbox_destroy(&r->in);
  tri_mailbox_destroy(&r->done);
  tri_pool_destroy(&r->pool);
  free(r);
  *runner = NULL;
}

tri_status tri_runner_put(tri_runner *r, tri_task *task) {
  if (r->tasks == TRI_RUNNER_TASKS) return TRI_E_BUSY;
  tri_status status = tri_mailbox_put(r->in, task);
  if (status == TRI_OK) r->tasks++;
  return status;
}

tri_task *tri_runner_take(tri_runner *r) {
  tri_task *t = tri_mailbox_take(r->done);
  if (t) r->tasks--;
  return t;
}

int tri_runner_fd(const tri_runner *r) { return tri_mailbox_fd(r->done); }
size_t tri_runner_tasks(const tri_runner *r) { return r->tasks; }
void tri_runner_expect(tri_runner *r, uint32_t epoch) { atomic_store(&r->expected, epoch); }

uint64_t tri_runner_busy_us(const tri_runner *r) {
  int64_t began = atomic_load(&r->began_us), busy = atomic_load(&r->busy_us);
  int64_t now = began ? tri_clock_us() - began : 0;
  return (uint64_t)(busy + (now > 0 ? now : 0));
}
