/* SPDX-License-Identifier: MIT */
#include "tests/lab/measure.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "tests/lab/cage.h"

enum { WAIT_MS = 300000, SAMPLES = 8192 };

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

/* --- starting --- */

/* What the coordinator had sent, again and again while the crew starts. */
typedef struct feed {
  const crew *crew;
  int n;
  int64_t at_us[SAMPLES], sent[SAMPLES];
} feed;

static void sample(void *arg) {
  feed *f = arg;
  if (f->n == SAMPLES) return;
  f->at_us[f->n] = tri_clock_us();
  f->sent[f->n++] = lab_read_traffic(f->crew->lab, 0).sent;
}

/* When it had sent so much, between the samples. */
static double when(const feed *f, double sent) {
  int i = 1;
  while (i < f->n - 1 && (double)f->sent[i] < sent) i++;
  double step = (double)(f->sent[i] - f->sent[i - 1]), part = step > 0 ? (sent - (double)f->sent[i - 1]) / step : 1;
  return (double)f->at_us[i - 1] + part * (double)(f->at_us[i] - f->at_us[i - 1]);
}

static void add_feed(const feed *f, json_t *item) {
  double rate = (double)f->crew->lab->topology.nodes[0].rate;
  if (f->n < 2) return;
  double first = (double)f->sent[0], all = (double)(f->sent[f->n - 1] - f->sent[0]);
  double us = when(f, first + 0.95 * all) - when(f, first + 0.05 * all);
  json_object_set_new(item, "feed_s", json_real(us / 1e6));
  if (us > 0 && rate > 0) json_object_set_new(item, "feed_share_of_rate", json_real(0.9 * all * 8e6 / us / rate));
}

tri_status measure_start(crew *c, json_t *doc, const char *key, tri_error *err) {
  feed *f = calloc(1, sizeof *f);
  if (!f) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  f->crew = c;
  c->look = sample, c->look_arg = f;
  snapshot before = look(c), after;
  int64_t took_us = 0;
  sample(f);
  tri_status status = crew_start(c, &took_us, err);
  sample(f);
  after = look(c);
  c->look = NULL;
  if (status == TRI_OK) {
    json_t *item = json_pack("{s:f, s:o}", "ready_s", (double)took_us / 1e6, "nodes", used(c, &before, &after));
    add_feed(f, item);
    json_object_set_new(doc, key, item);
  }
  return free(f), status;
}

/* --- at rest --- */

void measure_idle(const crew *c, int64_t seconds, json_t *doc) {
  snapshot before = look(c), after;
  poll(NULL, 0, (int)seconds * 1000);
  after = look(c);
  json_object_set_new(doc, "idle", json_pack("{s:f, s:o}", "s", (double)(after.at_us - before.at_us) / 1e6, "nodes", used(c, &before, &after)));
}

void measure_memory(const crew *c, json_t *doc) {
  json_t *out = json_array();
  for (int i = 0; i <= c->options.workers; i++) {
    const char *node = c->lab->topology.nodes[i].name;
    json_array_append_new(out, json_pack("{s:s, s:I, s:I}", "node", node, "peak_rss_bytes", (json_int_t)crew_peak(c, i), "peak_group_bytes",
                                         (json_int_t)lab_cage_read(c->lab->name, node).peak));
  }
  json_object_set_new(doc, "memory", out);
}

tri_status measure_status(tri_client *client, json_t *doc, tri_error *err) {
  tri_buf text = {0};
  tri_status status = tri_client_status(client, &text, WAIT_MS, err);
  json_t *told = status == TRI_OK ? json_loadb((char *)text.data, text.len, 0, NULL) : NULL;
  tri_buf_free(&text);
  if (status != TRI_OK) return status;
  if (!told) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's status is no JSON");
  return json_object_set_new(doc, "status", told), TRI_OK;
}

/* --- under load --- */

/* Several requests at once, all alike. */
typedef struct load {
  int n, answered, begun, done;
  uint64_t jobs[MEASURE_STREAMS];
  int64_t first_us[MEASURE_STREAMS]; /* since the submits; 0: none yet */
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

static tri_status run_load(tri_client *client, load *l, const measure_load *spec, int vocab, tri_error *err) {
  tri_msg_submit m = {.want = TRI_WANT_SAMPLE, .predict = (uint32_t)spec->predict, .ids = true, .ignore_end = true,
                      .sampling = {.temperature = 0, .top_p = 1, .repeat_penalty = 1}};
  int32_t *ids = malloc((size_t)spec->prompt * sizeof *ids);
  if (!ids) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = TRI_OK;
  l->from_us = tri_clock_us();
  for (int s = 0; s < l->n && status == TRI_OK; s++) {
    for (int64_t i = 0; i < spec->prompt; i++) ids[i] = (int32_t)((s * 131 + i * 37 + 5) % vocab);
    status = tri_client_submit(client, &m, ids, (size_t)spec->prompt * sizeof *ids, err);
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

static tri_status run_round(const crew *c, tri_client *client, const measure_load *spec, int vocab, json_t **out, tri_error *err) {
  int n = spec->streams;
  load l = {.n = n};
  snapshot before = look(c), after;
  tri_status status = run_load(client, &l, spec, vocab, err);
  if (status != TRI_OK) return status;
  after = look(c);
  qsort(l.first_us, (size_t)n, sizeof *l.first_us, by_time);
  double in_all = (double)l.tokens * 1e6 / (double)(after.at_us - l.from_us), together = l.all_us ? (double)(l.end_us - l.all_us) : 0;
  *out = json_pack("{s:i, s:I, s:I, s:f, s:f, s:f, s:o}", "streams", n, "tokens", (json_int_t)l.tokens, "rows",
                   (json_int_t)(n * spec->prompt + l.tokens - n), "tokens_per_s", in_all, "first_token_ms", (double)l.first_us[n / 2] / 1e3,
                   "prefill_tokens_per_s", (double)spec->prompt * 1e6 / (double)l.first_us[0], "nodes", used(c, &before, &after));
  if (together > 0)
    json_object_set_new(*out, "decode_tokens_per_s", json_real((double)(l.end_tokens - l.all_tokens) * 1e6 / together));
  return TRI_OK;
}

static int by_speed(const void *a, const void *b) {
  double x = measure_number(*(json_t *const *)a, "tokens_per_s"), y = measure_number(*(json_t *const *)b, "tokens_per_s");
  return (x > y) - (x < y);
}

tri_status measure_run(const crew *c, tri_client *client, const measure_load *spec, json_t **out, tri_error *err) {
  json_t *rounds[MEASURE_ROUNDS], *all = json_array(), *doc = json_object();
  int n = 0;
  tri_status status = measure_status(client, doc, err);
  int vocab = (int)measure_number(json_object_get(json_object_get(doc, "status"), "model"), "vocab");
  if (status == TRI_OK && vocab < 1) status = tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's status doesn't tell the vocabulary");
  for (; n < spec->rounds && n < MEASURE_ROUNDS && status == TRI_OK; n += status == TRI_OK)
    status = run_round(c, client, spec, vocab, &rounds[n], err);
  qsort(rounds, (size_t)n, sizeof *rounds, by_speed);
  for (int i = 0; i < n; i++) json_array_append_new(all, json_real(measure_number(rounds[i], "tokens_per_s")));
  if (status == TRI_OK) *out = json_incref(rounds[n / 2]), json_object_set(*out, "tokens_per_s_all", all);
  for (int i = 0; i < n; i++) json_decref(rounds[i]);
  json_decref(all), json_decref(doc);
  return status;
}

double measure_number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }
double measure_node(const json_t *part, int node, const char *key) {
  return measure_number(json_array_get(json_object_get(part, "nodes"), (size_t)node), key);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
double measure_median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, ascending);
  return n ? values[n / 2] : 0;
}
