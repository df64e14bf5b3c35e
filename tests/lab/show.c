/* SPDX-License-Identifier: MIT */
#include "tests/lab/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static show self = {.lab = "show"};
static bool as_json;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &self.model, "FILE", "The model, a GGUF file; `trireme make-dummy` makes one of a real model's shape.", 0, 0},
    {"nodes", 'w', TRI_ARG_INT, &self.nodes, "N", "scaling: with N workers (default: 1, 2, 4 and 8, one after the other).", 1, 64},
    {"network", 0, TRI_ARG_INT, &self.network, "N", "scaling: over the first or the second network only (default: both).", 1, 2},
    {"rounds", 'r', TRI_ARG_INT, &self.rounds, "N", "Measure so often, and take the median (default: as the scenario likes).", 1, MEASURE_ROUNDS},
    {"cpu", 0, TRI_ARG_FLOAT, &self.cpu, "PERCENT", "scaling: of a core for each worker (default 20).", 1, 100},
    {"name", 0, TRI_ARG_STRING, &self.lab, "LAB", "The lab's name (default show).", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {"trireme-lab show", LAB_SHOW_SUMMARY " Exit code 1: a limit is not kept.", "[SCENARIO -m FILE] [options]",
                                   "  trireme-lab show\n"
                                   "  trireme-lab show cold-start -m llama3-8b.gguf\n"
                                   "  trireme-lab show scaling -m bitnet-2b.gguf --nodes 8 --json\n",
                                   args, sizeof args / sizeof *args};

static const struct scenario {
  const char *name, *what;
  tri_status (*run)(show *s, tri_error *err);
} scenarios[] = {
    {"cold-start", "a model that one node can't hold: five get it from the coordinator, start again, and change places", show_cold_start},
    {"hop", "what a hop between stages costs beside computing, in time and bytes", show_hop},
    {"many", "64 workers join, serve and leave", show_many},
    {"split", "the planner's split over unlike nodes against an equal one", show_split},
    {"best-split", "the planner's split against all others, over three unlike nodes", show_best_split},
    {"prediction", "what `trireme plan` expects of a cluster, and what it does", show_prediction},
    {"scaling", "one stream, many streams and a long prompt over 1 to 8 nodes", show_scaling},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* --- what a scenario says --- */

static json_t *add(show *s, const char *what, double value, const char *unit) {
  json_t *claim = json_pack("{s:s, s:f, s:s}", "what", what, "value", value, "unit", unit);
  json_array_append_new(s->claims, claim);
  return claim;
}
void show_figure(show *s, const char *what, double value, const char *unit) { add(s, what, value, unit); }
void show_at_most(show *s, const char *what, double value, const char *unit, double limit) {
  json_object_update_new(add(s, what, value, unit), json_pack("{s:f, s:b}", "at_most", limit, "kept", value <= limit));
}
void show_at_least(show *s, const char *what, double value, const char *unit, double limit) {
  json_object_update_new(add(s, what, value, unit), json_pack("{s:f, s:b}", "at_least", limit, "kept", value >= limit));
}
void show_text(show *s, const char *what, const char *text) {
  json_array_append_new(s->claims, json_pack("{s:s, s:s}", "what", what, "text", text));
}

static void print(const show *s) {
  size_t i;
  json_t *claim;
  json_array_foreach(s->claims, i, claim) {
    const char *what = json_string_value(json_object_get(claim, "what")), *text = json_string_value(json_object_get(claim, "text"));
    const json_t *most = json_object_get(claim, "at_most"), *least = json_object_get(claim, "at_least");
    if (text) printf("%s: %s\n", what, text);
    else printf("%-58s %10.4g %-9s", what, measure_number(claim, "value"), json_string_value(json_object_get(claim, "unit")));
    if (most || least)
      printf(" %s %-7.4g %s", most ? "at most " : "at least", json_number_value(most ? most : least),
             json_is_true(json_object_get(claim, "kept")) ? "ok" : "NOT KEPT");
    if (!text) putchar('\n');
  }
}

static bool all_kept(const show *s) {
  size_t i;
  json_t *claim;
  bool kept = true;
  json_array_foreach(s->claims, i, claim) kept &= !json_is_false(json_object_get(claim, "kept"));
  return kept;
}

/* --- what scenarios share --- */

void show_nodes(lab_topology *out, int n, double cpu, int64_t rate, double delay_ms) {
  *out = (lab_topology){.count = n + 1};
  for (int i = 0; i <= n; i++) {
    lab_node *node = &out->nodes[i];
    *node = (lab_node){.cpu = i ? cpu : 0, .rate = rate, .delay_ms = delay_ms};
    if (i) snprintf(node->name, sizeof node->name, "w%d", i);
    else snprintf(node->name, sizeof node->name, "head");
  }
}

tri_status show_topology(lab_topology *out, const char *file, tri_error *err) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, TRIREME_SOURCE "/tests/lab/%s", file);
  return lab_topology_read(out, path, err);
}

crew_options show_options(const show *s, int workers, int streams) {
  enum { CONTEXT = 640, READY_MS = 300000 };
  return (crew_options){.model = s->model, .copies = true, .workers = workers, .slots = streams, .context = CONTEXT, .wire = "int8",
                        .ready_ms = READY_MS};
}

tri_status show_crew(show *s, const lab_topology *t, const crew_options *o, show_fn *fn, void *keep, tri_error *err) {
  lab l;
  crew c;
  tri_error none;
  tri_status status = lab_up(&l, s->lab, t, true, err);
  if (status != TRI_OK) return status;
  status = crew_make(&c, &l, o, err);
  if (status == TRI_OK) status = fn(s, &c, keep, err), crew_free(&c);
  if (lab_down(s->lab, &none) != TRI_OK) fprintf(stderr, "trireme-lab: %s\n", none.text);
  return status;
}

tri_status show_load(crew *c, const measure_load *l, json_t **out, tri_error *err) {
  tri_client *client = NULL;
  json_t *start = json_object();
  tri_status status = measure_start(c, start, "start", err);
  if (status == TRI_OK) status = crew_dial(&client, c, err);
  if (status == TRI_OK) status = measure_run(c, client, l, out, err);
  if (status == TRI_OK && (status = measure_status(client, *out, err)) != TRI_OK) json_decref(*out);
  tri_client_close(&client);
  json_decref(start);
  return status;
}

/* --- which --- */

static tri_status run(const char *name, tri_error *err) {
  for (int i = 0; i < SCENARIOS; i++) {
    if (strcmp(name, scenarios[i].name) != 0) continue;
    if (!self.model) return tri_status_fail(err, TRI_E_INVALID, "a model is needed: -m FILE");
    self.claims = json_array();
    self.doc = json_pack("{s:s, s:s, s:O}", "scenario", name, "model", self.model, "claims", self.claims);
    tri_status status = scenarios[i].run(&self, err);
    if (as_json) json_dumpf(self.doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)), putchar('\n');
    else print(&self);
    if (status == TRI_OK && !all_kept(&self)) status = tri_status_fail(err, TRI_E_INTERNAL, "a limit is not kept");
    json_decref(self.doc), json_decref(self.claims);
    return status;
  }
  return tri_status_fail(err, TRI_E_INVALID, "there is no scenario '%s'; `trireme-lab show` lists them", name);
}

int lab_show(int argc, char **argv) {
  tri_error err = {0};
  int given;
  bool helped = false;
  tri_status status = tri_args_parse(&spec, argc, argv, &given, &helped, &err);
  if (helped) return 0;
  if (status == TRI_OK && given > 1) status = tri_status_fail(&err, TRI_E_INVALID, "usage: %s %s", spec.command, spec.usage);
  if (status == TRI_OK && given == 0)
    for (int i = 0; i < SCENARIOS; i++) printf("%-11s %s\n", scenarios[i].name, scenarios[i].what);
  else if (status == TRI_OK) status = run(argv[1], &err);
  if (status == TRI_OK) return 0;
  fprintf(stderr, "trireme-lab: %s\n", err.text);
  return tri_status_exit_code(status);
}
