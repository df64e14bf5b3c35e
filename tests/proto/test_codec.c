/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "tests/proto/samples.h"

#include <stdlib.h>

static tri_error err;
static tri_msg in, out, again;
static tri_buf bytes, bytes2, bytes3;

/* decode(encode(in)) is in, down to the padding: decode starts from zeros */
static void round_trip(void) {
  tri_buf_clear(&bytes);
  assert_ok(tri_codec_encode(&in, &bytes, &err), err);
  assert_true(bytes.len <= TRI_MAX_ENVELOPE);
  assert_ok(tri_codec_decode(bytes.data, bytes.len, &out, &err), err);
  assert_memory_equal(&in, &out, sizeof in);
}

static void every_kind_round_trips(void **state) {
  (void)state;
  for (tri_msg_kind kind = 0; kind < TRI_MSG_KINDS; kind++) {
    sample_largest(&in, kind);
    round_trip();
    for (uint64_t seed = 1; seed <= 300; seed++) {
      uint64_t random = seed * 7919 + kind;
      sample_message(&in, kind, &random);
      round_trip();
    }
  }
}

static void kinds_have_names(void **state) {
  (void)state;
  assert_string_equal(tri_msg_kind_name(TRI_MSG_HELLO), "hello");
  assert_string_equal(tri_msg_kind_name(TRI_MSG_STATUS), "status");
  assert_string_equal(tri_msg_kind_name(TRI_MSG_KINDS), "unknown");
  for (tri_msg_kind kind = 0; kind < TRI_MSG_KINDS; kind++) assert_non_null(tri_msg_kind_name(kind));
}

/* What decodes must encode again, and from then on to the same bytes. (Its values may differ once: -0 is sent as 0.) */
static void try_bytes(const uint8_t *data, size_t len) {
  uint8_t *exact = malloc(len ? len : 1); /* so that a sanitizer sees any over-read */
  memcpy(exact, data, len);
  if (tri_codec_decode(exact, len, &out, &err) == TRI_OK) {
    tri_buf_clear(&bytes2);
    assert_ok(tri_codec_encode(&out, &bytes2, &err), err);
    assert_ok(tri_codec_decode(bytes2.data, bytes2.len, &again, &err), err);
    tri_buf_clear(&bytes3);
    assert_ok(tri_codec_encode(&again, &bytes3, &err), err);
    assert_int_equal(bytes2.len, bytes3.len);
    assert_memory_equal(bytes2.data, bytes3.data, bytes2.len);
  } else {
    assert_int_equal(err.status, TRI_E_PROTOCOL);
    assert_true(err.text[0] != 0);
  }
  free(exact);
}

static void mutated_bytes_fail_or_stay_consistent(void **state) {
  (void)state;
  uint64_t random = 20240601;
  for (int round = 0; round < 60000; round++) {
    sample_message(&in, (tri_msg_kind)(test_random(&random) % TRI_MSG_KINDS), &random);
    tri_buf_clear(&bytes);
    assert_ok(tri_codec_encode(&in, &bytes, &err), err);
    tri_buf_append(&bytes, "\0\0\0", 3); /* so that it also grows */
    size_t len = bytes.len - test_random(&random) % 4;
    for (uint64_t n = 1 + test_random(&random) % 4; n > 0; n--) {
      uint64_t where = test_random(&random);
      /* mostly near the front, where the structure is */
      bytes.data[(where & 1 ? where >> 8 : (where >> 8) % 24) % bytes.len] = (uint8_t)(test_random(&random) >> 16);
    }
    if (test_random(&random) % 8 == 0) len = test_random(&random) % (len + 1);
    try_bytes(bytes.data, len);
  }
}

/* ---- Limits ---- */

#define REFUSED(KIND, change, text)                                                                          \
  do {                                                                                                       \
    uint64_t seed_ = 5;                                                                                      \
    sample_message(&in, KIND, &seed_);                                                                       \
    change;                                                                                                  \
    tri_buf_clear(&bytes);                                                                                   \
    assert_fails(tri_codec_encode(&in, &bytes, &err), TRI_E_LIMIT, err, text);                               \
    assert_int_equal(bytes.len, 0);                                                                          \
  } while (0)

static void encode_refuses_texts_beyond_the_limits(void **state) {
  (void)state;
  REFUSED(TRI_MSG_HELLO, memset(in.hello.version, 'x', sizeof in.hello.version), "hello.version: too long");
  REFUSED(TRI_MSG_HELLO, memset(in.hello.name, 'x', sizeof in.hello.name), "hello.name");
  REFUSED(TRI_MSG_HELLO, strcpy(in.hello.name, "a\nb"), "hello.name: has a control character");
  REFUSED(TRI_MSG_HELLO, strcpy(in.hello.isa, "\x7f"), "hello.isa");
  REFUSED(TRI_MSG_HELLO, strcpy(in.hello.advertise, "\x01"), "hello.advertise");
  REFUSED(TRI_MSG_CONNECT, in.connect.endpoint[0] = 0, "connect.endpoint: empty");
  REFUSED(TRI_MSG_CONNECT, strcpy(in.connect.endpoint, "tcp://\r"), "connect.endpoint");
  REFUSED(TRI_MSG_SUBMIT, in.submit.n_stops = TRI_MAX_STOPS + 1, "submit.stops: too many");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.n_stops = 1, in.submit.stops[0][0] = 0), "submit.stops");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.n_stops = 1, memset(in.submit.stops[0], 'x', TRI_MAX_STOP)), "submit.stops");
  REFUSED(TRI_MSG_KINDS, (void)0, "no message of kind");
}

static void encode_refuses_numbers_beyond_the_limits(void **state) {
  (void)state;
  REFUSED(TRI_MSG_ASSIGN, in.assign.stages = 0, "assign.stages");
  REFUSED(TRI_MSG_ASSIGN, in.assign.stages = TRI_MAX_STAGES + 1, "assign.stages");
  REFUSED(TRI_MSG_ASSIGN, in.assign.stage = in.assign.stages, "assign.stage");
  REFUSED(TRI_MSG_ASSIGN, (in.assign.first = 2, in.assign.last = 1), "assign.first");
  REFUSED(TRI_MSG_ASSIGN, (in.assign.first = 0, in.assign.last = 1u << 31), "assign.last");
  REFUSED(TRI_MSG_ASSIGN, in.assign.slots = 0, "assign.slots");
  REFUSED(TRI_MSG_ASSIGN, in.assign.slots = 1u << 31, "assign.slots");
  REFUSED(TRI_MSG_ASSIGN, in.assign.context = 0, "assign.context");
  REFUSED(TRI_MSG_ASSIGN, in.assign.context = TRI_MAX_CONTEXT + 1, "assign.context");
  REFUSED(TRI_MSG_ASSIGN, in.assign.max_rows = 0, "assign.max_rows");
  REFUSED(TRI_MSG_ASSIGN, in.assign.max_rows = TRI_MAX_ROWS + 1, "assign.max_rows");
  REFUSED(TRI_MSG_ASSIGN, in.assign.kv_blocks = 0, "assign.kv_blocks");
  REFUSED(TRI_MSG_ASSIGN, in.assign.kv_blocks = 1u << 31, "assign.kv_blocks");
  REFUSED(TRI_MSG_BOUND, in.bound.port = 65536, "bound.port");
  REFUSED(TRI_MSG_OPEN, in.open.slot = 1u << 31, "open.slot");
  REFUSED(TRI_MSG_SUBMIT, in.submit.want = TRI_WANT_COUNT, "submit.want");
  REFUSED(TRI_MSG_DONE, in.done.reason = TRI_DONE_COUNT, "done.reason");
  REFUSED(TRI_MSG_SUBMIT, in.submit.priority = TRI_MAX_PRIORITY + 1, "submit.priority");
  REFUSED(TRI_MSG_SUBMIT, in.submit.priority = -TRI_MAX_PRIORITY - 1, "submit.priority");
  REFUSED(TRI_MSG_RESULT, in.result.n_tokens = TRI_MAX_RUNS + 1, "result.tokens: too many");
  REFUSED(TRI_MSG_RESULT, (in.result.n_tokens = 1, in.result.tokens[0] = -1), "result.tokens: not a token");
  REFUSED(TRI_MSG_RESULT, in.result.n_logprobs = TRI_MAX_ROWS + 1, "result.logprobs");
  REFUSED(TRI_MSG_RESULT, in.result.n_failures = TRI_MAX_RUNS + 1, "result.failures: too many");
  REFUSED(TRI_MSG_RESULT, (in.result.n_failures = 2, in.result.failures[1].run = in.result.failures[0].run),
          "result.failures: not in the order");
  REFUSED(TRI_MSG_RESULT, (in.result.n_failures = 1, in.result.failures[0].run = TRI_MAX_RUNS), "result.failures: not in the order");
  REFUSED(TRI_MSG_RESULT, in.result.times.n = TRI_MAX_STAGES + 1, "result.wait_us: too many");
  REFUSED(TRI_MSG_TRACE_REQUEST, in.trace_request.action = TRI_TRACE_ACTIONS, "trace_request.action");
  REFUSED(TRI_MSG_RESULT, in.result.n_top = TRI_MAX_TOP + 1, "result.top_tokens: too many");
  REFUSED(TRI_MSG_OPEN, in.open.sampling.n_bias = TRI_SAMPLER_BIASES + 1, "open.bias_tokens: too many");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.sampling.n_bias = 1, in.submit.sampling.bias_tokens[0] = -1), "submit.bias_tokens: not a token");
  REFUSED(TRI_MSG_SUBMIT, in.submit.n_stop_tokens = TRI_MAX_STOP_TOKENS + 1, "submit.stop_tokens: too many");
  REFUSED(TRI_MSG_SUBMIT, in.submit.grammar = TRI_LANG_COUNT, "submit.grammar: unknown");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.grammar = TRI_LANG_GBNF, in.submit.grammar_bytes = 0), "submit.grammar_bytes: a grammar without");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.grammar = TRI_LANG_NONE, in.submit.grammar_bytes = 1), "submit.grammar_bytes: a grammar without");
  REFUSED(TRI_MSG_SUBMIT, (in.submit.grammar = TRI_LANG_GBNF, in.submit.grammar_bytes = TRI_GRAMMAR_BYTES + 1),
          "submit.grammar_bytes: too many");
  REFUSED(TRI_MSG_TOKENS, in.tokens.n_tokens = TRI_MAX_RUNS + 1, "tokens.tokens");
  REFUSED(TRI_MSG_TOKENS, in.tokens.n_logprobs = TRI_MAX_ROWS + 1, "tokens.logprobs");
}

static void encode_refuses_steps_that_do_not_add_up(void **state) {
  (void)state;
  REFUSED(TRI_MSG_STEP, in.step.n_runs = 0, "step.runs");
  REFUSED(TRI_MSG_STEP, in.step.n_runs = TRI_MAX_RUNS + 1, "step.runs");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].count = 0, "step.tokens");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].count = TRI_MAX_ROWS + 1, "step.tokens");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].count = UINT32_MAX, "step.tokens");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].row = 1, "step.row");
  REFUSED(TRI_MSG_STEP, in.step.n_rows++, "step.n_rows");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].slot = 1u << 31, "step.slot");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].pos = TRI_MAX_CONTEXT, "step.pos");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].pos = UINT32_MAX, "step.pos");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].want = TRI_WANT_COUNT, "step.want");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].next = -2, "step.next");
  REFUSED(TRI_MSG_STEP, (in.step.runs[0].want = TRI_WANT_SAMPLE, in.step.runs[0].next = 3), "step.next: only for a score");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].n_blocks = TRI_MAX_BLOCKS + 1, "step.blocks: too many");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].n_blocks = UINT32_MAX, "step.blocks: too many");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].block = 1, "step.row");
  REFUSED(TRI_MSG_STEP, in.step.runs[0].first_block = TRI_MAX_CONTEXT + 1, "step.first_block");
  REFUSED(TRI_MSG_STEP, in.step.n_blocks++, "step.n_blocks");
  REFUSED(TRI_MSG_STEP, (in.step.trace = true, in.step.times.n = TRI_MAX_STAGES + 1), "step.wait_us: too many");
  REFUSED(TRI_MSG_STEP, (in.step.trace = false, in.step.times.n = 1), "step.wait_us: only in a step that is traced");
  REFUSED(TRI_MSG_STEP, in.step.tokens[0] = -1, "step.tokens: not a token");
}

static void texts_for_people_always_pass(void **state) {
  (void)state;
  memset(&in, 0, sizeof in);
  in.kind = TRI_MSG_FAULT;
  memset(in.fault.text, '\n', sizeof in.fault.text); /* not even terminated */
  tri_buf_clear(&bytes);
  assert_ok(tri_codec_encode(&in, &bytes, &err), err);
  assert_ok(tri_codec_decode(bytes.data, bytes.len, &out, &err), err);
  assert_int_equal(strlen(out.fault.text), TRI_MAX_TEXT - 1);
  assert_int_equal(strspn(out.fault.text, "?"), TRI_MAX_TEXT - 1);
}

/* ---- What a peer may send, written by hand ---- */

static void varint(tri_buf *b, uint64_t v) {
  for (; v >= 128; v >>= 7) tri_buf_byte(b, (uint8_t)(v | 128));
  tri_buf_byte(b, (uint8_t)v);
}
static void number(tri_buf *b, unsigned field, uint64_t v) { varint(b, field << 3), varint(b, v); }
static void block(tri_buf *b, unsigned field, const void *data, size_t len) {
  varint(b, field << 3 | 2), varint(b, len), tri_buf_append(b, data, len);
}

enum { F_HELLO = 1, F_ASSIGN = 4, F_CONNECT = 6, F_OPEN = 8, F_STEP = 9, F_RESULT = 10, F_FAULT = 12, F_SUBMIT = 20, F_DONE = 23 };

/* Wrap the body, decode it, and see it refused with this text. */
static void body_refused(unsigned field, tri_buf *body, const char *text) {
  tri_buf envelope = {0};
  block(&envelope, field, body->data, body->len);
  assert_fails(tri_codec_decode(envelope.data, envelope.len, &out, &err), TRI_E_PROTOCOL, err, text);
  tri_buf_free(&envelope);
  tri_buf_clear(body);
}

static void decode_refuses_what_encode_would(void **state) {
  (void)state;
  tri_buf b = {0}, run = {0};
  char longer[1024];
  memset(longer, 'x', sizeof longer);
  block(&b, 2, longer, TRI_MAX_NAME), body_refused(F_HELLO, &b, "hello.version: too long");
  block(&b, 3, "a\tb", 3), body_refused(F_HELLO, &b, "hello.name: has a control character");
  block(&b, 7, longer, 31), body_refused(F_HELLO, &b, "hello.model_id: wrong length");
  body_refused(F_HELLO, &b, "hello.model_id: wrong length"); /* none */
  block(&b, 13, longer, 33), body_refused(F_ASSIGN, &b, "assign.upstream_key: wrong length");
  body_refused(F_ASSIGN, &b, "assign.stages");
  block(&b, 2, longer, TRI_MAX_ENDPOINT), body_refused(F_CONNECT, &b, "connect.endpoint: too long");
  number(&b, 1, 1), body_refused(F_OPEN, &b, "open.sampling: missing");
  block(&b, 3, longer, TRI_MAX_TEXT), body_refused(F_FAULT, &b, "fault.text: too long");
  block(&b, 3, "\n", 1), body_refused(F_FAULT, &b, "fault.text: has a control");
  number(&b, 2, 99), body_refused(F_DONE, &b, "done.reason");
  body_refused(F_SUBMIT, &b, "submit.sampling: missing");
  for (int i = 0; i <= TRI_MAX_STOPS; i++) block(&b, 8, "x", 1);
  block(&b, 7, "", 0), body_refused(F_SUBMIT, &b, "submit.stops: too many");
  block(&b, 7, "", 0), block(&b, 8, longer, TRI_MAX_STOP), body_refused(F_SUBMIT, &b, "submit.stops");
  block(&b, 7, "", 0), block(&b, 8, "", 0), body_refused(F_SUBMIT, &b, "submit.stops");
  for (int i = 0; i <= TRI_MAX_STOP_TOKENS; i++) number(&b, 11, 1);
  block(&b, 7, "", 0), body_refused(F_SUBMIT, &b, "submit.stop_tokens: too many");
  for (int i = 0; i <= TRI_SAMPLER_BIASES; i++) number(&run, 12, 1), varint(&run, 13 << 3 | 5), tri_buf_append(&run, "\0\0\0\0", 4);
  block(&b, 7, run.data, run.len), body_refused(F_SUBMIT, &b, "submit.bias_tokens: too many");
  number(&run, 12, 1), block(&b, 3, run.data, run.len), body_refused(F_OPEN, &b, "open.bias_tokens: not as many");
  tri_buf_clear(&run);
  number(&b, 5, 1), body_refused(F_RESULT, &b, "result.top_tokens: not as many");
  number(&b, 9, 1), body_refused(F_RESULT, &b, "result.compute_us: not as many");
  for (int i = 0; i <= TRI_MAX_STAGES; i++) number(&b, 9, 1), number(&b, 10, 1);
  body_refused(F_RESULT, &b, "result.compute_us: too many");
  for (int i = 0; i <= TRI_MAX_RUNS; i++) number(&b, 3, 1);
  body_refused(F_RESULT, &b, "result.tokens: too many");
  number(&b, 3, 1u << 31), body_refused(F_RESULT, &b, "result.tokens: not a token");
  body_refused(F_STEP, &b, "step.runs");
  block(&b, 3, "", 0), body_refused(F_STEP, &b, "step.tokens: none");
  for (int i = 0; i <= TRI_MAX_ROWS; i++) number(&run, 3, 1);
  block(&b, 3, run.data, run.len), body_refused(F_STEP, &b, "step.tokens: too many");
  tri_buf_clear(&run);
  number(&run, 3, 1);
  for (int i = 0; i <= TRI_MAX_BLOCKS; i++) number(&run, 7, 1);
  block(&b, 3, run.data, run.len), body_refused(F_STEP, &b, "step.blocks: too many");
  tri_buf_clear(&run);
  number(&run, 3, 1);
  for (int i = 0; i <= TRI_MAX_RUNS; i++) block(&b, 3, run.data, run.len);
  body_refused(F_STEP, &b, "step.runs: none or too many");
  number(&run, 4, TRI_WANT_SCORE), number(&run, 5, (1u << 31) + 1u);
  block(&b, 3, run.data, run.len), body_refused(F_STEP, &b, "step.next: not a token");
  tri_buf_free(&run);
  tri_buf_free(&b);
}

static void decode_refuses_what_is_no_envelope(void **state) {
  (void)state;
  assert_fails(tri_codec_decode((const uint8_t *)"", 0, &out, &err), TRI_E_PROTOCOL, err, "without a body");
  assert_fails(tri_codec_decode((const uint8_t *)"\xff", 1, &out, &err), TRI_E_PROTOCOL, err, "not a protobuf");
  assert_fails(tri_codec_decode((const uint8_t *)"\x0a\x7f", 2, &out, &err), TRI_E_PROTOCOL, err, "not a protobuf");
  tri_buf b = {0};
  block(&b, 77, "", 0); /* a kind of a later version */
  assert_fails(tri_codec_decode(b.data, b.len, &out, &err), TRI_E_PROTOCOL, err, "without a body");
  uint8_t *large = calloc(1, TRI_MAX_ENVELOPE + 1);
  assert_fails(tri_codec_decode(large, TRI_MAX_ENVELOPE + 1, &out, &err), TRI_E_PROTOCOL, err, "an envelope of");
  free(large);
  tri_buf_free(&b);
}

static int free_buffers(void **state) {
  (void)state;
  tri_buf_free(&bytes);
  tri_buf_free(&bytes2);
  tri_buf_free(&bytes3);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_round_trips),
      cmocka_unit_test(kinds_have_names),
      cmocka_unit_test(mutated_bytes_fail_or_stay_consistent),
      cmocka_unit_test(encode_refuses_texts_beyond_the_limits),
      cmocka_unit_test(encode_refuses_numbers_beyond_the_limits),
      cmocka_unit_test(encode_refuses_steps_that_do_not_add_up),
      cmocka_unit_test(texts_for_people_always_pass),
      cmocka_unit_test(decode_refuses_what_encode_would),
      cmocka_unit_test(decode_refuses_what_is_no_envelope),
  };
  return cmocka_run_group_tests(tests, NULL, free_buffers);
}
