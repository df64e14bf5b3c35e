/* SPDX-License-Identifier: MIT */
#include "proto/codec.h"

#include <stdio.h>
#include <string.h>
#include "wire.pb-c.h"

/* Every kind: constant, field of both unions, generated type. */
#define KINDS(X)                                                                                             \
  X(HELLO, hello, Hello) X(WELCOME, welcome, Welcome) X(REFUSE, refuse, Refuse) X(ASSIGN, assign, Assign)    \
  X(BOUND, bound, Bound) X(CONNECT, connect, Connect) X(READY, ready, Ready) X(OPEN, open, Open)             \
  X(STEP, step, Step) X(RESULT, result, Result) X(HEARTBEAT, heartbeat, Heartbeat) X(FAULT, fault, Fault)    \
  X(STOP, stop, Stop) X(SUBMIT, submit, Submit) X(ACCEPTED, accepted, Accepted) X(TOKENS, tokens, Tokens)    \
  X(DONE, done, Done) X(CANCEL, cancel, Cancel) X(STATUS_REQUEST, status_request, StatusRequest)             \
  X(STATUS, status, Status) X(KNOCK, knock, Knock) X(MODEL, model, Model) X(NEED, need, Need)                \
  X(SOURCE, source, Source) X(ADMIT, admit, Admit) X(WANT, want, Want) X(CHUNK, chunk, Chunk)                \
  X(HOLDS, holds, Holds) X(PING, ping, Ping) X(PONG, pong, Pong) X(ENROL, enrol, Enrol)                     \
  X(ENROLLED, enrolled, Enrolled) X(DRAIN, drain, Drain) X(DRAINING, draining, Draining) X(LEAVE, leave, Leave) \
  X(PREFETCH, prefetch, Prefetch) X(PREFETCHED, prefetched, Prefetched) \
  X(TRACE_REQUEST, trace_request, TraceRequest) X(TRACE, trace, Trace) \
  X(FOLLOW, follow, Follow) X(JOBS_REQUEST, jobs_request, JobsRequest) X(JOBS, jobs, Jobs) X(FORGET, forget, Forget)

const char *tri_done_reason_name(tri_done_reason reason) {
  static const char *const names[TRI_DONE_COUNT] = {"length", "end", "stop", "cancelled", "failed", "deadline"};
  return reason < TRI_DONE_COUNT ? names[reason] : "unknown";
}

const char *tri_msg_kind_name(tri_msg_kind kind) {
  static const char *const names[] = {
#define NAME(K, k, T) [TRI_MSG_##K] = #k,
      KINDS(NAME)
#undef NAME
  };
  return (unsigned)kind < TRI_MSG_KINDS ? names[kind] : "unknown";
}

/* Where a bad field is noted: the first one wins. The status is the caller's: a limit when we encode, the protocol when we
 * decode. */
typedef struct verdict {
  tri_msg_kind kind;
  tri_status on_fail, status;
  tri_error *err;
} verdict;

static void refuse_field(verdict *v, const char *field, const char *why) {
  if (v->status == TRI_OK)
    v->status = tri_status_fail(v->err, v->on_fail, "%s.%s: %s", tri_msg_kind_name(v->kind), field, why);
}
static void require(verdict *v, bool ok, const char *field, const char *why) {
  if (!ok) refuse_field(v, field, why);
}

/* ---- Limits, checked on the plain form: the same for both directions ---- */

static void check_tokens(verdict *v, const int32_t *tokens, uint32_t n, uint32_t max, const char *field) {
  if (n > max) { refuse_field(v, field, "too many"); return; }
  for (uint32_t i = 0; i < n; i++) require(v, tokens[i] >= 0, field, "not a token id");
}

static void check_assign(verdict *v, const tri_msg_assign *m) {
  require(v, m->stages >= 1 && m->stages <= TRI_MAX_STAGES, "stages", "out of range");
  require(v, m->stage < m->stages, "stage", "out of range");
  require(v, m->first <= m->last, "first", "after the last layer");
  require(v, m->last <= INT32_MAX, "last", "out of range");
  require(v, m->slots >= 1 && m->slots <= INT32_MAX, "slots", "out of range");
  require(v, m->context >= 1 && m->context <= TRI_MAX_CONTEXT, "context", "out of range");
  require(v, m->max_rows >= 1 && m->max_rows <= TRI_MAX_ROWS, "max_rows", "out of range");
  require(v, m->kv_blocks >= 1 && m->kv_blocks <= INT32_MAX, "kv_blocks", "out of range");
}

static void check_times(verdict *v, const tri_times *t) { require(v, t->n <= TRI_MAX_STAGES, "wait_us", "too many"); }

static void check_step(verdict *v, const tri_msg_step *m) {
  if (m->n_runs < 1 || m->n_runs > TRI_MAX_RUNS) { refuse_field(v, "runs", "none or too many"); return; }
  uint32_t row = 0, block = 0;
  for (uint32_t i = 0; i < m->n_runs; i++) {
    const tri_run *r = &m->runs[i];
    if (r->count < 1 || r->count > TRI_MAX_ROWS - row) { refuse_field(v, "tokens", "none or too many"); return; }
    if (r->n_blocks > TRI_MAX_BLOCKS - block) { refuse_field(v, "blocks", "too many"); return; }
    require(v, r->row == row && r->block == block, "row", "runs do not follow each other");
    require(v, r->first_block <= TRI_MAX_CONTEXT, "first_block", "out of range");
    require(v, r->slot <= INT32_MAX, "slot", "out of range");
    require(v, r->pos <= TRI_MAX_CONTEXT - r->count, "pos", "out of range");
    require(v, (unsigned)r->want < TRI_WANT_COUNT, "want", "unknown");
    require(v, r->next >= -1, "next", "not a token id");
    require(v, r->next == -1 || r->want == TRI_WANT_SCORE, "next", "only for a score");
    row += r->count, block += r->n_blocks;
  }
  require(v, row == m->n_rows, "n_rows", "not the sum of the runs");
  require(v, block == m->n_blocks, "n_blocks", "not the sum of the runs");
  check_tokens(v, m->tokens, row, TRI_MAX_ROWS, "tokens");
  check_times(v, &m->times);
  require(v, m->trace || !m->times.n, "wait_us", "only in a step that is traced");
}

static void check_failures(verdict *v, const tri_msg_result *m) {
  require(v, m->n_failures <= TRI_MAX_RUNS, "failures", "too many");
  for (uint32_t i = 0; i < m->n_failures && i < TRI_MAX_RUNS; i++)
    require(v, m->failures[i].run < TRI_MAX_RUNS && (i == 0 || m->failures[i - 1].run < m->failures[i].run), "failures",
            "not in the order of the runs");
}

static void check_sampling(verdict *v, const tri_sampler_params *p) {
  check_tokens(v, p->bias_tokens, p->n_bias, TRI_SAMPLER_BIASES, "bias_tokens");
}

static void check_submit(verdict *v, const tri_msg_submit *m) {
  check_sampling(v, &m->sampling);
  require(v, (unsigned)m->grammar < TRI_LANG_COUNT, "grammar", "unknown");
  require(v, m->grammar_bytes <= TRI_GRAMMAR_BYTES, "grammar_bytes", "too many");
  require(v, !m->grammar == !m->grammar_bytes, "grammar_bytes", "a grammar without text, or a text without its language");
  check_tokens(v, m->stop_tokens, m->n_stop_tokens, TRI_MAX_STOP_TOKENS, "stop_tokens");
  require(v, (unsigned)m->want < TRI_WANT_COUNT, "want", "unknown");
  require(v, m->priority >= -TRI_MAX_PRIORITY && m->priority <= TRI_MAX_PRIORITY, "priority", "out of range");
  if (m->n_stops > TRI_MAX_STOPS) { refuse_field(v, "stops", "too many"); return; }
  for (uint32_t i = 0; i < m->n_stops; i++) {
    size_t n = strnlen(m->stops[i], TRI_MAX_STOP);
    require(v, n >= 1 && n < TRI_MAX_STOP, "stops", "empty or too long");
  }
}

static void check(verdict *v, const tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_ASSIGN: check_assign(v, &m->assign); break;
  case TRI_MSG_BOUND: require(v, m->bound.port <= UINT16_MAX, "port", "out of range"); break;
  case TRI_MSG_CONNECT: require(v, m->connect.endpoint[0] != 0, "endpoint", "empty"); break;
  case TRI_MSG_OPEN:
    require(v, m->open.slot <= INT32_MAX, "slot", "out of range");
    require(v, m->open.held <= TRI_MAX_CONTEXT, "held", "out of range");
    check_sampling(v, &m->open.sampling);
    break;
  case TRI_MSG_STEP: check_step(v, &m->step); break;
  case TRI_MSG_RESULT:
    check_tokens(v, m->result.tokens, m->result.n_tokens, TRI_MAX_RUNS, "tokens");
    require(v, m->result.n_logprobs <= TRI_MAX_ROWS, "logprobs", "too many");
    check_tokens(v, m->result.top_tokens, m->result.n_top, TRI_MAX_TOP, "top_tokens");
    check_failures(v, &m->result);
    check_times(v, &m->result.times);
    break;
  case TRI_MSG_SUBMIT: check_submit(v, &m->submit); break;
  case TRI_MSG_TOKENS:
    check_tokens(v, m->tokens.tokens, m->tokens.n_tokens, TRI_MAX_RUNS, "tokens");
    require(v, m->tokens.n_logprobs <= TRI_MAX_ROWS, "logprobs", "too many");
    check_tokens(v, m->tokens.top_tokens, m->tokens.n_top, TRI_MAX_TOP, "top_tokens");
    break;
  case TRI_MSG_HELLO: require(v, m->hello.parts_port <= UINT16_MAX, "parts_port", "out of range"); break;
  case TRI_MSG_NEED: require(v, m->need.n_parts >= 1 && m->need.n_parts <= TRI_MAX_PARTS, "parts", "none or too many"); break;
  case TRI_MSG_SOURCE: require(v, m->source.n_parts >= 1 && m->source.n_parts <= TRI_MAX_PARTS, "parts", "none or too many"); break;
  case TRI_MSG_WANT: require(v, m->want.bytes <= TRI_CHUNK_BYTES, "bytes", "too many"); break;
  case TRI_MSG_PING: require(v, m->ping.bytes <= TRI_PING_BYTES, "bytes", "too many"); break;
  case TRI_MSG_TRACE_REQUEST: require(v, (unsigned)m->trace_request.action < TRI_TRACE_ACTIONS, "action", "unknown"); break;
  case TRI_MSG_DONE: require(v, (unsigned)m->done.reason < TRI_DONE_COUNT, "reason", "unknown"); break;
  case TRI_MSG_ENROLLED: require(v, m->enrolled.port <= UINT16_MAX, "port", "out of range"); break;
  default: break; /* any value will do */
  }
}

/* ---- Both directions from one list of fields a message: NUM, TEXT, NOTE (text for people), BYTES (fixed size) ---- */

#define FIELDS_hello(NUM, TEXT, NOTE, BYTES)                                                                 \
  NUM(protocol) TEXT(version) TEXT(name) NUM(threads) NUM(memory_bytes) TEXT(isa) BYTES(model_id)            \
  NUM(layer_us) NUM(head_us) TEXT(advertise) NUM(layer_rows_us) NUM(head_rows_us) NUM(parts_port) NUM(rtt_us) \
  NUM(down_kbps) NUM(up_kbps)
#define FIELDS_welcome(NUM, TEXT, NOTE, BYTES) NUM(heartbeat_ms)
#define FIELDS_refuse(NUM, TEXT, NOTE, BYTES) NUM(status) NOTE(text)
#define FIELDS_assign(NUM, TEXT, NOTE, BYTES)                                                                \
  NUM(epoch) NUM(stage) NUM(stages) NUM(first) NUM(last) NUM(embed) NUM(head) NUM(slots) NUM(context)        \
  NUM(max_rows) NUM(wire) NUM(kv_type) NUM(kv_blocks)
#define FIELDS_bound(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(port) NUM(bytes)
#define FIELDS_connect(NUM, TEXT, NOTE, BYTES) NUM(epoch) TEXT(endpoint) BYTES(server_key)
#define FIELDS_ready(NUM, TEXT, NOTE, BYTES) NUM(epoch)
#define FIELDS_open(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(slot) NUM(prompt) NUM(held)
#define FIELDS_sampling(NUM, TEXT, NOTE, BYTES)                                                              \
  NUM(temperature) NUM(top_k) NUM(top_p) NUM(min_p) NUM(repeat_penalty) NUM(repeat_last) NUM(seed)           \
  NUM(typical_p) NUM(frequency_penalty) NUM(presence_penalty) NUM(top)
#define FIELDS_step(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(id) NUM(trace)
#define FIELDS_result(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(id)
#define FIELDS_heartbeat(NUM, TEXT, NOTE, BYTES)                                                             \
  NUM(epoch) NUM(steps) NUM(rows) NUM(busy_us) NUM(rss_bytes) NUM(sent_bytes) NUM(dropped)         \
  NUM(fetched_bytes) NUM(fetch_bytes) NUM(step_rows) NUM(step_us) NUM(step_p95_us)    \
  NUM(rtt_us) NUM(down_kbps) NUM(up_kbps)
#define FIELDS_fault(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(status) NOTE(text)
#define FIELDS_stop(NUM, TEXT, NOTE, BYTES) NUM(epoch) NUM(leave)
#define FIELDS_submit(NUM, TEXT, NOTE, BYTES)                                                                \
  NUM(protocol) NUM(ids) NUM(special) NUM(no_bos) NUM(predict) NUM(want) NUM(ignore_end) NUM(detach)        \
  NUM(grammar) NUM(grammar_bytes) NUM(priority) NUM(deadline_ms) TEXT(idempotency)
#define FIELDS_accepted(NUM, TEXT, NOTE, BYTES) NUM(job) NUM(prompt_tokens) NUM(ahead)
#define FIELDS_tokens(NUM, TEXT, NOTE, BYTES) NUM(job) NUM(index)
#define FIELDS_done(NUM, TEXT, NOTE, BYTES)                                                                  \
  NUM(job) NUM(reason) NUM(prompt_tokens) NUM(tokens) NUM(queued_us) NUM(prefill_us) NUM(decode_us) NUM(reused_tokens) NOTE(error)
#define FIELDS_cancel(NUM, TEXT, NOTE, BYTES) NUM(job)
#define FIELDS_follow(NUM, TEXT, NOTE, BYTES) NUM(job) NUM(from)
#define FIELDS_jobs_request(NUM, TEXT, NOTE, BYTES) NUM(after) NUM(limit) NUM(job)
#define FIELDS_jobs(NUM, TEXT, NOTE, BYTES)
#define FIELDS_forget(NUM, TEXT, NOTE, BYTES) NUM(job)
#define FIELDS_status_request(NUM, TEXT, NOTE, BYTES) NUM(protocol)
#define FIELDS_status(NUM, TEXT, NOTE, BYTES)
#define FIELDS_trace_request(NUM, TEXT, NOTE, BYTES) NUM(protocol) NUM(action) NUM(after)
#define FIELDS_trace(NUM, TEXT, NOTE, BYTES)
#define FIELDS_knock(NUM, TEXT, NOTE, BYTES) NUM(protocol) TEXT(version) TEXT(name)
#define FIELDS_model(NUM, TEXT, NOTE, BYTES)
#define FIELDS_need(NUM, TEXT, NOTE, BYTES) NOTE(text)
#define FIELDS_source(NUM, TEXT, NOTE, BYTES) TEXT(endpoint) BYTES(server_key)
#define FIELDS_admit(NUM, TEXT, NOTE, BYTES) BYTES(key) NUM(revoke)
#define FIELDS_want(NUM, TEXT, NOTE, BYTES) BYTES(hash) NUM(at) NUM(bytes)
#define FIELDS_chunk(NUM, TEXT, NOTE, BYTES) BYTES(hash) NUM(at) NOTE(error)
#define FIELDS_holds(NUM, TEXT, NOTE, BYTES)
#define FIELDS_ping(NUM, TEXT, NOTE, BYTES) NUM(id) NUM(bytes)
#define FIELDS_pong(NUM, TEXT, NOTE, BYTES) NUM(id) NUM(busy)
#define FIELDS_enrol(NUM, TEXT, NOTE, BYTES) NUM(protocol) BYTES(token) BYTES(sealed) BYTES(mac)
#define FIELDS_enrolled(NUM, TEXT, NOTE, BYTES) NUM(role) TEXT(name) NUM(port) BYTES(mac)
#define FIELDS_drain(NUM, TEXT, NOTE, BYTES) TEXT(name) NUM(undo)
#define FIELDS_draining(NUM, TEXT, NOTE, BYTES) NOTE(text)
#define FIELDS_leave(NUM, TEXT, NOTE, BYTES)
#define FIELDS_prefetch(NUM, TEXT, NOTE, BYTES) NUM(id)
#define FIELDS_prefetched(NUM, TEXT, NOTE, BYTES) NUM(id) NUM(status) NOTE(text)

/* A message on its way out: generated structures that point into the tri_msg. */
typedef struct frame {
  Trireme__Envelope envelope;
  union {
#define BODY(K, k, T) Trireme__##T k;
    KINDS(BODY)
#undef BODY
  };
  Trireme__Sampling sampling;
  Trireme__Run runs[TRI_MAX_RUNS];
  Trireme__Run *run_list[TRI_MAX_RUNS];
  Trireme__Failure failures[TRI_MAX_RUNS];
  Trireme__Failure *failure_list[TRI_MAX_RUNS];
  char failure_notes[TRI_MAX_RUNS][TRI_MAX_FAILURE];
  char *stop_list[TRI_MAX_STOPS];
  char note[TRI_MAX_TEXT];
} frame;

static bool is_control(char c) { return (unsigned char)c < ' ' || c == 0x7f; }

static void check_text(verdict *v, const char *text, size_t size, const char *field) {
  size_t n = strnlen(text, size);
  require(v, n < size, field, "too long");
  for (size_t i = 0; i < n; i++) require(v, !is_control(text[i]), field, "has a control character");
}
static char *put_text(verdict *v, const char *in, size_t size, const char *field) {
  check_text(v, in, size, field);
  return (char *)(uintptr_t)in; /* protobuf-c's types have no const */
}
/* A failure's text must arrive whatever is in it, such as a file's name. */
static char *put_note(char *note, const char *in, size_t size) {
  size_t n = strnlen(in, size - 1);
  for (size_t i = 0; i < n; i++) note[i] = is_control(in[i]) ? '?' : in[i];
  note[n] = 0;
  return note;
}
static void get_text(verdict *v, char *out, size_t size, const char *in, const char *field) {
  check_text(v, in, size, field);
  if (v->status == TRI_OK) strcpy(out, in);
}
static void get_bytes(verdict *v, uint8_t *out, size_t size, const ProtobufCBinaryData *in, const char *field) {
  require(v, in->len == size, field, "wrong length");
  if (in->len == size) memcpy(out, in->data, size);
}

#define COPY(f) out->f = in->f;
#define PUT_TEXT(f) out->f = put_text(v, in->f, sizeof in->f, #f);
#define PUT_NOTE(f) out->f = put_note(fr->note, in->f, sizeof in->f);
#define PUT_BYTES(f) out->f = (ProtobufCBinaryData){sizeof in->f, (uint8_t *)(uintptr_t)in->f};
#define GET_TEXT(f) get_text(v, out->f, sizeof out->f, in->f, #f);
#define GET_BYTES(f) get_bytes(v, out->f, sizeof out->f, &in->f, #f);

/* put_K and get_K for what lists of fields can say; put_rest and get_rest do what they cannot. */
#define BOTH(k, T, plain)                                                                                    \
  static void put_##k(verdict *v, frame *fr, const plain *in, Trireme__##T *out) {                           \
    (void)v, (void)fr, (void)in;                                                                             \
    trireme__##k##__init(out);                                                                               \
    FIELDS_##k(COPY, PUT_TEXT, PUT_NOTE, PUT_BYTES)                                                          \
  }                                                                                                          \
  static void get_##k(verdict *v, const Trireme__##T *in, plain *out) {                                      \
    (void)v, (void)in, (void)out;                                                                            \
    FIELDS_##k(COPY, GET_TEXT, GET_TEXT, GET_BYTES)                                                          \
  }
#define BOTH_KIND(K, k, T) BOTH(k, T, __typeof__(((tri_msg *)0)->k))
KINDS(BOTH_KIND)
BOTH(sampling, Sampling, tri_sampler_params)

static uint32_t get_array(verdict *v, const void *in, size_t n, void *out, size_t max, const char *field) {
  require(v, n <= max, field, "too many");
  if (n > max || n == 0) return 0;
  memcpy(out, in, n * sizeof(uint32_t)); /* int32_t and float elements */
  return (uint32_t)n;
}

/* Tokens, and a number for each of them. */
static uint32_t get_pairs(verdict *v, const uint32_t *tokens, size_t n, const float *values, size_t n_values, int32_t *out_tokens,
                          float *out_values, size_t max, const char *field) {
  require(v, n == n_values, field, "not as many values as tokens");
  if (n != n_values) return 0;
  get_array(v, values, n, out_values, max, field);
  return get_array(v, tokens, n, out_tokens, max, field);
}
#define PUT_PAIRS(in, count, tokens_, values_, out)                                                          \
  ((out)->n_##tokens_ = (out)->n_##values_ = (in)->count, (out)->tokens_ = (uint32_t *)(uintptr_t)(in)->tokens_, \
   (out)->values_ = (float *)(uintptr_t)(in)->values_)
#define GET_PAIRS(v, in, count, tokens_, values_, out, max)                                                  \
  ((out)->count = get_pairs(v, (in)->tokens_, (in)->n_##tokens_, (in)->values_, (in)->n_##values_, (out)->tokens_, (out)->values_, \
                            max, #tokens_))

static void put_sampling_into(verdict *v, frame *f, const tri_sampler_params *in, Trireme__Sampling **out) {
  put_sampling(v, f, in, &f->sampling);
  PUT_PAIRS(in, n_bias, bias_tokens, bias, &f->sampling);
  *out = &f->sampling;
}
static void get_sampling_from(verdict *v, const Trireme__Sampling *in, tri_sampler_params *out) {
  if (!in) { refuse_field(v, "sampling", "missing"); return; }
  get_sampling(v, in, out);
  GET_PAIRS(v, in, n_bias, bias_tokens, bias, out, TRI_SAMPLER_BIASES);
}

/* Two messages carry what stages say of their time. */
#define PUT_TIMES(in, out)                                                                                   \
  ((out)->n_wait_us = (out)->n_compute_us = (in)->n, (out)->wait_us = (uint32_t *)(uintptr_t)(in)->wait_us,  \
   (out)->compute_us = (uint32_t *)(uintptr_t)(in)->compute_us)
#define GET_TIMES(v, in, out) get_times(v, (in)->wait_us, (in)->n_wait_us, (in)->compute_us, (in)->n_compute_us, out)
static void get_times(verdict *v, const uint32_t *wait_us, size_t n, const uint32_t *compute_us, size_t n_compute, tri_times *out) {
  require(v, n == n_compute, "compute_us", "not as many as wait_us");
  if (n != n_compute) return;
  get_array(v, compute_us, n, out->compute_us, TRI_MAX_STAGES, "compute_us");
  out->n = get_array(v, wait_us, n, out->wait_us, TRI_MAX_STAGES, "wait_us");
}

static void put_step_runs(frame *f, const tri_msg_step *in) {
  for (uint32_t i = 0; i < in->n_runs; i++) {
    const tri_run *r = &in->runs[i];
    Trireme__Run *out = f->run_list[i] = &f->runs[i];
    trireme__run__init(out);
    out->slot = r->slot, out->pos = r->pos, out->want = r->want, out->next = (uint32_t)r->next + 1;
    out->n_tokens = r->count, out->tokens = (uint32_t *)(uintptr_t)(in->tokens + r->row);
    out->begins = r->begins;
    out->first_block = r->first_block, out->n_blocks = r->n_blocks, out->blocks = (uint32_t *)(uintptr_t)(in->blocks + r->block);
  }
  f->step.n_runs = in->n_runs, f->step.runs = f->run_list;
}
static void get_step_runs(verdict *v, const Trireme__Step *in, tri_msg_step *out) {
  if (in->n_runs > TRI_MAX_RUNS) { refuse_field(v, "runs", "none or too many"); return; }
  for (size_t i = 0; i < in->n_runs; i++) {
    const Trireme__Run *r = in->runs[i];
    require(v, r->next <= (uint32_t)INT32_MAX + 1, "next", "not a token id");
    out->runs[i] = (tri_run){.slot = r->slot, .pos = r->pos, .row = out->n_rows, .count = (uint32_t)r->n_tokens, .want = (tri_want)r->want,
                             .next = (int32_t)(r->next - 1), .first_block = r->first_block, .begins = r->begins, .block = out->n_blocks};
    out->n_rows += get_array(v, r->tokens, r->n_tokens, out->tokens + out->n_rows, TRI_MAX_ROWS - out->n_rows, "tokens");
    out->runs[i].n_blocks = get_array(v, r->blocks, r->n_blocks, out->blocks + out->n_blocks, TRI_MAX_BLOCKS - out->n_blocks, "blocks");
    out->n_blocks += out->runs[i].n_blocks;
  }
  out->n_runs = (uint32_t)in->n_runs;
}

/* Two messages carry tokens and their log-probabilities. */
#define PUT_TOKENS(in, out)                                                                                  \
  ((out)->n_tokens = (in)->n_tokens, (out)->tokens = (uint32_t *)(uintptr_t)(in)->tokens,                    \
   (out)->n_logprobs = (in)->n_logprobs, (out)->logprobs = (float *)(uintptr_t)(in)->logprobs,               \
   PUT_PAIRS(in, n_top, top_tokens, top_logprobs, out))
#define GET_TOKENS(v, in, out)                                                                               \
  ((out)->n_tokens = get_array(v, (in)->tokens, (in)->n_tokens, (out)->tokens, TRI_MAX_RUNS, "tokens"),      \
   (out)->n_logprobs = get_array(v, (in)->logprobs, (in)->n_logprobs, (out)->logprobs, TRI_MAX_ROWS, "logprobs"), \
   GET_PAIRS(v, in, n_top, top_tokens, top_logprobs, out, TRI_MAX_TOP))

static void put_result_failures(frame *f, const tri_msg_result *in) {
  for (uint32_t i = 0; i < in->n_failures; i++) {
    Trireme__Failure *out = f->failure_list[i] = &f->failures[i];
    trireme__failure__init(out);
    out->run = in->failures[i].run;
    out->text = put_note(f->failure_notes[i], in->failures[i].text, sizeof in->failures[i].text);
  }
  f->result.n_failures = in->n_failures, f->result.failures = f->failure_list;
}
static void get_result_failures(verdict *v, const Trireme__Result *in, tri_msg_result *out) {
  if (in->n_failures > TRI_MAX_RUNS) { refuse_field(v, "failures", "too many"); return; }
  for (size_t i = 0; i < in->n_failures; i++) {
    out->failures[i].run = in->failures[i]->run;
    get_text(v, out->failures[i].text, sizeof out->failures[i].text, in->failures[i]->text, "failures.text");
  }
  out->n_failures = (uint32_t)in->n_failures;
}

static void put_submit_stops(frame *f, const tri_msg_submit *in) {
  for (uint32_t i = 0; i < in->n_stops; i++) f->stop_list[i] = (char *)(uintptr_t)in->stops[i];
  f->submit.n_stops = in->n_stops, f->submit.stops = f->stop_list;
  f->submit.n_stop_tokens = in->n_stop_tokens, f->submit.stop_tokens = (uint32_t *)(uintptr_t)in->stop_tokens;
}
static void get_submit_stops(verdict *v, const Trireme__Submit *in, tri_msg_submit *out) {
  if (in->n_stops > TRI_MAX_STOPS) { refuse_field(v, "stops", "too many"); return; }
  for (size_t i = 0; i < in->n_stops; i++) {
    size_t n = strlen(in->stops[i]);
    if (n >= TRI_MAX_STOP) { refuse_field(v, "stops", "empty or too long"); return; }
    memcpy(out->stops[i], in->stops[i], n + 1);
  }
  out->n_stops = (uint32_t)in->n_stops;
  out->n_stop_tokens = get_array(v, in->stop_tokens, in->n_stop_tokens, out->stop_tokens, TRI_MAX_STOP_TOKENS, "stop_tokens");
}

static void put_rest(verdict *v, frame *f, const tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_ASSIGN:
    if (m->assign.has_upstream)
      f->assign.upstream_key = (ProtobufCBinaryData){TRI_KEY_BYTES, (uint8_t *)(uintptr_t)m->assign.upstream_key};
    break;
  case TRI_MSG_NEED:
    f->need.n_parts = m->need.n_parts, f->need.parts = (uint32_t *)(uintptr_t)m->need.parts;
    if (m->need.has_failed) f->need.failed_key = (ProtobufCBinaryData){TRI_KEY_BYTES, (uint8_t *)(uintptr_t)m->need.failed_key};
    break;
  case TRI_MSG_SOURCE: f->source.n_parts = m->source.n_parts, f->source.parts = (uint32_t *)(uintptr_t)m->source.parts; break;
  case TRI_MSG_OPEN: put_sampling_into(v, f, &m->open.sampling, &f->open.sampling); break;
  case TRI_MSG_STEP:
    put_step_runs(f, &m->step);
    PUT_TIMES(&m->step.times, &f->step);
    break;
  case TRI_MSG_RESULT:
    PUT_TOKENS(&m->result, &f->result);
    put_result_failures(f, &m->result);
    PUT_TIMES(&m->result.times, &f->result);
    break;
  case TRI_MSG_SUBMIT:
    put_sampling_into(v, f, &m->submit.sampling, &f->submit.sampling);
    put_submit_stops(f, &m->submit);
    break;
  case TRI_MSG_TOKENS: PUT_TOKENS(&m->tokens, &f->tokens); break;
  default: break;
  }
}

static void get_rest(verdict *v, const Trireme__Envelope *e, tri_msg *m) {
  switch (m->kind) {
  case TRI_MSG_ASSIGN:
    m->assign.has_upstream = e->assign->upstream_key.len > 0;
    if (m->assign.has_upstream)
      get_bytes(v, m->assign.upstream_key, TRI_KEY_BYTES, &e->assign->upstream_key, "upstream_key");
    break;
  case TRI_MSG_NEED:
    m->need.n_parts = get_array(v, e->need->parts, e->need->n_parts, m->need.parts, TRI_MAX_PARTS, "parts");
    m->need.has_failed = e->need->failed_key.len > 0;
    if (m->need.has_failed) get_bytes(v, m->need.failed_key, TRI_KEY_BYTES, &e->need->failed_key, "failed_key");
    break;
  case TRI_MSG_SOURCE:
    m->source.n_parts = get_array(v, e->source->parts, e->source->n_parts, m->source.parts, TRI_MAX_PARTS, "parts");
    break;
  case TRI_MSG_OPEN: get_sampling_from(v, e->open->sampling, &m->open.sampling); break;
  case TRI_MSG_STEP:
    get_step_runs(v, e->step, &m->step);
    GET_TIMES(v, e->step, &m->step.times);
    break;
  case TRI_MSG_RESULT:
    GET_TOKENS(v, e->result, &m->result);
    get_result_failures(v, e->result, &m->result);
    GET_TIMES(v, e->result, &m->result.times);
    break;
  case TRI_MSG_SUBMIT:
    get_sampling_from(v, e->submit->sampling, &m->submit.sampling);
    get_submit_stops(v, e->submit, &m->submit);
    break;
  case TRI_MSG_TOKENS: GET_TOKENS(v, e->tokens, &m->tokens); break;
  default: break;
  }
}

tri_status tri_codec_encode(const tri_msg *m, tri_buf *out, tri_error *err) {
  verdict v = {m->kind, TRI_E_LIMIT, TRI_OK, err};
  check(&v, m); /* before the counts are used */
  if (v.status != TRI_OK) return v.status;
  frame f;
  trireme__envelope__init(&f.envelope);
  switch (m->kind) {
#define PUT_KIND(K, k, T)                                                                                    \
  case TRI_MSG_##K:                                                                                          \
    put_##k(&v, &f, &m->k, &f.k);                                                                            \
    f.envelope.k = &f.k;                                                                                     \
    f.envelope.body_case = TRIREME__ENVELOPE__BODY_##K;                                                      \
    break;
    KINDS(PUT_KIND)
  default: return tri_status_fail(err, TRI_E_LIMIT, "no message of kind %d", (int)m->kind);
  }
  put_rest(&v, &f, m);
  if (v.status != TRI_OK) return v.status;
  size_t len = trireme__envelope__get_packed_size(&f.envelope);
  uint8_t *to = tri_buf_reserve(out, len);
  if (!to) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a message");
  out->len += trireme__envelope__pack(&f.envelope, to);
  return TRI_OK;
}

tri_status tri_codec_decode(const uint8_t *bytes, size_t len, tri_msg *out, tri_error *err) {
  if (len > TRI_MAX_ENVELOPE) return tri_status_fail(err, TRI_E_PROTOCOL, "an envelope of %zu bytes", len);
  Trireme__Envelope *e = trireme__envelope__unpack(NULL, len, bytes);
  if (!e) return tri_status_fail(err, TRI_E_PROTOCOL, "an envelope that is not a protobuf message");
  verdict v = {TRI_MSG_KINDS, TRI_E_PROTOCOL, TRI_OK, err};
  memset(out, 0, sizeof *out);
  switch (e->body_case) {
#define GET_KIND(K, k, T)                                                                                    \
  case TRIREME__ENVELOPE__BODY_##K:                                                                          \
    v.kind = out->kind = TRI_MSG_##K;                                                                        \
    get_##k(&v, e->k, &out->k);                                                                              \
    break;
    KINDS(GET_KIND)
  default: v.status = tri_status_fail(err, TRI_E_PROTOCOL, "an envelope without a body that we know"); break;
  }
  if (v.status == TRI_OK) get_rest(&v, e, out);
  if (v.status == TRI_OK) check(&v, out);
  trireme__envelope__free_unpacked(e, NULL);
  return v.status;
}
