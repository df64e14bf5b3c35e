/* SPDX-License-Identifier: MIT */
#include "coordinator/pipeline.h"

#include <string.h>

void tri_pipeline_init(tri_pipeline *p, const tri_pipeline_config *config) { *p = (tri_pipeline){.config = *config}; }

const char *tri_pipeline_state_name(tri_pipeline_state state) {
  static const char *const names[] = {"waiting", "loading", "connecting", "serving"};
  return names[state];
}

void tri_pipeline_start(tri_pipeline *p, tri_registry *r, const tri_plan *plan, const int *order) {
  p->epoch++;
  p->state = TRI_PIPELINE_LOADING;
  p->stages = plan->stages;
  for (uint32_t i = 0; i < plan->stages; i++) {
    p->part[i] = plan->stage[i];
    p->worker[i] = order[plan->stage[i].worker];
    tri_worker *w = &r->workers[p->worker[i]];
    w->state = TRI_WORKER_ASSIGNED;
    w->stage = (int)i;
    w->port = 0;
    w->stage_bytes = 0;
  }
}

void tri_pipeline_assign(const tri_pipeline *p, const tri_registry *r, uint32_t stage, tri_msg_assign *out) {
  const tri_pipeline_config *c = &p->config;
  const tri_plan_stage *part = &p->part[stage];
  *out = (tri_msg_assign){.epoch = p->epoch, .stage = stage, .stages = p->stages, .first = part->first, .last = part->last,
                          .embed = part->first == 0, .head = part->last == c->layers, .has_upstream = stage > 0, .slots = c->slots,
                          .context = c->context, .max_rows = c->max_rows, .wire = c->wire, .kv_type = c->kv_type,
                          .kv_blocks = c->kv_blocks};
  if (stage > 0) memcpy(out->upstream_key, r->workers[p->worker[stage - 1]].key, TRI_KEY_BYTES);
}

void tri_pipeline_connect(const tri_pipeline *p, const tri_registry *r, uint32_t stage, tri_msg_connect *out) {
  const tri_worker *next = &r->workers[p->worker[stage + 1]];
  *out = (tri_msg_connect){.epoch = p->epoch};
  tri_link_endpoint(out->endpoint, next->hello.advertise[0] ? next->hello.advertise : next->address, (uint16_t)next->port);
  memcpy(out->server_key, next->key, TRI_KEY_BYTES);
}

static bool all_in(const tri_pipeline *p, const tri_registry *r, tri_worker_state least) {
  for (uint32_t i = 0; i < p->stages; i++)
    if (r->workers[p->worker[i]].state < least) return false;
  return true;
}

tri_status tri_pipeline_bound(tri_pipeline *p, tri_registry *r, int worker, const tri_msg_bound *m, bool *complete, tri_error *err) {
  tri_worker *w = &r->workers[worker];
  *complete = false;
  if (w->state != TRI_WORKER_ASSIGNED)
    return tri_status_fail(err, TRI_E_PROTOCOL, "worker %s says bound while it is %s", w->hello.name, tri_registry_state_name(w->state));
  if ((w->stage > 0) != (m->port != 0))
    return tri_status_fail(err, TRI_E_PROTOCOL, "worker %s says bound to port %u as stage %d", w->hello.name, m->port, w->stage);
  w->state = TRI_WORKER_BOUND;
  w->port = m->port;
  w->stage_bytes = m->bytes;
  if (p->state == TRI_PIPELINE_LOADING && all_in(p, r, TRI_WORKER_BOUND)) {
    p->state = TRI_PIPELINE_CONNECTING;
    *complete = true;
  }
  return TRI_OK;
}

tri_status tri_pipeline_ready(tri_pipeline *p, tri_registry *r, int worker, bool *complete, tri_error *err) {
  tri_worker *w = &r->workers[worker];
  *complete = false;
  bool last = w->stage == (int)p->stages - 1; /* it has no one to connect to, so it may be ready before the others are bound */
  if (w->state != TRI_WORKER_BOUND || (p->state != TRI_PIPELINE_CONNECTING && !last))
    return tri_status_fail(err, TRI_E_PROTOCOL, "worker %s says ready while it is %s and the pipeline %s", w->hello.name,
                           tri_registry_state_name(w->state), tri_pipeline_state_name(p->state));
  w->state = TRI_WORKER_READY;
  if (p->state == TRI_PIPELINE_CONNECTING && all_in(p, r, TRI_WORKER_READY)) {
    p->state = TRI_PIPELINE_SERVING;
    *complete = true;
  }
  return TRI_OK;
}

void tri_pipeline_drop(tri_pipeline *p, tri_registry *r) {
  for (uint32_t i = 0; i < p->stages; i++) {
    tri_worker *w = &r->workers[p->worker[i]];
    if (w->state == TRI_WORKER_LOST) continue;
    w->state = TRI_WORKER_JOINED;
    w->stage = -1;
    w->port = 0;
    w->stage_bytes = 0;
  }
  p->state = TRI_PIPELINE_IDLE;
  p->stages = 0;
}
