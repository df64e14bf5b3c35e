/* SPDX-License-Identifier: MIT */
#include "tests/lab/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

enum { WORDS = 96, PORT = 7117, STOP_MS = 10000, DIAL_MS = 20000, LOOK_MS = 50 };

/* A command line under construction. */
typedef struct line {
  const char *words[WORDS + 1];
  char made[16][PATH_MAX];
  int n, n_made;
} line;

static void add(line *l, const char *word) {
  if (l->n < WORDS) l->words[l->n++] = word, l->words[l->n] = NULL;
}
static void add_made(line *l, const char *fmt, ...) TRI_PRINTF(2, 3);
static void add_made(line *l, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(l->made[l->n_made], PATH_MAX, fmt, args);
  va_end(args);
  add(l, l->made[l->n_made++]);
}
void crew_program(char out[PATH_MAX], const char *program) {
  char own[PATH_MAX - 64];
  ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
  own[n > 0 ? n : 0] = 0;
  char *slash = strrchr(own, '/');
  snprintf(out, PATH_MAX, "%.*s/%s", slash ? (int)(slash - own) : 1, slash ? own : ".", program);
}
static void add_program(line *l, const char *program) {
  char path[PATH_MAX];
  crew_program(path, program);
  add_made(l, "%s", path);
}
static void add_list(line *l, const tri_args_list *list) {
  for (int i = 0; list && i < list->count; i++) add(l, list->items[i]);
}

/* --- keys --- */

static int open_file(const crew *c, const char *file) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", c->folder.path, file);
  return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Outside the lab; what it says goes to a file of the folder, what it remarks to the log. */
static tri_status run(const crew *c, const line *l, const char *file, tri_error *err) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(open_file(c, file), STDOUT_FILENO), dup2(open_file(c, "log"), STDERR_FILENO);
    execv(l->words[0], (char *const *)l->words);
    _exit(127);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
    return tri_status_fail(err, TRI_E_INTERNAL, "%s %s failed", l->words[0], l->words[1]);
  return TRI_OK;
}

static tri_status make_keys(const crew *c, tri_error *err) {
  const char *dir = c->folder.path;
  line own = {0}, client = {0}, allow = {0};
  add_program(&own, "trireme"), add(&own, "keygen"), add(&own, "--name"), add(&own, "coordinator"), add(&own, "-o");
  add_made(&own, "%s/coordinator", dir);
  add_program(&client, "trireme"), add(&client, "keygen"), add(&client, "--name"), add(&client, "client"), add(&client, "-o");
  add_made(&client, "%s/client", dir), add(&client, "--trust"), add_made(&client, "%s/coordinator/public.key", dir);
  add_program(&allow, "trireme"), add(&allow, "keys"), add(&allow, "--key"), add_made(&allow, "%s/coordinator", dir);
  add(&allow, "--allow"), add_made(&allow, "%s/client/public.key", dir), add(&allow, "--role"), add(&allow, "client");
  tri_status status = run(c, &own, "log", err);
  if (status == TRI_OK) status = run(c, &client, "log", err);
  return status == TRI_OK ? run(c, &allow, "log", err) : status;
}

static tri_status make_token(crew *c, tri_error *err) {
  char path[PATH_MAX];
  tri_buf text = {0};
  line l = {0};
  add_program(&l, "trireme"), add(&l, "token"), add(&l, "create"), add(&l, "--key"), add_made(&l, "%s/coordinator", c->folder.path);
  add(&l, "--uses"), add_made(&l, "%d", c->options.workers), add(&l, "--endpoint"), add(&l, c->endpoint);
  tri_status status = run(c, &l, "token", err);
  snprintf(path, sizeof path, "%s/token", c->folder.path);
  if (status == TRI_OK) status = tri_file_read(&text, path, sizeof c->token - 1, err);
  if (status == TRI_OK) snprintf(c->token, sizeof c->token, "%.*s", (int)strcspn((char *)text.data, "\n"), (char *)text.data);
  return tri_buf_free(&text), status;
}

tri_status crew_make(crew *out, const lab *l, const crew_options *o, tri_error *err) {
  crew c = {.lab = l, .options = *o, .folder = TRI_FOLDER_NONE};
  char address[16];
  if (o->workers < 1 || o->workers > l->topology.count - 1)
    return tri_status_fail(err, TRI_E_INVALID, "%d workers: the topology has nodes for 1 to %d", o->workers, l->topology.count - 1);
  lab_topology_address(0, address);
  snprintf(c.endpoint, sizeof c.endpoint, "tcp://%s:%d", address, PORT);
  tri_status status = tri_folder_make(&c.folder, err);
  if (status == TRI_OK) status = make_keys(&c, err);
  if (status == TRI_OK) status = make_token(&c, err);
  if (status == TRI_OK) *out = c;
  else tri_folder_remove(&c.folder);
  return status;
}

void crew_free(crew *c) {
  crew_stop(c);
  tri_folder_remove(&c->folder);
}

/* --- programs --- */

static tri_status start(crew *c, int node, const line *l, int kept_fd, tri_error *err) {
  int fd = open_file(c, "log");
  if (fd < 0) return tri_status_fail(err, TRI_E_IO, "cannot open %s/log: %s", c->folder.path, strerror(errno));
  pid_t pid = lab_spawn(c->lab, node, l->words, fd, kept_fd, err);
  close(fd);
  if (pid < 0) return err->status;
  c->pids[node] = pid;
  return TRI_OK;
}

static tri_status start_coordinator(crew *c, int ready_fd, tri_error *err) {
  const crew_options *o = &c->options;
  line l = {0};
  add_program(&l, "trireme-coordinator"), add(&l, "--model"), add(&l, o->model), add(&l, "--listen"), add(&l, c->endpoint);
  add(&l, "--key"), add_made(&l, "%s/coordinator", c->folder.path), add(&l, "--min-workers"), add_made(&l, "%d", o->workers);
  add(&l, "--slots"), add_made(&l, "%d", o->slots), add(&l, "--wire"), add(&l, o->wire);
  add(&l, "--ready-fd"), add_made(&l, "%d", ready_fd);
  /* A node with a tenth of a core is late with its signs of life while it loads. */
  add(&l, "--lost-after"), add(&l, "60");
  if (o->context) add(&l, "--ctx"), add_made(&l, "%d", o->context);
  add_list(&l, o->coordinator_args);
  return start(c, 0, &l, ready_fd, err);
}

static tri_status start_worker(crew *c, int node, tri_error *err) {
  const lab_node *n = &c->lab->topology.nodes[node];
  line l = {0};
  add_program(&l, "trireme-worker");
  if (!c->joined) add(&l, "join"), add(&l, c->token), add(&l, "--name"), add(&l, n->name);
  if (c->options.copies) add(&l, "--model"), add(&l, c->options.model);
  add(&l, "--key"), add_made(&l, "%s/%s", c->folder.path, n->name), add(&l, "--cache"), add_made(&l, "%s/%s/parts", c->folder.path, n->name);
  /* As many as the node has cores: it sees this machine's. */
  if (n->cpu > 0) add(&l, "--threads"), add_made(&l, "%.0f", ceil(n->cpu / 100));
  if (n->memory) add(&l, "--memory"), add_made(&l, "%lld", (long long)(n->memory / 10 * 9));
  add_list(&l, c->options.worker_args);
  return start(c, node, &l, -1, err);
}

static void show_log(const crew *c) {
  enum { TAIL = 2000 };
  char path[PATH_MAX], text[TAIL];
  snprintf(path, sizeof path, "%s/log", c->folder.path);
  FILE *f = fopen(path, "re");
  if (!f) return;
  if (fseek(f, -TAIL, SEEK_END) != 0) rewind(f);
  fprintf(stderr, "the end of the log:\n%.*s", (int)fread(text, 1, TAIL, f), text);
  fclose(f);
}

/* Nodes whose program has ended, by name; those are reaped. */
static const char *who_died(crew *c) {
  for (int i = 0; i <= c->options.workers; i++)
    if (c->pids[i] > 0 && waitpid(c->pids[i], NULL, WNOHANG) == c->pids[i]) return c->pids[i] = 0, c->lab->topology.nodes[i].name;
  return NULL;
}

/* The next line that the coordinator writes to its --ready-fd. */
static tri_status next_line(crew *c, int fd, int64_t until_ms, char out[TRI_MAX_TEXT], tri_error *err) {
  for (size_t n = 0;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    if (poll(&p, 1, LOOK_MS) == 1 && read(fd, &byte, 1) == 1) {
      if (byte == '\n') return out[n] = 0, TRI_OK;
      if (n < TRI_MAX_TEXT - 1) out[n++] = byte;
      continue;
    }
    if (c->look) c->look(c->look_arg);
    const char *dead = who_died(c);
    if (dead) return tri_status_fail(err, TRI_E_UNREACHABLE, "the program in node %s ended", dead);
    if (tri_clock_ms() > until_ms)
      return tri_status_fail(err, TRI_E_TIMEOUT, "the cluster didn't serve within %lld s", (long long)c->options.ready_ms / 1000);
  }
}

tri_status crew_start(crew *c, int64_t *took_us, tri_error *err) {
  int fds[2];
  char text[TRI_MAX_TEXT];
  int64_t from_us = tri_clock_us(), until_ms = tri_clock_ms() + c->options.ready_ms;
  if (pipe2(fds, O_CLOEXEC) != 0) return tri_status_fail(err, TRI_E_IO, "cannot make a pipe: %s", strerror(errno));
  tri_status status = start_coordinator(c, fds[1], err);
  close(fds[1]);
  if (status == TRI_OK) status = next_line(c, fds[0], until_ms, text, err); /* its endpoint, as we know it */
  for (int i = 1; i <= c->options.workers && status == TRI_OK; i++) status = start_worker(c, i, err);
  if (status == TRI_OK) status = next_line(c, fds[0], until_ms, text, err);
  if (status == TRI_OK && strcmp(text, "ready") != 0) status = tri_status_fail(err, TRI_E_LIMIT, "the cluster cannot serve: %s", text);
  if (status == TRI_OK) *took_us = tri_clock_us() - from_us, c->joined = true;
  else if (!c->options.quiet) show_log(c);
  if (status != TRI_OK) crew_stop(c);
  return close(fds[0]), status;
}

/* The programs of the nodes [from, to]. */
static int stop_nodes(crew *c, int from, int to) {
  int64_t until = tri_clock_ms() + STOP_MS;
  int killed = 0;
  for (int i = from; i <= to; i++)
    if (c->pids[i] > 0) kill(c->pids[i], SIGTERM);
  for (int i = from; i <= to; i++) {
    if (c->pids[i] <= 0) continue;
    bool late = false;
    while (waitpid(c->pids[i], NULL, WNOHANG) == 0) {
      if (tri_clock_ms() > until) kill(c->pids[i], SIGKILL), late = true;
      poll(NULL, 0, LOOK_MS);
    }
    killed += late;
    c->pids[i] = 0;
  }
  return killed;
}

int crew_stop_workers(crew *c) { return stop_nodes(c, 1, c->options.workers); }
void crew_stop(crew *c) { stop_nodes(c, 0, c->options.workers); }

/* Until whoever has the other end closes it. */
static void read_all(int fd, tri_buf *out) {
  char bytes[4096];
  for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) tri_buf_append(out, bytes, (size_t)n);
}

tri_status crew_ask(crew *c, const char *const *words, json_t **out, tri_error *err) {
  line l = {0};
  int fds[2], code = -1;
  tri_buf text = {0};
  add_program(&l, "trireme");
  for (; *words; words++) add(&l, *words);
  if (pipe2(fds, O_CLOEXEC) != 0) return tri_status_fail(err, TRI_E_IO, "cannot make a pipe: %s", strerror(errno));
  pid_t pid = c ? lab_spawn(c->lab, 0, l.words, fds[1], -1, err) : fork();
  if (pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    execv(l.words[0], (char *const *)l.words);
    _exit(127);
  }
  close(fds[1]);
  if (pid > 0) read_all(fds[0], &text), waitpid(pid, &code, 0);
  close(fds[0]);
  *out = code == 0 ? json_loadb((char *)text.data, text.len, 0, NULL) : NULL;
  tri_status status = *out ? TRI_OK
                           : tri_status_fail(err, TRI_E_INTERNAL, "trireme %s failed: %.*s", l.words[1], (int)text.len,
                                             text.data ? (char *)text.data : "");
  return tri_buf_free(&text), status;
}

tri_status crew_dial(tri_client **out, const crew *c, tri_error *err) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s/client", c->folder.path);
  tri_status status = lab_enter(c->lab, 0, err);
  return status == TRI_OK ? tri_client_dial(out, c->endpoint, dir, -1, DIAL_MS, err) : status;
}

int64_t crew_peak(const crew *c, int node) {
  char path[64], text[256];
  long long kb = 0;
  snprintf(path, sizeof path, "/proc/%d/status", (int)c->pids[node]);
  FILE *f = c->pids[node] > 0 ? fopen(path, "re") : NULL;
  while (f && fgets(text, sizeof text, f) && sscanf(text, "VmHWM: %lld", &kb) != 1) continue;
  if (f) fclose(f);
  return kb * 1024;
}
