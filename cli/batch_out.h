/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_BATCH_OUT_H
#define TRI_CLI_BATCH_OUT_H
#include <jansson.h>
#include <stdbool.h>
#include "base/status.h"

/* A batch's output: a file that grows by whole lines, so that a run that ended early can be gone on with. */

typedef struct tri_batch_out tri_batch_out;

/* Create it, or read which lines are answered in it. A last line that a killed process left unfinished is cut off (*repaired), and
 * nothing else is changed. Another run is kept out while it is open: TRI_E_BUSY. TRI_E_FORMAT: something else than a batch's
 * output is in it, and stays there; TRI_E_INVALID: it is no regular file. */
TRI_MUST_CHECK tri_status tri_batch_out_open(tri_batch_out **out, const char *path, bool *repaired, tri_error *err);
void tri_batch_out_close(tri_batch_out **o);
/* Whether this custom_id is in it; or if that is NULL, an error of the input's line of this number. */
bool tri_batch_out_has(const tri_batch_out *o, const json_t *id, size_t line);
/* Append a line and take it in as answered. It is in the file, whole, when this returns TRI_OK, and not at all if it fails: TRI_E_IO. */
TRI_MUST_CHECK tri_status tri_batch_out_write(tri_batch_out *o, const json_t *entry, tri_error *err);

#endif
