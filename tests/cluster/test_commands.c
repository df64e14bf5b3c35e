/* SPDX-License-Identifier: MIT */
/* The commands as a user runs them, and that they leave nothing behind. */
#include "tests/cluster/lab.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"

static char tmp[PATH_MAX]; /* $TMPDIR of this test: what is in it afterwards was left behind */

static int make_tmp(void **state) {
  if (lab_begin(state) != 0) return -1;
  snprintf(tmp, sizeof tmp, "/tmp/trireme-commands-XXXXXX");
  return mkdtemp(tmp) && setenv("TMPDIR", tmp, 1) == 0 ? 0 : -1;
}
static int remove_tmp(void **state) {
  int left = rmdir(tmp); /* fails if anything is left */
  return lab_end(state) != 0 ? -1 : left;
}

static int entries(void) {
  int n = 0;
  DIR *d = opendir(tmp);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

/* Until no process of a cluster in our folder is left. */
static void await_no_processes(void) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  while (lab_count_processes(tmp) > 0) {
    if (tri_clock_ms() > until) fail_msg("processes are left");
    poll(NULL, 0, 5);
  }
}

static const char *text_of(const json_t *doc, const char *key) { return json_string_value(json_object_get(doc, key)); }

static void local_shows_its_stages(void **state) {
  (void)state;
  tri_buf said = {0};
  int code = lab_program((const char *[]){"trireme", "local", "-m", LAB_MODEL, "-w", "3", "-t", "1", "-p", "Once upon a time", "-n", "12",
                                          "--temp", "0", NULL}, &said);
  assert_int_equal(code, 0);
  char *text = (char *)said.data;
  assert_ptr_equal(strstr(text, "Once upon a time"), text);
  const char *parts[] = {"stage", "RSS MB", "ms per token", "bytes/hop", "w1 ", "w2 ", "w3 ", "emb 0-", " head", "prefill 6 tokens",
                         "generated 12 tokens"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr(text, parts[i])) fail_msg("no '%s' in: %s", parts[i], text);
  tri_buf_free(&said);
  assert_int_equal(entries(), 0);
  assert_int_equal(lab_count_processes(tmp), 0);
}

/* The model is shared out: each of three workers holds about a third. And a seed gives the same text as one process. */
static void local_as_json_counts_memory_and_bytes(void **state) {
  (void)state;
  json_t *doc = lab_json((const char *[]){"trireme", "local", "-m", LAB_MODEL, "-w", "3", "-t", "1", "-p", "The king", "-n", "20",
                                          "--seed", "5", "--wire", "f32", "--json", NULL});
  assert_string_equal(text_of(doc, "reason"), "length");
  assert_int_equal(json_array_size(json_object_get(doc, "ids")), 20);
  json_t *workers = json_object_get(json_object_get(doc, "cluster"), "workers"), *w;
  size_t i;
  json_int_t rows = json_integer_value(json_object_get(doc, "prompt_tokens")) + 19;
  assert_int_equal(json_array_size(workers), 3);
  json_array_foreach(workers, i, w) {
    assert_int_equal(json_integer_value(json_object_get(w, "rows")), rows);
    assert_true(json_integer_value(json_object_get(w, "stage_bytes")) > 1 << 20);
    assert_true(json_integer_value(json_object_get(w, "rss_bytes")) > 1 << 20);
    double hop = json_number_value(json_object_get(w, "bytes_per_token"));
    if (i < 2) assert_true(hop > 512 * 4 && hop < 512 * 4 + 64); /* a row of 512 floats and its envelope */
    else assert_true(hop > 0 && hop < 64);
  }
  tri_buf said = {0};
  assert_int_equal(lab_program((const char *[]){"trireme", "run", "-m", LAB_MODEL, "-t", "1", "-p", "The king", "-n", "20", "--seed", "5",
                                                "--no-prompt", NULL}, &said), 0);
  const char *text = text_of(doc, "text");
  assert_memory_equal(said.data, text, strlen(text));
  tri_buf_free(&said);
  json_decref(doc);
}

static void submit_and_status_from_a_key_folder(void **state) {
  (void)state;
  char client[PATH_MAX], coordinator[PATH_MAX];
  tri_buf said = {0};
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  const char *endpoint = tri_cluster_endpoint(c);
  snprintf(client, sizeof client, "%s/client", tri_cluster_dir(c));
  snprintf(coordinator, sizeof coordinator, "%s/coordinator", tri_cluster_dir(c));
  json_t *doc = lab_json((const char *[]){"trireme", "submit", "--coordinator", endpoint, "-k", client, "-p", "The king", "-n", "5",
                                          "--seed", "1", "--json", NULL});
  assert_int_equal(json_integer_value(json_object_get(doc, "tokens")), 5);
  json_decref(doc);
  int code = lab_program((const char *[]){"trireme", "submit", "--coordinator", endpoint, "-k", client, "-p", "The king", "-n", "5",
                                          "--detach", NULL}, &said);
  assert_int_equal(code, 0);
  assert_string_equal((char *)said.data, "job 2\n");
  tri_client *watcher = lab_dial(c);
  lab_await_status(watcher, "\"done\": 2");
  tri_client_close(&watcher);
  doc = lab_json((const char *[]){"trireme", "status", "--coordinator", endpoint, "-k", client, "--json", NULL});
  assert_string_equal(text_of(doc, "state"), "serving");
  assert_int_equal(json_array_size(json_object_get(doc, "workers")), 2);
  json_decref(doc);
  tri_buf_clear(&said);
  assert_int_equal(lab_program((const char *[]){"trireme", "status", "--coordinator", endpoint, "-k", client, NULL}, &said), 0);
  assert_non_null(strstr((char *)said.data, ": serving"));
  assert_non_null(strstr((char *)said.data, "story-bitnet.gguf, 12 layers"));
  tri_buf_clear(&said);
  assert_int_equal(lab_program((const char *[]){"trireme", "keys", "-k", coordinator, NULL}, &said), 0);
  assert_non_null(strstr((char *)said.data, "worker  w2"));
  tri_buf_clear(&said);
  assert_int_equal(lab_program((const char *[]){"trireme", "keygen", "-o", client, NULL}, &said), 2); /* never over a key that is there */
  assert_non_null(strstr((char *)said.data, "secret.key"));
  tri_buf_free(&said);
  tri_cluster_stop(&c);
}

static void same(const json_t *a, const json_t *b, const char *key) {
  if (!json_equal(json_object_get(a, key), json_object_get(b, key))) fail_msg("another %s", key);
}

/* Every option that changes what is drawn, in one process and over workers. */
static void sampling_is_the_same_in_every_command(void **state) {
  (void)state;
  const char *const options[] = {"-m", LAB_MODEL, "-t", "1", "-p", "Once upon a time", "-n", "30", "--seed", "7", "--temp", "1.1",
                                 "--top-k", "200", "--top-p", "0.98", "--min-p", "0.01", "--typical", "0.9", "--repeat-penalty", "1.1",
                                 "--frequency-penalty", "0.2", "--presence-penalty", "0.1", "--repeat-last", "20", "--logit-bias", "11-inf",
                                 "--logit-bias", "258+1.5", "--stop-token", "13", "--logprobs", "3", "--ignore-eos", "--json"};
  enum { OPTIONS = sizeof options / sizeof *options };
  const char *argv[OPTIONS + 8] = {"trireme", "run"};
  memcpy(argv + 2, options, sizeof options);
  json_t *one = lab_json(argv);
  size_t n = json_array_size(json_object_get(one, "ids"));
  assert_true(n > 5);
  assert_int_equal(json_array_size(json_object_get(one, "logprobs")), n);
  argv[1] = "local", argv[OPTIONS + 2] = "--wire", argv[OPTIONS + 3] = "f32", argv[OPTIONS + 4] = "-w";
  for (int workers = 1; workers <= 3; workers += 2) {
    argv[OPTIONS + 5] = workers == 1 ? "1" : "3";
    json_t *many = lab_json(argv);
    same(one, many, "ids"), same(one, many, "text"), same(one, many, "reason"), same(one, many, "logprobs");
    json_decref(many);
  }
  json_decref(one);
}

static const char *write_tmp(char path[PATH_MAX], const char *name, const char *text) {
  snprintf(path, PATH_MAX, "%s/%s", tmp, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
  return path;
}

/* The text is a document of the schema, in whatever way the model is run. */
static void a_schema_is_kept_in_every_command(void **state) {
  (void)state;
  char path[PATH_MAX], client[PATH_MAX];
  write_tmp(path, "schema.json",
            "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 12}, "
            "\"kind\": {\"enum\": [\"king\", \"fox\"]}, \"age\": {\"type\": \"integer\"}}, \"required\": "
            "[\"name\", \"kind\", \"age\"], \"additionalProperties\": false}");
  tri_cluster *c = lab_start(3, 0, TRI_WIRE_F32);
  snprintf(client, sizeof client, "%s/client", tri_cluster_dir(c));
  const char *const options[] = {"-p", "There was a", "-n", "150", "--seed", "4", "--temp", "1.2", "--json-schema", path,
                                 "--logprobs", "2", "--json"};
  enum { OPTIONS = sizeof options / sizeof *options };
  const char *run[OPTIONS + 8] = {"trireme", "run", "-m", LAB_MODEL, "-t", "1"},
             *submit[OPTIONS + 8] = {"trireme", "submit", "--coordinator", tri_cluster_endpoint(c), "-k", client},
             *local[OPTIONS + 12] = {"trireme", "local", "-m", LAB_MODEL, "-t", "1", "-w", "2", "--wire", "f32"};
  memcpy(run + 6, options, sizeof options), memcpy(submit + 6, options, sizeof options), memcpy(local + 10, options, sizeof options);
  json_t *one = lab_json(run), *two = lab_json(submit), *three = lab_json(local), *doc = json_loads(text_of(one, "text"), 0, NULL);
  static const char *const keys[] = {"ids", "text", "reason", "logprobs"};
  for (int i = 0; i < 4; i++) same(one, two, keys[i]), same(one, three, keys[i]);
  assert_string_equal(text_of(one, "reason"), "end");
  assert_int_equal(json_object_size(doc), 3);
  assert_true(strlen(text_of(doc, "name")) > 0 && json_is_integer(json_object_get(doc, "age")));
  assert_true(strcmp(text_of(doc, "kind"), "king") == 0 || strcmp(text_of(doc, "kind"), "fox") == 0);
  json_decref(one), json_decref(two), json_decref(three), json_decref(doc);
  tri_cluster_stop(&c);
  unlink(path);
}

/* Where no token goes on, the job fails with a sentence, and the cluster serves on. */
static void a_grammar_that_gets_stuck_fails_its_job_alone(void **state) {
  (void)state;
  char path[PATH_MAX], client[PATH_MAX];
  tri_buf said = {0};
  write_tmp(path, "stuck.gbnf", "root ::= \"a\" root? root? root?\n");
  tri_cluster *c = lab_start(2, 0, TRI_WIRE_INT8);
  snprintf(client, sizeof client, "%s/client", tri_cluster_dir(c));
  const char *endpoint = tri_cluster_endpoint(c);
  int code = lab_program((const char *[]){"trireme", "submit", "--coordinator", endpoint, "-k", client, "-p", "x", "-n", "200", "--grammar",
                                          path, "--temp", "0", "--logit-bias", "64+50", NULL}, &said);
  if (code != 4 || !strstr((char *)said.data, "the job failed: after ") || !strstr((char *)said.data, "ways to go on at once"))
    fail_msg("exit code %d: %s", code, (char *)said.data);
  json_t *doc = lab_json((const char *[]){"trireme", "submit", "--coordinator", endpoint, "-k", client, "-p", "The king", "-n", "5",
                                          "--json", NULL});
  assert_int_equal(json_integer_value(json_object_get(doc, "tokens")), 5);
  json_decref(doc);
  tri_buf_free(&said);
  tri_cluster_stop(&c);
  unlink(path);
}

/* Until the text begins to come. */
static pid_t start_long_local(int *fd) {
  char byte;
  pid_t pid = lab_spawn((const char *[]){"trireme", "local", "-m", LAB_MODEL, "-w", "3", "-t", "1", "-p", "Once", "-n", "1000",
                                         "--ignore-eos", NULL}, fd);
  struct pollfd p = {.fd = *fd, .events = POLLIN};
  assert_int_equal(poll(&p, 1, LAB_WAIT_MS), 1);
  assert_int_equal(read(*fd, &byte, 1), 1);
  return pid;
}

static void an_interrupted_local_cleans_up(void **state) {
  (void)state;
  const int signals[] = {SIGINT, SIGTERM};
  for (int i = 0; i < 2; i++) {
    tri_buf said = {0};
    int fd;
    pid_t pid = start_long_local(&fd);
    kill(pid, signals[i]);
    assert_int_equal(lab_finish(pid, fd, &said), -1); /* ended by the signal, after the clean-up */
    assert_int_equal(entries(), 0);
    assert_int_equal(lab_count_processes(tmp), 0);
    tri_buf_free(&said);
  }
}

static void a_killed_local_takes_its_processes_along_and_its_folder_goes_with_the_next(void **state) {
  (void)state;
  tri_buf said = {0};
  int fd;
  pid_t pid = start_long_local(&fd);
  assert_int_equal(lab_count_processes(tmp), 4);
  kill(pid, SIGKILL);
  assert_int_equal(lab_finish(pid, fd, &said), -1);
  await_no_processes();
  assert_int_equal(entries(), 1); /* nobody is left who could remove it … */
  char other[PATH_MAX + 64];
  snprintf(other, sizeof other, "%s/trireme-abcdef", tmp);
  assert_int_equal(mkdir(other, 0700), 0);
  tri_cluster *c = lab_start(1, 0, TRI_WIRE_INT8); /* … until the next one starts */
  assert_int_equal(entries(), 2);
  tri_cluster *d = lab_start(1, 0, TRI_WIRE_INT8); /* which leaves alone what is in use, or nobody's that it knows */
  assert_int_equal(entries(), 3);
  tri_cluster_stop(&d), tri_cluster_stop(&c);
  assert_int_equal(entries(), 1);
  assert_int_equal(rmdir(other), 0);
  tri_buf_free(&said);
}

static void what_cannot_start_says_why(void **state) {
  (void)state;
  static const struct { const char *argv[12]; int code; const char *part; } cases[] = {
      {{"trireme", "local", "-m", "/nonexistent.gguf", "-p", "x"}, 3, "/nonexistent.gguf"},
      {{"trireme", "local", "-p", "x"}, 2, "a model is needed"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--memory", "1M"}, 1, "the model does not fit"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--workers", "99"}, 2, "between 1 and 64"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--wire", "int3"}, 2, "int3"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", ""}, 0, "tokens/s"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--logit-bias", "12"}, 2, "--logit-bias 12: a token id, + or -"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--logit-bias", "9999999-1"}, 2, "token 9999999"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--stop-token", "9999999"}, 2, "stop_tokens: 9999999"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--stop-token", "the"}, 2, "a token id is expected"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--json-mode", "--grammar", "x"}, 2, "only one of --json-mode"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--grammar", "/nonexistent"}, 3, "/nonexistent"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--json-mode", "--ignore-eos"}, 2, "--ignore-eos"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--json-mode", "--ignore-eos"}, 2, "ignore_end"},
      {{"trireme", "local", "-m", LAB_MODEL, "-p", "x", "--grammar", TRIREME_SOURCE "/LICENSE"}, 2, "grammar, line 1: a rule is expected"},
      {{"trireme", "run", "-m", LAB_MODEL, "-p", "x", "--json-schema", TRIREME_SOURCE "/LICENSE"}, 2, "the schema is no JSON"},
      {{"trireme", "submit", "-k", "/nonexistent", "-p", "x"}, 3, "/nonexistent/secret.key: there is no key"},
      {{"trireme", "keys", "-k", "/nonexistent", "--allow", "/nonexistent/public.key"}, 3, "/nonexistent/public.key"},
      {{"trireme-worker", "-m", LAB_MODEL, "-k", "/nonexistent"}, 3, "/nonexistent/coordinator.key: it is not known which"},
      {{"trireme-worker", "join"}, 2, "a token is needed"},
      {{"trireme-worker", "join", "tri1:nothing", "-m", LAB_MODEL, "-k", "/nonexistent"}, 3, "this token is damaged"},
      {{"trireme-coordinator", "-m", LAB_MODEL, "--key", "/nonexistent"}, 3, "/nonexistent"},
      {{"trireme-coordinator", "--modle", LAB_MODEL}, 2, "did you mean --model"},
      {{"trireme-worker", "--help"}, 0, "Usage: trireme-worker"},
      {{"trireme-coordinator", "--help"}, 0, "Usage: trireme-coordinator"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_buf said = {0};
    int code = lab_program(cases[i].argv, &said);
    if (code != cases[i].code || !strstr((char *)said.data, cases[i].part))
      fail_msg("%s %s …: exit code %d, not %d, or no '%s' in: %s", cases[i].argv[0], cases[i].argv[1], code, cases[i].code, cases[i].part,
               (char *)said.data);
    tri_buf_free(&said);
  }
  assert_int_equal(entries(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(local_shows_its_stages),
      cmocka_unit_test(local_as_json_counts_memory_and_bytes),
      cmocka_unit_test(submit_and_status_from_a_key_folder),
      cmocka_unit_test(sampling_is_the_same_in_every_command),
      cmocka_unit_test(a_schema_is_kept_in_every_command),
      cmocka_unit_test(a_grammar_that_gets_stuck_fails_its_job_alone),
      cmocka_unit_test(an_interrupted_local_cleans_up),
      cmocka_unit_test(a_killed_local_takes_its_processes_along_and_its_folder_goes_with_the_next),
      cmocka_unit_test(what_cannot_start_says_why),
  };
  return cmocka_run_group_tests(tests, make_tmp, remove_tmp);
}
