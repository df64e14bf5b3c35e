/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_FILE_H
#define TRI_BASE_FILE_H
#include <stdint.h>
#include <stdio.h>
#include "base/buf.h"

/* A whole file mapped read-only. Zero-length files are an error. close() on {0} is allowed. */
typedef struct tri_file_map {
  const uint8_t *data;
  size_t len;
} tri_file_map;
TRI_MUST_CHECK tri_status tri_file_map_open(tri_file_map *out, const char *path, tri_error *err);
void tri_file_map_close(tri_file_map *map);
/* Tell the kernel that bytes [data, data+len) inside a map are no longer needed, so they leave our RSS. */
void tri_file_map_drop(const void *data, size_t len);

/* Read a whole file of at most `limit` bytes into *out (cleared first). "-" reads standard input. */
TRI_MUST_CHECK tri_status tri_file_read(tri_buf *out, const char *path, size_t limit, tri_error *err);

/* Write a file so that it exists whole or not at all: a temporary beside it, fsync, rename. `mode` as chmod. */
typedef struct tri_file_writer tri_file_writer;
TRI_MUST_CHECK tri_status tri_file_writer_open(tri_file_writer **out, const char *path, unsigned mode, tri_error *err);
TRI_MUST_CHECK tri_status tri_file_writer_write(tri_file_writer *w, const void *bytes, size_t len, tri_error *err);
uint64_t tri_file_writer_pos(const tri_file_writer *w);
/* Make it real: flush, fsync, rename. The writer is freed and nulled in every case. */
TRI_MUST_CHECK tri_status tri_file_writer_commit(tri_file_writer **w, tri_error *err);
/* Drop what was written and remove the temporary. Allowed on NULL and after commit. */
void tri_file_writer_abort(tri_file_writer **w);

/* Create a folder, and those above it, with this mode where they are missing. */
TRI_MUST_CHECK tri_status tri_file_make_folder(const char *path, unsigned mode, tri_error *err);
/* $XDG_CACHE_HOME/trireme or ~/.cache/trireme, made if need be; false: there is none, or its path doesn't fit. */
bool tri_file_cache_folder(char *out, size_t cap);

#endif
