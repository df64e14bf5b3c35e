/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "proto/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

static tri_error err;
static int values[8];

static bool readable(const tri_mailbox *m) {
  struct pollfd p = {tri_mailbox_fd(m), POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

static void order_is_kept_and_capacity_held(void **state) {
  (void)state;
  tri_mailbox *m;
  assert_ok(tri_mailbox_create(&m, 3, &err), err);
  assert_null(tri_mailbox_take(m));
  for (int round = 0; round < 5; round++) { /* so that the ring wraps at every place */
    assert_false(readable(m));
    for (int i = 0; i < 3; i++) assert_int_equal(tri_mailbox_put(m, &values[i]), TRI_OK);
    assert_int_equal(tri_mailbox_put(m, &values[3]), TRI_E_BUSY);
    assert_true(readable(m));
    assert_ptr_equal(tri_mailbox_take(m), &values[0]);
    assert_int_equal(tri_mailbox_put(m, &values[3]), TRI_OK);
    for (int i = 1; i <= 3; i++) {
      assert_true(readable(m));
      assert_ptr_equal(tri_mailbox_take(m), &values[i]);
    }
    assert_null(tri_mailbox_take(m));
  }
  tri_mailbox_destroy(&m);
  assert_null(m);
  tri_mailbox_destroy(&m);
}

static void a_closed_mailbox_empties_but_takes_nothing(void **state) {
  (void)state;
  tri_mailbox *m;
  assert_ok(tri_mailbox_create(&m, 2, &err), err);
  assert_int_equal(tri_mailbox_put(m, &values[0]), TRI_OK);
  tri_mailbox_close(m);
  assert_int_equal(tri_mailbox_put(m, &values[1]), TRI_E_CANCELLED);
  assert_ptr_equal(tri_mailbox_wait(m), &values[0]);
  assert_null(tri_mailbox_wait(m));
  tri_mailbox_destroy(&m);
}

static void no_room_is_an_error(void **state) {
  (void)state;
  tri_mailbox *m;
  assert_fails(tri_mailbox_create(&m, 0, &err), TRI_E_INVALID, err, "0 items");
  assert_fails(tri_mailbox_create(&m, SIZE_MAX, &err), TRI_E_INVALID, err, "items");
}

/* Four producers, one consumer: each producer's items arrive in order, none is lost. */
enum { PRODUCERS = 4, ITEMS = 20000 };
typedef struct producer { tri_mailbox *m; uintptr_t number; } producer;

static void *produce(void *arg) {
  producer *p = arg;
  for (uintptr_t i = 1; i <= ITEMS; i++)
    while (tri_mailbox_put(p->m, (void *)(p->number << 32 | i)) == TRI_E_BUSY) sched_yield();
  return NULL;
}

static void many_threads_lose_nothing(void **state) {
  (void)state;
  tri_mailbox *m;
  assert_ok(tri_mailbox_create(&m, 16, &err), err);
  producer producers[PRODUCERS];
  pthread_t threads[PRODUCERS];
  uintptr_t last[PRODUCERS] = {0};
  for (uintptr_t p = 0; p < PRODUCERS; p++) {
    producers[p] = (producer){m, p};
    assert_int_equal(pthread_create(&threads[p], NULL, produce, &producers[p]), 0);
  }
  bool in_order = true;
  for (int i = 0; i < PRODUCERS * ITEMS; i++) {
    uintptr_t item = (uintptr_t)tri_mailbox_wait(m), p = item >> 32;
    in_order = in_order && p < PRODUCERS && (item & 0xffffffff) == last[p] + 1;
    last[p % PRODUCERS]++;
  }
  for (int p = 0; p < PRODUCERS; p++) pthread_join(threads[p], NULL);
  assert_true(in_order);
  assert_null(tri_mailbox_take(m));
  assert_false(readable(m));
  tri_mailbox_destroy(&m);
}

static void *wait_one(void *arg) { return tri_mailbox_wait(arg); }

static void closing_wakes_every_waiter(void **state) {
  (void)state;
  tri_mailbox *m;
  pthread_t threads[3];
  assert_ok(tri_mailbox_create(&m, 1, &err), err);
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, wait_one, m), 0);
  tri_mailbox_close(m);
  for (int i = 0; i < 3; i++) {
    void *item = m;
    pthread_join(threads[i], &item);
    assert_null(item);
  }
  tri_mailbox_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_is_kept_and_capacity_held), cmocka_unit_test(a_closed_mailbox_empties_but_takes_nothing),
      cmocka_unit_test(no_room_is_an_error),             cmocka_unit_test(many_threads_lose_nothing),
      cmocka_unit_test(closing_wakes_every_waiter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
