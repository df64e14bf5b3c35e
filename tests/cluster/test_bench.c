/* SPDX-License-Identifier: MIT */
/* `trireme bench --cluster`: that its numbers agree with each other, with what was asked for, and with what
 * the workers count themselves. */
#include "tests/cluster/lab.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"

enum { WORKERS = 3 };

static tri_error err;

static double real_of(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (!json_is_number(v)) fail_msg("no number %s", key);
  return json_number_value(v);
}

static void ordered(const json_t *p) {
  double p50 = real_of(p, "p50"), p95 = real_of(p, "p95"), p99 = real_of(p, "p99");
  assert_true(p50 > 0 && p50 <= p95 && p95 <= p99);
}

static void check_stages(const json_t *load) {
  const json_t *step = json_object_get(load, "step"), *stages = json_object_get(load, "stages"), *bubble = json_object_get(load, "bubble");
  double compute = 0, wait = 0, most = 0, all = 0;
  size_t i;
  json_t *s;
  assert_int_equal(json_array_size(stages), WORKERS);
  json_array_foreach(stages, i, s) {
    double busy = real_of(s, "busy"), bytes = real_of(s, "bytes_per_token");
    assert_true(busy > 0 && busy <= 1);
    compute += real_of(s, "compute_ms"), wait += real_of(s, "wait_ms"), all += busy;
    if (busy > most) most = busy;
    if (i < WORKERS - 1) assert_true(bytes > 528 && bytes < 528 + 64); /* a row of 512 values, and its part of the envelope */
    else assert_true(bytes > 0 && bytes < 64);
  }
  assert_float_equal(compute, real_of(step, "compute_ms"), 1e-3);
  assert_float_equal(wait, real_of(step, "wait_ms"), 1e-3);
  double ways = (WORKERS + 1) * real_of(step, "hop_ms");
  assert_true(ways > 0);
  assert_float_equal(compute + wait + ways, real_of(step, "round_trip_ms"), 1e-3 + 1e-3 * compute);
  assert_float_equal(real_of(bubble, "slowest"), 1 - most, 1e-5);
  assert_float_equal(real_of(bubble, "mean"), 1 - all / WORKERS, 1e-5);
}

static void numbers_agree_with_each_other(void **state) {
  (void)state;
  json_t *doc = lab_json((const char *[]){"trireme", "bench", "--cluster", "-m", LAB_MODEL, "-w", "3", "-t", "1", "--streams", "1,5",
                                          "-p", "16", "-n", "12", "--requests", "10", "--json", NULL});
  json_t *loads = json_object_get(doc, "loads"), *load;
  const int streams[] = {1, 5};
  size_t i;
  assert_int_equal(json_array_size(loads), 2);
  json_array_foreach(loads, i, load) {
    assert_int_equal(real_of(load, "streams"), streams[i]);
    assert_int_equal(real_of(load, "requests"), 10);
    assert_int_equal(real_of(load, "tokens"), 10 * 12);
    assert_float_equal(real_of(load, "tokens_per_s"), 120 / real_of(load, "seconds"), 1e-2 * real_of(load, "tokens_per_s"));
    assert_true(real_of(load, "steady_tokens_per_s") > 0);
    ordered(json_object_get(load, "first_token_ms")), ordered(json_object_get(load, "gap_ms"));
    double rows = real_of(load, "rows_per_step"), prompts = real_of(load, "prompt_rows_per_step"), on_way = real_of(load, "steps_on_way");
    assert_true(rows >= 1 && prompts >= 0 && prompts < rows && on_way > 0);
    check_stages(load);
  }
  /* by Little's law: one step of one row at a time, but while a prompt goes in chunks */
  assert_true(real_of(json_array_get(loads, 0), "steps_on_way") < real_of(json_array_get(loads, 1), "steps_on_way"));
  json_decref(doc);
}

static int count(const char *text, const char *part) {
  int n = 0;
  for (; (text = strstr(text, part)); text++) n++;
  return n;
}

/* A picture that a strict reader of XML takes, if there is one here, with a lane for each stage, and scripts nowhere. */
static void a_timeline_is_drawn(void **state) {
  (void)state;
  char path[] = "/tmp/trireme-timeline-XXXXXX", command[256];
  tri_buf said = {0}, svg = {0};
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  int code = lab_program((const char *[]){"trireme", "bench", "--cluster", "-m", LAB_MODEL, "-w", "3", "-t", "1", "--streams", "4",
                                          "-p", "40", "-n", "20", "--requests", "12", "--timeline", path, NULL}, &said);
  if (code) fail_msg("%s", (char *)said.data);
  assert_ok(tri_file_read(&svg, path, 400 << 10, &err), err);
  snprintf(command, sizeof command, "if command -v xmllint > /dev/null; then xmllint --noout %s; fi", path);
  assert_int_equal(system(command), 0);
  unlink(path);
  const char *text = (char *)svg.data;
  assert_int_equal(count(text, "class=\"l\" x=\"150"), WORKERS + 1); /* one is the legend's */
  for (const char *const *part = (const char *[]){"1 w1", "2 w2", "3 w3", "3 stages, 4 streams", "busiest stage", NULL}; *part; part++)
    if (!strstr(text, *part)) fail_msg("no '%s' in the timeline", *part);
  int steps = count(text, "<title>step ");
  assert_true(steps >= 20);
  assert_true(count(text, "class=\"c") >= WORKERS * steps);
  assert_true(count(text, "class=\"h\"") > 1); /* 40 rows are two steps at least */
  assert_int_equal(count(text, "<script"), 0);
  tri_buf_free(&said), tri_buf_free(&svg);
}

static json_t *trace(tri_client *client, tri_trace_action action) {
  tri_buf text = {0};
  assert_ok(tri_client_trace(client, action, 0, &text, LAB_WAIT_MS, &err), err);
  json_t *doc = json_loadb((char *)text.data, text.len, 0, NULL);
  assert_non_null(doc);
  tri_buf_free(&text);
  return doc;
}

/* What stages say of single steps is in sum what they count in heartbeats; and the rows are those of the job. */
static void a_trace_accounts_for_all_that_was_computed(void **state) {
  (void)state;
  enum { PREDICT = 20 };
  tri_cluster *cluster = lab_start(WORKERS, 0, TRI_WIRE_INT8);
  tri_client *client = lab_dial(cluster);
  tri_buf text = {0};
  assert_fails(tri_client_trace(client, TRI_TRACE_GET, 0, &text, LAB_WAIT_MS, &err), TRI_E_INVALID, err, "no trace was begun");
  json_decref(trace(client, TRI_TRACE_ON));
  lab_job job;
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, PREDICT);
  m.ignore_end = true;
  lab_run(client, &m, "Once upon a time there was a mill", 33, &job);
  assert_int_equal(job.done.tokens, PREDICT);
  json_t *doc = trace(client, TRI_TRACE_GET), *step, *run, *stage;
  size_t i, j;
  json_int_t prompt_rows = 0, drawn_rows = 0, busy_us[WORKERS] = {0};
  json_array_foreach(json_object_get(doc, "steps"), i, step) {
    json_int_t within = 0, took = json_integer_value(json_object_get(step, "took_us"));
    json_array_foreach(json_object_get(step, "runs"), j, run) {
      assert_int_equal(json_integer_value(json_array_get(run, 0)), job.done.job);
      *(json_integer_value(json_array_get(run, 2)) ? &prompt_rows : &drawn_rows) += json_integer_value(json_array_get(run, 1));
    }
    assert_int_equal(json_array_size(json_object_get(step, "stages")), WORKERS);
    json_array_foreach(json_object_get(step, "stages"), j, stage) {
      busy_us[j] += json_integer_value(json_array_get(stage, 1));
      within += json_integer_value(json_array_get(stage, 0)) + json_integer_value(json_array_get(stage, 1));
    }
    assert_true(within > 0 && within <= took);
  }
  assert_int_equal(json_integer_value(json_object_get(doc, "wrong")), 0);
  assert_int_equal(prompt_rows, job.done.prompt_tokens);
  assert_int_equal(drawn_rows, PREDICT - 1);
  json_decref(doc), json_decref(trace(client, TRI_TRACE_OFF));
  for (int k = 0; k < WORKERS; k++) {
    char part[64];
    snprintf(part, sizeof part, "\"busy_us\": %lld,", (long long)busy_us[k]);
    lab_await_status(client, part);
  }
  lab_job_free(&job);
  tri_buf_free(&text);
  tri_client_close(&client);
  tri_cluster_stop(&cluster);
}

/* Someone else's cluster, with a limit of time: what is under way then is cancelled, and the cluster is free again. */
static void a_running_cluster_under_a_rate(void **state) {
  (void)state;
  char client[PATH_MAX];
  tri_cluster *cluster = lab_start(2, 0, TRI_WIRE_INT8);
  snprintf(client, sizeof client, "%s/client", tri_cluster_dir(cluster));
  json_t *doc = lab_json((const char *[]){"trireme", "bench", "--cluster", "--coordinator", tri_cluster_endpoint(cluster), "-k", client,
                                          "--rate", "20", "--seconds", "1", "-p", "8", "-n", "200", "--seed", "3", "--json", NULL});
  const json_t *load = json_array_get(json_object_get(doc, "loads"), 0);
  assert_string_equal(json_string_value(json_object_get(doc, "prompts")), "ids");
  assert_float_equal(real_of(load, "rate"), 20, 1e-9);
  assert_true(real_of(load, "requests") >= 5 && real_of(load, "requests") <= 50); /* 20 are expected */
  assert_true(real_of(load, "tokens") > 0 && real_of(load, "tokens") < 200 * real_of(load, "requests"));
  json_decref(doc);
  tri_client *watcher = lab_dial(cluster);
  lab_await_status(watcher, "\"running\": 0,\n    \"queued\": 0");
  tri_client_close(&watcher);
  tri_cluster_stop(&cluster);
}

static void what_makes_no_sense_is_refused(void **state) {
  (void)state;
  tri_buf said = {0};
  assert_int_equal(lab_program((const char *[]){"trireme", "bench", "--cluster", NULL}, &said), 2);
  assert_non_null(strstr((char *)said.data, "which cluster?"));
  assert_int_equal(lab_program((const char *[]){"trireme", "bench", "--cluster", "-m", LAB_MODEL, "-p", "16,32", NULL}, &said), 2);
  assert_non_null(strstr((char *)said.data, "--prompt 16,32"));
  assert_int_equal(lab_program((const char *[]){"trireme", "bench", "--cluster", "-m", LAB_MODEL, "--timeline", "/nowhere/t.svg", NULL},
                               &said), 3);
  assert_non_null(strstr((char *)said.data, "/nowhere/t.svg"));
  assert_int_equal(lab_program((const char *[]){"trireme", "bench", "--cluster", "-m", LAB_MODEL, "-p", "9000", NULL}, &said), 2);
  assert_non_null(strstr((char *)said.data, "context"));
  tri_buf_free(&said);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_agree_with_each_other),
                                     cmocka_unit_test(a_timeline_is_drawn),
                                     cmocka_unit_test(a_trace_accounts_for_all_that_was_computed),
                                     cmocka_unit_test(a_running_cluster_under_a_rate), cmocka_unit_test(what_makes_no_sense_is_refused)};
  return cmocka_run_group_tests(tests, lab_begin, lab_end);
}
