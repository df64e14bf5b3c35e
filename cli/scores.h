/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_SCORES_H
#define TRI_CLI_SCORES_H
#include <jansson.h>
#include <stdio.h>
#include "base/buf.h"
#include "engine/sampler.h"

/* What --logprobs asks for: each generated token with its log-probability, and the likeliest ones beside it. {0} is empty. */
typedef struct tri_scores {
  tri_buf samples; /* tri_sample [tokens, 1 + top]: the one drawn, then the likeliest */
  size_t top;
} tri_scores;

/* tokens and logprobs [top], as they stand in messages. TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_scores_add(tri_scores *s, tri_sample drawn, const int32_t *tokens, const float *logprobs, size_t top);
/* [{"id": 5, "logprob": -0.25, "top": [{"id": 5, "logprob": -0.25}, …]}, …]; no probability is null. The caller's reference. */
json_t *tri_scores_json(const tri_scores *s);
/* A line a token; nothing when there are none. */
void tri_scores_print(const tri_scores *s, FILE *out);
void tri_scores_free(tri_scores *s);

#endif
