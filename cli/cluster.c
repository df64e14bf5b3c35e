/* SPDX-License-Identifier: MIT */
#include "cli/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/folder.h"
#include "cli/interrupt.h"
#include "engine/kv.h"
#include "engine/single.h"
#include "proto/keys.h"

enum { MAX_ARGS = 32, START_MS = 600000, STOP_MS = 5000, DIAL_MS = 10000, LOOK_MS = 100, LOST_AFTER_S = 30 };

struct tri_cluster {
  tri_cluster_options options;
  tri_folder folder;
  char bin[PATH_MAX - 64], endpoint[TRI_MAX_ENDPOINT];
  pid_t coordinator, workers[TRI_CLUSTER_WORKERS]; /* 0: none */
  int log_fd, ready_fd;
  tri_interrupt interrupt;
  char line[TRI_MAX_TEXT * 2]; /* of ready_fd, so far */
  size_t line_len;
};

/* --- folder and keys --- */

static tri_status make_node(tri_cluster *c, const char *name, tri_role role, const uint8_t coordinator[TRI_KEY_BYTES], tri_error *err) {
  char dir[PATH_MAX], coordinator_dir[PATH_MAX];
  tri_keypair pair;
  snprintf(dir, sizeof dir, "%s/%s", c->folder.path, name);
  snprintf(coordinator_dir, sizeof coordinator_dir, "%s/coordinator", c->folder.path);
  tri_status status = tri_keys_generate(&pair, name, err);
  if (status == TRI_OK) status = tri_keys_save(&pair, dir, err);
  if (status == TRI_OK) status = tri_keys_save_coordinator(coordinator, NULL, dir, err);
  tri_allowed item = {.role = role};
  memcpy(item.key, pair.public_key, TRI_KEY_BYTES);
  snprintf(item.name, sizeof item.name, "%s", name);
  tri_keys_wipe(&pair);
  if (status == TRI_OK) status = tri_keys_add_allowed(&item, coordinator_dir, err);
  return status;
}

static void worker_name(int i, char out[16]) { snprintf(out, 16, "w%d", i + 1); }

static tri_status make_keys(tri_cluster *c, tri_error *err) {
  char dir[PATH_MAX];
  tri_keypair pair;
  snprintf(dir, sizeof dir, "%s/coordinator", c->folder.path);
  tri_status status = tri_keys_generate(&pair, "coordinator", err);
  if (status == TRI_OK) status = tri_keys_save(&pair, dir, err);
  if (status == TRI_OK) status = make_node(c, "client", TRI_ROLE_CLIENT, pair.public_key, err);
  for (int i = 0; i < c->options.workers && status == TRI_OK; i++) {
    char name[16];
    worker_name(i, name);
    status = make_node(c, name, TRI_ROLE_WORKER, pair.public_key, err);
  }
  tri_keys_wipe(&pair);
  return status;
}

static tri_status make_folder(tri_cluster *c, tri_error *err) {
  char path[PATH_MAX];
  tri_status status = tri_folder_make(&c->folder, err);
  if (status != TRI_OK) return status;
  snprintf(path, sizeof path, "%s/log", c->folder.path);
  c->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (c->log_fd < 0) return tri_status_fail(err, TRI_E_IO, "cannot make %s: %s", path, strerror(errno));
  return TRI_OK;
}

static tri_status find_programs(tri_cluster *c, tri_error *err) {
  ssize_t n = readlink("/proc/self/exe", c->bin, sizeof c->bin - 1);
  if (n < 0) return tri_status_fail(err, TRI_E_IO, "cannot find the running program: %s", strerror(errno));
  c->bin[n] = 0;
  *strrchr(c->bin, '/') = 0;
  return TRI_OK;
}

/* --- processes --- */

typedef struct command {
  char program[PATH_MAX];
  const char *args[MAX_ARGS + 1];
  int n;
  char text[8][PATH_MAX]; /* of arguments made here */
  int n_text;
} command;

static void add(command *cmd, const char *option, const char *value) {
  cmd->args[cmd->n++] = option;
  if (value) cmd->args[cmd->n++] = value;
}
static void add_int(command *cmd, const char *option, long long value) {
  if (value <= 0) return; /* the program's default */
  char *text = cmd->text[cmd->n_text++];
  snprintf(text, PATH_MAX, "%lld", value);
  add(cmd, option, text);
}
static void begin(command *cmd, const tri_cluster *c, const char *program, const char *node) {
  cmd->n = cmd->n_text = 0;
  snprintf(cmd->program, sizeof cmd->program, "%s/%s", c->bin, program);
  add(cmd, cmd->program, NULL);
  char *key = cmd->text[cmd->n_text++];
  snprintf(key, PATH_MAX, "%s/%s", c->folder.path, node);
  add(cmd, "--key", key);
}

/* In the child: only what is allowed between fork and exec. */
static _Noreturn void become(const command *cmd, pid_t parent, pid_t group, int log_fd, int kept_fd) {
  sigset_t none;
  sigemptyset(&none);
  setpgid(0, group);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int null_fd = open("/dev/null", O_RDONLY);
  bool ok = getppid() == parent && null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 && dup2(log_fd, STDOUT_FILENO) >= 0 &&
            dup2(log_fd, STDERR_FILENO) >= 0 && (kept_fd < 0 || fcntl(kept_fd, F_SETFD, 0) == 0) &&
            sigprocmask(SIG_SETMASK, &none, NULL) == 0;
  if (ok) execv(cmd->program, (char *const *)cmd->args);
  static const char failed[] = "cannot start a program of the cluster\n";
  ssize_t n = write(log_fd, failed, sizeof failed - 1);
  (void)n;
  _exit(127);
}

static tri_status spawn(tri_cluster *c, command *cmd, int kept_fd, pid_t *out, tri_error *err) {
  cmd->args[cmd->n] = NULL;
  if (access(cmd->program, X_OK) != 0) return tri_status_fail(err, TRI_E_NOT_FOUND, "%s: %s", cmd->program, strerror(errno));
  pid_t self = getpid(), pid = fork();
  if (pid < 0) return tri_status_fail(err, TRI_E_NOMEM, "cannot start %s: %s", cmd->program, strerror(errno));
  if (pid == 0) become(cmd, self, c->coordinator, c->log_fd, kept_fd);
  setpgid(pid, c->coordinator ? c->coordinator : pid); /* both sides, so that it holds whoever is first */
  *out = pid;
  return TRI_OK;
}

static tri_status spawn_coordinator(tri_cluster *c, tri_error *err) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return tri_status_fail(err, TRI_E_IO, "cannot make a pipe: %s", strerror(errno));
  command cmd;
  begin(&cmd, c, "trireme-coordinator", "coordinator");
  add(&cmd, "--model", c->options.model_path);
  add(&cmd, "--listen", c->endpoint[0] ? c->endpoint : "tcp://127.0.0.1:0"); /* where it was, if it is started again */
  add(&cmd, "--no-announce", NULL);
  add(&cmd, "--wire", tri_wire_name(c->options.wire));
  add(&cmd, "--kv", tri_kv_name(c->options.kv_type));
  add_int(&cmd, "--min-workers", c->options.least ? c->options.least : c->options.workers);
  if (c->options.nodes) add(&cmd, "--nodes", c->options.nodes);
  else add(&cmd, "--all-workers", NULL); /* as many as were asked for, not as many as help */
  if (!c->options.lasting) add(&cmd, "--retries", "0");
  add_int(&cmd, "--ctx", c->options.context);
  add_int(&cmd, "--slots", c->options.slots);
  add_int(&cmd, "--kv-tokens", c->options.kv_tokens);
  if (c->options.no_orphans) add(&cmd, "--orphans", "0");
  if (c->options.reuse) add(&cmd, "--reuse", c->options.reuse);
  add_int(&cmd, "--lost-after", c->options.lost_after_s ? c->options.lost_after_s : LOST_AFTER_S);
  add_int(&cmd, "--replan-every", c->options.replan_every_s);
  add_int(&cmd, "--ready-fd", fds[1]);
  tri_status status = spawn(c, &cmd, fds[1], &c->coordinator, err);
  close(fds[1]);
  c->ready_fd = fds[0];
  return status;
}

static int threads_each(const tri_cluster_options *o) {
  int share = tri_single_cores() / o->workers;
  return o->threads ? o->threads : share < 1 ? 1 : share;
}

static tri_status spawn_worker(tri_cluster *c, int i, tri_error *err) {
  command cmd;
  char name[16];
  worker_name(i, name);
  begin(&cmd, c, "trireme-worker", name);
  if (!c->options.fetch) add(&cmd, "--model", c->options.model_path);
  char *cache = cmd.text[cmd.n_text++];
  snprintf(cache, PATH_MAX, "%s/%s/parts", c->folder.path, name);
  add(&cmd, "--cache", cache);
  add(&cmd, "--coordinator", c->endpoint);
  add(&cmd, "--listen", "tcp://127.0.0.1:0");
  add_int(&cmd, "--threads", threads_each(&c->options));
  add_int(&cmd, "--memory", c->options.memory);
  return spawn(c, &cmd, -1, &c->workers[i], err);
}

/* --- waiting for it --- */

/* A child that has ended is a failure; *name tells which. */
static bool someone_died(tri_cluster *c, char name[16]) {
  for (int i = -1; i < c->options.workers; i++) {
    pid_t *pid = i < 0 ? &c->coordinator : &c->workers[i];
    if (*pid <= 0 || waitpid(*pid, NULL, WNOHANG) != *pid) continue;
    if (i < 0) snprintf(name, 16, "coordinator");
    else worker_name(i, name), *pid = 0; /* the coordinator's id stays: it names the group */
    if (i < 0) kill(-c->coordinator, SIGKILL);
    return true;
  }
  return false;
}

static void show_log(const tri_cluster *c) {
  enum { TAIL = 2000 };
  char path[PATH_MAX], text[TAIL + 1];
  snprintf(path, sizeof path, "%s/log", c->folder.path);
  FILE *f = fopen(path, "r");
  if (!f) return;
  if (fseek(f, -TAIL, SEEK_END) != 0) rewind(f);
  size_t n = fread(text, 1, TAIL, f);
  fclose(f);
  fprintf(stderr, "the end of the cluster's log:\n%.*s", (int)n, text);
}

/* The next line that the coordinator writes to its --ready-fd; c->line holds it until the next call. */
static tri_status next_line(tri_cluster *c, int64_t until_ms, tri_error *err) {
  c->line_len = 0;
  for (;;) {
    struct pollfd fds[] = {{.fd = c->ready_fd, .events = POLLIN}, {.fd = c->interrupt.fd, .events = POLLIN}};
    int n = poll(fds, 2, LOOK_MS);
    char who[16], byte;
    if (n > 0 && fds[1].revents) return tri_status_fail(err, TRI_E_CANCELLED, "interrupted");
    if (n > 0 && fds[0].revents && read(c->ready_fd, &byte, 1) == 1) {
      if (byte == '\n') return c->line[c->line_len] = 0, TRI_OK;
      if (c->line_len < sizeof c->line - 1) c->line[c->line_len++] = byte;
      continue;
    }
    if (someone_died(c, who)) return show_log(c), tri_status_fail(err, TRI_E_IO, "the %s of the local cluster ended", who);
    if (tri_clock_ms() > until_ms) return show_log(c), tri_status_fail(err, TRI_E_TIMEOUT, "the local cluster did not come up");
  }
}

tri_status tri_cluster_wait(tri_cluster *c, tri_error *err) {
  tri_status status = next_line(c, tri_clock_ms() + START_MS, err);
  if (status != TRI_OK) return status;
  if (strncmp(c->line, "failed ", 7) == 0) return tri_status_fail(err, TRI_E_LIMIT, "the local cluster cannot serve: %s", c->line + 7);
  if (strcmp(c->line, "ready") != 0) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator says '%.200s'", c->line);
  return TRI_OK;
}

/* The processes would find the same, but only their log would say it. */
static tri_status check_model(const char *path, tri_error *err) {
  tri_model *model;
  tri_status status = tri_model_open(&model, path, err);
  if (status == TRI_OK) tri_model_close(&model);
  return status;
}

tri_status tri_cluster_start(tri_cluster **out, const tri_cluster_options *o, tri_error *err) {
  if (o->workers < 1 || o->workers > TRI_CLUSTER_WORKERS)
    return tri_status_fail(err, TRI_E_INVALID, "%d workers: from 1 to %d are possible on one machine", o->workers, TRI_CLUSTER_WORKERS);
  tri_status status = check_model(o->model_path, err);
  if (status != TRI_OK) return status;
  tri_cluster *c = calloc(1, sizeof *c);
  if (!c) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  *c = (tri_cluster){.options = *o, .folder = TRI_FOLDER_NONE, .log_fd = -1, .ready_fd = -1, .interrupt = TRI_INTERRUPT_NONE};
  status = tri_interrupt_begin(&c->interrupt, err);
  if (status == TRI_OK) status = find_programs(c, err);
  if (status == TRI_OK) status = make_folder(c, err);
  if (status == TRI_OK) status = make_keys(c, err);
  if (status == TRI_OK) status = spawn_coordinator(c, err);
  if (status == TRI_OK) status = next_line(c, tri_clock_ms() + START_MS, err);
  if (status == TRI_OK) snprintf(c->endpoint, sizeof c->endpoint, "%.*s", (int)sizeof c->endpoint - 1, c->line);
  for (int i = 0; i < o->workers - o->absent && status == TRI_OK; i++) status = spawn_worker(c, i, err);
  if (status == TRI_OK && !o->absent) status = tri_cluster_wait(c, err);
  if (status != TRI_OK) return tri_cluster_stop(&c), status;
  *out = c;
  return TRI_OK;
}

/* --- the end --- */

/* True once it has ended and is reaped. */
static bool reap(pid_t pid, int64_t until_ms) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  int64_t left = until_ms - tri_clock_ms();
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (fd >= 0) poll(&p, 1, left > 0 ? (int)left : 0), close(fd);
  return waitpid(pid, NULL, WNOHANG) != 0; /* ended, or not ours any more */
}

static void end_processes(tri_cluster *c) {
  if (!c->coordinator) return;
  kill(-c->coordinator, SIGTERM);
  int64_t until = tri_clock_ms() + STOP_MS;
  for (int i = -1; i < c->options.workers; i++) {
    pid_t pid = i < 0 ? c->coordinator : c->workers[i];
    if (pid <= 0 || reap(pid, until)) continue;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
}

void tri_cluster_stop(tri_cluster **cluster) {
  tri_cluster *c = *cluster;
  if (!c) return;
  end_processes(c);
  const int fds[] = {c->log_fd, c->ready_fd};
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0) close(fds[i]);
  tri_folder_remove(&c->folder);
  tri_interrupt_end(&c->interrupt);
  free(c);
  *cluster = NULL;
}

tri_status tri_cluster_dial(tri_client **out, const tri_cluster *c, tri_error *err) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s/client", c->folder.path);
  return tri_client_dial(out, c->endpoint, dir, c->interrupt.fd, DIAL_MS, err);
}

const char *tri_cluster_endpoint(const tri_cluster *c) { return c->endpoint; }
const char *tri_cluster_dir(const tri_cluster *c) { return c->folder.path; }
pid_t tri_cluster_pid(const tri_cluster *c, int worker) { return worker < 0 ? c->coordinator : c->workers[worker]; }

tri_status tri_cluster_restart(tri_cluster *c, int worker, tri_error *err) {
  if (worker < 0) {
    if (!reap(c->coordinator, tri_clock_ms() + STOP_MS)) return tri_status_fail(err, TRI_E_BUSY, "the coordinator is still running");
    close(c->ready_fd);
    return spawn_coordinator(c, err);
  }
  if (c->workers[worker] > 0 && !reap(c->workers[worker], tri_clock_ms() + STOP_MS))
    return tri_status_fail(err, TRI_E_BUSY, "worker %d is still running", worker + 1);
  return spawn_worker(c, worker, err);
}
