/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SINGLE_H
#define TRI_ENGINE_SINGLE_H
#include "engine/stage.h"

/* A whole model on this node: one stage with every layer, the embedding and the head. What `trireme run`, `eval` and `bench`
 * use, and the reference that a cluster is compared with. */

typedef struct tri_single_options {
  int threads;       /* 0: one per core that this process may use */
  int32_t context;   /* 0: the model's */
  int32_t slots;     /* 0: 1 */
  int32_t max_rows;  /* 0: 256 */
  tri_ftype kv_type; /* TRI_F32, TRI_F16 or TRI_INT8 */
  void (*progress)(void *arg, uint64_t done, uint64_t total); /* may be NULL */
  void *progress_arg;
} tri_single_options;

typedef struct tri_single {
  tri_model *model;
  const tri_kernels *kernels;
  tri_pool *pool;
  tri_stage *stage;
  float *hidden;  /* [max_rows, d] */
  tri_row *rows;  /* [max_rows] */
  tri_tune tune;  /* how its matrices are held, and why */
} tri_single;

TRI_MUST_CHECK tri_status tri_single_open(tri_single *out, const char *path, const tri_single_options *o, tri_error *err);
void tri_single_close(tri_single *s);

/* Run tokens of one slot at positions pos, pos+1, …; any n (in chunks of max_rows). logits (may be NULL) receives the row
 * after the last token, [vocab]. Positions and ids are checked. */
TRI_MUST_CHECK tri_status tri_single_feed(tri_single *s, int32_t slot, int32_t pos, const int32_t *tokens, size_t n, float *logits,
                                          tri_error *err);
/* The same, n <= max_rows, with the logits of every row: [n, vocab]. */
TRI_MUST_CHECK tri_status tri_single_feed_all(tri_single *s, int32_t slot, int32_t pos, const int32_t *tokens, size_t n, float *logits,
                                              tri_error *err);

/* Cores that this process may use (affinity mask and cgroup quota, rounded up). */
int tri_single_cores(void);

#endif
