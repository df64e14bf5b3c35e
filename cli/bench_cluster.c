/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "cli/bench.h"
#include "cli/cluster.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/nodes.h"
#include "cli/timeline.h"

enum { DEFAULT_SECONDS = 10, RATE_SLOTS = 16, MOST_SLOTS = 64, TIMEOUT_MS = 5000 };

/* What there is to measure: a cluster of our own, or one that runs. */
typedef struct subject {
  const tri_bench_cluster *o;
  tri_cluster *cluster;
  tri_interrupt interrupt;
  tri_client *client;
  tri_nodes_model model;
  tri_model *own_model; /* of -m; NULL: none */
  int32_t *ids;       /* that prompts are made of */
  size_t n_ids;
  bool has_text;      /* they are those of a vocabulary's text */
  tri_status drawn;   /* what came of the timeline */
  tri_error draw_err;
} subject;

/* --- one load --- */

typedef struct percentiles {
  double p50, p95, p99; /* ms */
  bool any;
} percentiles;

typedef struct level {
  tri_load load;
  size_t jobs, tokens, refused, unkept; /* unkept: steps that were not looked at */
  double seconds, tokens_per_s, steady_per_s; /* steady: while all streams were under way; 0: never */
  percentiles first_ms, gap_ms;
  tri_steps_measure steps;
  double bytes[TRI_MAX_STAGES]; /* that a stage sent on for a row */
  char names[TRI_MAX_STAGES][TRI_MAX_NAME];
} level;

static void name_load(const level *l, char out[24]) {
  if (l->load.rate > 0) snprintf(out, 24, "%g/s", l->load.rate);
  else snprintf(out, 24, "%u", l->load.streams);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The nearest rank. Sorts the values. */
static percentiles percentiles_of(double *ms, size_t n) {
  if (!n) return (percentiles){0};
  qsort(ms, n, sizeof *ms, compare);
#define AT(p) ms[(n * (p) + 99) / 100 - 1]
  return (percentiles){AT(50), AT(95), AT(99), true};
#undef AT
}

static tri_status take_times(level *l, const tri_load_result *r, tri_error *err) {
  size_t n = 0, most = r->n_gaps > r->n_jobs ? r->n_gaps : r->n_jobs;
  double *ms = malloc((most + 1) * sizeof *ms);
  tri_span *spans = malloc((r->n_jobs + 1) * sizeof *spans);
  if (!ms || !spans) return free(ms), free(spans), tri_status_fail(err, TRI_E_NOMEM, "out of memory for times");
  for (size_t i = 0; i < r->n_jobs; i++) {
    spans[i] = r->jobs[i].span;
    if (r->jobs[i].tokens) ms[n++] = (double)(spans[i].first_us - spans[i].begin_us) / 1e3;
  }
  l->first_ms = percentiles_of(ms, n);
  for (size_t i = 0; i < r->n_gaps; i++) ms[i] = r->gaps_us[i] / 1e3;
  l->gap_ms = percentiles_of(ms, r->n_gaps);
  int64_t from, to;
  if (l->load.streams && tri_span_window(spans, r->n_jobs, l->load.streams, &from, &to)) {
    size_t within = 0;
    for (size_t i = 0; i < r->n_tokens; i++) within += r->token_us[i] > from && r->token_us[i] <= to;
    l->steady_per_s = (double)within * 1e6 / (double)(to - from);
  }
  l->jobs = r->n_jobs, l->tokens = r->n_tokens, l->refused = r->refused, l->unkept = r->steps.left_out;
  l->seconds = (double)(r->end_us - r->begin_us) / 1e6;
  l->tokens_per_s = (double)l->tokens / l->seconds;
  free(ms), free(spans);
  return TRI_OK;
}

/* Bytes by what the workers' counters grew, over the rows that they say they had. */
static void take_nodes(level *l, const json_t *before, const json_t *after) {
  size_t i;
  json_t *w;
  json_array_foreach(json_object_get(after, "workers"), i, w) {
    size_t stage = (size_t)json_integer_value(json_object_get(w, "stage"));
    const char *name = json_string_value(json_object_get(w, "name"));
    if (!stage || stage > TRI_MAX_STAGES || !name) continue;
    json_t *was = tri_nodes_find(before, name);
#define GREW(key) (json_integer_value(json_object_get(w, key)) - json_integer_value(json_object_get(was, key)))
    json_int_t rows = GREW("rows");
    l->bytes[stage - 1] = rows > 0 ? (double)GREW("sent_bytes") / (double)rows : 0;
#undef GREW
    snprintf(l->names[stage - 1], TRI_MAX_NAME, "%s", name);
  }
}

static json_int_t rows_of(const tri_steps *s) {
  json_int_t rows = 0;
  for (size_t i = 0; i < s->n; i++) rows += s->one[i].rows;
  return rows;
}

static tri_status draw(const subject *s, const level *l, const tri_steps *steps, int64_t from_us, int64_t to_us, tri_error *err) {
  const char *names[TRI_MAX_STAGES];
  char title[TRI_MAX_ENDPOINT + 128], load[24];
  for (uint32_t i = 0; i < l->steps.n_stages; i++) names[i] = l->names[i];
  name_load(l, load);
  snprintf(title, sizeof title, "%s on %u stages, %s%s: %.0f tokens/s, %.1f ms from one to the next (median)", s->model.file,
           l->steps.n_stages, load, l->load.rate > 0 ? " jobs a second" : l->load.streams == 1 ? " stream" : " streams",
           l->steady_per_s > 0 ? l->steady_per_s : l->tokens_per_s, l->gap_ms.p50);
  return tri_timeline_write(&(tri_timeline){steps, &l->steps, names, from_us, to_us, title}, s->o->timeline, err);
}

static tri_status run_load(const subject *s, level *l, tri_load_result *out, tri_error *err) {
  char name[24], label[48];
  name_load(l, name);
  snprintf(label, sizeof label, "%s%s", name, l->load.rate > 0 ? "" : l->load.streams == 1 ? " stream" : " streams");
  tri_progress progress = tri_progress_begin(label);
  progress.unit = l->load.requests ? "jobs" : "s";
  l->load.progress = tri_progress_update, l->load.progress_arg = &progress;
  tri_status status = tri_load_run(s->client, &l->load, out, err);
  tri_progress_end(&progress);
  return status;
}

static tri_status measure(subject *s, level *l, bool is_last, tri_error *err) {
  tri_load_result r = {0};
  json_t *before = NULL, *after = NULL;
  int64_t from = 0, to = 0;
  bool found = false;
  tri_status status = tri_nodes_fetch(s->client, &before, TIMEOUT_MS, err);
  if (status == TRI_OK) status = run_load(s, l, &r, err);
  if (status == TRI_OK) status = tri_nodes_settle(s->client, before, rows_of(&r.steps), &after, err);
  if (status == TRI_OK) status = take_times(l, &r, err);
  if (status == TRI_OK) take_nodes(l, before, after);
  if (status == TRI_OK) status = tri_steps_window(&r.steps, l->load.streams, &from, &to, &found, err);
  if (status == TRI_OK && !found) status = tri_steps_window(&r.steps, 0, &from, &to, &found, err);
  if (status == TRI_OK && found) tri_steps_measure_within(&r.steps, from, to, &l->steps);
  if (status == TRI_OK && is_last && s->o->timeline) s->drawn = draw(s, l, &r.steps, from, to, &s->draw_err);
  json_decref(before), json_decref(after);
  tri_load_free(&r);
  return status;
}

/* --- what is shown --- */

static json_t *json_percentiles(percentiles p) {
  return p.any ? json_pack("{s:f, s:f, s:f}", "p50", p.p50, "p95", p.p95, "p99", p.p99) : json_null();
}

static json_t *json_stages(const level *l) {
  json_t *out = json_array();
  for (uint32_t i = 0; i < l->steps.n_stages; i++) {
    const tri_steps_stage *stage = &l->steps.stage[i];
    json_array_append_new(out, json_pack("{s:i, s:s, s:f, s:f, s:f, s:f}", "stage", (int)i + 1, "worker", l->names[i], "busy", stage->busy,
                                         "compute_ms", stage->compute_us / 1e3, "wait_ms", stage->wait_us / 1e3, "bytes_per_token",
                                         l->bytes[i]));
  }
  return out;
}

static json_t *json_level(const level *l) {
  const tri_steps_measure *m = &l->steps;
  json_t *step = json_pack("{s:f, s:f, s:f, s:f}", "round_trip_ms", m->took_us / 1e3, "compute_ms", m->compute_us / 1e3, "wait_ms",
                           m->wait_us / 1e3, "hop_ms", m->hop_us / 1e3);
  json_t *out = json_pack("{s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:I, s:f, s:f, s:f, s:o, s:{s:f, s:f}, s:I, s:o}", "requests",
                          (json_int_t)l->jobs, "refused", (json_int_t)l->refused, "tokens", (json_int_t)l->tokens, "seconds", l->seconds,
                          "tokens_per_s", l->tokens_per_s, "first_token_ms", json_percentiles(l->first_ms), "gap_ms", json_percentiles(l->gap_ms),
                          "steps", (json_int_t)m->steps, "rows_per_step", m->rows, "prompt_rows_per_step", m->prompt_rows, "steps_on_way", m->on_way,
                          "step", step, "bubble", "slowest", m->bubble_slowest, "mean", m->bubble_mean, "steps_left_out",
                          (json_int_t)l->unkept, "stages", json_stages(l));
  if (l->load.rate > 0) json_object_set_new(out, "rate", json_real(l->load.rate));
  else json_object_set_new(out, "streams", json_integer(l->load.streams));
  if (l->load.streams) json_object_set_new(out, "steady_tokens_per_s", l->steady_per_s > 0 ? json_real(l->steady_per_s) : json_null());
  return out;
}

static void print_json(const subject *s, const level *levels, int n) {
  json_t *list = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(list, json_level(&levels[i]));
  json_t *doc = json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:o}", "model", s->model.file, "slots", (json_int_t)s->model.slots, "prompt",
                          (json_int_t)s->o->prompt, "predict", (json_int_t)s->o->predict, "prompts", s->has_text ? "vocabulary" : "ids",
                          "seed", (json_int_t)s->o->seed, "loads", list);
  json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(doc);
}

static void print_percentiles(percentiles p) {
  char text[64] = "-";
  if (p.any) snprintf(text, sizeof text, "%.1f / %.1f / %.1f", p.p50, p.p95, p.p99);
  printf("  %-24s", text);
}

static void print_stages(const level *levels, int n) {
  char name[24];
  printf("\n%-6s %-12s %9s  busy with", "stage", "worker", "bytes/tok");
  for (int i = 0; i < n; i++) name_load(&levels[i], name), printf(" %8s", name);
  putchar('\n');
  const level *last = &levels[n - 1];
  for (uint32_t stage = 0; stage < last->steps.n_stages; stage++) {
    printf("%-6u %-12s %9.0f  %9s", stage + 1, last->names[stage], last->bytes[stage], "");
    for (int i = 0; i < n; i++) {
      if (levels[i].steps.n_stages == last->steps.n_stages) printf(" %7.0f%%", 100 * levels[i].steps.stage[stage].busy);
      else printf(" %8s", "-");
    }
    putchar('\n');
  }
}

static void print_text(const subject *s, const level *levels, int n) {
  printf("%s, prompts of %lld tokens (%s), %lld tokens generated for each\n\n", s->model.file, (long long)s->o->prompt,
         s->has_text ? "of the vocabulary" : "ids", (long long)s->o->predict);
  printf("%7s %5s %9s %9s  %-24s  %-24s %9s %7s %8s %7s %8s\n", s->o->rate > 0 ? "rate" : "streams", "jobs", "tok/s", "steady",
         "first token ms 50/95/99", "gap ms 50/95/99", "rows/step", "on way", "a hop us", "bubble", "mean");
  for (int i = 0; i < n; i++) {
    const level *l = &levels[i];
    char name[24], steady[24] = "-";
    name_load(l, name);
    if (l->steady_per_s > 0) snprintf(steady, sizeof steady, "%.1f", l->steady_per_s);
    printf("%7s %5zu %9.1f %9s", name, l->jobs, l->tokens_per_s, steady);
    print_percentiles(l->first_ms), print_percentiles(l->gap_ms);
    printf(" %9.2f %7.2f %8.0f %6.0f%% %7.0f%%\n", l->steps.rows, l->steps.on_way, l->steps.hop_us, 100 * l->steps.bubble_slowest,
           100 * l->steps.bubble_mean);
    if (l->refused) printf("        %zu jobs were refused, as the coordinator's queue was full\n", l->refused);
    if (l->unkept) printf("        %zu steps were too many to look at\n", l->unkept);
  }
  print_stages(levels, n);
}

/* --- the subject --- */

static tri_status take_vocabulary(subject *s, tri_error *err) {
  const tri_tokenizer *t = s->own_model ? tri_model_tokenizer(s->own_model) : NULL;
  tri_status status = t ? tri_nodes_check_tokenizer(&s->model, t, s->o->model_path, err) : TRI_OK;
  if (status != TRI_OK) return status;
  if (!(s->ids = malloc((size_t)s->model.vocab * sizeof *s->ids))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  for (int32_t id = 0; t && id < s->model.vocab; id++)
    if (tri_tokenizer_type(t, id) == TRI_TOKEN_NORMAL && !tri_tokenizer_is_end(t, id)) s->ids[s->n_ids++] = id;
  s->has_text = s->n_ids > 0;
  for (int32_t id = 0; !s->has_text && id < s->model.vocab; id++) s->ids[s->n_ids++] = id;
  return TRI_OK;
}

static tri_status check_context(const tri_bench_cluster *o, int32_t context, tri_error *err) {
  if (o->prompt + o->predict <= context) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%lld tokens of prompt and answer are more than the context of %d: smaller -p or -n",
                         (long long)(o->prompt + o->predict), context);
}

static tri_status start_own(subject *s, int64_t slots, tri_error *err) {
  const tri_bench_cluster *o = s->o;
  if (!s->own_model)
    return tri_status_fail(err, TRI_E_INVALID, "which cluster? -m FILE starts one here, --coordinator tcp://HOST:PORT is one that runs");
  int64_t blocks = (o->prompt + o->predict + TRI_KV_BLOCK - 1) / TRI_KV_BLOCK + 1; /* one in reserve, so that all streams run at once */
  tri_cluster_options c = {.model_path = o->model_path, .workers = (int)o->workers, .threads = (int)o->threads, .slots = (int)slots,
                           .context = (int)(o->prompt + o->predict), .kv_tokens = (int)(slots * blocks * TRI_KV_BLOCK), .kv_type = o->kv};
  tri_status status = check_context(o, tri_model_shape(s->own_model)->context, err);
  if (status == TRI_OK) status = tri_wire_parse(o->wire, &c.wire, err);
  if (status == TRI_OK) status = tri_cluster_start(&s->cluster, &c, err);
  return status == TRI_OK ? tri_cluster_dial(&s->client, s->cluster, err) : status;
}

static tri_status dial(subject *s, tri_error *err) {
  tri_status status = tri_interrupt_begin(&s->interrupt, err);
  if (status != TRI_OK) return status;
  return tri_client_dial(&s->client, s->o->coordinator, s->o->key_dir, s->interrupt.fd, TIMEOUT_MS, err);
}

/* Before time is spent on loads. */
static tri_status check_timeline(const char *path, tri_error *err) {
  tri_file_writer *w = NULL;
  tri_status status = path ? tri_file_writer_open(&w, path, 0644, err) : TRI_OK;
  tri_file_writer_abort(&w);
  return status;
}

static tri_status open_subject(subject *s, int64_t slots, tri_error *err) {
  json_t *doc = NULL;
  tri_status status = check_timeline(s->o->timeline, err);
  if (status == TRI_OK && s->o->model_path) status = tri_model_open(&s->own_model, s->o->model_path, err);
  if (status == TRI_OK) status = s->o->coordinator || s->o->key_dir ? dial(s, err) : start_own(s, slots, err);
  if (status == TRI_OK) status = tri_nodes_fetch(s->client, &doc, TIMEOUT_MS, err);
  if (status == TRI_OK) status = tri_nodes_read_model(doc, &s->model, err);
  json_decref(doc);
  if (status == TRI_OK) status = check_context(s->o, s->model.context, err);
  return status == TRI_OK ? take_vocabulary(s, err) : status;
}

static void close_subject(subject *s) {
  tri_client_close(&s->client);
  tri_cluster_stop(&s->cluster);
  tri_interrupt_end(&s->interrupt);
  tri_model_close(&s->own_model);
  free(s->ids);
}

tri_status tri_bench_over_cluster(const tri_bench_cluster *o, tri_error *err) {
  subject s = {.o = o, .interrupt = TRI_INTERRUPT_NONE};
  int64_t slots = o->rate > 0 ? RATE_SLOTS : 1;
  for (int i = 0; i < o->n_streams; i++)
    if (o->streams[i] > slots) slots = o->streams[i];
  int n = o->rate > 0 ? 1 : o->n_streams;
  level *levels = calloc((size_t)n, sizeof *levels);
  if (!levels) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = open_subject(&s, slots < MOST_SLOTS ? slots : MOST_SLOTS, err);
  for (int i = 0; i < n && status == TRI_OK; i++) {
    levels[i].load = (tri_load){.streams = o->rate > 0 ? 0 : (uint32_t)o->streams[i], .rate = o->rate, .requests = (uint32_t)o->requests,
                                .seconds = o->seconds || o->requests ? (double)o->seconds : DEFAULT_SECONDS, .prompt = (uint32_t)o->prompt,
                                .predict = (uint32_t)o->predict, .seed = (uint64_t)o->seed, .ids = s.ids, .n_ids = s.n_ids};
    status = measure(&s, &levels[i], i == n - 1, err);
  }
  if (status == TRI_OK) {
    if (o->as_json) print_json(&s, levels, n);
    else print_text(&s, levels, n);
    if (s.drawn != TRI_OK) *err = s.draw_err, status = s.drawn;
  }
  close_subject(&s);
  free(levels);
  return status;
}
