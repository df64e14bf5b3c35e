/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/nodes.h"

static const char *coordinator, *key_dir;
static int64_t timeout_s = 5;
static bool as_json, watch;
static const tri_arg args[] = {
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT (default: as coordinator.key says).",
     0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder, with coordinator.key in it (default ~/.config/trireme/client).", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up after so long without an answer (default 5).", 1, 3600},
    {"watch", 'w', TRI_ARG_FLAG, &watch, NULL, "Show it anew each second, until Ctrl-C.", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print the coordinator's JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme status", "Show a cluster's nodes, stages and jobs.", "[--coordinator tcp://HOST:PORT] [--key DIR] [--watch] [--json]",
    "  trireme status\n"
    "  trireme status --watch\n"
    "  trireme status --coordinator tcp://10.0.0.1:7117 --key ~/trireme/me\n", args, sizeof args / sizeof *args};

static void show(const json_t *doc) {
  const char *file = "", *state = "", *trouble = "", *wire = "", *kv = "", *version = "";
  int epoch = 0, layers = 0, d = 0, context = 0, running = 0, queued = 0, done = 0, failed = 0;
  double prefill = 0, decode = 0;
  json_error_t why;
  int bad = json_unpack_ex((json_t *)doc, &why, 0,
                           "{s:s, s:i, s:s, s:s, s:s, s:s, s:{s:s, s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i}, s:F, s:F}", "version", &version,
                           "epoch", &epoch, "state", &state, "trouble", &trouble, "wire", &wire, "kv", &kv, "model", "file", &file,
                           "layers", &layers, "d", &d, "context", &context, "jobs", "running", &running, "queued", &queued, "done", &done,
                           "failed", &failed, "prefill_tokens_per_s", &prefill, "decode_tokens_per_s", &decode);
  if (bad) fprintf(stderr, "trireme: parts of the status are missing: %s\n", why.text);
  printf("coordinator %s: %s%s%s\n", version, state, trouble[0] ? "; last trouble: " : "", trouble);
  printf("model %s, %d layers of %d, context %d; epoch %d, wire %s, KV %s\n", file, layers, d, context, epoch, wire, kv);
  printf("jobs: %d running, %d queued, %d done, %d failed; last: prefill %.1f tokens/s, decode %.1f tokens/s\n\n", running, queued, done,
         failed, prefill, decode);
  const char *change = NULL, *cause = NULL, *failed_change = json_string_value(json_object_get(doc, "change_trouble"));
  if (json_unpack((json_t *)doc, "{s:{s:s, s:s}}", "change", "state", &change, "why", &cause) == 0)
    printf("a change of plan is %s: %s\n\n", change, cause);
  else if (failed_change) printf("the last change of plan did not come about: %s\n\n", failed_change);
  tri_nodes_table(doc, stdout);
}

static tri_status show_once(tri_client *client, tri_error *err) {
  json_t *doc = NULL;
  tri_status status = tri_nodes_fetch(client, &doc, timeout_s * 1000, err);
  if (status == TRI_OK && watch && !as_json) printf("\033[H\033[J"); /* from the top of an empty screen */
  if (status == TRI_OK && as_json) json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)), putchar('\n');
  else if (status == TRI_OK) show(doc);
  fflush(stdout);
  json_decref(doc);
  return status;
}

int tri_cli_status(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  tri_status status = tri_client_dial(&client, coordinator, key_dir, -1, timeout_s * 1000, &err);
  if (status == TRI_OK) status = show_once(client, &err);
  while (status == TRI_OK && watch) {
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    status = show_once(client, &err);
  }
  tri_client_close(&client);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
