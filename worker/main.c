/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/args.h"
#include "base/log.h"
#include "engine/single.h"
#include "worker/worker.h"

static const char *model_path, *coordinator, *key_dir, *name, *listen_on = "tcp://0.0.0.0:0", *advertise, *cache_dir;
static int64_t threads, memory, give_up, cache_limit = (int64_t)20 << 30;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "A copy of the coordinator's model: what it has need not come over the network.", 0, 0},
    {"cache", 0, TRI_ARG_STRING, &cache_dir, "DIR", "Where parts of models are kept (default: parts in ~/.cache/trireme).", 0, 0},
    {"cache-limit", 0, TRI_ARG_SIZE, &cache_limit, "SIZE", "Keep at most so much there; what was used longest ago goes first (default 20G).",
     1 << 20, 1e18},
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT.", 0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder of `trireme keygen`, with coordinator.key in it.", 0, 0},
    {"name", 0, TRI_ARG_STRING, &name, "NAME", "Name in the coordinator's status (default: the key's).", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"memory", 0, TRI_ARG_SIZE, &memory, "SIZE",
     "Memory to use at most for its stage, without grammars of jobs (default: what is available now, less a tenth).", 1 << 20, 1e15},
    {"listen", 0, TRI_ARG_STRING, &listen_on, "ENDPOINT", "Where to take rows from the stage before (default tcp://0.0.0.0:0, any port).",
     0, 0},
    {"advertise", 0, TRI_ARG_STRING, &advertise, "HOST",
     "Host by which the stage before reaches this one (default: as the coordinator sees it).", 0, 0},
    {"give-up", 0, TRI_ARG_INT, &give_up, "SECONDS",
     "End if the coordinator cannot be reached at first for so long (default: try for ever).", 1, 1e6},
};
static const tri_args_spec spec = {
    "trireme-worker",
    "Serve a share of a model's layers to a Trireme coordinator.",
    "--coordinator tcp://HOST:PORT --key DIR [options]",
    "  trireme-worker --coordinator tcp://10.0.0.1:7117 --key ~/trireme/w1\n"
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

static tri_status check(const tri_worker_config *c, int positionals, char **argv, tri_error *err) {
  if (positionals) return tri_status_fail(err, TRI_E_INVALID, "unexpected argument '%s'", argv[1]);
  if (!c->coordinator || !c->key_dir)
    return tri_status_fail(err, TRI_E_INVALID, "%s is needed; see trireme-worker --help", !c->coordinator ? "--coordinator ENDPOINT" : "--key DIR");
  return TRI_OK;
}

int main(int argc, char **argv) {
  tri_error err = {0};
  int positionals = 0;
  bool helped = false;
  tri_status status = tri_args_parse(&spec, argc, argv, &positionals, &helped, &err);
  if (helped) return 0;
  tri_worker_config config = {.model_path = model_path, .cache_dir = cache_dir, .cache_bytes = (uint64_t)cache_limit,
                              .coordinator = coordinator, .key_dir = key_dir, .name = name, .listen = listen_on,
                              .advertise = advertise, .threads = threads ? (int)threads : tri_single_cores(),
                              .memory_bytes = memory ? (uint64_t)memory : available_bytes(), .give_up_ms = give_up * 1000};
  if (status == TRI_OK) status = check(&config, positionals, argv, &err);
  tri_log_set_name("worker");
  if (status == TRI_OK) status = tri_worker_run(&config, &err);
  if (status != TRI_OK) fprintf(stderr, "trireme-worker: %s\n", err.text);
  return tri_status_exit_code(status);
}
