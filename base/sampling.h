/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_SAMPLING_H
#define TRI_BASE_SAMPLING_H
#include <stdint.h>

/* How a token is drawn: what the sampler computes with (engine/sampler.h, where the ranges are checked) and what messages
 * carry. */

typedef struct tri_sampler_params {
  float temperature;    /* 0: greedy */
  int32_t top_k;        /* 0: off */
  float top_p;          /* 1: off */
  float min_p;          /* 0: off; relative to the largest probability */
  float repeat_penalty; /* 1: off; CTRL (Keskar et al. 2019): positive logits / p, negative * p */
  int32_t repeat_last;  /* how many of the last tokens the penalty sees */
  uint64_t seed;
} tri_sampler_params;

#define TRI_SAMPLER_DEFAULTS \
  (tri_sampler_params) { .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1.0f, .repeat_last = 64, \
                         .seed = 0 }

#endif
