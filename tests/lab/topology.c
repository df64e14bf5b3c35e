/* SPDX-License-Identifier: MIT */
#include "tests/lab/topology.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/args.h"
#include "base/toml.h"

#define MAX_CPU 6400.0
#define MAX_DELAY_MS 1000.0
enum { LEAST_RATE = 64000 }; /* bit/s: a packet in less than 0.2 s */

static const char *const node_keys[] = {"name", "count", "cpu", "memory", "rate", "delay_ms"};
enum { NODE_KEYS = sizeof node_keys / sizeof *node_keys, SHARED_FROM = 2 }; /* the first two make no sense for every node */

static tri_status check_keys(const json_t *table, const char *what, int from, const char *path, tri_error *err) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)table, key, value) {
    bool known = false;
    for (int i = from; i < NODE_KEYS; i++) known |= strcmp(key, node_keys[i]) == 0;
    const char *near = known ? NULL : tri_args_nearest(key, node_keys + from, NODE_KEYS - from);
    if (!known)
      return tri_status_fail(err, TRI_E_INVALID, "%s: %s has no key '%.60s'%s%s%s", path, what, key, near ? "; did you mean '" : "",
                             near ? near : "", near ? "'?" : "");
  }
  return TRI_OK;
}

static tri_status bad(const char *path, const char *node, const char *key, const char *want, tri_error *err) {
  return tri_status_fail(err, TRI_E_INVALID, "%s: %s of node %s is not %s", path, key, node, want);
}

static bool to_number(const json_t *v, double most, double *out) {
  if (!v) return true;
  return json_is_number(v) && (*out = json_number_value(v)) >= 0 && *out <= most;
}

/* "100M" and the like, powers of 1000 as network links have it. */
static bool to_rate(const json_t *v, int64_t *out) {
  double n;
  char unit = 0, more;
  if (!v) return true;
  const char *text = json_string_value(v);
  if (!text || !isdigit((unsigned char)*text) || sscanf(text, "%lf%c%c", &n, &unit, &more) > 2) return false;
  const char *at = unit ? strchr("KMG", unit) : "";
  if (!at) return false;
  for (int i = unit ? (int)(at - "KMG") + 1 : 0; i > 0; i--) n *= 1000;
  if (n != 0 && (n < LEAST_RATE || n > 1e12)) return false;
  return *out = (int64_t)n, true;
}

/* The keys that `table` has, over what *out holds. */
static tri_status apply(const json_t *table, lab_node *out, const char *path, tri_error *err) {
  const json_t *memory = json_object_get(table, "memory");
  const char *size = json_string_value(memory);
  if (!to_number(json_object_get(table, "cpu"), MAX_CPU, &out->cpu)) return bad(path, out->name, "cpu", "from 0 to 6400 percent", err);
  if (!to_number(json_object_get(table, "delay_ms"), MAX_DELAY_MS, &out->delay_ms))
    return bad(path, out->name, "delay_ms", "from 0 to 1000", err);
  if (memory && (!size || tri_args_parse_size(size, &out->memory) != TRI_OK))
    return bad(path, out->name, "memory", "a size such as \"512M\"", err);
  if (!to_rate(json_object_get(table, "rate"), &out->rate))
    return bad(path, out->name, "rate", "bits a second such as \"100M\", 64K or more", err);
  return TRI_OK;
}

static bool is_name(const char *s) {
  for (const char *c = s; *c; c++)
    if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-') return false;
  return islower((unsigned char)*s) && strlen(s) < LAB_NAME && strcmp(s, "lo") != 0;
}

static tri_status add(lab_topology *t, const lab_node *n, const char *path, tri_error *err) {
  if (!is_name(n->name))
    return tri_status_fail(err, TRI_E_INVALID, "%s: a node's name has 1 to %d small letters, digits and -, a letter first", path,
                           LAB_NAME - 1);
  if (lab_topology_find(t, n->name) >= 0) return tri_status_fail(err, TRI_E_INVALID, "%s: two nodes are called %s", path, n->name);
  if (t->count == LAB_NODES) return tri_status_fail(err, TRI_E_LIMIT, "%s: more than %d nodes", path, LAB_NODES);
  return t->nodes[t->count++] = *n, TRI_OK;
}

static tri_status read_node(lab_topology *t, const json_t *table, const lab_node *every, const char *path, tri_error *err) {
  lab_node n = *every;
  const char *name = json_string_value(json_object_get(table, "name"));
  const json_t *count = json_object_get(table, "count");
  tri_status status = check_keys(table, "a [[node]]", 0, path, err);
  if (status != TRI_OK) return status;
  if (!name) return tri_status_fail(err, TRI_E_INVALID, "%s: node %d has no name", path, t->count + 1);
  snprintf(n.name, sizeof n.name, "%s", strlen(name) < LAB_NAME ? name : "");
  status = apply(table, &n, path, err);
  if (status != TRI_OK || !count) return status == TRI_OK ? add(t, &n, path, err) : status;
  json_int_t copies = json_integer_value(count);
  if (copies < 1 || copies > LAB_NODES) return bad(path, name, "count", "from 1 to 100", err);
  for (int i = 1; i <= copies && status == TRI_OK; i++) {
    snprintf(n.name, sizeof n.name, "%.8s%d", name, i);
    status = add(t, &n, path, err);
  }
  return status;
}

tri_status lab_topology_read(lab_topology *out, const char *path, tri_error *err) {
  static const char *const tables[] = {"every", "node"};
  json_t *doc, *nodes, *every_table, *value;
  const char *key;
  lab_topology t = {0};
  lab_node every = {.name = "[every]"};
  tri_status status = tri_toml_read(&doc, path, err);
  if (status != TRI_OK) return status;
  json_object_foreach(doc, key, value)
    if (strcmp(key, tables[0]) != 0 && strcmp(key, tables[1]) != 0 && status == TRI_OK)
      status = tri_status_fail(err, TRI_E_INVALID, "%s: '%.60s' is unknown; there are [every] and [[node]]", path, key);
  every_table = json_object_get(doc, tables[0]), nodes = json_object_get(doc, tables[1]);
  if (status == TRI_OK && every_table) status = check_keys(every_table, "[every]", SHARED_FROM, path, err);
  if (status == TRI_OK && every_table) status = apply(every_table, &every, path, err);
  if (status == TRI_OK && !json_array_size(nodes)) status = tri_status_fail(err, TRI_E_INVALID, "%s: no [[node]] in it", path);
  for (size_t i = 0; i < json_array_size(nodes) && status == TRI_OK; i++)
    status = read_node(&t, json_array_get(nodes, i), &every, path, err);
  json_decref(doc);
  if (status == TRI_OK) *out = t;
  return status;
}

int lab_topology_find(const lab_topology *t, const char *name) {
  for (int i = 0; i < t->count; i++)
    if (strcmp(t->nodes[i].name, name) == 0) return i;
  return -1;
}

void lab_topology_address(int node, char out[16]) { snprintf(out, 16, "10.77.0.%d", node + 1); }
