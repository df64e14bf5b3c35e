/* SPDX-License-Identifier: MIT */
#include "worker/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/units.h"

enum { PATH_BYTES = 1200, NAME = 2 * TRI_PARTS_HASH_BYTES };
static const char begun_suffix[] = ".part";

static tri_status io_fail(tri_error *err, const char *path, const char *what) {
  return tri_status_fail(err, TRI_E_IO, "%s: %s: %s", path, what, strerror(errno));
}

static void path_of(const tri_store *s, const tri_manifest_item *item, const char *suffix, char out[PATH_BYTES]) {
  char hex[NAME + 1];
  tri_parts_hex(&item->hash, hex);
  snprintf(out, PATH_BYTES, "%s/%s%s", s->dir, hex, suffix);
}

tri_status tri_store_open(tri_store *s, const char *dir, uint64_t limit_bytes, tri_error *err) {
  *s = (tri_store){.limit_bytes = limit_bytes};
  if (!dir && !tri_file_cache_folder(s->dir, sizeof s->dir - sizeof "/parts"))
    return tri_status_fail(err, TRI_E_IO, "there is no cache folder for the model's parts: give one with --cache DIR");
  if (!dir) strcat(s->dir, "/parts");
  else if (snprintf(s->dir, sizeof s->dir, "%s", dir) >= (int)sizeof s->dir) return tri_status_fail(err, TRI_E_INVALID, "--cache: the path is too long");
  return tri_file_make_folder(s->dir, 0700, err);
}

static uint64_t size_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

bool tri_store_has(const tri_store *s, const tri_manifest_item *item) {
  char path[PATH_BYTES];
  path_of(s, item, "", path);
  return size_of(path) == item->bytes;
}

uint64_t tri_store_begun(const tri_store *s, const tri_manifest_item *item) {
  char path[PATH_BYTES];
  path_of(s, item, begun_suffix, path);
  uint64_t size = size_of(path);
  return size < item->bytes ? size : 0;
}

static tri_status write_all(int fd, const char *path, const uint8_t *bytes, size_t len, tri_error *err) {
  while (len) {
    ssize_t n = write(fd, bytes, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_fail(err, path, "cannot write");
    bytes += n, len -= (size_t)n;
  }
  return TRI_OK;
}

tri_status tri_store_append(const tri_store *s, const tri_manifest_item *item, uint64_t at, const uint8_t *bytes, size_t len, tri_error *err) {
  char path[PATH_BYTES], whole[PATH_BYTES];
  struct stat st;
  path_of(s, item, begun_suffix, path);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (at ? 0 : O_TRUNC), 0600);
  if (fd < 0) return io_fail(err, path, "cannot open");
  tri_status status = TRI_OK;
  if (fstat(fd, &st) != 0) status = io_fail(err, path, "cannot stat");
  else if ((uint64_t)st.st_size != at || len > item->bytes - at)
    status = tri_status_fail(err, TRI_E_PROTOCOL, "%s: bytes for place %llu, but %lld are here", path, (unsigned long long)at, (long long)st.st_size);
  if (status == TRI_OK) status = write_all(fd, path, bytes, len, err);
  close(fd);
  if (status != TRI_OK || at + len < item->bytes) return status;
  path_of(s, item, "", whole);
  return rename(path, whole) == 0 ? TRI_OK : io_fail(err, whole, "cannot rename");
}

tri_status tri_store_map(const tri_store *s, const tri_manifest_item *item, tri_file_map *out, tri_error *err) {
  char path[PATH_BYTES];
  path_of(s, item, "", path);
  tri_file_map map;
  tri_status status = tri_file_map_open(&map, path, err);
  if (status != TRI_OK) return status;
  if (map.len != item->bytes) {
    tri_file_map_close(&map);
    return tri_status_fail(err, TRI_E_FORMAT, "%s: the file has another size than the part", path);
  }
  utimensat(AT_FDCWD, path, NULL, 0); /* used now; where that fails it only goes sooner */
  *out = map;
  return TRI_OK;
}

tri_status tri_store_read(const tri_store *s, const tri_manifest_item *item, uint64_t at, size_t len, uint8_t *out, tri_error *err) {
  char path[PATH_BYTES];
  path_of(s, item, "", path);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_fail(err, path, "cannot open");
  tri_status status = TRI_OK;
  while (len && status == TRI_OK) {
    ssize_t n = pread(fd, out, len, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) status = io_fail(err, path, "cannot read");
    else out += n, at += (uint64_t)n, len -= (size_t)n;
  }
  close(fd);
  return status;
}

void tri_store_drop(const tri_store *s, const tri_manifest_item *item) {
  char path[PATH_BYTES];
  path_of(s, item, "", path);
  unlink(path);
  path_of(s, item, begun_suffix, path);
  unlink(path);
}

/* --- the limit --- */

typedef struct kept_file {
  char name[NAME + sizeof begun_suffix];
  uint64_t bytes;
  struct timespec used;
} kept_file;

static int older_first(const void *a, const void *b) {
  const struct timespec *x = &((const kept_file *)a)->used, *y = &((const kept_file *)b)->used;
  if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? -1 : 1;
  return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Ours by name: others' files in the folder are left alone. */
static bool is_ours(const char *name) {
  size_t n = strspn(name, "0123456789abcdef");
  return n == NAME && (name[n] == 0 || strcmp(name + n, begun_suffix) == 0);
}

static size_t list_files(const tri_store *s, kept_file **out) {
  size_t n = 0, room = 0;
  kept_file *files = NULL;
  DIR *d = opendir(s->dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    if (!is_ours(e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
    if (n == room) {
      kept_file *more = realloc(files, (room = room ? 2 * room : 64) * sizeof *files);
      if (!more) break;
      files = more;
    }
    files[n] = (kept_file){.bytes = (uint64_t)st.st_size, .used = st.st_mtim};
    strcpy(files[n++].name, e->d_name);
  }
  if (d) closedir(d);
  *out = files;
  return n;
}

static bool is_kept(const kept_file *f, const tri_manifest_item *const *keep, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char hex[NAME + 1];
    tri_parts_hex(&keep[i]->hash, hex);
    if (strncmp(hex, f->name, NAME) == 0) return true;
  }
  return false;
}

tri_status tri_store_make_room(const tri_store *s, uint64_t bytes, const tri_manifest_item *const *keep, size_t n_keep, tri_error *err) {
  kept_file *files;
  size_t n = list_files(s, &files);
  uint64_t held = 0;
  for (size_t i = 0; i < n; i++) held += files[i].bytes;
  if (n) qsort(files, n, sizeof *files, older_first);
  for (size_t i = 0; i < n && held + bytes > s->limit_bytes; i++) {
    char path[PATH_BYTES];
    if (is_kept(&files[i], keep, n_keep)) continue;
    snprintf(path, sizeof path, "%s/%s", s->dir, files[i].name);
    if (unlink(path) == 0) held -= files[i].bytes;
  }
  free(files);
  if (held + bytes <= s->limit_bytes) return TRI_OK;
  return tri_status_fail(err, TRI_E_LIMIT, "%s: %s more are needed beside %s in use, more than --cache-limit %s", s->dir, TRI_UNITS(bytes),
                         TRI_UNITS(held), TRI_UNITS(s->limit_bytes));
}
