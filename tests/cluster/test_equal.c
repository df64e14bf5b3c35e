/* SPDX-License-Identifier: MIT */
/* A cluster gives what one process gives: token for token, and with f32 rows between the stages bit for bit. */
#include "tests/cluster/lab.h"

#include <stdio.h>
#include <stdlib.h>
#include "engine/sampler.h"
#include "engine/single.h"
#include "engine/stream.h"

enum { PREDICT = 24 };

static const char prompt[] = "Once upon a time there was a little girl who lived in a house by the river, and every morning she went down";
static tri_error err;
static tri_single single;
static tri_ids ids; /* of the prompt, BOS included */
static float *logits; /* [ids.len, vocab] */
static size_t vocab;

static int prepare(void **state) {
  if (lab_begin(state) != 0) return -1;
  tri_single_options o = {.threads = 1, .context = LAB_CONTEXT, .kv_type = TRI_F16};
  if (tri_single_open(&single, LAB_MODEL, &o, &err) != TRI_OK) return print_error("%s\n", err.text), -1;
  const tri_tokenizer *t = tri_model_tokenizer(single.model);
  vocab = (size_t)tri_model_shape(single.model)->vocab;
  if (tri_tokenizer_adds_bos(t)) assert_ok(tri_ids_push(&ids, tri_tokenizer_bos(t)), err);
  assert_ok(tri_tokenizer_encode(t, prompt, sizeof prompt - 1, false, &ids, &err), err);
  logits = malloc(ids.len * vocab * sizeof *logits);
  assert_ok(tri_single_feed_all(&single, 0, 0, ids.data, ids.len, logits, &err), err);
  return 0;
}
static int clean_up(void **state) {
  free(logits);
  tri_ids_free(&ids);
  tri_single_close(&single);
  return lab_end(state);
}

/* What the engine generates in this process. */
static void generate_here(const tri_sampler_params *p, int32_t out[PREDICT]) {
  tri_sampler *sampler;
  tri_ids all = {0};
  float *row = malloc(vocab * sizeof *row);
  assert_ok(tri_sampler_create(&sampler, vocab, single.kernels, &err), err);
  for (size_t i = 0; i < ids.len; i++) assert_ok(tri_ids_push(&all, ids.data[i]), err);
  assert_ok(tri_single_feed(&single, 0, 0, all.data, all.len, row, &err), err);
  for (int i = 0; i < PREDICT; i++) {
    out[i] = tri_sampler_pick(sampler, p, NULL, row, all.data, all.len, all.len).token;
    assert_ok(tri_ids_push(&all, out[i]), err);
    assert_ok(tri_single_feed(&single, 0, (int32_t)all.len - 1, &out[i], 1, row, &err), err);
  }
  tri_sampler_destroy(&sampler);
  tri_ids_free(&all);
  free(row);
}

static void check_samples(tri_client *client, const tri_sampler_params *p) {
  int32_t want[PREDICT];
  lab_job job;
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, PREDICT);
  m.sampling = *p;
  m.ignore_end = true;
  generate_here(p, want);
  lab_run(client, &m, prompt, sizeof prompt - 1, &job);
  assert_int_equal(job.done.reason, TRI_DONE_LENGTH);
  assert_int_equal(job.done.prompt_tokens, ids.len);
  assert_int_equal(job.ids.len, PREDICT);
  assert_memory_equal(job.ids.data, want, sizeof want);
  lab_job_free(&job);
}

static void check_logits(tri_client *client) {
  lab_job job;
  tri_msg_submit m = lab_request(TRI_WANT_LOGITS, 0);
  m.ids = true;
  lab_run(client, &m, ids.data, ids.len * sizeof *ids.data, &job);
  assert_int_equal(job.done.reason, TRI_DONE_LENGTH);
  assert_int_equal(job.logits.len, ids.len * vocab * sizeof *logits);
  assert_memory_equal(job.logits.data, logits, job.logits.len);
  lab_job_free(&job);
}

static void check_scores(tri_client *client) {
  lab_job job;
  tri_sampler *sampler;
  tri_msg_submit m = lab_request(TRI_WANT_SCORE, 0);
  m.ids = true;
  lab_run(client, &m, ids.data, ids.len * sizeof *ids.data, &job);
  assert_int_equal(job.n_logprobs, ids.len - 1);
  assert_ok(tri_sampler_create(&sampler, vocab, single.kernels, &err), err);
  for (size_t i = 0; i + 1 < ids.len; i++) {
    float want = tri_sampler_logprob(sampler, logits + i * vocab, ids.data[i + 1]);
    assert_memory_equal(&job.logprobs[i], &want, sizeof want);
  }
  tri_sampler_destroy(&sampler);
  lab_job_free(&job);
}

static void over_any_number_of_workers(void **state) {
  (void)state;
  const tri_sampler_params greedy = {.temperature = 0, .top_p = 1, .repeat_penalty = 1},
                           seeded = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .min_p = 0.02f, .typical_p = 0.9f,
                                     .repeat_penalty = 1.2f, .frequency_penalty = 0.3f, .presence_penalty = 0.2f, .repeat_last = 20,
                                     .seed = 11, .n_bias = 1, .bias_tokens = {11}, .bias = {1.5f}};
  for (int workers = 1; workers <= 4; workers++) {
    tri_cluster *cluster = lab_start(workers, 0, TRI_WIRE_F32);
    tri_client *client = lab_dial(cluster);
    check_samples(client, &greedy);
    check_samples(client, &seeded);
    check_logits(client);
    check_scores(client);
    tri_client_close(&client);
    tri_cluster_stop(&cluster);
  }
}

/* Windows of an evaluation go in one behind the other, and come back in order. */
static void many_jobs_of_one_client_at_once(void **state) {
  (void)state;
  enum { JOBS = 12 };
  tri_cluster *cluster = lab_start(3, 0, TRI_WIRE_F32);
  tri_client *client = lab_dial(cluster);
  tri_msg_submit m = lab_request(TRI_WANT_SCORE, 0);
  m.ids = true;
  for (size_t i = 0; i < JOBS; i++) lab_submit(client, &m, ids.data, (ids.len - i) * sizeof *ids.data);
  uint64_t order[JOBS];
  size_t accepted = 0, done = 0, scored[JOBS] = {0};
  float first[JOBS] = {0};
  while (done < JOBS) {
    tri_client_event e = lab_next(client);
    if (e.msg->kind == TRI_MSG_ACCEPTED) {
      order[accepted++] = e.msg->accepted.job;
    } else if (e.msg->kind == TRI_MSG_TOKENS) {
      size_t i = 0;
      while (order[i] != e.msg->tokens.job) i++;
      if (!scored[i]) first[i] = e.msg->tokens.logprobs[0];
      scored[i] += e.msg->tokens.n_logprobs;
    } else {
      assert_int_equal(e.msg->kind, TRI_MSG_DONE);
      assert_int_equal(e.msg->done.job, order[done]);
      assert_int_equal(scored[done], ids.len - done - 1);
      assert_true(first[done] == first[0] && first[0] < 0);
      done++;
    }
  }
  tri_client_close(&client);
  tri_cluster_stop(&cluster);
}

static void stops_and_text_are_the_engines(void **state) {
  (void)state;
  tri_cluster *cluster = lab_start(2, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(cluster);
  lab_job whole, cut;
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, PREDICT);
  lab_run(client, &m, prompt, sizeof prompt - 1, &whole);
  assert_true(whole.text.len > 20);
  /* a stop string in the middle of what it says: the text ends before it */
  memcpy(m.stops[0], whole.text.data + 12, 4);
  m.n_stops = 1;
  lab_run(client, &m, prompt, sizeof prompt - 1, &cut);
  assert_int_equal(cut.done.reason, TRI_DONE_STOP);
  char *at = strstr((char *)whole.text.data, m.stops[0]);
  assert_int_equal(cut.text.len, (size_t)(at - (char *)whole.text.data));
  assert_memory_equal(cut.text.data, whole.text.data, cut.text.len);
  lab_job_free(&whole);
  lab_job_free(&cut);
  tri_client_close(&client);
  tri_cluster_stop(&cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(over_any_number_of_workers),
      cmocka_unit_test(many_jobs_of_one_client_at_once),
      cmocka_unit_test(stops_and_text_are_the_engines),
  };
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
