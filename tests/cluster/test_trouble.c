/* SPDX-License-Identifier: MIT */
/* What goes wrong is one clear error to whom it concerns; the others go on. */
#include "tests/cluster/fake.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"

static const char prompt[] = "Once upon a time";
static tri_error err;

static void must_say(int code, int want, const tri_buf *said, const char *part) {
  if (code != want || !strstr((char *)said->data, part))
    fail_msg("exit code %d, not %d, or no '%s' in: %s", code, want, part, (char *)said->data);
}

static void folder(const tri_cluster *c, const char *node,
                   char out[PATH_MAX]) { snprintf(out, PATH_MAX, "%s/%s", tri_cluster_dir(c), node); }

/* A new key folder in the cluster's, trusting the holder of `trusted`'s public key. */
static void make_key(const tri_cluster *c, const char *node, const char *trusted, char dir[PATH_MAX]) {
  char public_key[PATH_MAX];
  tri_buf said = {0};
  folder(c, node, dir);
  snprintf(public_key, sizeof public_key, "%.4000s/%s/public.key", tri_cluster_dir(c), trusted);
  int code = lab_program((const char *[]){"trireme", "keygen", "-o", dir, "--name", node, "--trust", public_key, NULL}, &said);
  must_say(code, 0, &said, "public.key");
  tri_buf_free(&said);
}

static int run_worker(const tri_cluster *c, const char *dir, const char *model, const char *name, tri_buf *said) {
  return lab_program((const char *[]){"trireme-worker", "-m", model, "--coordinator", tri_cluster_endpoint(c), "--key", dir, "--name",
                                      name, "-t", "1", NULL},
                     said);
}

static void check_refused_worker(const tri_cluster *c, const char *dir, const char *model, const char *name, const char *part) {
  tri_buf said = {0};
  int code = run_worker(c, dir, model, name, &said);
  must_say(code, 4, &said, part);
  tri_buf_free(&said);
}

static void check_serves(tri_client *client) {
  lab_job job;
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 8);
  lab_run(client, &m, prompt, sizeof prompt - 1, &job);
  if (job.refused || job.done.reason == TRI_DONE_FAILED) fail_msg("%s%s", job.refusal, job.done.error);
  assert_int_equal(job.ids.len, 8);
  lab_job_free(&job);
}

static void keys_and_roles_decide_who_gets_in(void **state) {
  (void)state;
  char dir[PATH_MAX], path[PATH_MAX];
  tri_buf said = {0};
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c);
  make_key(c, "stranger", "coordinator", dir);
  check_refused_worker(c, dir, LAB_MODEL, "x", "refused our key");
  int code = lab_program((const char *[]){"trireme", "status", "--coordinator", tri_cluster_endpoint(c), "--key", dir, NULL}, &said);
  must_say(code, 4, &said, "refused our key");
  tri_buf_clear(&said);
  make_key(c, "misled", "w1", dir); /* holds another key for the coordinator */
  check_refused_worker(c, dir, LAB_MODEL, "x", "holds another key");
  folder(c, "w1", dir);
  check_refused_worker(c, dir, LAB_MODEL, "x", "a worker with this key is already connected (w1 from 127.0.0.1)");
  code = lab_program((const char *[]){"trireme", "submit", "--coordinator", tri_cluster_endpoint(c), "--key", dir, "-p", "x", NULL}, &said);
  must_say(code, 4, &said, "has the role worker, which may not send submit");
  tri_buf_clear(&said);
  folder(c, "client", dir);
  check_refused_worker(c, dir, LAB_MODEL, "x", "has the role client, which may not send knock");
  /* let in while the coordinator runs */
  folder(c, "stranger", dir);
  snprintf(path, sizeof path, "%.4000s/public.key", dir);
  char coordinator_dir[PATH_MAX];
  folder(c, "coordinator", coordinator_dir);
  code = lab_program((const char *[]){"trireme", "keys", "-k", coordinator_dir, "--allow", path, "--role", "worker", NULL}, &said);
  must_say(code, 0, &said, "stranger may now connect as a worker");
  check_refused_worker(c, dir, LAB_MODEL, "w1", "a worker named w1 is already connected");
  check_serves(client);
  tri_buf_free(&said);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* A key whose line is deleted is out with its next message, although its connection stands. */
static void a_revoked_worker_is_out_at_once(void **state) {
  (void)state;
  char path[PATH_MAX];
  tri_buf list = {0};
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c);
  folder(c, "coordinator/allowed.keys", path);
  assert_ok(tri_file_read(&list, path, 1 << 16, &err), err);
  char *line = strstr((char *)list.data, " w2");
  while (line > (char *)list.data && line[-1] != '\n') line--;
  tri_file_writer *w;
  assert_ok(tri_file_writer_open(&w, path, 0600, &err), err);
  assert_ok(tri_file_writer_write(w, list.data, (size_t)(line - (char *)list.data), &err), err);
  assert_ok(tri_file_writer_commit(&w, &err), err);
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 1)), 4); /* it is told, and ends */
  lab_await_status(client, "waiting for workers 1/2");
  tri_buf_free(&list);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void nobody_there(void **state) {
  (void)state;
  tri_buf said = {0};
  char dir[PATH_MAX], endpoint[TRI_MAX_ENDPOINT];
  tri_cluster *c = lab_start(1, 0, TRI_WIRE_INT8);
  snprintf(endpoint, sizeof endpoint, "%s", tri_cluster_endpoint(c));
  folder(c, "client", dir);
  kill(tri_cluster_pid(c, -1), SIGKILL); /* from now on nobody listens on this port */
  lab_await_exit(tri_cluster_pid(c, -1));
  int code = lab_program((const char *[]){"trireme", "status", "--coordinator", endpoint, "--key", dir, "--timeout", "1", NULL}, &said);
  must_say(code, 4, &said, "nothing answers");
  tri_buf_clear(&said);
  code = lab_program((const char *[]){"trireme-worker", "-m", LAB_MODEL, "--coordinator", endpoint, "--key", dir, "--give-up", "1", NULL},
                     &said);
  must_say(code, 4, &said, "nothing answers");
  tri_buf_clear(&said);
  code = lab_program((const char *[]){"trireme", "status", "--coordinator", "nonsense", "--key", dir, NULL}, &said);
  must_say(code, 2, &said, "tcp://HOST:PORT");
  tri_buf_clear(&said);
  code = lab_program((const char *[]){"trireme", "status", "--coordinator", endpoint, "--key", "/nonexistent", NULL}, &said);
  must_say(code, 3, &said, "/nonexistent");
  tri_buf_free(&said);
  tri_cluster_stop(&c);
}

/* Until the first token; one without any says only that the job's turn has come. */
static void await_token(tri_client *client) {
  tri_client_event e;
  do e = lab_next(client);
  while (e.msg->kind != TRI_MSG_TOKENS || !e.msg->tokens.n_tokens);
}

/* Until the first token of a long job, then kill. */
static void kill_during_a_job(tri_cluster *c, tri_client *client, int worker, int signal_number, lab_job *out) {
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 200);
  m.ignore_end = true;
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  await_token(client);
  assert_int_equal(kill(tri_cluster_pid(c, worker), signal_number), 0);
  lab_collect(client, out);
}

static void a_killed_worker_ends_the_job_and_a_new_one_serves(void **state) {
  (void)state;
  tri_cluster *c = lab_start(3, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c);
  for (int worker = 0; worker < 3; worker++) {
    lab_job job;
    char name[32];
    kill_during_a_job(c, client, worker, SIGKILL, &job);
    assert_int_equal(job.done.reason, TRI_DONE_FAILED);
    snprintf(name, sizeof name, "worker w%d (stage %d", worker + 1, worker + 1);
    if (!strstr(job.done.error, name)) fail_msg("'%s' does not name %s", job.done.error, name);
    lab_job_free(&job);
    lab_await_status(client, "waiting for workers 2/3");
    assert_ok(tri_cluster_restart(c, worker, &err), err);
    lab_await_status(client, "\"serving\"");
    check_serves(client);
  }
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void a_stopped_worker_is_missed(void **state) {
  (void)state;
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .context = LAB_CONTEXT, .lost_after_s = 5};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  tri_client *client = lab_dial(c);
  lab_job job;
  kill_during_a_job(c, client, 1, SIGSTOP, &job); /* its connections stay open, but it is silent */
  assert_int_equal(job.done.reason, TRI_DONE_FAILED);
  assert_non_null(strstr(job.done.error, "worker w2 (stage 2, layers"));
  assert_non_null(strstr(job.done.error, "no sign of life for 5 s"));
  lab_job_free(&job);
  kill(tri_cluster_pid(c, 1), SIGCONT); /* it finds itself forgotten, and joins again */
  lab_await_status(client, "\"serving\"");
  check_serves(client);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void cancelled_and_abandoned_jobs_make_room(void **state) {
  (void)state;
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c), *other = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 200);
  m.ignore_end = true;
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  tri_client_event e;
  uint64_t id = 0;
  while ((e = lab_next(client)).msg->kind != TRI_MSG_TOKENS)
    if (e.msg->kind == TRI_MSG_ACCEPTED) id = e.msg->accepted.job;
  assert_ok(tri_client_cancel(client, id, &err), err);
  lab_job job;
  lab_collect(client, &job);
  assert_true(job.done.reason == TRI_DONE_CANCELLED || job.done.reason == TRI_DONE_LENGTH); /* it may have been faster */
  lab_job_free(&job);
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  await_token(client);
  tri_client_close(&client); /* one running, one queued */
  check_serves(other);
  lab_await_status(other, "\"running\": 0");
  tri_client_close(&other);
  tri_cluster_stop(&c);
}

static void wrong_prompts_are_refused(void **state) {
  (void)state;
  tri_cluster *c = lab_start(1, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 8);
  enum { LONG = 1 << 20 };
  char *text = malloc(LONG);
  lab_job job;
  for (int i = 0; i < LONG; i++) text[i] = i % 5 ? 'a' : ' ';
  const size_t lengths[] = {2000, LONG};
  for (int i = 0; i < 2; i++) {
    lab_run(client, &m, text, lengths[i], &job);
    assert_int_equal(job.refused, TRI_E_INVALID);
    assert_non_null(strstr(job.refusal, "longer than the context of 256 tokens"));
    lab_job_free(&job);
  }
  m.sampling.temperature = -3;
  lab_run(client, &m, prompt, sizeof prompt - 1, &job);
  assert_int_equal(job.refused, TRI_E_INVALID);
  lab_job_free(&job);
  m = lab_request(TRI_WANT_SCORE, 0), m.ids = true;
  const int32_t wild[] = {1, 1 << 20};
  lab_run(client, &m, wild, sizeof wild, &job);
  assert_non_null(strstr(job.refusal, "not in the vocabulary"));
  lab_job_free(&job);
  free(text);
  check_serves(client);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void lying_frames_are_dropped_and_counted(void **state) {
  (void)state;
  fake f;
  tri_cluster *c = lab_start(2, 1, TRI_WIRE_F32);
  fake_open(&f, c, "w2");
  fake_hello(&f, "a"); /* before w1 in the order of names: the first stage */
  fake_await(&f, TRI_MSG_ASSIGN);
  fake_serve_first_stage(&f);
  assert_ok(tri_cluster_wait(c, &err), err);
  tri_client *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 2);
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  fake_await(&f, TRI_MSG_STEP);
  tri_msg step = f.msg, bad;
  size_t bytes = step.step.n_rows * 512 * sizeof(float);
  fake_send_step(&f, &step, bytes / 2);
  fake_send_step(&f, &step, bytes + 1);
  fake_send_step(&f, &step, 0);
  bad = step, bad.step.runs[0].slot = 1000;
  fake_send_step(&f, &bad, bytes);
  bad = step, bad.step.runs[0].pos = LAB_CONTEXT - 1;
  fake_send_step(&f, &bad, bytes);
  bad = step, bad.step.epoch++;
  fake_send_step(&f, &bad, bytes);
  fake_send_step(&f, &(tri_msg){.kind = TRI_MSG_HEARTBEAT}, 0);
  fake_send_step(&f, &step, bytes); /* and now as it should be */
  fake_await(&f, TRI_MSG_STEP);
  step = f.msg;
  fake_send_step(&f, &step, 8 << 20); /* more than was ever agreed: the connection is cut */
  fake_await_data(&f, 2);
  fake_send_step(&f, &step, step.step.n_rows * 512 * sizeof(float));
  fake_send_step(&f, &step, step.step.n_rows * 512 * sizeof(float)); /* once more */
  lab_job job;
  lab_collect(client, &job);
  assert_int_equal(job.done.reason, TRI_DONE_LENGTH);
  assert_int_equal(job.ids.len, 2);
  lab_job_free(&job);
  lab_await_status(client, "\"dropped\": 8");
  tri_client_close(&client);
  fake_close(&f);
  tri_cluster_stop(&c);
}

static void a_worker_that_breaks_the_protocol_is_named(void **state) {
  (void)state;
  fake f;
  tri_cluster *c = lab_start(2, 1, TRI_WIRE_F32);
  fake_open(&f, c, "w2");
  fake_send(&f, &(tri_msg){.kind = TRI_MSG_READY, .ready = {.epoch = 1}});
  fake_await(&f, TRI_MSG_REFUSE);
  assert_non_null(strstr(f.msg.refuse.text, "say hello"));
  fake_send(&f, &(tri_msg){.kind = TRI_MSG_STATUS_REQUEST, .status_request = {.protocol = TRI_PROTOCOL}});
  fake_await(&f, TRI_MSG_REFUSE);
  assert_non_null(strstr(f.msg.refuse.text, "the key of w2 has the role worker, which may not send status_request"));
  fake_hello(&f, "a");
  fake_await(&f, TRI_MSG_ASSIGN);
  fake_serve_first_stage(&f);
  assert_ok(tri_cluster_wait(c, &err), err);
  tri_client *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 2);
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  fake_await(&f, TRI_MSG_STEP);
  fake_send(&f, &(tri_msg){.kind = TRI_MSG_RESULT,
                           .result = {.epoch = f.msg.step.epoch, .id = f.msg.step.id}}); /* it is not the last stage */
  lab_job job;
  lab_collect(client, &job);
  assert_int_equal(job.done.reason, TRI_DONE_FAILED);
  assert_non_null(strstr(job.done.error, "worker a: a result, but it is not the last stage"));
  lab_job_free(&job);
  fake_close(&f);
  assert_ok(tri_cluster_restart(c, 1, &err), err); /* the honest holder of that key */
  lab_await_status(client, "\"serving\"");
  check_serves(client);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* It would be the fastest by far, with room for everything, and is used until it has failed too often. */
static void a_worker_that_lies_about_its_memory_is_left_out(void **state) {
  (void)state;
  fake f;
  tri_cluster *c;
  const tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .context = LAB_CONTEXT, .least = 1, .absent = 2};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  tri_client *client = lab_dial(c);
  fake_open(&f, c, "w2");
  fake_boast(&f, "liar", 1, 1, 1ull << 50);
  for (int i = 0; i < 3; i++) {
    fake_await(&f, TRI_MSG_ASSIGN);
    tri_msg fault = {.kind = TRI_MSG_FAULT, .fault = {.epoch = f.msg.assign.epoch, .status = TRI_E_NOMEM}};
    snprintf(fault.fault.text, sizeof fault.fault.text, "cannot load its stage: out of memory");
    if (i == 0) assert_ok(tri_cluster_restart(c, 0, &err), err); /* an honest one */
    if (i == 0) lab_await_status(client, "\"name\": \"w1\"");
    fake_send(&f, &fault);
  }
  lab_await_status(client, "failed 3 times in a short time");
  lab_await_status(client, "\"serving\"");
  check_serves(client);
  fake_close(&f);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* Nothing is computed for a client that went while its jobs were queued. */
static void jobs_of_a_client_that_has_gone_never_begin(void **state) {
  (void)state;
  enum { PREDICT = 5 };
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 1, .absent = 1, .threads = 1, .wire = TRI_WIRE_INT8, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT, .no_orphans = true};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  tri_client *gone = lab_dial(c), *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, PREDICT);
  m.ignore_end = true;
  for (int i = 0; i < 3; i++) lab_submit(gone, &m, prompt, sizeof prompt - 1);
  for (int i = 0; i < 3; i++) assert_int_equal(lab_next(gone).msg->kind, TRI_MSG_ACCEPTED);
  tri_client_close(&gone);
  lab_submit(client, &m, prompt, sizeof prompt - 1);
  assert_int_equal(lab_next(client).msg->kind, TRI_MSG_ACCEPTED);
  assert_ok(tri_cluster_restart(c, 0, &err), err); /* only now is there a pipeline */
  lab_job job;
  lab_collect(client, &job);
  assert_int_equal(job.done.reason, TRI_DONE_LENGTH);
  char rows[48];
  snprintf(rows, sizeof rows, "\"rows\": %u,", job.done.prompt_tokens + PREDICT - 1);
  lab_await_status(client, rows);
  lab_await_status(client, "\"queued\": 0");
  lab_await_status(client, "\"done\": 4");
  lab_job_free(&job);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void a_status_request_of_another_protocol_is_refused(void **state) {
  (void)state;
  static fake f;
  tri_cluster *c = lab_start(1, 1, TRI_WIRE_INT8);
  fake_open(&f, c, "client");
  const tri_msg m = {.kind = TRI_MSG_STATUS_REQUEST, .status_request = {.protocol = TRI_PROTOCOL + 1}};
  fake_send(&f, &m);
  fake_await(&f, TRI_MSG_REFUSE);
  assert_int_equal(f.msg.refuse.status, TRI_E_PROTOCOL);
  char want[64];
  snprintf(want, sizeof want, "the client speaks %d, this coordinator %d", TRI_PROTOCOL + 1, TRI_PROTOCOL);
  assert_non_null(strstr(f.msg.refuse.text, want));
  fake_close(&f);
  tri_cluster_stop(&c);
}

static void a_model_that_does_not_fit_is_told_in_numbers(void **state) {
  (void)state;
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .memory = 4 << 20};
  tri_status status = tri_cluster_start(&c, &o, &err);
  assert_fails(status, TRI_E_LIMIT, err, "the model does not fit");
  assert_non_null(strstr(err.text, "2 worker(s) offer 8.4 MB"));
}

/* The same port, another process: workers and clients find it. */
static void a_coordinator_that_comes_back_is_joined_again(void **state) {
  (void)state;
  char dir[PATH_MAX];
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(c);
  check_serves(client);
  kill(tri_cluster_pid(c, -1), SIGKILL);
  tri_client_event none;
  assert_fails(tri_client_next(client, &none, LAB_WAIT_MS, &err), TRI_E_UNREACHABLE, err, "connection to the coordinator was lost");
  tri_client_close(&client);
  folder(c, "coordinator", dir);
  int fd;
  pid_t pid = lab_spawn((const char *[]){"trireme-coordinator", "-m", LAB_MODEL, "--key", dir, "--listen", tri_cluster_endpoint(c), "-w",
                                         "2", NULL}, &fd);
  client = lab_dial(c);
  lab_await_status(client, "\"serving\"");
  check_serves(client);
  tri_client_close(&client);
  tri_cluster_stop(&c);
  tri_buf said = {0};
  kill(pid, SIGTERM);
  assert_int_equal(lab_finish(pid, fd, &said), 0);
  tri_buf_free(&said);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_and_roles_decide_who_gets_in),
      cmocka_unit_test(a_revoked_worker_is_out_at_once),
      cmocka_unit_test(nobody_there),
      cmocka_unit_test(a_killed_worker_ends_the_job_and_a_new_one_serves),
      cmocka_unit_test(a_stopped_worker_is_missed),
      cmocka_unit_test(cancelled_and_abandoned_jobs_make_room),
      cmocka_unit_test(wrong_prompts_are_refused),
      cmocka_unit_test(lying_frames_are_dropped_and_counted),
      cmocka_unit_test(a_worker_that_breaks_the_protocol_is_named),
      cmocka_unit_test(a_worker_that_lies_about_its_memory_is_left_out),
      cmocka_unit_test(jobs_of_a_client_that_has_gone_never_begin),
      cmocka_unit_test(a_status_request_of_another_protocol_is_refused),
      cmocka_unit_test(a_model_that_does_not_fit_is_told_in_numbers),
      cmocka_unit_test(a_coordinator_that_comes_back_is_joined_again),
  };
  return cmocka_run_group_tests(tests, lab_begin, lab_end);
}
