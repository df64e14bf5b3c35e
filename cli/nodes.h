/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_NODES_H
#define TRI_CLI_NODES_H
#include <jansson.h>
#include "cli/client.h"

/* A coordinator's status document, for people. */

/* Ask and parse; *out is the caller's reference. */
TRI_MUST_CHECK tri_status tri_nodes_fetch(tri_client *c, json_t **out, int64_t timeout_ms, tri_error *err);
/* One line a worker: stage, name, layers, memory, ms per token, bytes per hop … */
void tri_nodes_table(const json_t *status, FILE *out);

#endif
