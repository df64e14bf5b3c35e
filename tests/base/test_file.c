/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "base/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static tri_error err;

static int make_dir(void **state) {
  (void)state;
  strcpy(dir, "/tmp/trireme-file-XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}
static int remove_dir(void **state) {
  (void)state;
  return rmdir(dir); /* fails if a test leaves a file behind */
}

static void a_file_appears_whole_or_not_at_all(void **state) {
  (void)state;
  char path[96];
  snprintf(path, sizeof path, "%s/a", dir);
  tri_file_writer *w;
  assert_ok(tri_file_writer_open(&w, path, 0640, &err), err);
  assert_ok(tri_file_writer_write(w, "hello", 5, &err), err);
  assert_int_equal(access(path, F_OK), -1);
  tri_file_writer_abort(&w);
  assert_int_equal(access(path, F_OK), -1);
  assert_ok(tri_file_writer_open(&w, path, 0640, &err), err);
  assert_ok(tri_file_writer_write(w, "hello", 5, &err), err);
  assert_ok(tri_file_writer_commit(&w, &err), err);
  assert_null(w);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0640);
  tri_buf b = {0};
  assert_ok(tri_file_read(&b, path, 5, &err), err);
  assert_string_equal((char *)b.data, "hello");
  assert_fails(tri_file_read(&b, path, 4, &err), TRI_E_LIMIT, err, "larger than the limit");
  tri_buf_free(&b);
  tri_file_map map = {0};
  assert_ok(tri_file_map_open(&map, path, &err), err);
  assert_memory_equal(map.data, "hello", 5);
  tri_file_map_close(&map);
  unlink(path);
}

static void errors_name_the_file(void **state) {
  (void)state;
  tri_file_map map = {0};
  tri_file_writer *w;
  assert_fails(tri_file_map_open(&map, "/nonexistent/x", &err), TRI_E_NOT_FOUND, err, "/nonexistent/x");
  assert_fails(tri_file_map_open(&map, "/tmp", &err), TRI_E_INVALID, err, "not a regular file");
  assert_fails(tri_file_map_open(&map, "/dev/null", &err), TRI_E_INVALID, err, "not a regular file");
  assert_fails(tri_file_writer_open(&w, "/nonexistent/x", 0600, &err), TRI_E_NOT_FOUND, err, "cannot create");
}

static void a_cursor_never_leaves_its_bytes(void **state) {
  (void)state;
  tri_cursor c = tri_cursor_over("\1\0\0\0\2", 5);
  assert_int_equal(tri_cursor_u32(&c), 1);
  assert_int_equal(tri_cursor_left(&c), 1);
  assert_int_equal(tri_cursor_u32(&c), 0);
  assert_true(c.failed);
  assert_int_equal(tri_cursor_left(&c), 0);
  assert_null(tri_cursor_take(&c, SIZE_MAX));
}

static void folders_are_made_with_those_above(void **state) {
  (void)state;
  char path[128], file[96];
  snprintf(path, sizeof path, "%s/a/b//c/", dir);
  assert_ok(tri_file_make_folder(path, 0700, &err), err);
  assert_ok(tri_file_make_folder(path, 0700, &err), err); /* they may be there */
  struct stat st;
  snprintf(path, sizeof path, "%s/a", dir);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  for (const char *const *p = (const char *const[]){"a/b/c", "a/b", "a", NULL}; *p; p++) {
    snprintf(path, sizeof path, "%s/%s", dir, *p);
    assert_int_equal(rmdir(path), 0);
  }
  snprintf(file, sizeof file, "%s/file", dir);
  fclose(fopen(file, "w"));
  assert_fails(tri_file_make_folder(file, 0700, &err), TRI_E_IO, err, "Not a directory");
  snprintf(path, sizeof path, "%s/x", file);
  assert_fails(tri_file_make_folder(path, 0700, &err), TRI_E_IO, err, "Not a directory");
  assert_int_equal(unlink(file), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_file_appears_whole_or_not_at_all),
                                     cmocka_unit_test(errors_name_the_file),
                                     cmocka_unit_test(folders_are_made_with_those_above),
                                     cmocka_unit_test(a_cursor_never_leaves_its_bytes)};
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
