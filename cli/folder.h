/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_FOLDER_H
#define TRI_CLI_FOLDER_H
#include <limits.h>
#include "base/status.h"

/* A temporary folder for this process alone, $TMPDIR/trireme-XXXXXX. A marker in it is locked as long as the process lives. So
 * what a killed process could not remove, the next one does: folders of this name and this user whose marker nobody holds. A
 * lock tells it better than a process id, which may be another process' by now, or belong to another container. */

typedef struct tri_folder {
  char path[PATH_MAX - 64]; /* empty: none */
  int lock_fd;              /* -1: none */
} tri_folder;

#define TRI_FOLDER_NONE \
  (tri_folder) { .lock_fd = -1 }

/* Removes what others left behind, and makes one. */
TRI_MUST_CHECK tri_status tri_folder_make(tri_folder *out, tri_error *err);
void tri_folder_remove(tri_folder *f); /* with all that is in it; also of none */

#endif
