/* SPDX-License-Identifier: MIT */
/* The choice of run-time forms: it never shows in a result, is kept between runs, and can be forced. */
#include "tests/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "engine/single.h"

#define MODEL TRIREME_FIXTURES "/bitnetcpp-tiny-llama/model-i2_s.gguf"
enum { TOKENS = 20, VOCAB = 512 };

static tri_error err;
static char dir[64];

static int set_up(void **state) {
  (void)state;
  strcpy(dir, "/tmp/trireme-tune-XXXXXX");
  return mkdtemp(dir) && setenv("XDG_CACHE_HOME", dir, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", dir);
  unsetenv("TRIREME_FORM");
  return system(command);
}

/* Logits through a model whose matrices all have the form named. */
static bool logits_in(const char *form, float out[TOKENS * VOCAB]) {
  int32_t tokens[TOKENS];
  for (int i = 0; i < TOKENS; i++) tokens[i] = i * 29 % VOCAB;
  tri_single s;
  tri_single_options o = {.threads = 2};
  setenv("TRIREME_FORM", form, 1);
  tri_status status = tri_single_open(&s, MODEL, &o, &err);
  if (status == TRI_E_UNSUPPORTED) return print_message("no %s here\n", form), false;
  assert_ok(status, err);
  assert_true(s.tune.forced);
  assert_int_equal(tri_single_feed_all(&s, 0, 0, tokens, TOKENS - 1, out, &err), TRI_OK);
  assert_int_equal(tri_single_feed_all(&s, 0, TOKENS - 1, tokens + TOKENS - 1, 1, out + (TOKENS - 1) * VOCAB, &err), TRI_OK);
  tri_single_close(&s);
  return true;
}

static void every_form_gives_the_same_logits(void **state) {
  (void)state;
  static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
  assert_true(logits_in("i2s", want));
  const char *const others[] = {"tl1", "tl2", "t5"};
  for (int i = 0; i < 3; i++)
    if (logits_in(others[i], got)) assert_memory_equal(got, want, sizeof want);
}

static void a_wrong_form_is_named(void **state) {
  (void)state;
  tri_single s;
  tri_single_options o = {.threads = 1};
  setenv("TRIREME_FORM", "tl3", 1);
  assert_fails(tri_single_open(&s, MODEL, &o, &err), TRI_E_INVALID, err, "TRIREME_FORM=tl3");
}

static void timings_are_made_once(void **state) {
  (void)state;
  unsetenv("TRIREME_FORM");
  char why[256];
  const tri_kernels *k = tri_kernels_pick(why, sizeof why);
  tri_pool *pool;
  assert_ok(tri_pool_create(&pool, 2, &err), err);
  const tri_shape shape = {.d = 2560, .n_heads = 20, .n_kv = 5, .hd = 128, .ffn = 6912, .vocab = 100};
  tri_tune first, again;
  assert_ok(tri_tune_choose(&first, &shape, k, pool, &err), err);
  assert_false(first.cached);
  assert_int_equal(first.n, 4); /* q and o are alike, k and v, gate and up */
  for (int i = 0; i < first.n; i++) assert_true(first.entries[i].one_us[first.entries[i].form] > 0);
  assert_ok(tri_tune_choose(&again, &shape, k, pool, &err), err);
  assert_true(again.cached);
  for (int i = 0; i < first.n; i++) {
    assert_int_equal(again.entries[i].form, first.entries[i].form);
    assert_int_equal(tri_tune_form(&again, first.entries[i].m, first.entries[i].k), first.entries[i].form);
  }
  /* a file that someone broke is timed anew */
  char command[256];
  snprintf(command, sizeof command, "for f in '%s'/trireme/tune-*.json; do echo '{\"key\": 7}' > \"$f\"; done", dir);
  assert_int_equal(system(command), 0);
  assert_ok(tri_tune_choose(&again, &shape, k, pool, &err), err);
  assert_false(again.cached);
  tri_pool_destroy(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_form_gives_the_same_logits), cmocka_unit_test(a_wrong_form_is_named),
                                     cmocka_unit_test(timings_are_made_once)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
