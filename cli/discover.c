/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "proto/beacon.h"

enum { MOST = 64, ASK_AGAIN_MS = 500 };

static int64_t timeout_s = 2;
static bool as_json;
static const tri_arg args[] = {
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Listen for answers so long (default 2).", 1, 60},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme discover",
    "List the coordinators on this network that answer. Their answers prove nothing: to join one takes a token or its key.",
    "[--timeout SECONDS] [--json]", "  trireme discover\n", args, sizeof args / sizeof *args};

typedef struct found {
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t hash[TRI_BEACON_HASH];
} found;

static bool is_new(const found *list, int n, const found *f) {
  for (int i = 0; i < n; i++)
    if (memcmp(&list[i], f, sizeof *f) == 0) return false;
  return true;
}

static tri_status collect(found list[MOST], int *n, tri_error *err) {
  tri_beacon_asker a;
  tri_beacon b;
  tri_status status = tri_beacon_open(&a, NULL, err);
  int64_t until = tri_clock_ms() + timeout_s * 1000;
  if (status != TRI_OK) return status;
  for (int64_t left; status == TRI_OK && (left = until - tri_clock_ms()) > 0;) {
    struct pollfd p = {.fd = a.fd, .events = POLLIN};
    status = tri_beacon_ask(&a, err);
    int64_t again = tri_clock_ms() + (left < ASK_AGAIN_MS ? left : ASK_AGAIN_MS);
    while (status == TRI_OK && (left = again - tri_clock_ms()) > 0 && poll(&p, 1, (int)left) == 1) {
      found f = {0};
      while (tri_beacon_next(&a, &b, f.endpoint) == TRI_OK) {
        memcpy(f.hash, b.hash, sizeof f.hash);
        if (*n < MOST && is_new(list, *n, &f)) list[(*n)++] = f;
        f = (found){0};
      }
    }
  }
  tri_beacon_close(&a);
  return status;
}

int tri_cli_discover(int argc, char **argv) {
  int code, n = 0;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  found list[MOST];
  if (collect(list, &n, &err) != TRI_OK) return tri_cli_fail(&err);
  json_t *all = json_array();
  for (int i = 0; i < n; i++) {
    char hash[2 * TRI_BEACON_HASH + 1];
    sodium_bin2hex(hash, sizeof hash, list[i].hash, TRI_BEACON_HASH);
    json_array_append_new(all, json_pack("{s:s, s:s}", "endpoint", list[i].endpoint, "key_hash", hash));
    if (!as_json) printf("%-32s key %s\n", list[i].endpoint, hash);
  }
  json_t *doc = json_pack("{s:o}", "coordinators", all);
  if (as_json) json_dumpf(doc, stdout, JSON_INDENT(2)), putchar('\n');
  else if (!n) printf("no coordinator answers on this network\n");
  json_decref(doc);
  return 0;
}
