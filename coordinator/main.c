/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/args.h"
#include "base/log.h"
#include "coordinator/coordinator.h"
#include "coordinator/registry.h"
#include "coordinator/scheduler.h"
#include "engine/kv.h"

static const char *model_path, *listen_on = "tcp://0.0.0.0:7117", *enrol, *key_option, *wire_name = "int8", *kv_name = "f16",
    *objective_name = "throughput", *nodes_path, *reuse_name = "all", *replan = "15%";
static bool no_announce;
static int64_t min_workers = 1, context, kv_tokens, slots = 16, max_rows = 256, ready_fd = -1, lost_after = 5, retries = 5, itl_target_ms;
static const char *jobs_path;
static int64_t keep_jobs = 1000, keep_days = 7, orphans_s = 60, client_jobs, client_running, replan_every = 60;
static tri_args_list expect;
static bool all_workers;
static tri_plan_file nodes;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file. Workers get what they need of it from here.", 0, 0},
    {"listen", 0, TRI_ARG_STRING, &listen_on, "ENDPOINT", "Where workers and clients connect (default tcp://0.0.0.0:7117).", 0, 0},
    {"enrol", 0, TRI_ARG_STRING, &enrol, "ENDPOINT",
     "Where those with a token enrol while there is one (default: --listen's address, the port after it), or none.", 0, 0},
    {"no-announce", 0, TRI_ARG_FLAG, &no_announce, NULL, "Do not answer who asks on this network where the coordinator is.", 0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_option, "DIR",
     "Key folder, with allowed.keys and tokens in it (default ~/.config/trireme/coordinator, where a key is made if there is none).", 0, 0},
    {"min-workers", 'w', TRI_ARG_INT, &min_workers, "N", "Serve once that many workers are there (default 1).", 1, TRI_REGISTRY_MAX},
    {"expect", 0, TRI_ARG_MULTI, &expect, "NAME", "A worker that must be there and be used; several give the order of the stages.", 0, 0},
    {"optimise", 0, TRI_ARG_STRING, &objective_name, "GOAL",
     "Plan for throughput (many streams) or latency (one) (default throughput).", 0, 0},
    {"nodes", 0, TRI_ARG_STRING, &nodes_path, "FILE", "Layers, order, memory and figures of workers: docs/SCALING.md.", 0, 0},
    {"all-workers", 0, TRI_ARG_FLAG, &all_workers, NULL, "Give each worker a layer, even if that makes it slower.", 0, 0},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, TRI_MAX_CONTEXT},
    {"slots", 0, TRI_ARG_INT, &slots, "N", "Sequences in the pipeline at once (default 16).", 1, TRI_SCHEDULER_SLOTS},
    {"kv-tokens", 0, TRI_ARG_INT, &kv_tokens, "N",
     "Tokens that the KV cache holds, of all sequences together (default: the context, or 4096 if slots fill them).", 1, 1 << 30},
    {"reuse", 0, TRI_ARG_STRING, &reuse_name, "WHOSE",
     "Take the beginning of a prompt from the KV cache where it is there already: from all jobs, from those of the same client, or none\n"
     "(default all).", 0, 0},
    {"max-rows", 0, TRI_ARG_INT, &max_rows, "N", "Most rows in a step (default 256).", 1, TRI_MAX_ROWS},
    {"itl-target-ms", 0, TRI_ARG_INT, &itl_target_ms, "MS",
     "Between two tokens of a stream while prompts are computed beside it (default: twice what it is without them).", 1, 60000},
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "Rows between stages: int8, int4, f16 or f32 (default int8).", 0, 0},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"lost-after", 0, TRI_ARG_INT, &lost_after, "SECONDS",
     "A worker that gives no sign of life for so long is lost (default 5; they give one a second).", 2, 3600},
    {"replan", 0, TRI_ARG_STRING, &replan, "PERCENT",
     "While serving, take a plan that is so much faster, as when a worker has come or slowed down; 0: never (default 15%).", 0, 0},
    {"replan-every", 0, TRI_ARG_INT, &replan_every, "SECONDS", "At most once in so long (default 60).", 1, 86400},
    {"retries", 0, TRI_ARG_INT, &retries, "N",
     "A job whose pipeline fails under it more than so many times without a new token fails too (default 5).", 0, 1000},
    {"client-jobs", 0, TRI_ARG_INT, &client_jobs, "N", "Jobs that one client may have here (default: as many as there is room for).", 1,
     TRI_JOBS_MAX},
    {"client-running", 0, TRI_ARG_INT, &client_running, "N", "Of them at once (default: as many as there are slots).", 1,
     TRI_SCHEDULER_SLOTS},
    {"jobs", 0, TRI_ARG_STRING, &jobs_path, "FILE",
     "Where jobs are kept, so that they outlive this process (default jobs.db in the key folder); none: they don't.", 0, 0},
    {"keep-jobs", 0, TRI_ARG_INT, &keep_jobs, "N", "So many ended jobs are kept (default 1000).", 0, 10000000},
    {"keep-days", 0, TRI_ARG_INT, &keep_days, "DAYS", "For so long (default 7).", 0, 36500},
    {"orphans", 0, TRI_ARG_INT, &orphans_s, "SECONDS",
     "A job whose client is gone, without --detach, waits so long for it to come back (default 60).", 0, 1000000},
    {"ready-fd", 0, TRI_ARG_INT, &ready_fd, "FD", "Write the endpoint to this descriptor, then a line once it serves.", 0, 1 << 20},
};
static const tri_args_spec spec = {
    "trireme-coordinator",
    "Split a model over workers and give them jobs.",
    "-m FILE [options]",
    "  trireme-coordinator -m model.gguf --min-workers 3\n"
    "  trireme-coordinator -m model.gguf --key keys --expect big --expect small --listen tcp://10.0.0.1:7117\n",
    args, sizeof args / sizeof *args};

/* The folder that was given, or this user's own, which gets a key when there is none. */
static tri_status choose_key(char dir[PATH_MAX], tri_error *err) {
  char text[TRI_KEY_TEXT];
  tri_keypair key;
  if (key_option) return snprintf(dir, PATH_MAX, "%s", key_option), TRI_OK;
  tri_status status = tri_keys_default_dir(dir, "coordinator", err);
  if (status != TRI_OK) return status;
  status = tri_keys_load(&key, dir, err);
  if (status != TRI_E_NOT_FOUND) return tri_keys_wipe(&key), status;
  status = tri_keys_generate(&key, "coordinator", err);
  if (status == TRI_OK) status = tri_keys_save(&key, dir, err);
  if (status == TRI_OK) {
    tri_keys_text(key.public_key, text);
    TRI_INFO("made a key for this coordinator in %s: %s", dir, text);
  }
  tri_keys_wipe(&key);
  return status;
}

static tri_status parse_percent(const char *option, const char *text, double *out, tri_error *err) {
  enum { MOST = 1000 };
  char *end;
  double v = strtod(text, &end);
  bool ok = end != text && (!*end || strcmp(end, "%") == 0) && v >= 0 && v <= MOST;
  if (!ok) return tri_status_fail(err, TRI_E_INVALID, "--%s %s: a percentage from 0 to %d is expected, such as 15%%", option, text, MOST);
  *out = v / 100;
  return TRI_OK;
}

static tri_status read_options(int argc, char **argv, tri_coordinator_config *out, bool *helped, tri_error *err) {
  int positionals = 0;
  tri_status status = tri_args_parse(&spec, argc, argv, &positionals, helped, err);
  if (status != TRI_OK || *helped) return status;
  if (positionals) return tri_status_fail(err, TRI_E_INVALID, "unexpected argument '%s'", argv[1]);
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "--model FILE is needed; see trireme-coordinator --help");
  tri_wire wire;
  status = tri_wire_parse(wire_name, &wire, err);
  if (status != TRI_OK) return status;
  tri_ftype kv_type;
  status = tri_kv_parse(kv_name, &kv_type, err);
  if (status != TRI_OK) return status;
  tri_reuse reuse;
  status = tri_scheduler_parse_reuse(reuse_name, &reuse, err);
  if (status != TRI_OK) return status;
  tri_plan_objective objective;
  status = tri_plan_parse_objective(objective_name, &objective, err);
  if (status != TRI_OK) return tri_status_prefix(err, status, "--optimise");
  double gain = 0;
  status = parse_percent("replan", replan, &gain, err);
  if (status != TRI_OK) return status;
  static char key_dir[PATH_MAX];
  status = choose_key(key_dir, err);
  if (status != TRI_OK) return status;
  if (nodes_path) status = tri_plan_file_read(&nodes, nodes_path, err);
  if (status != TRI_OK) return status;
  uint32_t expected = (uint32_t)expect.count;
  *out = (tri_coordinator_config){.model_path = model_path, .listen = listen_on, .enrol = enrol, .announce = !no_announce,
                                  .key_dir = key_dir, .expect = expect.items, .n_expect = expected,
                                  .min_workers = expected > min_workers ? expected : (uint32_t)min_workers,
                                  .objective = objective, .nodes = nodes_path ? &nodes : NULL, .all_workers = all_workers,
                                  .context = (uint32_t)context, .slots = (uint32_t)slots, .max_rows = (uint32_t)max_rows,
                                  .kv_tokens = (uint32_t)kv_tokens, .reuse = reuse,
                                  .itl_target_ms = itl_target_ms, .wire = wire, .kv_type = kv_type, .lost_ms = lost_after * 1000,
                                  .replan_gain = gain, .replan_every_ms = replan_every * 1000,
                                  .ready_fd = (int)ready_fd,
                                  .jobs_path = jobs_path, .keep_jobs = (uint32_t)keep_jobs, .keep_ms = keep_days * 86400000,
                                  .orphan_ms = orphans_s * 1000,
                                  .limits = {.retries = (uint32_t)retries, .client_held = (uint32_t)client_jobs,
                                             .client_running = (uint32_t)client_running}};
  return TRI_OK;
}

int main(int argc, char **argv) {
  tri_error err = {0};
  bool helped = false;
  tri_coordinator_config config;
  tri_log_set_name("coordinator");
  signal(SIGPIPE, SIG_IGN); /* whoever reads --ready-fd may go */
  tri_status status = read_options(argc, argv, &config, &helped, &err);
  if (helped) return 0;
  if (status == TRI_OK) status = tri_coordinator_run(&config, &err);
  if (status != TRI_OK) fprintf(stderr, "trireme-coordinator: %s\n", err.text);
  return tri_status_exit_code(status);
}
