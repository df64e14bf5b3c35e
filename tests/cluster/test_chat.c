/* SPDX-License-Identifier: MIT */
/* `trireme chat` as a person and as a script use it, alone and over a cluster. */
#include "tests/cluster/lab.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "engine/template.h"

static char dir[] = "/tmp/trireme-chat-XXXXXX", path[64], tokenizer[64], template[64], command[2048];
static const char *model = LAB_MODEL;
static tri_error err;

static int make_dir(void **state) {
  if (lab_begin(state) != 0 || !mkdtemp(dir)) return -1;
  snprintf(path, sizeof path, "%s/saved.json", dir);
  snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer.json", dir);
  snprintf(template, sizeof template, "%s/chat_template.jinja", dir);
  return symlink(TRIREME_SOURCE "/tests/fixtures/story-bitnet/tokenizer.json", tokenizer);
}
static int remove_dir(void **state) {
  unlink(path), unlink(tokenizer), unlink(template);
  int left = rmdir(dir);
  return lab_end(state) != 0 ? -1 : left;
}

/* Feed lines to `trireme chat` with these options; all that it prints is in *said, one stream after the other's buffers as they come. */
static int chat(const char *lines, const char *options, tri_buf *said) {
  setenv("CHAT_LINES", lines, 1);
  snprintf(command, sizeof command, "printf '%%s' \"$CHAT_LINES\" | %s/trireme chat -m %s %s", TRIREME_BIN, model, options);
  tri_buf_clear(said);
  FILE *f = popen(command, "r");
  assert_non_null(f);
  char part[512];
  for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) tri_buf_append(said, part, n);
  int code = pclose(f);
  tri_buf_byte(said, 0);
  return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

/* What `trireme run` answers to a prompt that is written out in full. */
static void run_prompt(const char *prompt, tri_buf *answer) {
  json_error_t why;
  tri_buf said = {0};
  int code = lab_program((const char *[]){"trireme", "run", "-m", LAB_MODEL, "-p", prompt, "--special", "--no-bos", "-n", "24", "--temp",
                                          "0", "-t", "1", "--kv", "f32", "--json", NULL},
                         &said);
  json_t *doc = json_loads((char *)said.data, 0, &why);
  if (code != 0 || !doc) fail_msg("exit code %d: %s", code, (char *)said.data);
  tri_buf_clear(answer);
  tri_buf_printf(answer, "%s", json_string_value(json_object_get(doc, "text")));
  json_decref(doc);
  tri_buf_free(&said);
}

#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define TALK "--template llama3 --system 'A story.' -n 24 --temp 0 "

/* The prompts are Llama 3's, by the letter; what was said is in the second one. */
static void answer_to_two_questions(tri_buf *first, tri_buf *second) {
  tri_buf prompt = {0};
  tri_buf_printf(&prompt,
                 "<|begin_of_text|>" HEADER("system") "A story.<|eot_id|>" HEADER("user") "Once upon a time<|eot_id|>" HEADER("assistant"));
  run_prompt((char *)prompt.data, first);
  const char *trimmed = (char *)first->data + strspn((char *)first->data, " \n");
  int len = (int)strlen(trimmed);
  while (len && strchr(" \n", trimmed[len - 1])) len--;
  tri_buf_printf(&prompt, "%.*s<|eot_id|>" HEADER("user") "And then?<|eot_id|>" HEADER("assistant"), len, trimmed);
  run_prompt((char *)prompt.data, second);
  tri_buf_free(&prompt);
}

static void assert_answers(const char *said, const tri_buf *first, const tri_buf *second) {
  char want[4096];
  snprintf(want, sizeof want, "%s\n%s\n", (char *)first->data, (char *)second->data);
  assert_string_equal(said, want);
}

static void history_is_part_of_the_prompt(void **state) {
  (void)state;
  tri_buf said = {0}, first = {0}, second = {0};
  answer_to_two_questions(&first, &second);
  assert_true(first.len > 10 && second.len > 10);
  assert_int_equal(chat("Once upon a time\nAnd then?\n", TALK "-t 1 --kv f32", &said), 0);
  assert_answers((char *)said.data, &first, &second);
  /* after a reset the first question has the first answer again, whatever the cache holds */
  assert_int_equal(chat("And then?\n/reset\nOnce upon a time\n", TALK "-t 1 --kv f32", &said), 0);
  assert_non_null(strstr((char *)said.data, (char *)first.data));
  tri_buf_free(&said);
  tri_buf_free(&first);
  tri_buf_free(&second);
}

static void only_what_is_new_is_computed(void **state) {
  (void)state;
  tri_buf said = {0};
  unsigned known = 0, computed = 0;
  assert_int_equal(chat("Once upon a time there was a king who had a daughter\nAnd?\n", TALK "-v 2>&1", &said), 0);
  const char *second = strstr((char *)said.data, " tokens of the prompt were known; prefill ");
  assert_non_null(second);
  while (second > (char *)said.data && second[-1] != '\n') second--;
  assert_int_equal(sscanf(second, "%u tokens of the prompt were known; prefill %u", &known, &computed), 2);
  assert_true(known >= 24 && computed > 0 && computed < known);
  tri_buf_free(&said);
}

static void write_template(const char *text) {
  FILE *f = fopen(template, "w");
  assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void a_cluster_answers_the_same(void **state) {
  (void)state;
  tri_buf said = {0}, first = {0}, second = {0};
  char options[512];
  tri_cluster *c = NULL;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .wire = TRI_WIRE_F32, .kv_type = TRI_F32};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  answer_to_two_questions(&first, &second);
  snprintf(options, sizeof options, TALK "--coordinator %s --key %s/client", tri_cluster_endpoint(c), tri_cluster_dir(c));
  assert_int_equal(chat("Once upon a time\nAnd then?\n", options, &said), 0);
  assert_answers((char *)said.data, &first, &second);
  /* with a folder's tokenizer and its own template */
  model = dir;
  write_template(tri_template_known("llama3"));
  snprintf(options, sizeof options, "--system 'A story.' -n 24 --temp 0 --coordinator %s --key %s/client", tri_cluster_endpoint(c),
           tri_cluster_dir(c));
  assert_int_equal(chat("Once upon a time\nAnd then?\n", options, &said), 0);
  assert_answers((char *)said.data, &first, &second);
  write_template("{% for m in messages %}{{ 'Human: ' + m.content + '\n\nBITNETAssistant: ' }}{% endfor %}");
  strcat(options, " 2>&1");
  assert_int_equal(chat("/quit\n", options, &said), 0);
  assert_non_null(strstr((char *)said.data, "--template bitnet is taken"));
  model = LAB_MODEL;
  tri_cluster_stop(&c);
  tri_buf_free(&said);
  tri_buf_free(&first);
  tri_buf_free(&second);
}

static void commands_save_and_tell(void **state) {
  (void)state;
  tri_buf said = {0}, file = {0};
  char lines[256];
  snprintf(lines, sizeof lines, "Two \\\nlines\n/save %s\n/help\n\n/quit\nnever read\n", path);
  assert_int_equal(chat(lines, TALK "2>&1", &said), 0);
  assert_non_null(strstr((char *)said.data, "[saved in "));
  assert_non_null(strstr((char *)said.data, "/reset "));
  assert_ok(tri_file_read(&file, path, 1 << 20, &err), err);
  json_t *doc = json_loadb((char *)file.data, file.len, 0, NULL);
  assert_int_equal(json_array_size(doc), 3);
  static const char *const want[][2] = {{"system", "A story."}, {"user", "Two \nlines"}, {"assistant", NULL}};
  for (size_t i = 0; i < 3; i++) {
    assert_string_equal(json_string_value(json_object_get(json_array_get(doc, i), "role")), want[i][0]);
    const char *content = json_string_value(json_object_get(json_array_get(doc, i), "content"));
    if (want[i][1]) assert_string_equal(content, want[i][1]);
    else assert_non_null(strstr((char *)said.data, content));
  }
  json_decref(doc);
  tri_buf_free(&said);
  tri_buf_free(&file);
}

static void a_full_context_drops_the_oldest_and_says_so(void **state) {
  (void)state;
  tri_buf said = {0};
  assert_int_equal(
      chat("The first question of all\nThe second one, not so long\nAnd a third\n", "--template chatml -n 30 -c 90 --temp 0 2>&1", &said),
      0);
  assert_non_null(strstr((char *)said.data, "[the context is full: dropped the oldest "));
  char line[600];
  memset(line, 'q', sizeof line - 1), line[sizeof line - 2] = '\n', line[sizeof line - 1] = 0;
  assert_int_equal(chat(line, "--template chatml -c 60 2>&1", &said), 2);
  assert_non_null(strstr((char *)said.data, "leaves no room in the context of 60"));
  tri_buf_free(&said);
}

static void what_cannot_be_is_said(void **state) {
  (void)state;
  tri_buf said = {0};
  assert_int_equal(chat("", "2>&1", &said), 3);
  assert_non_null(strstr((char *)said.data, "no chat template"));
  assert_int_equal(chat("", "--template nonsense 2>&1", &said), 2);
  assert_non_null(strstr((char *)said.data, "bitnet, chatml"));
  assert_int_equal(chat("", "--coordinator tcp://127.0.0.1:1 2>&1", &said), 2);
  assert_non_null(strstr((char *)said.data, "--key DIR"));
  assert_int_equal(chat("/nonsense\n", "--template llama3 2>&1", &said), 2);
  assert_non_null(strstr((char *)said.data, "/help lists them"));
  tri_buf_free(&said);
}

/* --- at a terminal --- */

/* Read what the terminal shows until `part` stands in what is new since *from. */
static void await(int terminal, tri_buf *seen, size_t *from, const char *part) {
  int64_t until = tri_clock_ms() + LAB_WAIT_MS;
  for (;;) {
    const char *found = seen->len > *from ? memmem(seen->data + *from, seen->len - *from, part, strlen(part)) : NULL;
    if (found) {
      *from = (size_t)((const uint8_t *)found - seen->data) + strlen(part);
      return;
    }
    int64_t left = until - tri_clock_ms();
    char bytes[1024];
    ssize_t n =
        left > 0 && poll(&(struct pollfd){.fd = terminal, .events = POLLIN}, 1, (int)left) > 0 ? read(terminal, bytes, sizeof bytes) : 0;
    if (n <= 0) fail_msg("the terminal never showed '%s' but: %s", part, seen->data ? (char *)seen->data : "");
    tri_buf_append(seen, bytes, (size_t)n);
  }
}

static void type_in(int terminal, const char *text) { assert_int_equal(write(terminal, text, strlen(text)), strlen(text)); }

static void stop_an_answer(const char *options) {
  int terminal;
  tri_buf seen = {0};
  size_t from = 0;
  snprintf(command, sizeof command, "exec %s/trireme chat -m %s --template llama3 -n 100000 --ignore-eos %s", TRIREME_BIN, LAB_MODEL,
           options);
  pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
  if (pid == 0) {
    setenv("TERM", "vt100", 1);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  assert_true(pid > 0);
  await(terminal, &seen, &from, "> ");
  type_in(terminal, "Once upon a time\n");
  await(terminal, &seen, &from, "time");
  await(terminal, &seen, &from, " the "); /* it is at it */
  type_in(terminal, "\x03");
  await(terminal, &seen, &from, "[stopped]");
  await(terminal, &seen, &from, "> ");
  type_in(terminal, "half a line\x03");
  await(terminal, &seen, &from, "/quit or Ctrl-D");
  await(terminal, &seen, &from, "> ");
  type_in(terminal, "/quit\n");
  int status = lab_await_exit(pid);
  assert_int_equal(status, 0);
  close(terminal);
  tri_buf_free(&seen);
}

static void ctrl_c_stops_the_answer_and_not_the_program(void **state) {
  (void)state;
  stop_an_answer("-t 1");
}

static void ctrl_c_stops_a_clusters_answer_too(void **state) {
  (void)state;
  char options[512];
  tri_cluster *c = NULL;
  tri_cluster_options o = {.model_path = LAB_MODEL, .workers = 2, .threads = 1, .wire = TRI_WIRE_INT8, .kv_type = TRI_F16};
  assert_ok(tri_cluster_start(&c, &o, &err), err);
  snprintf(options, sizeof options, "--coordinator %s --key %s/client", tri_cluster_endpoint(c), tri_cluster_dir(c));
  stop_an_answer(options);
  tri_cluster_stop(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(history_is_part_of_the_prompt),
      cmocka_unit_test(only_what_is_new_is_computed),
      cmocka_unit_test(a_cluster_answers_the_same),
      cmocka_unit_test(commands_save_and_tell),
      cmocka_unit_test(a_full_context_drops_the_oldest_and_says_so),
      cmocka_unit_test(what_cannot_be_is_said),
      cmocka_unit_test(ctrl_c_stops_the_answer_and_not_the_program),
      cmocka_unit_test(ctrl_c_stops_a_clusters_answer_too),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
