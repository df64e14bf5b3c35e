/* SPDX-License-Identifier: MIT */
#include "tests/lab/cage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Short, so that a burst of one row is slowed like a long one; long where the quota would fall below the kernel's least, 1 ms. */
enum { PERIOD_US = 10000, LONG_PERIOD_US = 100000, LEAST_QUOTA_US = 1000 };
enum { ROOT = 192, TRIES = 200, PAUSE_MS = 10 };

/* Where the controllers are mounted; in version 2 all at one place. */
typedef struct trees {
  char cpu[ROOT], account[ROOT], memory[ROOT];
  bool v2;
} trees;

static int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int why = write(fd, text, strlen(text)) < 0 ? errno : 0;
  close(fd);
  return why;
}
static void read_text(const char *path, char *out, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);
  out[n > 0 ? n : 0] = 0;
  if (fd >= 0) close(fd);
}
static int64_t read_number(const char *path, const char *after) {
  char text[4096];
  read_text(path, text, sizeof text);
  const char *at = strstr(text, after);
  return at ? strtoll(at + strlen(after), NULL, 10) : 0;
}

static bool find_trees(trees *t) {
  *t = (trees){0};
  char unified[ROOT] = "";
  FILE *f = setmntent("/proc/self/mounts", "re");
  for (struct mntent *m; f && (m = getmntent(f));) {
    bool v1 = strcmp(m->mnt_type, "cgroup") == 0;
    if (strlen(m->mnt_dir) >= ROOT) continue;
    if (strcmp(m->mnt_type, "cgroup2") == 0) strcpy(unified, m->mnt_dir);
    if (v1 && hasmntopt(m, "cpu")) strcpy(t->cpu, m->mnt_dir);
    if (v1 && hasmntopt(m, "cpuacct")) strcpy(t->account, m->mnt_dir);
    if (v1 && hasmntopt(m, "memory")) strcpy(t->memory, m->mnt_dir);
  }
  if (f) endmntent(f);
  if (*t->cpu && *t->account && *t->memory) return true;
  char path[PATH_MAX], controllers[512];
  snprintf(path, sizeof path, "%s/cgroup.controllers", unified);
  read_text(path, controllers, sizeof controllers);
  if (!*unified || !strstr(controllers, "cpu") || !strstr(controllers, "memory")) return false;
  strcpy(t->cpu, unified), strcpy(t->account, unified), strcpy(t->memory, unified);
  return t->v2 = true;
}

static void path_of(char out[PATH_MAX], const char *tree, const char *lab, const char *node, const char *file) {
  snprintf(out, PATH_MAX, "%s/tri-lab-%s%s%s%s%s", tree, lab, node ? "/" : "", node ? node : "", file ? "/" : "", file ? file : "");
}

static tri_status set(const char *tree, const char *lab, const char *node, const char *file, const char *value, tri_error *err) {
  char path[PATH_MAX];
  path_of(path, tree, lab, node, file);
  int why = write_text(path, value);
  return why ? tri_status_fail(err, TRI_E_IO, "cannot write %s to %s: %s", value, path, strerror(why)) : TRI_OK;
}

tri_status lab_cage_check(tri_error *err) {
  trees t;
  if (!find_trees(&t)) return tri_status_fail(err, TRI_E_UNSUPPORTED, "no control groups for CPU and memory are mounted here");
  if (access(t.cpu, W_OK) != 0 || access(t.memory, W_OK) != 0)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "the control groups under %s may not be written", t.cpu);
  return TRI_OK;
}

static tri_status make_folder(const char *tree, const char *lab, const char *node, tri_error *err) {
  char path[PATH_MAX];
  path_of(path, tree, lab, node, NULL);
  if (mkdir(path, 0755) != 0 && errno != EEXIST) return tri_status_fail(err, TRI_E_IO, "cannot make %s: %s", path, strerror(errno));
  return TRI_OK;
}

tri_status lab_cage_make(const char *lab, const lab_node *n, tri_error *err) {
  trees t;
  char value[32], path[PATH_MAX];
  tri_status status = TRI_OK;
  if (!find_trees(&t)) return lab_cage_check(err);
  const char *const all[] = {t.cpu, t.account, t.memory};
  for (int i = 0; i < (t.v2 ? 1 : 3) && status == TRI_OK; i++) {
    if (t.v2) snprintf(path, sizeof path, "%s/cgroup.subtree_control", all[i]), write_text(path, "+cpu +memory");
    status = make_folder(all[i], lab, NULL, err);
    if (status == TRI_OK && t.v2) status = set(all[i], lab, NULL, "cgroup.subtree_control", "+cpu +memory", err);
    if (status == TRI_OK) status = make_folder(all[i], lab, n->name, err);
  }
  /* Beside others on this machine a group counts as one process, however many nodes are in it. */
  if (status == TRI_OK) status = set(t.cpu, lab, NULL, t.v2 ? "cpu.weight" : "cpu.shares", t.v2 ? "1000" : "10240", err);
  if (status == TRI_OK && n->memory) {
    snprintf(value, sizeof value, "%lld", (long long)n->memory);
    status = set(t.memory, lab, n->name, t.v2 ? "memory.max" : "memory.limit_in_bytes", value, err);
    /* A machine without swap may lack these; one with it must not use it instead. */
    path_of(path, t.memory, lab, n->name, t.v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
    write_text(path, t.v2 ? "0" : value);
  }
  return status == TRI_OK && n->cpu > 0 ? lab_cage_set_cpu(lab, n->name, n->cpu, err) : status;
}

tri_status lab_cage_set_cpu(const char *lab, const char *node, double cpu, tri_error *err) {
  trees t;
  char quota[32], period[32], both[80];
  if (!find_trees(&t)) return lab_cage_check(err);
  int period_us = cpu * PERIOD_US / 100 < LEAST_QUOTA_US ? LONG_PERIOD_US : PERIOD_US;
  double quota_us = cpu * period_us / 100;
  if (cpu > 0 && quota_us < LEAST_QUOTA_US)
    return tri_status_fail(err, TRI_E_LIMIT, "%g %% of a core is less than the kernel can give: 1 %%", cpu);
  snprintf(period, sizeof period, "%d", period_us);
  if (cpu > 0) snprintf(quota, sizeof quota, "%.0f", quota_us);
  else snprintf(quota, sizeof quota, t.v2 ? "max" : "-1");
  snprintf(both, sizeof both, "%s %s", quota, period);
  if (t.v2) return set(t.cpu, lab, node, "cpu.max", both, err);
  /* No limit first: the kernel checks each write by itself against the ratio of the other number. */
  tri_status status = set(t.cpu, lab, node, "cpu.cfs_quota_us", "-1", err);
  if (status == TRI_OK) status = set(t.cpu, lab, node, "cpu.cfs_period_us", period, err);
  return status == TRI_OK ? set(t.cpu, lab, node, "cpu.cfs_quota_us", quota, err) : status;
}

bool lab_cage_enter(const char *lab, const char *node) {
  trees t;
  char path[PATH_MAX];
  bool ok = find_trees(&t);
  const char *const all[] = {t.cpu, t.account, t.memory};
  for (int i = 0; i < (t.v2 ? 1 : 3) && ok; i++) path_of(path, all[i], lab, node, "cgroup.procs"), ok = write_text(path, "0") == 0;
  return ok;
}

static int each_process(const char *tree, const char *lab, const char *node, int signal_number) {
  char path[PATH_MAX];
  int n = 0;
  long pid;
  path_of(path, tree, lab, node, "cgroup.procs");
  FILE *f = fopen(path, "re");
  for (; f && fscanf(f, "%ld", &pid) == 1; n++)
    if (signal_number && pid > 0) kill((pid_t)pid, signal_number);
  if (f) fclose(f);
  return n;
}

lab_cage_use lab_cage_read(const char *lab, const char *node) {
  trees t;
  lab_cage_use use = {0};
  char path[PATH_MAX], text[64];
  if (!find_trees(&t)) return use;
  long long quota = -1, period = 1;
  if (t.v2) {
    path_of(path, t.cpu, lab, node, "cpu.max"), read_text(path, text, sizeof text);
    if (sscanf(text, "%lld %lld", &quota, &period) != 2) quota = -1;
    path_of(path, t.cpu, lab, node, "cpu.stat"), use.cpu_us = read_number(path, "usage_usec ");
  } else {
    path_of(path, t.cpu, lab, node, "cpu.cfs_quota_us"), quota = read_number(path, "");
    path_of(path, t.cpu, lab, node, "cpu.cfs_period_us"), period = read_number(path, "");
    path_of(path, t.account, lab, node, "cpuacct.usage"), use.cpu_us = read_number(path, "") / 1000;
  }
  use.cpu = quota > 0 && period > 0 ? 100.0 * (double)quota / (double)period : 0;
  path_of(path, t.memory, lab, node, t.v2 ? "memory.current" : "memory.usage_in_bytes"), use.memory = read_number(path, "");
  path_of(path, t.memory, lab, node, t.v2 ? "memory.peak" : "memory.max_usage_in_bytes"), use.peak = read_number(path, "");
  use.processes = each_process(t.cpu, lab, node, 0);
  return use;
}

void lab_cage_kill(const char *lab, const char *node) {
  trees t;
  if (!find_trees(&t)) return;
  for (int i = 0; i < TRIES && each_process(t.cpu, lab, node, SIGKILL); i++) poll(NULL, 0, PAUSE_MS);
}

/* A group can't go before its last process is reaped, which is not ours to do. */
static void remove_folder(const char *path) {
  for (int i = 0; i < TRIES && rmdir(path) != 0 && errno == EBUSY; i++) poll(NULL, 0, PAUSE_MS);
}

void lab_cage_remove(const char *lab) {
  trees t;
  if (!find_trees(&t)) return;
  const char *const all[] = {t.cpu, t.account, t.memory};
  for (int i = 0; i < (t.v2 ? 1 : 3); i++) {
    char path[PATH_MAX], inner[PATH_MAX + 256];
    path_of(path, all[i], lab, NULL, NULL);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
      if (e->d_type != DT_DIR || e->d_name[0] == '.') continue;
      lab_cage_kill(lab, e->d_name);
      snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
      remove_folder(inner);
    }
    if (d) closedir(d);
    remove_folder(path);
  }
}
