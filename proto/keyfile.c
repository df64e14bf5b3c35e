/* SPDX-License-Identifier: MIT */
#include "proto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "proto/codec.h"

tri_status tri_keyfile_path(char out[PATH_MAX], const char *dir, const char *file, tri_error *err) {
  if (snprintf(out, PATH_MAX, "%s/%s", dir, file) < PATH_MAX) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s: the folder's path is too long", dir);
}

tri_status tri_keyfile_write(const char *path, unsigned mode, const void *bytes, size_t len, tri_error *err) {
  tri_file_writer *w;
  tri_status status = tri_file_writer_open(&w, path, mode, err);
  if (status != TRI_OK) return status;
  status = tri_file_writer_write(w, bytes, len, err);
  if (status == TRI_OK) return tri_file_writer_commit(&w, err);
  tri_file_writer_abort(&w);
  return status;
}

static tri_status check_mode(const char *path, mode_t forbidden, const char *may, const char *chmod, tri_error *err) {
  struct stat st;
  if (stat(path, &st) != 0)
    return tri_status_fail(err, errno == ENOENT ? TRI_E_NOT_FOUND : TRI_E_IO, "%s: %s", path, strerror(errno));
  if (st.st_mode & forbidden)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: others may %s it; run: chmod %s %s", path, may, chmod, path);
  return TRI_OK;
}

/* Who can write the folder can put another file in the place of one that only its owner can write. */
static tri_status check_folder(const char *path, tri_error *err) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
  return check_mode(dir, 022, "write", "go-w", err);
}

tri_status tri_keyfile_check_secret(const char *path, tri_error *err) {
  tri_status status = check_mode(path, 077, "read", "600", err);
  return status == TRI_OK ? check_folder(path, err) : status;
}

tri_status tri_keyfile_check_list(const char *path, tri_error *err) {
  tri_status status = check_mode(path, 022, "write", "go-w", err);
  return status == TRI_OK ? check_folder(path, err) : status;
}

bool tri_keyfile_is_name(const char *name, size_t len) {
  if (len == 0 || len >= TRI_MAX_NAME || name[0] == ' ' || name[len - 1] == ' ') return false;
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return false;
  return true;
}

/* The lists themselves are replaced when they are written, so the lock is a file of its own. */
tri_status tri_keyfile_lock(int *fd, const char *dir, tri_error *err) {
  char path[PATH_MAX];
  tri_status status = tri_keyfile_path(path, dir, "lock", err);
  if (status != TRI_OK) return status;
  int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (f < 0) return tri_status_fail(err, errno == ENOENT ? TRI_E_NOT_FOUND : TRI_E_IO, "%s: cannot lock: %s", path, strerror(errno));
  int got;
  while ((got = flock(f, LOCK_EX)) != 0 && errno == EINTR) continue;
  if (got != 0) return close(f), tri_status_fail(err, TRI_E_IO, "%s: cannot lock: %s", path, strerror(errno));
  *fd = f;
  return TRI_OK;
}

void tri_keyfile_unlock(int fd) { close(fd); }
