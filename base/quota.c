/* SPDX-License-Identifier: MIT */
#include "base/quota.h"

#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The process' group in version 1's hierarchy of `cpu`, or in version 2's. */
static bool find_group(const char *groups, bool v2, char out[PATH_MAX]) {
  char line[PATH_MAX + 128];
  bool found = false;
  FILE *f = fopen(groups, "re");
  while (f && !found && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = 0;
    if (!*++controllers) found = v2;
    for (char *word; !found && !v2 && (word = strsep(&controllers, ","));) found = strcmp(word, "cpu") == 0;
    if (found) snprintf(out, PATH_MAX, "%s", path);
  }
  if (f) fclose(f);
  return found;
}

static int read_numbers(const char *folder, const char *file, double *a, double *b) {
  char path[PATH_MAX * 2 + 32];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  FILE *f = fopen(path, "re");
  int n = f ? fscanf(f, "%lf %lf", a, b) : 0;
  if (f) fclose(f);
  return n;
}

/* Cores that one group has; 0: no limit, which reads "max 100000" or -1. */
static double read_limit(const char *folder, bool v2) {
  double quota = 0, period = 0, none;
  bool there = v2 ? read_numbers(folder, "cpu.max", &quota, &period) == 2
                  : read_numbers(folder, "cpu.cfs_quota_us", &quota, &none) == 1 && read_numbers(folder, "cpu.cfs_period_us", &period, &none) == 1;
  return there && quota > 0 && period > 0 ? quota / period : 0;
}

double tri_quota_cores_of(const char *mounts, const char *groups) {
  double least = 0;
  FILE *f = setmntent(mounts, "re");
  for (struct mntent *m; f && (m = getmntent(f));) {
    char group[PATH_MAX], folder[PATH_MAX * 2];
    bool v2 = strcmp(m->mnt_type, "cgroup2") == 0, v1 = strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "cpu");
    if ((!v1 && !v2) || strlen(m->mnt_dir) >= PATH_MAX || !find_group(groups, v2, group)) continue;
    /* In a container the mount may show its own group as the root, whatever path the kernel tells: then the groups between are not
     * there, and the root's limit is it. */
    for (char *end = group + strlen(group);; *end = 0) {
      snprintf(folder, sizeof folder, "%s%s", m->mnt_dir, group);
      double limit = read_limit(folder, v2);
      if (limit > 0 && (least == 0 || limit < least)) least = limit;
      if (!*group || !(end = strrchr(group, '/'))) break;
    }
  }
  if (f) endmntent(f);
  return least;
}

double tri_quota_cores(void) { return tri_quota_cores_of("/proc/self/mounts", "/proc/self/cgroup"); }
