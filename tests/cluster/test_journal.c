/* SPDX-License-Identifier: MIT */
/* What was accepted is done, and what was told is told once, whatever becomes of the coordinator. */
#include "tests/cluster/lab.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { PREDICT = 150, JOBS = 6, KILLS = 3 };

static const char prompt[] = "Once upon a time there was a little girl who lived in a house by the river, and every morning she went down";
static tri_error err;
static tri_msg_submit request[JOBS];
static lab_job want[JOBS]; /* undisturbed */

static tri_cluster *start(void) {
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .lasting = true, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT, .slots = 4};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

static int prepare(void **state) {
  if (lab_begin(state) != 0) return -1;
  for (uint32_t i = 0; i < JOBS; i++) {
    request[i] = lab_request(TRI_WANT_SAMPLE, PREDICT);
    request[i].ignore_end = true;
    request[i].sampling = (tri_sampler_params){.temperature = i % 2 ? 0.9f : 0, .top_k = 50, .top_p = 0.95f, .repeat_penalty = 1.2f,
                                               .repeat_last = 40, .seed = i, .top = i == 3 ? 2 : 0};
  }
  tri_cluster *c = start();
  tri_client *client = lab_dial(c);
  for (int i = 0; i < JOBS; i++) lab_run(client, &request[i], prompt, sizeof prompt - 1, &want[i]);
  tri_client_close(&client);
  tri_cluster_stop(&c);
  return 0;
}

static int clean_up(void **state) {
  for (int i = 0; i < JOBS; i++) lab_job_free(&want[i]);
  return lab_end(state);
}

static void same(const lab_job *a, const lab_job *b) {
  assert_int_equal(a->done.reason, b->done.reason);
  assert_int_equal(a->ids.len, b->ids.len);
  assert_memory_equal(a->ids.data, b->ids.data, a->ids.len * sizeof *a->ids.data);
  assert_int_equal(a->n_logprobs, b->n_logprobs);
  assert_memory_equal(a->logprobs, b->logprobs, a->n_logprobs * sizeof *a->logprobs);
  assert_int_equal(a->text.len, b->text.len);
  assert_memory_equal(a->text.data, b->text.data, a->text.len);
}

static void kill_coordinator(tri_cluster *c) {
  assert_int_equal(kill(tri_cluster_pid(c, -1), SIGKILL), 0);
  assert_ok(tri_cluster_restart(c, -1, &err), err);
}

typedef struct crowd {
  uint64_t id[JOBS];
  lab_job got[JOBS];
  bool over[JOBS];
  uint32_t accepted, done;
  size_t tokens;
} crowd;

static void take(crowd *w, const tri_client_event *e) {
  if (e->msg->kind == TRI_MSG_ACCEPTED) {
    if (w->accepted < JOBS) w->id[w->accepted++] = e->msg->accepted.job;
    return;
  }
  uint64_t id = e->msg->kind == TRI_MSG_TOKENS ? e->msg->tokens.job : e->msg->done.job;
  uint32_t i = 0;
  while (i < JOBS && w->id[i] != id) i++;
  assert_true(i < JOBS);
  if (e->msg->kind == TRI_MSG_TOKENS && e->msg->tokens.n_tokens) assert_int_equal(e->msg->tokens.index, w->got[i].ids.len);
  if (e->msg->kind == TRI_MSG_TOKENS) w->tokens += e->msg->tokens.n_tokens;
  if (lab_add(&w->got[i], e)) w->over[i] = true, w->done++;
}

/* A client that follows misses nothing and is told nothing twice. */
static void jobs_go_on_after_a_kill(void **state) {
  (void)state;
  tri_cluster *c = start();
  tri_client *client = lab_dial(c);
  crowd w = {0};
  for (int i = 0; i < JOBS; i++) lab_submit(client, &request[i], prompt, sizeof prompt - 1);
  while (w.accepted < JOBS) {
    tri_client_event e = lab_next(client);
    take(&w, &e);
  }
  for (size_t kills = 0; w.done < JOBS;) {
    tri_client_event e;
    tri_status status = TRI_OK;
    if (kills < KILLS && w.tokens > (kills + 1) * JOBS * PREDICT / (KILLS + 2)) kill_coordinator(c), kills++, status = TRI_E_UNREACHABLE;
    while (status == TRI_OK && (status = tri_client_next(client, &e, LAB_WAIT_MS, &err)) == TRI_OK) {
      take(&w, &e);
      if (w.done == JOBS || (kills < KILLS && w.tokens > (kills + 1) * JOBS * PREDICT / (KILLS + 2))) break;
    }
    if (status == TRI_OK) continue;
    while (status == TRI_E_UNREACHABLE || status == TRI_OK) { /* what it had sent before, and then its end */
      status = tri_client_next(client, &e, 2000, &err);
      if (status == TRI_OK) take(&w, &e);
      else if (status == TRI_E_UNREACHABLE) break;
    }
    assert_int_equal(status, TRI_E_UNREACHABLE);
    assert_ok(tri_client_reconnect(client, LAB_WAIT_MS, &err), err);
    for (int i = 0; i < JOBS; i++)
      if (!w.over[i]) assert_ok(tri_client_follow(client, w.id[i], (uint32_t)w.got[i].ids.len, &err), err);
  }
  for (int i = 0; i < JOBS; i++) {
    same(&want[i], &w.got[i]);
    lab_job_free(&w.got[i]);
  }
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* Its rows leave the pipeline, and come back with it. */
static void a_job_waits_for_its_client(void **state) {
  (void)state;
  tri_cluster *c = start();
  tri_client *client = lab_dial(c), *other = lab_dial(c);
  crowd w = {0};
  lab_submit(client, &request[1], prompt, sizeof prompt - 1);
  while (w.got[0].ids.len < PREDICT / 3) {
    tri_client_event e = lab_next(client);
    take(&w, &e);
  }
  tri_client_close(&client);
  lab_await_status(other, "\"running\": 0");
  lab_await_status(other, "\"queued\": 1");
  assert_ok(tri_client_follow(other, w.id[0], (uint32_t)w.got[0].ids.len, &err), err);
  while (!w.done) {
    tri_client_event e = lab_next(other);
    take(&w, &e);
  }
  same(&want[1], &w.got[0]);
  lab_job_free(&w.got[0]);
  tri_client_close(&other);
  tri_cluster_stop(&c);
}

static void detached_jobs_are_there_later(void **state) {
  (void)state;
  tri_cluster *c = start();
  tri_client *client = lab_dial(c);
  char id[32], key[512];
  const char *endpoint = tri_cluster_endpoint(c);
  tri_buf said = {0};
  tri_msg_submit m = request[1];
  m.detach = true;
  strcpy(m.idempotency, "once");
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  tri_client_event e = lab_next(client);
  assert_int_equal(e.msg->kind, TRI_MSG_ACCEPTED);
  uint64_t job = e.msg->accepted.job;
  kill_coordinator(c);
  tri_client_close(&client);
  client = lab_dial(c);
  /* asked for once more it is the same, with all of its answer */
  lab_job again;
  lab_run(client, &m, prompt, sizeof prompt - 1, &again);
  assert_int_equal(again.done.job, job);
  same(&want[1], &again);
  lab_job_free(&again);
  tri_client_close(&client);
  snprintf(id, sizeof id, "%llu", (unsigned long long)job);
  snprintf(key, sizeof key, "%s/client", tri_cluster_dir(c));
#define RUN(...) lab_program((const char *[]){"trireme", __VA_ARGS__, "--coordinator", endpoint, "-k", key, NULL}, &said)
  if (RUN("result", id) != 0) fail_msg("%s", (char *)said.data);
  assert_int_equal(said.len, want[1].text.len + 1);
  assert_memory_equal(said.data, want[1].text.data, want[1].text.len);
  tri_buf_clear(&said);
  assert_int_equal(RUN("follow", id), 0);
  assert_memory_equal(said.data, want[1].text.data, want[1].text.len);
  tri_buf_clear(&said);
  assert_int_equal(RUN("jobs"), 0);
  assert_non_null(strstr((char *)said.data, "length"));
  tri_buf_clear(&said);
  assert_int_equal(RUN("show", id), 0);
  assert_non_null(strstr((char *)said.data, "150 of answer"));
  tri_buf_clear(&said);
  assert_int_equal(RUN("cancel", id), 0); /* it has ended, and stays as it is */
  assert_non_null(strstr((char *)said.data, ": length"));
  assert_int_equal(RUN("rm", id), 0);
  tri_buf_clear(&said);
  assert_int_equal(RUN("show", id), 3);
  assert_non_null(strstr((char *)said.data, "there is no job"));
  tri_buf_clear(&said);
  assert_int_equal(RUN("result", "x"), 2);
  assert_non_null(strstr((char *)said.data, "x: the number of a job is expected"));
  tri_buf_free(&said);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(jobs_go_on_after_a_kill), cmocka_unit_test(a_job_waits_for_its_client),
                                     cmocka_unit_test(detached_jobs_are_there_later)};
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
