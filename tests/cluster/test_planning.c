/* SPDX-License-Identifier: MIT */
/* `trireme plan` as a user runs it, and a coordinator that keeps to a nodes file, or to the plan of before. */
#include "tests/cluster/lab.h"

#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"

static char dir[PATH_MAX], nodes[PATH_MAX];

static int make_dir(void **state) {
  if (lab_begin(state) != 0) return -1;
  snprintf(dir, sizeof dir, "/tmp/trireme-planning-XXXXXX");
  if (!mkdtemp(dir)) return -1;
  snprintf(nodes, sizeof nodes, "%s/nodes.toml", dir);
  return 0;
}
static int remove_dir(void **state) {
  unlink(nodes);
  int left = rmdir(dir);
  return lab_end(state) != 0 ? -1 : left;
}

static void write_nodes(const char *text) {
  FILE *f = fopen(nodes, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static const json_t *stage_of(const json_t *doc, size_t replica, size_t stage) {
  return json_array_get(json_object_get(json_array_get(json_object_get(doc, "replicas"), replica), "stages"), stage);
}
static const char *text_of(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }
static double number_of(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static const char three[] = "[[node]]\nname = 'a'\nmemory = '256M'\nlayer_us = 100\nhead_us = 300\nrtt_us = 200\n"
                            "[[node]]\nname = 'b'\nmemory = '256M'\nlayer_us = 200\nhead_us = 900\nrtt_us = 200\n"
                            "[[node]]\nname = 'c'\nmemory = '1M'\nlayer_us = 100\n";

/* Twelve layers; a is twice as fast as b, and c holds nothing. */
static void plans_for_a_file(void **state) {
  (void)state;
  write_nodes(three);
  json_t *doc = lab_json((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, "-c", "256", "--slots", "1", "--json", NULL});
  /* b takes k layers in 200 k, a the others and the head in 100 (12 - k) + 300: least at k = 5 */
  assert_string_equal(text_of(stage_of(doc, 0, 0), "node"), "b");
  assert_int_equal(number_of(stage_of(doc, 0, 0), "last"), 4);
  assert_string_equal(text_of(stage_of(doc, 0, 1), "node"), "a");
  assert_true(number_of(stage_of(doc, 0, 1), "share") == 1.0);
  assert_true(number_of(doc, "many_tokens_per_s") == 1000);
  assert_true(number_of(doc, "one_tokens_per_s") > 1e6 / 3201 && number_of(doc, "one_tokens_per_s") < 1e6 / 3199);
  const json_t *left = json_array_get(json_object_get(doc, "left_out"), 0);
  assert_string_equal(text_of(left, "node"), "c");
  assert_non_null(strstr(text_of(left, "why"), "left out: 1.0 MB, a layer needs"));
  json_decref(doc);
  doc = lab_json((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, "-c", "256", "--slots", "1", "--optimise", "latency", "--what-if",
                                  "+d:256M:like=b,-b", "--json", NULL});
  assert_int_equal(json_array_size(json_object_get(json_array_get(json_object_get(doc, "replicas"), 0), "stages")), 1);
  left = json_array_get(json_object_get(doc, "left_out"), 1);
  assert_string_equal(text_of(left, "node"), "d");
  assert_string_equal(text_of(left, "why"), "left out: with it each token takes 0.5 ms more"); /* a layer's 0.1, as much of way, and handing on */
  json_decref(doc);
  doc = lab_json((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, "-c", "256", "--slots", "1", "--replicas", "2", "--json", NULL});
  assert_int_equal(json_array_size(json_object_get(doc, "replicas")), 2);
  assert_true(number_of(doc, "many_tokens_per_s") > 969 && number_of(doc, "many_tokens_per_s") < 970); /* 1 / 1.5 ms and 1 / 3.3 ms */
  json_decref(doc);
}

static void prints_a_table(void **state) {
  (void)state;
  tri_buf said = {0};
  write_nodes(three);
  assert_int_equal(lab_program((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, "-c", "256", NULL}, &said), 0);
  const char *parts[] = {"stage", "used MB", "free MB", "share", "0-4", "5-11", "100%", "one stream 312.50 tokens/s",
                         "many streams 1000.00 tokens/s", "c: left out: 1.0 MB", "planned in"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr((char *)said.data, parts[i])) fail_msg("no '%s' in: %s", parts[i], (char *)said.data);
  tri_buf_free(&said);
}

static void errors_say_what_to_do(void **state) {
  (void)state;
  static const struct { const char *args[4], *says; int code; } bad[] = {
      {{"--what-if", "-x"}, "no node x", 3},
      {{"--what-if", "+d"}, "+NAME:MEMORY or +NAME:MEMORY:like=NODE is expected", 2},
      {{"--what-if", "+d:1G:like=z"}, "no node z", 3},
      {{"--what-if", "+a:1G"}, "node a is there already", 2},
      {{"--what-if", "a:1G"}, "'a:1G': +NAME:MEMORY or -NAME is expected", 2},
      {{"--what-if", "-a,-b"}, "1 worker(s) offer 1.0 MB: the model needs", 0},
      {{"--replicas", "3"}, "3 replicas: the workers cannot be shared out", 0},
      {{"--replicas", "0"}, "a number from 1 to 16, or auto", 2},
      {{"--optimise", "luck"}, "known are throughput and latency", 2},
  };
  write_nodes(three);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    tri_buf said = {0};
    const char *argv[] = {"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, bad[i].args[0], bad[i].args[1], NULL};
    int code = lab_program(argv, &said);
    if (!strstr((char *)said.data, bad[i].says) || code == 0 || (bad[i].code && code != bad[i].code))
      fail_msg("case %zu: exit code %d: %s", i, code, (char *)said.data);
    tri_buf_free(&said);
  }
  tri_buf said = {0};
  write_nodes("[[node]]\nname = 'a'\nmemory = '64M'\n");
  assert_int_equal(lab_program((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, NULL}, &said), 2);
  assert_non_null(strstr((char *)said.data, "node a: layer_us is not known; write it into the nodes file, or ask"));
  tri_buf_free(&said);
}

/* A cluster's own figures, saved, read again and planned for: the same plan, with the memory that its stages really hold. */
static void asks_a_running_cluster(void **state) {
  (void)state;
  char client[PATH_MAX];
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  snprintf(client, sizeof client, "%s/client", tri_cluster_dir(c));
  const char *endpoint = tri_cluster_endpoint(c);
  json_t *status = lab_json((const char *[]){"trireme", "status", "--coordinator", endpoint, "-k", client, "--json", NULL});
  json_t *asked = lab_json((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--coordinator", endpoint, "-k", client, "--all-workers",
                                            "--save", nodes, "--json", NULL});
  assert_true(number_of(asked, "context") == LAB_CONTEXT); /* the cluster's, as nothing else was said */
  json_t *read = lab_json((const char *[]){"trireme", "plan", "-m", LAB_MODEL, "--nodes", nodes, "-c", "256", "--all-workers", "--json",
                                           NULL});
  assert_true(number_of(stage_of(asked, 0, 0), "send_ms") > 0); /* the measured rate counts */
  assert_true(json_equal(json_object_get(asked, "replicas"), json_object_get(read, "replicas")));
  for (size_t i = 0; i < 2; i++) {
    const json_t *w = json_array_get(json_object_get(status, "workers"), i), *s = stage_of(asked, 0, i);
    assert_string_equal(text_of(w, "name"), text_of(s, "node"));
    assert_true(number_of(w, "first") == number_of(s, "first") && number_of(w, "last") == number_of(s, "last"));
    assert_true(number_of(w, "stage_bytes") <= number_of(s, "bytes"));
    /* a link over loopback: far under a second away, far over what a slow network has */
    assert_true(number_of(w, "rtt_us") >= 1 && number_of(w, "rtt_us") < 1e6);
    assert_true(number_of(w, "down_mbit") > 1 && number_of(w, "up_mbit") > 1);
  }
  json_decref(status);
  json_decref(asked);
  json_decref(read);
  tri_cluster_stop(&c);
}

/* Layers given by hand hold, who is excluded stays without a stage, and the cluster serves. */
static void a_coordinator_keeps_to_a_nodes_file(void **state) {
  (void)state;
  write_nodes("[[node]]\nname = 'w1'\nlayers = '9-11'\n[[node]]\nname = 'w2'\nexclude = true\n[[node]]\nname = 'w3'\nlayers = '0-8'\n");
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 3, .threads = 1, .wire = TRI_WIRE_F32, .context = LAB_CONTEXT,
                           .nodes = nodes};
  tri_cluster *c = NULL;
  tri_error err;
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  tri_client *client = lab_dial(c);
  tri_buf text = {0};
  assert_ok(tri_client_status(client, &text, LAB_WAIT_MS, &err), err);
  json_t *doc = json_loads((char *)text.data, 0, NULL), *workers = json_object_get(doc, "workers");
  assert_string_equal(text_of(json_array_get(workers, 0), "name"), "w3");
  assert_true(number_of(json_array_get(workers, 0), "last") == 8);
  assert_string_equal(text_of(json_array_get(workers, 1), "name"), "w1");
  assert_string_equal(text_of(json_array_get(workers, 2), "name"), "w2");
  assert_null(json_object_get(json_array_get(workers, 2), "stage"));
  lab_job job = {0};
  tri_msg_submit request = lab_request(TRI_WANT_SAMPLE, 4);
  lab_run(client, &request, "The king", 8, &job);
  assert_int_equal(job.done.reason, TRI_DONE_LENGTH);
  lab_job_free(&job);
  json_decref(doc);
  tri_buf_free(&text);
  tri_client_close(&client);
  tri_cluster_stop(&c);
  write_nodes("[[node]]\nname = 'w1'\nlayers = '0-6'\n[[node]]\nname = 'w2'\nlayers = '6-11'\n");
  o.workers = 2;
  assert_fails(tri_cluster_start(&c, &o, &err), TRI_E_LIMIT, err, "w1 has layers 0-6 and w2 has layers 6-11: they overlap");
}

/* The coordinator started once more over the same keys, with a plan that it remembers, as the nodes file of this name in its folder.
 * Its stages' workers and layers, "w2 0-2, w1 3-11". */
static void stages_of_next_start(const tri_cluster *c, const char *remembered, char out[64]) {
  char coordinator[PATH_MAX], file[PATH_MAX];
  int fd, n = 0;
  tri_buf said = {0};
  tri_client *client;
  size_t i;
  json_t *w;
  snprintf(coordinator, sizeof coordinator, "%.4000s/coordinator", tri_cluster_dir(c));
  snprintf(file, sizeof file, "%.4000s/plan", coordinator);
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  assert_true(fputs(remembered, f) >= 0 && fclose(f) == 0);
  pid_t pid = lab_spawn((const char *[]){"trireme-coordinator", "-m", LAB_MODEL, "--key", coordinator, "--listen", tri_cluster_endpoint(c),
                                         "-w", "2", "--replan", "0", NULL}, &fd);
  client = lab_dial(c);
  lab_await_status(client, "\"serving\"");
  assert_int_equal(tri_client_status(client, &said, LAB_WAIT_MS, NULL), TRI_OK);
  json_t *doc = json_loadb((char *)said.data, said.len, 0, NULL);
  json_array_foreach(json_object_get(doc, "workers"), i, w)
    n += snprintf(out + n, 64 - (size_t)n, "%s%s %.0f-%.0f", i ? ", " : "", text_of(w, "name"), number_of(w, "first"), number_of(w, "last"));
  json_decref(doc);
  tri_client_close(&client);
  tri_buf_clear(&said);
  kill(pid, SIGTERM);
  assert_int_equal(lab_finish(pid, fd, &said), 0);
  tri_buf_free(&said);
}

static void workers_keep_their_places(void **state) {
  (void)state;
  char stages[64], file[PATH_MAX];
  tri_buf text = {0};
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  snprintf(file, sizeof file, "%.4000s/coordinator/plan", tri_cluster_dir(c));
  assert_int_equal(tri_file_read(&text, file, 4096, NULL), TRI_OK);
  assert_non_null(strstr((char *)text.data, "layers = \"0-"));
  tri_buf_free(&text);
  kill(tri_cluster_pid(c, -1), SIGKILL);
  lab_await_exit(tri_cluster_pid(c, -1));
  stages_of_next_start(c, "[[node]]\nname = 'w2'\nlayers = '0-2'\n[[node]]\nname = 'w1'\nlayers = '3-11'\n", stages);
  assert_string_equal(stages, "w2 0-2, w1 3-11"); /* a poor one, but --replan 0 wants no other */
  static const char *const useless[] = {"no nodes file", "[[node]]\nname = 'w2'\nlayers = '0-2'\n[[node]]\nname = 'gone'\nlayers = '3-11'\n",
                                        "[[node]]\nname = 'w2'\nlayers = '0-2'\n[[node]]\nname = 'w1'\nlayers = '3-40'\n"};
  for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
    stages_of_next_start(c, useless[i], stages);
    assert_string_not_equal(stages, "w2 0-2, w1 3-11");
  }
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plans_for_a_file),       cmocka_unit_test(prints_a_table),
      cmocka_unit_test(errors_say_what_to_do),  cmocka_unit_test(asks_a_running_cluster),
      cmocka_unit_test(a_coordinator_keeps_to_a_nodes_file), cmocka_unit_test(workers_keep_their_places),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
