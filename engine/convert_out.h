/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CONVERT_OUT_H
#define TRI_ENGINE_CONVERT_OUT_H
#include "engine/convert_sink.h"
#include "engine/model.h"
#include "engine/vocab.h"

/* Engine-internal: what a converted file holds and in which order, and writing it with progress. */

enum { TRI_CONVERT_PAIRS = 512 }; /* most pairs of values that a head rotates: head_dim is 1024 at most */

/* What of a model a shape doesn't tell. */
typedef struct tri_convert_kind {
  const char *arch;           /* general.architecture; a literal */
  bool attn_bias, mlp_bias;   /* of q, k, v and o; of gate, up and down */
  bool inner_names;           /* the sub-norms are called inner_attn_ln and ffn_layernorm */
  bool has_rope_factors;
  float rope_factors[TRI_CONVERT_PAIRS]; /* [hd/2] what rope_freqs.weight holds */
} tri_convert_kind;

typedef struct tri_convert_tensor {
  char name[64];   /* "blk.0.attn_q.weight" */
  char source[96]; /* what Hugging Face calls it: "model.layers.0.self_attn.q_proj.weight"; empty: rope_freqs.weight */
  uint32_t type;   /* F32 for vectors, the options' for linears, and for embedding and head */
  const tri_ternary_form *form; /* of a linear, in the tri_convert_out; else NULL */
  bool vector;     /* a norm or a bias: one dimension, [k] */
  uint64_t m, k;   /* rows and columns; m = 1 for a vector */
  uint64_t heads;  /* q and k, their biases too: heads whose rows rotate in pairs; else 0 */
  uint64_t bytes;
} tri_convert_tensor;

typedef struct tri_convert_out {
  /* set by the caller, in a zeroed struct */
  tri_convert_kind kind;
  char name[128];   /* general.name */
  tri_shape shape;
  tri_convert_options options;
  float *scales;    /* [n_scales] of the linears, in the file's order, to keep where the type rounds them; else NULL */
  size_t n_scales;
  /* internal */
  tri_ternary_form forms[TRI_LINEARS];
  const tri_kernels *kernels;
  tri_convert_sink sink;
  uint8_t *encoded; /* scratch, TRI_CONVERT_CHUNK floats in any type */
} tri_convert_out;

enum { TRI_CONVERT_CHUNK = TRI_MAX_K }; /* most values that one call takes; a multiple of every type's block */

/* Check that the shape can be written with these options. Comes first. */
TRI_MUST_CHECK tri_status tri_convert_out_plan(tri_convert_out *c, const char *path, tri_error *err);

/* The tensors of a file in its order, [0, count). */
size_t tri_convert_out_count(const tri_convert_out *c);
tri_convert_tensor tri_convert_out_tensor(const tri_convert_out *c, size_t i);

/* Open the file, write metadata and tensor table. vocab may be NULL. On failure nothing is left to free. The tensors' values
 * follow in order: linears by tri_convert_sink_linear, the others by tri_convert_out_floats. */
TRI_MUST_CHECK tri_status tri_convert_out_begin(tri_convert_out *c, const char *path, const tri_vocab *vocab,
                                                tri_error *err);
/* The next n <= TRI_CONVERT_CHUNK values of tensor t, in its type; n is a multiple of the type's block (Q8_0, Q6_K).
 */
TRI_MUST_CHECK tri_status tri_convert_out_floats(tri_convert_out *c, const tri_convert_tensor *t,
                                                 const float *x, size_t n, tri_error *err);
/* Commit when `status` is TRI_OK, else drop what was written; frees in both cases. Returns the final status.
 */
TRI_MUST_CHECK tri_status tri_convert_out_end(tri_convert_out *c, tri_status status, tri_error *err);

#endif
