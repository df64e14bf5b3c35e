/* SPDX-License-Identifier: MIT */
#include "tests/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "tests/lab/cage.h"

enum { DOWN_TRIES = 1500, PAUSE_MS = 10 };

static void folder_path(char out[PATH_MAX], const char *name, const char *file) {
  snprintf(out, PATH_MAX, LAB_FOLDER_PATTERN "%s%s", name, file ? "/" : "", file ? file : "");
}

static bool have(const char *program) {
  static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};
  bool found = false;
  for (int i = 0; i < 4; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folders[i], program);
    found |= access(path, X_OK) == 0;
  }
  return found;
}

tri_status lab_possible(tri_error *err) {
  if (geteuid() != 0) return tri_status_fail(err, TRI_E_DENIED, "a lab needs root: it makes network namespaces and control groups");
  if (!have("ip") || !have("tc")) return tri_status_fail(err, TRI_E_UNSUPPORTED, "`ip` and `tc` are missing; install iproute2");
  if (access("/dev/net/tun", R_OK | W_OK) != 0) return tri_status_fail(err, TRI_E_UNSUPPORTED, "/dev/net/tun: %s", strerror(errno));
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) _exit(unshare(CLONE_NEWNET | CLONE_NEWPID) == 0 ? 0 : errno);
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "namespaces can't be made here: %s", strerror(WEXITSTATUS(status)));
  return lab_cage_check(err);
}

/* --- folder and lock --- */

/* The lab's lock, -1 if a keeper holds it or the folder is not there. */
static int take_lock(const char *name) {
  char path[PATH_MAX];
  folder_path(path, name, "lock");
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) close(fd), fd = -1;
  return fd;
}

static void remove_files(const char *name) {
  static const char *const files[] = {"state", "lock"};
  char path[PATH_MAX];
  for (int i = 0; i < 2; i++) folder_path(path, name, files[i]), unlink(path);
  folder_path(path, name, NULL);
  rmdir(path);
}

/* Labs whose keeper was killed. */
static void sweep(void) {
  char pattern[PATH_MAX];
  glob_t found = {0};
  folder_path(pattern, "*", NULL);
  if (glob(pattern, 0, NULL, &found) != 0) return;
  for (size_t i = 0; i < found.gl_pathc; i++) {
    const char *name = found.gl_pathv[i] + strlen(pattern) - 1;
    int fd = take_lock(name);
    if (fd < 0) continue;
    lab_cage_remove(name);
    remove_files(name);
    close(fd);
  }
  globfree(&found);
}

static tri_status make_folder(const char *name, int *lock_fd, tri_error *err) {
  char path[PATH_MAX];
  folder_path(path, name, NULL);
  if (mkdir(path, 0700) != 0)
    return errno == EEXIST
               ? tri_status_fail(err, TRI_E_BUSY, "lab %s stands; end it with `trireme-lab down`, or choose another --name", name)
               : tri_status_fail(err, TRI_E_IO, "cannot make %s: %s", path, strerror(errno));
  folder_path(path, name, "lock");
  *lock_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (*lock_fd < 0 || flock(*lock_fd, LOCK_EX | LOCK_NB) != 0)
    return tri_status_fail(err, TRI_E_IO, "cannot lock %s: %s", path, strerror(errno));
  return TRI_OK;
}

static tri_status save(const lab *l, tri_error *err) {
  char path[PATH_MAX];
  tri_file_writer *w;
  folder_path(path, l->name, "state");
  tri_status status = tri_file_writer_open(&w, path, 0600, err);
  if (status != TRI_OK) return status;
  status = tri_file_writer_write(w, l, sizeof *l, err);
  if (status == TRI_OK) return tri_file_writer_commit(&w, err);
  return tri_file_writer_abort(&w), status;
}

tri_status lab_open(lab *out, const char *name, tri_error *err) {
  char path[PATH_MAX];
  tri_buf state = {0};
  int fd = take_lock(name);
  folder_path(path, name, "state");
  tri_status status = TRI_OK;
  if (fd >= 0 || access(path, F_OK) != 0)
    status = tri_status_fail(err, TRI_E_NOT_FOUND, "no lab %s stands; start one with `trireme-lab up TOPOLOGY`", name);
  if (fd >= 0) close(fd);
  if (status == TRI_OK) status = tri_file_read(&state, path, sizeof *out, err);
  if (status == TRI_OK && state.len != sizeof *out)
    status = tri_status_fail(err, TRI_E_FORMAT, "%s was written by another build; end that lab with `trireme-lab down`", path);
  if (status == TRI_OK) memcpy(out, state.data, sizeof *out);
  tri_buf_free(&state);
  return status;
}

/* --- keeper and first process --- */

/* The first process: builds the network once the keeper says so, and stays as long as the keeper does. */
static _Noreturn void be_first(const lab_topology *t, int life_fd, int result_fd) {
  tri_error err = {0};
  char go;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (read(life_fd, &go, 1) != 1) _exit(1);
  err.status = lab_hub_build(t, &err);
  if (write(result_fd, &err, sizeof err) != sizeof err || err.status != TRI_OK) _exit(1);
  close(result_fd);
  signal(SIGCHLD, SIG_IGN); /* orphans of the lab are reaped by the kernel */
  while (read(life_fd, &go, 1) == 1) continue;
  _exit(0);
}

static tri_status start_first(lab *l, int lock_fd, int result_fd, int *life_fd, tri_error *err) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0 || unshare(CLONE_NEWPID) != 0)
    return tri_status_fail(err, TRI_E_IO, "cannot make a pid namespace: %s", strerror(errno));
  l->first = fork();
  if (l->first == 0) {
    close(fds[1]), close(lock_fd);
    if (unshare(CLONE_NEWNET) != 0) _exit(1);
    be_first(&l->topology, fds[0], result_fd);
  }
  close(fds[0]);
  *life_fd = fds[1];
  return l->first > 0 ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "cannot start the lab: %s", strerror(errno));
}

/* Until the first process ends, or we are told to end it. */
static void guard(pid_t first) {
  sigset_t told;
  sigemptyset(&told), sigaddset(&told, SIGTERM), sigaddset(&told, SIGINT), sigaddset(&told, SIGHUP);
  struct pollfd fds[] = {{.fd = (int)syscall(SYS_pidfd_open, first, 0), .events = POLLIN},
                         {.fd = signalfd(-1, &told, SFD_CLOEXEC), .events = POLLIN}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) continue;
  kill(first, SIGKILL);
  waitpid(first, NULL, 0);
}

static _Noreturn void be_keeper(lab *l, pid_t parent, int lock_fd, int result_fd) {
  tri_error err = {0};
  sigset_t all;
  int life_fd = -1;
  sigfillset(&all), sigprocmask(SIG_SETMASK, &all, NULL);
  if (parent) prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (parent && getppid() != parent) kill(getpid(), SIGTERM); /* it is blocked, so guard() finds it */
  setsid();
  int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++) dup2(null_fd, fd);
  l->keeper = getpid();
  tri_status status = TRI_OK;
  for (int i = 0; i < l->topology.count && status == TRI_OK; i++) status = lab_cage_make(l->name, &l->topology.nodes[i], &err);
  if (status == TRI_OK) status = start_first(l, lock_fd, result_fd, &life_fd, &err);
  if (status == TRI_OK) status = save(l, &err);
  bool going = status == TRI_OK && write(life_fd, "", 1) == 1;
  if (!going && write(result_fd, &err, sizeof err) != sizeof err) _exit(1);
  if (going) close(result_fd); /* the first process has it now, so that its end shows there too */
  if (l->first > 0) guard(l->first);
  lab_cage_remove(l->name);
  remove_files(l->name);
  _exit(0);
}

tri_status lab_up(lab *out, const char *name, const lab_topology *t, bool owned, tri_error *err) {
  lab l = {.topology = *t};
  tri_error result = {0};
  int fds[2], lock_fd = -1;
  if (!*name || strlen(name) >= sizeof l.name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name))
    return tri_status_fail(err, TRI_E_INVALID, "a lab's name has 1 to %zu small letters, digits and -", sizeof l.name - 1);
  snprintf(l.name, sizeof l.name, "%s", name);
  tri_status status = lab_possible(err);
  if (status != TRI_OK) return status;
  sweep();
  status = make_folder(name, &lock_fd, err);
  if (status != TRI_OK) return status;
  if (pipe2(fds, O_CLOEXEC) != 0) return tri_status_fail(err, TRI_E_IO, "cannot make a pipe: %s", strerror(errno));
  pid_t self = getpid(), keeper = fork();
  if (keeper == 0) {
    close(fds[0]);
    be_keeper(&l, owned ? self : 0, lock_fd, fds[1]);
  }
  close(fds[1]), close(lock_fd);
  ssize_t n = keeper > 0 ? read(fds[0], &result, sizeof result) : -1;
  close(fds[0]);
  if (n == sizeof result && result.status == TRI_OK) return lab_open(out, name, err);
  if (keeper > 0) kill(keeper, SIGTERM), waitpid(keeper, NULL, 0);
  if (n == sizeof result) return tri_status_fail(err, result.status, "%s", result.text);
  return tri_status_fail(err, TRI_E_INTERNAL, "the lab ended while it was built");
}

tri_status lab_down(const char *name, tri_error *err) {
  lab l;
  tri_error none;
  char path[PATH_MAX];
  if (lab_open(&l, name, &none) == TRI_OK) kill(l.keeper, SIGTERM);
  folder_path(path, name, NULL);
  for (int i = 0; i < DOWN_TRIES; i++) {
    waitpid(-1, NULL, WNOHANG); /* the keeper, where it is our child */
    sweep();
    if (access(path, F_OK) != 0) return TRI_OK;
    poll(NULL, 0, PAUSE_MS);
  }
  return tri_status_fail(err, TRI_E_TIMEOUT, "lab %s does not end", name);
}

/* --- inside --- */

static int open_of(const lab *l, const char *what) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)l->first, what);
  return open(path, O_RDONLY | O_CLOEXEC);
}
static int open_node(const lab *l, int node) {
  char what[32];
  snprintf(what, sizeof what, "fd/%d", LAB_FIRST_FD + node);
  return open_of(l, what);
}

tri_status lab_enter(const lab *l, int node, tri_error *err) {
  int fd = open_node(l, node), ok = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
  if (fd >= 0) close(fd);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_IO, "cannot enter node %s: %s", l->topology.nodes[node].name, strerror(errno));
}

/* In the child, which is in the lab's pid namespace already. */
static _Noreturn void become(const lab *l, int node, int net_fd, const char *const *argv, int output_fd, int kept_fd) {
  sigset_t none;
  sigemptyset(&none);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bool ok = setns(net_fd, CLONE_NEWNET) == 0 && lab_cage_enter(l->name, l->topology.nodes[node].name) &&
            (output_fd < 0 || (dup2(output_fd, STDOUT_FILENO) >= 0 && dup2(output_fd, STDERR_FILENO) >= 0)) &&
            (kept_fd < 0 || fcntl(kept_fd, F_SETFD, 0) == 0) && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
  if (ok) execvp(argv[0], (char *const *)argv);
  fprintf(stderr, "trireme-lab: cannot run %s in node %s: %s\n", argv[0], l->topology.nodes[node].name, strerror(errno));
  _exit(127);
}

pid_t lab_spawn(const lab *l, int node, const char *const *argv, int output_fd, int kept_fd, tri_error *err) {
  int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), pids = open_of(l, "ns/pid"), net = open_node(l, node);
  pid_t pid = -1;
  if (own >= 0 && pids >= 0 && net >= 0 && setns(pids, CLONE_NEWPID) == 0) {
    pid = fork();
    if (pid == 0) become(l, node, net, argv, output_fd, kept_fd);
    if (setns(own, CLONE_NEWPID) != 0) abort(); /* else our next children would be the lab's */
  }
  if (pid < 0)
    (void)tri_status_fail(err, TRI_E_IO, "cannot start %s in node %s: %s", argv[0], l->topology.nodes[node].name, strerror(errno));
  const int fds[] = {own, pids, net};
  for (int i = 0; i < 3; i++)
    if (fds[i] >= 0) close(fds[i]);
  return pid;
}

/* The calling thread in the hub, and back by leave(). */
static int visit(const lab *l) {
  int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), hub = open_of(l, "ns/net");
  if (hub < 0 || back < 0 || setns(hub, CLONE_NEWNET) != 0) {
    if (back >= 0) close(back);
    back = -1;
  }
  if (hub >= 0) close(hub);
  return back;
}
static void leave(int back) {
  if (setns(back, CLONE_NEWNET) != 0) abort(); /* what came next would happen in the wrong network */
  close(back);
}

tri_status lab_plug(const lab *l, int node, bool in, tri_error *err) {
  int back = visit(l);
  if (back < 0) return tri_status_fail(err, TRI_E_IO, "cannot enter the hub of lab %s: %s", l->name, strerror(errno));
  tri_status status = lab_hub_plug(l->topology.nodes[node].name, in, err);
  return leave(back), status;
}

tri_status lab_slow(const lab *l, int node, double factor, bool link, tri_error *err) {
  const lab_node *n = &l->topology.nodes[node];
  if ((link ? (double)n->rate : n->cpu) <= 0)
    return tri_status_fail(err, TRI_E_INVALID, "node %s has no limit on its %s that could be divided", n->name, link ? "link" : "CPU");
  if (!link) return lab_cage_set_cpu(l->name, n->name, n->cpu / factor, err);
  int64_t rate = (int64_t)((double)n->rate / factor);
  int back = visit(l), ns = open_node(l, node);
  if (back < 0 || ns < 0) return tri_status_fail(err, TRI_E_IO, "cannot enter the hub of lab %s: %s", l->name, strerror(errno));
  tri_status status = lab_hub_shape(-1, n->name, rate, err);
  if (status == TRI_OK) status = lab_hub_shape(ns, "eth0", rate, err);
  return close(ns), leave(back), status;
}

lab_traffic lab_read_traffic(const lab *l, int node) {
  lab_traffic out = {0};
  int back = visit(l);
  if (back < 0) return out;
  out = lab_hub_read(l->topology.nodes[node].name);
  return leave(back), out;
}
