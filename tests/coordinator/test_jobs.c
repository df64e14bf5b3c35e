/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/jobs.h"

#include <stdlib.h>
#include "engine/model.h"

enum { VOCAB = 100, CONTEXT = 16, RETRIES = 4 };

static const tri_jobs_limits limits = {.retries = RETRIES};
static tri_jobs jobs;
static tri_job *job;
static tri_error err;
static uint32_t ahead;

static int start(void **state) {
  (void)state;
  tri_jobs_init(&jobs, NULL, CONTEXT, VOCAB, &limits);
  return 0;
}
static int stop(void **state) {
  (void)state;
  tri_jobs_free(&jobs);
  return 0;
}

static tri_msg_submit request(tri_want want) {
  return (tri_msg_submit){.protocol = TRI_PROTOCOL, .ids = true, .want = want, .predict = 4, .sampling = {.top_p = 1, .repeat_penalty = 1}};
}

static tri_status submit(const tri_msg_submit *m, const int32_t *ids, size_t n) {
  tri_incoming from = {.payload = (const uint8_t *)ids, .payload_len = n * sizeof *ids};
  return tri_jobs_submit(&jobs, m, &from, 10, &job, &ahead, &err);
}

static const int32_t some[CONTEXT + 1] = {1, 2, 3};

static void refusals_say_what_is_wrong(void **state) {
  (void)state;
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  assert_fails(submit(&m, some, CONTEXT), TRI_E_INVALID, err, "longer than the context of 16 tokens");
  assert_fails(submit(&m, some, CONTEXT + 1), TRI_E_INVALID, err, "longer than the context");
  assert_fails(submit(&m, some, 0), TRI_E_INVALID, err, "at least 1");
  int32_t wild[] = {1, VOCAB};
  assert_fails(submit(&m, wild, 2), TRI_E_INVALID, err, "id 100 at 1");
  m.ids = false;
  assert_fails(submit(&m, some, 1), TRI_E_UNSUPPORTED, err, "no tokenizer");
  m = request(TRI_WANT_SAMPLE), m.predict = 0;
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "predict");
  m = request(TRI_WANT_SAMPLE), m.sampling.temperature = -1;
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "temp");
  m = request(TRI_WANT_SAMPLE), m.sampling.n_bias = 1, m.sampling.bias_tokens[0] = VOCAB;
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "a logit bias for token 100");
  m = request(TRI_WANT_SAMPLE), m.n_stop_tokens = 1, m.stop_tokens[0] = VOCAB;
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "stop_tokens: 100");
  m = request(TRI_WANT_SCORE);
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "at least 2");
  m = request(TRI_WANT_NONE);
  assert_fails(submit(&m, some, 1), TRI_E_INVALID, err, "want");
  m = request(TRI_WANT_SAMPLE), m.protocol = 9;
  assert_fails(submit(&m, some, 1), TRI_E_PROTOCOL, err, "the client speaks 9");
  tri_incoming odd = {.payload = (const uint8_t *)some, .payload_len = 7};
  m = request(TRI_WANT_SAMPLE);
  assert_fails(tri_jobs_submit(&jobs, &m, &odd, 10, &job, &ahead, &err), TRI_E_INVALID, err, "7 bytes");
  assert_null(jobs.first);
}

static void the_queue_is_bounded_and_in_order(void **state) {
  (void)state;
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  for (uint32_t i = 0; i < TRI_JOBS_MAX; i++) {
    assert_ok(submit(&m, some, 3), err);
    assert_int_equal(ahead, i);
  }
  assert_fails(submit(&m, some, 3), TRI_E_BUSY, err, "the queue is full");
  tri_job *first = tri_jobs_take(&jobs, 20);
  assert_int_equal(first->id, 1);
  tri_jobs_end(&jobs, first, TRI_DONE_CANCELLED, NULL, 30);
  tri_jobs_remove(&jobs, &first);
  assert_ok(submit(&m, some, 3), err);
  tri_job *cancelled = tri_jobs_find(&jobs, 2); /* still queued */
  tri_jobs_end(&jobs, cancelled, TRI_DONE_CANCELLED, NULL, 30);
  tri_jobs_remove(&jobs, &cancelled);
  assert_int_equal(tri_jobs_take(&jobs, 40)->id, 3);
  assert_int_equal(jobs.held_tokens, 3 * (TRI_JOBS_MAX - 1));
}

static void a_job_ends_at_its_length_or_the_contexts(void **state) {
  (void)state;
  tri_buf text = {0};
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  m.predict = 1000;
  assert_ok(submit(&m, some, CONTEXT - 2), err);
  assert_true(tri_jobs_take(&jobs, 20) == job);
  tri_jobs_token(&jobs, job, 5, 30, &text);
  assert_int_equal(job->state, TRI_JOB_RUNNING);
  tri_jobs_token(&jobs, job, 6, 40, &text);
  assert_int_equal(job->state, TRI_JOB_ENDED);
  tri_msg_done done;
  tri_jobs_done(job, &done);
  assert_int_equal(done.reason, TRI_DONE_LENGTH);
  assert_int_equal(done.tokens, 2);
  assert_int_equal(done.prompt_tokens, CONTEXT - 2);
  assert_int_equal(done.queued_us, 10);
  tri_jobs_end(&jobs, job, TRI_DONE_FAILED, "too late", 50); /* a second end changes nothing */
  assert_int_equal(job->reason, TRI_DONE_LENGTH);
  assert_int_equal(jobs.ended_ok, 1);
  tri_buf_free(&text);
}

static void a_stop_token_ends_a_job_and_counts(void **state) {
  (void)state;
  tri_buf text = {0};
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  m.n_stop_tokens = 2, m.stop_tokens[0] = 9, m.stop_tokens[1] = 6, m.ignore_end = true;
  assert_ok(submit(&m, some, 3), err);
  assert_true(tri_jobs_take(&jobs, 20) == job);
  tri_jobs_token(&jobs, job, 5, 30, &text);
  assert_int_equal(job->state, TRI_JOB_RUNNING);
  tri_jobs_token(&jobs, job, 6, 40, &text);
  assert_int_equal(job->state, TRI_JOB_ENDED);
  assert_int_equal(job->reason, TRI_DONE_STOP);
  assert_int_equal(tri_jobs_generated(job), 2);
  tri_buf_free(&text);
}

static void interrupted_jobs_run_first_and_keep_what_they_have(void **state) {
  (void)state;
  tri_buf text = {0};
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  tri_job *jobs_of[3];
  for (int i = 0; i < 3; i++) {
    assert_ok(submit(&m, some, 3), err);
    jobs_of[i] = job;
  }
  assert_true(tri_jobs_take(&jobs, 20) == jobs_of[0] && tri_jobs_take(&jobs, 20) == jobs_of[1]);
  tri_jobs_token(&jobs, jobs_of[0], 5, 30, &text);
  jobs_of[0]->sent = jobs_of[0]->done = 3;
  tri_jobs_interrupt(&jobs, "worker w2 was lost", 40);
  assert_int_equal(jobs.running, 0);
  assert_int_equal(jobs.queued, 3);
  assert_int_equal(jobs_of[0]->sent + jobs_of[0]->done, 0);
  assert_int_equal(tri_jobs_generated(jobs_of[0]), 1);
  for (int i = 0; i < 3; i++) assert_true(tri_jobs_take(&jobs, 50) == jobs_of[i]);
  assert_int_equal(jobs_of[0]->started_us, 20); /* a client's time goes on too */
  assert_int_equal(jobs_of[2]->started_us, 50);
  for (int i = 0; i < 100; i++) { /* changes by plan are held against no one */
    tri_jobs_interrupt(&jobs, NULL, 60);
    assert_true(tri_jobs_take(&jobs, 60) == jobs_of[0]);
  }
  tri_buf_free(&text);
}

/* Whatever ends pipelines, in the end it runs alone, and only it fails. */
static void a_job_that_ends_every_pipeline_fails_alone(void **state) {
  (void)state;
  tri_buf text = {0};
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  tri_job *good, *bad;
  m.predict = 12;
  assert_ok(submit(&m, some, 3), err);
  good = job;
  assert_ok(submit(&m, some, 3), err);
  bad = job;
  int pipelines = 0;
  for (; bad->state != TRI_JOB_ENDED; pipelines++) {
    bool runs_good = tri_jobs_take(&jobs, 20) == good, runs_bad = false;
    for (tri_job *next; (next = tri_jobs_take(&jobs, 20));) runs_bad |= next == bad;
    if (runs_good && !runs_bad) { /* it gets on as long as it is alone */
      tri_jobs_token(&jobs, good, 5, 30, &text);
      tri_jobs_end(&jobs, good, TRI_DONE_CANCELLED, NULL, 30);
      continue;
    }
    tri_jobs_interrupt(&jobs, "worker w2 was lost: its connection ended", 40);
    assert_true(pipelines < 20);
  }
  assert_int_equal(good->reason, TRI_DONE_CANCELLED);
  assert_int_equal(bad->reason, TRI_DONE_FAILED);
  assert_int_equal(pipelines, RETRIES + 2);
  assert_string_equal(bad->error, "5 pipelines in a row ended before it got on; the last: worker w2 was lost: its connection ended");
  assert_int_equal(jobs.running + jobs.queued, 0);
  tri_buf_free(&text);
}

/* What is held back stands in Done, also when it has to be sent a second time; a job counts until it is taken in. */
static void done_can_be_told_twice(void **state) {
  (void)state;
  tri_model *model;
  tri_buf text = {0};
  tri_msg_done done;
  assert_ok(tri_model_open(&model, TRIREME_SOURCE "/models/story-bitnet.gguf", &err), err);
  const tri_tokenizer *t = tri_model_tokenizer(model);
  tri_jobs_init(&jobs, t, 1000, (uint32_t)tri_tokenizer_size(t), &limits);
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  m.n_stops = 1;
  strcpy(m.stops[0], "King Arthur");
  assert_ok(submit(&m, some, 3), err);
  tri_jobs_take(&jobs, 20);
  tri_ids ids = {0};
  assert_ok(tri_tokenizer_encode(t, "King", 4, false, &ids, &err), err);
  for (size_t i = 0; i < ids.len; i++) tri_jobs_token(&jobs, job, ids.data[i], 30, &text);
  assert_int_equal(text.len, 0); /* it may become the stop string */
  tri_jobs_end(&jobs, job, TRI_DONE_CANCELLED, NULL, 40);
  for (int i = 0; i < 2; i++) {
    tri_jobs_done(job, &done);
    assert_int_equal(job->rest.len, 4);
    assert_memory_equal(job->rest.data, "King", 4);
  }
  assert_int_equal(jobs.held, 1);
  tri_jobs_remove(&jobs, &job);
  assert_int_equal(jobs.held, 0);
  tri_ids_free(&ids);
  tri_buf_free(&text);
  tri_jobs_free(&jobs);
  tri_model_close(&model);
}

static tri_status submit_grammar(tri_msg_submit m, tri_lang lang, const char *grammar, size_t len) {
  uint8_t payload[64];
  memcpy(payload, grammar, strlen(grammar));
  memcpy(payload + strlen(grammar), some, 3 * sizeof *some);
  m.grammar = lang, m.grammar_bytes = (uint32_t)len;
  tri_incoming from = {.payload = payload, .payload_len = strlen(grammar) + 3 * sizeof *some};
  return tri_jobs_submit(&jobs, &m, &from, 10, &job, &ahead, &err);
}

static void a_grammar_comes_before_the_prompt_and_is_checked(void **state) {
  (void)state;
  const char *grammar = "root ::= \"a\"";
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  assert_fails(submit_grammar(m, TRI_LANG_GBNF, grammar, strlen(grammar)), TRI_E_UNSUPPORTED, err, "no"); /* no tokenizer, no end */
  jobs.has_end = true;
  assert_ok(submit_grammar(m, TRI_LANG_GBNF, grammar, strlen(grammar)), err);
  assert_int_equal(job->prompt, 3);
  assert_memory_equal(job->tokens.data, some, 3 * sizeof *some);
  assert_string_equal((char *)job->grammar.data, grammar);
  assert_int_equal(jobs.held_grammar_bytes, strlen(grammar));
  assert_fails(submit_grammar(m, TRI_LANG_SCHEMA, grammar, strlen(grammar)), TRI_E_INVALID, err, "the schema is no JSON");
  assert_ok(submit_grammar(m, TRI_LANG_SCHEMA, "{}", 2), err);
  assert_non_null(strstr((char *)job->grammar.data, "root ::= "));
  size_t more = 8 + 3 * sizeof *some + 1;
  assert_fails(submit_grammar(m, TRI_LANG_GBNF, "root ::=", more), TRI_E_INVALID, err, "grammar_bytes: 21, the payload has 20");
  assert_fails(submit_grammar(m, TRI_LANG_GBNF, "roof ::= [a]", 12), TRI_E_INVALID, err, "no rule 'root'");
  m.ignore_end = true;
  assert_fails(submit_grammar(m, TRI_LANG_GBNF, grammar, strlen(grammar)), TRI_E_INVALID, err, "ignore_end");
  m = request(TRI_WANT_SCORE);
  assert_fails(submit_grammar(m, TRI_LANG_GBNF, grammar, strlen(grammar)), TRI_E_INVALID, err, "only what is generated");
  tri_jobs_take(&jobs, 20);
  tri_job *first = tri_jobs_find(&jobs, 1), *second = tri_jobs_find(&jobs, 2);
  tri_jobs_end(&jobs, first, TRI_DONE_CANCELLED, NULL, 30), tri_jobs_end(&jobs, second, TRI_DONE_CANCELLED, NULL, 30);
  tri_jobs_remove(&jobs, &first), tri_jobs_remove(&jobs, &second);
  assert_int_equal(jobs.held_grammar_bytes, 0);
}

static void logits_are_limited_in_bytes(void **state) {
  (void)state;
  tri_jobs_init(&jobs, NULL, 1 << 16, 1 << 20, &limits);
  int32_t *ids = calloc(65, sizeof *ids);
  tri_msg_submit m = request(TRI_WANT_LOGITS);
  assert_fails(submit(&m, ids, 65), TRI_E_LIMIT, err, "logits of 65 tokens");
  assert_ok(submit(&m, ids, 64), err);
  free(ids);
}

static tri_job *of_client(uint8_t client, int32_t priority, uint32_t deadline_ms) {
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  m.priority = priority, m.deadline_ms = deadline_ms;
  tri_incoming from = {.key = {client}, .payload = (const uint8_t *)some, .payload_len = 3 * sizeof *some};
  assert_ok(tri_jobs_submit(&jobs, &m, &from, 1000, &job, &ahead, &err), err);
  return job;
}

static void clients_share_and_priorities_go_first(void **state) {
  (void)state;
  /* one client's crowd does not keep another waiting */
  tri_job *crowd[4], *lone;
  for (int i = 0; i < 4; i++) crowd[i] = of_client(1, 0, 0);
  lone = of_client(2, 0, 0);
  assert_true(tri_jobs_take(&jobs, 20) == crowd[0]);
  assert_true(tri_jobs_take(&jobs, 20) == lone);
  assert_true(tri_jobs_take(&jobs, 20) == crowd[1]);
  /* nor does what can wait */
  tri_job *low = of_client(3, -1, 0), *high = of_client(1, 3, 0);
  assert_int_equal(ahead, 3); /* those that run */
  assert_true(tri_jobs_take(&jobs, 20) == high);
  of_client(4, -1, 0);
  assert_int_equal(ahead, 4 + 3);
  /* who ran before goes before all that did not */
  tri_jobs_interrupt(&jobs, NULL, 30);
  assert_true(tri_jobs_take(&jobs, 40) == crowd[0]);
  assert_true(tri_jobs_take(&jobs, 40) == crowd[1]);
  assert_true(tri_jobs_take(&jobs, 40) == lone);
  assert_true(tri_jobs_take(&jobs, 40) == high);
  assert_true(tri_jobs_take(&jobs, 40) == crowd[2]);
  assert_true(tri_jobs_take(&jobs, 40) == crowd[3]);
  assert_true(tri_jobs_take(&jobs, 40) == low);
}

static void a_client_has_limits(void **state) {
  (void)state;
  jobs.limits.client_held = 3, jobs.limits.client_running = 2;
  for (int i = 0; i < 3; i++) of_client(1, 0, 0);
  tri_msg_submit m = request(TRI_WANT_SAMPLE);
  tri_incoming from = {.key = {1}, .payload = (const uint8_t *)some, .payload_len = 3 * sizeof *some};
  assert_fails(tri_jobs_submit(&jobs, &m, &from, 10, &job, &ahead, &err), TRI_E_BUSY, err, "this client has 3 jobs");
  tri_job *first = tri_jobs_take(&jobs, 20);
  assert_non_null(tri_jobs_take(&jobs, 20));
  assert_null(tri_jobs_take(&jobs, 20));
  tri_job *other = of_client(2, 0, 0);
  assert_true(tri_jobs_take(&jobs, 20) == other);
  tri_jobs_end(&jobs, first, TRI_DONE_CANCELLED, NULL, 30);
  tri_jobs_remove(&jobs, &first);
  assert_non_null(tri_jobs_take(&jobs, 30));
  of_client(1, 0, 0); /* and it may have another */
  /* places of those who have nothing here any more are used again */
  for (uint8_t i = 3; i < 250; i++) {
    tri_job *one = of_client(i, 0, 0);
    tri_jobs_end(&jobs, one, TRI_DONE_CANCELLED, NULL, 30);
    tri_jobs_remove(&jobs, &one);
  }
  uint32_t owners = 0;
  for (uint32_t i = 0; i < TRI_JOBS_MAX; i++) owners += jobs.owners[i].held > 0;
  assert_int_equal(owners, 2);
}

static void deadlines_end_jobs_wherever_they_stand(void **state) {
  (void)state;
  tri_job *runs = of_client(1, 0, 5), *waits = of_client(1, 0, 7), *stays = of_client(1, 0, 0);
  tri_jobs_take(&jobs, 1000);
  tri_jobs_expire(&jobs, 5999);
  assert_int_equal(runs->state, TRI_JOB_RUNNING);
  tri_jobs_expire(&jobs, 6000);
  assert_int_equal(runs->state, TRI_JOB_ENDED);
  assert_int_equal(runs->reason, TRI_DONE_DEADLINE);
  assert_int_equal(waits->state, TRI_JOB_QUEUED);
  tri_jobs_expire(&jobs, 1000000);
  assert_int_equal(waits->reason, TRI_DONE_DEADLINE);
  assert_int_equal(stays->state, TRI_JOB_QUEUED);
  assert_int_equal(jobs.ended_failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(clients_share_and_priorities_go_first, start, stop),
      cmocka_unit_test_setup_teardown(a_client_has_limits, start, stop),
      cmocka_unit_test_setup_teardown(deadlines_end_jobs_wherever_they_stand, start, stop),
      cmocka_unit_test_setup_teardown(refusals_say_what_is_wrong, start, stop),
      cmocka_unit_test_setup_teardown(the_queue_is_bounded_and_in_order, start, stop),
      cmocka_unit_test_setup_teardown(a_job_ends_at_its_length_or_the_contexts, start, stop),
      cmocka_unit_test_setup_teardown(a_stop_token_ends_a_job_and_counts, start, stop),
      cmocka_unit_test_setup_teardown(interrupted_jobs_run_first_and_keep_what_they_have, start, stop),
      cmocka_unit_test_setup_teardown(a_job_that_ends_every_pipeline_fails_alone, start, stop),
      cmocka_unit_test_setup_teardown(done_can_be_told_twice, start, stop),
      cmocka_unit_test_setup_teardown(a_grammar_comes_before_the_prompt_and_is_checked, start, stop),
      cmocka_unit_test_setup_teardown(logits_are_limited_in_bytes, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
