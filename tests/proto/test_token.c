/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "proto/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static tri_error err;
enum { NOW = 1000000 };

static const char *in_dir(const char *file) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  return path;
}

static int set_up(void **state) {
  (void)state;
  strcpy(dir, "/tmp/trireme-token-XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}
static int tear_down(void **state) {
  (void)state;
  unlink(in_dir("tokens"));
  unlink(in_dir("lock"));
  return rmdir(dir);
}

static tri_token a_token(const char *hosts) {
  tri_token t = {.port = 7117, .enrol_port = 7118};
  strcpy(t.hosts, hosts);
  for (int i = 0; i < TRI_KEY_BYTES; i++) t.coordinator[i] = (uint8_t)(i * 7);
  assert_ok(tri_token_draw(&t, &err), err);
  return t;
}

static tri_grant a_grant(uint8_t id, uint32_t uses, int64_t expires_s) {
  tri_grant g = {.role = TRI_ROLE_WORKER, .uses = uses, .expires_s = expires_s, .name = "shelf 1"};
  g.id[0] = id, g.key[0] = id;
  return g;
}

static void a_line_goes_both_ways(void **state) {
  (void)state;
  char text[TRI_TOKEN_TEXT], longest[TRI_MAX_ENDPOINT];
  memset(longest, 'h', sizeof longest);
  longest[sizeof longest - 1] = 0;
  const char *const hosts[] = {"10.0.0.1", "coordinator.lan,10.0.0.1,[fd00::1]", longest};
  for (size_t i = 0; i < 3; i++) {
    tri_token t = a_token(hosts[i]), back;
    assert_ok(tri_token_print(&t, text, &err), err);
    assert_ok(tri_token_parse(&back, text, &err), err);
    assert_memory_equal(&t, &back, sizeof t);
  }
}

/* A slip in one place, and a line that was cut, must not pass. */
static void a_damaged_line_is_refused(void **state) {
  (void)state;
  char text[TRI_TOKEN_TEXT], bad[TRI_TOKEN_TEXT + 1];
  tri_token t = a_token("10.0.0.1"), untouched = {.port = 9}, back = untouched;
  assert_ok(tri_token_print(&t, text, &err), err);
  for (size_t i = 0; i < strlen(text); i++) {
    strcpy(bad, text);
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    assert_int_equal(tri_token_parse(&back, bad, &err), TRI_E_FORMAT);
    strcpy(bad, text);
    bad[i] = 0;
    assert_int_equal(tri_token_parse(&back, bad, &err), TRI_E_FORMAT);
    if (i > 8) assert_null(strstr(err.text, text + 5)); /* it is a secret */
  }
  snprintf(bad, sizeof bad, "%sA", text);
  assert_fails(tri_token_parse(&back, bad, &err), TRI_E_FORMAT, err, "damaged");
  assert_fails(tri_token_parse(&back, "hello", &err), TRI_E_FORMAT, err, "begins with \"tri1:\"");
  assert_memory_equal(&back, &untouched, sizeof back);
}

static void hosts_must_be_hosts(void **state) {
  (void)state;
  char text[TRI_TOKEN_TEXT];
  const char *const bad[] = {"", ",a", "a,", "a,,b", "a b", "a/b", "a\n", "tcp://a"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    tri_token t = a_token(bad[i]);
    if (tri_token_print(&t, text, &err) != TRI_E_INVALID) fail_msg("\"%s\" passes", bad[i]);
  }
  tri_token t = a_token("a");
  t.enrol_port = 0;
  assert_fails(tri_token_print(&t, text, &err), TRI_E_INVALID, err, "two ports");
}

static void its_key_depends_on_all_of_the_secret(void **state) {
  (void)state;
  tri_token t = a_token("a");
  uint8_t key[TRI_KEY_BYTES], other[TRI_KEY_BYTES];
  tri_token_key(&t, key);
  for (size_t bit = 0; bit < 8 * sizeof t.secret; bit++) {
    tri_token changed = t;
    changed.secret[bit / 8] ^= (uint8_t)(1 << bit % 8);
    tri_token_key(&changed, other);
    assert_memory_not_equal(key, other, sizeof key);
  }
}

static void the_file_keeps_uses(void **state) {
  (void)state;
  struct stat st;
  tri_grant_list list;
  tri_grant g = a_grant(1, 2, NOW + 60);
  assert_ok(tri_token_load(&list, dir, NOW, &err), err);
  assert_int_equal(list.count, 0);
  assert_ok(tri_token_add(&g, dir, NOW, &err), err);
  assert_int_equal(stat(in_dir("tokens"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_ok(tri_token_spend(g.id, dir, NOW, &err), err);
  assert_ok(tri_token_spend(g.id, dir, NOW, &err), err);
  assert_fails(tri_token_spend(g.id, dir, NOW, &err), TRI_E_DENIED, err, "used up");
  assert_ok(tri_token_load(&list, dir, NOW, &err), err);
  assert_int_equal(list.count, 1);
  g.uses = 0;
  assert_memory_equal(&list.items[0], &g, sizeof g);
  assert_false(tri_token_is_live(&list.items[0], NOW));
  tri_token_free_list(&list);
  g = a_grant(2, 1, NOW + 60);
  memset(g.name, 0, sizeof g.name);
  assert_ok(tri_token_add(&g, dir, NOW, &err), err);
  assert_fails(tri_token_spend(g.id, dir, NOW + 60, &err), TRI_E_DENIED, err, "expired");
  assert_fails(tri_token_spend((const uint8_t *)"nothing.", dir, NOW, &err), TRI_E_NOT_FOUND, err, "not there");
  assert_ok(tri_token_load(&list, dir, NOW, &err), err);
  assert_memory_equal(tri_token_find(&list, g.id), &g, sizeof g);
  tri_token_free_list(&list);
  assert_ok(tri_token_load(&list, dir, NOW + 60 + 24 * 3600, &err), err); /* a day later */
  assert_int_equal(list.count, 0);
  tri_token_free_list(&list);
}

static void one_is_revoked_by_the_beginning_of_its_id(void **state) {
  (void)state;
  const uint8_t ids[] = {0x12, 0x13, 0x40};
  tri_grant_list list;
  for (int i = 0; i < 3; i++) {
    tri_grant g = a_grant(ids[i], 1, NOW + 60);
    assert_ok(tri_token_add(&g, dir, NOW, &err), err);
  }
  assert_fails(tri_token_revoke("1", dir, NOW, &err), TRI_E_INVALID, err, "more than one");
  assert_fails(tri_token_revoke("5", dir, NOW, &err), TRI_E_NOT_FOUND, err, "no live token");
  assert_fails(tri_token_revoke("", dir, NOW, &err), TRI_E_INVALID, err, "which");
  assert_ok(tri_token_revoke("13", dir, NOW, &err), err);
  assert_ok(tri_token_load(&list, dir, NOW, &err), err);
  assert_int_equal(list.count, 2);
  assert_int_equal(list.items[0].id[0], 0x12);
  assert_int_equal(list.items[1].id[0], 0x40);
  tri_token_free_list(&list);
}

static void a_loose_file_or_folder_is_refused(void **state) {
  (void)state;
  tri_grant_list list;
  tri_grant g = a_grant(1, 1, NOW + 60);
  assert_ok(tri_token_add(&g, dir, NOW, &err), err);
  chmod(in_dir("tokens"), 0640);
  assert_fails(tri_token_load(&list, dir, NOW, &err), TRI_E_FORMAT, err, "chmod 600");
  chmod(in_dir("tokens"), 0600);
  chmod(dir, 0720);
  assert_fails(tri_token_load(&list, dir, NOW, &err), TRI_E_FORMAT, err, "chmod go-w");
  chmod(dir, 0700);
}

#define LINE "1200000000000000 00000000000000000000000000000000000000000 worker 1 99 x\n"
#define GOOD "1200000000000000 0000000000000000000000000000000000000000 worker 1 99 x\n"

static void a_bad_line_is_named(void **state) {
  (void)state;
  const char *const bad[] = {
      LINE, "x\n", GOOD GOOD, "1200000000000000 0000000000000000000000000000000000000000 none 1 99 x\n",
      "1200000000000000 0000000000000000000000000000000000000000 worker 10001 99 x\n",
      "1200000000000000 0000000000000000000000000000000000000000 worker 1 -1 x\n",
      "1200000000000000 0000000000000000000000000000000000000000 worker 1 99\n",
      "120000000000000 0000000000000000000000000000000000000000 worker 1 99 x\n",
      "120000000000000g 0000000000000000000000000000000000000000 worker 1 99 x\n",
      "1200000000000000 0000000000000000000000000000000000000000 worker -1 99 x\n",
  };
  tri_grant_list list = {0};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    tri_status status = tri_token_parse_list(&list, (const uint8_t *)bad[i], strlen(bad[i]), &err);
    assert_case(i, status, TRI_E_FORMAT, err, i == 2 ? "line 2" : "line 1");
  }
  assert_ok(tri_token_parse_list(&list, (const uint8_t *)"# mine\n\n" GOOD, strlen("# mine\n\n" GOOD), &err), err);
  assert_int_equal(list.count, 1);
  assert_string_equal(list.items[0].name, "x");
  tri_token_free_list(&list);
}

/* Several processes at once: no use is counted twice and none is lost. */
static void uses_are_counted_once(void **state) {
  (void)state;
  enum { PROCESSES = 8, TRIES = 5, USES = 25 };
  tri_grant g = a_grant(1, USES, NOW + 60);
  assert_ok(tri_token_add(&g, dir, NOW, &err), err);
  for (int p = 0; p < PROCESSES; p++) {
    if (fork() != 0) continue;
    int got = 0;
    for (int i = 0; i < TRIES; i++) got += tri_token_spend(g.id, dir, NOW, NULL) == TRI_OK;
    _exit(got);
  }
  int sum = 0, status;
  while (wait(&status) > 0) sum += WEXITSTATUS(status);
  assert_int_equal(sum, USES);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(a_line_goes_both_ways), EACH(a_damaged_line_is_refused), EACH(hosts_must_be_hosts),
      EACH(its_key_depends_on_all_of_the_secret), EACH(the_file_keeps_uses), EACH(one_is_revoked_by_the_beginning_of_its_id),
      EACH(a_loose_file_or_folder_is_refused), EACH(a_bad_line_is_named), EACH(uses_are_counted_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
