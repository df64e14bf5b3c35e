/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/follow.h"
#include "cli/nodes.h"

static const char *model_path, *prompt_option, *wire_name = "int8", *kv_name = "f16";
static int64_t workers = 3, threads, context, memory;
static bool as_json, special, no_bos, no_prompt, verbose;
static tri_sampling_args sampling = TRI_SAMPLING_ARGS_DEFAULTS;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model, a GGUF file.", 0, 0},
    {"workers", 'w', TRI_ARG_INT, &workers, "K", "Worker processes, each a stage of the pipeline (default 3).", 1, TRI_CLUSTER_WORKERS},
    {"prompt", 'p', TRI_ARG_STRING, &prompt_option, "TEXT", "The text to go on from; - reads standard input.", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads of each worker (default: the cores shared out).", 1, TRI_POOL_MAX_THREADS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, 1 << 20},
    TRI_SAMPLING_ARGS(sampling),
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "Rows between stages: int8, int4, f16 or f32 (default int8).", 0, 0},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"memory", 0, TRI_ARG_SIZE, &memory, "SIZE", "Memory that each worker may use (default: no limit but the machine's).", 1 << 20, 1e15},
    {"special", 0, TRI_ARG_FLAG, &special, NULL, "Read tokens such as <|eot_id|> in the prompt as such.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Do not put the begin-of-text token before the prompt.", 0, 0},
    {"no-prompt", 0, TRI_ARG_FLAG, &no_prompt, NULL, "Print the answer only, not the prompt before it.", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document at the end.", 0, 0},
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show start time and seed on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme local",
    "Generate text over a cluster of processes on this machine: a coordinator and workers, gone afterwards.",
    "-m FILE -p PROMPT [--workers K] [options]",
    "  trireme local -m models/story-bitnet.gguf --workers 3 -p \"Once upon a time\" -n 100\n", args, sizeof args / sizeof *args};

static void report(const tri_follow *f, json_t *nodes) {
  if (as_json) {
    json_t *doc = tri_follow_json(f);
    json_object_set(doc, "cluster", nodes);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(doc);
    return;
  }
  fputc('\n', stderr);
  tri_nodes_table(nodes, stderr);
  tri_follow_summary(f, stderr);
}

static tri_status run(tri_cluster *cluster, const tri_msg_submit *request, const tri_buf *payload, tri_error *err) {
  tri_client *client;
  json_t *nodes = NULL;
  tri_status status = tri_cluster_dial(&client, cluster, err);
  if (status != TRI_OK) return status;
  tri_follow f = {.request = request, .payload = payload, .quiet = as_json, .show_prompt = !no_prompt};
  status = tri_follow_job(client, &f, err);
  json_int_t rows = (json_int_t)f.done.prompt_tokens + (f.done.tokens ? f.done.tokens - 1 : 0);
  if (status == TRI_OK) status = tri_nodes_settle(client, NULL, rows, &nodes, err);
  if (status == TRI_OK) report(&f, nodes);
  json_decref(nodes);
  tri_follow_free(&f);
  tri_client_close(&client);
  return status;
}

static tri_status read_options(tri_cluster_options *o, tri_msg_submit *request, tri_buf *payload, tri_error *err) {
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
  *o = (tri_cluster_options){.model_path = model_path, .workers = (int)workers, .threads = (int)threads,
                             .context = (int)context, .memory = memory};
  tri_status status = tri_wire_parse(wire_name, &o->wire, err);
  if (status == TRI_OK) status = tri_kv_parse(kv_name, &o->kv_type, err);
  if (status == TRI_OK) status = tri_sampling_resolve(&sampling, request, payload, err);
  if (status == TRI_OK) request->special = special, request->no_bos = no_bos;
  if (status == TRI_OK) status = tri_sampling_prompt(prompt_option, payload, err);
  return status;
}

int tri_cli_local(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_cluster_options options;
  tri_msg_submit request;
  tri_cluster *cluster = NULL;
  tri_buf payload = {0};
  int64_t start = tri_clock_ms();
  tri_status status = read_options(&options, &request, &payload, &err);
  if (status == TRI_OK) status = tri_cluster_start(&cluster, &options, &err);
  if (status == TRI_OK && verbose)
    fprintf(stderr, "cluster up in %.2f s; seed %llu\n", (double)(tri_clock_ms() - start) / 1e3, (unsigned long long)request.sampling.seed);
  if (status == TRI_OK) status = run(cluster, &request, &payload, &err);
  tri_cluster_stop(&cluster);
  tri_buf_free(&payload);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
