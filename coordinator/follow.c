/* SPDX-License-Identifier: MIT */
/* The glue's answers about jobs of before: following one from any token on, lists, forgetting. All is read from the journal. */
#include "coordinator/coordinator_impl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

enum { MOST_LISTED = 1000 };

/* The kept job, if this client may have to do with it; else it is refused. */
static bool find_kept(coordinator *c, const tri_incoming *in, uint64_t id, const tri_allowed *who, tri_store_job *out) {
  tri_store *store = coordinator_journal_store(c);
  tri_error err;
  tri_status status;
  if (!store) status = tri_status_fail(&err, TRI_E_UNSUPPORTED, "this coordinator keeps no jobs (--jobs none)");
  else if (!coordinator_journal_flush(c)) status = tri_status_fail(&err, TRI_E_BUSY, "jobs can't be kept at the moment, see the coordinator's log");
  else status = tri_store_get(store, id, out, &err);
  if (status == TRI_OK && memcmp(out->client_key, in->key, TRI_KEY_BYTES) != 0 && who->role != TRI_ROLE_ADMIN)
    status = tri_status_fail(&err, TRI_E_DENIED, "job %llu is another client's; only it or an admin may do that", (unsigned long long)id);
  if (status != TRI_OK) coordinator_refuse(c, in, status, err.text);
  return status == TRI_OK;
}

/* --- following --- */

/* Pieces on their way to who follows, as many tokens in a message as it may hold. */
typedef struct replay {
  coordinator *c;
  const tri_peer *to;
  tri_msg_tokens tokens;
  tri_buf text;
  tri_status status;
  tri_error err;
} replay;

static void send_replay(replay *r) {
  if (r->status == TRI_OK && (r->tokens.n_tokens || r->text.len)) {
    r->c->outgoing = (tri_msg){.kind = TRI_MSG_TOKENS, .tokens = r->tokens};
    r->status = coordinator_send(r->c, r->to, r->text.data, r->text.len, &r->err);
  }
  r->tokens.n_tokens = r->tokens.n_logprobs = r->tokens.n_top = 0;
  tri_buf_clear(&r->text);
}

static bool replay_piece(void *arg, const tri_store_piece *piece) {
  replay *r = arg;
  tri_msg *m = &r->c->incoming;
  if (!piece->envelope) return true; /* the rest comes with Done */
  if (tri_codec_decode(piece->envelope, piece->envelope_len, m, &r->err) != TRI_OK) return r->status = r->err.status, false;
  if (r->tokens.n_tokens + m->tokens.n_tokens > TRI_MAX_RUNS) send_replay(r);
  if (!r->tokens.n_tokens) r->tokens.index = piece->index;
  for (uint32_t i = 0; i < m->tokens.n_tokens; i++) {
    r->tokens.tokens[r->tokens.n_tokens++] = m->tokens.tokens[i];
    r->tokens.logprobs[r->tokens.n_logprobs++] = m->tokens.logprobs[i];
  }
  memcpy(r->tokens.top_tokens + r->tokens.n_top, m->tokens.top_tokens, m->tokens.n_top * sizeof *m->tokens.top_tokens);
  memcpy(r->tokens.top_logprobs + r->tokens.n_top, m->tokens.top_logprobs, m->tokens.n_top * sizeof *m->tokens.top_logprobs);
  r->tokens.n_top += m->tokens.n_top;
  tri_buf_append(&r->text, piece->text, piece->text_len);
  return r->status == TRI_OK;
}

static bool take_rest(void *arg, const tri_store_piece *piece) {
  tri_buf *rest = arg;
  if (!piece->envelope) tri_buf_append(rest, piece->text, piece->text_len);
  return true;
}

static tri_status send_done(replay *r, const tri_store_job *kept) {
  tri_status status = tri_store_pieces(coordinator_journal_store(r->c), kept->id, UINT32_MAX, take_rest, &r->text, &r->err);
  if (status != TRI_OK) return status;
  int64_t started = kept->started_ms ? kept->started_ms : kept->ended_ms;
  r->c->outgoing = (tri_msg){.kind = TRI_MSG_DONE, .done = {.job = kept->id, .reason = kept->reason, .prompt_tokens = kept->prompt_tokens,
                             .tokens = kept->tokens, .queued_us = 1000 * (uint64_t)(started - kept->submitted_ms),
                             .decode_us = 1000 * (uint64_t)(kept->ended_ms - started)}};
  memcpy(r->c->outgoing.done.error, kept->error, sizeof kept->error);
  return coordinator_send(r->c, r->to, r->text.data, r->text.len, &r->err);
}

static void adopt(tri_job *job, tri_peer client) {
  job->client = client;
  job->sends = job->announced = true;
  job->orphaned_us = 0;
  job->paused = job->yields = false;
}

/* From token `from` of its answer on; then it is this client that is told what comes. */
void coordinator_follow(coordinator *c, const tri_incoming *in, uint64_t id, uint32_t from, const tri_allowed *who) {
  tri_store_job kept;
  if (!find_kept(c, in, id, who, &kept)) return;
  replay r = {.c = c, .to = &in->from, .tokens = {.job = id}};
  c->outgoing = (tri_msg){.kind = TRI_MSG_ACCEPTED, .accepted = {.job = id, .prompt_tokens = kept.prompt_tokens}};
  r.status = coordinator_send(c, r.to, NULL, 0, &r.err);
  if (r.status == TRI_OK) {
    tri_status status = tri_store_pieces(coordinator_journal_store(c), id, from, replay_piece, &r, &r.err);
    if (r.status == TRI_OK) r.status = status;
    send_replay(&r);
  }
  tri_job *job = tri_jobs_find(&c->jobs, id);
  if (r.status == TRI_OK && job) adopt(job, in->from);
  else if (r.status == TRI_OK && tri_store_get(coordinator_journal_store(c), id, &kept, &r.err) == TRI_OK) r.status = send_done(&r, &kept);
  tri_buf_free(&r.text);
  if (r.status == TRI_OK) return;
  TRI_WARN("%s could not follow job %llu: %s", who->name, (unsigned long long)id, r.err.text);
  coordinator_refuse(c, in, r.status, r.err.text);
}

/* --- lists --- */

typedef struct list {
  const uint8_t *key; /* NULL: everybody's */
  json_t *jobs;
  size_t most;
} list;

static json_t *describe(const tri_store_job *job) {
  static const char *const states[] = {"queued", "running", "ended"};
  bool ended = job->state == TRI_STORE_ENDED;
  json_t *out = json_pack("{s:I, s:s, s:s, s:i, s:i, s:I}", "job", (json_int_t)job->id, "client", job->client, "state",
                          ended ? tri_done_reason_name(job->reason) : states[job->state], "prompt_tokens", (int)job->prompt_tokens, "tokens",
                          (int)job->tokens, "submitted_ms", (json_int_t)job->submitted_ms);
  if (job->started_ms) json_object_set_new(out, "started_ms", json_integer(job->started_ms));
  if (ended) json_object_set_new(out, "ended_ms", json_integer(job->ended_ms));
  if (job->error[0]) json_object_set_new(out, "error", json_string(job->error));
  if (job->idempotency[0]) json_object_set_new(out, "idempotency", json_string(job->idempotency));
  return out;
}

static bool list_job(void *arg, const tri_store_job *job) {
  list *l = arg;
  if (!l->key || memcmp(l->key, job->client_key, TRI_KEY_BYTES) == 0) json_array_append_new(l->jobs, describe(job));
  return json_array_size(l->jobs) < l->most;
}

static void send_jobs(coordinator *c, const tri_incoming *in, json_t *doc) {
  tri_error err;
  char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
  c->outgoing = (tri_msg){.kind = TRI_MSG_JOBS};
  tri_status status = text ? coordinator_send(c, &in->from, text, strlen(text), &err) : tri_status_fail(&err, TRI_E_NOMEM, "out of memory");
  if (status != TRI_OK) TRI_WARN("a list of jobs could not be sent: %s", err.text);
  free(text);
  json_decref(doc);
}

static bool add_text(void *arg, const tri_store_piece *piece) {
  tri_buf_append(arg, piece->text, piece->text_len);
  return true;
}

static void send_one(coordinator *c, const tri_incoming *in, uint64_t id, const tri_allowed *who) {
  tri_store_job kept;
  tri_error err;
  if (!find_kept(c, in, id, who, &kept)) return;
  json_t *doc = describe(&kept);
  const tri_job *job = tri_jobs_find(&c->jobs, id);
  if (job) json_object_set_new(doc, "state", json_string(job->state == TRI_JOB_QUEUED ? "queued" : "running"));
  tri_buf text = {0};
  if (tri_store_pieces(coordinator_journal_store(c), id, 0, add_text, &text, &err) == TRI_OK)
    json_object_set_new(doc, "text", json_stringn(text.data ? (const char *)text.data : "", text.len));
  tri_buf_free(&text);
  send_jobs(c, in, doc);
}

void coordinator_list_jobs(coordinator *c, const tri_incoming *in, const tri_msg *m, const tri_allowed *who) {
  tri_error err;
  tri_store *store = coordinator_journal_store(c);
  uint32_t limit = m->jobs_request.limit;
  if (m->jobs_request.job) {
    send_one(c, in, m->jobs_request.job, who);
    return;
  }
  list l = {.key = who->role == TRI_ROLE_ADMIN ? NULL : in->key, .jobs = json_array(), .most = limit && limit < MOST_LISTED ? limit : MOST_LISTED};
  tri_status status = store ? TRI_OK : tri_status_fail(&err, TRI_E_UNSUPPORTED, "this coordinator keeps no jobs (--jobs none)");
  if (status == TRI_OK) coordinator_journal_flush(c);
  if (status == TRI_OK) status = tri_store_each(store, m->jobs_request.after, false, list_job, &l, &err);
  if (status == TRI_OK) send_jobs(c, in, l.jobs);
  else json_decref(l.jobs), coordinator_refuse(c, in, status, err.text);
}

void coordinator_forget_job(coordinator *c, const tri_incoming *in, uint64_t id, const tri_allowed *who) {
  tri_store_job kept;
  tri_error err;
  if (!find_kept(c, in, id, who, &kept)) return;
  tri_status status = tri_store_remove(coordinator_journal_store(c), id, &err);
  if (status == TRI_OK) send_jobs(c, in, json_array());
  else coordinator_refuse(c, in, status, err.text);
}
