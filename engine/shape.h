/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SHAPE_H
#define TRI_ENGINE_SHAPE_H
#include "engine/gguf.h"
#include "kernels/kernels.h"

/* What sizes a model has and which of the known architectures it is: the numbers that its forward pass needs. */

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
  float rope_scale; /* positions are divided by it before they rotate; 1 where nothing is scaled */
} tri_shape;

/* Sets what the architecture's name in files ("bitnet-b1.58", "bitnet-25", "bitnet", "llama") says of a shape: arch, gate,
 * sub_norms, neox. False if the name is unknown. */
bool tri_shape_set_arch(tri_shape *s, tri_str name);
/* From a file's metadata, all but vocab and tied, which its tensors tell. Errors name the file, the key and its value:
 * TRI_E_FORMAT, TRI_E_LIMIT, TRI_E_UNSUPPORTED (also for keys that would change the result and aren't understood here). */
TRI_MUST_CHECK tri_status tri_shape_read(tri_shape *out, const tri_gguf *g, tri_error *err);

/* The ternary linears of a layer, in the order they run. */
typedef enum tri_linear { TRI_Q, TRI_K, TRI_V, TRI_O, TRI_GATE, TRI_UP, TRI_DOWN, TRI_LINEARS } tri_linear;
typedef enum tri_norm { TRI_NORM_ATTN, TRI_NORM_ATTN_SUB, TRI_NORM_FFN, TRI_NORM_FFN_SUB, TRI_NORMS } tri_norm;

/* Rows and columns of one linear of this shape. */
void tri_shape_linear(const tri_shape *s, tri_linear which, size_t *m, size_t *k);
const char *tri_linear_name(tri_linear which); /* "attn_q" */
/* Values of one norm of this shape. */
size_t tri_shape_norm(const tri_shape *s, tri_norm which);
const char *tri_norm_name(tri_norm which); /* "attn_norm" */

#endif
