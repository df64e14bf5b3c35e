/* SPDX-License-Identifier: MIT */
/* Workers die, hang and come back; jobs that run go on, with the tokens that they would have had. */
#include "tests/cluster/lab.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "engine/draw.h"
#include "engine/single.h"

enum { PREDICT = 120, WORKERS = 3 };

static const char prompt[] = "Once upon a time there was a little girl who lived in a house by the river, and every morning she went down";
static tri_error err;
static tri_single single;
static tri_ids ids; /* of the prompt, BOS included */

/* Jobs of each kind, in the order in which they are submitted. */
enum { GREEDY, SEEDED, GRAMMAR, STOPPED, SCORED, KINDS };
static const char words[] = "root ::= ([a-z]{1,9} \", \"){40} [a-z]+ \".\"";
static struct kind {
  tri_msg_submit request;
  tri_buf payload;
  lab_job want; /* what comes of it undisturbed */
} kinds[KINDS];

/* --- what it would have been --- */

/* With the engine alone, in this process, as `trireme run` does it. */
static void check_here(const struct kind *k) {
  tri_ids all = {0};
  tri_sampler *sampler;
  tri_lexicon *lexicon = NULL;
  tri_draw draw = {0};
  size_t vocab = (size_t)tri_model_shape(single.model)->vocab, n_top;
  float *row = malloc(vocab * sizeof *row);
  tri_sample s, top[TRI_SAMPLER_TOP];
  assert_ok(tri_sampler_create(&sampler, vocab, single.kernels, &err), err);
  tri_draw_begin(&draw, &k->request.sampling, (uint32_t)ids.len, (const char *)k->payload.data, k->request.grammar_bytes, &lexicon,
                 tri_model_tokenizer(single.model), vocab, 1);
  for (size_t i = 0; i < ids.len; i++) assert_int_equal(tri_ids_push(&all, ids.data[i]), TRI_OK);
  assert_ok(tri_single_feed(&single, 0, 0, all.data, all.len, row, &err), err);
  for (size_t i = 0; i < k->want.ids.len; i++) {
    assert_ok(tri_draw_next(&draw, sampler, vocab, row, all.data, all.len, &s, top, &n_top, &err), err);
    assert_int_equal(s.token, k->want.ids.data[i]);
    assert_memory_equal(&s.logprob, &k->want.logprobs[i], sizeof s.logprob);
    assert_int_equal(tri_ids_push(&all, s.token), TRI_OK);
    assert_ok(tri_single_feed(&single, 0, (int32_t)all.len - 1, &s.token, 1, row, &err), err);
  }
  tri_draw_end(&draw);
  tri_lexicon_destroy(&lexicon);
  tri_sampler_destroy(&sampler);
  tri_ids_free(&all);
  free(row);
}

static void make_kinds(void) {
  const tri_sampler_params lively = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .typical_p = 0.9f, .repeat_penalty = 1.2f,
                                     .frequency_penalty = 0.3f, .presence_penalty = 0.2f, .repeat_last = 40, .seed = 11, .top = 3};
  for (int i = 0; i < KINDS; i++) kinds[i].request = lab_request(i == SCORED ? TRI_WANT_SCORE : TRI_WANT_SAMPLE, PREDICT);
  kinds[GREEDY].request.ignore_end = kinds[SEEDED].request.ignore_end = kinds[STOPPED].request.ignore_end = true;
  kinds[SEEDED].request.sampling = kinds[GRAMMAR].request.sampling = kinds[STOPPED].request.sampling = lively;
  kinds[STOPPED].request.sampling.seed = 5;
  kinds[GRAMMAR].request.grammar = TRI_LANG_GBNF, kinds[GRAMMAR].request.grammar_bytes = sizeof words - 1;
  tri_buf_append(&kinds[GRAMMAR].payload, words, sizeof words - 1);
  for (int i = 0; i < SCORED; i++) tri_buf_append(&kinds[i].payload, prompt, sizeof prompt - 1);
  kinds[SCORED].request.ids = true;
  for (int i = 0; i < 8; i++) tri_buf_append(&kinds[SCORED].payload, ids.data, ids.len * sizeof *ids.data);
}

static void submit(tri_client *c, const struct kind *k) { lab_submit(c, &k->request, k->payload.data, k->payload.len); }

static tri_cluster *start(int workers, int least) {
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = workers, .least = least, .lasting = true, .threads = 1, .wire = TRI_WIRE_F32,
                           .kv_type = TRI_F16, .context = LAB_CONTEXT, .slots = 2, .lost_after_s = 3};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

static int prepare(void **state) {
  if (lab_begin(state) != 0) return -1;
  tri_single_options o = {.threads = 1, .context = LAB_CONTEXT, .kv_type = TRI_F16};
  if (tri_single_open(&single, LAB_MODEL, &o, &err) != TRI_OK) return print_error("%s\n", err.text), -1;
  const tri_tokenizer *t = tri_model_tokenizer(single.model);
  if (tri_tokenizer_adds_bos(t)) assert_int_equal(tri_ids_push(&ids, tri_tokenizer_bos(t)), TRI_OK);
  assert_ok(tri_tokenizer_encode(t, prompt, sizeof prompt - 1, false, &ids, &err), err);
  make_kinds();
  tri_cluster *c = start(1, 0);
  tri_client *client = lab_dial(c);
  for (int i = 0; i < KINDS; i++) {
    struct kind *k = &kinds[i];
    submit(client, k);
    lab_collect(client, &k->want);
    if (k->want.refused) return print_error("%s\n", k->want.refusal), -1;
    if (i == STOPPED) { /* now that it is known what it says */
      memcpy(k->request.stops[k->request.n_stops++], k->want.text.data + k->want.text.len - 40, 6);
      lab_job_free(&k->want);
      submit(client, k);
      lab_collect(client, &k->want);
      assert_int_equal(k->want.done.reason, TRI_DONE_STOP);
    }
    if (i != SCORED) check_here(k);
  }
  tri_client_close(&client);
  tri_cluster_stop(&c);
  return 0;
}

static int clean_up(void **state) {
  for (int i = 0; i < KINDS; i++) {
    tri_buf_free(&kinds[i].payload);
    lab_job_free(&kinds[i].want);
  }
  tri_ids_free(&ids);
  tri_single_close(&single);
  return lab_end(state);
}

/* --- jobs under way --- */

typedef struct way {
  tri_client *client[KINDS];
  lab_job job[KINDS];
  bool over[KINDS];
} way;

static void begin(way *w, const tri_cluster *c) {
  *w = (way){0};
  for (int i = 0; i < KINDS; i++) {
    w->client[i] = lab_dial(c);
    submit(w->client[i], &kinds[i]);
  }
}

/* Until this job has so many log-probabilities, of which each token and each scored row has one. */
static void go_on(way *w, int kind, size_t n) {
  while (!w->over[kind] && w->job[kind].n_logprobs < n) w->over[kind] = lab_take(w->client[kind], &w->job[kind]);
}

/* Each says what it would have said alone: nothing twice, nothing missing, no word of a failure. */
static void finish(way *w) {
  for (int i = 0; i < KINDS; i++) {
    lab_job *got = &w->job[i], *want = &kinds[i].want;
    go_on(w, i, SIZE_MAX);
    if (got->done.reason != want->done.reason) fail_msg("kind %d: %s%s", i, got->refusal, got->done.error);
    assert_int_equal(got->ids.len, want->ids.len);
    if (want->ids.len) assert_memory_equal(got->ids.data, want->ids.data, want->ids.len * sizeof *want->ids.data);
    assert_int_equal(got->n_logprobs, want->n_logprobs);
    assert_memory_equal(got->logprobs, want->logprobs, want->n_logprobs * sizeof *want->logprobs);
    assert_int_equal(got->text.len, want->text.len);
    if (want->text.len) assert_memory_equal(got->text.data, want->text.data, want->text.len);
    assert_int_equal(got->done.tokens, want->done.tokens);
    lab_job_free(got);
    tri_client_close(&w->client[i]);
  }
}

static void signal_worker(const tri_cluster *c, int worker, int number) { assert_int_equal(kill(tri_cluster_pid(c, worker), number), 0); }

/* --- what happens to them --- */

static void each_worker_is_killed_and_comes_back(void **state) {
  (void)state;
  way w;
  tri_cluster *c = start(WORKERS, 0);
  tri_client *client = lab_dial(c);
  begin(&w, c);
  for (int i = 0; i < 2 * WORKERS; i++) {
    int kind = i % KINDS; /* two run at a time, so some are killed at their first token and some far on */
    go_on(&w, kind, 5 + 10 * (size_t)i);
    signal_worker(c, i % WORKERS, SIGKILL);
    lab_await_status(client, "waiting for workers 2/3");
    assert_ok(tri_cluster_restart(c, i % WORKERS, &err), err);
  }
  finish(&w);
  lab_await_status(client, "\"failed\": 0");
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void those_that_are_left_take_over(void **state) {
  (void)state;
  way w;
  tri_cluster *c = start(WORKERS, 1);
  tri_client *client = lab_dial(c);
  begin(&w, c);
  go_on(&w, GREEDY, 10);
  signal_worker(c, 1, SIGKILL);
  go_on(&w, GREEDY, 60);
  signal_worker(c, 0, SIGKILL);
  finish(&w);
  lab_await_status(client, "\"serving\""); /* over the one that is left */
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void with_nobody_left_jobs_wait(void **state) {
  (void)state;
  way w;
  tri_cluster *c = start(1, 0);
  tri_client *client = lab_dial(c);
  begin(&w, c);
  go_on(&w, SEEDED, 10);
  signal_worker(c, 0, SIGKILL);
  lab_await_status(client, "waiting for workers 0/1");
  lab_await_status(client, "\"queued\": 5");
  assert_ok(tri_cluster_restart(c, 0, &err), err);
  finish(&w);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void a_hang_is_noticed(void **state) {
  (void)state;
  way w;
  tri_cluster *c = start(2, 1);
  begin(&w, c);
  go_on(&w, GREEDY, 10);
  signal_worker(c, 1, SIGSTOP);
  finish(&w);
  signal_worker(c, 1, SIGCONT);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_worker_is_killed_and_comes_back),
      cmocka_unit_test(those_that_are_left_take_over),
      cmocka_unit_test(with_nobody_left_jobs_wait),
      cmocka_unit_test(a_hang_is_noticed),
  };
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
