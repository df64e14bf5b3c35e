/* SPDX-License-Identifier: MIT */
#include "cli/plan_nodes.h"

#include <stdio.h>
#include <string.h>
#include "base/args.h"

static tri_status add(tri_plan_file *f, const tri_plan_node *node, tri_error *err) {
  if (f->count == TRI_PLAN_MAX_WORKERS) return tri_status_fail(err, TRI_E_LIMIT, "more than %d nodes", TRI_PLAN_MAX_WORKERS);
  if (tri_plan_file_find(f, node->name)) return tri_status_fail(err, TRI_E_INVALID, "node %s is there already", node->name);
  return f->node[f->count++] = *node, TRI_OK;
}

/* A figure of a node as a whole number of ns or bytes/s; 0: it is not there. */
static uint64_t figure(const json_t *w, const char *key, double scale) {
  double v = json_number_value(json_object_get(w, key));
  return v > 0 && v < 1e9 ? (uint64_t)(v * scale + 0.5) : 0;
}

tri_status tri_plan_nodes_from_status(tri_plan_file *f, const json_t *status, tri_error *err) {
  size_t i;
  json_t *w;
  json_array_foreach(json_object_get(status, "workers"), i, w) {
    const char *name = json_string_value(json_object_get(w, "name")), *state = json_string_value(json_object_get(w, "state"));
    json_int_t threads = json_integer_value(json_object_get(w, "threads")), memory = json_integer_value(json_object_get(w, "memory_bytes"));
    if (!name || !state || strlen(name) >= TRI_PLAN_FILE_NAME || threads < 0 || threads > UINT32_MAX || memory < 0)
      return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's status: worker %zu lacks its name, state, threads or memory", i + 1);
    if (strcmp(state, "lost") == 0) continue;
    tri_plan_node node = {.threads = (uint32_t)threads, .worker = {.layer_ns = figure(w, "layer_ms", 1e6), .head_ns = figure(w, "head_ms", 1e6),
        .layer_rows_ns = figure(w, "layer_rows_ms", 1e6), .head_rows_ns = figure(w, "head_rows_ms", 1e6),
        .rtt_ns = figure(w, "rtt_us", 1e3), .up_bytes_s = figure(w, "up_mbit", 125000), .down_bytes_s = figure(w, "down_mbit", 125000),
        .memory_bytes = (uint64_t)memory}};
    strcpy(node.name, name);
    tri_status added = add(f, &node, err);
    if (added != TRI_OK) return added;
  }
  return TRI_OK;
}

static tri_plan_node *find(tri_plan_file *f, const char *name) { return (tri_plan_node *)tri_plan_file_find(f, name); }

tri_status tri_plan_nodes_merge(tri_plan_file *f, const tri_plan_file *more, tri_error *err) {
  for (uint32_t i = 0; i < more->count; i++) {
    tri_plan_node *known = find(f, more->node[i].name);
    tri_status status = known ? TRI_OK : add(f, &more->node[i], err);
    if (status != TRI_OK) return status;
    if (!known) continue;
    tri_plan_file_overlay(&more->node[i], &known->worker);
    if (more->node[i].threads) known->threads = more->node[i].threads;
  }
  return TRI_OK;
}

/* The middle one by speed: half of the others are faster. NULL: there is none. */
static const tri_plan_node *middle(const tri_plan_file *f) {
  for (uint32_t i = 0; i < f->count; i++) {
    uint32_t before = 0;
    for (uint32_t j = 0; j < f->count; j++) {
      uint64_t a = f->node[j].worker.layer_ns, b = f->node[i].worker.layer_ns;
      before += a < b || (a == b && j < i);
    }
    if (before == f->count / 2) return &f->node[i];
  }
  return NULL;
}

static tri_status unknown(const tri_plan_file *f, const char *name, tri_error *err) {
  const char *names[TRI_PLAN_MAX_WORKERS];
  for (uint32_t i = 0; i < f->count; i++) names[i] = f->node[i].name;
  const char *near = tri_args_nearest(name, names, (int)f->count);
  return tri_status_fail(err, TRI_E_NOT_FOUND, "no node %s%s%s", name, near ? "; did you mean " : "", near ? near : "");
}

static tri_status take_away(tri_plan_file *f, const char *name, tri_error *err) {
  tri_plan_node *node = find(f, name);
  if (!node) return unknown(f, name, err);
  uint32_t i = (uint32_t)(node - f->node);
  memmove(node, node + 1, (--f->count - i) * sizeof *node);
  return TRI_OK;
}

/* NAME:MEM[:like=NODE], which is cut up in place */
static tri_status put_in(tri_plan_file *f, char *text, tri_error *err) {
  char *memory = strchr(text, ':'), *like = memory ? strchr(memory + 1, ':') : NULL;
  int64_t bytes;
  if (memory) *memory++ = 0;
  if (like) *like++ = 0;
  if (!memory || !*text || strlen(text) >= TRI_PLAN_FILE_NAME || tri_args_parse_size(memory, &bytes) != TRI_OK || bytes <= 0 ||
      (like && strncmp(like, "like=", 5) != 0))
    return tri_status_fail(err, TRI_E_INVALID, "+%.60s: +NAME:MEMORY or +NAME:MEMORY:like=NODE is expected, as in +pi5:8G", text);
  const tri_plan_node *model = like ? tri_plan_file_find(f, like + 5) : middle(f);
  if (!model && like) return unknown(f, like + 5, err);
  if (!model) return tri_status_fail(err, TRI_E_INVALID, "+%s: there is no other node that it could be like", text);
  tri_plan_node node = *model;
  node.worker.memory_bytes = (uint64_t)bytes;
  node.worker.excluded = false;
  node.worker.position = node.worker.first = node.worker.last = 0; /* another's wishes are not its own */
  strcpy(node.name, text);
  return add(f, &node, err);
}

tri_status tri_plan_nodes_what_if(tri_plan_file *f, const char *changes, tri_error *err) {
  while (*changes) {
    size_t len = strcspn(changes, ",");
    char one[256];
    if (len >= sizeof one) return tri_status_fail(err, TRI_E_LIMIT, "--what-if: a change is longer than %zu characters", sizeof one - 1);
    memcpy(one, changes, len);
    one[len] = 0;
    tri_status status;
    if (one[0] == '+') status = put_in(f, one + 1, err);
    else if (one[0] == '-') status = take_away(f, one + 1, err);
    else status = tri_status_fail(err, TRI_E_INVALID, "'%s': +NAME:MEMORY or -NAME is expected", one);
    if (status != TRI_OK) return tri_status_prefix(err, status, "--what-if");
    changes += len + (changes[len] == ',');
  }
  return TRI_OK;
}

tri_status tri_plan_nodes_check(const tri_plan_file *f, tri_error *err) {
  for (uint32_t i = 0; i < f->count; i++) {
    const tri_plan_node *node = &f->node[i];
    const char *missing = node->worker.excluded ? NULL : !node->worker.layer_ns ? "layer_us" : !node->worker.memory_bytes ? "memory" : NULL;
    if (missing)
      return tri_status_fail(err, TRI_E_INVALID,
                             "node %s: %s is not known; write it into the nodes file, or ask a running cluster: --coordinator and --key",
                             node->name, missing);
  }
  return f->count ? TRI_OK : tri_status_fail(err, TRI_E_INVALID, "no nodes to plan for");
}
