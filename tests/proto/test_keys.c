/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/file.h"
#include "proto/keys.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], dir[96];
static tri_error err;

static const char *in_dir(const char *file) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  return path;
}
static void write_file(const char *file, const char *text, mode_t mode) {
  FILE *f = fopen(in_dir(file), "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  assert_int_equal(chmod(in_dir(file), mode), 0);
}
static void remove_files(void) {
  const char *files[] = {"secret.key", "public.key", "coordinator.key", "allowed.keys", "lock", "listening"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(in_dir(files[i]));
}

static int set_up(void **state) {
  (void)state;
  strcpy(root, "/tmp/trireme-keys-XXXXXX");
  if (!mkdtemp(root)) return -1;
  snprintf(dir, sizeof dir, "%s/keys", root);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  remove_files();
  rmdir(dir);
  return rmdir(root); /* fails if something is left behind */
}

static void keys_are_saved_and_loaded(void **state) {
  (void)state;
  tri_keypair a, b;
  struct stat st;
  assert_ok(tri_keys_generate(&a, "node one", &err), err);
  assert_ok(tri_keys_save(&a, dir, &err), err);
  assert_int_equal(stat(dir, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  assert_int_equal(stat(in_dir("secret.key"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_ok(tri_keys_load(&b, dir, &err), err);
  assert_memory_equal(&a, &b, sizeof a);
  assert_fails(tri_keys_save(&b, dir, &err), TRI_E_INVALID, err, "a key is there already");
  tri_keys_wipe(&b);
  for (size_t i = 0; i < sizeof b; i++) assert_int_equal(((uint8_t *)&b)[i], 0);
}

static void loose_secrets_are_refused(void **state) {
  (void)state;
  tri_keypair a;
  const mode_t loose[] = {0640, 0604, 0660, 0601};
  assert_ok(tri_keys_generate(&a, "n", &err), err);
  assert_ok(tri_keys_save(&a, dir, &err), err);
  for (size_t i = 0; i < sizeof loose / sizeof loose[0]; i++) {
    chmod(in_dir("secret.key"), loose[i]);
    assert_fails(tri_keys_load(&a, dir, &err), TRI_E_FORMAT, err, "chmod 600");
  }
}

static void broken_key_files_are_refused(void **state) {
  (void)state;
  tri_keypair a, b, loaded = {.name = "before"};
  char text[256], secret[TRI_KEY_TEXT], other[TRI_KEY_TEXT];
  assert_fails(tri_keys_load(&loaded, dir, &err), TRI_E_NOT_FOUND, err, "there is no key");
  assert_ok(tri_keys_generate(&a, "n", &err), err);
  assert_ok(tri_keys_generate(&b, "n", &err), err);
  assert_ok(tri_keys_save(&a, dir, &err), err);
  tri_keys_text(a.secret_key, secret), tri_keys_text(b.public_key, other);
  snprintf(text, sizeof text, "secret %s\npublic %s\n", secret, other);
  write_file("secret.key", text, 0600);
  assert_fails(tri_keys_load(&loaded, dir, &err), TRI_E_FORMAT, err, "do not belong together");
  const char *bad[] = {"", "secret", "secret x\npublic y\n", "nothing of the kind", "secret \n"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    write_file("secret.key", bad[i], 0600);
    assert_fails(tri_keys_load(&loaded, dir, &err), TRI_E_FORMAT, err, "secret.key");
  }
  unlink(in_dir("secret.key"));
  assert_ok(tri_keys_save(&a, dir, &err), err);
  snprintf(text, sizeof text, "%s n\n", other);
  write_file("public.key", text, 0644);
  assert_fails(tri_keys_load(&loaded, dir, &err), TRI_E_FORMAT, err, "public.key");
  assert_string_equal(loaded.name, "before");
}

static void names_must_fit_on_a_line(void **state) {
  (void)state;
  tri_keypair a;
  char longer[TRI_MAX_NAME + 1];
  memset(longer, 'x', sizeof longer);
  longer[TRI_MAX_NAME] = 0;
  const char *bad[] = {"", " a", "a ", "a\nb", "\x7f", longer};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_fails(tri_keys_generate(&a, bad[i], &err), TRI_E_INVALID, err, "name");
  longer[TRI_MAX_NAME - 1] = 0;
  assert_ok(tri_keys_generate(&a, longer, &err), err);
}

static void text_form_goes_both_ways(void **state) {
  (void)state;
  tri_keypair a;
  char text[TRI_KEY_TEXT + 2];
  uint8_t key[TRI_KEY_BYTES], untouched[TRI_KEY_BYTES] = {7};
  for (int i = 0; i < 50; i++) {
    assert_ok(tri_keys_generate(&a, "n", &err), err);
    tri_keys_text(a.public_key, text);
    assert_int_equal(strlen(text), TRI_KEY_TEXT - 1);
    assert_int_equal(tri_keys_parse(text, key), TRI_OK);
    assert_memory_equal(key, a.public_key, sizeof key);
  }
  strcat(text, "0");
  memcpy(key, untouched, sizeof key);
  assert_int_equal(tri_keys_parse(text, key), TRI_E_FORMAT);
  text[TRI_KEY_TEXT - 2] = 0;
  assert_int_equal(tri_keys_parse(text, key), TRI_E_FORMAT);
  assert_int_equal(tri_keys_parse("", key), TRI_E_FORMAT);
  assert_int_equal(tri_keys_parse("########################################", key), TRI_E_FORMAT); /* > 2^32 */
  assert_int_equal(tri_keys_parse("0000000000000000000 00000000000000000000", key), TRI_E_FORMAT);
  assert_int_equal(tri_keys_parse("000000000000000000000000000000000000000\xff", key), TRI_E_FORMAT);
  assert_memory_equal(key, untouched, sizeof key);
}

static void the_coordinators_key_is_kept(void **state) {
  (void)state;
  tri_keypair a;
  uint8_t key[TRI_KEY_BYTES];
  mkdir(dir, 0700);
  assert_fails(tri_keys_load_coordinator(key, dir, &err), TRI_E_NOT_FOUND, err, "coordinator.key");
  assert_ok(tri_keys_generate(&a, "n", &err), err);
  assert_ok(tri_keys_save_coordinator(a.public_key, NULL, dir, &err), err);
  assert_ok(tri_keys_load_coordinator(key, dir, &err), err);
  assert_memory_equal(key, a.public_key, sizeof key);
  write_file("coordinator.key", "short\n", 0644);
  assert_fails(tri_keys_load_coordinator(key, dir, &err), TRI_E_FORMAT, err, "not a public key");
}

/* ---- The allow-list ---- */

#define KEY_A "0000000000000000000000000000000000000001"
#define KEY_B "0000000000000000000000000000000000000002"

static tri_status parse(tri_allow_list *list, const char *text) {
  return tri_keys_parse_allowed(list, (const uint8_t *)text, strlen(text), &err);
}

static void an_allow_list_is_read(void **state) {
  (void)state;
  tri_allow_list list = {0};
  uint8_t key[TRI_KEY_BYTES], other[TRI_KEY_BYTES] = {0xff};
  assert_ok(parse(&list, "# who may talk to us\n\n" KEY_A " worker w 1 # east\r\n" KEY_B " admin root"), err);
  assert_int_equal(list.count, 2);
  assert_string_equal(list.items[0].name, "w 1 # east");
  assert_int_equal(tri_keys_parse(KEY_B, key), TRI_OK);
  const tri_allowed *found = tri_keys_find(&list, key);
  assert_ptr_equal(found, &list.items[1]);
  assert_int_equal(found->role, TRI_ROLE_ADMIN);
  assert_null(tri_keys_find(&list, other));
  tri_keys_free_allowed(&list);
  assert_null(tri_keys_find(&list, key));
  assert_ok(parse(&list, ""), err);
  assert_int_equal(list.count, 0);
}

static void a_bad_line_is_named(void **state) {
  (void)state;
  tri_allow_list list = {0};
  const struct { const char *text, *why; } bad[] = {
      {"\n" KEY_A, "line 2: does not begin"},
      {KEY_A " ", "line 1: does not begin"},
      {KEY_A " worker", "line 1: after the key"},
      {KEY_A " none x", "line 1: after the key"},
      {KEY_A " boss x", "line 1: after the key"},
      {KEY_A " workerx y", "line 1: after the key"},
      {KEY_A "  worker y", "line 1: after the key"},
      {KEY_A "\tworker y", "line 1: does not begin"},
      {KEY_A " worker  y", "line 1: the name"},
      {KEY_A " worker a\x01", "line 1: the name"},
      {" " KEY_A " worker x", "line 1: does not begin"},
      {"nonsense", "line 1: does not begin"},
      {KEY_A " worker a\n#\n" KEY_A " client b\n", "line 3: the key of \"b\" is on the list already"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_fails(parse(&list, bad[i].text), TRI_E_FORMAT, err, bad[i].why);
    assert_int_equal(list.count, 0);
  }
  assert_int_equal(tri_keys_parse_allowed(&list, (const uint8_t *)KEY_A " worker a\0b", 51, &err), TRI_E_FORMAT);
}

static void keys_are_added_to_the_list(void **state) {
  (void)state;
  tri_allow_list list = {0};
  mkdir(dir, 0700);
  assert_ok(tri_keys_load_allowed(&list, dir, &err), err); /* no file: empty */
  assert_int_equal(list.count, 0);
  tri_allowed item = {.role = TRI_ROLE_WORKER, .name = "w1"};
  write_file("allowed.keys", "# kept, though its line has no end", 0644);
  for (uint8_t i = 1; i <= 9; i++) {
    item.key[0] = i;
    assert_ok(tri_keys_add_allowed(&item, dir, &err), err);
  }
  assert_fails(tri_keys_add_allowed(&item, dir, &err), TRI_E_INVALID, err, "on the list already");
  item.key[0] = 10, strcpy(item.name, "a\nb");
  assert_fails(tri_keys_add_allowed(&item, dir, &err), TRI_E_INVALID, err, "name");
  strcpy(item.name, "ok"), item.role = TRI_ROLE_NONE;
  assert_fails(tri_keys_add_allowed(&item, dir, &err), TRI_E_INVALID, err, "role");
  assert_ok(tri_keys_load_allowed(&list, dir, &err), err);
  assert_int_equal(list.count, 9);
  assert_string_equal(list.items[8].name, "w1");
  tri_keys_free_allowed(&list);
  write_file("allowed.keys", "x\n", 0644);
  assert_fails(tri_keys_load_allowed(&list, dir, &err), TRI_E_FORMAT, err, "allowed.keys: line 1");
  assert_fails(tri_keys_add_allowed(&item, dir, &err), TRI_E_INVALID, err, "role");
}

/* The list as text. */
static void expect_list(const char *want) {
  tri_buf text = {0};
  assert_ok(tri_file_read(&text, in_dir("allowed.keys"), 4096, &err), err);
  assert_string_equal((char *)text.data, want);
  tri_buf_free(&text);
}

static void the_list_is_edited_in_place(void **state) {
  (void)state;
  tri_allowed was;
  mkdir(dir, 0700);
  write_file("allowed.keys", "# mine\n" KEY_A " worker w1\n\n#" KEY_A "\n" KEY_B " admin boss\r\n", 0644);
  assert_fails(tri_keys_rename_allowed("w1", "boss", dir, &err), TRI_E_INVALID, err, "taken");
  assert_fails(tri_keys_rename_allowed("w1", "a\nb", dir, &err), TRI_E_INVALID, err, "name");
  assert_fails(tri_keys_rename_allowed("w9", "x", dir, &err), TRI_E_NOT_FOUND, err, "w9");
  assert_ok(tri_keys_rename_allowed("w1", "attic 2", dir, &err), err);
  assert_ok(tri_keys_rename_allowed(KEY_B, "chief", dir, &err), err);
  expect_list("# mine\n" KEY_A " worker attic 2\n\n#" KEY_A "\n" KEY_B " admin chief\n");
  assert_ok(tri_keys_remove_allowed(&was, "attic 2", dir, &err), err);
  assert_int_equal(was.role, TRI_ROLE_WORKER);
  assert_ok(tri_keys_remove_allowed(&was, KEY_B, dir, &err), err);
  assert_string_equal(was.name, "chief");
  expect_list("# mine\n\n#" KEY_A "\n");
  write_file("allowed.keys", KEY_A " worker w\n" KEY_B " client w\n", 0644);
  assert_fails(tri_keys_remove_allowed(&was, "w", dir, &err), TRI_E_INVALID, err, "give the key");
}

static void who_is_admitted_gets_a_name_of_its_own(void **state) {
  (void)state;
  tri_allowed item = {.role = TRI_ROLE_WORKER, .name = "pi"};
  mkdir(dir, 0700);
  const char *const want[] = {"pi", "pi-2", "pi-3"};
  for (uint8_t i = 0; i < 3; i++) {
    item.key[0] = i, strcpy(item.name, "pi");
    assert_ok(tri_keys_admit(&item, dir, &err), err);
    assert_string_equal(item.name, want[i]);
  }
  memset(item.name, 'x', TRI_MAX_NAME - 1);
  for (uint8_t i = 3; i < 5; i++) {
    item.key[0] = i;
    assert_ok(tri_keys_admit(&item, dir, &err), err);
    assert_int_equal(strlen(item.name), TRI_MAX_NAME - 1);
  }
  assert_string_equal(item.name + TRI_MAX_NAME - 5, "xx-2");
}

static void lists_that_others_may_write_are_refused(void **state) {
  (void)state;
  tri_allow_list list = {0};
  mkdir(dir, 0700);
  write_file("allowed.keys", KEY_A " worker w1\n", 0664);
  assert_fails(tri_keys_load_allowed(&list, dir, &err), TRI_E_FORMAT, err, "chmod go-w");
  chmod(in_dir("allowed.keys"), 0644);
  chmod(dir, 0777);
  assert_fails(tri_keys_load_allowed(&list, dir, &err), TRI_E_FORMAT, err, "chmod go-w");
  chmod(dir, 0700);
}

static void where_the_coordinator_is_is_kept(void **state) {
  (void)state;
  uint8_t key[TRI_KEY_BYTES], back[TRI_KEY_BYTES];
  char endpoint[TRI_MAX_ENDPOINT], enrol[TRI_MAX_ENDPOINT];
  mkdir(dir, 0700);
  assert_int_equal(tri_keys_parse(KEY_A, key), TRI_OK);
  assert_ok(tri_keys_save_coordinator(key, "tcp://10.0.0.1:7117", dir, &err), err);
  assert_ok(tri_keys_load_coordinator(back, dir, &err), err);
  assert_memory_equal(key, back, sizeof key);
  assert_ok(tri_keys_load_endpoint(endpoint, dir, &err), err);
  assert_string_equal(endpoint, "tcp://10.0.0.1:7117");
  write_file("coordinator.key", KEY_A "\n", 0644); /* as it was before endpoints were kept */
  assert_ok(tri_keys_load_endpoint(endpoint, dir, &err), err);
  assert_string_equal(endpoint, "");
  const char *const bad[] = {KEY_A " http://x", KEY_A " tcp://a b", KEY_A "x", " " KEY_A, KEY_A "\ntcp://x:1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    write_file("coordinator.key", bad[i], 0644);
    tri_status status = tri_keys_load_endpoint(endpoint, dir, &err);
    assert_case(i, status, TRI_E_FORMAT, err, "not a public key");
  }
  assert_fails(tri_keys_load_listening(endpoint, enrol, dir, &err), TRI_E_NOT_FOUND, err, "listening");
  assert_ok(tri_keys_save_listening("tcp://0.0.0.0:1", "", dir, &err), err);
  assert_ok(tri_keys_load_listening(endpoint, enrol, dir, &err), err);
  assert_string_equal(endpoint, "tcp://0.0.0.0:1");
  assert_string_equal(enrol, "");
}

static void a_user_has_folders_of_its_own(void **state) {
  (void)state;
  char path[PATH_MAX];
  setenv("XDG_CONFIG_HOME", "/x", 1), setenv("HOME", "/home/me", 1);
  assert_ok(tri_keys_default_dir(path, "worker", &err), err);
  assert_string_equal(path, "/x/trireme/worker");
  setenv("XDG_CONFIG_HOME", "relative", 1);
  assert_ok(tri_keys_default_dir(path, "client", &err), err);
  assert_string_equal(path, "/home/me/.config/trireme/client");
  unsetenv("XDG_CONFIG_HOME"), unsetenv("HOME");
  assert_fails(tri_keys_default_dir(path, "client", &err), TRI_E_INVALID, err, "--key DIR");
}

static void roles_have_names(void **state) {
  (void)state;
  assert_string_equal(tri_keys_role_name(TRI_ROLE_WORKER), "worker");
  assert_string_equal(tri_keys_role_name((tri_role)99), "none");
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(keys_are_saved_and_loaded),    EACH(loose_secrets_are_refused), EACH(broken_key_files_are_refused),
      EACH(names_must_fit_on_a_line),     EACH(text_form_goes_both_ways),  EACH(the_coordinators_key_is_kept),
      EACH(an_allow_list_is_read),        EACH(a_bad_line_is_named),       EACH(keys_are_added_to_the_list),
      EACH(the_list_is_edited_in_place), EACH(who_is_admitted_gets_a_name_of_its_own), EACH(lists_that_others_may_write_are_refused),
      EACH(where_the_coordinator_is_is_kept), EACH(a_user_has_folders_of_its_own), EACH(roles_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
