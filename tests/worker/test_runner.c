/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "engine/need.h"
#include "engine/sampler.h"
#include "engine/single.h"
#include "worker/measure.h"
#include "worker/runner.h"

#include <poll.h>
#include <stdlib.h>

#define MODEL TRIREME_SOURCE "/models/story-bitnet.gguf"
enum { CONTEXT = 64, MAX_ROWS = 32, BLOCKS = 3, N = 30, CUT = 5, WAIT_MS = 120000 };

static tri_error err;
static tri_single single;
static tri_shard_source source; /* the same model file, as a worker's */
static tri_parts *parts;
static const tri_shape *shape;
static tri_runner *first, *last; /* layers [0, CUT) and the rest */
static uint64_t memory = 1ull << 40;

static tri_runner *start_runner(void) {
  tri_pool *pool;
  tri_runner *r;
  assert_ok(tri_pool_create(&pool, 1, &err), err);
  assert_ok(tri_runner_create(&r, &source, single.kernels, pool, memory, &err), err);
  tri_runner_expect(r, 1);
  return r;
}

static int open_model(void **state) {
  (void)state;
  tri_single_options o = {.threads = 1, .context = CONTEXT, .max_rows = MAX_ROWS, .kv_type = TRI_F16};
  if (tri_single_open(&single, MODEL, &o, &err) != TRI_OK) return print_error("%s\n", err.text), -1;
  const tri_gguf *g = tri_model_gguf(single.model);
  if (tri_parts_open(&parts, g, &err) != TRI_OK || tri_manifest_make(&source.manifest, parts, g, NULL, NULL, &err) != TRI_OK) return -1;
  source.local = g, source.local_parts = parts;
  shape = tri_model_shape(single.model);
  first = start_runner(), last = start_runner();
  return 0;
}
static int close_model(void **state) {
  (void)state;
  tri_runner_destroy(&first);
  tri_runner_destroy(&last);
  tri_manifest_free(&source.manifest);
  tri_parts_close(&parts);
  tri_single_close(&single);
  return 0;
}

static tri_task *do_task(tri_runner *r, tri_task *t) {
  assert_int_equal(tri_runner_put(r, t), TRI_OK);
  struct pollfd p = {.fd = tri_runner_fd(r), .events = POLLIN};
  assert_int_equal(poll(&p, 1, WAIT_MS), 1);
  t = tri_runner_take(r);
  assert_non_null(t);
  return t;
}

static tri_msg_assign part_of(bool head) {
  return (tri_msg_assign){.epoch = 1, .stage = head, .stages = 2, .first = head ? CUT : 0, .last = head ? (uint32_t)shape->n_layers : CUT,
                          .embed = !head, .head = head, .slots = 2, .context = CONTEXT, .max_rows = MAX_ROWS, .wire = TRI_WIRE_F32,
                          .kv_type = TRI_F16, .kv_blocks = BLOCKS};
}

static tri_status load(tri_runner *r, const tri_msg_assign *a) {
  tri_task *t = tri_task_new(TRI_TASK_LOAD, a->epoch);
  t->assign = *a;
  t = do_task(r, t);
  tri_status status = t->status;
  err = t->err;
  if (status == TRI_OK) { /* exactly what the plan counts with */
    tri_stage_spec spec = {.first = (int32_t)a->first, .last = (int32_t)a->last, .embed = a->embed, .head = a->head,
                           .slots = (int32_t)a->slots, .context = (int32_t)a->context, .max_rows = (int32_t)a->max_rows,
                           .blocks = (int32_t)a->kv_blocks, .kv_type = (tri_ftype)a->kv_type, .tune = &single.tune};
    assert_int_equal(t->stage_bytes, tri_need_bytes(single.model, &spec, 1));
  }
  tri_task_free(&t);
  return status;
}

static int load_both(void **state) {
  (void)state;
  tri_msg_assign a = part_of(false), b = part_of(true);
  return load(first, &a) == TRI_OK && load(last, &b) == TRI_OK ? 0 : -1;
}

static void tokens_of(int32_t out[N]) {
  for (int i = 0; i < N; i++) out[i] = (i * 577 + 13) % shape->vocab;
}

/* Numbered as a coordinator does. A sequence's first run maps a block for it, which is not its slot's number. */
static tri_msg_step make_step(uint32_t pos, uint32_t n, tri_want want, int32_t next) {
  static uint64_t steps;
  int32_t tokens[N];
  tokens_of(tokens);
  tri_msg_step m = {.epoch = 1, .id = ++steps, .n_runs = 1, .n_rows = n};
  m.runs[0] = (tri_run){.slot = 1, .pos = pos, .count = n, .want = want, .next = next};
  memcpy(m.tokens, tokens + pos, n * sizeof *tokens);
  if (pos == 0) m.runs[0].n_blocks = m.n_blocks = 1, m.blocks[0] = BLOCKS - 1;
  return m;
}

/* Through both stages; the last one's task, for the caller to free. */
static tri_task *pass(const tri_msg_step *m, const tri_sampler_params *opens) {
  tri_task *t = tri_task_new(TRI_TASK_STEP, 1);
  t->step = *m;
  t = do_task(first, t);
  assert_ok(t->status, t->err);
  tri_task *u = tri_task_new(TRI_TASK_STEP, 1);
  u->step = *m;
  u->payload = t->out, u->payload_len = t->out_len;
  t->out = NULL;
  tri_task_free(&t);
  if (opens) {
    u->opens = malloc(sizeof *u->opens);
    u->opens[0] = (tri_opening){.open = {.epoch = 1, .slot = m->runs[0].slot, .sampling = *opens}};
    u->n_opens = 1;
  }
  u = do_task(last, u);
  assert_ok(u->status, u->err);
  return u;
}

static float *reference_logits(void) {
  int32_t tokens[N];
  tokens_of(tokens);
  float *logits = malloc((size_t)N * (size_t)shape->vocab * sizeof *logits);
  assert_ok(tri_single_feed_all(&single, 0, 0, tokens, N, logits, &err), err);
  return logits;
}

static void logits_over_two_stages_are_the_engines_bit_for_bit(void **state) {
  (void)state;
  float *want = reference_logits();
  size_t row = (size_t)shape->vocab * sizeof *want;
  const uint32_t cuts[] = {0, 11, 12, N};
  for (int i = 0; i < 3; i++) {
    uint32_t n = cuts[i + 1] - cuts[i];
    tri_msg_step m = make_step(cuts[i], n, TRI_WANT_LOGITS, -1);
    tri_task *t = pass(&m, NULL);
    assert_int_equal(t->out_len, n * row);
    assert_memory_equal(t->out, (uint8_t *)want + cuts[i] * row, n * row);
    assert_int_equal(t->result.n_tokens + t->result.n_logprobs, 0);
    tri_task_free(&t);
  }
  free(want);
}

static void scores_are_the_following_tokens_logprobs(void **state) {
  (void)state;
  float *want = reference_logits();
  int32_t tokens[N];
  tokens_of(tokens);
  tri_sampler *sampler;
  assert_ok(tri_sampler_create(&sampler, (size_t)shape->vocab, single.kernels, &err), err);
  for (int with_next = 0; with_next < 2; with_next++) {
    tri_msg_step m = make_step(0, N - 1, TRI_WANT_SCORE, with_next ? tokens[N - 1] : -1);
    tri_task *t = pass(&m, NULL);
    assert_int_equal(t->result.n_logprobs, N - 2 + with_next);
    assert_null(t->out);
    for (uint32_t i = 0; i < t->result.n_logprobs; i++) {
      float logprob = tri_sampler_logprob(sampler, want + i * (size_t)shape->vocab, tokens[i + 1]);
      assert_memory_equal(&t->result.logprobs[i], &logprob, sizeof logprob);
    }
    tri_task_free(&t);
  }
  tri_sampler_destroy(&sampler);
  free(want);
}

static void samples_see_the_history_of_their_slot(void **state) {
  (void)state;
  float *want = reference_logits();
  int32_t tokens[N];
  tokens_of(tokens);
  tri_sampler *sampler;
  assert_ok(tri_sampler_create(&sampler, (size_t)shape->vocab, single.kernels, &err), err);
  tri_sampler_params params = {.temperature = 1.3f, .top_p = 1, .repeat_penalty = 3, .repeat_last = 64, .seed = 99};
  tri_msg_step m = make_step(0, N - 4, TRI_WANT_NONE, -1);
  tri_task *t = pass(&m, &params);
  assert_int_equal(t->result.n_tokens + t->result.n_logprobs, 0);
  tri_task_free(&t);
  for (uint32_t i = N - 4; i < N; i++) {
    m = make_step(i, 1, TRI_WANT_SAMPLE, -1);
    t = pass(&m, NULL);
    tri_sample s = tri_sampler_pick(sampler, &params, NULL, want + i * (size_t)shape->vocab, tokens, i + 1, i + 1);
    assert_int_equal(t->result.n_tokens, 1);
    assert_int_equal(t->result.tokens[0], s.token);
    assert_memory_equal(&t->result.logprobs[0], &s.logprob, sizeof s.logprob);
    tri_task_free(&t);
  }
  tri_sampler_destroy(&sampler);
  free(want);
}

static tri_opening opening_with(uint32_t prompt, const char *grammar) {
  return (tri_opening){.open = {.epoch = 1, .slot = 1, .prompt = prompt, .sampling = {.top_p = 1, .repeat_penalty = 1}},
                       .payload = (uint8_t *)strdup(grammar), .payload_len = strlen(grammar)};
}

/* A step for the last stage that begins a sequence, through both; the last one's task. */
static tri_task *open_and_sample(uint32_t rows, tri_opening opening) {
  tri_msg_step m = make_step(0, rows, TRI_WANT_SAMPLE, -1);
  tri_task *t = tri_task_new(TRI_TASK_STEP, 1), *u = tri_task_new(TRI_TASK_STEP, 1);
  t->step = u->step = m;
  t = do_task(first, t);
  assert_ok(t->status, t->err);
  u->payload = t->out, u->payload_len = t->out_len, t->out = NULL;
  tri_task_free(&t);
  u->opens = malloc(sizeof *u->opens);
  u->opens[0] = opening, u->n_opens = 1;
  u = do_task(last, u);
  assert_ok(u->status, u->err);
  return u;
}

static void answers_follow_the_grammar_that_came_with_the_open(void **state) {
  (void)state;
  const tri_tokenizer *t = tri_model_tokenizer(single.model);
  tri_task *u = open_and_sample(4, opening_with(4, "root ::= \"Q\" | \"Z\""));
  tri_str piece = tri_tokenizer_piece(t, u->result.tokens[0], false);
  assert_int_equal(u->result.n_tokens, 1);
  assert_true(piece.len == 1 && (*piece.data == 'Q' || *piece.data == 'Z'));
  int32_t answer = u->result.tokens[0];
  tri_task_free(&u);
  tri_msg_step m = make_step(4, 1, TRI_WANT_SAMPLE, -1); /* with the token before it fed, the answer is over */
  m.tokens[0] = answer;
  u = pass(&m, NULL);
  assert_true(tri_tokenizer_is_end(t, u->result.tokens[0]));
  tri_task_free(&u);
  /* what can't be done is told in the result, and the stage goes on */
  static const struct { uint32_t prompt; const char *grammar, *part; } cases[] = {
      {4, "root ::= root", "can never end"}, {9, "root ::= \"Q\"", "the answer begins after 9"}, {3, "root ::= \"Q\"", "does not follow"}};
  for (int i = 0; i < 3; i++) {
    u = open_and_sample(4, opening_with(cases[i].prompt, cases[i].grammar));
    assert_int_equal(u->result.n_tokens + u->result.n_logprobs, 0);
    assert_int_equal(u->result.n_failures, 1);
    const tri_failure *failure = &u->result.failures[0];
    if (!strstr(failure->text, cases[i].part)) fail_msg("'%s' lacks '%s'", failure->text, cases[i].part);
    tri_task_free(&u);
  }
  m = make_step(0, 2, TRI_WANT_SCORE, -1);
  u = pass(&m, NULL);
  assert_int_equal(u->result.n_logprobs, 1);
  assert_int_equal(u->result.n_failures, 0);
  tri_task_free(&u);
}

static void refused(tri_runner *r, tri_msg_step m, size_t payload_len, const char *part) {
  tri_task *t = tri_task_new(TRI_TASK_STEP, 1);
  t->step = m;
  t->payload_len = payload_len;
  t->payload = payload_len ? calloc(1, payload_len) : NULL;
  t = do_task(r, t);
  assert_fails(t->status, TRI_E_PROTOCOL, t->err, part);
  tri_task_free(&t);
}

static void wild_steps_are_refused_before_they_run(void **state) {
  (void)state;
  size_t row = tri_wire_row_bytes(TRI_WIRE_F32, (size_t)shape->d);
  tri_msg_step m = make_step(0, 4, TRI_WANT_NONE, -1);
  refused(first, m, 4 * row, "a step of 4 rows with 8192 bytes, not 0");
  refused(last, m, 0, "0 bytes, not 8192");
  refused(last, m, 4 * row - 1, "8191 bytes");
  refused(last, m, 4 * row + 1, "8193 bytes");
  refused(last, m, 5 * row, "not 8192");
  m.runs[0].slot = 2;
  refused(last, m, 4 * row, "slot 2 of 2");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.runs[0].pos = CONTEXT - 3;
  refused(last, m, 4 * row, "position 64 of 64");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.tokens[2] = shape->vocab;
  refused(first, m, 0, "token");
  m = make_step(0, 4, TRI_WANT_SCORE, shape->vocab);
  refused(last, m, 4 * row, "a score of token");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.n_rows = m.runs[0].count = MAX_ROWS + 1;
  refused(last, m, (MAX_ROWS + 1) * row, "at most 32 were agreed");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.blocks[0] = BLOCKS;
  refused(last, m, 4 * row, "KV block number 3 of 3");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.n_blocks = m.runs[0].n_blocks = 2;
  refused(last, m, 4 * row, "2 KV blocks from 0 on, the context has 1");
  m = make_step(0, 4, TRI_WANT_NONE, -1), m.runs[0].slot = 0, m.runs[0].n_blocks = m.n_blocks = 0;
  refused(last, m, 4 * row, "position 0 of slot 0 has no KV block");
  m.runs[0].n_blocks = m.n_blocks = 1, m.runs[0].first_block = 1;
  refused(last, m, 4 * row, "KV block 1 comes after 0");
}

/* One that was refused has not been; one that ran is not run again, nor is one before it. */
static void steps_out_of_turn_are_refused(void **state) {
  (void)state;
  size_t row = tri_wire_row_bytes(TRI_WIRE_F32, (size_t)shape->d);
  tri_msg_step before = make_step(0, 4, TRI_WANT_NONE, -1), m = make_step(0, 4, TRI_WANT_NONE, -1);
  refused(last, m, 4 * row - 1, "8191 bytes");
  tri_task *t = pass(&m, NULL);
  tri_task_free(&t);
  char text[64];
  snprintf(text, sizeof text, "step %d comes after step %d", (int)m.id, (int)m.id);
  refused(last, m, 4 * row, text);
  snprintf(text, sizeof text, "step %d comes after step %d", (int)before.id, (int)m.id);
  refused(last, before, 4 * row, text);
}

static void stale_steps_are_passed_over(void **state) {
  (void)state;
  tri_task *t = tri_task_new(TRI_TASK_STEP, 9);
  t->step = make_step(0, 1, TRI_WANT_NONE, -1);
  t = do_task(first, t);
  assert_int_equal(t->status, TRI_E_CANCELLED);
  tri_task_free(&t);
  t = do_task(first, tri_task_new(TRI_TASK_DROP, 1));
  tri_task_free(&t);
  t = tri_task_new(TRI_TASK_STEP, 1);
  t->step = make_step(0, 1, TRI_WANT_NONE, -1);
  t = do_task(first, t);
  assert_int_equal(t->status, TRI_E_CANCELLED);
  tri_task_free(&t);
}

static void wild_assignments_are_refused(void **state) {
  (void)state;
  tri_msg_assign a = part_of(true);
  a.last++;
  assert_fails(load(last, &a), TRI_E_INVALID, err, "of a model with 12");
  a = part_of(true), a.head = false;
  assert_fails(load(last, &a), TRI_E_INVALID, err, "wrong ends");
  a = part_of(true), a.context = 1 << 20;
  assert_fails(load(last, &a), TRI_E_INVALID, err, "context of 1048576");
  a = part_of(true), a.wire = 9;
  assert_fails(load(last, &a), TRI_E_UNSUPPORTED, err, "wire type 9");
  a = part_of(true), a.kv_type = TRI_BF16;
  assert_fails(load(last, &a), TRI_E_UNSUPPORTED, err, "KV type 2");
  a = part_of(true), a.slots = INT32_MAX; /* a size that overflows is no small one */
  assert_fails(load(last, &a), TRI_E_LIMIT, err, "the stage needs");
  a = part_of(true), a.slots = UINT32_MAX;
  assert_fails(load(last, &a), TRI_E_LIMIT, err, "the stage needs");
  a = part_of(true), a.kv_blocks = INT32_MAX;
  assert_fails(load(last, &a), TRI_E_LIMIT, err, "the stage needs");
  memory = 1 << 20;
  tri_runner *small = start_runner();
  a = part_of(true);
  assert_fails(load(small, &a), TRI_E_LIMIT, err, "this worker may use 1.0 MB");
  tri_runner_destroy(&small);
}

static void tasks_are_bounded_and_die_with_the_runner(void **state) {
  (void)state;
  memory = 1ull << 40;
  tri_runner *r = start_runner();
  for (int i = 0; i < TRI_RUNNER_TASKS; i++) assert_int_equal(tri_runner_put(r, tri_task_new(TRI_TASK_DROP, 1)), TRI_OK);
  tri_task *t = tri_task_new(TRI_TASK_DROP, 1);
  assert_int_equal(tri_runner_put(r, t), TRI_E_BUSY);
  tri_task_free(&t);
  tri_runner_destroy(&r);
}

static void it_measures_itself(void **state) {
  (void)state;
  tri_measure m;
  assert_ok(tri_measure_model(&m, single.model, single.kernels, single.pool, &single.tune, 1 << 30, &err), err);
  assert_true(m.layer_us >= 1 && m.head_us >= 1 && m.layer_rows_us > m.layer_us && m.head_rows_us > m.head_us);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(logits_over_two_stages_are_the_engines_bit_for_bit, load_both),
      cmocka_unit_test_setup(scores_are_the_following_tokens_logprobs, load_both),
      cmocka_unit_test_setup(samples_see_the_history_of_their_slot, load_both),
      cmocka_unit_test_setup(answers_follow_the_grammar_that_came_with_the_open, load_both),
      cmocka_unit_test_setup(wild_steps_are_refused_before_they_run, load_both),
      cmocka_unit_test_setup(steps_out_of_turn_are_refused, load_both),
      cmocka_unit_test_setup(stale_steps_are_passed_over, load_both),
      cmocka_unit_test(wild_assignments_are_refused),
      cmocka_unit_test(tasks_are_bounded_and_die_with_the_runner),
      cmocka_unit_test(it_measures_itself),
  };
  return cmocka_run_group_tests(tests, open_model, close_model);
}
