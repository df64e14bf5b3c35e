/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SAMPLER_H
#define TRI_ENGINE_SAMPLER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/sampling.h"
#include "base/status.h"
#include "kernels/kernels.h"

/* From a row of logits to a token. Everything is a function of (parameters, logits, history, position): no state, so a
 * replay gives the same tokens. The random number for a position is a hash of (seed, position). */

/* Ranges; names the parameter. */
TRI_MUST_CHECK tri_status tri_sampler_check(const tri_sampler_params *p, tri_error *err);
/* That every token with a bias is one of `vocab`; names it. */
TRI_MUST_CHECK tri_status tri_sampler_check_tokens(const tri_sampler_params *p, size_t vocab, tri_error *err);

typedef struct tri_sample {
  int32_t token;
  float logprob; /* of that token under softmax(logits), before anything else is done to them */
} tri_sample;

/* Scratch for a vocabulary of `vocab` tokens. */
typedef struct tri_sampler tri_sampler;
TRI_MUST_CHECK tri_status tri_sampler_create(tri_sampler **out, size_t vocab, const tri_kernels *k, tri_error *err);
size_t tri_sampler_bytes(size_t vocab); /* that one holds */
void tri_sampler_destroy(tri_sampler **s);

/* Order: bias, repetition penalty, frequency and presence penalties, `allowed`, top-k, temperature, min-p, typical, top-p,
 * draw. Ties go to the lower id. NaN logits count as -inf; if all are -inf the token is the lowest allowed one. top-k keeps the
 * k largest; min-p those of at least min_p times the largest probability; typical, of what is left and renormalised, the fewest
 * whose -log(probability) is nearest to the entropy and whose probabilities reach typical_p; top-p, likewise renormalised, the
 * fewest of the largest that reach top_p. logits [vocab] is read only; allowed (may be NULL: all) holds a bit for each token,
 * id i in word i / 32 at i % 32, at least one of them set; history holds the sequence's tokens so far (n of them, ids out of
 * range are passed over), position the new token's. *p has passed tri_sampler_check. */
tri_sample tri_sampler_pick(tri_sampler *s, const tri_sampler_params *p, const uint32_t *allowed, const float *logits,
                            const int32_t *history, size_t n, uint64_t position);
/* How many of the likeliest tokens are reported: all, if the vocabulary has fewer than asked for. */
static inline size_t tri_sampler_top_count(const tri_sampler_params *p, size_t vocab) {
  return (size_t)p->top < vocab ? (size_t)p->top : vocab;
}
/* The n <= vocab likeliest tokens under softmax(logits), likeliest first. Uses the scratch. */
void tri_sampler_top(tri_sampler *s, const float *logits, size_t n, tri_sample *out);
/* log softmax(logits)[token]; -inf for a token out of range or without probability. Uses the scratch. */
float tri_sampler_logprob(tri_sampler *s, const float *logits, int32_t token);
/* Whether a list of tokens, such as those that end a text, holds this one. */
bool tri_sampler_holds(const int32_t *tokens, size_t n, int32_t token);
/* Uniform in [0, 1) from (seed, position), 53 bits. */
double tri_sampler_uniform(uint64_t seed, uint64_t position);

#endif
