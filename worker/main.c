/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/args.h"
#include "base/log.h"
#include "engine/single.h"
#include "proto/beacon.h"
#include "proto/enrol.h"
#include "worker/worker.h"

static const char *model_path, *coordinator, *key_option, *name, *listen_on = "tcp://0.0.0.0:0", *advertise, *cache_dir;
static int64_t threads, memory, give_up, cache_limit = (int64_t)20 << 30;
static bool no_start;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "A copy of the coordinator's model: what it has need not come over the network.", 0, 0},
    {"cache", 0, TRI_ARG_STRING, &cache_dir, "DIR", "Where parts of models are kept (default: parts in ~/.cache/trireme).", 0, 0},
    {"cache-limit", 0, TRI_ARG_SIZE, &cache_limit, "SIZE", "Keep at most so much there; what was used longest ago goes first (default 20G).",
     1 << 20, 1e18},
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT (default: as coordinator.key says).",
     0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_option, "DIR", "Key folder, with coordinator.key in it (default ~/.config/trireme/worker).", 0, 0},
    {"name", 0, TRI_ARG_STRING, &name, "NAME",
     "Name in the coordinator's status (default: the key's; when it joins with a new key, this host's).", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"memory", 0, TRI_ARG_SIZE, &memory, "SIZE",
     "Memory to use at most for its stage, without grammars of jobs (default: what is available now, less a tenth).", 1 << 20, 1e15},
    {"listen", 0, TRI_ARG_STRING, &listen_on, "ENDPOINT", "Where to take rows from the stage before (default tcp://0.0.0.0:0, any port).",
     0, 0},
    {"advertise", 0, TRI_ARG_STRING, &advertise, "HOST",
     "Host by which the stage before reaches this one (default: as the coordinator sees it).", 0, 0},
    {"give-up", 0, TRI_ARG_INT, &give_up, "SECONDS",
     "End if the coordinator cannot be reached at first for so long (default: try for ever).", 1, 1e6},
    {"no-start", 0, TRI_ARG_FLAG, &no_start, NULL, "After join: end, and do not serve.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme-worker",
    "Serve a share of a model's layers to a Trireme coordinator. With join and a token of `trireme token create`: make a key if there is "
    "none, have the coordinator let it in, and then serve.",
    "[join TOKEN|-] [options]",
    "  trireme-worker join 'tri1:…'\n"
    "  trireme-worker --memory 2G\n"
    "  trireme-worker -m model.gguf --coordinator tcp://10.0.0.1:7117 --key ~/trireme/w1 --memory 2G\n", args, sizeof args / sizeof *args};

static uint64_t available_bytes(void) {
  unsigned long long kb = 0;
  char line[128];
  FILE *f = fopen("/proc/meminfo", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1) break;
  if (f) fclose(f);
  if (!kb) kb = (unsigned long long)sysconf(_SC_PHYS_PAGES) * (unsigned long long)sysconf(_SC_PAGESIZE) / 1024;
  return kb * 1024 / 10 * 9;
}

static tri_status check(int positionals, char **argv, tri_error *err) {
  bool joins = positionals && strcmp(argv[1], "join") == 0;
  if (positionals != (joins ? 2 : 0))
    return tri_status_fail(err, TRI_E_INVALID, positionals == 1 && joins ? "%s: a token is needed" : "unexpected argument '%s'",
                           joins && positionals > 2 ? argv[3] : argv[1]);
  if (no_start && !joins) return tri_status_fail(err, TRI_E_INVALID, "--no-start is for join");
  return TRI_OK;
}

/* The coordinator's list may know this worker by another name than it asked for: the key has that one now. */
static tri_status join(const char *token, const char *dir, tri_error *err) {
  enum { TIMEOUT_MS = 20000 };
  tri_joined joined;
  const tri_join_options o = {.token = token, .dir = dir, .name = name, .role = TRI_ROLE_WORKER, .timeout_ms = TIMEOUT_MS};
  tri_status status = tri_enrol_join(&o, &joined, err);
  if (status != TRI_OK) return status;
  printf("joined the coordinator at %s as the worker %s; the key is in %s\n", joined.endpoint, joined.name, dir);
  fflush(stdout);
  name = NULL;
  return TRI_OK;
}

/* Where the coordinator is, if no option says it. */
static tri_status find_coordinator(const char *dir, tri_error *err) {
  enum { SEEK_MS = 5000 };
  static char kept[TRI_MAX_ENDPOINT];
  uint8_t key[TRI_KEY_BYTES];
  if (coordinator) return TRI_OK;
  tri_status status = tri_keys_load_endpoint(kept, dir, err);
  coordinator = kept;
  if (status != TRI_OK || kept[0]) return status;
  status = tri_keys_load_coordinator(key, dir, err);
  if (status == TRI_OK && tri_beacon_find(key, SEEK_MS, kept, err) != TRI_OK)
    status = tri_status_fail(err, TRI_E_INVALID,
                             "--coordinator ENDPOINT is needed: %s/coordinator.key does not say where it is, and it does not answer on "
                             "this network", dir);
  return status;
}

int main(int argc, char **argv) {
  tri_error err = {0};
  int positionals = 0;
  bool helped = false;
  char key_dir[PATH_MAX] = "";
  tri_log_set_name("worker");
  tri_status status = tri_args_parse(&spec, argc, argv, &positionals, &helped, &err);
  if (helped) return 0;
  if (status == TRI_OK) status = check(positionals, argv, &err);
  if (status == TRI_OK && key_option) snprintf(key_dir, sizeof key_dir, "%s", key_option);
  else if (status == TRI_OK) status = tri_keys_default_dir(key_dir, "worker", &err);
  if (status == TRI_OK && positionals) status = join(argv[2], key_dir, &err);
  if (status == TRI_OK && no_start) return 0;
  bool seek = !coordinator;
  if (status == TRI_OK) status = find_coordinator(key_dir, &err);
  tri_worker_config config = {.model_path = model_path, .cache_dir = cache_dir, .cache_bytes = (uint64_t)cache_limit,
                              .coordinator = coordinator, .seek = seek, .key_dir = key_dir, .name = name, .listen = listen_on,
                              .advertise = advertise, .threads = threads ? (int)threads : tri_single_cores(),
                              .memory_bytes = memory ? (uint64_t)memory : available_bytes(), .give_up_ms = give_up * 1000};
  if (status == TRI_OK) status = tri_worker_run(&config, &err);
  if (status != TRI_OK) fprintf(stderr, "trireme-worker: %s\n", err.text);
  return tri_status_exit_code(status);
}
