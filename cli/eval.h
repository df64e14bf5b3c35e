/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_EVAL_H
#define TRI_CLI_EVAL_H
#include "cli/cluster.h"
#include "engine/single.h"

/* Windows of a text, and their losses, as `trireme eval` scores them. */

/* How they are laid out and counted. */
typedef struct tri_eval_plan {
  size_t context; /* tokens in a window */
  size_t stride;  /* from the start of one to the next; what the one before has counted is not counted again */
  size_t skip;    /* predictions at the start of each window that are not counted */
  int32_t bos;    /* stands in place of each window's first token; -1: the text's own */
} tri_eval_plan;

typedef struct tri_eval {
  tri_eval_plan plan;
  const int32_t *ids; /* of the text */
  size_t windows;
  double nll, squares; /* out: over the counted predictions, the sum of -log p and of its square */
  size_t count;        /* out */
} tri_eval;

/* Append a text file's tokens ("-": standard input). */
TRI_MUST_CHECK tri_status tri_eval_read(const char *path, const tri_tokenizer *t, tri_ids *out, tri_error *err);
/* Windows that fit in n tokens. */
size_t tri_eval_windows(const tri_eval_plan *p, size_t n);
/* Window w's tokens, [context]. */
void tri_eval_window(const tri_eval *e, size_t w, int32_t *out);
/* Add window w's prediction number i (of the token at i + 1), if it is one to count. */
void tri_eval_add(const tri_eval *e, size_t w, size_t i, float logprob, double *nll, double *squares, size_t *count);

/* Of a mean of n values, from the mean of their squares: sqrt((mean of squares - mean²) / (n - 1)), as llama.cpp's perplexity
 * tool counts it. */
double tri_eval_error(double mean, double mean_square, double n);

/* Score over a cluster on this machine, several windows in the pipeline at once. `progress` as tri_progress_update. */
TRI_MUST_CHECK tri_status tri_eval_cluster(tri_eval *e, const tri_cluster_options *o, void *progress, tri_error *err);

/* Multiple choice by log-likelihood. */
typedef struct tri_choices {
  size_t questions, right, right_by_length; /* out: by the sum of log p; by that divided by the choice's characters */
} tri_choices;
/* Every line of a JSONL file is a question: see `trireme eval --help`. At most `most` of them (0: all). */
TRI_MUST_CHECK tri_status tri_choices_score(tri_choices *c, const char *path, size_t most, tri_single *s, const tri_tokenizer *t,
                                            void *progress, tri_error *err);

#endif
