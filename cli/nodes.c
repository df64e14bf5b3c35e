/* SPDX-License-Identifier: MIT */
#include "cli/nodes.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"

tri_status tri_nodes_fetch(tri_client *c, json_t **out, int64_t timeout_ms, tri_error *err) {
  tri_buf text = {0};
  tri_status status = tri_client_status(c, &text, timeout_ms, err);
  json_error_t why;
  if (status == TRI_OK && !(*out = json_loadb((const char *)text.data, text.len, 0, &why)))
    status = tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's status is not JSON: %s", why.text);
  tri_buf_free(&text);
  return status;
}

const char *tri_nodes_text(const json_t *o, const char *key) {
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}
static double number_of(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

json_t *tri_nodes_find(const json_t *status, const char *name) {
  size_t i;
  json_t *w;
  json_array_foreach(json_object_get(status, "workers"), i, w)
    if (strcmp(tri_nodes_text(w, "name"), name) == 0) return w;
  return NULL;
}

static bool have_reported(const json_t *status, const json_t *since, json_int_t rows) {
  size_t i;
  json_t *w;
  json_array_foreach(json_object_get(status, "workers"), i, w) {
    json_int_t before = json_integer_value(json_object_get(since ? tri_nodes_find(since, tri_nodes_text(w, "name")) : NULL, "rows"));
    if (json_object_get(w, "stage") && json_integer_value(json_object_get(w, "rows")) - before < rows) return false;
  }
  return true;
}

tri_status tri_nodes_settle(tri_client *c, const json_t *since, json_int_t rows, json_t **out, tri_error *err) {
  enum { MOST_MS = 2000, ANSWER_MS = 5000, PAUSE_MS = 30 };
  int64_t until = tri_clock_ms() + MOST_MS;
  for (;;) {
    tri_status status = tri_nodes_fetch(c, out, ANSWER_MS, err);
    if (status != TRI_OK || have_reported(*out, since, rows) || tri_clock_ms() > until) return status;
    json_decref(*out);
    *out = NULL;
    tri_client_event none;
    status = tri_client_next(c, &none, PAUSE_MS, err);
    if (status != TRI_E_TIMEOUT) return status == TRI_OK ? tri_status_fail(err, TRI_E_PROTOCOL, "an event without a job") : status;
  }
}

static void describe_layers(const json_t *w, char *out, size_t size) {
  if (!json_object_get(w, "stage")) {
    snprintf(out, size, "-");
    return;
  }
  snprintf(out, size, "%s%.0f-%.0f%s", json_is_true(json_object_get(w, "embed")) ? "emb " : "", number_of(w, "first"), number_of(w, "last"),
           json_is_true(json_object_get(w, "head")) ? " head" : "");
}

static void describe_state(const json_t *w, char *out, size_t size) {
  double here = number_of(w, "fetched_bytes"), all = number_of(w, "fetch_bytes"), rate = number_of(w, "fetch_bytes_per_s");
  const char *left_out = tri_nodes_text(w, "left_out");
  if (all <= 0) snprintf(out, size, "%s%s%s", tri_nodes_text(w, "state"), left_out[0] ? ", " : "", left_out);
  else if (rate <= 0) snprintf(out, size, "gets %.0f%%", 100 * here / all);
  else snprintf(out, size, "gets %.0f%%, %.1f MB/s, %.0f s", 100 * here / all, rate / 1e6, (all - here) / rate);
}

/* To the coordinator and back; from and to it. */
static void describe_link(const json_t *w, char *rtt, size_t rtt_size, char *rate, size_t rate_size) {
  double us = number_of(w, "rtt_us"), down = number_of(w, "down_mbit"), up = number_of(w, "up_mbit");
  snprintf(rtt, rtt_size, "-");
  snprintf(rate, rate_size, "-");
  if (us > 0) snprintf(rtt, rtt_size, "%.2f", us / 1e3);
  if (down > 0 && up > 0) snprintf(rate, rate_size, down < 100 ? "%.1f/%.1f" : "%.0f/%.0f", down, up);
}

void tri_nodes_table(const json_t *status, FILE *out) {
  size_t i;
  json_t *w;
  fprintf(out, "%-6s %-12s %-24s %-14s %9s %9s %13s %9s %6s %7s %12s\n", "stage", "worker", "state", "layers", "stage MB", "RSS MB",
          "ms per token", "bytes/hop", "busy", "RTT ms", "Mbit/s");
  json_array_foreach(json_object_get(status, "workers"), i, w) {
    char stage[16] = "-", layers[48], state[96], rtt[24], rate[48];
    if (json_object_get(w, "stage")) snprintf(stage, sizeof stage, "%.0f", number_of(w, "stage"));
    describe_layers(w, layers, sizeof layers);
    describe_state(w, state, sizeof state);
    describe_link(w, rtt, sizeof rtt, rate, sizeof rate);
    fprintf(out, "%-6s %-12s %-24s %-14s %9.1f %9.1f %13.3f %9.0f %5.0f%% %7s %12s\n", stage, tri_nodes_text(w, "name"), state, layers,
            number_of(w, "stage_bytes") / 1e6, number_of(w, "rss_bytes") / 1e6, number_of(w, "ms_per_token"),
            number_of(w, "bytes_per_token"), number_of(w, "busy") * 100, rtt, rate);
  }
}

tri_status tri_nodes_read_model(const json_t *status, tri_nodes_model *out, tri_error *err) {
  const json_t *model = json_object_get(status, "model");
  double context = number_of(model, "context"), vocab = number_of(model, "vocab"), slots = number_of(model, "slots"),
         kv = number_of(model, "kv_tokens");
  if (!(context >= 1 && context <= TRI_MAX_CONTEXT && vocab >= 1 && vocab <= INT32_MAX && slots >= 1 && slots <= INT32_MAX &&
        kv >= 1 && kv <= INT32_MAX))
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator does not say its model's context, vocabulary, slots and KV cache");
  *out = (tri_nodes_model){.context = (int32_t)context, .vocab = (int32_t)vocab, .slots = (int32_t)slots, .kv_tokens = (int32_t)kv};
  snprintf(out->file, sizeof out->file, "%s", tri_nodes_text(model, "file"));
  return TRI_OK;
}

tri_status tri_nodes_check_tokenizer(const tri_nodes_model *m, const tri_tokenizer *t, const char *path, tri_error *err) {
  if (tri_tokenizer_size(t) <= (size_t)m->vocab) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s has %zu tokens, but the cluster's model %d: it is another model's", path,
                         tri_tokenizer_size(t), m->vocab);
}
