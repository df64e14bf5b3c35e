/* SPDX-License-Identifier: MIT */
#include "base/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tests/test.h"

static char folder[] = "/tmp/trireme-quota-XXXXXX";

/* A file of the folder, with those above it. */
static void put(const char *file, const char *text) {
  char path[256], above[256];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  snprintf(above, sizeof above, "%.*s", (int)(strrchr(path, '/') - path), path);
  assert_int_equal(tri_file_make_folder(above, 0755, NULL), TRI_OK);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  assert_int_equal(fclose(f), 0);
}

static double cores(void) {
  char mounts[256], groups[256];
  snprintf(mounts, sizeof mounts, "%s/mounts", folder);
  snprintf(groups, sizeof groups, "%s/groups", folder);
  return tri_quota_cores_of(mounts, groups);
}

static int begin(void **state) {
  (void)state;
  strcpy(folder, "/tmp/trireme-quota-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}
static int end(void **state) {
  (void)state;
  char command[256];
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

static void put_mounts(const char *v1_options, bool v2) {
  char text[1024];
  int n = snprintf(text, sizeof text, "proc /proc proc rw 0 0\ncgroup %s/memory cgroup rw,memory 0 0\n", folder);
  if (v1_options) n += snprintf(text + n, sizeof text - (size_t)n, "cgroup %s/v1 cgroup rw,relatime,%s 0 0\n", folder, v1_options);
  if (v2) snprintf(text + n, sizeof text - (size_t)n, "cgroup2 %s/v2 cgroup2 rw 0 0\n", folder);
  put("mounts", text);
}

static void test_version_2(void **state) {
  (void)state;
  put_mounts(NULL, true);
  put("groups", "0::/system.slice/worker.service\n");
  assert_true(cores() == 0);
  put("v2/system.slice/worker.service/cpu.max", "max 100000\n");
  assert_true(cores() == 0);
  put("v2/system.slice/worker.service/cpu.max", "25000 100000\n");
  assert_true(cores() == 0.25);
  put("v2/system.slice/cpu.max", "2000 10000\n");
  assert_true(cores() == 0.2);
  put("v2/system.slice/cpu.max", "20000 10000\n");
  assert_true(cores() == 0.25);
}

static void test_version_1(void **state) {
  (void)state;
  put_mounts("cpu,cpuacct", true); /* version 2 is often there as well, without controllers */
  put("groups", "5:memory:/other\n4:cpuacct,cpu:/docker/abc\n2:cpuset:/wrong\n0::/\n");
  put("v1/docker/abc/cpu.cfs_quota_us", "-1\n");
  put("v1/docker/abc/cpu.cfs_period_us", "100000\n");
  put("v1/wrong/cpu.cfs_quota_us", "1000\n");
  put("v1/wrong/cpu.cfs_period_us", "100000\n");
  assert_true(cores() == 0);
  put("v1/docker/abc/cpu.cfs_quota_us", "150000\n");
  assert_true(cores() == 1.5);
}

/* The kernel tells the host's path, the mount shows the container's group as its root. */
static void test_container(void **state) {
  (void)state;
  put_mounts("cpu", false);
  put("groups", "4:cpu:/docker/abc\n");
  put("v1/cpu.cfs_quota_us", "5000\n");
  put("v1/cpu.cfs_period_us", "10000\n");
  assert_true(cores() == 0.5);
}

static void test_nothing(void **state) {
  (void)state;
  assert_true(cores() == 0);
  put_mounts("cpu", true);
  assert_true(cores() == 0);
  put("groups", "nonsense\n4\n:\n1:cpu:\n0::\n");
  put("v1/cpu.cfs_quota_us", "5000\n");
  assert_true(cores() == 0); /* a quota without a period */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_version_2, begin, end), cmocka_unit_test_setup_teardown(test_version_1, begin, end),
      cmocka_unit_test_setup_teardown(test_container, begin, end), cmocka_unit_test_setup_teardown(test_nothing, begin, end)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
