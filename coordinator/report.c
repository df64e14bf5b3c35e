/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "coordinator/coordinator_impl.h"
#include "engine/kv.h"

/* A number without the noise of its last binary digits. */
static json_t *number(double v, double step) { return json_real((double)(int64_t)(v / step + 0.5) * step); }

static json_t *report_model(const coordinator *c) {
  const tri_shape *s = tri_model_shape(c->model);
  const char *path = tri_gguf_path(tri_model_gguf(c->model)), *slash = strrchr(path, '/');
  return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "file", slash ? slash + 1 : path, "d", s->d, "layers", s->n_layers,
                   "heads", s->n_heads, "kv_heads", s->n_kv, "ffn", s->ffn, "vocab", s->vocab, "context", (int)c->pipeline.config.context,
                   "slots", (int)c->pipeline.config.slots,
                   "kv_tokens", (int)(c->pipeline.config.kv_blocks * TRI_KV_BLOCK));
}

static void report_stage(const coordinator *c, const tri_worker *w, json_t *out) {
  const tri_plan_stage *part = &c->pipeline.part[w->stage];
  json_object_set_new(out, "stage", json_integer(w->stage + 1));
  json_object_set_new(out, "first", json_integer(part->first));
  json_object_set_new(out, "last", json_integer(part->last - 1));
  json_object_set_new(out, "embed", json_boolean(part->first == 0));
  json_object_set_new(out, "head", json_boolean(part->last == c->pipeline.config.layers));
  json_object_set_new(out, "stage_bytes", json_integer((json_int_t)w->stage_bytes));
}

/* Of blocks of TRI_KV_BLOCK positions; asked, hits: blocks of prompts that could be there already, and were. */
static json_t *report_blocks(const coordinator *c) {
  const tri_blocks_stats s = tri_blocks_get_stats(c->blocks);
  return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I}", "total", (int)s.total, "in_use", (int)s.in_use, "cached", (int)s.cached, "asked",
                   (json_int_t)s.asked, "hits", (json_int_t)s.hits, "evictions", (json_int_t)s.evictions);
}

static json_t *report_worker(const coordinator *c, const tri_worker *w, int64_t now_ms) {
  char key[TRI_KEY_TEXT];
  tri_keys_text(w->key, key);
  key[8] = 0;
  const tri_msg_heartbeat *b = &w->beat;
  double rows = b->rows ? (double)b->rows : 1;
  json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I}", "name", w->hello.name, "key", key, "address", w->address, "state",
                          tri_registry_state_name(w->state), "isa", w->hello.isa, "threads", (int)w->hello.threads, "memory_bytes",
                          (json_int_t)w->hello.memory_bytes, "rss_bytes", (json_int_t)b->rss_bytes);
  if (!out) return NULL;
  char why[TRI_MAX_NAME];
  const tri_health_record *health = tri_health_find(&c->health, w->key);
  if (health && tri_health_is_out(health, now_ms, why)) json_object_set_new(out, "left_out", json_string(why));
  if (w->stage >= 0) report_stage(c, w, out);
  json_object_set_new(out, "layer_ms", number(w->hello.layer_us / 1e3, 1e-3));
  json_object_set_new(out, "head_ms", number(w->hello.head_us / 1e3, 1e-3));
  if (b->fetch_bytes) {
    json_object_set_new(out, "fetched_bytes", json_integer((json_int_t)b->fetched_bytes));
    json_object_set_new(out, "fetch_bytes", json_integer((json_int_t)b->fetch_bytes));
    json_object_set_new(out, "fetch_bytes_per_s", number(w->fetch_bytes_per_s, 1));
  }
  json_object_set_new(out, "layer_rows_ms", number(w->hello.layer_rows_us / 1e3, 1e-3));
  json_object_set_new(out, "head_rows_ms", number(w->hello.head_rows_us / 1e3, 1e-3));
  if (b->step_rows) {
    json_object_set_new(out, "step_rows", json_integer(b->step_rows));
    json_object_set_new(out, "step_ms", number(b->step_us / 1e3, 1e-3));
    json_object_set_new(out, "step_p95_ms", number(b->step_p95_us / 1e3, 1e-3));
  }
  json_object_set_new(out, "slow", number(health ? health->slow : 1, 1e-2));
  if (w->hello.rtt_us) json_object_set_new(out, "rtt_us", json_integer(w->hello.rtt_us));
  if (w->hello.down_kbps) json_object_set_new(out, "down_mbit", number(w->hello.down_kbps / 1e3, 1e-3));
  if (w->hello.up_kbps) json_object_set_new(out, "up_mbit", number(w->hello.up_kbps / 1e3, 1e-3));
  json_object_set_new(out, "busy", number(w->busy_share, 1e-3));
  json_object_set_new(out, "ms_per_token", number((double)b->busy_us / 1e3 / rows, 1e-3));
  json_object_set_new(out, "bytes_per_token", number((double)b->sent_bytes / rows, 1e-1));
  json_object_set_new(out, "busy_us", json_integer((json_int_t)b->busy_us));
  json_object_set_new(out, "sent_bytes", json_integer((json_int_t)b->sent_bytes));
  json_object_set_new(out, "steps", json_integer((json_int_t)b->steps));
  json_object_set_new(out, "rows", json_integer((json_int_t)b->rows));
  json_object_set_new(out, "dropped", json_integer((json_int_t)b->dropped));
  return out;
}

/* In the order of the stages, then the others. */
static json_t *report_workers(const coordinator *c, int64_t now_ms) {
  json_t *out = json_array();
  for (uint32_t i = 0; i < c->pipeline.stages; i++)
    json_array_append_new(out, report_worker(c, &c->registry.workers[c->pipeline.worker[i]], now_ms));
  for (size_t i = 0; i < c->registry.count; i++)
    if (c->registry.workers[i].stage < 0) json_array_append_new(out, report_worker(c, &c->registry.workers[i], now_ms));
  return out;
}

static void describe_state(const coordinator *c, char out[96]) {
  size_t live = coordinator_count(c);
  const char *absent = coordinator_absent(c);
  if (c->pipeline.state != TRI_PIPELINE_IDLE) snprintf(out, 96, "%s", tri_pipeline_state_name(c->pipeline.state));
  else if (live < c->config->min_workers) snprintf(out, 96, "waiting for workers %zu/%u", live, c->config->min_workers);
  else if (absent) snprintf(out, 96, "waiting for worker %s", absent);
  else snprintf(out, 96, "planning");
}

tri_status coordinator_report(const coordinator *c, int64_t now_ms, tri_buf *out, tri_error *err) {
  char state[96];
  describe_state(c, state);
  json_t *jobs = json_pack("{s:i, s:i, s:I, s:I}", "running", (int)c->jobs.running, "queued", (int)c->jobs.queued, "done",
                           (json_int_t)c->jobs.ended_ok, "failed", (json_int_t)c->jobs.ended_failed);
  json_t *doc = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "version", TRIREME_VERSION,
                          "epoch", (int)c->pipeline.epoch, "state", state, "trouble", c->trouble, "wire", tri_wire_name(c->config->wire),
                          "kv", tri_kv_name(c->config->kv_type), "uptime_s", (double)(now_ms - c->start_ms) / 1e3, "model",
                          report_model(c), "workers", report_workers(c, now_ms), "kv_blocks",
                          report_blocks(c), "jobs", jobs, "prefill_tokens_per_s",
                          number(c->jobs.prefill_per_s, 1e-2), "decode_tokens_per_s", number(c->jobs.decode_per_s, 1e-2), "dropped",
                          (json_int_t)c->dropped, "refused_keys", (json_int_t)c->refused_keys, "refused_tokens",
                          (json_int_t)coordinator_enrol_refused(c));
  if (doc && c->change.state)
    json_object_set_new(doc, "change", json_pack("{s:s, s:s}", "state", tri_change_state_name(c->change.state), "why", c->change.why));
  if (doc && c->change_trouble[0]) json_object_set_new(doc, "change_trouble", json_string(c->change_trouble));
  char *text = doc ? json_dumps(doc, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  if (text) tri_buf_append(out, text, strlen(text));
  bool ok = text && tri_buf_ok(out);
  free(text);
  json_decref(doc);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the status");
}

/* Written by hand, as these are many numbers and jobs wait meanwhile. */
static void report_step(const tri_trace_step *s, tri_buf *out) {
  tri_buf_printf(out, "{\"step\":%llu,\"epoch\":%u,\"sent_us\":%lld,\"took_us\":%lld,\"stages\":[", (unsigned long long)s->id, s->epoch,
                 (long long)s->sent_us, (long long)s->took_us);
  for (uint32_t i = 0; i < s->n_stages; i++) tri_buf_printf(out, "%s[%u,%u]", i ? "," : "", s->wait_us[i], s->compute_us[i]);
  tri_buf_printf(out, "],\"runs\":[");
  for (uint32_t i = 0; i < s->n_runs; i++)
    tri_buf_printf(out, "%s[%llu,%u,%d]", i ? "," : "", (unsigned long long)s->runs[i].job, s->runs[i].rows, s->runs[i].prompt);
  tri_buf_printf(out, "]}");
}

tri_status coordinator_report_trace(const coordinator *c, uint64_t after, tri_buf *out, tri_error *err) {
  enum { MOST_BYTES = 256 << 10 };
  const tri_trace_step *s;
  tri_buf_printf(out, "{\"wrong\":%llu,\"steps\":[", (unsigned long long)c->trace.wrong);
  size_t begin = out->len;
  while (c->trace.steps && out->len < MOST_BYTES && (s = tri_trace_next(&c->trace, after))) {
    if (out->len > begin) tri_buf_byte(out, ',');
    report_step(s, out);
    after = s->id;
  }
  tri_buf_printf(out, "],\"more\":%s}", c->trace.steps && tri_trace_next(&c->trace, after) ? "true" : "false");
  return tri_buf_ok(out) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the trace");
}
