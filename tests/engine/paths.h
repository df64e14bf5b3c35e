/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_ENGINE_PATHS_H
#define TRI_TESTS_ENGINE_PATHS_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "tests/test.h"

/* A folder with places for four files, gone after the tests. */

static char paths_dir[64], paths[4][96];

static inline int make_paths(void **state) {
  (void)state;
  tri_log_set_level(TRI_LOG_ERROR);
  strcpy(paths_dir, "/tmp/trireme-test-XXXXXX");
  if (!mkdtemp(paths_dir)) return -1;
  for (int i = 0; i < 4; i++) snprintf(paths[i], sizeof paths[i], "%s/%d.gguf", paths_dir, i);
  return 0;
}
static inline int remove_paths(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) unlink(paths[i]);
  return rmdir(paths_dir); /* fails if something is left behind */
}

static inline void assert_same_file(const char *a, const char *b) {
  tri_error err;
  tri_file_map x, y;
  assert_ok(tri_file_map_open(&x, a, &err), err);
  assert_ok(tri_file_map_open(&y, b, &err), err);
  assert_int_equal(x.len, y.len);
  if (memcmp(x.data, y.data, x.len) != 0) fail_msg("%s and %s differ", a, b);
  tri_file_map_close(&x), tri_file_map_close(&y);
}

#endif
