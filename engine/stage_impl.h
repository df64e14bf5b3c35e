/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_STAGE_IMPL_H
#define TRI_ENGINE_STAGE_IMPL_H
#include "engine/kv.h"
#include "engine/mem.h"
#include "engine/stage.h"

/* What stage.c (loading), block.c (a layer's forward pass) and head.c (norm and vocabulary matrix) share. */

/* One ternary matrix [m, k] ready to run. */
typedef struct tri_packed {
  tri_mem w; /* in `form` (kernels/form.h) */
  tri_form form;
  size_t m, k;
  float scale;       /* of all rows; 1 where each has its own */
  float *scales;     /* [m], or NULL */
  const float *bias; /* [m] in the model's mapping, or NULL */
} tri_packed;

typedef struct tri_layer {
  tri_packed linear[TRI_LINEARS];
  const float *norm[TRI_NORMS]; /* in the model's mapping */
} tri_layer;

/* Rows quantised for a ternary matrix: panels (tri_panel_first), one after another. */
typedef struct tri_acts {
  tri_mem q;    /* int8; panel p starts at first_row(p) * kpad */
  float *s;     /* [max_rows] scale of each row */
  int32_t *sum; /* [max_rows] sum of each row's values */
} tri_acts;

/* A stage's buffers, in one list, so that what is made, counted and foretold is the same. */
typedef enum tri_buffer {
  TRI_BUFFER_ACTS, TRI_BUFFER_SCALES, TRI_BUFFER_SUMS, TRI_BUFFER_QKV, TRI_BUFFER_CTX, TRI_BUFFER_GATE, TRI_BUFFER_UP, TRI_BUFFER_Y,
  TRI_BUFFER_NORM, TRI_BUFFER_SCORES, TRI_BUFFER_COS, TRI_BUFFER_SIN, TRI_BUFFERS
} tri_buffer;

/* ld: columns of a row, a multiple of TRI_BLOCK_ROWS */
typedef struct tri_stage_sizes {
  size_t bytes[TRI_BUFFERS];
  size_t qkv_ld, ffn_ld, d_ld, norm_ld, attend_ld;
} tri_stage_sizes;

static inline tri_kv_shape tri_stage_kv_shape(const tri_shape *s, tri_ftype type) {
  return (tri_kv_shape){(size_t)s->n_kv, (size_t)s->hd, type};
}

struct tri_stage {
  const tri_model *model;
  const tri_kernels *k;
  tri_pool *pool;
  tri_stage_spec spec;
  tri_shape shape;
  tri_layer *layers; /* [last - first] */
  tri_kv *kv;
  float *rope_cos, *rope_sin; /* [context, hd/2] */
  /* the head */
  tri_mem head_q, head_d; /* the head's run-time form; empty for float types, head_d for all but Q8_0 */
  tri_q8 head_q8;
  tri_q6 head_q6;
  tri_mem buffers[TRI_BUFFERS]; /* owns what the following point into, sized for max_rows */
  tri_acts acts;
  tri_mem qkv;   /* float [max_rows, qkv_ld]: q, k, v side by side */
  tri_mem ctx;   /* float [max_rows, n_heads*hd]: attention's result */
  tri_mem gate, up; /* float [max_rows, ffn_ld] */
  tri_mem y;     /* float [max_rows, d_ld]: o_proj's and down_proj's result */
  tri_mem norm;  /* float [threads, max(d, ffn, n_heads*hd)] */
  tri_mem scores; /* float [threads, attend_ld], attention's own */
  tri_mem logits; /* float [TRI_PANEL_ROWS, vocab_ld], Q8_0 and Q6_K heads only */
  size_t qkv_ld, attend_ld, ffn_ld, d_ld, norm_ld, vocab_ld;
  void (*watch)(void *, int32_t, const float *, int32_t);
  void *watch_arg;
};

/* Panels of at most k->panel_rows rows are of equal size as nearly as can be: of 24, 25 rows are 13 + 12, not 24 + 1. */
static inline size_t tri_panel_count(const tri_kernels *k, size_t rows) { return (rows + k->panel_rows - 1) / k->panel_rows; }
static inline size_t tri_panel_first(const tri_kernels *k, size_t rows, size_t panel) { return rows * panel / tri_panel_count(k, rows); }
static inline size_t tri_panel_of(const tri_kernels *k, size_t rows, size_t row) {
  size_t p = row * tri_panel_count(k, rows) / rows;
  while (tri_panel_first(k, rows, p + 1) <= row) p++;
  return p;
}

/* The buffers of a stage of this spec, on a pool of `threads`. (stage_size.c) */
void tri_stage_size(const tri_shape *shape, const tri_stage_spec *spec, int threads, tri_stage_sizes *out);

/* Bytes of one layer's weights in the forms that `tune` chose. (stage_size.c) */
size_t tri_stage_layer_weights(const tri_shape *shape, const tri_tune *tune);

/* Run layer `layer` (index within the stage) on every thread of the pool: called inside tri_pool_run. Ends with a barrier. */
void tri_block_run(tri_stage *s, int layer, const tri_row *rows, size_t n, float *hidden, int thread, int threads);

/* Attention of the rows' queries over the cache, into ctx, on every thread; the caller's barrier follows. */
void tri_attend_run(tri_stage *s, int layer, const tri_row *rows, size_t n, int thread, int threads);
/* Floats of scratch that it takes for each thread. */
size_t tri_attend_floats(const tri_shape *shape, size_t context);

TRI_MUST_CHECK tri_status tri_head_open(tri_stage *s, tri_error *err);
void tri_head_close(tri_stage *s);
/* True if a head of this model's type is packed at load, false if it is read in place. */
bool tri_head_is_packed(const tri_model *m);
/* One row of the embedding as float32. */
void tri_head_embed(const tri_stage *s, int32_t token, float *x);

#endif
