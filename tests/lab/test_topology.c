/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tests/lab/topology.h"

static tri_status read_text(const char *text, lab_topology *out, tri_error *err) {
  char path[] = "/tmp/trireme-topology-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  tri_status status = lab_topology_read(out, path, err);
  unlink(path);
  return status;
}

static void test_nodes(void **state) {
  (void)state;
  tri_error err = {0};
  lab_topology t;
  assert_ok(read_text("[every]\ncpu = 25\nrate = \"2.5M\"\n[[node]]\nname = \"a\"\ncpu = 150.5\n[[node]]\nname = \"pi\"\ncount = 2\n"
                      "memory = \"512M\"\nrate = \"0\"\ndelay_ms = 0.25\n", &t, &err), err);
  assert_int_equal(t.count, 3);
  assert_string_equal(t.nodes[0].name, "a");
  assert_true(t.nodes[0].cpu == 150.5 && t.nodes[0].memory == 0 && t.nodes[0].rate == 2500000 && t.nodes[0].delay_ms == 0);
  assert_string_equal(t.nodes[2].name, "pi2");
  assert_true(t.nodes[2].cpu == 25 && t.nodes[2].memory == 512 << 20 && t.nodes[2].rate == 0 && t.nodes[2].delay_ms == 0.25);
  assert_int_equal(lab_topology_find(&t, "pi1"), 1);
  assert_int_equal(lab_topology_find(&t, "pi"), -1);
}

static const struct { const char *text, *part; } refused[] = {
    {"", "no [[node]]"},
    {"[[nodes]]\nname = \"a\"", "'nodes' is unknown"},
    {"[every]\nname = \"a\"\n[[node]]\nname = \"a\"", "[every] has no key 'name'"},
    {"[[node]]\nname = \"a\"\nmemry = \"1G\"", "did you mean 'memory'?"},
    {"[[node]]\ncpu = 1", "node 1 has no name"},
    {"[[node]]\nname = \"A b\"", "small letters"},
    {"[[node]]\nname = \"lo\"", "small letters"},
    {"[[node]]\nname = \"abcdefghijkl\"", "1 to 11"},
    {"[[node]]\nname = \"a\"\n[[node]]\nname = \"a\"", "two nodes are called a"},
    {"[[node]]\nname = \"a\"\ncount = 101", "count of node a"},
    {"[[node]]\nname = \"a\"\ncount = 60\n[[node]]\nname = \"b\"\ncount = 60", "more than 100 nodes"},
    {"[[node]]\nname = \"a\"\ncpu = -1", "cpu of node a"},
    {"[[node]]\nname = \"a\"\ncpu = \"1\"", "cpu of node a"},
    {"[[node]]\nname = \"a\"\nmemory = 5", "memory of node a"},
    {"[[node]]\nname = \"a\"\nrate = \"10X\"", "rate of node a"},
    {"[[node]]\nname = \"a\"\nrate = \"1M1\"", "rate of node a"},
    {"[[node]]\nname = \"a\"\nrate = \"5K\"", "rate of node a"},
    {"[[node]]\nname = \"a\"\ndelay_ms = 1e9", "delay_ms of node a"},
};

static void test_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    tri_error err = {0};
    lab_topology t;
    tri_status status = read_text(refused[i].text, &t, &err);
    assert_true(status != TRI_OK);
    assert_case(i, status, status, err, refused[i].part);
  }
}

static void test_those_that_come_along(void **state) {
  (void)state;
  static const struct { const char *file; int nodes; } files[] = {{"pi-shelf", 9}, {"mixed", 6}, {"gigabit", 6}, {"tiny", 3}, {"many", 65}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    tri_error err = {0};
    lab_topology t;
    char path[512];
    snprintf(path, sizeof path, TRIREME_SOURCE "/tests/lab/%s.toml", files[i].file);
    assert_ok(lab_topology_read(&t, path, &err), err);
    assert_int_equal(t.count, files[i].nodes);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nodes), cmocka_unit_test(test_refused),
                                     cmocka_unit_test(test_those_that_come_along)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
