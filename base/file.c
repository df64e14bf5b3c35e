/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static tri_status io_fail(tri_error *err, const char *path, const char *what) {
  tri_status status = errno == ENOENT ? TRI_E_NOT_FOUND : TRI_E_IO;
  return tri_status_fail(err, status, "%s: %s: %s", path, what, strerror(errno));
}

tri_status tri_file_map_open(tri_file_map *out, const char *path, tri_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_fail(err, path, "cannot open");
  struct stat st;
  tri_status status = TRI_OK;
  void *p = MAP_FAILED;
  if (fstat(fd, &st) != 0) status = io_fail(err, path, "cannot stat");
  else if (!S_ISREG(st.st_mode)) status = tri_status_fail(err, TRI_E_INVALID, "%s: not a regular file", path);
  else if (st.st_size == 0) status = tri_status_fail(err, TRI_E_FORMAT, "%s: the file is empty", path);
  else if ((p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
    status = io_fail(err, path, "cannot map");
  close(fd);
  if (status == TRI_OK) *out = (tri_file_map){p, (size_t)st.st_size};
  return status;
}

void tri_file_map_close(tri_file_map *map) {
  if (map->data) munmap((void *)(uintptr_t)map->data, map->len);
  *map = (tri_file_map){0};
}

void tri_file_map_drop(const void *data, size_t len) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t a = ((uintptr_t)data + page - 1) / page * page, b = ((uintptr_t)data + len) / page * page;
  if (b > a) madvise((void *)a, b - a, MADV_DONTNEED);
}

tri_status tri_file_read(tri_buf *out, const char *path, size_t limit, tri_error *err) {
  bool is_stdin = strcmp(path, "-") == 0;
  int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io_fail(err, path, "cannot open");
  tri_buf_clear(out);
  tri_status status = TRI_OK;
  for (;;) {
    uint8_t *p = tri_buf_reserve(out, 65536);
    if (!p) { status = tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path); break; }
    ssize_t n = read(fd, p, 65536);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) { status = io_fail(err, path, "cannot read"); break; }
    if (n == 0) break;
    out->len += (size_t)n;
    if (out->len > limit) {
      status = tri_status_fail(err, TRI_E_LIMIT, "%s: larger than the limit of %zu bytes", path, limit);
      break;
    }
  }
  if (status == TRI_OK) out->data[out->len] = 0;
  if (!is_stdin) close(fd);
  return status;
}

struct tri_file_writer {
  FILE *f;
  uint64_t pos;
  unsigned mode;
  char *path, *temp;
};

static void writer_free(tri_file_writer **w) {
  if ((*w)->f) fclose((*w)->f);
  free((*w)->path);
  free((*w)->temp);
  free(*w);
  *w = NULL;
}

tri_status tri_file_writer_open(tri_file_writer **out, const char *path, unsigned mode, tri_error *err) {
  tri_file_writer *w = calloc(1, sizeof *w);
  if (!w) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  w->mode = mode;
  w->path = strdup(path);
  size_t n = strlen(path) + 16;
  w->temp = malloc(n);
  if (!w->path || !w->temp) return writer_free(&w), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  snprintf(w->temp, n, "%s.tmp-XXXXXX", path);
  int fd = mkstemp(w->temp); /* 0600 until commit */
  if (fd < 0 || !(w->f = fdopen(fd, "wb"))) {
    tri_status status = io_fail(err, path, "cannot create");
    if (fd >= 0) close(fd), unlink(w->temp);
    return writer_free(&w), status;
  }
  setvbuf(w->f, NULL, _IOFBF, 1 << 20);
  *out = w;
  return TRI_OK;
}

tri_status tri_file_writer_write(tri_file_writer *w, const void *bytes, size_t len, tri_error *err) {
  if (len && fwrite(bytes, 1, len, w->f) != len) return io_fail(err, w->path, "cannot write");
  w->pos += len;
  return TRI_OK;
}

uint64_t tri_file_writer_pos(const tri_file_writer *w) { return w->pos; }

/* The rename is durable only once the folder's entry is. */
static void sync_folder(const char *path) {
  char *copy = strdup(path);
  int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd >= 0) fsync(fd), close(fd);
  free(copy);
}

tri_status tri_file_writer_commit(tri_file_writer **w, tri_error *err) {
  tri_file_writer *p = *w;
  tri_status status = TRI_OK;
  if (fflush(p->f) != 0 || fchmod(fileno(p->f), p->mode) != 0 || fsync(fileno(p->f)) != 0 || rename(p->temp, p->path) != 0) {
    status = io_fail(err, p->path, "cannot finish writing");
    unlink(p->temp);
  } else {
    sync_folder(p->path);
  }
  writer_free(w);
  return status;
}

void tri_file_writer_abort(tri_file_writer **w) {
  if (!*w) return;
  unlink((*w)->temp);
  writer_free(w);
}

tri_status tri_file_make_folder(const char *path, unsigned mode, tri_error *err) {
  char *copy = strdup(path);
  if (!copy) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  bool ok = true;
  for (char *end = copy; ok && *end;) {
    end += strspn(end, "/");
    end += strcspn(end, "/");
    char c = *end;
    *end = 0;
    ok = mkdir(copy, mode) == 0 || errno == EEXIST;
    *end = c;
  }
  struct stat st;
  if (ok && (ok = stat(path, &st) == 0) && !S_ISDIR(st.st_mode)) ok = false, errno = ENOTDIR;
  free(copy);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_IO, "%s: cannot make the folder: %s", path, strerror(errno));
}

bool tri_file_cache_folder(char *out, size_t cap) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  tri_error err;
  int n;
  if (base && base[0] == '/') n = snprintf(out, cap, "%s/trireme", base);
  else if (home && home[0] == '/') n = snprintf(out, cap, "%s/.cache/trireme", home);
  else return false;
  return n > 0 && (size_t)n < cap && tri_file_make_folder(out, 0700, &err) == TRI_OK;
}
