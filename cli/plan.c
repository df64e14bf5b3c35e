/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/nodes.h"
#include "cli/plan_nodes.h"
#include "coordinator/plan_model.h"
#include "coordinator/plan_replicas.h"
#include "coordinator/scheduler.h"
#include "engine/kv.h"

static const char *model_path, *nodes_path, *coordinator, *key_dir, *what_if = "", *save_path, *wire_name, *kv_name,
    *goal_name = "throughput", *replicas_name = "1";
static int64_t context, slots, kv_tokens, max_rows = 256, rows, timeout_s = 5;
static bool as_json, all_workers;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE", "The model; its weights are not read.", 0, 0},
    {"nodes", 0, TRI_ARG_STRING, &nodes_path, "FILE", "Nodes, their figures and your wishes, as docs/SCALING.md shows.", 0, 0},
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "Ask this running cluster, tcp://HOST:PORT (without --nodes: as coordinator.key says).", 0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder, with coordinator.key in it (default ~/.config/trireme/client).", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up after so long without an answer (default 5).", 1, 3600},
    {"what-if", 0, TRI_ARG_STRING, &what_if, "CHANGES",
     "Nodes more or less: +NAME:MEMORY is like the middle one by speed, +NAME:MEMORY:like=NODE like that one, -NAME is away.", 0, 0},
    {"save", 0, TRI_ARG_STRING, &save_path, "FILE", "Write the nodes that were planned for, as --nodes reads them.", 0, 0},
    {"optimise", 0, TRI_ARG_STRING, &goal_name, "GOAL", "throughput (many streams) or latency (one) (default throughput).", 0, 0},
    {"rows", 0, TRI_ARG_INT, &rows, "N", "Rows in a step (default: the slots shared out over the nodes).", 1, TRI_PLAN_MANY},
    {"replicas", 0, TRI_ARG_STRING, &replicas_name, "N", "Pipelines side by side, or auto (default 1).", 0, 0},
    {"all-workers", 0, TRI_ARG_FLAG, &all_workers, NULL, "Give each node a layer, in the order given, even if that makes it slower.", 0, 0},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context in tokens (default: the cluster's, or the model's).", 1, TRI_MAX_CONTEXT},
    {"slots", 0, TRI_ARG_INT, &slots, "N", "Sequences in the pipeline at once (default: the cluster's, or 16).", 1, TRI_SCHEDULER_SLOTS},
    {"kv-tokens", 0, TRI_ARG_INT, &kv_tokens, "N", "Tokens that the KV cache holds (default: the cluster's, or as `trireme-coordinator` has it).", 1,
     1 << 30},
    {"max-rows", 0, TRI_ARG_INT, &max_rows, "N", "Most rows in a step (default 256).", 1, TRI_MAX_ROWS},
    {"wire", 0, TRI_ARG_STRING, &wire_name, "TYPE", "Rows between stages: int8, int4, f16 or f32 (default: the cluster's, or int8).", 0, 0},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default: the cluster's, or f16).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme plan", "Show how a model would be shared out, without touching a cluster. Figures hold for the model they were measured with.",
    "-m FILE [--nodes FILE] [options]",
    "  trireme plan -m model.gguf --nodes nodes.toml --slots 4\n"
    "  trireme plan -m model.gguf --nodes nodes.toml --what-if +pi5:8G,-n3 --optimise latency\n"
    "  trireme plan -m model.gguf --save nodes.toml\n",
    args, sizeof args / sizeof *args};

typedef struct planning {
  tri_plan_file nodes;
  tri_model *model;
  tri_plan_load load;
  uint32_t kv_tokens; /* 0: as many as a coordinator takes by itself */
  tri_plan_model m;
  tri_plan_worker workers[TRI_PLAN_MAX_WORKERS];
  tri_plan_options options;
  uint32_t count; /* of replicas asked for; 0: auto */
  tri_plan_replicas found;
  double took_ms;
} planning;

/* --- what is given --- */

static tri_status read_options(planning *p, tri_error *err) {
  char *end;
  if (!model_path) return tri_status_fail(err, TRI_E_INVALID, "--model FILE is needed; see trireme plan --help");
  long n = strcmp(replicas_name, "auto") == 0 ? 0 : strtol(replicas_name, &end, 10);
  if (strcmp(replicas_name, "auto") != 0 && (n < 1 || n > TRI_PLAN_MAX_REPLICAS || *end))
    return tri_status_fail(err, TRI_E_INVALID, "--replicas %s: a number from 1 to %d, or auto, is expected", replicas_name,
                           TRI_PLAN_MAX_REPLICAS);
  p->count = (uint32_t)n;
  p->options = (tri_plan_options){.fixed_order = all_workers};
  return tri_plan_parse_objective(goal_name, &p->options.objective, err);
}

static const char *choose(const char *given, const json_t *cluster, const char *key, const char *otherwise) {
  const char *there = json_string_value(json_object_get(cluster, key));
  return given ? given : there ? there : otherwise;
}

/* What was not given is as in the cluster that was asked. */
static tri_status choose_load(planning *p, const json_t *cluster, tri_error *err) {
  const json_t *model = json_object_get(cluster, "model");
  tri_nodes_model served = {.slots = 16};
  tri_status status = model ? tri_nodes_read_model(cluster, &served, err) : TRI_OK;
  if (status != TRI_OK) return status;
  p->load = (tri_plan_load){.context = (uint32_t)(context ? context : served.context), .slots = (uint32_t)(slots ? slots : served.slots),
                            .max_rows = (uint32_t)max_rows};
  p->kv_tokens = (uint32_t)(kv_tokens ? kv_tokens : context || slots ? 0 : served.kv_tokens);
  status = tri_wire_parse(choose(wire_name, cluster, "wire", "int8"), &p->load.wire, err);
  return status == TRI_OK ? tri_kv_parse(choose(kv_name, cluster, "kv", "f16"), &p->load.kv_type, err) : status;
}

static tri_status ask(planning *p, json_t **doc, tri_error *err) {
  tri_client *client = NULL;
  tri_status status = tri_client_dial(&client, coordinator, key_dir, -1, timeout_s * 1000, err);
  if (status == TRI_OK) status = tri_nodes_fetch(client, doc, timeout_s * 1000, err);
  if (status == TRI_OK) status = tri_plan_nodes_from_status(&p->nodes, *doc, err);
  tri_client_close(&client);
  return status;
}

static tri_status read_nodes(planning *p, tri_error *err) {
  json_t *doc = NULL;
  tri_status status = coordinator || !nodes_path ? ask(p, &doc, err) : TRI_OK;
  if (status == TRI_OK) status = choose_load(p, doc, err);
  json_decref(doc);
  tri_plan_file *file = status == TRI_OK && nodes_path ? malloc(sizeof *file) : NULL;
  if (status == TRI_OK && nodes_path && !file) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (file) status = tri_plan_file_read(file, nodes_path, err);
  if (file && status == TRI_OK) status = tri_plan_nodes_merge(&p->nodes, file, err);
  free(file);
  if (status == TRI_OK) status = tri_plan_nodes_what_if(&p->nodes, what_if, err);
  return status == TRI_OK ? tri_plan_nodes_check(&p->nodes, err) : status;
}

static tri_status save(const planning *p, tri_error *err) {
  tri_buf text = {0};
  tri_file_writer *w = NULL;
  tri_plan_file_write(&p->nodes, &text);
  tri_status status = tri_buf_ok(&text) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = tri_file_writer_open(&w, save_path, 0644, err);
  if (status == TRI_OK) status = tri_file_writer_write(w, text.data, text.len, err);
  if (status == TRI_OK) status = tri_file_writer_commit(&w, err);
  tri_file_writer_abort(&w);
  tri_buf_free(&text);
  return status;
}

static tri_status make(planning *p, tri_error *err) {
  if (!p->load.context) p->load.context = (uint32_t)tri_model_shape(p->model)->context;
  p->options.rows = rows ? (uint32_t)rows : tri_plan_rows(p->load.slots, p->nodes.count);
  p->load.kv_blocks = tri_plan_kv_blocks(p->load.slots, p->load.context, p->kv_tokens);
  p->m = tri_plan_model_of(p->model, &p->load);
  for (uint32_t i = 0; i < p->nodes.count; i++) {
    const tri_plan_node *node = &p->nodes.node[i];
    p->workers[i] = node->worker;
    p->workers[i].name = node->name;
    p->workers[i].buffer_bytes = tri_plan_model_buffers(p->model, &p->load, node->threads ? node->threads : 1);
    p->workers[i].must = all_workers;
  }
  p->m.hub_ns = tri_plan_hub_ns(p->workers, p->nodes.count);
  int64_t start = tri_clock_us();
  tri_status status = tri_plan_replicate(&p->found, &p->m, p->workers, p->nodes.count, &p->options, p->count, err);
  p->took_ms = (double)(tri_clock_us() - start) / 1e3;
  return status;
}

/* --- what comes out --- */

static double ms(uint64_t ns) { return (double)ns / 1e6; }
static double many_per_s(const planning *p, const tri_plan *plan) { return p->options.rows * 1e9 / (double)plan->slowest_ns; }
static double share(const tri_plan *plan, const tri_plan_stage *s) {
  uint64_t ns = s->ns > s->send_ns ? s->ns : s->send_ns;
  return (double)ns / (double)plan->slowest_ns;
}

/* Why node i has nothing to do. False: it has. */
static bool explain(const planning *p, uint32_t i, char out[TRI_PLAN_REASON]) {
  const tri_plan_replicas *r = &p->found;
  if (r->count == 1) return tri_plan_explain(r->plan, &p->m, p->workers, p->nodes.count, &p->options, i, out);
  for (uint32_t k = 0; k < r->count; k++)
    for (uint32_t s = 0; s < r->plan[k].stages; s++)
      if (r->plan[k].stage[s].worker == i) return false;
  snprintf(out, TRI_PLAN_REASON, p->workers[i].excluded ? "left out: excluded" : "left out: no replica gains by it");
  return true;
}

static void print_replica(const planning *p, uint32_t number) {
  const tri_plan *plan = &p->found.plan[number];
  if (p->found.count > 1) printf("replica %u\n", number + 1);
  printf("%-6s %-16s %-9s %9s %9s %10s %9s %6s\n", "stage", "node", "layers", "used MB", "free MB", "ms a step", "send ms", "share");
  for (uint32_t i = 0; i < plan->stages; i++) {
    const tri_plan_stage *s = &plan->stage[i];
    const tri_plan_worker *w = &p->workers[s->worker];
    char layers[24];
    snprintf(layers, sizeof layers, "%u-%u", s->first, s->last - 1);
    printf("%-6u %-16s %-9s %9.1f %9.1f %10.3f %9.3f %5.0f%%\n", i + 1, w->name, layers, (double)s->bytes / 1e6,
           (double)(w->memory_bytes - s->bytes) / 1e6, ms(s->ns), ms(s->send_ns), 100 * share(plan, s));
  }
  printf("one stream %.2f tokens/s, many streams %.2f tokens/s, prompts %.1f tokens/s\n\n", 1e9 / (double)plan->token_ns,
         many_per_s(p, plan), 1e9 / (double)plan->row_ns);
}

static void print(const planning *p) {
  char why[TRI_PLAN_REASON];
  printf("%s: %u layers of %s with %s of KV cache each; context %u, slots %u, wire %s, for %s\n\n", model_path, p->m.layers,
         TRI_UNITS(p->m.layer_bytes), TRI_UNITS(p->m.kv_bytes), p->load.context, p->load.slots, tri_wire_name(p->load.wire),
         tri_plan_objective_name(p->options.objective));
  for (uint32_t k = 0; k < p->found.count; k++) print_replica(p, k);
  for (uint32_t i = 0; i < p->nodes.count; i++)
    if (explain(p, i, why)) printf("%s: %s\n", p->workers[i].name, why);
  if (p->found.count > 1)
    printf("%u replicas: one stream %.2f tokens/s, many streams %.2f tokens/s\n", p->found.count, p->found.one_per_s, p->found.many_per_s);
  printf("planned in %.1f ms\n", p->took_ms);
}

static json_t *describe_replica(const planning *p, const tri_plan *plan) {
  json_t *stages = json_array();
  for (uint32_t i = 0; i < plan->stages; i++) {
    const tri_plan_stage *s = &plan->stage[i];
    const tri_plan_worker *w = &p->workers[s->worker];
    json_array_append_new(stages, json_pack("{s:s, s:i, s:i, s:I, s:I, s:f, s:f, s:f}", "node", w->name, "first", (int)s->first, "last",
                                            (int)s->last - 1, "bytes", (json_int_t)s->bytes, "free_bytes",
                                            (json_int_t)(w->memory_bytes - s->bytes), "ms", ms(s->ns), "send_ms", ms(s->send_ns), "share",
                                            share(plan, s)));
  }
  return json_pack("{s:o, s:f, s:f, s:f, s:f, s:f}", "stages", stages, "slowest_ms", ms(plan->slowest_ns), "token_ms", ms(plan->token_ns),
                   "one_tokens_per_s", 1e9 / (double)plan->token_ns, "many_tokens_per_s", many_per_s(p, plan), "prompt_tokens_per_s",
                   1e9 / (double)plan->row_ns);
}

static tri_status print_json(const planning *p, tri_error *err) {
  json_t *replicas = json_array(), *left = json_array();
  char why[TRI_PLAN_REASON];
  for (uint32_t k = 0; k < p->found.count; k++) json_array_append_new(replicas, describe_replica(p, &p->found.plan[k]));
  for (uint32_t i = 0; i < p->nodes.count; i++)
    if (explain(p, i, why)) json_array_append_new(left, json_pack("{s:s, s:s}", "node", p->workers[i].name, "why", why));
  json_t *doc = json_pack("{s:s, s:i, s:i, s:s, s:s, s:i, s:o, s:o, s:f, s:f, s:f}", "model", model_path, "context", (int)p->load.context,
                          "slots", (int)p->load.slots, "wire", tri_wire_name(p->load.wire), "optimise",
                          tri_plan_objective_name(p->options.objective), "rows", (int)p->options.rows, "replicas", replicas,
                          "left_out", left, "one_tokens_per_s", p->found.one_per_s, "many_tokens_per_s", p->found.many_per_s,
                          "planned_ms", p->took_ms);
  if (!doc) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the document");
  json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  putchar('\n');
  json_decref(doc);
  return TRI_OK;
}

static tri_status run(planning *p, tri_error *err) {
  tri_status status = read_options(p, err);
  if (status == TRI_OK) status = read_nodes(p, err);
  if (status == TRI_OK && save_path) status = save(p, err);
  if (status == TRI_OK) status = tri_model_open(&p->model, model_path, err);
  if (status == TRI_OK) status = make(p, err);
  if (status == TRI_OK && as_json) return print_json(p, err);
  if (status == TRI_OK) print(p);
  return status;
}

int tri_cli_plan(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  planning *p = calloc(1, sizeof *p);
  tri_status status = p ? run(p, &err) : tri_status_fail(&err, TRI_E_NOMEM, "out of memory");
  if (p) {
    tri_plan_replicas_free(&p->found);
    tri_model_close(&p->model);
    free(p);
  }
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
