/* SPDX-License-Identifier: MIT */
#include "cli/eval.h"

#include <stdlib.h>
#include "cli/cli.h"

enum { ANSWER_MS = 600000 };

/* A window's job, from submit to its last logprob. */
typedef struct pending {
  uint64_t job; /* 0: not accepted yet */
  size_t predictions, count; /* all of them; those that count */
  double nll, squares;
} pending;

typedef struct scoring {
  tri_eval *e;
  tri_client *client;
  int32_t *ids;  /* [context] */
  pending *ring; /* windows [done, submitted), window w at w % capacity */
  size_t capacity, submitted, accepted, done;
} scoring;

static tri_status submit_one(scoring *s, tri_error *err) {
  static tri_msg_submit m = {.ids = true, .no_bos = true, .want = TRI_WANT_SCORE};
  s->ring[s->submitted % s->capacity] = (pending){0};
  tri_eval_window(s->e, s->submitted++, s->ids);
  return tri_client_submit(s->client, &m, s->ids, s->e->plan.context * sizeof *s->ids, err);
}

static tri_status take_tokens(scoring *s, const tri_msg_tokens *m, tri_error *err) {
  size_t w = s->done;
  while (w < s->accepted && s->ring[w % s->capacity].job != m->job) w++;
  pending *p = &s->ring[w % s->capacity];
  if (w == s->accepted || m->index != p->predictions)
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator sent scores of an unknown job, or not in order");
  for (uint32_t i = 0; i < m->n_logprobs; i++) tri_eval_add(s->e, w, m->index + i, m->logprobs[i], &p->nll, &p->squares, &p->count);
  p->predictions += m->n_logprobs;
  return TRI_OK;
}

/* Jobs end in order, so the sum is taken in the order of the windows whatever the timing. */
static tri_status take_done(scoring *s, const tri_msg_done *m, tri_error *err) {
  pending *p = &s->ring[s->done % s->capacity];
  if (m->reason == TRI_DONE_FAILED) return tri_status_fail(err, TRI_E_PROTOCOL, "window %zu failed: %s", s->done, m->error);
  if (s->done == s->accepted || p->job != m->job || p->predictions != s->e->plan.context - 1)
    return tri_status_fail(err, TRI_E_PROTOCOL, "window %zu ended with %zu of %zu scores", s->done, p->predictions,
                           s->e->plan.context - 1);
  s->e->nll += p->nll, s->e->squares += p->squares, s->e->count += p->count;
  s->done++;
  return TRI_OK;
}

static tri_status take_event(scoring *s, tri_error *err) {
  tri_client_event event;
  tri_status status = tri_client_next(s->client, &event, ANSWER_MS, err);
  if (status != TRI_OK) return status;
  switch (event.msg->kind) {
  case TRI_MSG_ACCEPTED:
    if (s->accepted == s->submitted) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator accepted a job that was not submitted");
    s->ring[s->accepted++ % s->capacity].job = event.msg->accepted.job;
    return TRI_OK;
  case TRI_MSG_TOKENS: return take_tokens(s, &event.msg->tokens, err);
  case TRI_MSG_DONE: return take_done(s, &event.msg->done, err);
  case TRI_MSG_REFUSE: return tri_status_fail(err, (tri_status)event.msg->refuse.status, "the coordinator refused: %s",
                                              event.msg->refuse.text);
  default: return TRI_OK;
  }
}

static tri_status score(tri_eval *e, tri_client *client, int workers, void *progress, tri_error *err) {
  scoring s = {.e = e, .client = client, .capacity = (size_t)workers + 2};
  s.ring = calloc(s.capacity, sizeof *s.ring);
  s.ids = malloc(e->plan.context * sizeof *s.ids);
  tri_status status = s.ring && s.ids ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  while (status == TRI_OK && s.done < e->windows) {
    if (s.submitted < e->windows && s.submitted - s.done < s.capacity) status = submit_one(&s, err);
    else status = take_event(&s, err);
    tri_progress_update(progress, s.done, e->windows);
  }
  free(s.ring), free(s.ids);
  return status;
}

tri_status tri_eval_cluster(tri_eval *e, const tri_cluster_options *o, void *progress, tri_error *err) {
  tri_cluster *cluster;
  tri_client *client = NULL;
  tri_status status = tri_cluster_start(&cluster, o, err);
  if (status != TRI_OK) return status;
  status = tri_cluster_dial(&client, cluster, err);
  if (status == TRI_OK) status = score(e, client, o->workers, progress, err);
  tri_client_close(&client);
  tri_cluster_stop(&cluster);
  return status;
}
