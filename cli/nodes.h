/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_NODES_H
#define TRI_CLI_NODES_H
#include <jansson.h>
#include "cli/client.h"
#include "engine/tokenizer.h"

/* A coordinator's status document, for people. */

/* A text in this or another of its documents; "" if there is none. */
const char *tri_nodes_text(const json_t *o, const char *key);

/* Ask and parse; *out is the caller's reference. */
TRI_MUST_CHECK tri_status tri_nodes_fetch(tri_client *c, json_t **out, int64_t timeout_ms, tri_error *err);
/* The same when all stages have reported `rows` more rows than in `since` (NULL: in all), as their counters come with heartbeats; after
 * two seconds as it is. No jobs may be under way. */
TRI_MUST_CHECK tri_status tri_nodes_settle(tri_client *c, const json_t *since, json_int_t rows, json_t **out, tri_error *err);
/* The worker of this name; NULL: none. */
json_t *tri_nodes_find(const json_t *status, const char *name);
/* One line a worker: stage, name, layers, memory, ms per token, bytes per hop … */
void tri_nodes_table(const json_t *status, FILE *out);

/* The model that it serves. */
typedef struct tri_nodes_model {
  char file[TRI_MAX_ENDPOINT]; /* its name, without folders */
  int32_t context, vocab, slots, kv_tokens;
} tri_nodes_model;
/* TRI_E_PROTOCOL: the document does not say. */
TRI_MUST_CHECK tri_status tri_nodes_read_model(const json_t *status, tri_nodes_model *out, tri_error *err);
/* Whether the tokenizer, read from `path`, can be this model's, as far as sizes tell: else TRI_E_INVALID. */
TRI_MUST_CHECK tri_status tri_nodes_check_tokenizer(const tri_nodes_model *m, const tri_tokenizer *t, const char *path, tri_error *err);

#endif
