/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_CODEC_H
#define TRI_PROTO_CODEC_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/sampling.h"
#include "base/status.h"

/* Envelopes as plain C: decode checks every length, count and enum against the limits here, so that the rooms above never
 * see a wild value of these kinds; what depends on state (epoch, slots, positions) is theirs to check. The schema and the
 * meaning of the fields: wire.proto. Generated protobuf types stay inside codec.c. */

enum {
  TRI_PROTOCOL = 4,
  TRI_KEY_BYTES = 32,
  TRI_ID_BYTES = 32,
  TRI_MAC_BYTES = 32,
  TRI_ENROL_TOKEN = 8,      /* a token's id */
  TRI_ENROL_SEALED = 113,   /* a role's byte and a name, padded, in a sealed box of libsodium */
  TRI_MAX_NAME = 64,        /* with the NUL, like all text sizes here */
  TRI_MAX_TEXT = 512,
  TRI_MAX_FAILURE = 192,    /* text of one run's */
  TRI_MAX_ENDPOINT = 256,
  TRI_MAX_PRIORITY = 10,
  TRI_MAX_IDEMPOTENCY = 65,
  TRI_MAX_STOPS = 8,
  TRI_MAX_STOP = 257,
  TRI_MAX_STOP_TOKENS = 16,
  TRI_MAX_ROWS = 512,       /* rows in a step */
  TRI_MAX_RUNS = 64,        /* runs in a step */
  TRI_MAX_BLOCKS = 4096,    /* KV blocks that a step maps */
  TRI_MAX_TOP = TRI_MAX_RUNS * TRI_SAMPLER_TOP, /* likeliest tokens in a result */
  TRI_MAX_STAGES = 256,
  TRI_MAX_FLIGHTS = 128,    /* steps in the pipeline */
  TRI_MAX_OPENS = 512,      /* sequences that begin in them */
  TRI_MAX_CONTEXT = 1 << 20,
  TRI_MAX_ENVELOPE = 64 << 10,
  TRI_MAX_PROMPT = 16 << 20, /* payload of Submit */
  TRI_MAX_PAYLOAD = 512 << 20,
  TRI_MAX_PARTS = 512,       /* in one Need or Source */
  TRI_CHUNK_BYTES = 256 << 10,     /* payload of Chunk */
  TRI_MANIFEST_BYTES = 256 << 10,  /* of Model */
  TRI_HOLDS_BYTES = 1024,          /* of Holds */
  TRI_PING_BYTES = 256 << 10,      /* of Ping and Pong */
};

typedef enum tri_want { TRI_WANT_NONE, TRI_WANT_SAMPLE, TRI_WANT_LOGITS, TRI_WANT_SCORE, TRI_WANT_COUNT } tri_want;
typedef enum tri_trace_action { TRI_TRACE_OFF, TRI_TRACE_ON, TRI_TRACE_GET, TRI_TRACE_ACTIONS } tri_trace_action;
typedef enum tri_done_reason {
  TRI_DONE_LENGTH, TRI_DONE_END, TRI_DONE_STOP, TRI_DONE_CANCELLED, TRI_DONE_FAILED, TRI_DONE_DEADLINE, TRI_DONE_COUNT
} tri_done_reason;

typedef struct tri_msg_hello {
  uint32_t protocol, threads, layer_us, head_us, layer_rows_us, head_rows_us, parts_port, rtt_us, down_kbps, up_kbps;
  uint64_t memory_bytes;
  char version[TRI_MAX_NAME], name[TRI_MAX_NAME], isa[TRI_MAX_NAME], advertise[TRI_MAX_ENDPOINT];
  uint8_t model_id[TRI_ID_BYTES];
} tri_msg_hello;
typedef struct tri_msg_knock { uint32_t protocol; char version[TRI_MAX_NAME], name[TRI_MAX_NAME]; } tri_msg_knock;
typedef struct tri_msg_need {
  uint32_t n_parts, parts[TRI_MAX_PARTS]; /* at least one */
  bool has_failed;
  uint8_t failed_key[TRI_KEY_BYTES];
  char text[TRI_MAX_TEXT];
} tri_msg_need;
typedef struct tri_msg_source {
  uint32_t n_parts, parts[TRI_MAX_PARTS];
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t server_key[TRI_KEY_BYTES];
} tri_msg_source;
typedef struct tri_msg_admit { uint8_t key[TRI_KEY_BYTES]; bool revoke; } tri_msg_admit;
typedef struct tri_msg_ping { uint32_t id, bytes; } tri_msg_ping;
typedef struct tri_msg_pong { uint32_t id; bool busy; } tri_msg_pong;
typedef struct tri_msg_want { uint8_t hash[TRI_ID_BYTES]; uint64_t at; uint32_t bytes; } tri_msg_want;
typedef struct tri_msg_chunk { uint8_t hash[TRI_ID_BYTES]; uint64_t at; char error[TRI_MAX_TEXT]; } tri_msg_chunk;
typedef struct tri_msg_refuse { int32_t status; char text[TRI_MAX_TEXT]; } tri_msg_refuse;
typedef struct tri_msg_assign {
  uint32_t epoch, stage, stages, first, last, slots, context, max_rows, wire, kv_type, kv_blocks;
  bool embed, head, has_upstream;
  uint8_t upstream_key[TRI_KEY_BYTES];
} tri_msg_assign;
typedef struct tri_msg_bound { uint32_t epoch, port; uint64_t bytes; } tri_msg_bound;
typedef struct tri_msg_connect { uint32_t epoch; char endpoint[TRI_MAX_ENDPOINT]; uint8_t server_key[TRI_KEY_BYTES]; } tri_msg_connect;
/* sampling: its ranges are checked by the sampler, not here */
typedef struct tri_msg_open { uint32_t epoch, slot, prompt, held; tri_sampler_params sampling; } tri_msg_open; /* held <= TRI_MAX_CONTEXT */
/* How long each stage so far had a step. */
typedef struct tri_times {
  uint32_t n;
  uint32_t wait_us[TRI_MAX_STAGES];    /* from having it whole to the start of computing */
  uint32_t compute_us[TRI_MAX_STAGES];
} tri_times;
typedef struct tri_run {
  uint32_t slot, pos;
  uint32_t row, count; /* its rows are [row, row + count) of the step; count >= 1 */
  tri_want want;
  int32_t next;        /* SCORE: the token after the last row, -1: none */
  uint32_t first_block;      /* the slot's KV blocks from this one on are now */
  bool begins;               /* a sequence begins: it has an Open */
  uint32_t block, n_blocks;  /* the step's [block, block + n_blocks); 0: as they were */
} tri_run;
typedef struct tri_msg_step {
  uint32_t epoch, n_runs, n_rows, n_blocks; /* 1 <= n_runs, n_rows */
  bool trace;                     /* each stage adds its times */
  uint64_t id;
  tri_run runs[TRI_MAX_RUNS];
  int32_t tokens[TRI_MAX_ROWS]; /* >= 0 */
  uint32_t blocks[TRI_MAX_BLOCKS];
  tri_times times;              /* none without trace */
} tri_msg_step;
typedef struct tri_failure { uint32_t run; char text[TRI_MAX_FAILURE]; } tri_failure;
typedef struct tri_msg_result {
  uint32_t epoch, n_tokens, n_logprobs, n_top, n_failures;
  uint64_t id;
  int32_t tokens[TRI_MAX_RUNS];
  float logprobs[TRI_MAX_ROWS];
  int32_t top_tokens[TRI_MAX_TOP];
  float top_logprobs[TRI_MAX_TOP];
  tri_failure failures[TRI_MAX_RUNS]; /* in the order of the runs */
  tri_times times;                    /* of all stages, if the step was traced */
} tri_msg_result;
typedef struct tri_msg_heartbeat {
  uint32_t epoch, step_rows, step_us, step_p95_us, rtt_us, down_kbps, up_kbps;
  uint64_t steps, rows, busy_us, rss_bytes, sent_bytes, dropped, fetched_bytes, fetch_bytes;
} tri_msg_heartbeat;
typedef struct tri_msg_fault { uint32_t epoch; int32_t status; char text[TRI_MAX_TEXT]; } tri_msg_fault;
typedef struct tri_msg_stop { uint32_t epoch; bool leave; } tri_msg_stop;
typedef struct tri_msg_submit {
  uint32_t protocol, predict, n_stops, n_stop_tokens, deadline_ms;
  int32_t priority; /* at most TRI_MAX_PRIORITY from 0 */
  bool ids, special, no_bos, ignore_end, detach;
  tri_want want;
  tri_lang grammar;
  uint32_t grammar_bytes;
  tri_sampler_params sampling;
  char stops[TRI_MAX_STOPS][TRI_MAX_STOP];
  int32_t stop_tokens[TRI_MAX_STOP_TOKENS];
  char idempotency[TRI_MAX_IDEMPOTENCY]; /* empty: none */
} tri_msg_submit;
typedef struct tri_msg_accepted { uint64_t job; uint32_t prompt_tokens, ahead; } tri_msg_accepted;
typedef struct tri_msg_tokens {
  uint64_t job;
  uint32_t index, n_tokens, n_logprobs, n_top;
  int32_t tokens[TRI_MAX_RUNS];
  float logprobs[TRI_MAX_ROWS];
  int32_t top_tokens[TRI_MAX_TOP];
  float top_logprobs[TRI_MAX_TOP];
} tri_msg_tokens;
typedef struct tri_msg_done {
  uint64_t job, queued_us, prefill_us, decode_us;
  uint32_t prompt_tokens, tokens, reused_tokens;
  tri_done_reason reason;
  char error[TRI_MAX_TEXT];
} tri_msg_done;

typedef struct tri_msg_enrol {
  uint32_t protocol;
  uint8_t token[TRI_ENROL_TOKEN], sealed[TRI_ENROL_SEALED], mac[TRI_MAC_BYTES];
} tri_msg_enrol;
typedef struct tri_msg_enrolled {
  uint32_t role, port;
  char name[TRI_MAX_NAME];
  uint8_t mac[TRI_MAC_BYTES];
} tri_msg_enrolled;

typedef enum tri_msg_kind {
  TRI_MSG_HELLO, TRI_MSG_WELCOME, TRI_MSG_REFUSE, TRI_MSG_ASSIGN, TRI_MSG_BOUND, TRI_MSG_CONNECT, TRI_MSG_READY, TRI_MSG_OPEN,
  TRI_MSG_STEP, TRI_MSG_RESULT, TRI_MSG_HEARTBEAT, TRI_MSG_FAULT, TRI_MSG_STOP, TRI_MSG_SUBMIT, TRI_MSG_ACCEPTED, TRI_MSG_TOKENS,
  TRI_MSG_DONE, TRI_MSG_CANCEL, TRI_MSG_STATUS_REQUEST, TRI_MSG_STATUS, TRI_MSG_KNOCK, TRI_MSG_MODEL, TRI_MSG_NEED, TRI_MSG_SOURCE,
  TRI_MSG_ADMIT, TRI_MSG_WANT, TRI_MSG_CHUNK, TRI_MSG_HOLDS, TRI_MSG_PING, TRI_MSG_PONG, TRI_MSG_ENROL, TRI_MSG_ENROLLED,
  TRI_MSG_DRAIN, TRI_MSG_DRAINING, TRI_MSG_LEAVE, TRI_MSG_PREFETCH, TRI_MSG_PREFETCHED, TRI_MSG_TRACE_REQUEST,
  TRI_MSG_TRACE, TRI_MSG_FOLLOW, TRI_MSG_JOBS_REQUEST, TRI_MSG_JOBS, TRI_MSG_FORGET, TRI_MSG_KINDS
} tri_msg_kind;

typedef struct tri_msg {
  tri_msg_kind kind;
  union {
    tri_msg_hello hello;
    struct { uint32_t heartbeat_ms; } welcome;
    tri_msg_refuse refuse;
    tri_msg_assign assign;
    tri_msg_bound bound;
    tri_msg_connect connect;
    struct { uint32_t epoch; } ready;
    tri_msg_open open;
    tri_msg_step step;
    tri_msg_result result;
    tri_msg_heartbeat heartbeat;
    tri_msg_fault fault;
    tri_msg_stop stop;
    tri_msg_submit submit;
    tri_msg_accepted accepted;
    tri_msg_tokens tokens;
    tri_msg_done done;
    struct { uint64_t job; } cancel, forget;
    struct { uint64_t job; uint32_t from; } follow;
    struct { uint64_t after, job; uint32_t limit; } jobs_request;
    struct { uint32_t protocol; } status_request;
    struct { char none; } status, trace; /* all is in the payload */
    struct { uint32_t protocol; tri_trace_action action; uint64_t after; } trace_request;
    tri_msg_knock knock;
    struct { char none; } model, holds, leave, jobs; /* likewise; of leave there is none */
    tri_msg_need need;
    tri_msg_source source;
    tri_msg_admit admit;
    tri_msg_want want;
    tri_msg_ping ping;
    tri_msg_pong pong;
    tri_msg_chunk chunk;
    tri_msg_enrol enrol;
    tri_msg_enrolled enrolled;
    struct { char name[TRI_MAX_NAME]; bool undo; } drain;
    struct { char text[TRI_MAX_TEXT]; } draining;
    struct { uint32_t id; } prefetch; /* its parts are the payload */
    struct { uint32_t id; int32_t status; char text[TRI_MAX_TEXT]; } prefetched;
  };
} tri_msg;

const char *tri_msg_kind_name(tri_msg_kind kind); /* "step" */
const char *tri_done_reason_name(tri_done_reason reason); /* "length" */
/* Append the envelope's bytes to *out. TRI_E_LIMIT naming the field if one breaks a limit (our own bug or a caller's). Texts
 * for people (refuse.text, fault.text, need.text, done.error, failure.text, chunk.error) always pass: control characters in them become '?'. */
TRI_MUST_CHECK tri_status tri_codec_encode(const tri_msg *m, tri_buf *out, tri_error *err);
/* TRI_E_PROTOCOL naming the message and the field on anything malformed; *out is then unspecified. Strings are
 * NUL-terminated within their size and free of control characters, but for stops, which may hold newlines. Left to the
 * rooms above: protocol, wire, kv_type, sampling, status codes and whatever depends on state. */
TRI_MUST_CHECK tri_status tri_codec_decode(const uint8_t *bytes, size_t len, tri_msg *out, tri_error *err);

#endif
