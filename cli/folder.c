/* SPDX-License-Identifier: MIT */
#include "cli/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "trireme-"
#define PATTERN PREFIX "XXXXXX"
#define MARKER "trireme-process"

static const char *temporary(void) {
  const char *tmp = getenv("TMPDIR");
  return tmp && *tmp ? tmp : "/tmp";
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path), 0; /* go on with the others in any case */
}

static void remove_tree(const char *path) { nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }

/* --- what others left behind --- */

/* Ours, private, and no link: then nobody else can have put anything into it. */
static bool is_private(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/* True if a process made this folder and is no more. */
static bool is_abandoned(const char *path) {
  char marker[PATH_MAX];
  snprintf(marker, sizeof marker, "%s/" MARKER, path);
  int fd = open(marker, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  bool abandoned = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (fd >= 0) close(fd);
  return abandoned;
}

static void sweep(const char *tmp) {
  DIR *d = opendir(tmp);
  for (struct dirent *e; d && (e = readdir(d));) {
    char path[PATH_MAX];
    if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0 || strlen(e->d_name) != strlen(PATTERN)) continue;
    if (snprintf(path, sizeof path, "%s/%s", tmp, e->d_name) < (int)sizeof path && is_private(path) && is_abandoned(path))
      remove_tree(path);
  }
  if (d) closedir(d);
}

/* --- our own --- */

/* It gets its name once it is locked: a sweep in between must not take it for abandoned. */
static tri_status mark(tri_folder *f, tri_error *err) {
  char made[PATH_MAX], marker[PATH_MAX];
  snprintf(made, sizeof made, "%s/new", f->path);
  snprintf(marker, sizeof marker, "%s/" MARKER, f->path);
  f->lock_fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok = f->lock_fd >= 0 && flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0 && dprintf(f->lock_fd, "%ld\n", (long)getpid()) > 0 &&
            rename(made, marker) == 0;
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_IO, "cannot make %s: %s", marker, strerror(errno));
}

tri_status tri_folder_make(tri_folder *out, tri_error *err) {
  tri_folder f = TRI_FOLDER_NONE;
  sweep(temporary());
  if (snprintf(f.path, sizeof f.path, "%s/" PATTERN, temporary()) >= (int)sizeof f.path)
    return tri_status_fail(err, TRI_E_INVALID, "$TMPDIR is too long a path");
  if (!mkdtemp(f.path)) return tri_status_fail(err, TRI_E_IO, "cannot make a folder %s: %s", f.path, strerror(errno));
  tri_status status = mark(&f, err);
  if (status != TRI_OK) return tri_folder_remove(&f), status;
  *out = f;
  return TRI_OK;
}

void tri_folder_remove(tri_folder *f) {
  if (f->path[0]) remove_tree(f->path);
  if (f->lock_fd >= 0) close(f->lock_fd); /* last: until then it is ours to remove */
  *f = TRI_FOLDER_NONE;
}
