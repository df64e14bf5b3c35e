/* SPDX-License-Identifier: MIT */
/* Scenarios about coming and going. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "tests/lab/cage.h"
#include "tests/lab/show.h"

static double sum_of(const json_t *part, int from, int to, const char *key) {
  double sum = 0;
  for (int i = from; i <= to; i++) sum += measure_node(part, i, key);
  return sum;
}

static double most_of(const json_t *part, int n, const char *key) {
  double most = 0;
  for (int i = 1; i <= n; i++) most = measure_node(part, i, key) > most ? measure_node(part, i, key) : most;
  return most;
}

/* --- cold-start --- */

static tri_status refused(show *s, crew *c, void *keep, tri_error *err) {
  (void)keep;
  tri_error why = {0};
  int64_t took_us;
  if (crew_start(c, &took_us, &why) == TRI_OK) return tri_status_fail(err, TRI_E_INVALID, "one node can hold %s: take a larger model", s->model);
  if (why.status != TRI_E_LIMIT) return tri_status_fail(err, why.status, "%s", why.text);
  show_text(s, "one node alone", why.text);
  return TRI_OK;
}

/* The names of the crew's workers, as --expect wants them, the other way around than they stand in the plan that serves. */
static void reverse(const json_t *status, tri_args_list *out) {
  json_t *workers = json_object_get(status, "workers");
  for (size_t i = json_array_size(workers); i-- > 0;) {
    json_t *w = json_array_get(workers, i);
    if (!json_object_get(w, "stage")) continue;
    out->items[out->count++] = "--expect";
    out->items[out->count++] = json_string_value(json_object_get(w, "name"));
  }
}

static tri_status start_again(show *s, crew *c, const char *key, json_t **part, tri_error *err) {
  crew_stop(c);
  tri_status status = measure_start(c, s->doc, key, err);
  *part = json_object_get(s->doc, key);
  return status;
}

static tri_status start_five(show *s, crew *c, void *keep, tri_error *err) {
  (void)keep;
  const measure_load one = {.streams = 1, .rounds = 1, .prompt = 16, .predict = 16};
  int n = c->options.workers;
  json_t *load, *part, *order = json_object();
  tri_args_list reversed = {0};
  struct stat file;
  tri_client *client = NULL;
  tri_status status = measure_start(c, s->doc, "cold", err);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  if (status == TRI_OK) status = measure_run(c, client, &one, &load, err);
  if (status == TRI_OK) status = measure_status(client, order, err);
  tri_client_close(&client);
  if (status != TRI_OK) return json_decref(order), status;
  part = json_object_get(s->doc, "cold");
  double sent = measure_node(part, 0, "sent_bytes");
  if (stat(s->model, &file) == 0) show_figure(s, "the model's file", (double)file.st_size / 1e6, "MB");
  show_figure(s, "cold start: until it serves", measure_number(part, "ready_s"), "s");
  show_figure(s, "cold start: the coordinator sends", sent / 1e6, "MB");
  show_at_least(s, "cold start: share of the coordinator's link, while it gives", 100 * measure_number(part, "feed_share_of_rate"), "%", 85);
  show_figure(s, "one stream", measure_number(load, "decode_tokens_per_s"), "tokens/s");
  json_object_set_new(s->doc, "load", load);
  measure_memory(c, s->doc);

  status = start_again(s, c, "warm", &part, err);
  if (status == TRI_OK) {
    show_figure(s, "warm start: until it serves", measure_number(part, "ready_s"), "s");
    /* What it would take on a core of its own, and not on a share of one. */
    show_at_most(s, "warm start: CPU time of the busiest node", most_of(part, n, "cpu_s"), "s", 5);
    show_at_most(s, "warm start: all nodes send", sum_of(part, 0, n, "sent_bytes") / 1e6, "MB", 1);
    reverse(json_object_get(order, "status"), &reversed);
    c->options.coordinator_args = &reversed;
    status = start_again(s, c, "turned", &part, err);
  }
  if (status == TRI_OK) {
    double got = sum_of(part, 1, n, "received_bytes"), of_peers = sum_of(part, 1, n, "sent_bytes");
    show_figure(s, "stages in the opposite order: until it serves", measure_number(part, "ready_s"), "s");
    show_figure(s, "stages in the opposite order: workers get", got / 1e6, "MB");
    show_at_most(s, "stages in the opposite order: of it from the coordinator", 100 * measure_node(part, 0, "sent_bytes") / got, "%", 60);
    show_figure(s, "stages in the opposite order: workers send", of_peers / 1e6, "MB");
  }
  json_decref(order);
  return status;
}

tri_status show_cold_start(show *s, tri_error *err) {
  enum { CONTEXT = 256 };
  lab_topology t;
  crew_options o = show_options(s, 1, 1);
  o.copies = false, o.quiet = true, o.context = CONTEXT;
  tri_status status = show_topology(&t, "gigabit.toml", err);
  if (status == TRI_OK) status = show_crew(s, &t, &o, refused, NULL, err);
  o.workers = t.count - 1, o.quiet = false;
  return status == TRI_OK ? show_crew(s, &t, &o, start_five, NULL, err) : status;
}

/* --- many --- */

static tri_status come_and_go(show *s, crew *c, void *keep, tri_error *err) {
  enum { IDLE_S = 10 };
  const measure_load load = {.streams = 8, .rounds = 1, .prompt = 8, .predict = 16};
  int n = c->options.workers, stages = 0;
  json_t *part, *worker, *item;
  size_t i;
  tri_client *client = NULL;
  (void)keep;
  tri_status status = measure_start(c, s->doc, "start", err);
  if (status != TRI_OK) return status;
  show_figure(s, "until all have joined, have their layers and serve", measure_number(json_object_get(s->doc, "start"), "ready_s"), "s");
  measure_idle(c, IDLE_S, s->doc);
  part = json_object_get(s->doc, "idle");
  show_at_most(s, "coordinator at rest", 100 * measure_node(part, 0, "core_share"), "% of core", 5);
  show_figure(s, "coordinator at rest: sends", measure_node(part, 0, "sent_bytes") / IDLE_S, "B/s");
  show_figure(s, "all workers at rest", 100 * sum_of(part, 1, n, "core_share"), "% of core");
  status = crew_dial(&client, c, err);
  if (status == TRI_OK) status = measure_run(c, client, &load, &item, err);
  if (status == TRI_OK) json_object_set_new(s->doc, "load", item), status = measure_status(client, s->doc, err);
  tri_client_close(&client);
  if (status != TRI_OK) return status;
  json_array_foreach(json_object_get(json_object_get(s->doc, "status"), "workers"), i, worker) stages += json_object_get(worker, "stage") != NULL;
  show_at_least(s, "workers with layers", stages, "", n);
  show_figure(s, "eight streams", measure_number(item, "tokens_per_s"), "tokens/s");
  int64_t from_ms = tri_clock_ms();
  show_at_most(s, "workers that had to be killed, asked to end", crew_stop_workers(c), "", 0);
  show_figure(s, "until all are gone", (double)(tri_clock_ms() - from_ms) / 1e3, "s");
  status = crew_dial(&client, c, err);
  if (status == TRI_OK) status = measure_status(client, s->doc, err);
  tri_client_close(&client);
  if (status == TRI_OK) show_text(s, "the coordinator's state after that", json_string_value(json_object_get(json_object_get(s->doc, "status"), "state")));
  return status;
}

tri_status show_many(show *s, tri_error *err) {
  enum { CONTEXT = 64, SLOTS = 8 };
  static const tri_args_list all = {.items = {"--all-workers"}, .count = 1}, single = {.items = {"-t", "1"}, .count = 2};
  lab_topology t;
  crew_options o = show_options(s, 1, SLOTS);
  tri_status status = show_topology(&t, "many.toml", err);
  o.copies = false, o.context = CONTEXT, o.workers = t.count - 1, o.coordinator_args = &all, o.worker_args = &single;
  return status == TRI_OK ? show_crew(s, &t, &o, come_and_go, NULL, err) : status;
}
