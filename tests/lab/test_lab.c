/* SPDX-License-Identifier: MIT */
/* The lab does what its topology says, as plain programs inside of it see it, and leaves nothing behind. */
#include "tests/cluster/lab.h"

#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOPOLOGY TRIREME_SOURCE "/tests/lab/tiny.toml"
enum { TRIES = 20, SKIPPED = 77, PUSH = 2000000, BURN_MS = 400, LOOKS = 500 };

static char name[16];

/* `trireme-lab COMMAND --name NAME …`; both outputs. Returns the exit code. */
static int lab(tri_buf *said, const char *command, const char *const *words) {
  const char *argv[20] = {"trireme-lab", command, "--name", name};
  int n = 4;
  for (; words && *words; words++) argv[n++] = *words;
  tri_buf_clear(said);
  return lab_program(argv, said);
}
#define LAB(said, command, ...) lab(said, command, (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})
#define PROBE TRIREME_BIN "/lab_probe"

static void lab_ok(const char *command, const char *a, const char *b, const char *c) {
  tri_buf said = {0};
  if (LAB(&said, command, a, b, c) != 0) fail_msg("%s: %s", command, (char *)said.data);
  tri_buf_free(&said);
}

static double probe(const char *node, const char *what, const char *a, const char *b) {
  tri_buf said = {0};
  int code = LAB(&said, "exec", node, "--", PROBE, what, a, b);
  double v = code == 0 ? atof((char *)said.data) : NAN;
  if (code == 0 && !v) fail_msg("%s said %s", what, (char *)said.data);
  tri_buf_free(&said);
  return v;
}

static json_t *status_of(void) {
  tri_buf said = {0};
  assert_int_equal(LAB(&said, "status", "--json"), 0);
  json_t *doc = json_loads((char *)said.data, 0, NULL);
  assert_non_null(doc);
  tri_buf_free(&said);
  return doc;
}
static double of_node(const char *node, const char *key) {
  json_t *doc = status_of(), *n;
  size_t i;
  double v = NAN;
  json_array_foreach(json_object_get(doc, "nodes"), i, n)
    if (strcmp(json_string_value(json_object_get(n, "name")), node) == 0) v = json_number_value(json_object_get(n, key));
  json_decref(doc);
  return v;
}
static pid_t pid_of(const char *key) {
  json_t *doc = status_of();
  pid_t pid = (pid_t)json_integer_value(json_object_get(doc, key));
  json_decref(doc);
  assert_true(pid > 1);
  return pid;
}

/* The probe that answers, in a node; it listens when this returns. */
static pid_t start_echo(const char *node, int *fd) {
  const char *const argv[] = {"trireme-lab", "exec", "--name", name, node, "--", PROBE, "echo", NULL};
  char line[10];
  pid_t pid = lab_spawn(argv, fd);
  struct pollfd p = {.fd = *fd, .events = POLLIN};
  assert_int_equal(poll(&p, 1, LAB_WAIT_MS), 1);
  assert_int_equal(read(*fd, line, sizeof line), 10);
  assert_memory_equal(line, "listening\n", 10);
  return pid;
}

static bool exists(const char *pattern) {
  char path[256];
  struct stat st;
  snprintf(path, sizeof path, pattern, name);
  return stat(path, &st) == 0;
}
static void assert_nothing_left(void) {
  static const char *const places[] = {"/run/tri-lab-%s", "/sys/fs/cgroup/tri-lab-%s", "/sys/fs/cgroup/cpu/tri-lab-%s",
                                       "/sys/fs/cgroup/memory/tri-lab-%s"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (exists(places[i])) fail_msg("%s is left of lab %s", places[i], name);
}
static void await_end(const char *pattern) {
  for (int i = 0; i < LOOKS && exists(pattern); i++) poll(NULL, 0, 10);
}

static int up(void **state) {
  if (lab_begin(state) != 0) return -1;
  snprintf(name, sizeof name, "t%d", (int)getpid());
  lab_ok("up", TOPOLOGY, NULL, NULL);
  return 0;
}
static int down(void **state) {
  lab_ok("down", NULL, NULL, NULL);
  assert_nothing_left();
  return lab_end(state);
}

static void test_links(void **state) {
  (void)state;
  int fd, tries = 0;
  tri_buf said = {0};
  char bytes[16];
  pid_t echo = start_echo("head", &fd);
  snprintf(bytes, sizeof bytes, "%d", PUSH);
  double near = probe("one", "ping", "10.77.0.1", NULL), far = probe("two", "ping", "10.77.0.1", NULL);
  if (!(near < 5 && far >= 10 && far < 10 + 30)) fail_msg("round trips of %.2f and %.2f ms, not about 0 and 10", near, far);
  double before = of_node("one", "sent_bytes"), rate = probe("one", "push", "10.77.0.1", bytes);
  double sent = of_node("one", "sent_bytes") - before;
  if (!(rate > 20 && rate < 100)) fail_msg("%.1f Mbit/s over a link of 100", rate);
  if (!(sent > PUSH && sent < PUSH * 1.1)) fail_msg("%.0f bytes counted for %d", sent, PUSH);
  lab_ok("slow", "--link", "one", "4");
  rate = probe("one", "push", "10.77.0.1", bytes);
  if (!(rate > 5 && rate < 25)) fail_msg("%.1f Mbit/s over a link of 25", rate);
  lab_ok("cut", "one", NULL, NULL);
  assert_true(isnan(probe("one", "ping", "10.77.0.1", NULL)));
  lab_ok("heal", "one", NULL, NULL);
  do rate = probe("one", "push", "10.77.0.1", bytes); /* its neighbours are found anew, which may take longer than a try */
  while (isnan(rate) && tries++ < TRIES);
  if (!(rate > 25 && rate < 100)) fail_msg("%.1f Mbit/s over a link of 100, once healed", rate);
  lab_ok("kill", "head", NULL, NULL);
  assert_int_equal(lab_finish(echo, fd, &said), 128 + SIGKILL);
  tri_buf_free(&said);
}

/* How little comes of a share is up to who else is on the machine; more than it mustn't. */
static void test_cpu(void **state) {
  (void)state;
  char ms[16];
  snprintf(ms, sizeof ms, "%d", BURN_MS);
  double share = probe("one", "burn", ms, NULL);
  if (!(share > 2 && share < 46)) fail_msg("%.1f %% of a core, not 40", share);
  lab_ok("slow", "one", "2", NULL);
  share = probe("one", "burn", ms, NULL);
  if (!(share > 1 && share < 24)) fail_msg("%.1f %% of a core, not 20", share);
  double used = of_node("one", "cpu_us") / 1e3;
  if (!(used > 5 && used < 2 * BURN_MS)) fail_msg("%.0f ms of CPU counted", used);
  lab_ok("heal", "one", NULL, NULL);
  assert_true(of_node("one", "cpu") == 40);
}

static void test_memory(void **state) {
  (void)state;
  tri_buf said = {0};
  assert_int_equal(LAB(&said, "exec", "two", "--", PROBE, "hold", "30000000"), 0);
  assert_int_equal(LAB(&said, "exec", "two", "--", PROBE, "hold", "400000000"), 128 + SIGKILL);
  tri_buf_free(&said);
}

static void test_wrong_words(void **state) {
  (void)state;
  tri_buf said = {0};
  assert_int_equal(LAB(&said, "cut", "three"), 3);
  assert_non_null(strstr((char *)said.data, "no node 'three'"));
  assert_int_equal(LAB(&said, "up", TOPOLOGY), 5);
  assert_non_null(strstr((char *)said.data, "stands"));
  assert_int_equal(LAB(&said, "slow", "one", "0"), 2);
  assert_int_equal(LAB(&said, "slow", "head", "2"), 2);
  assert_non_null(strstr((char *)said.data, "no limit on its CPU"));
  tri_buf_free(&said);
}

/* With the first process goes all, and the keeper tidies up; without the keeper the next lab does. */
static void test_killed(void **state) {
  (void)state;
  int fd;
  tri_buf said = {0};
  pid_t echo = start_echo("two", &fd);
  kill(pid_of("first"), SIGKILL);
  assert_int_equal(lab_finish(echo, fd, &said), 128 + SIGKILL);
  await_end("/run/tri-lab-%s");
  assert_nothing_left();
  lab_ok("up", TOPOLOGY, NULL, NULL);
  tri_buf_clear(&said);
  echo = start_echo("two", &fd);
  kill(pid_of("keeper"), SIGKILL);
  assert_int_equal(lab_finish(echo, fd, &said), 128 + SIGKILL);
  assert_true(exists("/run/tri-lab-%s"));
  lab_ok("up", TOPOLOGY, NULL, NULL);
  assert_true(of_node("two", "processes") == 0);
  tri_buf_free(&said);
}

/* `run` ends its lab with itself, also when it is killed. */
static void test_run(void **state) {
  (void)state;
  char own[16];
  int fd;
  tri_buf said = {0};
  snprintf(own, sizeof own, "%s", name);
  snprintf(name, sizeof name, "r%d", (int)getpid());
  assert_int_equal(LAB(&said, "run", TOPOLOGY, "--", "sh", "-c", TRIREME_BIN "/trireme-lab exec one ip address && exit 7"), 7);
  assert_non_null(strstr((char *)said.data, "10.77.0.2/24"));
  assert_nothing_left();
  const char *const argv[] = {"trireme-lab", "run", "--name", name, TOPOLOGY, "--", "sh", "-c", "echo up; exec sleep 1", NULL};
  pid_t pid = lab_spawn(argv, &fd);
  char line[3];
  assert_int_equal(read(fd, line, 3), 3);
  kill(pid, SIGKILL);
  tri_buf_clear(&said);
  lab_finish(pid, fd, &said);
  await_end("/run/tri-lab-%s");
  assert_nothing_left();
  snprintf(name, sizeof name, "%s", own);
  tri_buf_free(&said);
}

static json_t *item(json_t *doc, const char *list, size_t i) { return json_array_get(json_object_get(doc, list), i); }
static double number(json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

/* A cluster in it: the links carry what the workers say that they send, and headers. */
static void test_bench(void **state) {
  (void)state;
  const char *const argv[] = {"trireme-lab", "bench", TOPOLOGY, "-m", LAB_MODEL, "--streams", "2", "-n", "12", "-p", "5",
                              "--json", "--name", "b", NULL};
  enum { STREAMS = 2, TOKENS = 12, PROMPT = 5 };
  tri_buf said = {0};
  char own[sizeof name];
  const char *words[16];
  snprintf(own, sizeof own, "b%d", (int)getpid());
  memcpy(words, argv, sizeof argv);
  words[13] = own;
  int code = lab_program(words, &said);
  const char *json = strchr((char *)said.data, '{');
  json_t *doc = json ? json_loads(json, 0, NULL) : NULL;
  if (code != 0 || !doc) fail_msg("%s", (char *)said.data);
  json_t *load = item(doc, "loads", 0), *one = item(load, "nodes", 1), *stage = item(json_object_get(doc, "status"), "workers", 0);
  assert_true(number(load, "tokens") == STREAMS * TOKENS);
  assert_string_equal(json_string_value(json_object_get(one, "node")), "one");
  double rows = STREAMS * (PROMPT + TOKENS - 1), told = number(stage, "bytes_per_token") * rows, counted = number(one, "sent_bytes");
  if (strcmp(json_string_value(json_object_get(stage, "name")), "two") == 0) told = 0, counted = 1; /* the other order of stages */
  if (!(counted > told && counted < 2 * told + 30000)) fail_msg("%.0f bytes counted, %.0f told", counted, told);
  assert_true(number(one, "core_share") > 0 && number(one, "core_share") < 0.5);
  assert_true(number(item(doc, "memory", 1), "peak_rss_bytes") > 1e6);
  json_decref(doc);
  tri_buf_free(&said);
}

int main(void) {
  tri_buf said = {0};
  if (LAB(&said, "check") != 0) return fprintf(stderr, "skipped: %s", (char *)said.data), SKIPPED;
  tri_buf_free(&said);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_links), cmocka_unit_test(test_cpu), cmocka_unit_test(test_memory), cmocka_unit_test(test_wrong_words),
      cmocka_unit_test(test_killed), cmocka_unit_test(test_run), cmocka_unit_test(test_bench)};
  return cmocka_run_group_tests(tests, up, down);
}
