/* SPDX-License-Identifier: MIT */
#include "coordinator/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, APPLICATION = 0x54524930 /* "TRI0" */, BUSY_MS = 2000 };

/* One statement for each thing that is done often. */
typedef enum statement { ACCEPT, TWIN, LAST, STARTED, ADD, COUNT, ENDED, GET, EACH, UNFINISHED, PIECES, REST, REMOVE, OLD, SURPLUS, STATEMENTS } statement;

#define JOB_COLUMNS                                                                                                                   \
  "id, client_key, client, idempotency, request, payload, state, prompt_tokens, tokens, submitted_ms, started_ms, ended_ms, reason, " \
  "error"

static const char *const sql[STATEMENTS] = {
    [ACCEPT] = "INSERT INTO jobs (client_key, client, idempotency, request, payload, state, prompt_tokens, tokens, submitted_ms, id) "
               "VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, 0, ?7, ?8)",
    [TWIN] = "SELECT id FROM jobs WHERE client_key = ?1 AND idempotency = ?2",
    [LAST] = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs'",
    [STARTED] = "UPDATE jobs SET state = 1, started_ms = coalesce(started_ms, ?2) WHERE id = ?1 AND state < 2",
    [ADD] = "INSERT INTO pieces (job, first, envelope, text) VALUES (?1, ?2, ?3, ?4)",
    [COUNT] = "UPDATE jobs SET tokens = ?2 WHERE id = ?1",
    [ENDED] = "UPDATE jobs SET state = 2, reason = ?2, error = ?3, rest = ?4, ended_ms = ?5 WHERE id = ?1 AND state < 2",
    [GET] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1",
    [EACH] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id > ?1 ORDER BY id",
    [UNFINISHED] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id > ?1 AND state < 2 ORDER BY id",
    [PIECES] = "SELECT first, envelope, text FROM pieces WHERE job = ?1 AND first >= ?2 ORDER BY first",
    [REST] = "SELECT tokens, rest FROM jobs WHERE id = ?1 AND state = 2",
    [REMOVE] = "DELETE FROM jobs WHERE id = ?1 AND state = 2",
    [OLD] = "DELETE FROM jobs WHERE state = 2 AND ended_ms < ?1",
    [SURPLUS] = "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = 2 ORDER BY ended_ms DESC, id DESC LIMIT -1 OFFSET ?1)",
};

/* What brings a file of version i to version i + 1. */
static const char *const migrations[VERSION] = {
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, client_key BLOB NOT NULL, client TEXT NOT NULL, idempotency TEXT, "
    "  request BLOB NOT NULL, payload BLOB NOT NULL, state INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, tokens INTEGER NOT NULL, "
    "  submitted_ms INTEGER NOT NULL, started_ms INTEGER, ended_ms INTEGER, reason INTEGER, error TEXT, rest BLOB);"
    "CREATE UNIQUE INDEX twins ON jobs (client_key, idempotency) WHERE idempotency IS NOT NULL;"
    "CREATE INDEX unfinished ON jobs (id) WHERE state < 2;"
    "CREATE INDEX finished ON jobs (ended_ms, id) WHERE state = 2;"
    "CREATE TABLE pieces (job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, first INTEGER NOT NULL, envelope BLOB NOT NULL, "
    "  text BLOB NOT NULL, PRIMARY KEY (job, first)) WITHOUT ROWID;",
};

struct tri_store {
  sqlite3 *db;
  sqlite3_stmt *statement[STATEMENTS];
  char *path;
  bool open; /* a transaction is */
};

/* --- errors --- */

static tri_status failed(const tri_store *s, int code, tri_error *err) {
  const char *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code);
  switch (code & 0xff) {
  case SQLITE_FULL: return tri_status_fail(err, TRI_E_LIMIT, "%s: the disk is full; make room on it", s->path);
  case SQLITE_READONLY:
  case SQLITE_CANTOPEN:
  case SQLITE_PERM: return tri_status_fail(err, TRI_E_IO, "%s can't be written: %s; check its folder's owner and mode", s->path, why);
  case SQLITE_BUSY:
  case SQLITE_LOCKED: return tri_status_fail(err, TRI_E_IO, "%s is in use by another process; one coordinator alone may have it", s->path);
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB: return tri_status_fail(err, TRI_E_INVALID, "%s is damaged or no file of jobs; move it away to begin with none", s->path);
  case SQLITE_NOMEM: return tri_status_fail(err, TRI_E_NOMEM, "out of memory for %s", s->path);
  default: return tri_status_fail(err, TRI_E_IO, "%s: %s", s->path, why);
  }
}

static tri_status run(tri_store *s, const char *text, tri_error *err) {
  int code = sqlite3_exec(s->db, text, NULL, NULL, NULL);
  return code == SQLITE_OK ? TRI_OK : failed(s, code, err);
}

/* --- statements --- */

static sqlite3_stmt *begin(tri_store *s, statement which) {
  sqlite3_stmt *st = s->statement[which];
  sqlite3_reset(st);
  sqlite3_clear_bindings(st);
  return st;
}

static void bind_bytes(sqlite3_stmt *st, int i, const void *data, size_t len) {
  sqlite3_bind_blob64(st, i, len ? data : "", len, SQLITE_STATIC);
}

/* One that changes something. */
static tri_status finish(tri_store *s, sqlite3_stmt *st, tri_error *err) {
  int code = sqlite3_step(st);
  tri_status status = code == SQLITE_DONE ? TRI_OK : failed(s, code, err);
  sqlite3_reset(st);
  return status;
}

/* The open transaction, or a new one. */
static tri_status join(tri_store *s, tri_error *err) {
  if (s->open) return TRI_OK;
  tri_status status = run(s, "BEGIN IMMEDIATE", err);
  s->open = status == TRI_OK;
  return status;
}

tri_status tri_store_commit(tri_store *s, tri_error *err) {
  if (!s->open) return TRI_OK;
  s->open = false;
  tri_status status = run(s, "COMMIT", err);
  if (status != TRI_OK && !sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
  return status;
}

void tri_store_rollback(tri_store *s) {
  if (!sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
  s->open = false;
}

/* --- opening --- */

static int64_t pragma(tri_store *s, const char *text) {
  sqlite3_stmt *st;
  int64_t value = -1;
  if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK) return -1;
  if (sqlite3_step(st) == SQLITE_ROW) value = sqlite3_column_int64(st, 0);
  sqlite3_finalize(st);
  return value;
}

static tri_status migrate(tri_store *s, tri_error *err) {
  int64_t version = pragma(s, "PRAGMA user_version"), application = pragma(s, "PRAGMA application_id");
  if (version < 0 || application < 0) return failed(s, sqlite3_errcode(s->db), err);
  if (application != (version ? APPLICATION : 0)) return failed(s, SQLITE_NOTADB, err);
  if (version > VERSION)
    return tri_status_fail(err, TRI_E_INVALID, "%s was written by a later version of Trireme (%lld, this one knows %d); use that one", s->path,
                           (long long)version, VERSION);
  for (; version < VERSION; version++) {
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA user_version = %lld; PRAGMA application_id = %d", (long long)version + 1, APPLICATION);
    tri_status status = run(s, "BEGIN IMMEDIATE", err);
    if (status == TRI_OK) status = run(s, migrations[version], err);
    if (status == TRI_OK) status = run(s, mark, err);
    if (status == TRI_OK) status = run(s, "COMMIT", err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

static tri_status prepare(tri_store *s, tri_error *err) {
  for (int i = 0; i < STATEMENTS; i++) {
    int code = sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statement[i], NULL);
    if (code != SQLITE_OK) return failed(s, code, err);
  }
  return TRI_OK;
}

/* Prompts and answers are nobody else's to read. */
static tri_status make_private(const char *path, tri_error *err) {
  int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  struct stat st;
  bool ok = fd >= 0 && fstat(fd, &st) == 0;
  if (fd >= 0) close(fd);
  if (!ok) return tri_status_fail(err, TRI_E_IO, "%s: %s", path, strerror(errno));
  if (st.st_mode & 077)
    return tri_status_fail(err, TRI_E_DENIED, "%s may be read by others (mode %03o); chmod 600 it", path, st.st_mode & 0777);
  return TRI_OK;
}

tri_status tri_store_open(tri_store **out, const char *path, tri_error *err) {
  tri_status status = make_private(path, err);
  if (status != TRI_OK) return status;
  tri_store *s = calloc(1, sizeof *s);
  if (s) s->path = strdup(path);
  if (!s || !s->path) return free(s), tri_status_fail(err, TRI_E_NOMEM, "out of memory for %s", path);
  int code = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (code != SQLITE_OK) status = failed(s, code, err);
  if (status == TRI_OK) sqlite3_busy_timeout(s->db, BUSY_MS);
  /* exclusive: one coordinator alone, and no file for shared memory */
  if (status == TRI_OK)
    status = run(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; "
                    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", err);
  if (status == TRI_OK) status = migrate(s, err);
  if (status == TRI_OK) status = prepare(s, err);
  if (status != TRI_OK) return tri_store_close(&s), status;
  *out = s;
  return TRI_OK;
}

void tri_store_close(tri_store **store) {
  tri_store *s = *store;
  tri_error err;
  if (!s) return;
  if (s->db && tri_store_commit(s, &err) != TRI_OK) fprintf(stderr, "%s\n", err.text);
  for (int i = 0; i < STATEMENTS; i++) sqlite3_finalize(s->statement[i]);
  sqlite3_close(s->db);
  free(s->path);
  free(s);
  *store = NULL;
}

/* --- writing --- */

/* One that looks for a number, which stays as it is if there is none. */
static tri_status find_id(tri_store *s, sqlite3_stmt *st, uint64_t *id, tri_error *err) {
  int code = sqlite3_step(st);
  if (code == SQLITE_ROW) *id = (uint64_t)sqlite3_column_int64(st, 0);
  tri_status status = code == SQLITE_ROW || code == SQLITE_DONE ? TRI_OK : failed(s, code, err);
  sqlite3_reset(st);
  return status;
}

tri_status tri_store_last_id(tri_store *s, uint64_t *id, tri_error *err) {
  *id = 0;
  return find_id(s, begin(s, LAST), id, err);
}

tri_status tri_store_twin(tri_store *s, const uint8_t client_key[TRI_KEY_BYTES], const char *idempotency, uint64_t *id, tri_error *err) {
  sqlite3_stmt *st = begin(s, TWIN);
  *id = 0;
  bind_bytes(st, 1, client_key, TRI_KEY_BYTES);
  sqlite3_bind_text(st, 2, idempotency, -1, SQLITE_STATIC);
  return find_id(s, st, id, err);
}

static tri_status insert(tri_store *s, const tri_store_job *job, tri_error *err) {
  sqlite3_stmt *st = begin(s, ACCEPT);
  bind_bytes(st, 1, job->client_key, TRI_KEY_BYTES);
  sqlite3_bind_text(st, 2, job->client, -1, SQLITE_STATIC);
  if (job->idempotency[0]) sqlite3_bind_text(st, 3, job->idempotency, -1, SQLITE_STATIC);
  bind_bytes(st, 4, job->request, job->request_len);
  bind_bytes(st, 5, job->payload, job->payload_len);
  sqlite3_bind_int64(st, 6, job->prompt_tokens);
  sqlite3_bind_int64(st, 7, job->submitted_ms);
  sqlite3_bind_int64(st, 8, (sqlite3_int64)job->id);
  return finish(s, st, err);
}

/* The one commit that waits for the disk. */
tri_status tri_store_accept(tri_store *s, const tri_store_job *job, tri_error *err) {
  tri_error later;
  tri_status status = tri_store_commit(s, err);
  if (status == TRI_OK) status = run(s, "PRAGMA synchronous = FULL", err);
  if (status != TRI_OK) return status;
  status = join(s, err);
  if (status == TRI_OK) status = insert(s, job, err);
  if (status == TRI_OK) status = tri_store_commit(s, err);
  else tri_store_rollback(s);
  if (run(s, "PRAGMA synchronous = NORMAL", &later) != TRI_OK && status == TRI_OK) *err = later, status = later.status;
  return status;
}

tri_status tri_store_started(tri_store *s, uint64_t id, int64_t now_ms, tri_error *err) {
  tri_status status = join(s, err);
  if (status != TRI_OK) return status;
  sqlite3_stmt *st = begin(s, STARTED);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  sqlite3_bind_int64(st, 2, now_ms);
  return finish(s, st, err);
}

tri_status tri_store_add(tri_store *s, uint64_t id, const tri_store_piece *piece, uint32_t tokens, tri_error *err) {
  tri_status status = join(s, err);
  if (status != TRI_OK) return status;
  sqlite3_stmt *st = begin(s, ADD);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  sqlite3_bind_int64(st, 2, piece->index);
  bind_bytes(st, 3, piece->envelope, piece->envelope_len);
  bind_bytes(st, 4, piece->text, piece->text_len);
  status = finish(s, st, err);
  if (status != TRI_OK) return status;
  st = begin(s, COUNT);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  sqlite3_bind_int64(st, 2, piece->index + (sqlite3_int64)tokens);
  return finish(s, st, err);
}

tri_status tri_store_ended(tri_store *s, uint64_t id, tri_done_reason reason, const char *error, const uint8_t *rest, size_t rest_len,
                           int64_t now_ms, tri_error *err) {
  tri_status status = join(s, err);
  if (status != TRI_OK) return status;
  sqlite3_stmt *st = begin(s, ENDED);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  sqlite3_bind_int64(st, 2, reason);
  if (error && *error) sqlite3_bind_text(st, 3, error, -1, SQLITE_STATIC);
  bind_bytes(st, 4, rest, rest_len);
  sqlite3_bind_int64(st, 5, now_ms);
  return finish(s, st, err);
}

/* --- reading --- */

static void copy_text(sqlite3_stmt *st, int i, char *out, size_t size) {
  const unsigned char *text = sqlite3_column_text(st, i);
  snprintf(out, size, "%s", text ? (const char *)text : "");
}

static void read_job(sqlite3_stmt *st, tri_store_job *out) {
  *out = (tri_store_job){.id = (uint64_t)sqlite3_column_int64(st, 0), .request = sqlite3_column_blob(st, 4),
                         .request_len = (size_t)sqlite3_column_bytes(st, 4), .payload = sqlite3_column_blob(st, 5),
                         .payload_len = (size_t)sqlite3_column_bytes(st, 5), .state = (tri_store_state)sqlite3_column_int(st, 6),
                         .prompt_tokens = (uint32_t)sqlite3_column_int64(st, 7), .tokens = (uint32_t)sqlite3_column_int64(st, 8),
                         .submitted_ms = sqlite3_column_int64(st, 9), .started_ms = sqlite3_column_int64(st, 10),
                         .ended_ms = sqlite3_column_int64(st, 11), .reason = (tri_done_reason)sqlite3_column_int(st, 12)};
  if (sqlite3_column_bytes(st, 1) == TRI_KEY_BYTES) memcpy(out->client_key, sqlite3_column_blob(st, 1), TRI_KEY_BYTES);
  copy_text(st, 2, out->client, sizeof out->client);
  copy_text(st, 3, out->idempotency, sizeof out->idempotency);
  copy_text(st, 13, out->error, sizeof out->error);
}

tri_status tri_store_get(tri_store *s, uint64_t id, tri_store_job *out, tri_error *err) {
  sqlite3_stmt *st = begin(s, GET);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  int code = sqlite3_step(st);
  if (code == SQLITE_ROW) return read_job(st, out), TRI_OK;
  if (code != SQLITE_DONE) return failed(s, code, err);
  return tri_status_fail(err, TRI_E_NOT_FOUND, "there is no job %llu", (unsigned long long)id);
}

tri_status tri_store_each(tri_store *s, uint64_t after, bool unfinished, bool (*fn)(void *, const tri_store_job *), void *arg,
                          tri_error *err) {
  sqlite3_stmt *st = begin(s, unfinished ? UNFINISHED : EACH);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)after);
  int code;
  tri_store_job job;
  while ((code = sqlite3_step(st)) == SQLITE_ROW) {
    read_job(st, &job);
    if (!fn(arg, &job)) { code = SQLITE_DONE; break; }
  }
  tri_status status = code == SQLITE_DONE ? TRI_OK : failed(s, code, err);
  sqlite3_reset(st);
  return status;
}

static tri_status last_piece(tri_store *s, uint64_t id, bool (*fn)(void *, const tri_store_piece *), void *arg, tri_error *err) {
  sqlite3_stmt *st = begin(s, REST);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  int code = sqlite3_step(st);
  if (code == SQLITE_ROW) {
    tri_store_piece piece = {.index = (uint32_t)sqlite3_column_int64(st, 0), .text = sqlite3_column_blob(st, 1),
                             .text_len = (size_t)sqlite3_column_bytes(st, 1)};
    fn(arg, &piece);
  }
  sqlite3_reset(st);
  return code == SQLITE_ROW || code == SQLITE_DONE ? TRI_OK : failed(s, code, err);
}

tri_status tri_store_pieces(tri_store *s, uint64_t id, uint32_t first, bool (*fn)(void *, const tri_store_piece *), void *arg,
                            tri_error *err) {
  sqlite3_stmt *st = begin(s, PIECES);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  sqlite3_bind_int64(st, 2, first);
  int code;
  bool goes_on = true;
  while (goes_on && (code = sqlite3_step(st)) == SQLITE_ROW) {
    tri_store_piece piece = {.index = (uint32_t)sqlite3_column_int64(st, 0), .envelope = sqlite3_column_blob(st, 1),
                             .envelope_len = (size_t)sqlite3_column_bytes(st, 1), .text = sqlite3_column_blob(st, 2),
                             .text_len = (size_t)sqlite3_column_bytes(st, 2)};
    goes_on = fn(arg, &piece);
  }
  tri_status status = !goes_on || code == SQLITE_DONE ? TRI_OK : failed(s, code, err);
  sqlite3_reset(st);
  return status == TRI_OK && goes_on ? last_piece(s, id, fn, arg, err) : status;
}

/* --- forgetting --- */

tri_status tri_store_remove(tri_store *s, uint64_t id, tri_error *err) {
  tri_store_job job;
  tri_status status = tri_store_get(s, id, &job, err);
  if (status == TRI_OK && job.state != TRI_STORE_ENDED)
    status = tri_status_fail(err, TRI_E_BUSY, "job %llu has not ended; cancel it first", (unsigned long long)id);
  if (status == TRI_OK) status = join(s, err);
  if (status != TRI_OK) return status;
  sqlite3_stmt *st = begin(s, REMOVE);
  sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
  status = finish(s, st, err);
  return status == TRI_OK ? tri_store_commit(s, err) : status;
}

tri_status tri_store_prune(tri_store *s, int64_t before_ms, uint32_t most, uint32_t *n, tri_error *err) {
  const struct { statement which; int64_t value; } steps[] = {{OLD, before_ms}, {SURPLUS, most}};
  *n = 0;
  tri_status status = join(s, err);
  for (int i = 0; i < 2 && status == TRI_OK; i++) {
    sqlite3_stmt *st = begin(s, steps[i].which);
    sqlite3_bind_int64(st, 1, steps[i].value);
    status = finish(s, st, err);
    *n += (uint32_t)sqlite3_changes(s->db);
  }
  return status == TRI_OK ? tri_store_commit(s, err) : status;
}
