/* SPDX-License-Identifier: MIT */
#include "tests/lab/bench.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/units.h"
#include "tests/lab/cage.h"
#include "tests/lab/crew.h"

enum { STREAMS = 64, WAIT_MS = 300000, COUNTS = 8 };

static const char *name = "bench", *model, *wire = "int8", *streams_text = "1,8";
static int64_t workers, predict = 32, prompt = 16, context = 256, idle_s, ready_s = 300;
static bool again, as_json, copies;
static tri_args_list coordinator_args, worker_args;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &model, "FILE", "The model, a GGUF file.", 0, 0},
    {"workers", 'w', TRI_ARG_INT, &workers, "N", "Workers in the first N nodes after the coordinator's (default: in all).", 1, LAB_NODES},
    {"streams", 0, TRI_ARG_STRING, &streams_text, "N,N", "So many requests at once, one count after the other (default 1,8).", 0, 0},
    {"predict", 'n', TRI_ARG_INT, &predict, "N", "Tokens of each answer (default 32).", 2, 1 << 20},
    {"prompt", 'p', TRI_ARG_INT, &prompt, "N", "Tokens of each prompt (default 16).", 1, 1 << 16},
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

/* --- what was used --- */

typedef struct snapshot {
  int64_t at_us;
  struct { int64_t cpu_us, sent, received; } nodes[LAB_NODES];
} snapshot;

static snapshot look(const crew *c) {
  snapshot s = {.at_us = tri_clock_us()};
  for (int i = 0; i <= c->options.workers; i++) {
    lab_traffic t = lab_read_traffic(c->lab, i);
    s.nodes[i].cpu_us = lab_cage_read(c->lab->name, c->lab->topology.nodes[i].name).cpu_us;
    s.nodes[i].sent = t.sent, s.nodes[i].received = t.received;
  }
  return s;
}

/* By node, what was used between two looks: seconds of CPU and its share of a core, bytes over the link and its share of the rate. */
static json_t *used(const crew *c, const snapshot *from, const snapshot *to) {
  json_t *out = json_array();
  double us = (double)(to->at_us - from->at_us);
  for (int i = 0; i <= c->options.workers; i++) {
    const lab_node *n = &c->lab->topology.nodes[i];
    int64_t cpu_us = to->nodes[i].cpu_us - from->nodes[i].cpu_us, sent = to->nodes[i].sent - from->nodes[i].sent;
    int64_t received = to->nodes[i].received - from->nodes[i].received;
    json_t *item = json_pack("{s:s, s:f, s:f, s:I, s:I}", "node", n->name, "cpu_s", (double)cpu_us / 1e6, "core_share",
                             (double)cpu_us / us, "sent_bytes", (json_int_t)sent, "received_bytes", (json_int_t)received);
    if (n->rate) json_object_set_new(item, "sent_share_of_rate", json_real((double)sent * 8e6 / us / (double)n->rate));
    json_array_append_new(out, item);
  }
  return out;
}

/* --- phases --- */

static tri_status measure_start(crew *c, json_t *doc, const char *key, tri_error *err) {
  snapshot before = look(c), after;
  int64_t took_us = 0;
  tri_status status = crew_start(c, &took_us, err);
  if (status != TRI_OK) return status;
  after = look(c);
  json_object_set_new(doc, key, json_pack("{s:f, s:o}", "ready_s", (double)took_us / 1e6, "nodes", used(c, &before, &after)));
  return TRI_OK;
}

static void measure_idle(const crew *c, json_t *doc) {
  snapshot before = look(c), after;
  poll(NULL, 0, (int)idle_s * 1000);
  after = look(c);
  double s = (double)(after.at_us - before.at_us) / 1e6;
  json_object_set_new(doc, "idle", json_pack("{s:f, s:o}", "s", s, "nodes", used(c, &before, &after)));
}

/* Several requests at once, all alike. */
typedef struct load {
  int n, answered, begun, done;
  uint64_t jobs[STREAMS];
  int64_t first_us[STREAMS]; /* since the submits; 0: none yet */
  int64_t from_us, tokens;
  int64_t all_us, all_tokens; /* when the last of them had its first token */
  int64_t end_us, end_tokens; /* when the first of them was done */
} load;

static int stream_of(const load *l, uint64_t job) {
  for (int i = 0; i < l->answered; i++)
    if (l->jobs[i] == job) return i;
  return -1;
}

static tri_status take(load *l, const tri_client_event *e, tri_error *err) {
  int64_t now = tri_clock_us();
  if (e->msg->kind == TRI_MSG_ACCEPTED && l->answered < l->n) l->jobs[l->answered++] = e->msg->accepted.job;
  if (e->msg->kind == TRI_MSG_REFUSE) return tri_status_fail(err, TRI_E_DENIED, "the coordinator refuses: %s", e->msg->refuse.text);
  if (e->msg->kind == TRI_MSG_TOKENS) {
    int i = stream_of(l, e->msg->tokens.job);
    l->tokens += e->msg->tokens.n_tokens;
    if (i >= 0 && !l->first_us[i] && e->msg->tokens.n_tokens) l->first_us[i] = now - l->from_us, l->begun++;
    if (l->begun == l->n && !l->all_us) l->all_us = now, l->all_tokens = l->tokens;
  }
  if (e->msg->kind == TRI_MSG_DONE) {
    if (e->msg->done.reason == TRI_DONE_FAILED) return tri_status_fail(err, TRI_E_INTERNAL, "a request failed: %s", e->msg->done.error);
    if (!l->done++) l->end_us = now, l->end_tokens = l->tokens;
  }
  return TRI_OK;
}

static tri_status run_load(tri_client *client, load *l, int vocab, tri_error *err) {
  tri_msg_submit m = {.want = TRI_WANT_SAMPLE, .predict = (uint32_t)predict, .ids = true, .ignore_end = true,
                      .sampling = {.temperature = 0, .top_p = 1, .repeat_penalty = 1}};
  int32_t *ids = malloc((size_t)prompt * sizeof *ids);
  if (!ids) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = TRI_OK;
  l->from_us = tri_clock_us();
  for (int s = 0; s < l->n && status == TRI_OK; s++) {
    for (int64_t i = 0; i < prompt; i++) ids[i] = (int32_t)((s * 131 + i * 37 + 5) % vocab);
    status = tri_client_submit(client, &m, ids, (size_t)prompt * sizeof *ids, err);
  }
  while (status == TRI_OK && l->done < l->n) {
    tri_client_event e;
    status = tri_client_next(client, &e, WAIT_MS, err);
    if (status == TRI_OK) status = take(l, &e, err);
  }
  free(ids);
  return status;
}

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static tri_status measure_load(const crew *c, tri_client *client, int n, int vocab, json_t *out, tri_error *err) {
  load l = {.n = n};
  snapshot before = look(c), after;
  tri_status status = run_load(client, &l, vocab, err);
  if (status != TRI_OK) return status;
  after = look(c);
  qsort(l.first_us, (size_t)n, sizeof *l.first_us, by_time);
  double in_all = (double)l.tokens * 1e6 / (double)(after.at_us - l.from_us);
  json_t *item = json_pack("{s:i, s:I, s:I, s:f, s:f, s:o}", "streams", n, "tokens", (json_int_t)l.tokens, "rows",
                           (json_int_t)(n * prompt + l.tokens - n), "tokens_per_s", in_all, "first_token_ms",
                           (double)l.first_us[n / 2] / 1e3, "nodes", used(c, &before, &after));
  double together = l.all_us ? (double)(l.end_us - l.all_us) : 0; /* all were under way */
  if (together > 0)
    json_object_set_new(item, "decode_tokens_per_s", json_real((double)(l.end_tokens - l.all_tokens) * 1e6 / together));
  return json_array_append_new(out, item), TRI_OK;
}

static void measure_memory(const crew *c, json_t *doc) {
  json_t *out = json_array();
  for (int i = 0; i <= c->options.workers; i++) {
    const char *node = c->lab->topology.nodes[i].name;
    json_array_append_new(out, json_pack("{s:s, s:I, s:I}", "node", node, "peak_rss_bytes", (json_int_t)crew_peak(c, i), "peak_group_bytes",
                                         (json_int_t)lab_cage_read(c->lab->name, node).peak));
  }
  json_object_set_new(doc, "memory", out);
}

static tri_status fetch_status(tri_client *client, json_t *doc, int *vocab, tri_error *err) {
  tri_buf text = {0};
  tri_status status = tri_client_status(client, &text, WAIT_MS, err);
  json_t *told = status == TRI_OK ? json_loadb((char *)text.data, text.len, 0, NULL) : NULL;
  tri_buf_free(&text);
  if (status != TRI_OK) return status;
  if (json_unpack(told, "{s:{s:i}}", "model", "vocab", vocab) != 0 || *vocab < 1)
    return json_decref(told), tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's status doesn't tell the vocabulary");
  return json_object_set_new(doc, "status", told), TRI_OK;
}

static tri_status measure(crew *c, const int64_t *counts, int n_counts, json_t *doc, tri_error *err) {
  tri_client *client = NULL;
  json_t *loads = json_array();
  int vocab = 0;
  tri_status status = measure_start(c, doc, "start", err);
  if (status == TRI_OK && idle_s) measure_idle(c, doc);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  if (status == TRI_OK) status = fetch_status(client, doc, &vocab, err);
  for (int i = 0; i < n_counts && status == TRI_OK; i++) status = measure_load(c, client, (int)counts[i], vocab, loads, err);
  json_object_set_new(doc, "loads", loads);
  if (status == TRI_OK) status = fetch_status(client, doc, &vocab, err); /* with each stage's figures */
  if (status == TRI_OK) measure_memory(c, doc);
  tri_client_close(&client);
  if (status != TRI_OK || !again) return status;
  crew_stop(c);
  return measure_start(c, doc, "again", err);
}

/* --- for people --- */

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void show_nodes(const json_t *part, double rows) {
  size_t i;
  json_t *n;
  printf("  %-11s %8s %8s %10s %10s %8s%s\n", "node", "cpu s", "core", "sent", "received", "of rate", rows > 0 ? "  sent/row" : "");
  json_array_foreach(json_object_get(part, "nodes"), i, n) {
    printf("  %-11s %8.2f %7.1f%% %10s %10s %7.1f%%", json_string_value(json_object_get(n, "node")), number(n, "cpu_s"),
           100 * number(n, "core_share"), TRI_UNITS(number(n, "sent_bytes")), TRI_UNITS(number(n, "received_bytes")),
           100 * number(n, "sent_share_of_rate"));
    if (rows > 0) printf("  %8.0f", number(n, "sent_bytes") / rows);
    putchar('\n');
  }
}

static void show(const json_t *doc) {
  static const char *const starts[] = {"start", "again"};
  size_t i;
  json_t *item;
  for (int k = 0; k < 2; k++) {
    const json_t *start = json_object_get(doc, starts[k]);
    if (start) printf("%s: serves after %.2f s\n", starts[k], number(start, "ready_s")), show_nodes(start, 0);
  }
  if (json_object_get(doc, "idle")) puts("idle"), show_nodes(json_object_get(doc, "idle"), 0);
  json_array_foreach(json_object_get(doc, "loads"), i, item) {
    printf("%.0f at once: %.2f tokens/s in all", number(item, "streams"), number(item, "tokens_per_s"));
    if (json_object_get(item, "decode_tokens_per_s")) printf(", %.2f while all were under way", number(item, "decode_tokens_per_s"));
    printf("; first token after %.0f ms (median)\n", number(item, "first_token_ms"));
    show_nodes(item, number(item, "rows"));
  }
  puts("most memory: resident, and of the control group");
  json_array_foreach(json_object_get(doc, "memory"), i, item)
    printf("  %-11s %10s %10s\n", json_string_value(json_object_get(item, "node")), TRI_UNITS(number(item, "peak_rss_bytes")),
           TRI_UNITS(number(item, "peak_group_bytes")));
}

/* --- all of it --- */

static tri_status read_counts(int64_t out[COUNTS], int *n, int64_t *most, tri_error *err) {
  const char *at = streams_text;
  *n = 0, *most = 1;
  for (char *end;; at = end + 1) {
    long v = strtol(at, &end, 10);
    if (end == at || (*end && *end != ',') || v < 1 || v > STREAMS || *n == COUNTS)
      return tri_status_fail(err, TRI_E_INVALID, "--streams %s: up to %d numbers from 1 to %d", streams_text, COUNTS, STREAMS);
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
