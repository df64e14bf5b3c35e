/* SPDX-License-Identifier: MIT */
/* `trireme batch` as a user runs it: alone and over a cluster, ended early by every means and gone on with. */
#include "tests/cluster/lab.h"

#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"

static char dir[] = "/tmp/trireme-batch-XXXXXX", input[64], output[64], key[PATH_MAX];
static tri_error err;

static int make_dir(void **state) {
  if (lab_begin(state) != 0 || !mkdtemp(dir)) return -1;
  snprintf(input, sizeof input, "%s/in.jsonl", dir);
  snprintf(output, sizeof output, "%s/out.jsonl", dir);
  return 0;
}
static int remove_dir(void **state) {
  unlink(input), unlink(output);
  int left = rmdir(dir);
  return lab_end(state) != 0 ? -1 : left;
}
/* Each test begins without files. */
static int clean(void **state) {
  (void)state;
  unlink(input), unlink(output);
  return 0;
}

static void write_file(const char *path, const char *text, size_t len) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, len, f), len);
  assert_int_equal(fclose(f), 0);
}

#define LINE(id, url, body) "{\"custom_id\": \"" id "\", \"method\": \"POST\", \"url\": \"" url "\", \"body\": {" body "}}\n"
#define COMPLETION(id, body) LINE(id, "/v1/completions", body)
#define CHAT(id, body) LINE(id, "/v1/chat/completions", body)

/* `n` requests with names 0, 1, …, every third one drawn with a seed of its own; `predict` tokens each. */
static void write_requests(int n, int predict) {
  static const char *const prompts[] = {"Once upon a time", "The king", "The sea was", "She said", "In the morning"};
  tri_buf text = {0};
  for (int i = 0; i < n; i++) {
    json_t *body = json_pack("{s:s, s:i, s:i}", "prompt", prompts[i % 5], "max_tokens", predict, "temperature", i % 3 == 0);
    if (i % 3 == 0) json_object_set_new(body, "seed", json_integer(100 + i));
    char id[16];
    snprintf(id, sizeof id, "%d", i);
    json_t *line = json_pack("{s:s, s:s, s:s, s:o}", "custom_id", id, "method", "POST", "url", "/v1/completions", "body", body);
    char *dump = json_dumps(line, 0);
    tri_buf_printf(&text, "%s\n", dump);
    free(dump);
    json_decref(line);
  }
  write_file(input, (char *)text.data, text.len);
  tri_buf_free(&text);
}

static void read_output(tri_buf *text) {
  if (tri_file_read(text, output, 1 << 24, &err) != TRI_OK) tri_buf_clear(text);
  tri_buf_byte(text, 0), text->len--;
}

static size_t count_lines(void) {
  tri_buf text = {0};
  size_t n = 0;
  read_output(&text);
  for (size_t i = 0; i < text.len; i++) n += text.data[i] == '\n';
  tri_buf_free(&text);
  return n;
}

#define ALONE(...) (const char *[]){"trireme", "batch", "-i", input, "-o", output, "-m", LAB_MODEL, "-t", "1", __VA_ARGS__}

/* The output: an object from each custom_id to its line. Fails if a line is not whole, or a name there twice. */
static json_t *outputs(void) {
  tri_buf text = {0};
  json_t *all = json_object();
  read_output(&text);
  for (char *at = (char *)text.data, *end; *at; at = end + 1) {
    end = strchr(at, '\n');
    assert_non_null(end);
    json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
    assert_non_null(line);
    const char *id = json_string_value(json_object_get(line, "custom_id"));
    assert_non_null(id);
    if (json_object_get(all, id)) fail_msg("%s is answered twice", id);
    json_object_set_new(all, id, line);
  }
  tri_buf_free(&text);
  return all;
}

static const json_t *choice_of(const json_t *all, const char *id) {
  const json_t *response = json_object_get(json_object_get(all, id), "response");
  return json_array_get(json_object_get(json_object_get(response, "body"), "choices"), 0);
}
static const char *text_of(const json_t *all, const char *id) {
  const char *text = json_string_value(json_object_get(choice_of(all, id), "text"));
  if (!text) fail_msg("no text for %s", id);
  return text;
}

/* Both have the same answers, `n` of them. */
static void check_equal(const json_t *a, const json_t *b, int n) {
  assert_int_equal(json_object_size(a), n);
  assert_int_equal(json_object_size(b), n);
  for (int i = 0; i < n; i++) {
    char id[16];
    snprintf(id, sizeof id, "%d", i);
    assert_string_equal(text_of(a, id), text_of(b, id));
  }
}

static json_t *answer_alone(int n, int predict) {
  tri_buf said = {0};
  write_requests(n, predict);
  int code = lab_program(ALONE("-c", "256", NULL), &said);
  if (code != 0) fail_msg("exit code %d: %s", code, (char *)said.data);
  tri_buf_free(&said);
  json_t *all = outputs();
  unlink(output);
  return all;
}

static tri_cluster *start_cluster(int slots) {
  tri_cluster *c;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F16,
                           .context = LAB_CONTEXT, .slots = slots, .no_orphans = true};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  snprintf(key, sizeof key, "%s/client", tri_cluster_dir(c));
  return c;
}
#define OVER(c, ...) \
  (const char *[]){"trireme", "batch", "-i", input, "-o", output, "--coordinator", tri_cluster_endpoint(c), "-k", key, __VA_ARGS__}

static void run_over(const tri_cluster *c) {
  tri_buf said = {0};
  int code = lab_program(OVER(c, NULL), &said);
  if (code != 0) fail_msg("exit code %d: %s", code, (char *)said.data);
  tri_buf_free(&said);
}

/* --- tests --- */

/* What `run` says to the same prompt, and the fields of OpenAI's format. */
static void alone_answers_as_run_does(void **state) {
  (void)state;
  static const char text[] =
      COMPLETION("drawn", "\"model\": \"m\", \"prompt\": \"The king\", \"max_tokens\": 12, \"temperature\": 0.7, \"top_p\": 0.9, "
                          "\"frequency_penalty\": 0.5, \"seed\": 5, \"logprobs\": 2, \"stop\": \"zz\"")
      "\n"
      CHAT("talk", "\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Who?\"}]}], "
                   "\"max_completion_tokens\": 9, \"temperature\": 0")
      COMPLETION("json", "\"prompt\": \"A name:\", \"seed\": 1, \"response_format\": {\"type\": \"json_schema\", "
                         "\"json_schema\": {\"name\": \"n\", \"schema\": {\"enum\": [\"red\", \"blue\"]}}}");
  tri_buf said = {0};
  write_file(input, text, sizeof text - 1);
  assert_int_equal(lab_program(ALONE("--template", "chatml", NULL), &said), 0);
  json_t *all = outputs();
  tri_buf_clear(&said);
  assert_int_equal(lab_program((const char *[]){"trireme", "run", "-m", LAB_MODEL, "-t", "1", "-p", "The king", "-n", "12", "--temp", "0.7",
                                                "--top-p", "0.9", "--top-k", "0", "--min-p", "0", "--frequency-penalty", "0.5", "-s", "5",
                                                "--logprobs", "2", "--json", NULL}, &said), 0);
  json_t *run = json_loadb((char *)said.data, said.len, 0, NULL), *want = json_object_get(run, "logprobs"), *one;
  const json_t *choice = choice_of(all, "drawn"), *got = json_object_get(json_object_get(choice, "logprobs"), "token_logprobs");
  assert_string_equal(text_of(all, "drawn"), json_string_value(json_object_get(run, "text")));
  assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "length");
  assert_int_equal(json_array_size(got), 12);
  size_t i;
  json_array_foreach(want, i, one)
    assert_true(json_number_value(json_object_get(one, "logprob")) == json_number_value(json_array_get(got, i)));
  json_decref(run);
  tri_buf_clear(&said);
  assert_int_equal(lab_program((const char *[]){"trireme", "run", "-m", LAB_MODEL, "-t", "1", "-p",
                                                "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n", "--no-bos", "-n", "9",
                                                "--temp", "0", "--json", NULL}, &said), 0);
  run = json_loadb((char *)said.data, said.len, 0, NULL);
  const json_t *message = json_object_get(choice_of(all, "talk"), "message");
  assert_string_equal(json_string_value(json_object_get(message, "role")), "assistant");
  assert_string_equal(json_string_value(json_object_get(message, "content")), json_string_value(json_object_get(run, "text")));
  const char *colour = text_of(all, "json");
  assert_true(strcmp(colour, "\"red\"") == 0 || strcmp(colour, "\"blue\"") == 0);
  json_decref(run);
  json_decref(all);
  tri_buf_free(&said);
}

/* Each line that makes no sense is an error of its own, and stays one. */
static void wrong_lines_are_errors_in_the_output(void **state) {
  (void)state;
#define EURO4 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
#define EUROS "aaa" EURO4 EURO4 EURO4 EURO4 /* which the message cuts within a character */
#define SCHEMA "{\"type\": \"json_schema\", \"json_schema\": {\"schema\": {\"type\": \"no\"}}}"
  static const char text[] =
      "no JSON\n"
      "{\"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": \"x\"}}\n"
      LINE("url", "/v1/embeddings", "")
      COMPLETION("typo", "\"prompt\": \"x\", \"tempratur\": 1")
      COMPLETION("range", "\"prompt\": \"x\", \"top_p\": 7")
      COMPLETION("two", "\"prompt\": [\"x\", \"y\"]")
      COMPLETION("n", "\"prompt\": \"x\", \"n\": 2")
      COMPLETION("tools", "\"prompt\": \"x\", \"tools\": [{}]")
      COMPLETION("ids", "\"prompt\": [1, 999999999]")
      COMPLETION("empty", "\"prompt\": \"\", \"stop\": [\"\"]")
      COMPLETION("stops", "\"prompt\": \"x\", \"stop\": 3")
      COMPLETION("bias", "\"prompt\": \"x\", \"logit_bias\": {\"99999999\": 1}")
      COMPLETION("\xff", "")
      COMPLETION("\xe2\x82\xac", "\"prompt\": 1, \"" EUROS "\": 1")
      COMPLETION("schema", "\"prompt\": \"x\", \"response_format\": " SCHEMA)
      COMPLETION("good", "\"prompt\": \"x\", \"max_tokens\": 1, \"user\": \"u\", \"seed\": null")
      COMPLETION("good", "\"prompt\": \"again\"");
  static const char *const parts[] = {"no JSON", "custom_id", "url", "did you mean temperature?", "top_p", "several prompts", "body.n",
                                      "body.tools", "999999999", "body.stop", "body.stop", "99999999", "no JSON", "not understood",
                                      "schema", NULL, "line 16 has the same"};
  tri_buf said = {0};
  const char *const *command = ALONE(NULL);
  write_file(input, text, sizeof text - 1);
  assert_int_equal(lab_program(command, &said), 1);
  tri_buf all = {0}, again = {0};
  read_output(&all);
  char *at = (char *)all.data;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, at = strchr(at, '\n') + 1) {
    json_t *line = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *error = json_object_get(line, "error"), *message = json_object_get(error, "message");
    if (parts[i] ? !json_is_string(message) || !strstr(json_string_value(message), parts[i]) : !json_is_null(error))
      fail_msg("line %zu: \"%s\" expected in %s", i + 1, parts[i] ? parts[i] : "no error", at);
    if (parts[i]) assert_int_equal(json_integer_value(json_object_get(error, "line")), i + 1);
    json_decref(line);
  }
  assert_int_equal(*at, 0);
  assert_int_equal(lab_program(command, &said), 0); /* there is nothing to do */
  read_output(&again);
  assert_string_equal((char *)again.data, (char *)all.data);
  tri_buf_free(&all);
  tri_buf_free(&again);
  tri_buf_free(&said);
}

static void cluster_answers_as_one_process_does(void **state) {
  (void)state;
  enum { N = 20, PREDICT = 16 };
  json_t *alone = answer_alone(N, PREDICT);
  tri_cluster *c = start_cluster(3);
  tri_buf said = {0};
  assert_int_equal(lab_program(OVER(c, "--parallel", "5", "--json", NULL), &said), 0);
  json_t *summary = json_loadb((char *)said.data, said.len, 0, NULL), *all = outputs();
  check_equal(alone, all, N);
  assert_int_equal(json_integer_value(json_object_get(summary, "answered")), N);
  assert_int_equal(json_integer_value(json_object_get(summary, "tokens")), N * PREDICT);
  json_decref(summary);
  json_decref(all);
  /* what needs a tokenizer here is refused before anything is written */
  static const char text[] = CHAT("talk", "\"messages\": [{\"role\": \"user\", \"content\": \"Who?\"}], \"max_tokens\": 4");
  write_file(input, text, sizeof text - 1);
  tri_buf_clear(&said);
  assert_int_equal(lab_program(OVER(c, NULL), &said), 2);
  assert_non_null(strstr((char *)said.data, "line 1 has messages"));
  assert_int_equal(count_lines(), N);
  assert_int_equal(lab_program(OVER(c, "-m", TRIREME_SOURCE "/tests/fixtures/story-bitnet", "--template", "chatml", NULL), &said), 0);
  assert_int_equal(count_lines(), N + 1);
  tri_cluster_stop(&c);
  json_decref(alone);
  tri_buf_free(&said);
}

/* Until the output has `n` lines. */
static void await_lines(size_t n) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  while (count_lines() < n) {
    if (tri_clock_ms() > until) fail_msg("the output has fewer than %zu lines", n);
    poll(NULL, 0, 5);
  }
}

/* Interrupted, killed, cut in the middle of a line: whatever there is stays, and the next run adds the rest. */
static void goes_on_where_it_ended(void **state) {
  (void)state;
  enum { N = 60, PREDICT = 60 };
  int fd;
  tri_buf said = {0}, kept = {0}, all = {0};
  json_t *alone = answer_alone(N, PREDICT);
  tri_cluster *c = start_cluster(2);
  tri_client *watcher = lab_dial(c);
  pid_t pid = lab_spawn(OVER(c, NULL), &fd);
  await_lines(5);
  kill(pid, SIGINT);
  assert_int_equal(lab_finish(pid, fd, &said), -1); /* ended by the signal, after all else */
  assert_non_null(strstr((char *)said.data, "the same command goes on"));
  lab_await_status(watcher, "\"running\": 0,\n    \"queued\": 0"); /* nothing of it is left there */
  json_decref(outputs());
  size_t before = count_lines();
  assert_in_range(before, 5, N - 1);
  pid = lab_spawn(OVER(c, NULL), &fd);
  await_lines(before + 3);
  kill(pid, SIGKILL);
  assert_int_equal(lab_finish(pid, fd, &said), -1);
  read_output(&kept);
  assert_int_equal(truncate(output, (off_t)kept.len - 9), 0); /* as if it had been killed while it wrote */
  size_t whole = count_lines();
  tri_buf_clear(&said);
  assert_int_equal(lab_program(OVER(c, NULL), &said), 0);
  assert_non_null(strstr((char *)said.data, "the last line was not finished"));
  read_output(&all);
  for (size_t lines = 0, i = 0; lines < whole; lines += all.data[i++] == '\n') assert_int_equal(all.data[i], kept.data[i]);
  json_t *answers = outputs();
  check_equal(alone, answers, N);
  json_decref(answers);
  json_decref(alone);
  tri_client_close(&watcher);
  tri_cluster_stop(&c);
  tri_buf_free(&said), tri_buf_free(&kept), tri_buf_free(&all);
}

/* A worker dies, and comes back: its jobs are done again, and no line is lost. */
static void survives_a_worker(void **state) {
  (void)state;
  enum { N = 12, PREDICT = 80 };
  int fd;
  tri_buf said = {0};
  json_t *alone = answer_alone(N, PREDICT);
  tri_cluster *c = start_cluster(2);
  pid_t pid = lab_spawn(OVER(c, NULL), &fd);
  await_lines(2);
  kill(tri_cluster_pid(c, 1), SIGKILL);
  assert_ok(tri_cluster_restart(c, 1, &err), err);
  int code = lab_finish(pid, fd, &said);
  if (code != 0) fail_msg("exit code %d: %s", code, (char *)said.data);
  json_t *answers = outputs();
  check_equal(alone, answers, N);
  json_decref(answers);
  json_decref(alone);
  tri_cluster_stop(&c);
  tri_buf_free(&said);
}

/* A coordinator that goes ends the run, and what is written stays. */
static void a_lost_cluster_ends_it(void **state) {
  (void)state;
  int fd;
  tri_buf said = {0};
  write_requests(60, 80);
  tri_cluster *c = start_cluster(2);
  pid_t pid = lab_spawn(OVER(c, NULL), &fd);
  await_lines(2);
  kill(tri_cluster_pid(c, -1), SIGKILL);
  assert_int_equal(lab_finish(pid, fd, &said), 4);
  json_decref(outputs());
  tri_cluster_stop(&c);
  c = start_cluster(2);
  run_over(c);
  json_t *answers = outputs();
  assert_int_equal(json_object_size(answers), 60);
  json_decref(answers);
  tri_cluster_stop(&c);
  tri_buf_free(&said);
}

/* A file that is something else is not written to. */
static void keeps_off_other_files(void **state) {
  (void)state;
  static const char *const texts[] = {"a letter\n", "{\"id\": \"batch_req_000001\", \"custom_id\": \"0\"}\na letter", "{\"a\": 1}\n", "\n",
                                      "{\"id\": \"batch_req_000001\"\n"};
  const char *const *command = ALONE(NULL);
  tri_buf said = {0}, there = {0};
  write_requests(1, 1);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    write_file(output, texts[i], strlen(texts[i]));
    int code = lab_program(command, &said);
    read_output(&there);
    if (code != 3 || strcmp((char *)there.data, texts[i]) != 0) fail_msg("case %zu: exit code %d, %s", i, code, (char *)there.data);
  }
  unlink(output);
  FILE *other = fopen(output, "w");
  assert_int_equal(flock(fileno(other), LOCK_EX), 0); /* as a second run has it */
  assert_int_equal(lab_program(command, &said), 5);
  fclose(other);
  assert_int_equal(lab_program((const char *[]){"trireme", "batch", "-i", input, "-o", input, "-m", LAB_MODEL, NULL}, &said), 2);
  assert_int_equal(lab_program((const char *[]){"trireme", "batch", "-i", input, "-o", "/dev/null", "-m", LAB_MODEL, NULL}, &said), 2);
  tri_buf_free(&said), tri_buf_free(&there);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(alone_answers_as_run_does, clean),
      cmocka_unit_test_setup(wrong_lines_are_errors_in_the_output, clean),
      cmocka_unit_test_setup(cluster_answers_as_one_process_does, clean),
      cmocka_unit_test_setup(goes_on_where_it_ended, clean),
      cmocka_unit_test_setup(survives_a_worker, clean),
      cmocka_unit_test_setup(a_lost_cluster_ends_it, clean),
      cmocka_unit_test_setup(keeps_off_other_files, clean),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
