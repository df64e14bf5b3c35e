/* SPDX-License-Identifier: MIT */
/* Workers are drained, leave and come back while jobs run; these go on, with the tokens that they would have had. */
#include "tests/cluster/fake.h"
#include "tests/cluster/ways.h"

#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

static tri_error err;

/* A key with the role of an admin, in the cluster's folder. */
static void make_admin(const tri_cluster *c, char dir[PATH_MAX]) {
  char coordinator[PATH_MAX], key[PATH_MAX];
  tri_buf said = {0};
  snprintf(coordinator, sizeof coordinator, "%s/coordinator", tri_cluster_dir(c));
  snprintf(dir, PATH_MAX, "%s/admin", tri_cluster_dir(c));
  snprintf(key, sizeof key, "%.4000s/public.key", coordinator);
  assert_int_equal(lab_program((const char *[]){"trireme", "keygen", "-o", dir, "--name", "admin", "--trust", key, NULL}, &said), 0);
  snprintf(key, sizeof key, "%.4000s/public.key", dir);
  assert_int_equal(lab_program((const char *[]){"trireme", "keys", "-k", coordinator, "--allow", key, "--role", "admin", NULL}, &said), 0);
  tri_buf_free(&said);
}

/* Ends with this code, and says this. */
static void drain(const tri_cluster *c, const char *key, const char *worker, const char *option, int code, const char *part) {
  tri_buf said = {0};
  int got = lab_program((const char *[]){"trireme", "drain", worker, "--coordinator", tri_cluster_endpoint(c), "--key", key, option, NULL},
                        &said);
  const char *text = (const char *)said.data;
  if (got != code || !strstr(text, part)) fail_msg("exit code %d, not %d, or no '%s' in: %s", got, code, part, text);
  tri_buf_free(&said);
}

static void signal_worker(const tri_cluster *c, int worker, int number) { assert_int_equal(kill(tri_cluster_pid(c, worker), number), 0); }

/* Lines of the log with `part`, from the first one with `from` on (NULL: all) to the next one with `to`. */
static size_t log_between(const tri_cluster *c, const char *from, const char *to, const char *part) {
  char path[PATH_MAX], line[2048];
  size_t n = 0;
  bool in = !from, over = false;
  snprintf(path, sizeof path, "%s/log", tri_cluster_dir(c));
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  while (!over && fgets(line, sizeof line, f)) {
    over = in && to && strstr(line, to);
    in = in || strstr(line, from);
    n += in && strstr(line, part);
  }
  fclose(f);
  assert_true(in && (over || !to));
  return n;
}

static size_t log_count(const tri_cluster *c, const char *part) { return log_between(c, NULL, NULL, part); }

static void await_log(const tri_cluster *c, const char *part, size_t n) {
  enum { LOOK_MS = 5 };
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  while (log_count(c, part) < n) {
    if (tri_clock_ms() > until) fail_msg("the log does not say %zu times '%s'", n, part);
    poll(NULL, 0, LOOK_MS);
  }
}

/* Parts have to be fetched, so that there is something to prepare. */
static void a_drained_worker_can_be_stopped(void **state) {
  (void)state;
  ways w;
  char admin[PATH_MAX], client_key[PATH_MAX];
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 3, .fetch = true});
  tri_client *client = lab_dial(c);
  make_admin(c, admin);
  snprintf(client_key, sizeof client_key, "%s/client", tri_cluster_dir(c));
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_GREEDY, 10);
  drain(c, client_key, "w2", NULL, 4, "has the role client, which may not send drain");
  drain(c, admin, "w9", NULL, 3, "there is no worker named w9");
  drain(c, admin, "w2", NULL, 0, "w2 is drained: it may be stopped");
  lab_await_status(client, "\"left_out\": \"drained\"");
  lab_await_status(client, "\"epoch\": 2,");
  signal_worker(c, 1, SIGKILL);
  lab_await_exit(tri_cluster_pid(c, 1));
  lab_await_status(client, "\"state\": \"lost\"");
  ways_go_on(&w, WAYS_SEEDED, 30);
  lab_await_status(client, "\"epoch\": 2,"); /* nobody has noticed */
  drain(c, admin, "w1", NULL, 0, "w1 is drained: it may be stopped");
  drain(c, admin, "w3", NULL, 1, "without w3: no worker is left");
  drain(c, admin, "w1", "--undo", 0, "w1 may have a stage again");
  drain(c, admin, "w2", "--undo", 0, "w2 may have a stage again"); /* though it is not there */
  drain(c, admin, "w2", "--undo", 0, "w2 was not drained");
  ways_finish(&w);
  lab_await_status(client, "\"failed\": 0");
  /* what was lacking came while the old plan served, and nothing after that */
  assert_in_range(log_between(c, "a plan after epoch 1 is prepared", "epoch 1 ends", "getting "), 1, 2);
  assert_int_equal(log_between(c, "epoch 1 ends", "epoch 2 serves", "getting "), 0);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* One that would have to take over hangs, and is lost before it can: the drain comes about all the same. */
static void a_loss_on_the_way_is_survived(void **state) {
  (void)state;
  ways w;
  char admin[PATH_MAX];
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 3, .least = 1, .fetch = true});
  make_admin(c, admin);
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_GREEDY, 10);
  signal_worker(c, 2, SIGSTOP);
  drain(c, admin, "w2", NULL, 0, "w2 is drained");
  ways_finish(&w);
  signal_worker(c, 2, SIGCONT);
  tri_cluster_stop(&c);
}

static json_t *status_of(tri_client *client) {
  tri_buf text = {0};
  json_error_t why;
  assert_ok(tri_client_status(client, &text, LAB_WAIT_MS, &err), err);
  json_t *doc = json_loadb((const char *)text.data, text.len, 0, &why);
  assert_non_null(doc);
  tri_buf_free(&text);
  return doc;
}

/* Layers that this worker has now; the epoch into *epoch. */
static int layers_of(tri_client *client, const char *name, int *epoch) {
  size_t i;
  json_t *w, *doc = status_of(client);
  int layers = 0;
  *epoch = (int)json_integer_value(json_object_get(doc, "epoch"));
  json_array_foreach(json_object_get(doc, "workers"), i, w)
    if (json_object_get(w, "stage") && strcmp(json_string_value(json_object_get(w, "name")), name) == 0)
      layers = (int)(json_integer_value(json_object_get(w, "last")) - json_integer_value(json_object_get(w, "first"))) + 1;
  json_decref(doc);
  return layers;
}

/* One round of jobs after another, until this epoch serves. */
static void work_until(const tri_cluster *c, tri_client *client, int epoch) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  for (int now = 0; now < epoch;) {
    ways w;
    ways_begin(&w, c);
    ways_finish(&w);
    layers_of(client, "", &now);
    if (tri_clock_ms() > until) fail_msg("epoch %d does not come", epoch);
  }
  lab_await_status(client, "\"serving\"");
}

/* Nobody waits for it; once it is there, there is a plan with it. */
static void who_joins_is_used(void **state) {
  (void)state;
  int epoch;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 3, .absent = 1, .least = 2, .fetch = true});
  tri_client *client = lab_dial(c);
  assert_ok(tri_cluster_wait(c, &err), err);
  assert_int_equal(layers_of(client, "w3", &epoch), 0);
  assert_ok(tri_cluster_restart(c, 2, &err), err);
  work_until(c, client, 2);
  assert_true(layers_of(client, "w3", &epoch) > 0);
  assert_int_equal(epoch, 2);
  assert_int_equal(log_between(c, "epoch 1 ends", "epoch 2 serves", "getting "), 0);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* Lets a process run a fourteenth of the time, until it is killed. */
static pid_t begin_to_slow(pid_t pid) {
  pid_t self = getpid(), child = fork();
  if (child > 0) return child;
  assert_int_equal(child, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (getppid() == self && kill(pid, SIGSTOP) == 0) {
    nanosleep(&(struct timespec){.tv_nsec = 2600000}, NULL);
    kill(pid, SIGCONT);
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
  }
  _exit(0);
}

static void who_slows_down_gets_less_until_it_is_fast_again(void **state) {
  (void)state;
  int epoch;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 2, .replan_every_s = 1});
  tri_client *client = lab_dial(c);
  int before = layers_of(client, "w1", &epoch);
  pid_t slower = begin_to_slow(tri_cluster_pid(c, 0));
  work_until(c, client, 2);
  int slowed = layers_of(client, "w1", &epoch);
  assert_true(slowed > 0 && slowed < before);
  assert_int_equal(kill(slower, SIGKILL), 0);
  lab_await_exit(slower);
  signal_worker(c, 0, SIGCONT);
  work_until(c, client, epoch + 1);
  assert_true(layers_of(client, "w1", &epoch) > slowed);
  lab_await_status(client, "\"failed\": 0");
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void who_comes_and_goes_is_left_out(void **state) {
  (void)state;
  int epoch;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 2, .least = 1, .replan_every_s = 1});
  tri_client *client = lab_dial(c);
  ways_begin(&w, c);
  for (int i = 0; i < 3; i++) {
    signal_worker(c, 1, SIGKILL);
    lab_await_exit(tri_cluster_pid(c, 1));
    lab_await_status(client, "\"lost\"");
    assert_ok(tri_cluster_restart(c, 1, &err), err);
    await_log(c, "worker w2 joined", (size_t)i + 2);
  }
  ways_finish(&w);
  lab_await_status(client, "\"serving\"");
  lab_await_status(client, "\"left_out\": \"failed 3 times in a short time; back in ");
  assert_int_equal(layers_of(client, "w2", &epoch), 0);
  assert_int_equal(log_count(c, "worker w2 failed 3 times in a short time: plans leave it out for 60 s"), 1);
  signal_worker(c, 0, SIGTERM); /* without another, it is better than none */
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 0)), 0);
  ways_begin(&w, c);
  ways_finish(&w);
  assert_true(layers_of(client, "w2", &epoch) > 0);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void answer_prefetch(fake *f, const char *text) {
  fake_await(f, TRI_MSG_PREFETCH);
  tri_msg m = {.kind = TRI_MSG_PREFETCHED, .prefetched = {.id = f->msg.prefetch.id + 1}}; /* of no plan that there is */
  fake_send(f, &m);
  m.prefetched.id--, m.prefetched.status = TRI_E_IO;
  snprintf(m.prefetched.text, sizeof m.prefetched.text, "%s", text);
  fake_send(f, &m);
}

/* It has joined, but its disk is full: the old plan stays, and who waits for another is told why. */
static void a_plan_that_fails_to_be_prepared_is_dropped(void **state) {
  (void)state;
  fake f;
  int fd, epoch;
  char admin[PATH_MAX];
  tri_buf said = {0};
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 3, .absent = 1, .least = 2, .lost_after_s = 60});
  tri_client *client = lab_dial(c);
  make_admin(c, admin);
  assert_ok(tri_cluster_wait(c, &err), err);
  fake_open(&f, c, "w3");
  fake_hello(&f, "w3");
  answer_prefetch(&f, "the disk is full");
  lab_await_status(client, "worker w3 cannot get the parts that it would need: the disk is full");
  pid_t pid = lab_spawn((const char *[]){"trireme", "drain", "w2", "--coordinator", tri_cluster_endpoint(c), "--key", admin, NULL}, &fd);
  answer_prefetch(&f, "the disk is still full");
  assert_int_equal(lab_finish(pid, fd, &said), 1);
  assert_non_null(strstr((char *)said.data, "w2 was not drained: worker w3 cannot get the parts that it would need: the disk is still full"));
  assert_true(layers_of(client, "w2", &epoch) > 0);
  assert_int_equal(epoch, 1);
  fake_send(&f, &(tri_msg){.kind = TRI_MSG_LEAVE});
  fake_await(&f, TRI_MSG_STOP);
  assert_true(f.msg.stop.leave);
  fake_close(&f);
  tri_buf_free(&said);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* The model needs two of them. */
static void who_is_needed_is_not_drained(void **state) {
  (void)state;
  char admin[PATH_MAX];
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 2, .memory = 20 << 20});
  make_admin(c, admin);
  drain(c, admin, "w2", NULL, 1, "without w2: the model does not fit");
  tri_cluster_stop(&c);
}

static void who_is_asked_to_end_leaves_first(void **state) {
  (void)state;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 3});
  tri_client *client = lab_dial(c);
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_GREEDY, 10);
  signal_worker(c, 0, SIGTERM);
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 0)), 0);
  ways_go_on(&w, WAYS_SEEDED, 60);
  signal_worker(c, 2, SIGTERM);
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 2)), 0);
  ways_go_on(&w, WAYS_SEEDED, 80);
  signal_worker(c, 1, SIGTERM); /* with nobody left jobs wait */
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 1)), 0);
  lab_await_status(client, "waiting for workers 0/3");
  for (int i = 0; i < 3; i++) assert_ok(tri_cluster_restart(c, i, &err), err);
  ways_finish(&w);
  lab_await_status(client, "\"failed\": 0");
  assert_int_equal(log_count(c, "was lost"), 0);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

/* A coordinator that does not answer can't keep it. */
static void asked_twice_it_ends_at_once(void **state) {
  (void)state;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 1});
  assert_int_equal(kill(tri_cluster_pid(c, -1), SIGSTOP), 0);
  int64_t began = tri_clock_ms();
  signal_worker(c, 0, SIGTERM);
  await_log(c, "as soon as the cluster can do without", 1);
  signal_worker(c, 0, SIGTERM);
  assert_int_equal(lab_await_exit(tri_cluster_pid(c, 0)), 0);
  assert_in_range(tri_clock_ms() - began, 0, 25000); /* it would have waited for 30 s */
  assert_int_equal(kill(tri_cluster_pid(c, -1), SIGCONT), 0);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_drained_worker_can_be_stopped),
      cmocka_unit_test(a_loss_on_the_way_is_survived),
      cmocka_unit_test(who_joins_is_used),
      cmocka_unit_test(who_slows_down_gets_less_until_it_is_fast_again),
      cmocka_unit_test(who_comes_and_goes_is_left_out),
      cmocka_unit_test(a_plan_that_fails_to_be_prepared_is_dropped),
      cmocka_unit_test(who_is_needed_is_not_drained),
      cmocka_unit_test(who_is_asked_to_end_leaves_first),
      cmocka_unit_test(asked_twice_it_ends_at_once),
  };
  return cmocka_run_group_tests(tests, ways_prepare, ways_clean_up);
}
