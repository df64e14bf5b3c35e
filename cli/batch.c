/* SPDX-License-Identifier: MIT */
#include "cli/batch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/nodes.h"

enum { INPUT_BYTES = 1 << 30, MOST_PARALLEL = 512 };

static const char *in_path, *out_path, *model_path, *coordinator, *key_dir, *template_name, *kv_name = "f16";
static int64_t parallel, predict = 1000, seed = -1, threads, context, timeout_s = 5, priority = -1;
static bool special, no_bos, as_json;
static const tri_arg args[] = {
    {"input", 'i', TRI_ARG_STRING, &in_path, "FILE", "The requests, one JSON object a line as in OpenAI's batches; - reads standard input.",
     0, 0},
    {"out", 'o', TRI_ARG_STRING, &out_path, "FILE", "Where answers are appended. Lines that are answered there are passed over.", 0, 0},
    {"model", 'm', TRI_ARG_STRING, &model_path, "FILE",
     "The model, a GGUF file. With a cluster, the same or the folder with its tokenizer, and only for lines with messages or logprobs.", 0,
     0},
    {"coordinator", 0, TRI_ARG_STRING, &coordinator, "ENDPOINT", "Let the cluster of this coordinator answer, tcp://HOST:PORT.", 0, 0},
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR", "Key folder of `trireme keygen`, with coordinator.key in it.", 0, 0},
    {"parallel", 0, TRI_ARG_INT, &parallel, "N", "Jobs that the cluster has of this batch at a time (default: twice its slots).", 1,
     MOST_PARALLEL},
    {"priority", 0, TRI_ARG_INT, &priority, "N",
     "Jobs of a higher priority go first, from -10 to 10 (default -1: whoever waits for an answer goes before us).", -TRI_MAX_PRIORITY,
     TRI_MAX_PRIORITY},
    {"predict", 'n', TRI_ARG_INT, &predict, "N", "Tokens of an answer at most, where its line does not say (default 1000).", 1, 1 << 20},
    {"seed", 's', TRI_ARG_INT, &seed, "N", "Random seed; a line without one of its own has this plus its number (default: a new one).", -1,
     9e15},
    {"template", 0, TRI_ARG_STRING, &template_name, "NAME", "Chat template, as for `trireme chat` (default: the model's own).", 0, 0},
    {"special", 0, TRI_ARG_FLAG, &special, NULL, "Read tokens such as <|eot_id|> in prompts as such.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Do not put the begin-of-text token before prompts.", 0, 0},
    {"threads", 't', TRI_ARG_INT, &threads, "N", "Threads (default: the cores that this process may use).", 1, TRI_POOL_MAX_THREADS},
    {"ctx", 'c', TRI_ARG_INT, &context, "N", "Context: prompt and answer together, in tokens (default: the model's).", 1, 1 << 20},
    {"kv", 0, TRI_ARG_STRING, &kv_name, "TYPE", "KV cache type: f16, f32 or int8 (default f16).", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up if the coordinator cannot be reached for so long (default 5).", 1, 3600},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print a JSON document about the run at its end.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme batch", "Answer a file of requests, in this process or over a cluster; what was interrupted goes on.",
    "-i FILE -o FILE (-m FILE | --coordinator tcp://HOST:PORT --key DIR) [options]",
    "  trireme batch -i prompts.jsonl -o answers.jsonl -m model.gguf\n"
    "  trireme batch -i prompts.jsonl -o answers.jsonl --coordinator tcp://10.0.0.1:7117 --key ~/trireme/me -m model.gguf\n",
    args, sizeof args / sizeof *args};

/* --- what is to do --- */

/* A line whose name was there before is known by its number alone, so that its error can't be taken for the other's answer. */
static bool is_answered(tri_batch *b, tri_batch_line *line, const json_t *id) {
  const json_t *before = id ? json_object_get(b->seen, json_string_value(id)) : NULL;
  line->twin = (size_t)json_integer_value(before);
  if (id && !before) json_object_set_new(b->seen, json_string_value(id), json_integer((json_int_t)line->number));
  return tri_batch_out_has(b->out, before ? NULL : id, line->number);
}

static tri_status note_line(tri_batch *b, tri_batch_line line, size_t *cap, tri_error *err) {
  tri_batch_peek peek = tri_batch_job_peek((const char *)b->input.data + line.at, line.len);
  bool there = is_answered(b, &line, peek.id);
  json_decref(peek.id);
  b->lines++;
  if (there) return TRI_OK;
  if (b->n_todo == *cap) {
    size_t more = *cap ? 2 * *cap : 256;
    tri_batch_line *grown = realloc(b->todo, more * sizeof *grown);
    if (!grown) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the lines");
    b->todo = grown, *cap = more;
  }
  b->todo[b->n_todo++] = line;
  if (peek.messages && !b->messages_at) b->messages_at = line.number;
  if (peek.tokens && !b->tokens_at) b->tokens_at = line.number;
  return TRI_OK;
}

static tri_status note_lines(tri_batch *b, tri_error *err) {
  const char *text = (const char *)b->input.data;
  size_t cap = 0, at = 0;
  tri_status status = TRI_OK;
  for (size_t number = 1; status == TRI_OK && at < b->input.len; number++) {
    const char *next = memchr(text + at, '\n', b->input.len - at);
    size_t len = (next ? (size_t)(next - text) : b->input.len) - at;
    if (strspn(text + at, " \t\r") < len) status = note_line(b, (tri_batch_line){.number = number, .at = at, .len = len}, &cap, err);
    at += len + 1;
  }
  return status;
}

static bool is_same_file(const char *a, const char *b) {
  struct stat x, y;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static tri_status open_files(tri_batch *b, tri_error *err) {
  bool repaired = false;
  if (!in_path || !out_path) return tri_status_fail(err, TRI_E_INVALID, "two files are needed: -i for the requests, -o for the answers");
  if (is_same_file(in_path, out_path)) return tri_status_fail(err, TRI_E_INVALID, "-i and -o are the same file");
  if (!coordinator && !model_path)
    return tri_status_fail(err, TRI_E_INVALID, "who is to answer? -m FILE, or --coordinator tcp://HOST:PORT --key DIR");
  if (!coordinator != !key_dir) return tri_status_fail(err, TRI_E_INVALID, "--coordinator and --key go together");
  if (parallel && !coordinator) return tri_status_fail(err, TRI_E_INVALID, "--parallel goes with --coordinator");
  tri_status status = tri_file_read(&b->input, in_path, INPUT_BYTES, err);
  if (status == TRI_OK) status = tri_batch_out_open(&b->out, out_path, &repaired, err);
  if (repaired) fprintf(stderr, "[%s: the last line was not finished, and is cut off]\n", out_path);
  return status == TRI_OK ? note_lines(b, err) : status;
}

/* --- lines --- */

bool tri_batch_is_lines_fault(tri_status status) {
  return status == TRI_E_INVALID || status == TRI_E_FORMAT || status == TRI_E_UNSUPPORTED || status == TRI_E_LIMIT;
}

tri_status tri_batch_finish(tri_batch *b, tri_batch_job **job, const char *code, const char *message, tri_error *err) {
  json_t *entry = code ? tri_batch_job_error(*job, code, message) : tri_batch_job_answer(*job, &b->common);
  tri_status status = entry ? tri_batch_out_write(b->out, entry, err) : tri_status_fail(err, TRI_E_NOMEM, "out of memory for an answer");
  json_decref(entry);
  if (status == TRI_OK && !code) b->prompt_tokens += (*job)->out.done.prompt_tokens, b->tokens += (*job)->out.done.tokens;
  if (status == TRI_OK) b->answered += !code, b->failed += code != NULL;
  tri_batch_job_free(job);
  tri_progress_update(&b->progress, b->answered + b->failed, b->n_todo);
  return status;
}

tri_status tri_batch_next(tri_batch *b, tri_batch_job **out, tri_error *err) {
  tri_status status = TRI_OK;
  *out = NULL;
  while (b->next < b->n_todo && status == TRI_OK) {
    const tri_batch_line *line = &b->todo[b->next++];
    tri_batch_job *job = NULL;
    status = tri_batch_job_read(&job, line->number, (const char *)b->input.data + line->at, line->len, &b->common, err);
    if (status == TRI_OK && line->twin) status = tri_status_fail(err, TRI_E_INVALID, "custom_id: line %zu has the same", line->twin);
    if (status == TRI_OK) return *out = job, TRI_OK;
    if (job && line->twin) json_decref(job->id), job->id = NULL;
    if (tri_batch_is_lines_fault(status)) status = tri_batch_finish(b, &job, tri_status_name(status), err->text, err);
    tri_batch_job_free(&job);
  }
  return status;
}

/* --- who answers --- */

static tri_status open_talk(tri_batch *b, tri_error *err) {
  tri_batch_common *c = &b->common;
  size_t line = b->messages_at ? b->messages_at : b->tokens_at;
  if (line && !c->tokenizer)
    return tri_status_fail(err, TRI_E_INVALID,
                           "%s: line %zu has %s, for which the model's tokenizer is needed here too: -m FILE, or the folder "
                           "with it",
                           in_path, line, b->messages_at ? "messages" : "logprobs");
  if (!b->messages_at) return TRI_OK;
  return tri_talk_open(&c->talk, &(tri_talk_options){.tokenizer = c->tokenizer, .template = template_name, .context = c->context}, err);
}

static tri_status answer(tri_generator *g, tri_batch_job *job, int interrupt_fd, tri_error *err) {
  tri_ids prompt = {0};
  tri_status status = tri_generator_prompt(g, &job->request, &job->payload, &prompt, err);
  if (status == TRI_OK) status = tri_generator_answer(g, &prompt, interrupt_fd, &job->out, err);
  tri_ids_free(&prompt);
  return status;
}

static tri_status answer_alone(tri_batch *b, int interrupt_fd, tri_error *err) {
  tri_generator *g = NULL;
  tri_batch_job *job = NULL;
  const char *slash = strrchr(model_path, '/');
  tri_single_options o = {.threads = (int)threads, .context = (int32_t)context};
  tri_status status = tri_kv_parse(kv_name, &o.kv_type, err);
  if (status == TRI_OK) status = tri_generator_open(&g, model_path, &o, err);
  if (status != TRI_OK) return status;
  b->common.model = slash ? slash + 1 : model_path;
  b->common.tokenizer = tri_generator_tokenizer(g), b->common.context = tri_generator_context(g);
  status = open_talk(b, err);
  b->progress = tri_progress_begin("answering"), b->progress.unit = "lines";
  while (status == TRI_OK && (status = tri_batch_next(b, &job, err)) == TRI_OK && job) {
    status = answer(g, job, interrupt_fd, err);
    if (status == TRI_OK || tri_batch_is_lines_fault(status))
      status = tri_batch_finish(b, &job, status == TRI_OK ? NULL : tri_status_name(status), err->text, err);
  }
  tri_batch_job_free(&job);
  tri_talk_close(&b->common.talk);
  tri_generator_close(&g);
  return status;
}

static tri_status ask_cluster(tri_client *client, tri_nodes_model *out, tri_error *err) {
  json_t *doc = NULL;
  tri_status status = tri_nodes_fetch(client, &doc, timeout_s * 1000, err);
  if (status == TRI_OK) status = tri_nodes_read_model(doc, out, err);
  json_decref(doc);
  return status;
}

static tri_status answer_by_cluster(tri_batch *b, int interrupt_fd, tri_error *err) {
  tri_client *client = NULL;
  tri_tokenizer *tokenizer = NULL;
  tri_nodes_model model = {0};
  tri_status status = tri_client_dial(&client, coordinator, key_dir, interrupt_fd, timeout_s * 1000, err);
  if (status == TRI_OK) status = ask_cluster(client, &model, err);
  if (status == TRI_OK && model_path) status = tri_tokenizer_load(&tokenizer, model_path, err);
  if (status == TRI_OK && model_path) status = tri_nodes_check_tokenizer(&model, tokenizer, model_path, err);
  b->common.model = model.file, b->common.tokenizer = tokenizer, b->common.context = model.context;
  if (status == TRI_OK) status = open_talk(b, err);
  size_t wanted = parallel ? (size_t)parallel : 2 * (size_t)model.slots;
  b->progress = tri_progress_begin("answering"), b->progress.unit = "lines";
  if (status == TRI_OK) status = tri_batch_over_cluster(b, client, wanted < MOST_PARALLEL ? wanted : MOST_PARALLEL, err);
  tri_talk_close(&b->common.talk);
  tri_tokenizer_close(&tokenizer);
  tri_client_close(&client);
  return status;
}

/* --- the end --- */

static void report(const tri_batch *b, int64_t start_ms) {
  double seconds = (double)(tri_clock_ms() - start_ms) / 1e3;
  size_t skipped = b->lines - b->n_todo, left = b->n_todo - b->answered - b->failed;
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "output", out_path, "lines", (json_int_t)b->lines, "skipped",
                            (json_int_t)skipped, "answered", (json_int_t)b->answered, "failed", (json_int_t)b->failed, "left",
                            (json_int_t)left, "prompt_tokens", (json_int_t)b->prompt_tokens, "tokens", (json_int_t)b->tokens, "seconds",
                            seconds);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)), putchar('\n');
    json_decref(doc);
    return;
  }
  fprintf(stderr, "%zu of %zu lines answered in %.1f s", b->answered, b->lines, seconds);
  if (skipped) fprintf(stderr, ", %zu were so before", skipped);
  if (b->failed) fprintf(stderr, ", %zu are errors", b->failed);
  fprintf(stderr, "; %llu tokens of prompts, %llu of answers\n", (unsigned long long)b->prompt_tokens, (unsigned long long)b->tokens);
  if (left) fprintf(stderr, "[%zu lines are left; the same command goes on with them]\n", left);
}

static tri_status run(tri_batch *b, tri_interrupt *interrupt, tri_error *err) {
  int64_t start = tri_clock_ms();
  tri_status status = TRI_OK;
  if (b->n_todo) {
    status = tri_interrupt_begin(interrupt, err); /* before the model's threads are */
    if (status == TRI_OK) status = coordinator ? answer_by_cluster(b, interrupt->fd, err) : answer_alone(b, interrupt->fd, err);
    tri_progress_end(&b->progress);
  }
  if (status == TRI_OK || b->answered || b->failed) report(b, start);
  return status;
}

int tri_cli_batch(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_interrupt interrupt = TRI_INTERRUPT_NONE;
  tri_sampling_pick_seed(&seed);
  tri_batch b = {.seen = json_object(), .common = {.predict = predict, .priority = (int32_t)priority, .seed = seed, .special = special, .no_bos = no_bos}};
  tri_status status = open_files(&b, &err);
  if (status == TRI_OK) status = run(&b, &interrupt, &err);
  tri_interrupt_end(&interrupt);
  tri_batch_out_close(&b.out);
  tri_buf_free(&b.input);
  json_decref(b.seen);
  free(b.todo);
  if (status != TRI_OK) return tri_cli_fail(&err);
  return b.failed ? tri_status_exit_code(TRI_E_INTERNAL) : 0;
}
