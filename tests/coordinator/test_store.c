/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/trireme-store-XXXXXX", path[64];
static tri_store *store;
static tri_error err;

static void reopen(void) {
  tri_store_close(&store);
  assert_ok(tri_store_open(&store, path, &err), err);
}

static int start(void **state) {
  (void)state;
  strcpy(dir, "/tmp/trireme-store-XXXXXX");
  if (!mkdtemp(dir)) return -1;
  snprintf(path, sizeof path, "%s/jobs.db", dir);
  reopen();
  return 0;
}

static int stop(void **state) {
  (void)state;
  tri_store_close(&store);
  const char *const ends[] = {"", "-wal", "-shm", "-journal"};
  for (int i = 0; i < 4; i++) {
    char name[80];
    snprintf(name, sizeof name, "%s%s", path, ends[i]);
    unlink(name);
  }
  return rmdir(dir);
}

static uint64_t accept_job(uint8_t client, const char *idempotency, const char *prompt) {
  tri_store_job job = {.client_key = {client}, .client = "ann", .request = (const uint8_t *)"request", .request_len = 7,
                       .payload = (const uint8_t *)prompt, .payload_len = strlen(prompt), .prompt_tokens = 5, .submitted_ms = 1000};
  snprintf(job.idempotency, sizeof job.idempotency, "%s", idempotency);
  assert_ok(tri_store_last_id(store, &job.id, &err), err);
  job.id++;
  assert_ok(tri_store_accept(store, &job, &err), err);
  return job.id;
}

static void add(uint64_t id, uint32_t index, const char *text) {
  tri_store_piece piece = {.index = index, .envelope = (const uint8_t *)"e", .envelope_len = 1, .text = (const uint8_t *)text,
                           .text_len = strlen(text)};
  assert_ok(tri_store_add(store, id, &piece, 1, &err), err);
}

static char told[256];

static bool note_piece(void *arg, const tri_store_piece *piece) {
  size_t n = strlen(told);
  (void)arg;
  snprintf(told + n, sizeof told - n, "%u%s:%.*s ", piece->index, piece->envelope ? "" : "-", (int)piece->text_len, (const char *)piece->text);
  return true;
}

static const char *pieces(uint64_t id, uint32_t first) {
  told[0] = 0;
  assert_ok(tri_store_pieces(store, id, first, note_piece, NULL, &err), err);
  return told;
}

static bool note_job(void *arg, const tri_store_job *job) {
  size_t n = strlen(told);
  (void)arg;
  snprintf(told + n, sizeof told - n, "%llu/%d ", (unsigned long long)job->id, job->state);
  return true;
}

static const char *each(uint64_t after, bool unfinished) {
  told[0] = 0;
  assert_ok(tri_store_each(store, after, unfinished, note_job, NULL, &err), err);
  return told;
}

static void a_jobs_life_is_there_after_another_open(void **state) {
  (void)state;
  tri_store_job job;
  uint64_t a = accept_job(1, "", "once upon"), b = accept_job(2, "", "a time");
  assert_int_equal(b, a + 1);
  assert_ok(tri_store_started(store, a, 2000, &err), err);
  add(a, 0, "there"), add(a, 1, " was"), add(a, 2, "");
  reopen();
  assert_ok(tri_store_get(store, a, &job, &err), err);
  assert_int_equal(job.state, TRI_STORE_RUNNING);
  assert_int_equal(job.tokens, 3);
  assert_int_equal(job.client_key[0], 1);
  assert_string_equal(job.client, "ann");
  assert_int_equal(job.request_len, 7);
  assert_memory_equal(job.payload, "once upon", 9);
  assert_int_equal(job.submitted_ms, 1000);
  assert_int_equal(job.started_ms, 2000);
  assert_int_equal(job.ended_ms, 0);
  assert_string_equal(pieces(a, 0), "0:there 1: was 2: ");
  assert_string_equal(pieces(a, 1), "1: was 2: ");
  assert_string_equal(each(0, true), "1/1 2/0 ");
  assert_ok(tri_store_ended(store, a, TRI_DONE_FAILED, "no luck", (const uint8_t *)"!", 1, 3000, &err), err);
  assert_ok(tri_store_ended(store, a, TRI_DONE_END, NULL, NULL, 0, 4000, &err), err); /* a second end changes nothing */
  reopen();
  assert_ok(tri_store_get(store, a, &job, &err), err);
  assert_int_equal(job.reason, TRI_DONE_FAILED);
  assert_string_equal(job.error, "no luck");
  assert_int_equal(job.ended_ms, 3000);
  assert_string_equal(pieces(a, 2), "2: 3-:! ");
  assert_string_equal(each(0, true), "2/0 ");
  assert_string_equal(each(0, false), "1/2 2/0 ");
  assert_string_equal(each(1, false), "2/0 ");
  assert_fails(tri_store_get(store, 77, &job, &err), TRI_E_NOT_FOUND, err, "no job 77");
}

static void an_idempotency_key_is_used_once_a_client(void **state) {
  (void)state;
  uint64_t first = accept_job(1, "k", "x"), other = accept_job(2, "k", "x"), id;
  assert_true(other != first);
  const uint8_t one[TRI_KEY_BYTES] = {1}, three[TRI_KEY_BYTES] = {3};
  assert_ok(tri_store_twin(store, one, "k", &id, &err), err);
  assert_int_equal(id, first);
  assert_ok(tri_store_twin(store, one, "l", &id, &err), err);
  assert_int_equal(id, 0);
  assert_ok(tri_store_twin(store, three, "k", &id, &err), err);
  assert_int_equal(id, 0);
  tri_store_job job = {.id = 99, .client_key = {1}, .idempotency = "k", .request = (const uint8_t *)"r", .request_len = 1};
  assert_fails(tri_store_accept(store, &job, &err), TRI_E_IO, err, "UNIQUE");
  accept_job(1, "", "x"), accept_job(1, "", "x"); /* none is none */
}

static void ended_jobs_are_forgotten_in_time(void **state) {
  (void)state;
  uint32_t n;
  tri_store_job job;
  for (int64_t i = 1; i <= 6; i++) {
    uint64_t id = accept_job(1, "", "x");
    add(id, 0, "y");
    if (i < 6) assert_ok(tri_store_ended(store, id, TRI_DONE_END, NULL, NULL, 0, i * 1000, &err), err);
  }
  assert_fails(tri_store_remove(store, 6, &err), TRI_E_BUSY, err, "has not ended");
  assert_fails(tri_store_remove(store, 9, &err), TRI_E_NOT_FOUND, err, "no job 9");
  assert_ok(tri_store_remove(store, 3, &err), err);
  assert_string_equal(pieces(3, 0), "");
  assert_ok(tri_store_prune(store, 2000, 2, &n, &err), err);
  assert_int_equal(n, 2); /* 1 is too old, and of 2, 4 and 5 the first is one too many */
  assert_string_equal(each(0, false), "4/2 5/2 6/0 ");
  assert_ok(tri_store_get(store, 6, &job, &err), err);
  reopen();
  assert_int_equal(accept_job(1, "", "x"), 7); /* numbers are not used again */
  for (uint64_t id = 4; id <= 5; id++) assert_ok(tri_store_remove(store, id, &err), err);
}

/* A process that is killed loses nothing of what it committed, and leaves nothing half done. */
static void a_kill_loses_nothing(void **state) {
  (void)state;
  for (int round = 0; round < 10; round++) {
    int fds[2];
    uint64_t id = 0;
    uint32_t sent = 0;
    tri_store_close(&store);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
      if (tri_store_open(&store, path, &err) != TRI_OK) _exit(1);
      id = accept_job(1, "", "prompt");
      if (write(fds[1], &id, sizeof id) != sizeof id) _exit(1);
      for (uint32_t i = 0;; i++) {
        add(id, i, "z");
        if (tri_store_commit(store, &err) != TRI_OK || write(fds[1], &i, sizeof i) != sizeof i) _exit(1);
      }
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &id, sizeof id), sizeof id);
    for (int i = 0; i < 20 + 7 * round; i++) assert_int_equal(read(fds[0], &sent, sizeof sent), sizeof sent);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(fds[0], &sent, sizeof sent) == sizeof sent) {}
    close(fds[0]);
    reopen();
    tri_store_job job;
    assert_ok(tri_store_get(store, id, &job, &err), err);
    assert_true(job.tokens == sent + 1 || job.tokens == sent + 2);
    assert_int_equal(job.state, TRI_STORE_QUEUED);
  }
}

static void put(const char *text, size_t len, mode_t mode) {
  tri_store_close(&store);
  FILE *f = fopen(path, "wb");
  fwrite(text, 1, len, f);
  fclose(f);
  chmod(path, mode);
}

static void files_that_are_not_ours_are_refused(void **state) {
  (void)state;
  char wild[8192];
  for (size_t i = 0; i < sizeof wild; i++) wild[i] = (char)(i * 31);
  chmod(path, 0644);
  tri_store_close(&store);
  assert_fails(tri_store_open(&store, path, &err), TRI_E_DENIED, err, "may be read by others");
  put(wild, sizeof wild, 0600);
  assert_fails(tri_store_open(&store, path, &err), TRI_E_INVALID, err, "damaged or no file of jobs");
  put("", 0, 0600);
  assert_ok(tri_store_open(&store, path, &err), err);
  accept_job(1, "", "x");
  tri_store *second = NULL;
  assert_fails(tri_store_open(&second, path, &err), TRI_E_IO, err, "in use by another process");
  assert_fails(tri_store_open(&second, "/nonexistent/jobs.db", &err), TRI_E_IO, err, "/nonexistent/jobs.db");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_jobs_life_is_there_after_another_open, start, stop),
      cmocka_unit_test_setup_teardown(an_idempotency_key_is_used_once_a_client, start, stop),
      cmocka_unit_test_setup_teardown(ended_jobs_are_forgotten_in_time, start, stop),
      cmocka_unit_test_setup_teardown(a_kill_loses_nothing, start, stop),
      cmocka_unit_test_setup_teardown(files_that_are_not_ours_are_refused, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
