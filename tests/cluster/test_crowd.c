/* SPDX-License-Identifier: MIT */
/* Jobs of all kinds share steps; what each gets does not depend on the company, nor on the number of workers. */
#include "tests/cluster/lab.h"

#include <stdio.h>
#include <stdlib.h>

enum { JOBS = 200, SLOTS = 16 };

static const char story[] = "Once upon a time there was a little girl who lived in a house by the river, and every morning she went down to the water "
                            "to see whether the ducks had come back, for she had bread in her pocket and nobody else to give it to. The ducks "
                            "knew her step, and the old one with the white wing came first, and the small ones after, and they ate from her hand "
                            "until there was no more. Then she told them what she had dreamed in the night, and went home along the hedge.";
static const char words[] = "root ::= [a-z]+ (\" \" [a-z]+){3} \".\"";
static tri_error err;

static struct asked {
  tri_msg_submit request;
  tri_buf payload;
  lab_job want; /* what it gets from one worker with one slot, alone */
} asked[JOBS];

static void make(struct asked *a, uint32_t i) {
  a->request = lab_request(i % 10 == 9 ? TRI_WANT_SCORE : i % 50 == 8 ? TRI_WANT_LOGITS : TRI_WANT_SAMPLE, 1 + i * 7 % 23);
  a->request.sampling = (tri_sampler_params){.temperature = i % 3 ? 0.8f : 0, .top_k = 40, .top_p = 0.95f, .repeat_penalty = 1.1f,
                                             .repeat_last = 32, .seed = i, .top = i % 5 == 1 ? 4 : 0};
  if (a->request.want == TRI_WANT_SAMPLE && i % 7 == 3) {
    a->request.grammar = TRI_LANG_GBNF, a->request.grammar_bytes = sizeof words - 1;
    tri_buf_append(&a->payload, words, sizeof words - 1);
  }
  if (i % 4 == 0) tri_buf_append(&a->payload, story, sizeof story - 1); /* these begin alike */
  tri_buf_append(&a->payload, story + i * 5 % 60, 8 + i * 13 % 40);
}

/* All jobs, so many at a time. */
static void run_all(const tri_cluster *cluster, uint32_t at_once, lab_job *got) {
  tri_client *client = lab_dial(cluster);
  uint64_t id[JOBS];
  uint32_t submitted = 0, accepted = 0, done = 0;
  while (done < JOBS) {
    for (; submitted < JOBS && submitted - done < at_once; submitted++)
      lab_submit(client, &asked[submitted].request, asked[submitted].payload.data, asked[submitted].payload.len);
    tri_client_event e = lab_next(client);
    uint32_t i = 0;
    if (e.msg->kind == TRI_MSG_ACCEPTED) {
      id[accepted++] = e.msg->accepted.job;
      continue;
    }
    uint64_t job = e.msg->kind == TRI_MSG_TOKENS ? e.msg->tokens.job : e.msg->done.job;
    while (i < accepted && id[i] != job) i++;
    assert_true(i < accepted);
    if (lab_add(&got[i], &e)) done++;
  }
  tri_client_close(&client);
}

static tri_cluster *start(int workers, int slots, int kv_tokens, const char *reuse) {
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = workers, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT, .slots = slots, .kv_tokens = kv_tokens, .reuse = reuse};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

static int prepare(void **state) {
  if (lab_begin(state) != 0) return -1;
  lab_job *got = calloc(JOBS, sizeof *got);
  for (uint32_t i = 0; i < JOBS; i++) make(&asked[i], i);
  tri_cluster *c = start(1, 1, 0, "none");
  run_all(c, 1, got);
  tri_cluster_stop(&c);
  for (uint32_t i = 0; i < JOBS; i++) asked[i].want = got[i];
  free(got);
  return 0;
}

static int clean_up(void **state) {
  for (uint32_t i = 0; i < JOBS; i++) {
    lab_job_free(&asked[i].want);
    tri_buf_free(&asked[i].payload);
  }
  return lab_end(state);
}

static void same(const lab_job *a, const lab_job *b) {
  assert_int_equal(a->refused, b->refused);
  assert_int_equal(a->done.reason, b->done.reason);
  assert_string_equal(a->done.error, b->done.error);
  assert_int_equal(a->ids.len, b->ids.len);
  assert_int_equal(a->n_logprobs, b->n_logprobs);
  assert_int_equal(a->logits.len, b->logits.len);
  assert_int_equal(a->text.len, b->text.len);
  if (a->ids.len) assert_memory_equal(a->ids.data, b->ids.data, a->ids.len * sizeof *a->ids.data);
  if (a->n_logprobs) assert_memory_equal(a->logprobs, b->logprobs, a->n_logprobs * sizeof *a->logprobs);
  if (a->logits.len) assert_memory_equal(a->logits.data, b->logits.data, a->logits.len);
  if (a->text.len) assert_memory_equal(a->text.data, b->text.data, a->text.len);
}

static void all_get_what_they_get_alone(void **state) {
  (void)state;
  /* the last has so few blocks that jobs must yield them to each other, and find what is left of them again */
  static const struct { int workers, kv_tokens; const char *reuse; } cases[] = {{1, 0, "none"}, {4, 0, "all"}, {3, LAB_CONTEXT + 64, "all"}};
  for (int i = 0; i < 3; i++) {
    lab_job *got = calloc(JOBS, sizeof *got);
    tri_cluster *c = start(cases[i].workers, SLOTS, cases[i].kv_tokens, cases[i].reuse);
    run_all(c, JOBS, got);
    tri_cluster_stop(&c);
    uint32_t reused = 0;
    for (uint32_t j = 0; j < JOBS; j++) {
      same(&asked[j].want, &got[j]);
      reused += got[j].done.reused_tokens;
      lab_job_free(&got[j]);
    }
    assert_true(i == 0 ? reused == 0 : reused > 20 * 64);
    free(got);
  }
}

/* It waits behind six others until its time is up. */
static void a_deadline_ends_a_job(void **state) {
  (void)state;
  enum { OTHERS = 6 };
  tri_cluster *c = start(2, 2, 0, NULL);
  tri_client *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, LAB_CONTEXT);
  m.ignore_end = true;
  for (int i = 0; i < OTHERS; i++) lab_submit(client, &m, story, sizeof story - 1);
  m.priority = -1, m.deadline_ms = 1;
  lab_submit(client, &m, story, sizeof story - 1);
  uint64_t last = 0;
  for (int done = 0, ended = 0; done <= OTHERS;) {
    tri_client_event e = lab_next(client);
    if (e.msg->kind == TRI_MSG_ACCEPTED) last = e.msg->accepted.job;
    if (e.msg->kind != TRI_MSG_DONE) continue;
    bool late = e.msg->done.reason == TRI_DONE_DEADLINE;
    if (late) assert_int_equal(e.msg->done.job, last);
    ended += late;
    if (++done > OTHERS) assert_int_equal(ended, 1);
  }
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(all_get_what_they_get_alone), cmocka_unit_test(a_deadline_ends_a_job)};
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
