/* SPDX-License-Identifier: MIT */
#include "tests/lab/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/units.h"
#include "tests/lab/measure.h"

enum { COUNTS = 8 };

static const char *name = "bench", *model, *wire = "int8", *streams_text = "1,8";
static int64_t workers, predict = 32, prompt = 16, rounds = 1, context = 256, idle_s, ready_s = 300;
static bool again, as_json, copies;
static tri_args_list coordinator_args, worker_args;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model, "FILE", "The model, a GGUF file.", 0, 0},
    {"workers", 'w', TRI_ARG_INT, &workers, "N", "Workers in the first N nodes after the coordinator's (default: in all).", 1, LAB_NODES},
    {"streams", 0, TRI_ARG_STRING, &streams_text, "N,N", "So many requests at once, one count after the other (default 1,8).", 0, 0},
    {"predict", 'n', TRI_ARG_INT, &predict, "N", "Tokens of each answer (default 32).", 2, 1 << 20},
    {"prompt", 'p', TRI_ARG_INT, &prompt, "N", "Tokens of each prompt (default 16).", 1, 1 << 16},
    {"rounds", 'r', TRI_ARG_INT, &rounds, "N", "Measure each count so often, and show the round of the median speed (default 1).", 1, MEASURE_ROUNDS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context in tokens (default 256; 0: the model's).", 0, 1 << 24},
    {"copies", 0, TRI_ARG_FLAG, &copies, NULL, "Each worker reads its layers from the file, and gets nothing over the network.", 0, 0},
    {"wire", 0, TRI_ARG_STRING, &wire, "TYPE", "Rows between stages: int8, f16 or f32 (default int8).", 0, 0},
    {"idle", 0, TRI_ARG_INT, &idle_s, "SECONDS", "Also measure so long without a request.", 1, 3600},
    {"again", 0, TRI_ARG_FLAG, &again, NULL, "Also end all programs and start them once more.", 0, 0},
    {"coordinator-arg", 0, TRI_ARG_MULTI, &coordinator_args, "WORD", "One more word on the coordinator's command line; repeatable.", 0, 0},
    {"worker-arg", 0, TRI_ARG_MULTI, &worker_args, "WORD", "One more word on each worker's command line; repeatable.", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &ready_s, "SECONDS", "Give up if the cluster doesn't serve by then (default 300).", 1, 3600},
    {"name", 0, TRI_ARG_STRING, &name, "LAB", "The lab's name (default bench).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme-lab bench", LAB_BENCH_SUMMARY, "TOPOLOGY -m FILE [options]",
    "  trireme-lab bench tests/lab/pi-shelf.toml -m model.gguf --streams 1,8\n"
    "  trireme-lab bench tests/lab/pi-shelf.toml -m model.gguf -w 2 --idle 10 --again --json\n"
    "  trireme-lab bench tests/lab/mixed.toml -m model.gguf --coordinator-arg=--expect --coordinator-arg=fast\n",
    args, sizeof args / sizeof *args};

/* --- phases --- */

static tri_status measure(crew *c, const int64_t *counts, int n_counts, json_t *doc, tri_error *err) {
  tri_client *client = NULL;
  json_t *loads = json_array(), *item;
  tri_status status = measure_start(c, doc, "start", err);
  if (status == TRI_OK && idle_s) measure_idle(c, idle_s, doc);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  for (int i = 0; i < n_counts && status == TRI_OK; i++) {
    const measure_load l = {.streams = (int)counts[i], .rounds = (int)rounds, .prompt = prompt, .predict = predict};
    status = measure_run(c, client, &l, &item, err);
    if (status == TRI_OK) json_array_append_new(loads, item);
  }
  json_object_set_new(doc, "loads", loads);
  if (status == TRI_OK) status = measure_status(client, doc, err); /* with each stage's figures */
  if (status == TRI_OK) measure_memory(c, doc);
  tri_client_close(&client);
  if (status != TRI_OK || !again) return status;
  crew_stop(c);
  return measure_start(c, doc, "again", err);
}

/* --- for people --- */

static void print_nodes(const json_t *part, double rows) {
  size_t i;
  json_t *n;
  printf("  %-11s %8s %8s %10s %10s %8s%s\n", "node", "cpu s", "core", "sent", "received", "of rate", rows > 0 ? "  sent/row" : "");
  json_array_foreach(json_object_get(part, "nodes"), i, n) {
    printf("  %-11s %8.2f %7.1f%% %10s %10s %7.1f%%", json_string_value(json_object_get(n, "node")), measure_number(n, "cpu_s"),
           100 * measure_number(n, "core_share"), TRI_UNITS(measure_number(n, "sent_bytes")), TRI_UNITS(measure_number(n, "received_bytes")),
           100 * measure_number(n, "sent_share_of_rate"));
    if (rows > 0) printf("  %8.0f", measure_number(n, "sent_bytes") / rows);
    putchar('\n');
  }
}

static void show(const json_t *doc) {
  static const char *const starts[] = {"start", "again"};
  size_t i;
  json_t *item;
  for (int k = 0; k < 2; k++) {
    const json_t *start = json_object_get(doc, starts[k]);
    if (!start) continue;
    printf("%s: serves after %.2f s; the coordinator's link carries most of it in %.2f s, at %.0f%% of its rate\n", starts[k],
           measure_number(start, "ready_s"), measure_number(start, "feed_s"), 100 * measure_number(start, "feed_share_of_rate"));
    print_nodes(start, 0);
  }
  if (json_object_get(doc, "idle")) puts("idle"), print_nodes(json_object_get(doc, "idle"), 0);
  json_array_foreach(json_object_get(doc, "loads"), i, item) {
    printf("%.0f at once: %.2f tokens/s in all", measure_number(item, "streams"), measure_number(item, "tokens_per_s"));
    if (json_object_get(item, "decode_tokens_per_s")) printf(", %.2f while all were under way", measure_number(item, "decode_tokens_per_s"));
    printf("; first token after %.0f ms (median)\n", measure_number(item, "first_token_ms"));
    print_nodes(item, measure_number(item, "rows"));
  }
  puts("most memory: resident, and of the control group");
  json_array_foreach(json_object_get(doc, "memory"), i, item)
    printf("  %-11s %10s %10s\n", json_string_value(json_object_get(item, "node")), TRI_UNITS(measure_number(item, "peak_rss_bytes")),
           TRI_UNITS(measure_number(item, "peak_group_bytes")));
}

/* --- all of it --- */

static tri_status read_counts(int64_t out[COUNTS], int *n, int64_t *most, tri_error *err) {
  const char *at = streams_text;
  *n = 0, *most = 1;
  for (char *end;; at = end + 1) {
    long v = strtol(at, &end, 10);
    if (end == at || (*end && *end != ',') || v < 1 || v > MEASURE_STREAMS || *n == COUNTS)
      return tri_status_fail(err, TRI_E_INVALID, "--streams %s: up to %d numbers from 1 to %d", streams_text, COUNTS, MEASURE_STREAMS);
    out[(*n)++] = v, *most = v > *most ? v : *most;
    if (!*end) return TRI_OK;
  }
}

static tri_status bench(const char *path, tri_error *err) {
  int64_t counts[COUNTS] = {0}, most = 1;
  int n = 0;
  lab_topology t;
  lab l;
  crew c;
  tri_status status = model ? read_counts(counts, &n, &most, err) : tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
  if (status == TRI_OK) status = lab_topology_read(&t, path, err);
  if (status == TRI_OK) status = lab_up(&l, name, &t, true, err);
  if (status != TRI_OK) return status;
  crew_options o = {.model = model, .copies = copies, .workers = workers ? (int)workers : t.count - 1, .slots = (int)most, .context = (int)context,
                    .wire = wire, .coordinator_args = &coordinator_args, .worker_args = &worker_args, .ready_ms = ready_s * 1000};
  json_t *doc = json_pack("{s:s, s:s, s:i, s:I, s:I}", "topology", path, "model", model, "workers", o.workers, "prompt_tokens",
                          (json_int_t)prompt, "predict_tokens", (json_int_t)predict);
  status = crew_make(&c, &l, &o, err);
  if (status == TRI_OK) status = measure(&c, counts, n, doc, err), crew_free(&c);
  tri_error none;
  if (lab_down(name, &none) != TRI_OK) fprintf(stderr, "trireme-lab: %s\n", none.text);
  if (status == TRI_OK && as_json) json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)), putchar('\n');
  else if (status == TRI_OK) show(doc);
  json_decref(doc);
  return status;
}

int lab_bench(int argc, char **argv) {
  tri_error err = {0};
  int given;
  bool helped = false;
  tri_status status = tri_args_parse(&spec, argc, argv, &given, &helped, &err);
  if (helped) return 0;
  if (status == TRI_OK && given != 1) status = tri_status_fail(&err, TRI_E_INVALID, "usage: %s %s", spec.command, spec.usage);
  if (status == TRI_OK) status = bench(argv[1], &err);
  if (status == TRI_OK) return 0;
  fprintf(stderr, "trireme-lab: %s\n", err.text);
  return tri_status_exit_code(status);
}
