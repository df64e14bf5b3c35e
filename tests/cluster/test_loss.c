/* SPDX-License-Identifier: MIT */
/* Workers die, hang and come back; jobs that run go on, with the tokens that they would have had. */
#include "tests/cluster/ways.h"

#include <signal.h>

enum { WORKERS = 3 };

static tri_error err;

static void signal_worker(const tri_cluster *c, int worker, int number) { assert_int_equal(kill(tri_cluster_pid(c, worker), number), 0); }

/* --- what happens to them --- */

static void each_worker_is_killed_and_comes_back(void **state) {
  (void)state;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = WORKERS});
  tri_client *client = lab_dial(c);
  ways_begin(&w, c);
  for (int i = 0; i < 2 * WORKERS; i++) {
    ways_kind kind = (ways_kind)(i % WAYS_KINDS); /* two run at a time, so some are killed at their first token and some far on */
    ways_go_on(&w, kind, 5 + 10 * (size_t)i);
    signal_worker(c, i % WORKERS, SIGKILL);
    lab_await_status(client, "waiting for workers 2/3");
    assert_ok(tri_cluster_restart(c, i % WORKERS, &err), err);
  }
  ways_finish(&w);
  lab_await_status(client, "\"failed\": 0");
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void those_that_are_left_take_over(void **state) {
  (void)state;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = WORKERS, .least = 1});
  tri_client *client = lab_dial(c);
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_GREEDY, 10);
  signal_worker(c, 1, SIGKILL);
  ways_go_on(&w, WAYS_GREEDY, 60);
  signal_worker(c, 0, SIGKILL);
  ways_finish(&w);
  lab_await_status(client, "\"serving\""); /* over the one that is left */
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void with_nobody_left_jobs_wait(void **state) {
  (void)state;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 1});
  tri_client *client = lab_dial(c);
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_SEEDED, 10);
  signal_worker(c, 0, SIGKILL);
  lab_await_status(client, "waiting for workers 0/1");
  lab_await_status(client, "\"queued\": 5");
  assert_ok(tri_cluster_restart(c, 0, &err), err);
  ways_finish(&w);
  tri_client_close(&client);
  tri_cluster_stop(&c);
}

static void a_hang_is_noticed(void **state) {
  (void)state;
  ways w;
  tri_cluster *c = ways_start((tri_cluster_options){.workers = 2, .least = 1});
  ways_begin(&w, c);
  ways_go_on(&w, WAYS_GREEDY, 10);
  signal_worker(c, 1, SIGSTOP);
  ways_finish(&w);
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
  return cmocka_run_group_tests(tests, ways_prepare, ways_clean_up);
}
