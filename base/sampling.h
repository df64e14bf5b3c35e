/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_SAMPLING_H
#define TRI_BASE_SAMPLING_H
#include <stdint.h>

/* How a token is drawn: what the sampler computes with (engine/sampler.h, where the ranges are checked and the order stands)
 * and what messages carry. Zeros are greedy, with everything else off but top_p and repeat_penalty. */

enum {
  TRI_SAMPLER_BIASES = 300, /* tokens with a bias */
  TRI_SAMPLER_TOP = 20,     /* likeliest tokens reported with each one drawn */
  TRI_GRAMMAR_BYTES = 1 << 20, /* of a grammar's text */
};

/* What a grammar is written in: none, GBNF (engine/grammar.h), a JSON schema (engine/schema.h). */
typedef enum tri_lang { TRI_LANG_NONE, TRI_LANG_GBNF, TRI_LANG_SCHEMA, TRI_LANG_COUNT } tri_lang;

typedef struct tri_sampler_params {
  float temperature;       /* 0: greedy */
  int32_t top_k;           /* 0: off */
  float top_p;             /* 1: off */
  float min_p;             /* 0: off; relative to the largest probability */
  float typical_p;         /* 0 or 1: off; Meister et al. 2022, "Locally typical sampling" */
  float repeat_penalty;    /* 1: off; CTRL (Keskar et al. 2019): positive logits / p, negative * p */
  float frequency_penalty; /* 0: off; OpenAI's API: logit - p * times it was there */
  float presence_penalty;  /* 0: off; OpenAI's API: logit - p if it was there */
  int32_t repeat_last;     /* how many of the last tokens, prompt included, the three penalties see: llama.cpp's window */
  int32_t top;             /* log-probabilities of so many likeliest tokens come with each; 0: none */
  uint64_t seed;
  uint32_t n_bias;
  int32_t bias_tokens[TRI_SAMPLER_BIASES];
  float bias[TRI_SAMPLER_BIASES]; /* added to the token's logit; -inf bans it */
} tri_sampler_params;

#define TRI_SAMPLER_DEFAULTS \
  (tri_sampler_params) { .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1.0f, .repeat_last = 64, \
                         .seed = 0 }

#endif
