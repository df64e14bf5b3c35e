/* SPDX-License-Identifier: MIT */
#include "tests/cluster/lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

static char reports[] = "/tmp/trireme-reports-XXXXXX";

int lab_begin(void **state) {
  (void)state;
  if (!mkdtemp(reports)) return -1;
  const char *const variables[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  for (int i = 0; i < 3; i++) {
    char options[1024];
    const char *before = getenv(variables[i]);
    snprintf(options, sizeof options, "%s%slog_path=%s/report", before ? before : "", before ? ":" : "", reports);
    if (setenv(variables[i], options, 1) != 0) return -1;
  }
  return 0;
}

int lab_end(void **state) {
  (void)state;
  int found = 0;
  DIR *d = opendir(reports);
  if (!d) return -1;
  for (struct dirent *e; (e = readdir(d));) {
    char path[sizeof reports + sizeof e->d_name + 1];
    tri_buf text = {0};
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", reports, e->d_name);
    if (tri_file_read(&text, path, 1 << 20, NULL) == TRI_OK) fprintf(stderr, "%s\n", (char *)text.data);
    tri_buf_free(&text);
    unlink(path);
    found++;
  }
  closedir(d);
  rmdir(reports);
  if (found) fprintf(stderr, "%d report(s) of a sanitizer\n", found);
  return found ? -1 : 0;
}

tri_cluster *lab_start(int workers, int absent, tri_wire wire) {
  tri_error err = {0};
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = workers, .absent = absent, .threads = 1, .wire = wire, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

tri_client *lab_dial(const tri_cluster *c) {
  tri_error err = {0};
  tri_client *client;
  assert_ok(tri_cluster_dial(&client, c, &err), err);
  return client;
}

void lab_job_free(lab_job *j) {
  tri_ids_free(&j->ids);
  tri_buf_free(&j->text);
  tri_buf_free(&j->logits);
  free(j->logprobs);
  *j = (lab_job){0};
}

tri_msg_submit lab_request(tri_want want, uint32_t predict) {
  return (tri_msg_submit){.want = want, .predict = predict,
                          .sampling = {.temperature = 0, .top_p = 1, .repeat_penalty = 1, .repeat_last = 64}};
}

void lab_submit(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len) {
  tri_error err = {0};
  assert_ok(tri_client_submit(c, m, payload, len, &err), err);
}

tri_client_event lab_next(tri_client *c) {
  tri_error err = {0};
  tri_client_event e;
  assert_ok(tri_client_next(c, &e, LAB_WAIT_MS, &err), err);
  return e;
}

static void take_tokens(lab_job *out, const tri_client_event *e) {
  const tri_msg_tokens *m = &e->msg->tokens;
  for (uint32_t i = 0; i < m->n_tokens; i++) assert_int_equal(tri_ids_push(&out->ids, m->tokens[i]), TRI_OK);
  out->logprobs = realloc(out->logprobs, (out->n_logprobs + m->n_logprobs + 1) * sizeof *out->logprobs);
  memcpy(out->logprobs + out->n_logprobs, m->logprobs, m->n_logprobs * sizeof *m->logprobs);
  out->n_logprobs += m->n_logprobs;
  tri_buf_append(m->n_tokens ? &out->text : &out->logits, e->payload, e->payload_len);
}

bool lab_add(lab_job *out, const tri_client_event *e) {
  if (e->msg->kind == TRI_MSG_TOKENS) take_tokens(out, e);
  if (e->msg->kind == TRI_MSG_REFUSE) {
    out->refused = (tri_status)e->msg->refuse.status;
    snprintf(out->refusal, sizeof out->refusal, "%s", e->msg->refuse.text);
  }
  if (e->msg->kind == TRI_MSG_DONE) {
    out->done = e->msg->done;
    tri_buf_append(&out->text, e->payload, e->payload_len);
  }
  return e->msg->kind == TRI_MSG_REFUSE || e->msg->kind == TRI_MSG_DONE;
}

bool lab_take(tri_client *c, lab_job *out) {
  tri_client_event e = lab_next(c);
  return lab_add(out, &e);
}

void lab_collect(tri_client *c, lab_job *out) {
  *out = (lab_job){0};
  while (!lab_take(c, out)) {}
}

void lab_run(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len, lab_job *out) {
  lab_submit(c, m, payload, len);
  lab_collect(c, out);
}

pid_t lab_spawn(const char *const *argv, int *output_fd) {
  int fds[2];
  char path[512];
  snprintf(path, sizeof path, "%s/%s", TRIREME_BIN, argv[0]);
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(fds[1], STDOUT_FILENO), dup2(fds[1], STDERR_FILENO);
    execv(path, (char *const *)argv);
    _exit(127);
  }
  close(fds[1]);
  *output_fd = fds[0];
  return pid;
}

int lab_await_exit(pid_t pid) {
  enum { LOOK_MS = 5 };
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  int status = 0;
  pid_t reaped;
  while ((reaped = waitpid(pid, &status, WNOHANG)) == 0) {
    if (tri_clock_ms() > until) fail_msg("process %d does not end", (int)pid);
    poll(NULL, 0, LOOK_MS);
  }
  assert_int_equal(reaped, pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int lab_finish(pid_t pid, int output_fd, tri_buf *output) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  for (;;) {
    struct pollfd p = {.fd = output_fd, .events = POLLIN};
    int64_t left = until - tri_clock_ms();
    if (poll(&p, 1, left > 0 ? (int)left : 0) != 1) break;
    uint8_t bytes[4096];
    ssize_t n = read(output_fd, bytes, sizeof bytes);
    if (n <= 0) break;
    tri_buf_append(output, bytes, (size_t)n);
  }
  close(output_fd);
  bool late = tri_clock_ms() >= until;
  if (late) kill(pid, SIGKILL);
  int code = lab_await_exit(pid);
  if (late) fail_msg("a program did not end in time; it said: %s", output->data ? (char *)output->data : "nothing");
  if (!output->data) tri_buf_append(output, "", 0), tri_buf_reserve(output, 1);
  return code;
}

int lab_program(const char *const *argv, tri_buf *output) {
  int fd;
  pid_t pid = lab_spawn(argv, &fd);
  return lab_finish(pid, fd, output);
}

json_t *lab_json(const char *const *argv) {
  tri_buf said = {0};
  int code = lab_program(argv, &said);
  json_error_t why;
  json_t *doc = json_loads((char *)said.data, 0, &why);
  if (code != 0 || !doc) fail_msg("exit code %d, %s: %s", code, why.text, (char *)said.data);
  tri_buf_free(&said);
  return doc;
}

void lab_await_status(tri_client *c, const char *part) {
  enum { PAUSE_MS = 20 };
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  tri_error err = {0};
  tri_buf json = {0};
  for (;;) {
    tri_buf_clear(&json);
    assert_ok(tri_client_status(c, &json, LAB_WAIT_MS, &err), err);
    if (strstr((char *)json.data, part)) break;
    if (tri_clock_ms() > until) fail_msg("the status never holds '%s'; it is %s", part, (char *)json.data);
    tri_client_event none;
    assert_int_equal(tri_client_next(c, &none, PAUSE_MS, &err), TRI_E_TIMEOUT);
  }
  tri_buf_free(&json);
}

int lab_count_processes(const char *part) {
  int n = 0;
  DIR *proc = opendir("/proc");
  assert_non_null(proc);
  for (struct dirent *e; (e = readdir(proc));) {
    char path[300];
    tri_buf text = {0};
    if (atoi(e->d_name) <= 0 || atoi(e->d_name) == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
    if (tri_file_read(&text, path, 1 << 20, NULL) == TRI_OK) {
      for (size_t i = 0; i < text.len; i++)
        if (!text.data[i]) text.data[i] = ' ';
      n += text.data && strstr((char *)text.data, part) != NULL;
    }
    tri_buf_free(&text);
  }
  closedir(proc);
  return n;
}
