/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/nodes.h"

enum { PAUSE_MS = 200, ANSWER_MS = 10000 };

static const char *coordinator, *key_dir;
static int64_t timeout_s = 3600;
static bool undo;
static const tri_arg args[] = {
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT (default: as coordinator.key says).",
     0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder of an admin, with coordinator.key in it (default ~/.config/trireme/client).",
     0, 0},
    {"undo", 0, TRI_ARG_FLAG, &undo, NULL, "Let the worker have layers again.", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Wait so long at most until it has happened; it goes on after that (default 3600).",
     1, 1000000},
};
static const tri_args_spec spec = {
    "trireme drain",
    "Take a worker out of a running cluster, or let it back in. The others get what they lack of the model while the cluster serves on; "
    "then they take over, and running jobs go on. Once the command has ended with 0, the worker may be stopped. It stays out, also when it "
    "comes back, until --undo or the coordinator's end. Where the model does not fit into the others' memory, it stays in: exit code 1.",
    "NODE [--undo] [options]",
    "  trireme drain pi3\n"
    "  trireme drain pi3 --undo\n"
    "  trireme drain pi3 --coordinator tcp://10.0.0.1:7117 --key ~/trireme/admin\n",
    args, sizeof args / sizeof *args};

static tri_status ask(tri_client *client, const char *name, tri_error *err) {
  tri_client_event e;
  tri_status status = tri_client_drain(client, name, undo, err);
  if (status == TRI_OK) status = tri_client_next(client, &e, ANSWER_MS, err);
  if (status != TRI_OK) return status;
  if (e.msg->kind == TRI_MSG_REFUSE) return tri_status_fail(err, (tri_status)e.msg->refuse.status, "%s", e.msg->refuse.text);
  if (e.msg->kind != TRI_MSG_DRAINING)
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator answered with %s", tri_msg_kind_name(e.msg->kind));
  printf("%s\n", e.msg->draining.text);
  fflush(stdout);
  return TRI_OK;
}

/* TRI_E_AGAIN: not yet. */
static tri_status judge(const json_t *doc, const char *name, tri_error *err) {
  const json_t *w = tri_nodes_find(doc, name);
  const char *state = tri_nodes_text(doc, "state"), *trouble = tri_nodes_text(doc, "change_trouble");
  bool begins = strcmp(state, "loading") == 0 || strcmp(state, "connecting") == 0;
  if (!w || (!json_object_get(w, "stage") && !begins)) return TRI_OK;
  if (!json_object_get(w, "stage") || strcmp(tri_nodes_text(w, "left_out"), "drained") == 0) return TRI_E_AGAIN;
  if (!trouble[0]) return tri_status_fail(err, TRI_E_CANCELLED, "somebody has let %s back in", name);
  return tri_status_fail(err, TRI_E_LIMIT, "%s was not drained: %s", name, trouble);
}

/* What is under way, and how far: a line on stderr when it changes, a bar while parts of the model come. */
static void show(const json_t *doc, tri_progress *progress, char last[32]) {
  size_t i;
  json_t *w;
  double here = 0, all = 0;
  const char *state = tri_nodes_text(json_object_get(doc, "change"), "state");
  if (!state[0]) state = tri_nodes_text(doc, "state");
  json_array_foreach(json_object_get(doc, "workers"), i, w) {
    here += json_number_value(json_object_get(w, "fetched_bytes"));
    all += json_number_value(json_object_get(w, "fetch_bytes"));
  }
  if (strcmp(state, last) != 0) {
    static const struct { const char *state, *text; } known[] = {
        {"preparing", "the others get the parts that they lack"}, {"waiting", "waiting for a moment that costs little"},
        {"settling", "the steps under way come to their end"}, {"loading", "the others load their layers"}};
    tri_progress_end(progress);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
      if (strcmp(state, known[k].state) == 0) fprintf(stderr, "%s\n", known[k].text);
    snprintf(last, 32, "%s", state);
  }
  tri_progress_update(progress, (uint64_t)here, (uint64_t)all);
}

static tri_status await(tri_client *client, const char *name, tri_error *err) {
  int64_t until = tri_clock_ms() + timeout_s * 1000;
  tri_progress progress = tri_progress_begin("parts");
  char last[32] = "";
  tri_status status = TRI_E_AGAIN;
  while (status == TRI_E_AGAIN) {
    json_t *doc = NULL;
    tri_client_event none;
    status = tri_nodes_fetch(client, &doc, ANSWER_MS, err);
    if (status == TRI_OK) status = judge(doc, name, err);
    if (status == TRI_E_AGAIN) show(doc, &progress, last);
    json_decref(doc);
    if (status == TRI_E_AGAIN && tri_clock_ms() > until)
      status = tri_status_fail(err, TRI_E_TIMEOUT, "%s still has a stage after %lld s; `trireme status` shows what is under way", name,
                               (long long)timeout_s);
    if (status != TRI_E_AGAIN) break;
    tri_status waited = tri_client_next(client, &none, PAUSE_MS, err);
    if (waited != TRI_E_TIMEOUT) status = waited == TRI_OK ? tri_status_fail(err, TRI_E_PROTOCOL, "something came unasked") : waited;
  }
  tri_progress_end(&progress);
  if (status == TRI_OK) printf("%s is drained: it may be stopped\n", name);
  return status;
}

int tri_cli_drain(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 1, 1, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  tri_status status = tri_client_dial(&client, coordinator, key_dir, -1, ANSWER_MS, &err);
  if (status == TRI_OK) status = ask(client, argv[1], &err);
  if (status == TRI_OK && !undo) status = await(client, argv[1], &err);
  tri_client_close(&client);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
