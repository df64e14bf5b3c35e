/* SPDX-License-Identifier: MIT */
/* Jobs of before: list, show, result, follow, cancel, rm. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/interrupt.h"
#include "cli/nodes.h"

static const char *coordinator, *key_dir;
static int64_t timeout_s = 5, limit = 20;
static bool as_json, all;

#define WHERE                                                                                                                              \
  {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "The coordinator, tcp://HOST:PORT (default: as coordinator.key says).", 0, \
   0},                                                                                                                                     \
      {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder, with coordinator.key in it (default ~/.config/trireme/client).", 0, 0},   \
      {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up after so long without an answer (default 5).", 1, 3600}
#define JSON {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print the coordinator's JSON document.", 0, 0}

static tri_status read_id(const char *text, uint64_t *out, tri_error *err) {
  char *end;
  errno = 0;
  unsigned long long id = strtoull(text, &end, 10);
  if (errno || *end || end == text || *text == '-' || id == 0)
    return tri_status_fail(err, TRI_E_INVALID, "%s: the number of a job is expected; `trireme jobs` lists them", text);
  return *out = id, TRI_OK;
}

static tri_status fetch(tri_client *c, uint64_t after, uint64_t job, json_t **out, tri_error *err) {
  tri_buf text = {0};
  json_error_t why;
  tri_status status = tri_client_jobs(c, after, 0, job, &text, timeout_s * 1000, err);
  if (status == TRI_OK && !(*out = json_loadb((const char *)text.data, text.len, 0, &why)))
    status = tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's list of jobs is no JSON: %s", why.text);
  tri_buf_free(&text);
  return status;
}

static long long number_of(const json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

static void print_time(const json_t *job, const char *key, char out[32]) {
  time_t t = (time_t)(number_of(job, key) / 1000);
  struct tm tm;
  snprintf(out, 32, "-");
  if (t && localtime_r(&t, &tm)) strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

/* --- jobs --- */

static const tri_arg jobs_args[] = {
    {"all", 'a', TRI_ARG_FLAG, &all, NULL, "All that are kept, not the last ones.", 0, 0},
    {"limit", 'n', TRI_ARG_INT, &limit, "N", "So many of the last ones (default 20).", 1, 1000000},
    JSON,
    WHERE,
};
static const tri_args_spec jobs_spec = {"trireme jobs", "List a cluster's jobs: your own, or as an admin everybody's.", "[--all] [--json] [options]",
                                        "  trireme jobs\n"
                                        "  trireme jobs --all --json\n", jobs_args, sizeof jobs_args / sizeof *jobs_args};

/* Lists come in pieces. */
static tri_status fetch_all(tri_client *c, json_t *list, tri_error *err) {
  for (uint64_t after = 0;;) {
    json_t *page = NULL;
    tri_status status = fetch(c, after, 0, &page, err);
    size_t n = json_array_size(page);
    if (n) after = (uint64_t)number_of(json_array_get(page, n - 1), "job");
    if (status == TRI_OK) json_array_extend(list, page);
    json_decref(page);
    if (status != TRI_OK || !n) return status;
  }
}

static void print_jobs(const json_t *list) {
  size_t n = json_array_size(list), first = !all && n > (size_t)limit ? n - (size_t)limit : 0;
  if (first) printf("[%zu before these; --all shows them]\n", first);
  printf("%8s  %-16s %-10s %-19s %8s %8s  %s\n", "job", "client", "state", "submitted", "prompt", "tokens", "error");
  for (size_t i = first; i < n; i++) {
    const json_t *job = json_array_get(list, i);
    char when[32];
    print_time(job, "submitted_ms", when);
    printf("%8lld  %-16s %-10s %-19s %8lld %8lld  %s\n", number_of(job, "job"), tri_nodes_text(job, "client"), tri_nodes_text(job, "state"), when,
           number_of(job, "prompt_tokens"), number_of(job, "tokens"), tri_nodes_text(job, "error"));
  }
}

static void print_json(const json_t *doc) {
  json_dumpf(doc, stdout, JSON_INDENT(2));
  putchar('\n');
}

int tri_cli_jobs(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&jobs_spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  json_t *list = json_array();
  tri_status status = tri_client_dial(&client, coordinator, key_dir, -1, timeout_s * 1000, &err);
  if (status == TRI_OK) status = fetch_all(client, list, &err);
  if (status == TRI_OK && as_json) print_json(list);
  else if (status == TRI_OK) print_jobs(list);
  json_decref(list);
  tri_client_close(&client);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

/* --- show, result --- */

static const tri_arg one_args[] = {JSON, WHERE};
static const tri_args_spec show_spec = {"trireme show", "Show one job: its state, its times, and how much of its answer there is.", "JOB [--json] [options]",
                                        "  trireme show 17\n", one_args, sizeof one_args / sizeof *one_args};
static const tri_args_spec result_spec = {
    "trireme result", "Print a job's answer, as far as there is one. Exit code 5: it has not ended; 1: it failed.", "JOB [--json] [options]",
    "  trireme result 17 > answer.txt\n", one_args, sizeof one_args / sizeof *one_args};

static tri_status print_job(const json_t *job) {
  static const struct { const char *key, *title; } times[] = {{"submitted_ms", "submitted"}, {"started_ms", "started"}, {"ended_ms", "ended"}};
  printf("job %lld of %s: %s%s%s\n", number_of(job, "job"), tri_nodes_text(job, "client"), tri_nodes_text(job, "state"),
         tri_nodes_text(job, "error")[0] ? ": " : "", tri_nodes_text(job, "error"));
  printf("%lld tokens of prompt, %lld of answer\n", number_of(job, "prompt_tokens"), number_of(job, "tokens"));
  for (int i = 0; i < 3; i++) {
    char when[32];
    print_time(job, times[i].key, when);
    printf("%-10s %s\n", times[i].title, when);
  }
  return TRI_OK;
}

static tri_status print_result(const json_t *job, tri_error *err) {
  const json_t *text = json_object_get(job, "text");
  fwrite(tri_nodes_text(job, "text"), 1, json_string_length(text), stdout);
  putchar('\n');
  fflush(stdout);
  if (!json_object_get(job, "ended_ms"))
    return tri_status_fail(err, TRI_E_BUSY, "job %lld has not ended; `trireme follow %lld` shows the rest as it comes", number_of(job, "job"),
                           number_of(job, "job"));
  if (strcmp(tri_nodes_text(job, "state"), "failed") == 0) return tri_status_fail(err, TRI_E_INTERNAL, "the job failed: %s", tri_nodes_text(job, "error"));
  return TRI_OK;
}

static int show_one(const tri_args_spec *spec, bool result, int argc, char **argv) {
  int code;
  if (!tri_cli_parse(spec, argc, argv, 1, 1, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  json_t *job = NULL;
  uint64_t id = 0;
  tri_status status = read_id(argv[1], &id, &err);
  if (status == TRI_OK) status = tri_client_dial(&client, coordinator, key_dir, -1, timeout_s * 1000, &err);
  if (status == TRI_OK) status = fetch(client, 0, id, &job, &err);
  if (status == TRI_OK && as_json) print_json(job);
  else if (status == TRI_OK) status = result ? print_result(job, &err) : print_job(job);
  json_decref(job);
  tri_client_close(&client);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

int tri_cli_show(int argc, char **argv) { return show_one(&show_spec, false, argc, argv); }
int tri_cli_result(int argc, char **argv) { return show_one(&result_spec, true, argc, argv); }

/* --- follow --- */

static const tri_arg follow_args[] = {{"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document at the end.", 0, 0}, WHERE};
static const tri_args_spec follow_spec = {
    "trireme follow", "Show a job's answer from its beginning, and on as it comes. Ctrl-C leaves it; the job goes on.", "JOB [--json] [options]",
    "  trireme follow 17\n", follow_args, sizeof follow_args / sizeof *follow_args};

int tri_cli_follow(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&follow_spec, argc, argv, 1, 1, NULL, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  tri_interrupt interrupt = TRI_INTERRUPT_NONE;
  tri_msg_submit request = {0};
  tri_follow f = {.request = &request, .quiet = as_json};
  uint64_t id = 0;
  tri_status status = read_id(argv[1], &id, &err);
  if (status == TRI_OK) status = tri_interrupt_begin(&interrupt, &err);
  if (status == TRI_OK) status = tri_client_dial(&client, coordinator, key_dir, interrupt.fd, timeout_s * 1000, &err);
  if (status == TRI_OK) status = tri_follow_again(client, &f, id, &err);
  if (status == TRI_OK && as_json) {
    json_t *doc = tri_follow_json(&f);
    print_json(doc);
    json_decref(doc);
  }
  tri_client_close(&client);
  tri_interrupt_end(&interrupt);
  tri_follow_free(&f);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

/* --- cancel, rm --- */

static const tri_arg where_args[] = {WHERE};
static const tri_args_spec cancel_spec = {"trireme cancel", "End jobs, wherever they stand.", "JOB… [options]", "  trireme cancel 17 18\n",
                                          where_args, sizeof where_args / sizeof *where_args};
static const tri_args_spec rm_spec = {"trireme rm", "Forget ended jobs and their answers.", "JOB… [options]", "  trireme rm 17 18\n", where_args,
                                      sizeof where_args / sizeof *where_args};

/* A cancel has no answer of its own, so the job is looked at after it. */
static tri_status cancel_job(tri_client *c, uint64_t id, tri_error *err) {
  json_t *job = NULL;
  tri_status status = tri_client_cancel(c, id, err);
  if (status == TRI_OK) status = fetch(c, 0, id, &job, err);
  if (status == TRI_OK) printf("job %llu: %s\n", (unsigned long long)id, tri_nodes_text(job, "state"));
  json_decref(job);
  return status;
}

static tri_status forget_job(tri_client *c, uint64_t id, tri_error *err) {
  tri_status status = tri_client_forget(c, id, timeout_s * 1000, err);
  if (status == TRI_OK) printf("job %llu is forgotten\n", (unsigned long long)id);
  return status;
}

static int for_each(const tri_args_spec *spec, tri_status (*fn)(tri_client *, uint64_t, tri_error *), int argc, char **argv) {
  enum { MOST = 1000 };
  int code, n;
  if (!tri_cli_parse(spec, argc, argv, 1, MOST, &n, &code)) return code;
  tri_error err = {0};
  tri_client *client = NULL;
  uint64_t id = 0;
  tri_status status = tri_client_dial(&client, coordinator, key_dir, -1, timeout_s * 1000, &err);
  for (int i = 1; i <= n && status == TRI_OK; i++) {
    status = read_id(argv[i], &id, &err);
    if (status == TRI_OK) status = fn(client, id, &err);
  }
  tri_client_close(&client);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

int tri_cli_cancel(int argc, char **argv) { return for_each(&cancel_spec, cancel_job, argc, argv); }
int tri_cli_rm(int argc, char **argv) { return for_each(&rm_spec, forget_job, argc, argv); }
