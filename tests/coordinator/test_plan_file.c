/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/plan_file.h"

#include <string.h>

static tri_error err;
static tri_plan_file file, again;

static tri_status parse(const char *text) { return tri_plan_file_parse(&file, text, strlen(text), "nodes.toml", &err); }

static const char whole[] = "[[node]]\nname = \"n1\"\nmemory = \"700M\"\nthreads = 2\nlayer_us = 812.5\nhead_us = 2400\n"
                            "layer_rows_us = 7224\nhead_rows_us = 21600\nrtt_us = 180\nup_mbit = 100\ndown_mbit = 0.5\n"
                            "layers = \"0-11\"\nposition = 3\n"
                            "[[node]]\nname = 'pi \"5\" \\'\nlayers = \"12\"\nexclude = true\n";

static void takes_each_key(void **state) {
  (void)state;
  assert_ok(parse(whole), err);
  assert_int_equal(file.count, 2);
  const tri_plan_worker *w = &file.node[0].worker;
  assert_string_equal(file.node[0].name, "n1");
  assert_int_equal(file.node[0].threads, 2);
  assert_int_equal(w->memory_bytes, 700 << 20);
  assert_int_equal(w->layer_ns, 812500);
  assert_int_equal(w->head_ns, 2400000);
  assert_int_equal(w->layer_rows_ns, 7224000);
  assert_int_equal(w->head_rows_ns, 21600000);
  assert_int_equal(w->rtt_ns, 180000);
  assert_int_equal(w->up_bytes_s, 12500000);
  assert_int_equal(w->down_bytes_s, 62500);
  assert_int_equal(w->first, 0);
  assert_int_equal(w->last, 12);
  assert_int_equal(w->position, 3);
  assert_false(w->excluded);
  w = &tri_plan_file_find(&file, "pi \"5\" \\")->worker;
  assert_int_equal(w->first, 12);
  assert_int_equal(w->last, 13);
  assert_true(w->excluded);
  assert_null(tri_plan_file_find(&file, "n2"));
}

static void what_is_written_reads_the_same(void **state) {
  (void)state;
  tri_buf text = {0};
  assert_ok(parse(whole), err);
  tri_plan_file_write(&file, &text);
  assert_ok(tri_plan_file_parse(&again, (const char *)text.data, text.len, "written", &err), err);
  assert_int_equal(again.count, file.count);
  assert_memory_equal(again.node, file.node, file.count * sizeof *file.node);
  tri_buf_free(&text);
}

static void goes_before_what_is_known(void **state) {
  (void)state;
  assert_ok(parse("[[node]]\nname = 'a'\nhead_us = 7\n"), err);
  tri_plan_worker w = {.name = "a", .layer_ns = 5000, .head_ns = 6000, .memory_bytes = 99, .must = true};
  tri_plan_file_overlay(&file.node[0], &w);
  assert_int_equal(w.layer_ns, 5000);
  assert_int_equal(w.head_ns, 7000);
  assert_int_equal(w.memory_bytes, 99);
  assert_true(w.must && !w.excluded);
  assert_string_equal(w.name, "a");
}

static void refuses_by_node_and_key(void **state) {
  (void)state;
  static const struct { const char *text, *says; } bad[] = {
      {"[[node]]\nname = 'a'\nlayers = '5-3'\n", "nodes.toml: node a: layers: a run such as"},
      {"[[node]]\nname = 'a'\nlayers = '0-'\n", "node a: layers"},
      {"[[node]]\nname = 'a'\nlayers = '-1-3'\n", "node a: layers"},
      {"[[node]]\nname = 'a'\nlayers = '0-99999999999999999999'\n", "node a: layers"},
      {"[[node]]\nname = 'a'\nlayers = 3\n", "node a: layers"},
      {"[[node]]\nname = 'a'\nmemory = '5 apples'\n", "node a: memory: bytes, or a size"},
      {"[[node]]\nname = 'a'\nmemory = -5\n", "node a: memory"},
      {"[[node]]\nname = 'a'\nlayer_us = 0\n", "node a: layer_us: a number from 0.001 to 1000000000 is expected"},
      {"[[node]]\nname = 'a'\nup_mbit = '100'\n", "node a: up_mbit: a number"},
      {"[[node]]\nname = 'a'\nposition = 0\n", "node a: position: a whole number from 1"},
      {"[[node]]\nname = 'a'\nthreads = 1.5\n", "node a: threads: a whole number from 1 to 1024"},
      {"[[node]]\nname = 'a'\nexclude = 1\n", "node a: exclude: true or false"},
      {"[[node]]\nname = 'a'\nexlude = true\n", "node a: exlude: no such key; did you mean exclude"},
      {"[[node]]\nname = 'a'\n[[node]]\nname = 'a'\n", "node a: it is there twice"},
      {"[[node]]\nname = 'a'\n[[node]]\nmemory = 5\n", "node number 2: it has no name"},
      {"[[node]]\nname = ''\n", "node number 1: name: 1 to 63"},
      {"[node]\nname = 'a'\n", "node: only tables [[node]]"},
      {"node = [1]\n", "node: only tables [[node]]"},
      {"[[nodes]]\nname = 'a'\n", "nodes: only tables [[node]]"},
  };
  assert_ok(parse("[[node]]\nname = 'kept'\n"), err);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_fails(parse(bad[i].text), TRI_E_INVALID, err, bad[i].says);
  assert_fails(parse("[[node]]\nname ="), TRI_E_FORMAT, err, "nodes.toml: line 2");
  assert_string_equal(file.node[0].name, "kept");
}

static void refuses_too_many(void **state) {
  (void)state;
  tri_buf text = {0};
  for (int i = 0; i <= TRI_PLAN_MAX_WORKERS; i++) tri_buf_printf(&text, "[[node]]\nname = 'n%d'\n", i);
  assert_fails(parse((char *)text.data), TRI_E_LIMIT, err, "more than 256 nodes");
  tri_buf_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_each_key),          cmocka_unit_test(what_is_written_reads_the_same),
      cmocka_unit_test(goes_before_what_is_known), cmocka_unit_test(refuses_by_node_and_key),
      cmocka_unit_test(refuses_too_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
