/* SPDX-License-Identifier: MIT */
#include "cli/eval.h"

#include <stdlib.h>
#include "cli/cli.h"

enum { ANSWER_MS = 600000 };

/* A window's job, from submit to its last logprob. */
typedef struct pending {
  uint64_t job; /* 0: not accepted yet */
  size_t predictions;
  double nll;
} pending;

typedef struct scoring {
  tri_eval *e;
  tri_client *client;
  pending *ring; /* windows [done, submitted), window w at w % capacity */
  size_t capacity, submitted, accepted, done;
} scoring;

static tri_status submit_one(scoring *s, tri_error *err) {
  static tri_msg_submit m = {.ids = true, .no_bos = true, .want = TRI_WANT_SCORE};
  s->ring[s->submitted % s->capacity] = (pending){0};
  const int32_t *window = s->e->ids + s->submitted++ * s->e->context;
  return tri_client_submit(s->client, &m, window, s->e->context * sizeof *window, err);
}

static pending *find(scoring *s, uint64_t job) {
  for (size_t w = s->done; w < s->accepted; w++)
    if (s->ring[w % s->capacity].job == job) return &s->ring[w % s->capacity];
  return NULL;
}

static tri_status take_tokens(scoring *s, const tri_msg_tokens *m, tri_error *err) {
  pending *p = find(s, m->job);
  if (!p) return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator sent scores of an unknown job");
  for (uint32_t i = 0; i < m->n_logprobs; i++) p->nll -= (double)m->logprobs[i];
  p->predictions += m->n_logprobs;
  return TRI_OK;
}

/* Jobs end in order, so the sum is taken in the order of the windows whatever the timing. */
static tri_status take_done(scoring *s, const tri_msg_done *m, tri_error *err) {
  pending *p = &s->ring[s->done % s->capacity];
  if (m->reason == TRI_DONE_FAILED) return tri_status_fail(err, TRI_E_PROTOCOL, "window %zu failed: %s", s->done, m->error);
  if (s->done == s->accepted || p->job != m->job || p->predictions != s->e->context - 1)
    return tri_status_fail(err, TRI_E_PROTOCOL, "window %zu ended with %zu of %zu scores", s->done, p->predictions, s->e->context - 1);
  s->e->nll += p->nll;
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
  if (!(s.ring = calloc(s.capacity, sizeof *s.ring))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = TRI_OK;
  while (status == TRI_OK && s.done < e->windows) {
    if (s.submitted < e->windows && s.submitted - s.done < s.capacity) status = submit_one(&s, err);
    else status = take_event(&s, err);
    tri_progress_update(progress, s.done, e->windows);
  }
  free(s.ring);
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
