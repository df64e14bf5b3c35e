/* SPDX-License-Identifier: MIT */
#include "cli/batch_job.h"

#include <math.h>
#include <stdlib.h>

static const char CHAT_URL[] = "/v1/chat/completions", COMPLETIONS_URL[] = "/v1/completions";

static tri_status wrong(const char *key, const char *what, tri_error *err) {
  return tri_status_fail(err, TRI_E_INVALID, "body.%s: %s", key, what);
}
static tri_status no_memory(tri_error *err) { return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a line"); }

/* --- keys of the body; each is there, and not null --- */

typedef tri_status key_fn(tri_batch_job *job, const char *key, const json_t *value, tri_error *err);

static tri_status read_ignored(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  (void)job, (void)key, (void)value, (void)err;
  return TRI_OK;
}

static tri_status read_one(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  (void)job;
  return json_integer_value(value) == 1 ? TRI_OK : wrong(key, "one answer a line is possible: 1", err);
}

static tri_status read_false(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  (void)job;
  return json_is_false(value) ? TRI_OK : wrong(key, "a batch can do only false", err);
}

static tri_status read_predict(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  json_int_t n = json_integer_value(value);
  if (n < 1 || n > UINT32_MAX) return wrong(key, "a number of tokens, 1 or more, is expected", err);
  return job->request.predict = (uint32_t)n, TRI_OK;
}

static tri_status read_number(const char *key, const json_t *value, float *out, tri_error *err) {
  return json_is_number(value) ? (*out = (float)json_number_value(value), TRI_OK) : wrong(key, "a number is expected", err);
}
#define NUMBER(field)                                                                                        \
  static tri_status read_##field(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) { \
    return read_number(key, value, &job->request.sampling.field, err);                                       \
  }
NUMBER(temperature)
NUMBER(top_p)
NUMBER(min_p)
NUMBER(typical_p)
NUMBER(repeat_penalty)
NUMBER(frequency_penalty)
NUMBER(presence_penalty)

static tri_status read_top_k(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  json_int_t k = json_integer_value(value);
  if (!json_is_integer(value) || k < 0 || k > INT32_MAX) return wrong(key, "a whole number, 0 or more, is expected", err);
  return job->request.sampling.top_k = (int32_t)k, TRI_OK;
}

static tri_status read_seed(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  if (!json_is_integer(value)) return wrong(key, "a whole number is expected", err);
  return job->request.sampling.seed = (uint64_t)json_integer_value(value), TRI_OK;
}

static tri_status read_ignore_end(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  if (!json_is_boolean(value)) return wrong(key, "true or false is expected", err);
  return job->request.ignore_end = json_is_true(value), TRI_OK;
}

static tri_status read_stop(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  tri_msg_submit *m = &job->request;
  size_t n = json_is_array(value) ? json_array_size(value) : 1;
  if (n > TRI_MAX_STOPS) return tri_status_fail(err, TRI_E_LIMIT, "body.%s: at most %d are possible", key, TRI_MAX_STOPS);
  for (size_t i = 0; i < n; i++) {
    const char *stop = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
    if (!stop || !*stop || strlen(stop) >= TRI_MAX_STOP)
      return tri_status_fail(err, TRI_E_INVALID, "body.%s: a text of 1 to %d bytes, or several in a list, is expected", key,
                             TRI_MAX_STOP - 1);
    snprintf(m->stops[m->n_stops++], TRI_MAX_STOP, "%s", stop);
  }
  return TRI_OK;
}

static bool is_id(const json_t *value) {
  return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX;
}

static tri_status read_stop_tokens(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  size_t i;
  const json_t *id;
  if (!json_is_array(value) || json_array_size(value) > TRI_MAX_STOP_TOKENS)
    return tri_status_fail(err, TRI_E_INVALID, "body.%s: a list of at most %d token ids is expected", key, TRI_MAX_STOP_TOKENS);
  json_array_foreach(value, i, id) {
    if (!is_id(id)) return wrong(key, "token ids are expected", err);
    job->request.stop_tokens[job->request.n_stop_tokens++] = (int32_t)json_integer_value(id);
  }
  return TRI_OK;
}

static tri_status read_bias(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  tri_sampler_params *p = &job->request.sampling;
  const char *token;
  json_t *bias;
  if (!json_is_object(value) || json_object_size(value) > TRI_SAMPLER_BIASES)
    return tri_status_fail(err, TRI_E_INVALID, "body.%s: an object of at most %d token ids with numbers is expected", key,
                           TRI_SAMPLER_BIASES);
  json_object_foreach((json_t *)value, token, bias) {
    char *end;
    long long id = strtoll(token, &end, 10);
    if (end == token || *end || id < 0 || id > INT32_MAX || !json_is_number(bias))
      return tri_status_fail(err, TRI_E_INVALID, "body.%s: \"%.20s\" is no token id, or what stands with it no number", key, token);
    p->bias_tokens[p->n_bias] = (int32_t)id, p->bias[p->n_bias++] = (float)json_number_value(bias);
  }
  return TRI_OK;
}

/* A chat says whether, and in top_logprobs how many; a completion how many. */
static tri_status read_logprobs(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  if (job->chat && !json_is_boolean(value)) return wrong(key, "true or false is expected; top_logprobs says how many", err);
  if (job->chat) return job->scored = json_is_true(value), TRI_OK;
  json_int_t n = json_integer_value(value);
  if (!json_is_integer(value) || n < 0 || n > TRI_SAMPLER_TOP)
    return tri_status_fail(err, TRI_E_INVALID, "body.%s: a number from 0 to %d is expected", key, TRI_SAMPLER_TOP);
  return job->scored = true, job->top = (uint32_t)n, TRI_OK;
}

static tri_status read_top_logprobs(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  json_int_t n = json_integer_value(value);
  if (!job->chat) return wrong(key, "goes with messages; a completion says how many in logprobs", err);
  if (!json_is_integer(value) || n < 0 || n > TRI_SAMPLER_TOP)
    return tri_status_fail(err, TRI_E_INVALID, "body.%s: a number from 0 to %d is expected", key, TRI_SAMPLER_TOP);
  return job->top = (uint32_t)n, TRI_OK;
}

/* The grammar's text stands first in the payload. */
static tri_status set_grammar(tri_batch_job *job, const char *key, tri_lang lang, const char *text, tri_error *err) {
  if (job->request.grammar) return wrong(key, "only one of response_format and grammar is possible", err);
  if (!*text) return wrong(key, "it is empty", err);
  if (strlen(text) > TRI_GRAMMAR_BYTES) return tri_status_fail(err, TRI_E_LIMIT, "body.%s: longer than %d bytes", key, TRI_GRAMMAR_BYTES);
  job->request.grammar = lang, job->request.grammar_bytes = (uint32_t)strlen(text);
  tri_buf_append(&job->payload, text, strlen(text));
  return TRI_OK;
}

static tri_status read_grammar(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  if (!json_is_string(value)) return wrong(key, "a grammar's text, in GBNF, is expected", err);
  return set_grammar(job, key, TRI_LANG_GBNF, json_string_value(value), err);
}

static tri_status read_format(tri_batch_job *job, const char *key, const json_t *value, tri_error *err) {
  const char *type = json_string_value(json_object_get(value, "type"));
  if (type && strcmp(type, "text") == 0) return TRI_OK;
  if (type && strcmp(type, "json_object") == 0) return set_grammar(job, key, TRI_LANG_SCHEMA, "{\"type\": \"object\"}", err);
  if (!type || strcmp(type, "json_schema") != 0) return wrong(key, "the type is to be text, json_object or json_schema", err);
  const json_t *schema = json_object_get(json_object_get(value, "json_schema"), "schema");
  if (!json_is_object(schema)) return wrong(key, "there is no json_schema.schema", err);
  char *text = json_dumps(schema, JSON_COMPACT);
  tri_status status = text ? set_grammar(job, key, TRI_LANG_SCHEMA, text, err) : no_memory(err);
  free(text);
  return status;
}

static const struct key {
  const char *name;
  key_fn *read;
} keys[] = {
    {"max_tokens", read_predict},
    {"max_completion_tokens", read_predict},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p", read_min_p},
    {"typical_p", read_typical_p},
    {"repetition_penalty", read_repeat_penalty},
    {"frequency_penalty", read_frequency_penalty},
    {"presence_penalty", read_presence_penalty},
    {"logit_bias", read_bias},
    {"seed", read_seed},
    {"stop", read_stop},
    {"stop_token_ids", read_stop_tokens},
    {"ignore_eos", read_ignore_end},
    {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs},
    {"response_format", read_format},
    {"grammar", read_grammar},
    {"n", read_one},
    {"best_of", read_one},
    {"stream", read_false},
    {"echo", read_false},
    {"messages", read_ignored}, /* the prompt's turn comes after all of these */
    {"prompt", read_ignored},
    {"model", read_ignored}, /* there is one model, whose name the answer gives */
    {"user", read_ignored},
    {"metadata", read_ignored},
    {"store", read_ignored},
    {"service_tier", read_ignored},
    {"stream_options", read_ignored},
};
enum { KEYS = sizeof keys / sizeof *keys };

/* What is not understood could change the answer: it is refused. */
static tri_status read_key(tri_batch_job *job, const char *name, const json_t *value, tri_error *err) {
  const char *names[KEYS];
  for (size_t i = 0; i < KEYS; i++) {
    names[i] = keys[i].name;
    if (strcmp(names[i], name) == 0) return json_is_null(value) ? TRI_OK : keys[i].read(job, name, value, err);
  }
  const char *near = tri_args_nearest(name, names, KEYS);
  if (json_is_null(value)) return TRI_OK;
  return tri_status_fail(err, TRI_E_UNSUPPORTED, "body.%.40s: not understood%s%s%s", name, near ? "; did you mean " : "", near ? near : "",
                         near ? "?" : "");
}

/* --- the prompt --- */

static tri_status read_ids(tri_batch_job *job, const json_t *list, tri_error *err) {
  size_t i;
  const json_t *id;
  job->request.ids = true;
  json_array_foreach(list, i, id) {
    if (!is_id(id)) return wrong("prompt", "a text, or a list of token ids, is expected; several prompts are several lines", err);
    tri_buf_append(&job->payload, &(int32_t){(int32_t)json_integer_value(id)}, sizeof(int32_t));
  }
  return TRI_OK;
}

static tri_status read_prompt(tri_batch_job *job, const json_t *body, const tri_batch_common *common, tri_error *err) {
  const json_t *prompt = json_object_get(body, "prompt");
  if (json_array_size(prompt) == 1 && json_is_string(json_array_get(prompt, 0))) prompt = json_array_get(prompt, 0);
  if (json_array_size(prompt)) return read_ids(job, prompt, err);
  if (!json_is_string(prompt)) return wrong("prompt", "a text, or a list of token ids, is needed", err);
  job->request.special = common->special, job->request.no_bos = common->no_bos;
  tri_buf_append(&job->payload, json_string_value(prompt), json_string_length(prompt));
  return TRI_OK;
}

/* A message's content is a text, or parts that are texts. */
static tri_status read_content(const json_t *content, tri_buf *out, tri_error *err) {
  size_t i;
  const json_t *part;
  if (json_is_string(content)) tri_buf_append(out, json_string_value(content), json_string_length(content));
  else if (!json_is_array(content)) return wrong("messages", "a content is to be a text, or a list of parts", err);
  json_array_foreach(content, i, part) {
    const json_t *text = json_object_get(part, "text");
    if (!json_is_string(text)) return wrong("messages", "parts of a content other than text are not understood", err);
    tri_buf_append(out, json_string_value(text), json_string_length(text));
  }
  return tri_buf_ok(out) ? TRI_OK : no_memory(err);
}

static tri_status add_message(tri_talk *talk, const json_t *message, tri_error *err) {
  static const struct { const char *name, *role; } roles[] = {
      {"system", "system"}, {"developer", "system"}, {"user", "user"}, {"assistant", "assistant"}};
  const char *name = json_string_value(json_object_get(message, "role")), *role = NULL;
  tri_buf content = {0};
  for (size_t i = 0; name && i < sizeof roles / sizeof *roles; i++)
    if (strcmp(roles[i].name, name) == 0) role = roles[i].role;
  if (!role) return wrong("messages", "a role is to be system, user or assistant", err);
  tri_status status = read_content(json_object_get(message, "content"), &content, err);
  if (status == TRI_OK) status = tri_talk_add(talk, role, (const char *)content.data, content.len, err);
  tri_buf_free(&content);
  return status;
}

static tri_status read_messages(tri_batch_job *job, const json_t *body, const tri_batch_common *common, tri_error *err) {
  const json_t *messages = json_object_get(body, "messages");
  tri_status status = TRI_OK;
  tri_ids ids = {0};
  tri_talk_dropped dropped;
  if (!json_array_size(messages)) return wrong("messages", "a list of messages is needed", err);
  tri_talk_reset(common->talk);
  for (size_t i = 0; status == TRI_OK && i < json_array_size(messages); i++)
    status = add_message(common->talk, json_array_get(messages, i), err);
  if (status == TRI_OK) status = tri_talk_prompt(common->talk, 1, &ids, &dropped, err);
  if (status == TRI_OK && dropped.turns)
    status = tri_status_fail(err, TRI_E_INVALID, "body.messages: they have %zu tokens, which leaves no room in the context of %d",
                             ids.len + dropped.tokens, common->context);
  job->request.ids = true;
  if (status == TRI_OK) tri_buf_append(&job->payload, ids.data, ids.len * sizeof *ids.data);
  tri_ids_free(&ids);
  return status;
}

/* --- a line --- */

static json_t *id_of(const json_t *doc) {
  json_t *id = json_object_get(doc, "custom_id");
  return json_string_length(id) ? json_incref(id) : NULL;
}

static bool is_chat(const json_t *doc) {
  const char *url = json_string_value(json_object_get(doc, "url"));
  return url && strcmp(url, CHAT_URL) == 0;
}

tri_batch_peek tri_batch_job_peek(const char *text, size_t len) {
  json_t *doc = json_loadb(text, len, 0, NULL);
  const json_t *logprobs = json_object_get(json_object_get(doc, "body"), "logprobs");
  tri_batch_peek peek = {.id = id_of(doc), .messages = is_chat(doc), .tokens = json_is_integer(logprobs)};
  json_decref(doc);
  return peek;
}

static tri_status read_envelope(tri_batch_job *job, const json_t *doc, tri_error *err) {
  const char *url = json_string_value(json_object_get(doc, "url")), *method = json_string_value(json_object_get(doc, "method"));
  if (!job->id) return tri_status_fail(err, TRI_E_INVALID, "custom_id: a text is needed");
  if (!method || strcmp(method, "POST") != 0) return tri_status_fail(err, TRI_E_INVALID, "method: \"POST\" is expected");
  job->chat = is_chat(doc);
  if (!job->chat && (!url || strcmp(url, COMPLETIONS_URL) != 0))
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "url: \"%s\" or \"%s\" is expected", CHAT_URL, COMPLETIONS_URL);
  if (!json_is_object(json_object_get(doc, "body"))) return tri_status_fail(err, TRI_E_INVALID, "body: an object is needed");
  return TRI_OK;
}

/* Where a body says nothing, its values are those of OpenAI's API. */
static tri_status read_body(tri_batch_job *job, json_t *body, const tri_batch_common *common, tri_error *err) {
  const char *key;
  json_t *value;
  tri_sampler_params *p = &job->request.sampling;
  job->request.want = TRI_WANT_SAMPLE, job->request.predict = (uint32_t)common->predict;
  job->request.priority = common->priority;
  *p = (tri_sampler_params){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .repeat_last = TRI_SAMPLER_DEFAULTS.repeat_last,
                            .seed = (uint64_t)common->seed + job->line};
  json_object_foreach(body, key, value) {
    tri_status status = read_key(job, key, value, err);
    if (status != TRI_OK) return status;
  }
  p->top = !job->scored ? 0 : job->top ? (int32_t)job->top : 1;
  if (job->chat && job->top && !job->scored) return wrong("top_logprobs", "goes with logprobs: true", err);
  tri_status status = tri_sampler_check(p, err);
  if (status == TRI_OK) status = job->chat ? read_messages(job, body, common, err) : read_prompt(job, body, common, err);
  return status == TRI_OK && !tri_buf_ok(&job->payload) ? no_memory(err) : status;
}

tri_status tri_batch_job_read(tri_batch_job **out, size_t number, const char *text, size_t len, const tri_batch_common *common,
                              tri_error *err) {
  tri_batch_job *job = calloc(1, sizeof *job);
  json_error_t why;
  if (!job) return no_memory(err);
  job->line = number;
  tri_batch_job_renew(job);
  *out = job;
  json_t *doc = json_loadb(text, len, 0, &why);
  if (!doc) return tri_status_fail(err, TRI_E_FORMAT, "no JSON: %s", why.text);
  job->id = id_of(doc);
  tri_status status = read_envelope(job, doc, err);
  if (status == TRI_OK) status = read_body(job, json_object_get(doc, "body"), common, err);
  json_decref(doc);
  return status;
}

void tri_batch_job_renew(tri_batch_job *job) {
  tri_follow_free(&job->out);
  job->out = (tri_follow){.request = &job->request, .payload = &job->payload, .quiet = true};
}

void tri_batch_job_free(tri_batch_job **job) {
  if (!*job) return;
  json_decref((*job)->id);
  tri_buf_free(&(*job)->payload);
  tri_follow_free(&(*job)->out);
  free(*job);
  *job = NULL;
}
