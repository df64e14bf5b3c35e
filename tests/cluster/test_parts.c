/* SPDX-License-Identifier: MIT */
/* Workers without a model file: its parts come over the network, stay, are shared, and are found out when they are damaged. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cluster/lab.h"

static tri_error err;
static const char prompt[] = "Once upon a time";

static tri_cluster *start(int workers) {
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = workers, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT, .fetch = true};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  return c;
}

static void generate(const tri_cluster *c, lab_job *job) {
  tri_client *client = lab_dial(c);
  tri_msg_submit m = lab_request(TRI_WANT_SAMPLE, 20);
  lab_run(client, &m, prompt, sizeof prompt - 1, job);
  assert_int_equal(job->done.reason, TRI_DONE_LENGTH);
  tri_client_close(&client);
}

static void folder_of(const tri_cluster *c, int worker, char out[PATH_MAX]) {
  snprintf(out, PATH_MAX, "%.4000s/w%d/parts", tri_cluster_dir(c), worker + 1);
}

/* Files of a worker's store: how many, and their bytes; the largest one's path, if wanted. */
static int count_parts(const tri_cluster *c, int worker, uint64_t *bytes, char *largest) {
  char dir[PATH_MAX], path[PATH_MAX + 300];
  uint64_t most = 0;
  int n = 0;
  folder_of(c, worker, dir);
  DIR *d = opendir(dir);
  assert_non_null(d);
  *bytes = 0;
  for (struct dirent *e; (e = readdir(d));) {
    struct stat st;
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    assert_int_equal(stat(path, &st), 0);
    n++, *bytes += (uint64_t)st.st_size;
    if ((uint64_t)st.st_size > most && largest) most = (uint64_t)st.st_size, snprintf(largest, PATH_MAX, "%.*s", PATH_MAX - 1, path);
  }
  closedir(d);
  return n;
}

static bool log_says(const tri_cluster *c, const char *what) {
  char path[PATH_MAX];
  tri_buf log = {0};
  snprintf(path, sizeof path, "%.4000s/log", tri_cluster_dir(c));
  assert_ok(tri_file_read(&log, path, 1 << 24, &err), err);
  bool says = strstr((const char *)log.data, what) != NULL;
  tri_buf_free(&log);
  return says;
}

static void end_worker(const tri_cluster *c, int worker) {
  assert_int_equal(kill(tri_cluster_pid(c, worker), SIGKILL), 0);
  lab_await_exit(tri_cluster_pid(c, worker));
}

static void start_again(tri_cluster *c, int worker) {
  tri_client *client = lab_dial(c);
  lab_await_status(client, "waiting for workers");
  assert_ok(tri_cluster_restart(c, worker, &err), err);
  lab_await_status(client, "\"serving\"");
  tri_client_close(&client);
}

static void workers_without_a_file_give_the_same_tokens(void **state) {
  (void)state;
  lab_job want, got;
  tri_cluster *c = lab_start(3, 0, TRI_WIRE_F32);
  generate(c, &want);
  tri_cluster_stop(&c);
  c = start(3);
  generate(c, &got);
  assert_int_equal(got.ids.len, want.ids.len);
  assert_memory_equal(got.ids.data, want.ids.data, want.ids.len * sizeof *want.ids.data);
  /* each has its own parts, not the model: 12 layers, embedding, head and metadata in all, and metadata twice more; the tied head's embedding is
   * on two */
  uint64_t bytes, total = 0;
  int n = 0;
  for (int i = 0; i < 3; i++) n += count_parts(c, i, &bytes, NULL), total += bytes;
  assert_int_equal(n, 12 + 2 + 1 + 3);
  struct stat st;
  assert_int_equal(stat(LAB_MODEL, &st), 0);
  assert_true(total > (uint64_t)st.st_size);
  lab_job_free(&want), lab_job_free(&got);
  tri_cluster_stop(&c);
}

static void what_is_here_is_not_fetched_again(void **state) {
  (void)state;
  lab_job before, after;
  char largest[PATH_MAX];
  uint64_t bytes;
  tri_cluster *c = start(2);
  generate(c, &before);
  count_parts(c, 1, &bytes, largest);
  struct stat then, now;
  assert_int_equal(stat(largest, &then), 0);
  end_worker(c, 1);
  start_again(c, 1);
  assert_int_equal(stat(largest, &now), 0);
  assert_int_equal(now.st_ino, then.st_ino);
  assert_int_equal(now.st_ctim.tv_sec == then.st_ctim.tv_sec && now.st_ctim.tv_nsec == then.st_ctim.tv_nsec, 0); /* but marked as used */
  generate(c, &after);
  assert_memory_equal(before.ids.data, after.ids.data, before.ids.len * sizeof *before.ids.data);
  lab_job_free(&before), lab_job_free(&after);
  tri_cluster_stop(&c);
}

static uint64_t size_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The largest part is the embedding, which the last worker needs as the head, however the layers are shared out this time. */
static void a_damaged_part_is_named_and_fetched_anew(void **state) {
  (void)state;
  lab_job before, after;
  char largest[PATH_MAX], begun[PATH_MAX + 8];
  uint64_t bytes;
  tri_cluster *c = start(2);
  generate(c, &before);
  count_parts(c, 1, &bytes, largest);
  bytes = size_of(largest);
  end_worker(c, 1);
  int fd = open(largest, O_WRONLY);
  assert_int_equal(pwrite(fd, "damaged", 7, 1000), 7);
  close(fd);
  start_again(c, 1);
  assert_true(log_says(c, "embedding of the model is damaged: its bytes in "));
  assert_int_equal(size_of(largest), bytes);
  /* one that broke off goes on where it stopped */
  end_worker(c, 1);
  assert_int_equal(truncate(largest, 4096), 0);
  snprintf(begun, sizeof begun, "%s.part", largest);
  assert_int_equal(rename(largest, begun), 0);
  start_again(c, 1);
  assert_int_equal(access(begun, F_OK), -1);
  assert_int_equal(size_of(largest), bytes);
  generate(c, &after);
  assert_memory_equal(before.ids.data, after.ids.data, before.ids.len * sizeof *before.ids.data);
  lab_job_free(&before), lab_job_free(&after);
  tri_cluster_stop(&c);
}

/* The second worker takes over what the first one has; the third one, new, gets it from them rather than from the coordinator. */
static void workers_get_parts_from_each_other(void **state) {
  (void)state;
  lab_job before, after;
  char dir[PATH_MAX], other[PATH_MAX];
  tri_cluster *c = start(2);
  generate(c, &before);
  end_worker(c, 1);
  /* the first one is given all the second one had, as if it had served those layers before */
  folder_of(c, 1, dir), folder_of(c, 0, other);
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    char from[PATH_MAX + 300], to[PATH_MAX + 300];
    if (e->d_name[0] == '.') continue;
    snprintf(from, sizeof from, "%s/%s", dir, e->d_name), snprintf(to, sizeof to, "%s/%s", other, e->d_name);
    rename(from, to);
  }
  closedir(d);
  tri_client *client = lab_dial(c);
  lab_await_status(client, "waiting for workers");
  end_worker(c, 0);
  lab_await_status(client, "waiting for workers 0/2");
  assert_ok(tri_cluster_restart(c, 0, &err), err); /* which tells what it has when it joins */
  lab_await_status(client, "waiting for workers 1/2");
  assert_ok(tri_cluster_restart(c, 1, &err), err);
  lab_await_status(client, "\"serving\"");
  tri_client_close(&client);
  generate(c, &after);
  assert_memory_equal(before.ids.data, after.ids.data, before.ids.len * sizeof *before.ids.data);
  assert_true(log_says(c, "parts of worker w1"));
  lab_job_free(&before), lab_job_free(&after);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(workers_without_a_file_give_the_same_tokens),
      cmocka_unit_test(what_is_here_is_not_fetched_again),
      cmocka_unit_test(a_damaged_part_is_named_and_fetched_anew),
      cmocka_unit_test(workers_get_parts_from_each_other),
  };
  return cmocka_run_group_tests(tests, lab_begin, lab_end);
}
