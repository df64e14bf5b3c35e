/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SAMPLER_H
#define TRI_ENGINE_SAMPLER_H
#include <stddef.h>
#include <stdint.h>
#include "base/sampling.h"
#include "base/status.h"
#include "kernels/kernels.h"

/* From a row of logits to a token. Everything is a function of (parameters, logits, history, position): no state, so a
 * replay gives the same tokens. The random number for a position is a hash of (seed, position). */

TRI_MUST_CHECK tri_status tri_sampler_check(const tri_sampler_params *p, tri_error *err); /* ranges; names the parameter */

typedef struct tri_sample {
  int32_t token;
  float logprob; /* of that token under softmax(logits) before temperature and cuts */
} tri_sample;

/* Scratch for a vocabulary of `vocab` tokens. */
typedef struct tri_sampler tri_sampler;
TRI_MUST_CHECK tri_status tri_sampler_create(tri_sampler **out, size_t vocab, const tri_kernels *k, tri_error *err);
size_t tri_sampler_bytes(size_t vocab); /* that one holds */
void tri_sampler_destroy(tri_sampler **s);

/* Order: repetition penalty, top-k, temperature, min-p, top-p, draw. Ties go to the lower id. NaN logits count as -inf;
 * if all are -inf the token is 0. top-k keeps the k largest, min-p those of at least min_p times the largest probability,
 * top-p the fewest of the largest whose probabilities reach top_p. logits [vocab] is read only; history holds the
 * sequence's tokens so far (n of them, ids out of range are passed over), position the new token's. *p has passed
 * tri_sampler_check. */
tri_sample tri_sampler_pick(tri_sampler *s, const tri_sampler_params *p, const float *logits, const int32_t *history, size_t n,
                            uint64_t position);
/* log softmax(logits)[token]; -inf for a token out of range or without probability. Uses the scratch. */
float tri_sampler_logprob(tri_sampler *s, const float *logits, int32_t token);
/* Uniform in [0, 1) from (seed, position), 53 bits. */
double tri_sampler_uniform(uint64_t seed, uint64_t position);

#endif
