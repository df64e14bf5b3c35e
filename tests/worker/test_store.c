/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "worker/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ITEMS = 4, BYTES = 1000 };

static tri_error err;
static char dir[64];
static tri_store store;
static tri_manifest_item items[ITEMS];
static uint8_t bytes[ITEMS][BYTES];

static int begin(void **state) {
  (void)state;
  uint64_t seed = 5;
  strcpy(dir, "/tmp/trireme-store-XXXXXX");
  if (!mkdtemp(dir) || tri_store_open(&store, dir, 3500, &err) != TRI_OK) return -1;
  for (int i = 0; i < ITEMS; i++) {
    for (int k = 0; k < BYTES; k++) bytes[i][k] = (uint8_t)test_random(&seed);
    items[i].bytes = BYTES;
    tri_parts_hash_bytes(bytes[i], BYTES, &items[i].hash);
  }
  return 0;
}
static int end(void **state) {
  (void)state;
  char path[128];
  for (int i = 0; i < ITEMS; i++) tri_store_drop(&store, &items[i]);
  snprintf(path, sizeof path, "%s/notes.txt", dir);
  unlink(path);
  return rmdir(dir);
}

static void put(int i) { assert_ok(tri_store_append(&store, &items[i], 0, bytes[i], BYTES, &err), err); }

/* As if it had last been used then. */
static void used_at(int i, time_t when) {
  char path[256], hex[2 * TRI_PARTS_HASH_BYTES + 1];
  tri_parts_hex(&items[i].hash, hex);
  snprintf(path, sizeof path, "%s/%s", dir, hex);
  const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void a_part_comes_in_pieces_and_in_order(void **state) {
  (void)state;
  tri_file_map map;
  uint8_t read[100];
  assert_int_equal(tri_store_begun(&store, &items[0]), 0);
  assert_ok(tri_store_append(&store, &items[0], 0, bytes[0], 300, &err), err);
  assert_int_equal(tri_store_begun(&store, &items[0]), 300);
  assert_false(tri_store_has(&store, &items[0]));
  assert_fails(tri_store_append(&store, &items[0], 400, bytes[0] + 400, 100, &err), TRI_E_PROTOCOL, err, "bytes for place 400, but 300 are here");
  assert_fails(tri_store_append(&store, &items[0], 300, bytes[0], 701, &err), TRI_E_PROTOCOL, err, "bytes for place 300");
  assert_fails(tri_store_map(&store, &items[0], &map, &err), TRI_E_NOT_FOUND, err, "cannot open");
  assert_ok(tri_store_append(&store, &items[0], 300, bytes[0] + 300, 700, &err), err);
  assert_true(tri_store_has(&store, &items[0]));
  assert_int_equal(tri_store_begun(&store, &items[0]), 0);
  assert_ok(tri_store_map(&store, &items[0], &map, &err), err);
  assert_memory_equal(map.data, bytes[0], BYTES);
  tri_file_map_close(&map);
  assert_ok(tri_store_read(&store, &items[0], 850, 100, read, &err), err);
  assert_memory_equal(read, bytes[0] + 850, 100);
  assert_fails(tri_store_read(&store, &items[0], 950, 100, read, &err), TRI_E_IO, err, "cannot read");
  tri_store_drop(&store, &items[0]);
  assert_false(tri_store_has(&store, &items[0]));
}

static void what_was_used_longest_ago_goes_first(void **state) {
  (void)state;
  char path[128];
  const tri_manifest_item *keep[] = {&items[1]};
  snprintf(path, sizeof path, "%s/notes.txt", dir); /* not ours: never touched, never counted */
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  assert_int_equal(write(fd, bytes[0], BYTES), BYTES);
  close(fd);
  for (int i = 0; i < 3; i++) put(i);
  used_at(0, 3000), used_at(1, 1000), used_at(2, 2000);
  assert_ok(tri_store_make_room(&store, 500, keep, 1, &err), err);
  for (int i = 0; i < 3; i++) assert_true(tri_store_has(&store, &items[i]));
  assert_ok(tri_store_make_room(&store, 1000, keep, 1, &err), err); /* the oldest is kept, so the next one goes */
  assert_true(tri_store_has(&store, &items[0]) && tri_store_has(&store, &items[1]) && !tri_store_has(&store, &items[2]));
  put(2);
  used_at(0, 3000);
  tri_file_map map; /* used now: no longer the oldest */
  assert_ok(tri_store_map(&store, &items[0], &map, &err), err);
  tri_file_map_close(&map);
  used_at(2, 4000);
  assert_ok(tri_store_make_room(&store, 1000, keep, 1, &err), err);
  assert_true(tri_store_has(&store, &items[0]) && !tri_store_has(&store, &items[2]));
  assert_fails(tri_store_make_room(&store, 2600, keep, 1, &err), TRI_E_LIMIT, err, "2.6 kB more are needed beside 1.0 kB in use, more than --cache-limit 3.5 kB");
  assert_int_equal(access(path, F_OK), 0);
}

static void a_damaged_list_of_parts_is_refused(void **state) {
  (void)state;
  tri_manifest m = {ITEMS, items}, back;
  tri_buf text = {0};
  tri_manifest_encode(&m, &text);
  assert_ok(tri_manifest_decode(&back, text.data, text.len, &err), err);
  assert_true(tri_manifest_equal(&m, &back));
  assert_int_equal(tri_manifest_find(&back, items[2].hash.bytes), 2);
  assert_int_equal(tri_manifest_find(&back, bytes[0]), -1);
  tri_manifest_free(&back);
  assert_int_equal(tri_manifest_decode(&back, text.data, text.len - 1, &err), TRI_E_FORMAT);
  assert_int_equal(tri_manifest_decode(&back, text.data, 0, &err), TRI_E_FORMAT);
  memset(text.data, 0, 8);
  assert_fails(tri_manifest_decode(&back, text.data, text.len, &err), TRI_E_FORMAT, err, "a part of 0 bytes");
  memset(text.data, 0xff, 8);
  assert_int_equal(tri_manifest_decode(&back, text.data, text.len, &err), TRI_E_FORMAT);
  tri_buf_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_part_comes_in_pieces_and_in_order, begin, end),
      cmocka_unit_test_setup_teardown(what_was_used_longest_ago_goes_first, begin, end),
      cmocka_unit_test_setup_teardown(a_damaged_list_of_parts_is_refused, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
