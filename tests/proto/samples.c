/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "tests/proto/samples.h"

#include <float.h>
#include <math.h>

/* With no state every value is the greatest. */
static uint64_t pick(uint64_t *state, uint64_t max) {
  if (!state) return max;
  uint64_t r = test_random(state);
  if (r & 1) return (r & 2) ? max : 0;
  r >>= 8;
  return max == UINT64_MAX ? r : r % (max + 1);
}
static uint32_t u32(uint64_t *state) { return (uint32_t)pick(state, UINT32_MAX); }
static uint64_t u64(uint64_t *state) { return pick(state, UINT64_MAX); }
static uint32_t between(uint64_t *state, uint32_t min, uint32_t max) { return min + (uint32_t)pick(state, max - min); }
static bool flag(uint64_t *state) { return pick(state, 1) != 0; }

static float real(uint64_t *state) {
  static const float values[] = {0.0f, 1.0f, -FLT_MAX, FLT_MIN, INFINITY, -INFINITY, NAN, 0.7f, FLT_MAX};
  return values[pick(state, sizeof values / sizeof values[0] - 1)];
}

static void fill(uint64_t *state, uint8_t *out, size_t len) {
  for (size_t i = 0; i < len; i++) out[i] = (uint8_t)pick(state, UINT8_MAX);
}
static void text(uint64_t *state, char *out, size_t size, uint32_t min) {
  uint32_t n = between(state, min, (uint32_t)size - 1);
  for (uint32_t i = 0; i < n; i++) {
    char c = (char)(' ' + pick(state, 0xff - ' '));
    out[i] = c == 0x7f ? '~' : c;
  }
}
#define TEXT(m) text(s, m, sizeof(m), 0)

static void tokens(uint64_t *s, int32_t *out, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) out[i] = (int32_t)pick(s, INT32_MAX);
}
static void reals(uint64_t *s, float *out, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) out[i] = real(s);
}

static tri_sampler_params sampling(uint64_t *s) {
  tri_sampler_params p;
  memset(&p, 0, sizeof p);
  p.typical_p = real(s), p.frequency_penalty = real(s), p.presence_penalty = real(s), p.top = (int32_t)u32(s);
  p.n_bias = between(s, 0, TRI_SAMPLER_BIASES);
  tokens(s, p.bias_tokens, p.n_bias), reals(s, p.bias, p.n_bias);
  p.temperature = real(s), p.top_p = real(s), p.min_p = real(s), p.repeat_penalty = real(s);
  p.top_k = (int32_t)u32(s), p.repeat_last = (int32_t)u32(s), p.seed = u64(s);
  return p;
}
/* What Result and Tokens both carry. */
#define SAMPLED(s, m)                                                              \
  (tokens(s, (m)->tokens, (m)->n_tokens = between(s, 0, TRI_MAX_RUNS)),            \
   reals(s, (m)->logprobs, (m)->n_logprobs = between(s, 0, TRI_MAX_ROWS)),         \
   tokens(s, (m)->top_tokens, (m)->n_top = between(s, 0, TRI_MAX_TOP)), reals(s, (m)->top_logprobs, (m)->n_top))

static void times(uint64_t *s, tri_times *t) {
  t->n = between(s, 0, TRI_MAX_STAGES);
  for (uint32_t i = 0; i < t->n; i++) t->wait_us[i] = u32(s), t->compute_us[i] = u32(s);
}

static void step(uint64_t *s, tri_msg_step *m) {
  m->epoch = u32(s), m->id = u64(s), m->n_runs = between(s, 1, TRI_MAX_RUNS);
  for (uint32_t i = 0; i < m->n_runs; i++) {
    tri_run *r = &m->runs[i];
    r->count = s ? between(s, 1, TRI_MAX_ROWS / TRI_MAX_RUNS) : TRI_MAX_ROWS / TRI_MAX_RUNS;
    r->slot = between(s, 0, INT32_MAX), r->pos = between(s, 0, TRI_MAX_CONTEXT - r->count), r->row = m->n_rows;
    r->want = (tri_want)pick(s, TRI_WANT_COUNT - 1), r->next = -1;
    if (r->want == TRI_WANT_SCORE) r->next = (int32_t)between(s, 0, INT32_MAX) - (flag(s) ? 0 : 1);
    if (r->next < -1) r->next = -1;
    m->n_rows += r->count;
    r->first_block = between(s, 0, TRI_MAX_CONTEXT), r->block = m->n_blocks, r->begins = flag(s);
    r->n_blocks = s ? between(s, 0, TRI_MAX_BLOCKS / TRI_MAX_RUNS) : TRI_MAX_BLOCKS / TRI_MAX_RUNS;
    m->n_blocks += r->n_blocks;
  }
  tokens(s, m->tokens, m->n_rows);
  for (uint32_t i = 0; i < m->n_blocks; i++) m->blocks[i] = u32(s);
  if ((m->trace = flag(s))) times(s, &m->times);
}

static void assign(uint64_t *s, tri_msg_assign *m) {
  m->epoch = u32(s), m->stages = between(s, 1, TRI_MAX_STAGES), m->stage = between(s, 0, m->stages - 1);
  m->last = between(s, 0, INT32_MAX), m->first = between(s, 0, m->last), m->slots = between(s, 1, INT32_MAX);
  m->context = between(s, 1, TRI_MAX_CONTEXT), m->max_rows = between(s, 1, TRI_MAX_ROWS), m->wire = u32(s);
  m->kv_type = u32(s), m->kv_blocks = between(s, 1, INT32_MAX), m->embed = flag(s), m->head = flag(s), m->has_upstream = flag(s);
  if (m->has_upstream) fill(s, m->upstream_key, sizeof m->upstream_key);
}

static void submit(uint64_t *s, tri_msg_submit *m) {
  m->protocol = u32(s), m->predict = u32(s), m->n_stops = between(s, 0, TRI_MAX_STOPS), m->ids = flag(s);
  m->special = flag(s), m->no_bos = flag(s), m->ignore_end = flag(s), m->detach = flag(s);
  m->want = (tri_want)pick(s, TRI_WANT_COUNT - 1), m->sampling = sampling(s);
  m->priority = (int32_t)between(s, 0, 2 * TRI_MAX_PRIORITY) - TRI_MAX_PRIORITY, m->deadline_ms = u32(s);
  TEXT(m->idempotency);
  for (uint32_t i = 0; i < m->n_stops; i++) {
    text(s, m->stops[i], TRI_MAX_STOP, 1);
    if (flag(s)) memcpy(m->stops[i], "\n", 1);
  }
  m->grammar = (tri_lang)pick(s, TRI_LANG_COUNT - 1);
  m->grammar_bytes = m->grammar ? between(s, 1, TRI_GRAMMAR_BYTES) : 0;
  tokens(s, m->stop_tokens, m->n_stop_tokens = between(s, 0, TRI_MAX_STOP_TOKENS));
}

static void make(uint64_t *s, tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_HELLO:
    m->hello.protocol = u32(s), m->hello.threads = u32(s), m->hello.layer_us = u32(s), m->hello.head_us = u32(s);
    m->hello.memory_bytes = u64(s);
    m->hello.layer_rows_us = u32(s), m->hello.head_rows_us = u32(s), m->hello.parts_port = between(s, 0, UINT16_MAX);
    m->hello.rtt_us = u32(s), m->hello.down_kbps = u32(s), m->hello.up_kbps = u32(s);
    TEXT(m->hello.version), TEXT(m->hello.name), TEXT(m->hello.isa), TEXT(m->hello.advertise);
    fill(s, m->hello.model_id, sizeof m->hello.model_id);
    break;
  case TRI_MSG_WELCOME: m->welcome.heartbeat_ms = u32(s); break;
  case TRI_MSG_REFUSE: m->refuse.status = (int32_t)u32(s), TEXT(m->refuse.text); break;
  case TRI_MSG_ASSIGN: assign(s, &m->assign); break;
  case TRI_MSG_BOUND: m->bound.epoch = u32(s), m->bound.port = between(s, 0, UINT16_MAX), m->bound.bytes = u64(s); break;
  case TRI_MSG_CONNECT:
    m->connect.epoch = u32(s), text(s, m->connect.endpoint, TRI_MAX_ENDPOINT, 1);
    fill(s, m->connect.server_key, TRI_KEY_BYTES);
    break;
  case TRI_MSG_READY: m->ready.epoch = u32(s); break;
  case TRI_MSG_OPEN:
    m->open.epoch = u32(s), m->open.prompt = u32(s), m->open.slot = between(s, 0, INT32_MAX);
    m->open.held = between(s, 0, TRI_MAX_CONTEXT);
    m->open.sampling = sampling(s);
    break;
  case TRI_MSG_STEP: step(s, &m->step); break;
  case TRI_MSG_RESULT:
    m->result.epoch = u32(s), m->result.id = u64(s), SAMPLED(s, &m->result);
    for (uint32_t i = 0; i < TRI_MAX_RUNS && m->result.n_failures < 3; i += between(s, 1, TRI_MAX_RUNS)) {
      tri_failure *failure = &m->result.failures[m->result.n_failures++];
      failure->run = i;
      TEXT(failure->text);
    }
    times(s, &m->result.times);
    break;
  case TRI_MSG_HEARTBEAT:
    m->heartbeat.epoch = u32(s), m->heartbeat.steps = u64(s), m->heartbeat.rows = u64(s), m->heartbeat.busy_us = u64(s);
    m->heartbeat.rss_bytes = u64(s), m->heartbeat.sent_bytes = u64(s), m->heartbeat.dropped = u64(s);
    m->heartbeat.fetched_bytes = u64(s), m->heartbeat.fetch_bytes = u64(s);
    m->heartbeat.step_rows = u32(s), m->heartbeat.step_us = u32(s), m->heartbeat.step_p95_us = u32(s);
    m->heartbeat.rtt_us = u32(s), m->heartbeat.down_kbps = u32(s), m->heartbeat.up_kbps = u32(s);
    break;
  case TRI_MSG_FAULT: m->fault.epoch = u32(s), m->fault.status = (int32_t)u32(s), TEXT(m->fault.text); break;
  case TRI_MSG_STOP: m->stop.epoch = u32(s), m->stop.leave = flag(s); break;
  case TRI_MSG_SUBMIT: submit(s, &m->submit); break;
  case TRI_MSG_ACCEPTED: m->accepted.job = u64(s), m->accepted.prompt_tokens = u32(s), m->accepted.ahead = u32(s); break;
  case TRI_MSG_TOKENS:
    m->tokens.job = u64(s), m->tokens.index = u32(s), SAMPLED(s, &m->tokens);
    break;
  case TRI_MSG_DONE:
    m->done.job = u64(s), m->done.queued_us = u64(s), m->done.prefill_us = u64(s), m->done.decode_us = u64(s);
    m->done.prompt_tokens = u32(s), m->done.tokens = u32(s), m->done.reused_tokens = u32(s);
    m->done.reason = (tri_done_reason)pick(s, TRI_DONE_COUNT - 1), TEXT(m->done.error);
    break;
  case TRI_MSG_CANCEL: m->cancel.job = u64(s); break;
  case TRI_MSG_STATUS_REQUEST: m->status_request.protocol = u32(s); break;
  case TRI_MSG_TRACE_REQUEST:
    m->trace_request.protocol = u32(s), m->trace_request.after = u64(s);
    m->trace_request.action = (tri_trace_action)pick(s, TRI_TRACE_ACTIONS - 1);
    break;
  case TRI_MSG_KNOCK: m->knock.protocol = u32(s), TEXT(m->knock.version), TEXT(m->knock.name); break;
  case TRI_MSG_NEED:
    m->need.n_parts = between(s, 1, TRI_MAX_PARTS);
    for (uint32_t i = 0; i < m->need.n_parts; i++) m->need.parts[i] = u32(s);
    m->need.has_failed = flag(s);
    if (m->need.has_failed) fill(s, m->need.failed_key, TRI_KEY_BYTES);
    TEXT(m->need.text);
    break;
  case TRI_MSG_SOURCE:
    m->source.n_parts = between(s, 1, TRI_MAX_PARTS);
    for (uint32_t i = 0; i < m->source.n_parts; i++) m->source.parts[i] = u32(s);
    text(s, m->source.endpoint, TRI_MAX_ENDPOINT, 0), fill(s, m->source.server_key, TRI_KEY_BYTES);
    break;
  case TRI_MSG_ADMIT: fill(s, m->admit.key, TRI_KEY_BYTES), m->admit.revoke = flag(s); break;
  case TRI_MSG_PING: m->ping.id = u32(s), m->ping.bytes = between(s, 0, TRI_PING_BYTES); break;
  case TRI_MSG_PONG: m->pong.id = u32(s), m->pong.busy = flag(s); break;
  case TRI_MSG_WANT: fill(s, m->want.hash, TRI_ID_BYTES), m->want.at = u64(s), m->want.bytes = between(s, 0, TRI_CHUNK_BYTES); break;
  case TRI_MSG_CHUNK: fill(s, m->chunk.hash, TRI_ID_BYTES), m->chunk.at = u64(s), TEXT(m->chunk.error); break;
  case TRI_MSG_ENROL:
    m->enrol.protocol = u32(s), fill(s, m->enrol.token, sizeof m->enrol.token);
    fill(s, m->enrol.sealed, sizeof m->enrol.sealed), fill(s, m->enrol.mac, sizeof m->enrol.mac);
    break;
  case TRI_MSG_ENROLLED:
    m->enrolled.role = u32(s), m->enrolled.port = between(s, 0, UINT16_MAX), TEXT(m->enrolled.name);
    fill(s, m->enrolled.mac, sizeof m->enrolled.mac);
    break;
  case TRI_MSG_FOLLOW: m->follow.job = u64(s), m->follow.from = u32(s); break;
  case TRI_MSG_JOBS_REQUEST: m->jobs_request.after = u64(s), m->jobs_request.job = u64(s), m->jobs_request.limit = u32(s); break;
  case TRI_MSG_FORGET: m->forget.job = u64(s); break;
  case TRI_MSG_DRAIN: TEXT(m->drain.name), m->drain.undo = flag(s); break;
  case TRI_MSG_DRAINING: TEXT(m->draining.text); break;
  case TRI_MSG_PREFETCH: m->prefetch.id = u32(s); break;
  case TRI_MSG_PREFETCHED:
    m->prefetched.id = u32(s), m->prefetched.status = (int32_t)u32(s), TEXT(m->prefetched.text);
    break;
  case TRI_MSG_STATUS:
  case TRI_MSG_TRACE:
  case TRI_MSG_JOBS:
  case TRI_MSG_MODEL:
  case TRI_MSG_HOLDS:
  case TRI_MSG_LEAVE:
  case TRI_MSG_KINDS: break;
  }
}

void sample_message(tri_msg *m, tri_msg_kind kind, uint64_t *state) {
  memset(m, 0, sizeof *m);
  m->kind = kind;
  make(state, m);
}
void sample_largest(tri_msg *m, tri_msg_kind kind) { sample_message(m, kind, NULL); }
