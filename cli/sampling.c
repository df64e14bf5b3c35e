/* SPDX-License-Identifier: MIT */
#include "cli/sampling.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "base/clock.h"
#include "base/file.h"

enum { MAX_PROMPT_BYTES = 16 << 20 };

void tri_sampling_pick_seed(int64_t *seed) {
  uint32_t random;
  if (*seed >= 0) return;
  if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint32_t)tri_clock_ns();
  *seed = random;
}

/* A token id at the start of `text`; *end is what comes after it, NULL if there is none. */
static int32_t read_id(const char *text, char **end) {
  long long id = strtoll(text, end, 10);
  if (*end == text || id < 0 || id > INT32_MAX || *text == '+') *end = NULL;
  return (int32_t)id;
}

static tri_status read_biases(const tri_args_list *list, tri_sampler_params *p, tri_error *err) {
  for (int i = 0; i < list->count; i++, p->n_bias++) {
    char *sign, *end = NULL;
    p->bias_tokens[p->n_bias] = read_id(list->items[i], &sign);
    if (sign && (*sign == '+' || *sign == '-')) p->bias[p->n_bias] = strtof(sign, &end);
    if (!end || *end || end == sign)
      return tri_status_fail(err, TRI_E_INVALID, "--logit-bias %s: a token id, + or -, and a number are expected, such as 42-1.5 or 42-inf",
                             list->items[i]);
  }
  return TRI_OK;
}

static tri_status read_stops(const tri_sampling_args *a, tri_msg_submit *m, tri_error *err) {
  if (a->stops.count > TRI_MAX_STOPS) return tri_status_fail(err, TRI_E_LIMIT, "--stop: at most %d are possible", TRI_MAX_STOPS);
  for (; m->n_stops < (uint32_t)a->stops.count; m->n_stops++) {
    const char *stop = a->stops.items[m->n_stops];
    if (!*stop || strlen(stop) >= TRI_MAX_STOP)
      return tri_status_fail(err, TRI_E_INVALID, "--stop: a text of 1 to %d bytes is expected", TRI_MAX_STOP - 1);
    snprintf(m->stops[m->n_stops], TRI_MAX_STOP, "%s", stop);
  }
  if (a->stop_tokens.count > TRI_MAX_STOP_TOKENS)
    return tri_status_fail(err, TRI_E_LIMIT, "--stop-token: at most %d are possible", TRI_MAX_STOP_TOKENS);
  for (; m->n_stop_tokens < (uint32_t)a->stop_tokens.count; m->n_stop_tokens++) {
    char *end;
    m->stop_tokens[m->n_stop_tokens] = read_id(a->stop_tokens.items[m->n_stop_tokens], &end);
    if (!end || *end)
      return tri_status_fail(err, TRI_E_INVALID, "--stop-token %s: a token id is expected", a->stop_tokens.items[m->n_stop_tokens]);
  }
  return TRI_OK;
}

/* Any JSON value is what the empty schema says. */
static tri_status read_grammar(const tri_sampling_args *a, tri_msg_submit *m, tri_buf *payload, tri_error *err) {
  tri_status status = TRI_OK;
  const char *path = a->grammar_path ? a->grammar_path : a->schema_path;
  if (a->json_mode + (a->grammar_path != NULL) + (a->schema_path != NULL) > 1)
    return tri_status_fail(err, TRI_E_INVALID, "only one of --json-mode, --json-schema and --grammar is possible");
  if (path) status = tri_file_read(payload, path, TRI_GRAMMAR_BYTES, err);
  else if (a->json_mode) tri_buf_append(payload, "{}", 2);
  else return TRI_OK;
  if (status == TRI_OK && !payload->len) return tri_status_fail(err, TRI_E_INVALID, "%s is empty", path);
  m->grammar = a->grammar_path ? TRI_LANG_GBNF : TRI_LANG_SCHEMA;
  m->grammar_bytes = (uint32_t)payload->len;
  return status;
}

tri_status tri_sampling_resolve(tri_sampling_args *a, tri_msg_submit *out, tri_buf *payload, tri_error *err) {
  tri_sampling_pick_seed(&a->seed);
  *out = (tri_msg_submit){.want = TRI_WANT_SAMPLE, .predict = (uint32_t)a->predict, .ignore_end = a->ignore_end};
  out->sampling = (tri_sampler_params){
      .temperature = (float)a->temperature, .top_k = (int32_t)a->top_k, .top_p = (float)a->top_p, .min_p = (float)a->min_p,
      .typical_p = (float)a->typical_p, .repeat_penalty = (float)a->repeat_penalty, .frequency_penalty = (float)a->frequency_penalty,
      .presence_penalty = (float)a->presence_penalty, .repeat_last = (int32_t)a->repeat_last, .top = (int32_t)a->top,
      .seed = (uint64_t)a->seed};
  tri_status status = read_biases(&a->biases, &out->sampling, err);
  if (status == TRI_OK) status = tri_sampler_check(&out->sampling, err);
  if (status == TRI_OK) status = read_stops(a, out, err);
  return status == TRI_OK ? read_grammar(a, out, payload, err) : status;
}

tri_status tri_sampling_prompt(const char *option, tri_buf *payload, tri_error *err) {
  if (!option) return tri_status_fail(err, TRI_E_INVALID, "a prompt is needed: -p TEXT, or -p - to read it from standard input");
  tri_buf text = {0};
  tri_status status = TRI_OK;
  if (strcmp(option, "-") == 0) status = tri_file_read(&text, "-", MAX_PROMPT_BYTES, err);
  else tri_buf_append(&text, option, strlen(option));
  tri_buf_append(payload, text.data, text.len);
  if (status == TRI_OK && (!tri_buf_ok(&text) || !tri_buf_ok(payload))) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  tri_buf_free(&text);
  return status;
}
