/* SPDX-License-Identifier: MIT */
#include "cli/batch_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

static const char BEGINNING[] = "{\"id\": \"batch_req_"; /* of every line */

struct tri_batch_out {
  const char *path; /* the caller's */
  int fd;
  off_t end;
  json_t *ids;   /* an object whose keys are the custom_ids */
  json_t *lines; /* likewise the numbers of the input's lines without one */
};

static tri_status fail_io(const tri_batch_out *o, const char *what, tri_error *err) {
  return tri_status_fail(err, TRI_E_IO, "cannot %s %s: %s", what, o->path, strerror(errno));
}

static void name_line(size_t line, char out[24]) { snprintf(out, 24, "%zu", line); }

static tri_status take_in(tri_batch_out *o, const json_t *entry, tri_error *err) {
  const json_t *id = json_object_get(entry, "custom_id");
  char line[24];
  name_line((size_t)json_integer_value(json_object_get(json_object_get(entry, "error"), "line")), line);
  int failed = json_is_string(id) ? json_object_set_new(o->ids, json_string_value(id), json_true())
                                  : json_object_set_new(o->lines, line, json_true());
  return failed ? tri_status_fail(err, TRI_E_NOMEM, "out of memory for the names of lines") : TRI_OK;
}

bool tri_batch_out_has(const tri_batch_out *o, const json_t *id, size_t line) {
  char name[24];
  name_line(line, name);
  return id ? json_object_get(o->ids, json_string_value(id)) != NULL : json_object_get(o->lines, name) != NULL;
}

/* Whether it begins as our lines do, as far as it goes. */
static bool is_ours(const char *text, size_t len) {
  return memcmp(text, BEGINNING, len < sizeof BEGINNING - 1 ? len : sizeof BEGINNING - 1) == 0;
}

static tri_status read_line(tri_batch_out *o, const char *text, size_t len, size_t number, tri_error *err) {
  json_t *entry = is_ours(text, len) ? json_loadb(text, len, 0, NULL) : NULL;
  tri_status status = TRI_OK;
  if (!json_object_get(entry, "custom_id"))
    status = tri_status_fail(err, TRI_E_FORMAT, "%s: line %zu is not of a batch's output; give another name to -o, or move the file away",
                             o->path, number);
  if (status == TRI_OK) status = take_in(o, entry, err);
  json_decref(entry);
  return status;
}

/* What follows the last newline is the beginning of a line, and no more if it is no line of ours. */
static tri_status cut_tail(tri_batch_out *o, const char *tail, size_t len, size_t number, bool *repaired, tri_error *err) {
  *repaired = len > 0;
  if (!len) return TRI_OK;
  if (!is_ours(tail, len)) return read_line(o, tail, len, number, err);
  return ftruncate(o->fd, o->end) == 0 ? TRI_OK : fail_io(o, "cut", err);
}

static tri_status read_lines(tri_batch_out *o, bool *repaired, tri_error *err) {
  tri_file_map map;
  tri_status status = tri_file_map_open(&map, o->path, err);
  if (status != TRI_OK) return status;
  const char *at = (const char *)map.data, *end = at + map.len, *next;
  size_t number = 1;
  for (; status == TRI_OK && at < end && (next = memchr(at, '\n', (size_t)(end - at))); at = next + 1, number++)
    status = read_line(o, at, (size_t)(next - at), number, err);
  o->end = at - (const char *)map.data;
  if (status == TRI_OK) status = cut_tail(o, at, (size_t)(end - at), number, repaired, err);
  tri_file_map_close(&map);
  return status;
}

static tri_status begin(tri_batch_out *o, bool *repaired, tri_error *err) {
  struct stat st;
  if (!o->ids || !o->lines) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  o->fd = open(o->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (o->fd < 0 || fstat(o->fd, &st) != 0) return fail_io(o, "open", err);
  if (!S_ISREG(st.st_mode))
    return tri_status_fail(err, TRI_E_INVALID, "%s is no regular file, which a batch needs so that it can be gone on with", o->path);
  if (flock(o->fd, LOCK_EX | LOCK_NB) != 0) return tri_status_fail(err, TRI_E_BUSY, "%s: another run is writing it", o->path);
  return st.st_size ? read_lines(o, repaired, err) : TRI_OK;
}

tri_status tri_batch_out_open(tri_batch_out **out, const char *path, bool *repaired, tri_error *err) {
  tri_batch_out *o = calloc(1, sizeof *o);
  if (!o) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  *o = (tri_batch_out){.path = path, .fd = -1, .ids = json_object(), .lines = json_object()};
  *repaired = false;
  tri_status status = begin(o, repaired, err);
  if (status != TRI_OK) return tri_batch_out_close(&o), status;
  *out = o;
  return TRI_OK;
}

void tri_batch_out_close(tri_batch_out **out) {
  tri_batch_out *o = *out;
  if (!o) return;
  if (o->fd >= 0) close(o->fd);
  json_decref(o->ids);
  json_decref(o->lines);
  free(o);
  *out = NULL;
}

tri_status tri_batch_out_write(tri_batch_out *o, const json_t *entry, tri_error *err) {
  char *text = json_dumps(entry, JSON_REAL_PRECISION(9));
  size_t len = text ? strlen(text) : 0, done = 0;
  if (!text) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for an answer");
  text[len++] = '\n'; /* in place of the NUL */
  while (done < len) {
    ssize_t n = write(o->fd, text + done, len - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  tri_status status = done == len ? TRI_OK : fail_io(o, "write", err);
  free(text);
  if (status == TRI_OK) return o->end += (off_t)len, take_in(o, entry, err);
  if (ftruncate(o->fd, o->end) != 0) return status; /* the next run cuts it */
  return status;
}
