/* SPDX-License-Identifier: MIT */
/* Scenarios about plans and what comes of them. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lab/show.h"

static const tri_args_list single = {.items = {"-t", "1"}, .count = 2};

/* --- hop --- */

typedef struct totals {
  double busy_ms, rows, stages, d, row_bytes; /* of what the first stage sends on: messages, without ZeroMQ's and TCP's headers */
} totals;
static totals total(const json_t *status) {
  totals t = {.d = measure_number(json_object_get(status, "model"), "d")};
  size_t i;
  json_t *w;
  json_array_foreach(json_object_get(status, "workers"), i, w) {
    if (!json_object_get(w, "stage")) continue;
    t.busy_ms += measure_number(w, "ms_per_token") * measure_number(w, "rows");
    t.rows = measure_number(w, "rows");
    if (!t.stages++) t.row_bytes = measure_number(w, "bytes_per_token");
  }
  return t;
}

/* What a byte takes from one node to another and back over bare TCP, halved: us. 0: unknown. */
static double wire_us(const crew *c) {
  enum { ECHO = 1, PING = 2 };
  char probe[PATH_MAX], address[16], said[64] = "";
  int echo_fds[2], ping_fds[2];
  tri_error err;
  crew_program(probe, "lab_probe");
  lab_topology_address(ECHO, address);
  if (pipe2(echo_fds, O_CLOEXEC) != 0) return 0;
  if (pipe2(ping_fds, O_CLOEXEC) != 0) return close(echo_fds[0]), close(echo_fds[1]), 0;
  pid_t echo = lab_spawn(c->lab, ECHO, (const char *const[]){probe, "echo", NULL}, echo_fds[1], -1, &err), ping = -1;
  if (echo > 0 && read(echo_fds[0], said, sizeof said - 1) > 0) /* it listens */
    ping = lab_spawn(c->lab, PING, (const char *const[]){probe, "ping", address, NULL}, ping_fds[1], -1, &err);
  ssize_t n = ping > 0 ? read(ping_fds[0], said, sizeof said - 1) : 0;
  said[n > 0 ? n : 0] = 0;
  if (echo > 0) kill(echo, SIGKILL), waitpid(echo, NULL, 0);
  if (ping > 0) waitpid(ping, NULL, 0);
  const int fds[] = {echo_fds[0], echo_fds[1], ping_fds[0], ping_fds[1]};
  for (int i = 0; i < 4; i++) close(fds[i]);
  return atof(said) * 1e3 / 2;
}

static tri_status hop(show *s, crew *c, void *keep, tri_error *err) {
  enum { ROUNDS = 7, TOKENS = 100 };
  const measure_load load = {.streams = 1, .rounds = 1, .prompt = 1, .predict = TOKENS};
  double us[MEASURE_ROUNDS], bytes[MEASURE_ROUNDS];
  int rounds = s->rounds ? (int)s->rounds : ROUNDS;
  tri_client *client = NULL;
  json_t *status_doc = json_object(), *item, *all = json_array();
  totals before = {0}, after = {0};
  (void)keep;
  tri_status status = measure_start(c, s->doc, "start", err);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  for (int i = 0; i < rounds && status == TRI_OK; i++) {
    if ((status = measure_status(client, status_doc, err)) != TRI_OK) break;
    before = total(json_object_get(status_doc, "status"));
    if ((status = measure_run(c, client, &load, &item, err)) != TRI_OK) break;
    measure_idle(c, 1, status_doc); /* the workers' counters come with their signs of life */
    if ((status = measure_status(client, status_doc, err)) == TRI_OK) after = total(json_object_get(status_doc, "status"));
    double rows = after.rows - before.rows, ms = 1e3 / measure_number(item, "decode_tokens_per_s") - (after.busy_ms - before.busy_ms) / rows;
    us[i] = 1e3 * ms / (after.stages + 1), bytes[i] = measure_node(item, 1, "sent_bytes") / rows;
    json_array_append_new(all, json_pack("{s:f, s:f}", "us", us[i], "bytes", bytes[i]));
    json_decref(item);
  }
  tri_client_close(&client);
  json_object_set_new(s->doc, "rounds", all);
  json_decref(status_doc);
  if (status != TRI_OK) return status;
  show_figure(s, "a row's values (d)", after.d, "");
  show_figure(s, "hops of a token, with those from and to the coordinator", after.stages + 1, "");
  double hop_us = measure_median(us, rounds), wire = wire_us(c);
  show_figure(s, "a hop beside computing, median of the rounds", hop_us, "us");
  show_figure(s, "of it the wire: half a round trip of bare TCP here", wire, "us");
  show_at_most(s, "the rest: encryption, messages, threads", hop_us - wire, "us", 150);
  show_at_most(s, "a row's message to the next stage", after.row_bytes, "B", 1.1 * after.d + 100);
  show_figure(s, "on the link, all headers and acknowledgements", measure_median(bytes, rounds), "B");
  return TRI_OK;
}

tri_status show_hop(show *s, tri_error *err) {
  enum { STAGES = 3 };
  static const tri_args_list all = {.items = {"--all-workers"}, .count = 1};
  lab_topology t;
  crew_options o = show_options(s, STAGES, 1);
  show_nodes(&t, STAGES, 0, 0, 0);
  o.coordinator_args = &all, o.worker_args = &single;
  return show_crew(s, &t, &o, hop, NULL, err);
}

/* --- splits by hand --- */

/* Has the coordinator keep to these numbers of layers, the first ones on the last node; 0: none. NULL: as it likes. */
static tri_status force(crew *c, const int *layers, tri_args_list *list, char path[PATH_MAX], tri_error *err) {
  *list = (tri_args_list){0};
  c->options.coordinator_args = list;
  if (!layers) return TRI_OK;
  snprintf(path, PATH_MAX, "%s/nodes.toml", c->folder.path);
  FILE *f = fopen(path, "we");
  if (!f) return tri_status_fail(err, TRI_E_IO, "cannot write %s", path);
  for (int i = c->options.workers - 1, first = 0; i >= 0; first += layers[i--]) {
    fprintf(f, "[[node]]\nname = \"%s\"\n", c->lab->topology.nodes[i + 1].name);
    if (layers[i]) fprintf(f, "layers = \"%d-%d\"\n", first, first + layers[i] - 1);
    else fprintf(f, "exclude = true\n");
  }
  list->items[list->count++] = "--nodes", list->items[list->count++] = path;
  return fclose(f) == 0 ? TRI_OK : tri_status_fail(err, TRI_E_IO, "cannot write %s", path);
}

/* "fast 0-9, slow 10-11" */
static void describe(const json_t *status, char out[256]) {
  size_t i, n = 0;
  json_t *w;
  *out = 0;
  json_array_foreach(json_object_get(status, "workers"), i, w)
    if (json_object_get(w, "stage") && n < 200)
      n += (size_t)snprintf(out + n, 256 - n, "%s%s %.0f-%.0f", n ? ", " : "", json_string_value(json_object_get(w, "name")),
                            measure_number(w, "first"), measure_number(w, "last"));
}

/* Tokens/s under one split; the crew is ended again. */
static tri_status try_split(crew *c, const int *layers, const measure_load *l, double *per_s, char plan[256], tri_error *err) {
  char path[PATH_MAX];
  tri_args_list list;
  json_t *item;
  tri_status status = force(c, layers, &list, path, err);
  if (status == TRI_OK) status = show_load(c, l, &item, err);
  crew_stop(c);
  if (status != TRI_OK) return status;
  *per_s = measure_number(item, "decode_tokens_per_s");
  if (*per_s == 0) *per_s = measure_number(item, "tokens_per_s");
  describe(json_object_get(item, "status"), plan);
  return json_decref(item), TRI_OK;
}

/* Two splits in turn, so that what others do on this machine hits both; medians. */
static tri_status compare(show *s, crew *c, const int *a, const int *b, const measure_load *l, double out[2], char plans[2][256], tri_error *err) {
  double per_s[2][MEASURE_ROUNDS];
  const int *const both[] = {a, b};
  int rounds = s->rounds ? (int)s->rounds : 3;
  tri_status status = TRI_OK;
  for (int i = 0; i < 2 * rounds && status == TRI_OK; i++) status = try_split(c, both[i % 2], l, &per_s[i % 2][i / 2], plans[i % 2], err);
  for (int k = 0; k < 2 && status == TRI_OK; k++) out[k] = measure_median(per_s[k], rounds);
  return status;
}

/* --- split --- */

static tri_status unlike(show *s, crew *c, void *keep, tri_error *err) {
  const measure_load load = {.streams = c->options.slots, .rounds = 1, .prompt = 8, .predict = 24};
  const int *equal = keep;
  double per_s[2];
  char plans[2][256];
  tri_status status = compare(s, c, NULL, equal, &load, per_s, plans, err);
  if (status != TRI_OK) return status;
  show_text(s, "the planner's", plans[0]), show_text(s, "equal parts", plans[1]);
  show_figure(s, "the planner's split", per_s[0], "tokens/s");
  show_figure(s, "equal parts", per_s[1], "tokens/s");
  show_at_least(s, "the planner's is faster by", per_s[0] / per_s[1], "times", 1.3);
  return TRI_OK;
}

/* Layers of the model, by the program that shows it. */
static tri_status layers_of(const show *s, int *out, tri_error *err) {
  json_t *doc;
  const char *const words[] = {"inspect", s->model, "--json", NULL};
  tri_status status = crew_ask(NULL, words, &doc, err);
  if (status != TRI_OK) return status;
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(doc, "metadata"), key, value) {
    size_t n = strlen(key), m = strlen(".block_count");
    if (n > m && strcmp(key + n - m, ".block_count") == 0) *out = (int)json_integer_value(value);
  }
  json_decref(doc);
  return *out > 0 ? TRI_OK : tri_status_fail(err, TRI_E_PROTOCOL, "`trireme inspect` doesn't tell the number of layers");
}

tri_status show_split(show *s, tri_error *err) {
  enum { STREAMS = 10 };
  lab_topology t;
  int layers = 0, equal[LAB_NODES] = {0};
  tri_status status = show_topology(&t, "mixed.toml", err);
  if (status == TRI_OK) status = layers_of(s, &layers, err);
  if (status != TRI_OK) return status;
  int n = t.count - 1;
  for (int i = 0; i < n; i++) equal[i] = layers / n + (i < layers % n);
  crew_options o = show_options(s, n, STREAMS);
  return show_crew(s, &t, &o, unlike, equal, err);
}

/* --- best-split --- */

enum { THREE = 3 };

static tri_status all_splits(show *s, crew *c, void *keep, tri_error *err) {
  const measure_load load = {.streams = c->options.slots, .rounds = 1, .prompt = 4, .predict = 16};
  const measure_load longer = {.streams = c->options.slots, .rounds = 1, .prompt = 4, .predict = 64};
  int layers = *(int *)keep, best[THREE] = {0}, n = 0;
  double most = 0, per_s, both[2];
  char plan[256], plans[2][256];
  json_t *all = json_array();
  tri_status status = TRI_OK;
  for (int a = 0; a <= layers; a++)
    for (int b = 0; a + b <= layers && status == TRI_OK; b++, n++) {
      const int split[] = {a, b, layers - a - b};
      status = try_split(c, split, &load, &per_s, plan, err);
      if (status != TRI_OK) break;
      json_array_append_new(all, json_pack("{s:s, s:f}", "plan", plan, "tokens_per_s", per_s));
      if (per_s > most) most = per_s, memcpy(best, split, sizeof best);
    }
  json_object_set_new(s->doc, "splits", all);
  if (status == TRI_OK) status = compare(s, c, NULL, best, &longer, both, plans, err);
  if (status != TRI_OK) return status;
  show_figure(s, "splits tried", n, "");
  show_text(s, "the best of all", plans[1]), show_text(s, "the planner's", plans[0]);
  show_figure(s, "the best of all, once more", both[1], "tokens/s");
  show_figure(s, "the planner's", both[0], "tokens/s");
  show_at_least(s, "the planner's, of the best's", 100 * both[0] / both[1], "%", 95);
  return TRI_OK;
}

tri_status show_best_split(show *s, tri_error *err) {
  enum { LAYERS = 10, STREAMS = 6 };
  static const double cpu[] = {60, 30, 15};
  lab_topology t;
  int layers = 0;
  tri_status status = layers_of(s, &layers, err);
  if (status != TRI_OK) return status;
  if (layers > LAYERS)
    return tri_status_fail(err, TRI_E_LIMIT, "%d layers have too many splits to try all: make a model with `trireme make-dummy --layers 6`", layers);
  show_nodes(&t, THREE, 0, 1000000000, 0);
  for (int i = 0; i < THREE; i++) t.nodes[i + 1].cpu = cpu[i];
  crew_options o = show_options(s, THREE, STREAMS);
  return show_crew(s, &t, &o, all_splits, &layers, err);
}

/* --- prediction --- */

static tri_status predict(const show *s, crew *c, json_t **out, tri_error *err) {
  char key[PATH_MAX];
  snprintf(key, sizeof key, "%s/client", c->folder.path);
  const char *const words[] = {"plan", "-m", s->model, "--coordinator", c->endpoint, "--key", key, "--json", NULL};
  return crew_ask(c, words, out, err);
}

static void say(show *s, const char *what, double expected, double measured) {
  char text[96];
  snprintf(text, sizeof text, "%s: expected", what);
  show_figure(s, text, expected, "tokens/s");
  snprintf(text, sizeof text, "%s: measured", what);
  show_figure(s, text, measured, "tokens/s");
  snprintf(text, sizeof text, "%s: expectation off by", what);
  show_at_most(s, text, 100 * fabs(expected / measured - 1), "%", 15);
}

static tri_status foretell(show *s, crew *c, void *keep, tri_error *err) {
  int streams = c->options.slots, rounds = s->rounds ? (int)s->rounds : 3, n = c->options.workers;
  const measure_load one = {.streams = 1, .rounds = rounds, .prompt = 4, .predict = 48};
  const measure_load many = {.streams = streams, .rounds = rounds, .prompt = 4, .predict = 48};
  const measure_load *load = streams > 1 ? &many : &one;
  char text[96];
  json_t *item, *plan;
  (void)keep;
  tri_status status = show_load(c, load, &item, err);
  if (status != TRI_OK) return status;
  status = predict(s, c, &plan, err);
  if (status == TRI_OK) {
    snprintf(text, sizeof text, "%d workers, %s", n, streams > 1 ? "many streams" : "one stream");
    say(s, text, measure_number(plan, streams > 1 ? "many_tokens_per_s" : "one_tokens_per_s"), measure_number(item, "decode_tokens_per_s"));
    json_decref(plan);
  }
  return json_decref(item), status;
}

tri_status show_prediction(show *s, tri_error *err) {
  static const tri_args_list all = {.items = {"--all-workers"}, .count = 1};
  tri_status status = TRI_OK;
  for (int n = 2; n <= THREE && status == TRI_OK; n++) {
    lab_topology t;
    crew_options o = show_options(s, n, 1);
    show_nodes(&t, n, 0, 1000000000, 0);
    o.coordinator_args = &all, o.worker_args = &single;
    status = show_crew(s, &t, &o, foretell, NULL, err);
    /* Many streams have all stages busy at once: on shares of a core, so that this machine has enough of them. */
    show_nodes(&t, n, 30, 1000000000, 0);
    o.slots = 2 * n;
    if (status == TRI_OK) status = show_crew(s, &t, &o, foretell, NULL, err);
  }
  return status;
}

/* --- scaling --- */

typedef struct network {
  const char *name;
  int64_t rate;
  double delay_ms;
} network;

static tri_status scale(show *s, crew *c, void *keep, tri_error *err) {
  const network *net = keep;
  int n = c->options.workers, rounds = s->rounds ? (int)s->rounds : 3;
  const measure_load loads[] = {{.streams = 1, .rounds = rounds, .prompt = 8, .predict = 16},
                                {.streams = 2 * n, .rounds = rounds, .prompt = 8, .predict = 16},
                                {.streams = 1, .rounds = 1, .prompt = 512, .predict = 2}};
  static const char *const names[] = {"one", "many", "prompt"}, *const keys[] = {"decode_tokens_per_s", "decode_tokens_per_s", "prefill_tokens_per_s"};
  static const char *const words[] = {"one stream", "2 streams a node", "a prompt of 512"};
  tri_client *client = NULL;
  json_t *part = json_pack("{s:i, s:s}", "nodes", n, "network", net->name), *item;
  char text[96], plan[256];
  json_array_append_new(json_object_get(s->doc, "runs"), part);
  tri_status status = measure_start(c, part, "start", err);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  for (int i = 0; i < 3 && status == TRI_OK; i++) {
    status = measure_run(c, client, &loads[i], &item, err);
    if (status != TRI_OK) break;
    snprintf(text, sizeof text, "%d nodes, %s: %s", n, net->name, words[i]);
    show_figure(s, text, measure_number(item, keys[i]), "tokens/s");
    json_object_set_new(part, names[i], item);
  }
  if (status == TRI_OK) status = measure_status(client, part, err);
  if (status == TRI_OK) describe(json_object_get(part, "status"), plan), show_text(s, "  of", plan);
  tri_client_close(&client);
  return status;
}

tri_status show_scaling(show *s, tri_error *err) {
  static const network networks[] = {{"1 Gbit/s", 1000000000, 0}, {"100 Mbit/s and 2 ms", 100000000, 2}};
  static const int counts[] = {1, 2, 4, 8};
  static const tri_args_list all = {.items = {"--all-workers"}, .count = 1};
  tri_status status = TRI_OK;
  json_object_set_new(s->doc, "runs", json_array());
  for (int k = s->network == 2; k < (s->network == 1 ? 1 : 2); k++)
    for (int i = 0; i < (s->nodes ? 1 : 4) && status == TRI_OK; i++) {
      int n = s->nodes ? (int)s->nodes : counts[i];
      lab_topology t;
      network net = networks[k];
      crew_options o = show_options(s, n, 2 * n);
      show_nodes(&t, n, s->cpu > 0 ? s->cpu : 20, net.rate, net.delay_ms);
      o.coordinator_args = &all;
      status = show_crew(s, &t, &o, scale, &net, err);
    }
  return status;
}
