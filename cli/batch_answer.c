/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <time.h>
#include "cli/batch_job.h"
#include "engine/utf8.h"

/* A token may be a part of a character, and a message be cut in one: what is no UTF-8 is shown as U+FFFD. */
static json_t *text_json(tri_str text) {
  static const char replacement[] = "\xef\xbf\xbd";
  tri_buf sound = {0};
  for (size_t i = 0, step; i < text.len; i += step) {
    int n = tri_utf8_next((const uint8_t *)text.data + i, text.len - i);
    step = n > 0 ? (size_t)n : n < 0 ? (size_t)-n : text.len - i;
    tri_buf_append(&sound, n > 0 ? text.data + i : replacement, n > 0 ? step : sizeof replacement - 1);
  }
  json_t *out = json_stringn(sound.data ? (const char *)sound.data : "", sound.len);
  tri_buf_free(&sound);
  return out;
}

/* --- log-probabilities, with the texts of their tokens --- */

/* OpenAI's API has this number for a probability of none. */
static json_t *logprob_json(float logprob) { return json_real(isfinite(logprob) ? (double)logprob : -9999); }

static json_t *sample_json(const tri_sample *s, const tri_tokenizer *t) {
  tri_str piece = tri_tokenizer_piece(t, s->token, true);
  json_t *bytes = json_array();
  for (size_t i = 0; i < piece.len; i++) json_array_append_new(bytes, json_integer((unsigned char)piece.data[i]));
  return json_pack("{s:o, s:o, s:o}", "token", text_json(piece), "logprob", logprob_json(s->logprob), "bytes", bytes);
}

/* The answer's tokens, without the one that ended it: [n, 1 + scores.top]. */
static const tri_sample *samples(const tri_batch_job *job, size_t *n) {
  const tri_scores *s = &job->out.scores;
  *n = s->samples.len / ((1 + s->top) * sizeof(tri_sample));
  if (*n && job->out.done.reason == TRI_DONE_END) --*n;
  return (const tri_sample *)(void *)s->samples.data;
}

static json_t *chat_logprobs(const tri_batch_job *job, const tri_tokenizer *t) {
  size_t n, width = 1 + job->out.scores.top;
  const tri_sample *s = samples(job, &n);
  json_t *content = json_array();
  for (size_t i = 0; i < n; i++) {
    json_t *entry = sample_json(s + i * width, t), *top = json_array();
    for (size_t j = 1; j <= job->top && j < width; j++) json_array_append_new(top, sample_json(s + i * width + j, t));
    json_object_set_new(entry, "top_logprobs", top);
    json_array_append_new(content, entry);
  }
  return json_pack("{s:o, s:n}", "content", content, "refusal");
}

/* An offset counts characters. */
static json_t *completion_logprobs(const tri_batch_job *job, const tri_tokenizer *t) {
  size_t n, width = 1 + job->out.scores.top, offset = 0;
  const tri_sample *s = samples(job, &n);
  json_t *tokens = json_array(), *logprobs = json_array(), *tops = json_array(), *offsets = json_array();
  for (size_t i = 0; i < n; i++) {
    tri_str piece = tri_tokenizer_piece(t, s[i * width].token, true);
    json_t *top = json_object();
    json_array_append_new(tokens, text_json(piece));
    json_array_append_new(logprobs, logprob_json(s[i * width].logprob));
    json_array_append_new(offsets, json_integer((json_int_t)offset));
    for (size_t k = 0; k < piece.len; k++) offset += ((unsigned char)piece.data[k] & 0xc0) != 0x80;
    for (size_t j = 1; j <= job->top && j < width; j++) {
      const tri_sample *one = s + i * width + j;
      json_t *text = text_json(tri_tokenizer_piece(t, one->token, true));
      json_object_set_new(top, json_string_value(text), logprob_json(one->logprob));
      json_decref(text);
    }
    json_array_append_new(tops, top);
  }
  return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", logprobs, "top_logprobs", tops, "text_offset", offsets);
}

/* --- lines --- */

static json_t *choice_json(const tri_batch_job *job, const tri_tokenizer *t) {
  const tri_buf *text = &job->out.text;
  json_t *answer = json_stringn(text->data ? (const char *)text->data : "", text->len), *logprobs = json_null();
  if (job->scored) logprobs = job->chat ? chat_logprobs(job, t) : completion_logprobs(job, t);
  const char *reason = job->out.done.reason == TRI_DONE_LENGTH ? "length" : "stop";
  json_t *choice = json_pack("{s:i, s:o, s:s}", "index", 0, "logprobs", logprobs, "finish_reason", reason);
  if (!job->chat) return json_object_set_new(choice, "text", answer), choice;
  json_object_set_new(choice, "message", json_pack("{s:s, s:o, s:n}", "role", "assistant", "content", answer, "refusal"));
  return choice;
}

static json_t *body_json(const tri_batch_job *job, const tri_batch_common *common) {
  char id[48];
  int prompt = (int)job->out.done.prompt_tokens, tokens = (int)job->out.done.tokens;
  snprintf(id, sizeof id, "%s-%06zu", job->chat ? "chatcmpl" : "cmpl", job->line);
  json_t *model = text_json((tri_str){common->model, strlen(common->model)});
  return json_pack("{s:s, s:s, s:I, s:o, s:[o], s:{s:i, s:i, s:i}}", "id", id, "object", job->chat ? "chat.completion" : "text_completion",
                   "created", (json_int_t)time(NULL), "model", model, "choices", choice_json(job, common->tokenizer), "usage",
                   "prompt_tokens", prompt, "completion_tokens", tokens, "total_tokens", prompt + tokens);
}

/* The number makes the name unique in the file. */
static json_t *line_json(const tri_batch_job *job, json_t *response, json_t *error) {
  char id[48];
  snprintf(id, sizeof id, "batch_req_%06zu", job->line);
  return json_pack("{s:s, s:O, s:o, s:o}", "id", id, "custom_id", job->id ? job->id : json_null(), "response", response, "error", error);
}

json_t *tri_batch_job_answer(const tri_batch_job *job, const tri_batch_common *common) {
  char id[48];
  snprintf(id, sizeof id, "req_%06zu", job->line);
  return line_json(job, json_pack("{s:i, s:s, s:o}", "status_code", 200, "request_id", id, "body", body_json(job, common)), json_null());
}

json_t *tri_batch_job_error(const tri_batch_job *job, const char *code, const char *message) {
  return line_json(job, json_null(), json_pack("{s:s, s:o, s:I}", "code", code, "message", text_json((tri_str){message, strlen(message)}), "line", (json_int_t)job->line));
}
