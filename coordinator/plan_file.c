/* SPDX-License-Identifier: MIT */
#include "coordinator/plan_file.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/args.h"
#include "base/toml.h"

/* A number of the file is a whole number of ns or bytes/s here. */
static const struct number {
  const char *key;
  size_t offset;
  double scale, most;
} numbers[] = {
    {"layer_us", offsetof(tri_plan_worker, layer_ns), 1e3, 1e9},
    {"head_us", offsetof(tri_plan_worker, head_ns), 1e3, 1e9},
    {"layer_rows_us", offsetof(tri_plan_worker, layer_rows_ns), 1e3, 1e9},
    {"head_rows_us", offsetof(tri_plan_worker, head_rows_ns), 1e3, 1e9},
    {"rtt_us", offsetof(tri_plan_worker, rtt_ns), 1e3, 1e9},
    {"up_mbit", offsetof(tri_plan_worker, up_bytes_s), 125000, 1e6},
    {"down_mbit", offsetof(tri_plan_worker, down_bytes_s), 125000, 1e6},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers, OTHERS = 6, MOST_THREADS = 1024 };
static const char *const others[OTHERS] = {"name", "memory", "threads", "layers", "position", "exclude"};

static uint64_t *field(const struct number *n, tri_plan_worker *w) { return (uint64_t *)(void *)((char *)w + n->offset); }

static tri_status wrong(tri_error *err, const char *key, const char *expected) {
  return tri_status_fail(err, TRI_E_INVALID, "%s: %s is expected", key, expected);
}

static tri_status take_whole(const json_t *value, const char *key, int64_t most, uint32_t *out, tri_error *err) {
  char expected[48];
  int64_t n = json_is_integer(value) ? json_integer_value(value) : 0;
  if (n >= 1 && n <= most) return *out = (uint32_t)n, TRI_OK;
  snprintf(expected, sizeof expected, "a whole number from 1 to %" PRId64, most);
  return wrong(err, key, expected);
}

static tri_status take_memory(const json_t *value, uint64_t *out, tri_error *err) {
  const char *text = json_string_value(value);
  int64_t bytes = json_is_integer(value) ? json_integer_value(value) : 0;
  if ((text && tri_args_parse_size(text, &bytes) != TRI_OK) || bytes <= 0)
    return wrong(err, "memory", "bytes, or a size such as \"700M\" or \"2G\",");
  return *out = (uint64_t)bytes, TRI_OK;
}

/* "3-7" or "3" */
static tri_status take_layers(const json_t *value, tri_plan_worker *w, tri_error *err) {
  const char *text = json_string_value(value);
  char *end = NULL;
  unsigned long first = text && isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0, last = first;
  if (end && *end == '-' && isdigit((unsigned char)end[1])) last = strtoul(end + 1, &end, 10);
  if (!end || *end || last < first || last >= TRI_PLAN_MAX_LAYERS) return wrong(err, "layers", "a run such as \"0-11\" or \"7\"");
  w->first = (uint32_t)first, w->last = (uint32_t)last + 1;
  return TRI_OK;
}

static tri_status take_name(const json_t *value, char out[TRI_PLAN_FILE_NAME], tri_error *err) {
  const char *name = json_string_value(value);
  size_t len = name ? strlen(name) : 0;
  for (size_t i = 0; i < len; i++)
    if (iscntrl((unsigned char)name[i])) len = 0;
  if (len == 0 || len >= TRI_PLAN_FILE_NAME) return wrong(err, "name", "1 to 63 printable characters");
  memcpy(out, name, len + 1);
  return TRI_OK;
}

static tri_status unknown_key(const char *key, tri_error *err) {
  const char *known[NUMBERS + OTHERS];
  for (int i = 0; i < NUMBERS + OTHERS; i++) known[i] = i < NUMBERS ? numbers[i].key : others[i - NUMBERS];
  const char *near = tri_args_nearest(key, known, NUMBERS + OTHERS);
  return tri_status_fail(err, TRI_E_INVALID, "%.40s: no such key%s%s", key, near ? "; did you mean " : "", near ? near : "");
}

static tri_status take(tri_plan_node *node, const char *key, const json_t *value, tri_error *err) {
  for (int i = 0; i < NUMBERS; i++) {
    if (strcmp(numbers[i].key, key) != 0) continue;
    double v = json_number_value(value);
    char expected[48];
    snprintf(expected, sizeof expected, "a number from 0.001 to %.0f", numbers[i].most);
    if (v < 0.001 || v > numbers[i].most) return wrong(err, key, expected);
    return *field(&numbers[i], &node->worker) = (uint64_t)(v * numbers[i].scale + 0.5), TRI_OK;
  }
  if (strcmp(key, "name") == 0) return take_name(value, node->name, err);
  if (strcmp(key, "memory") == 0) return take_memory(value, &node->worker.memory_bytes, err);
  if (strcmp(key, "threads") == 0) return take_whole(value, key, MOST_THREADS, &node->threads, err);
  if (strcmp(key, "layers") == 0) return take_layers(value, &node->worker, err);
  if (strcmp(key, "position") == 0) return take_whole(value, key, UINT32_MAX, &node->worker.position, err);
  if (strcmp(key, "exclude") != 0) return unknown_key(key, err);
  if (!json_is_boolean(value)) return wrong(err, key, "true or false");
  return node->worker.excluded = json_is_true(value), TRI_OK;
}

static tri_status take_node(tri_plan_file *f, json_t *table, tri_error *err) {
  tri_plan_node *node = &f->node[f->count];
  const char *key;
  json_t *value;
  tri_status status = TRI_OK;
  *node = (tri_plan_node){0};
  json_object_foreach(table, key, value)
    if (status == TRI_OK) status = take(node, key, value, err);
  if (status == TRI_OK && !node->name[0]) status = tri_status_fail(err, TRI_E_INVALID, "it has no name");
  if (status == TRI_OK && tri_plan_file_find(f, node->name)) status = tri_status_fail(err, TRI_E_INVALID, "it is there twice");
  if (status == TRI_OK) return f->count++, TRI_OK;
  if (node->name[0]) return tri_status_prefix(err, status, "node %s", node->name);
  return tri_status_prefix(err, status, "node number %u", f->count + 1);
}

static tri_status take_document(tri_plan_file *f, const json_t *doc, tri_error *err) {
  const char *key;
  json_t *value, *table;
  size_t i;
  json_object_foreach((json_t *)doc, key, value)
    if (strcmp(key, "node") != 0 || !json_is_array(value))
      return tri_status_fail(err, TRI_E_INVALID, "%.40s: only tables [[node]] are expected", key);
  json_array_foreach(json_object_get(doc, "node"), i, table) {
    if (f->count == TRI_PLAN_MAX_WORKERS) return tri_status_fail(err, TRI_E_LIMIT, "more than %d nodes", TRI_PLAN_MAX_WORKERS);
    if (!json_is_object(table)) return tri_status_fail(err, TRI_E_INVALID, "node: only tables [[node]] are expected");
    tri_status status = take_node(f, table, err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

/* Takes the reference. */
static tri_status take_file(tri_plan_file *out, json_t *doc, const char *name, tri_error *err) {
  tri_plan_file *f = calloc(1, sizeof *f);
  tri_status status = f ? take_document(f, doc, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  json_decref(doc);
  if (status == TRI_OK) *out = *f;
  free(f);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", name);
}

tri_status tri_plan_file_parse(tri_plan_file *out, const char *text, size_t len, const char *name, tri_error *err) {
  json_t *doc;
  tri_status status = tri_toml_parse(&doc, text, len, name, err);
  return status == TRI_OK ? take_file(out, doc, name, err) : status;
}

tri_status tri_plan_file_read(tri_plan_file *out, const char *path, tri_error *err) {
  json_t *doc;
  tri_status status = tri_toml_read(&doc, path, err);
  return status == TRI_OK ? take_file(out, doc, path, err) : status;
}

const tri_plan_node *tri_plan_file_find(const tri_plan_file *f, const char *name) {
  for (uint32_t i = 0; i < f->count; i++)
    if (strcmp(f->node[i].name, name) == 0) return &f->node[i];
  return NULL;
}

void tri_plan_file_overlay(const tri_plan_node *node, tri_plan_worker *w) {
  tri_plan_worker given = node->worker;
  for (int i = 0; i < NUMBERS; i++)
    if (*field(&numbers[i], &given)) *field(&numbers[i], w) = *field(&numbers[i], &given);
  if (given.memory_bytes) w->memory_bytes = given.memory_bytes;
  if (given.last) w->first = given.first, w->last = given.last;
  if (given.position) w->position = given.position;
  w->excluded |= given.excluded;
}

static void write_name(const char *name, tri_buf *out) {
  tri_buf_printf(out, "name = \"");
  for (; *name; name++) tri_buf_printf(out, "%s%c", strchr("\"\\", *name) ? "\\" : "", *name);
  tri_buf_printf(out, "\"\n");
}

void tri_plan_file_write(const tri_plan_file *f, tri_buf *out) {
  for (uint32_t i = 0; i < f->count; i++) {
    tri_plan_worker w = f->node[i].worker;
    tri_buf_printf(out, "%s[[node]]\n", i ? "\n" : "");
    write_name(f->node[i].name, out);
    if (w.memory_bytes) tri_buf_printf(out, "memory = %" PRIu64 "\n", w.memory_bytes);
    if (f->node[i].threads) tri_buf_printf(out, "threads = %u\n", f->node[i].threads);
    for (int k = 0; k < NUMBERS; k++)
      if (*field(&numbers[k], &w)) tri_buf_printf(out, "%s = %.6f\n", numbers[k].key, (double)*field(&numbers[k], &w) / numbers[k].scale);
    if (w.last) tri_buf_printf(out, "layers = \"%u-%u\"\n", w.first, w.last - 1);
    if (w.position) tri_buf_printf(out, "position = %u\n", w.position);
    if (w.excluded) tri_buf_printf(out, "exclude = true\n");
  }
}
