/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/clock.h"
#include "proto/loop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static tri_error err;
static tri_net *net;
static tri_loop *loop;
static int calls;

static int set_up(void **state) {
  (void)state;
  tri_keypair self;
  calls = 0;
  if (tri_keys_generate(&self, "n", &err) != TRI_OK || tri_net_create(&net, &self, NULL, NULL, &err) != TRI_OK) return -1;
  return tri_loop_create(&loop, net, &err) == TRI_OK ? 0 : -1;
}
static int tear_down(void **state) {
  (void)state;
  tri_loop_destroy(&loop);
  tri_net_destroy(&net);
  return loop || net ? -1 : 0;
}

static int ready_fd(void) {
  int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  assert_true(fd >= 0);
  return fd;
}
static void count(void *arg) { (void)arg, calls++; }
static void count_and_stop(void *arg) { (void)arg, calls++, tri_loop_stop(loop); }

static void a_timeout_ends_the_run(void **state) {
  (void)state;
  int64_t start = tri_clock_ms();
  assert_int_equal(tri_loop_run(loop, 30, &err), TRI_E_TIMEOUT);
  assert_true(tri_clock_ms() - start >= 30);
  assert_int_equal(tri_loop_run(loop, 0, &err), TRI_E_TIMEOUT);
}

static void stop_before_run_returns_at_once(void **state) {
  (void)state;
  tri_loop_stop(loop);
  assert_ok(tri_loop_run(loop, -1, &err), err);
  assert_int_equal(tri_loop_run(loop, 0, &err), TRI_E_TIMEOUT); /* and only once */
}

static void stop_at_three(void *arg) {
  (void)arg;
  if (++calls == 3) tri_loop_stop(loop);
}
static void ticks_keep_their_time(void **state) {
  (void)state;
  int64_t start = tri_clock_ms();
  tri_loop_set_tick(loop, 10, stop_at_three, NULL);
  assert_ok(tri_loop_run(loop, -1, &err), err);
  assert_int_equal(calls, 3);
  assert_true(tri_clock_ms() - start >= 30);
}

static void a_ready_fd_is_called_until_read(void **state) {
  (void)state;
  int fd = ready_fd();
  assert_ok(tri_loop_add_fd(loop, fd, stop_at_three, NULL, &err), err);
  assert_ok(tri_loop_run(loop, -1, &err), err);
  assert_int_equal(calls, 3);
  tri_loop_remove_fd(loop, fd);
  assert_int_equal(tri_loop_run(loop, 5, &err), TRI_E_TIMEOUT);
  assert_int_equal(calls, 3);
  close(fd);
  assert_fails(tri_loop_add_fd(loop, -1, count, NULL, &err), TRI_E_INVALID, err, "negative");
}

/* Three are ready; the first that is called removes the others, which must then not be called in the same round. */
static int fds[3], called_for[3];
static void remove_the_others(void *arg) {
  int self = *(int *)arg;
  for (int i = 0; i < 3; i++)
    if (fds[i] != self) tri_loop_remove_fd(loop, fds[i]);
    else called_for[i]++;
}
static void a_callback_may_remove_others(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    fds[i] = ready_fd();
    assert_ok(tri_loop_add_fd(loop, fds[i], remove_the_others, &fds[i], &err), err);
  }
  tri_loop_set_tick(loop, 5, count_and_stop, NULL);
  assert_ok(tri_loop_run(loop, -1, &err), err);
  assert_true(called_for[0] > 0);
  assert_int_equal(called_for[1] + called_for[2], 0);
  for (int i = 0; i < 3; i++) close(fds[i]);
}

/* Replaces itself twenty times, and adds another each time, so that the loop's arrays move beneath it. */
static int extra[20], extras;
static void replace_itself(void *arg) {
  int fd = *(int *)arg;
  tri_loop_remove_fd(loop, fd);
  extra[extras] = ready_fd();
  assert_ok(tri_loop_add_fd(loop, extra[extras], count, NULL, &err), err);
  assert_ok(tri_loop_add_fd(loop, fd, ++extras < 20 ? replace_itself : count_and_stop, arg, &err), err);
}
static void a_callback_may_add_and_remove_itself(void **state) {
  (void)state;
  int fd = ready_fd();
  assert_ok(tri_loop_add_fd(loop, fd, replace_itself, &fd, &err), err);
  assert_ok(tri_loop_run(loop, 5000, &err), err);
  assert_int_equal(extras, 20);
  assert_int_equal(calls, 20 * 21 / 2 - 20 + 20 + 1); /* the k-th extra waits a round, then is called in each; and the stop */
  for (int i = 0; i < 20; i++) close(extra[i]);
  close(fd);
}

static void signals_arrive_as_callbacks(void **state) {
  (void)state;
  assert_ok(tri_loop_on_signal(loop, count_and_stop, NULL, &err), err);
  raise(SIGTERM);
  assert_ok(tri_loop_run(loop, 5000, &err), err);
  raise(SIGINT);
  assert_ok(tri_loop_run(loop, 5000, &err), err);
  assert_int_equal(calls, 2);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(a_timeout_ends_the_run),          EACH(stop_before_run_returns_at_once),
      EACH(ticks_keep_their_time),           EACH(a_ready_fd_is_called_until_read),
      EACH(a_callback_may_remove_others),    EACH(a_callback_may_add_and_remove_itself),
      EACH(signals_arrive_as_callbacks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
