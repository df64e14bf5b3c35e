/* SPDX-License-Identifier: MIT */
/* The glue's journal: jobs that generate are on disk before they are accepted, and what their clients are told before it is sent. Whoever
 * has a number or a token so can rely on it, whatever becomes of this process. */
#include "coordinator/coordinator_impl.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

enum { PRUNE_MS = 600000 };

/* A Tokens envelope and its text, to be kept and then sent. */
typedef struct tell {
  uint64_t job;
  uint32_t index, tokens;
  size_t envelope_len, text_len;
  uint8_t *bytes; /* both; malloc'ed */
} tell;

struct coordinator_journal {
  tri_store *store;
  tell *tells;
  size_t n, capacity;
  bool troubled; /* it could not be written the last time */
  int64_t pruned_ms;
  tri_buf scratch;
};

static tri_store_piece piece_of(const tell *t) {
  return (tri_store_piece){.index = t->index, .envelope = t->bytes, .envelope_len = t->envelope_len,
                           .text = t->bytes + t->envelope_len, .text_len = t->text_len};
}

tri_store *coordinator_journal_store(const coordinator *c) { return c->journal ? c->journal->store : NULL; }

/* Writing failed: nothing is lost, but nothing goes on either. Said once. */
static bool trouble(coordinator *c, const tri_error *err) {
  tri_store_rollback(c->journal->store);
  if (!c->journal->troubled) TRI_ERROR("jobs wait, as they can't be kept: %s", err->text);
  c->journal->troubled = true;
  return false;
}

static void no_trouble(coordinator *c) {
  if (c->journal->troubled) TRI_INFO("jobs are kept again");
  c->journal->troubled = false;
}

bool coordinator_journal_troubled(const coordinator *c) { return c->journal && c->journal->troubled; }

/* --- what is new --- */

tri_status coordinator_journal_accept(coordinator *c, tri_job *job, const tri_msg_submit *m, const tri_incoming *in, const char *client,
                                      tri_error *err) {
  struct coordinator_journal *j = c->journal;
  if (!j || m->want != TRI_WANT_SAMPLE) return TRI_OK;
  tri_store_job kept = {.id = job->id, .payload = in->payload, .payload_len = in->payload_len, .prompt_tokens = job->prompt,
                        .submitted_ms = tri_clock_wall_ms()};
  c->outgoing = (tri_msg){.kind = TRI_MSG_SUBMIT, .submit = *m};
  tri_buf_clear(&j->scratch);
  tri_status status = tri_codec_encode(&c->outgoing, &j->scratch, err);
  if (status != TRI_OK) return status;
  kept.request = j->scratch.data, kept.request_len = j->scratch.len;
  memcpy(kept.client_key, in->key, TRI_KEY_BYTES);
  snprintf(kept.client, sizeof kept.client, "%s", client);
  snprintf(kept.idempotency, sizeof kept.idempotency, "%s", m->idempotency);
  if (!coordinator_journal_flush(c)) return tri_status_fail(err, TRI_E_BUSY, "jobs can't be kept at the moment, see the coordinator's log");
  status = tri_store_accept(j->store, &kept, err);
  job->durable = status == TRI_OK;
  return status;
}

void coordinator_journal_tell(coordinator *c, tri_job *job, const uint8_t *text, size_t len) {
  struct coordinator_journal *j = c->journal;
  tri_error err;
  if (j->n == j->capacity) {
    size_t capacity = j->capacity ? 2 * j->capacity : 64;
    tell *tells = realloc(j->tells, capacity * sizeof *tells);
    if (tells) j->tells = tells, j->capacity = capacity;
  }
  tri_buf_clear(&j->scratch);
  bool ok = j->n < j->capacity && tri_codec_encode(&c->outgoing, &j->scratch, &err) == TRI_OK;
  size_t envelope = j->scratch.len;
  tri_buf_append(&j->scratch, text, len);
  uint8_t *bytes = ok && tri_buf_ok(&j->scratch) ? malloc(j->scratch.len + 1) : NULL;
  if (!bytes) {
    tri_jobs_end(&c->jobs, job, TRI_DONE_FAILED, "out of memory for what its client is to be told", tri_clock_us());
    return;
  }
  memcpy(bytes, j->scratch.data, j->scratch.len);
  j->tells[j->n++] = (tell){.job = job->id, .index = c->outgoing.tokens.index, .tokens = c->outgoing.tokens.n_tokens,
                            .envelope_len = envelope, .text_len = len, .bytes = bytes};
}

static tri_status keep_tells(struct coordinator_journal *j, tri_error *err) {
  tri_status status = TRI_OK;
  for (size_t i = 0; i < j->n && status == TRI_OK; i++) {
    const tri_store_piece piece = piece_of(&j->tells[i]);
    status = tri_store_add(j->store, j->tells[i].job, &piece, j->tells[i].tokens, err);
  }
  return status == TRI_OK ? tri_store_commit(j->store, err) : status;
}

static void send_tell(coordinator *c, const tell *t) {
  tri_error err;
  tri_job *job = tri_jobs_find(&c->jobs, t->job);
  if (!job) return;
  if (job->sends && tri_codec_decode(t->bytes, t->envelope_len, &c->outgoing, &err) == TRI_OK)
    if (coordinator_send_to_job(c, job, t->bytes + t->envelope_len, t->text_len) == TRI_E_BUSY) coordinator_fail_slow_reader(c, job);
  if (job->state == TRI_JOB_ENDED) coordinator_finish_job(c, job);
}

bool coordinator_journal_flush(coordinator *c) {
  struct coordinator_journal *j = c->journal;
  tri_error err;
  if (!j || !j->n) return true;
  if (keep_tells(j, &err) != TRI_OK) return trouble(c, &err);
  no_trouble(c);
  size_t n = j->n;
  j->n = 0; /* before what follows comes here again */
  for (size_t i = 0; i < n; i++) {
    send_tell(c, &j->tells[i]);
    free(j->tells[i].bytes);
  }
  return true;
}

bool coordinator_journal_end(coordinator *c, tri_job *job, const tri_msg_done *done) {
  tri_error err;
  uint64_t id = job->id;
  if (!job->durable || job->recorded) return true;
  if (!coordinator_journal_flush(c) || !tri_jobs_find(&c->jobs, id)) return false; /* the latter: that was done with it */
  tri_status status = tri_store_ended(c->journal->store, job->id, done->reason, done->error, job->rest.data, job->rest.len,
                                      tri_clock_wall_ms(), &err);
  if (status == TRI_OK) status = tri_store_commit(c->journal->store, &err);
  if (status != TRI_OK) return trouble(c, &err);
  no_trouble(c);
  return job->recorded = true;
}

void coordinator_journal_started(coordinator *c, const tri_job *job) {
  tri_error err;
  if (job->durable && tri_store_started(c->journal->store, job->id, tri_clock_wall_ms(), &err) != TRI_OK) trouble(c, &err);
}

/* --- what is old --- */

static bool restore_piece(void *arg, const tri_store_piece *piece) {
  coordinator *c = arg;
  tri_error err;
  tri_job *job = c->jobs.last;
  if (!piece->envelope || tri_codec_decode(piece->envelope, piece->envelope_len, &c->incoming, &err) != TRI_OK) return true;
  const tri_msg_tokens *m = &c->incoming.tokens;
  for (uint32_t i = 0; i < m->n_tokens && job->state != TRI_JOB_ENDED; i++)
    tri_jobs_token(&c->jobs, job, m->tokens[i], tri_clock_us(), &c->text);
  tri_buf_clear(&c->text);
  return true;
}

static void take_up(tri_job *job, const tri_store_job *kept, const tri_msg_submit *m) {
  int64_t now_us = tri_clock_us(), now_ms = tri_clock_wall_ms();
  job->durable = true;
  job->sends = false;
  if (!m->detach) job->orphaned_us = now_us;
  if (kept->state == TRI_STORE_RUNNING) job->started_us = now_us;
  if (m->deadline_ms) job->deadline_us = now_us + 1000 * (kept->submitted_ms + m->deadline_ms - now_ms);
}

/* One that can't go on, as this coordinator's model or limits are others, ends with the reason. */
static tri_status restore_job(coordinator *c, const tri_store_job *kept, tri_error *err) {
  tri_job *job;
  uint32_t ahead;
  tri_error why;
  tri_incoming in = {.payload = kept->payload, .payload_len = kept->payload_len};
  memcpy(in.key, kept->client_key, TRI_KEY_BYTES);
  tri_status status = tri_codec_decode(kept->request, kept->request_len, &c->incoming, &why);
  tri_msg_submit m = c->incoming.submit;
  m.protocol = TRI_PROTOCOL;
  c->jobs.next_id = kept->id;
  if (status == TRI_OK) status = tri_jobs_submit(&c->jobs, &m, &in, tri_clock_us(), &job, &ahead, &why);
  if (status != TRI_OK) {
    TRI_WARN("job %llu can't go on: %s", (unsigned long long)kept->id, why.text);
    return tri_store_ended(c->journal->store, kept->id, TRI_DONE_FAILED, why.text, NULL, 0, tri_clock_wall_ms(), err);
  }
  take_up(job, kept, &m);
  return tri_store_pieces(c->journal->store, kept->id, 0, restore_piece, c, err);
}

typedef struct ids {
  uint64_t *at;
  size_t n, capacity;
} ids;

static bool note_id(void *arg, const tri_store_job *job) {
  ids *list = arg;
  if (list->n == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 256;
    uint64_t *at = realloc(list->at, capacity * sizeof *at);
    if (!at) return false;
    list->at = at, list->capacity = capacity;
  }
  list->at[list->n++] = job->id;
  return true;
}

static tri_status restore_all(coordinator *c, tri_error *err) {
  ids list = {0};
  uint64_t last = 0;
  tri_store_job kept;
  tri_status status = tri_store_each(c->journal->store, 0, true, note_id, &list, err);
  for (size_t i = 0; i < list.n && status == TRI_OK; i++) {
    status = tri_store_get(c->journal->store, list.at[i], &kept, err);
    if (status == TRI_OK) status = restore_job(c, &kept, err);
  }
  if (status == TRI_OK) status = tri_store_commit(c->journal->store, err);
  if (status == TRI_OK) status = tri_store_last_id(c->journal->store, &last, err);
  c->jobs.next_id = last + 1;
  if (status == TRI_OK && c->jobs.queued) TRI_INFO("%u job(s) of before go on", c->jobs.queued);
  free(list.at);
  return status;
}

void coordinator_journal_tend(coordinator *c, int64_t now_ms) {
  struct coordinator_journal *j = c->journal;
  tri_error err;
  uint32_t n;
  if (!j || (j->pruned_ms && now_ms - j->pruned_ms < PRUNE_MS)) return;
  j->pruned_ms = now_ms;
  if (tri_store_prune(j->store, tri_clock_wall_ms() - c->config->keep_ms, c->config->keep_jobs, &n, &err) != TRI_OK) trouble(c, &err);
  else if (n) TRI_INFO("%u ended job(s) are forgotten", n);
}

tri_status coordinator_journal_open(coordinator *c, tri_error *err) {
  char path[PATH_MAX];
  const char *given = c->config->jobs_path;
  if (given && strcmp(given, "none") == 0) return TRI_OK;
  if (!given && (size_t)snprintf(path, sizeof path, "%s/jobs.db", c->config->key_dir) >= sizeof path)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: the path is too long", c->config->key_dir);
  c->journal = calloc(1, sizeof *c->journal);
  if (!c->journal) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_status status = tri_store_open(&c->journal->store, given ? given : path, err);
  return status == TRI_OK ? restore_all(c, err) : status;
}

void coordinator_journal_close(coordinator *c) {
  struct coordinator_journal *j = c->journal;
  if (!j) return;
  coordinator_journal_flush(c);
  for (size_t i = 0; i < j->n; i++) free(j->tells[i].bytes);
  free(j->tells);
  tri_store_close(&j->store);
  tri_buf_free(&j->scratch);
  free(j);
  c->journal = NULL;
}
