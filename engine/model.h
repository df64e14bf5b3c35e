/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MODEL_H
#define TRI_ENGINE_MODEL_H
#include "engine/gguf.h"
#include "engine/ternary.h"
#include "engine/tokenizer.h"
#include "kernels/kernels.h"

/* A model file opened and understood: shape, tensors (still in the mapping), tokenizer. Immutable. */

typedef enum tri_arch { TRI_ARCH_BITNET, TRI_ARCH_LLAMA } tri_arch;
typedef enum tri_gate { TRI_GATE_SILU, TRI_GATE_RELU2 } tri_gate;

typedef struct tri_shape {
  tri_arch arch;
  tri_gate gate;
  bool sub_norms; /* RMSNorm before o_proj and down_proj (BitNet) */
  bool neox;      /* rotary pairs (i, i + hd/2) */
  bool tied;      /* the head is the embedding */
  int32_t d, n_layers, n_heads, n_kv, hd, ffn, vocab, context;
  float eps, rope_theta;
} tri_shape;

/* The ternary linears of a layer, in the order they run. */
typedef enum tri_linear { TRI_Q, TRI_K, TRI_V, TRI_O, TRI_GATE, TRI_UP, TRI_DOWN, TRI_LINEARS } tri_linear;
typedef enum tri_norm { TRI_NORM_ATTN, TRI_NORM_ATTN_SUB, TRI_NORM_FFN, TRI_NORM_FFN_SUB, TRI_NORMS } tri_norm;

typedef struct tri_layer_tensors {
  tri_ternary linear[TRI_LINEARS];
  const tri_gguf_tensor *norm[TRI_NORMS]; /* F32; the sub-norms NULL where the architecture has none */
} tri_layer_tensors;

typedef struct tri_model tri_model;

/* Opens FILE, checks that every tensor needed is there with the right shape and a type that we can use. Errors name the
 * file and the tensor. The tokenizer is built too; a file without one that we know still opens, and whoever needs it gets
 * the reason from tri_model_need_tokenizer. */
TRI_MUST_CHECK tri_status tri_model_open(tri_model **out, const char *path, tri_error *err);
void tri_model_close(tri_model **m);

const tri_gguf *tri_model_gguf(const tri_model *m);
const tri_shape *tri_model_shape(const tri_model *m);
const tri_tokenizer *tri_model_tokenizer(const tri_model *m); /* NULL if there is none */
TRI_MUST_CHECK tri_status tri_model_need_tokenizer(const tri_model *m, const tri_tokenizer **out, tri_error *err);
const tri_layer_tensors *tri_model_layer(const tri_model *m, int layer);
const tri_gguf_tensor *tri_model_embedding(const tri_model *m); /* F32, F16, BF16, Q8_0 or Q6_K [vocab, d] */
const tri_gguf_tensor *tri_model_head(const tri_model *m);      /* the embedding when tied */
const tri_gguf_tensor *tri_model_head_norm(const tri_model *m); /* F32 [d] */
/* Rows and columns of one linear of this shape. */
void tri_shape_linear(const tri_shape *s, tri_linear which, size_t *m, size_t *k);
const char *tri_linear_name(tri_linear which); /* "attn_q" */
/* Values of one norm of this shape. */
size_t tri_shape_norm(const tri_shape *s, tri_norm which);
const char *tri_norm_name(tri_norm which); /* "attn_norm" */

/* BLAKE2b-256 over the header (metadata and tensor table) and the file's size: two nodes that name the same id loaded the
 * same model by every description in the file. */
enum { TRI_MODEL_ID_BYTES = 32 };
void tri_model_id(const tri_model *m, uint8_t id[TRI_MODEL_ID_BYTES]);

/* Bytes of the head's matrix at run time (read in place from the file's mapping when it is of a float type). The embedding costs
 * only the rows in use. */
size_t tri_model_head_bytes(const tri_model *m);

#endif
