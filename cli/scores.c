/* SPDX-License-Identifier: MIT */
#include "cli/scores.h"

#include <math.h>

tri_status tri_scores_add(tri_scores *s, tri_sample drawn, const int32_t *tokens, const float *logprobs, size_t top) {
  s->top = top;
  tri_buf_append(&s->samples, &drawn, sizeof drawn);
  for (size_t i = 0; i < top; i++) tri_buf_append(&s->samples, &(tri_sample){tokens[i], logprobs[i]}, sizeof drawn);
  return tri_buf_ok(&s->samples) ? TRI_OK : TRI_E_NOMEM;
}

static size_t count(const tri_scores *s) { return s->samples.len / ((1 + s->top) * sizeof(tri_sample)); }
static const tri_sample *row(const tri_scores *s, size_t i) { return (const tri_sample *)(void *)s->samples.data + i * (1 + s->top); }

static json_t *sample_json(const tri_sample *s) {
  return json_pack("{s:i, s:o}", "id", s->token, "logprob", isfinite(s->logprob) ? json_real((double)s->logprob) : json_null());
}

json_t *tri_scores_json(const tri_scores *s) {
  json_t *list = json_array();
  for (size_t i = 0; i < count(s); i++) {
    json_t *entry = sample_json(row(s, i)), *top = json_array();
    for (size_t j = 1; j <= s->top; j++) json_array_append_new(top, sample_json(row(s, i) + j));
    json_object_set_new(entry, "top", top);
    json_array_append_new(list, entry);
  }
  return list;
}

void tri_scores_print(const tri_scores *s, FILE *out) {
  if (count(s)) fprintf(out, "%7s %9s  %s\n", "token", "logprob", "likeliest");
  for (size_t i = 0; i < count(s); i++) {
    const tri_sample *r = row(s, i);
    fprintf(out, "%7d %9.4f ", r->token, (double)r->logprob);
    for (size_t j = 1; j <= s->top; j++) fprintf(out, " %7d %8.4f", r[j].token, (double)r[j].logprob);
    fputc('\n', out);
  }
}

void tri_scores_free(tri_scores *s) { tri_buf_free(&s->samples); }
