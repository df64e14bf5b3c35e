/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_SAMPLING_H
#define TRI_CLI_SAMPLING_H
#include "base/args.h"
#include "base/buf.h"
#include "engine/sampler.h"
#include "proto/codec.h"

/* The options that every generating command shares: run, chat, local, submit. */

typedef struct tri_sampling_args {
  double temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, presence_penalty;
  int64_t top_k, repeat_last, seed, predict, top;
  bool ignore_end, json_mode;
  const char *grammar_path, *schema_path;
  tri_args_list stops, stop_tokens, biases;
} tri_sampling_args;

/* `n`: a literal, how many tokens an answer has by default. */
#define TRI_SAMPLING_ARGS_DEFAULTS_OF(n) \
  {.temperature = 0.8, .top_p = 0.95, .min_p = 0.05, .repeat_penalty = 1, .top_k = 40, .repeat_last = 64, .seed = -1, .predict = n}
#define TRI_SAMPLING_ARGS_DEFAULTS TRI_SAMPLING_ARGS_DEFAULTS_OF(128)

/* Rows for a tri_arg table; `a` is a tri_sampling_args lvalue with static storage. */
#define TRI_SAMPLING_ARGS(a) TRI_SAMPLING_ARGS_OF(a, 128)
#define TRI_SAMPLING_ARGS_OF(a, n)                                                                                                     \
  {"predict", 'n', TRI_ARG_INT, &(a).predict, "N", "Tokens to generate at most (default " #n ").", 1, 1 << 20},                     \
  {"temp", 0, TRI_ARG_FLOAT, &(a).temperature, "T", "Temperature; 0 picks the likeliest token always (default 0.8).", 0, 100},   \
  {"top-k", 0, TRI_ARG_INT, &(a).top_k, "K", "Draw from the K likeliest tokens; 0: all (default 40).", 0, 1 << 20},               \
  {"top-p", 0, TRI_ARG_FLOAT, &(a).top_p, "P", "Draw from the likeliest tokens that add up to P (default 0.95).", 0.0001, 1},     \
  {"min-p", 0, TRI_ARG_FLOAT, &(a).min_p, "P", "Leave out tokens below P times the likeliest one (default 0.05).", 0.0, 1},       \
  {"typical", 0, TRI_ARG_FLOAT, &(a).typical_p, "P",                                                                             \
   "Draw from the tokens of the most typical information that add up to P; 0: off (default 0).", 0.0, 1},                         \
  {"repeat-penalty", 0, TRI_ARG_FLOAT, &(a).repeat_penalty, "R", "Penalty on tokens that were there before; 1: none (default 1).",  \
   0.01, 100},                                                                                                                    \
  {"frequency-penalty", 0, TRI_ARG_FLOAT, &(a).frequency_penalty, "F",                                                           \
   "Take F off a token's logit for each time that it was there (default 0).", -100, 100},                                         \
  {"presence-penalty", 0, TRI_ARG_FLOAT, &(a).presence_penalty, "F", "Take F off a token's logit if it was there (default 0).",   \
   -100, 100},                                                                                                                    \
  {"repeat-last", 0, TRI_ARG_INT, &(a).repeat_last, "N", "How many tokens back the penalties look (default 64).", 0, 1 << 20},    \
  {"logit-bias", 0, TRI_ARG_MULTI, &(a).biases, "ID+B",                                                                          \
   "Add B to a token's logit, or with ID-B take it off; ID-inf bans it. May be given up to 32 times.", 0, 0},                     \
  {"seed", 's', TRI_ARG_INT, &(a).seed, "N", "Random seed; the same seed gives the same text (default: a new one).", -1, 9e15},   \
  {"stop", 0, TRI_ARG_MULTI, &(a).stops, "TEXT", "End before this text appears; may be given up to 8 times.", 0, 0},              \
  {"stop-token", 0, TRI_ARG_MULTI, &(a).stop_tokens, "ID", "End before this token; may be given up to 16 times.", 0, 0},          \
  {"ignore-eos", 0, TRI_ARG_FLAG, &(a).ignore_end, NULL, "Go on past the end-of-text token.", 0, 0},                              \
  {"json-mode", 0, TRI_ARG_FLAG, &(a).json_mode, NULL, "Let the answer be one JSON value, whatever is drawn.", 0, 0},            \
  {"json-schema", 0, TRI_ARG_STRING, &(a).schema_path, "FILE", "Let the answer be JSON that follows this schema.", 0, 0},         \
  {"grammar", 0, TRI_ARG_STRING, &(a).grammar_path, "FILE", "Let the answer follow this grammar, written in GBNF.", 0, 0},       \
  {"logprobs", 0, TRI_ARG_INT, &(a).top, "N", "Show each token's log-probability, and the N likeliest beside it.", 0,             \
   TRI_SAMPLER_TOP}

/* A seed of -1 becomes a random one. */
void tri_sampling_pick_seed(int64_t *seed);
/* The options as a request for a job, checked but for what only the model knows. A seed of -1 is replaced by a random one, here
 * and in *a, so that it can be shown. The grammar's text is appended to *payload, where the prompt's comes after it. */
TRI_MUST_CHECK tri_status tri_sampling_resolve(tri_sampling_args *a, tri_msg_submit *out, tri_buf *payload, tri_error *err);

/* Append the prompt given with -p: the text itself, or all of standard input for "-". */
TRI_MUST_CHECK tri_status tri_sampling_prompt(const char *option, tri_buf *payload, tri_error *err);

#endif
