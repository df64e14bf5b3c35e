/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_KEYFILE_H
#define TRI_PROTO_KEYFILE_H
#include <limits.h>
#include <stdbool.h>
#include "base/file.h"

/* Inside proto/ only: small files in a key folder, and who may touch them. */

/* DIR/FILE. TRI_E_INVALID when that is too long. */
TRI_MUST_CHECK tri_status tri_keyfile_path(char out[PATH_MAX], const char *dir, const char *file, tri_error *err);
/* Whole or not at all, and durable. */
TRI_MUST_CHECK tri_status tri_keyfile_write(const char *path, unsigned mode, const void *bytes, size_t len, tri_error *err);
/* TRI_E_FORMAT when group or others may read it (a secret) or write it (a list), with the command that mends it; TRI_E_NOT_FOUND
 * when it is not there. */
TRI_MUST_CHECK tri_status tri_keyfile_check_secret(const char *path, tri_error *err);
TRI_MUST_CHECK tri_status tri_keyfile_check_list(const char *path, tri_error *err);
/* One line of printable text, fit to stand in these files. */
bool tri_keyfile_is_name(const char *name, size_t len);
/* Programs that change a folder's lists take turns: hold this from reading a list to having written it. Not to be taken twice. */
TRI_MUST_CHECK tri_status tri_keyfile_lock(int *fd, const char *dir, tri_error *err);
void tri_keyfile_unlock(int fd);

#endif
