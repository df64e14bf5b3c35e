/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_CLUSTER_LAB_H
#define TRI_TESTS_CLUSTER_LAB_H
#include "tests/test.h"
#include <sys/types.h>
#include "cli/cluster.h"
#include "engine/tokenizer.h"

/* Real processes for tests. Every wait has a bound; nothing waits by sleeping. */

#define LAB_MODEL TRIREME_SOURCE "/models/story-bitnet.gguf"
enum { LAB_WAIT_MS = 120000, LAB_CONTEXT = 256 };

/* For a group of tests, first and last: in sanitizer builds the processes' reports go to files, which must not be there at the
 * end. */
int lab_begin(void **state);
int lab_end(void **state);

/* A cluster of `workers` (the last `absent` not started), failing the test if it does not come up. */
tri_cluster *lab_start(int workers, int absent, tri_wire wire);
tri_client *lab_dial(const tri_cluster *c);

/* What came of a job. */
typedef struct lab_job {
  tri_ids ids;
  tri_buf text, logits;
  float *logprobs;
  size_t n_logprobs;
  tri_msg_done done;
  tri_status refused;
  char refusal[TRI_MAX_TEXT];
} lab_job;
void lab_job_free(lab_job *j);
void lab_submit(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len);
tri_client_event lab_next(tri_client *c);
/* An event of a job, into *out ({0} at first). True: it is done or refused. */
bool lab_add(lab_job *out, const tri_client_event *e);
/* The next event of this client's only job. */
bool lab_take(tri_client *c, lab_job *out);
/* Until that is so, from the beginning. */
void lab_collect(tri_client *c, lab_job *out);
/* submit, then collect */
void lab_run(tri_client *c, const tri_msg_submit *m, const void *payload, size_t len, lab_job *out);
/* A request for `predict` tokens, greedy. */
tri_msg_submit lab_request(tri_want want, uint32_t predict);

/* Run a program beside this test until it ends; both its outputs, as text, go to *output (the caller's to free). argv[0] is its
 * name. Returns its exit code, or -1 if it was killed by a signal. */
int lab_program(const char *const *argv, tri_buf *output);
/* The same; what it prints is a JSON document, and its exit code 0, else the test fails. The caller's to json_decref. */
typedef struct json_t json_t;
json_t *lab_json(const char *const *argv);
pid_t lab_spawn(const char *const *argv, int *output_fd);
int lab_finish(pid_t pid, int output_fd, tri_buf *output);

/* Until a child has ended; its exit code, or -1 if it was killed by a signal. */
int lab_await_exit(pid_t pid);

/* The coordinator's status until `part` stands in it: fails the test if that never comes. */
void lab_await_status(tri_client *c, const char *part);
/* Processes whose command line holds `part`, other than this one. */
int lab_count_processes(const char *part);

#endif
