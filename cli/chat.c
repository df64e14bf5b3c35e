/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "cli/chat.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/lines.h"
#include "cli/talk.h"

static tri_chat_options options = {.kv_name = "f16", .timeout_s = 5};
static const char *system_text, *template_name;
static bool verbose;
static tri_sampling_args sampling = TRI_SAMPLING_ARGS_DEFAULTS_OF(1000);
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &options.model_path, "FILE",
     "The model, a GGUF file. With a cluster, the same or the folder with its tokenizer: weights stay there.", 0, 0},
    {"coordinator", 0, TRI_ARG_STRING, &options.coordinator, "ENDPOINT", "Let the cluster of this coordinator answer, tcp://HOST:PORT.", 0,
     0},
    {"key", 'k', TRI_ARG_STRING, &options.key_dir, "DIR", "Key folder of `trireme keygen`, with coordinator.key in it.", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &options.timeout_s, "SECONDS", "Give up if the coordinator cannot be reached for so long (default 5).", 1,
     3600},
    {"system", 0, TRI_ARG_STRING, &system_text, "TEXT", "The system's message, which stands before all others.", 0, 0},
    {"template", 0, TRI_ARG_STRING, &template_name, "NAME",
     "Chat template: bitnet, chatml, falcon3, llama2, llama3, or a file with one (default: the model's own).", 0, 0},
    {"threads", 't', TRI_ARG_INT, &options.threads, "N", "Threads (default: the cores that this process may use).", 1,
     TRI_POOL_MAX_THREADS},
    {"ctx", 'c', TRI_ARG_INT, &options.context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, 1 << 20},
    {"kv", 0, TRI_ARG_STRING, &options.kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    TRI_SAMPLING_ARGS_OF(sampling, 1000),
    {"verbose", 'v', TRI_ARG_FLAG, &verbose, NULL, "Show each answer's speed on standard error.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme chat", "Talk with a model, in this process or over a cluster.", "-m FILE [options]",
    "  trireme chat -m model.gguf --system \"You answer in one sentence.\"\n"
    "  trireme chat -m model.gguf --coordinator tcp://10.0.0.1:7117 --key ~/trireme/me\n"
    "  printf 'Who wrote Emma?\\nWhen?\\n' | trireme chat -m model.gguf --temp 0\n",
    args, sizeof args / sizeof *args};

static const char help[] =
    "/reset      forget what was said, but for the system's message\n"
    "/save FILE  write the conversation as JSON\n"
    "/help       this\n"
    "/quit       end; so does Ctrl-D\n"
    "Ctrl-C stops an answer. A line that ends with \\ goes on in the next one; one that begins with a space is never a command.\n";

typedef struct chat {
  tri_chat_model *model;
  tri_talk *talk;
  tri_interrupt interrupt;
  tri_msg_submit request;
  tri_buf grammar;
  tri_buf message;
  bool person; /* at a terminal: errors don't end it */
} chat;

/* The signal that made the descriptor readable; 0: none. */
static int take_signal(const chat *c) {
  struct signalfd_siginfo info;
  return read(c->interrupt.fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

/* --- an answer --- */

static void tell(const chat *c, const tri_follow *f) {
  if (f->done.reason == TRI_DONE_LENGTH) {
    bool full = f->done.prompt_tokens + f->done.tokens >= (uint32_t)tri_chat_model_context(c->model);
    if (full) fprintf(stderr, "[the context of %d tokens is full: the answer ends here]\n", tri_chat_model_context(c->model));
    else fprintf(stderr, "[%u tokens: the answer ends here; -n allows more]\n", f->done.tokens);
  }
  if (verbose) tri_follow_summary(f, stderr);
}

/* Tokens of the context that an answer should find free. */
static int32_t room(const chat *c) {
  int64_t quarter = tri_chat_model_context(c->model) / 4;
  return (int32_t)(sampling.predict < quarter ? sampling.predict : quarter);
}

static tri_status answer(chat *c, const tri_ids *prompt, const tri_talk_dropped *dropped, tri_error *err) {
  tri_follow f = {.request = &c->request};
  if (dropped->turns)
    fprintf(stderr, "[the context is full: dropped the oldest %zu turn%s, %zu tokens]\n", dropped->turns, dropped->turns == 1 ? "" : "s",
            dropped->tokens);
  tri_status status = tri_chat_model_answer(c->model, prompt, &c->grammar, c->interrupt.fd, &f, err);
  bool stopped = status == TRI_E_CANCELLED;
  if (status == TRI_OK) tell(c, &f);
  if (stopped && f.text.len == 0) tri_talk_undo(c->talk);
  else if (status == TRI_OK || stopped) {
    tri_error full;
    tri_status kept = tri_talk_add(c->talk, "assistant", (char *)f.text.data, f.text.len, &full);
    if (kept != TRI_OK) *err = full, status = kept;
  }
  tri_follow_free(&f);
  return status;
}

/* TRI_E_CANCELLED: it was stopped. */
static tri_status ask(chat *c, tri_error *err) {
  tri_ids prompt = {0};
  tri_talk_dropped dropped;
  tri_status status = tri_talk_add(c->talk, "user", (char *)c->message.data, c->message.len, err);
  if (status != TRI_OK) return status;
  status = tri_talk_prompt(c->talk, room(c), &prompt, &dropped, err);
  if (status == TRI_OK) status = answer(c, &prompt, &dropped, err);
  if (status != TRI_OK && status != TRI_E_CANCELLED) tri_talk_undo(c->talk);
  tri_ids_free(&prompt);
  return status;
}

/* --- lines --- */

static tri_status command(chat *c, bool *over, tri_error *err) {
  const char *line = (const char *)c->message.data;
  if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) return *over = true, TRI_OK;
  if (strcmp(line, "/reset") == 0) return tri_talk_reset(c->talk), fputs("[forgotten]\n", stderr), TRI_OK;
  if (strcmp(line, "/help") == 0) return fputs(help, stderr), TRI_OK;
  if (strncmp(line, "/save ", 6) == 0 && line[6]) {
    tri_status status = tri_talk_save(c->talk, line + 6, err);
    if (status == TRI_OK) fprintf(stderr, "[saved in %s]\n", line + 6);
    return status;
  }
  return tri_status_fail(err, TRI_E_INVALID, "no command \"%.40s\"; /help lists them, and /save takes a file's name; a space before it "
                         "makes it a message", line);
}

/* A message: one line, or several of which all but the last end with a backslash. */
static tri_status read_message(chat *c, tri_lines_event *event, tri_error *err) {
  tri_buf line = {0};
  tri_status status;
  tri_buf_clear(&c->message);
  for (bool more = true; more;) {
    status = tri_lines_next(c->message.len ? "… " : "> ", c->interrupt.fd, &line, event, err);
    if (status != TRI_OK || *event != TRI_LINES_LINE) break;
    more = line.len && line.data[line.len - 1] == '\\';
    tri_buf_append(&c->message, line.data, line.len - more);
    if (more) tri_buf_byte(&c->message, '\n');
  }
  tri_buf_free(&line);
  if (status == TRI_OK && *event == TRI_LINES_END && c->message.len) *event = TRI_LINES_LINE; /* the end follows once more */
  if (status == TRI_OK && !tri_buf_ok(&c->message)) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a message");
  return status;
}

/* Ctrl-C stops what is at work and not the program; a message in the making is thrown away. Any other signal ends it. */
static tri_status on_interrupt(chat *c, bool *over, tri_error *err) {
  if (take_signal(c) != SIGINT || !c->person) return *over = true, tri_status_fail(err, TRI_E_CANCELLED, "interrupted");
  fputs("\n[/quit or Ctrl-D ends]\n", stderr);
  return TRI_OK;
}

static tri_status turn(chat *c, bool *over, tri_error *err) {
  tri_lines_event event;
  tri_status status = read_message(c, &event, err);
  if (status != TRI_OK) return *over = true, status;
  if (event == TRI_LINES_INTERRUPT) return on_interrupt(c, over, err);
  if (event == TRI_LINES_END) return *over = true, TRI_OK;
  if (!c->message.len) return TRI_OK;
  if (c->message.data[0] == '/') return command(c, over, err);
  status = ask(c, err);
  if (status != TRI_E_CANCELLED) return status;
  if (take_signal(c) != SIGINT) return *over = true, status;
  return fputs("[stopped]\n", stderr), TRI_OK;
}

static tri_status talk(chat *c, tri_error *err) {
  tri_status status = TRI_OK;
  if (c->person) fputs("/help shows what can be said besides.\n", stderr);
  for (bool over = false; !over;) {
    status = turn(c, &over, err);
    if (status != TRI_OK && !over && c->person) fprintf(stderr, "trireme: %s\n", err->text);
    else if (status != TRI_OK) return status;
  }
  if (c->person) putchar('\n');
  return status;
}

static tri_status prepare(chat *c, tri_error *err) {
  tri_status status = tri_sampling_resolve(&sampling, &c->request, &c->grammar, err);
  if (status == TRI_OK) status = tri_interrupt_begin(&c->interrupt, err); /* before the model's threads are */
  if (status == TRI_OK) status = tri_chat_model_open(&c->model, &options, err);
  if (status != TRI_OK) return status;
  tri_talk_options o = {.tokenizer = tri_chat_model_tokenizer(c->model), .template = template_name, .system = system_text,
                        .context = tri_chat_model_context(c->model)};
  return tri_talk_open(&c->talk, &o, err);
}

int tri_cli_chat(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  chat c = {.interrupt = TRI_INTERRUPT_NONE, .person = tri_lines_are_edited()};
  tri_status status = prepare(&c, &err);
  if (status == TRI_OK) status = talk(&c, &err);
  tri_talk_close(&c.talk);
  tri_chat_model_close(&c.model);
  tri_interrupt_end(&c.interrupt);
  tri_buf_free(&c.grammar);
  tri_buf_free(&c.message);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
