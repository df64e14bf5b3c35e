/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_MODEL_H
#define TRI_ENGINE_MODEL_H
#include "engine/shape.h"
#include "engine/ternary.h"
#include "engine/tokenizer.h"

/* A model file opened and understood: shape, tensors (still in the mapping), tokenizer. Immutable. */

typedef struct tri_layer_tensors {
  tri_ternary linear[TRI_LINEARS];
  const tri_gguf_tensor *bias[TRI_LINEARS]; /* F32 [rows], added to the product; NULL where there is none */
  const tri_gguf_tensor *norm[TRI_NORMS]; /* F32; the sub-norms NULL where the architecture has none */
} tri_layer_tensors;

typedef struct tri_model tri_model;

/* Opens FILE, checks that every tensor needed is there with the right shape and a type that we can use, and that the file has
 * no tensor and no key that would change the result and isn't understood here; and that its I2_S isn't in another order (order.h).
 * Errors name the file and the tensor or key. The tokenizer is built too; a file without one that we know still opens, and whoever
 * needs it gets the reason from tri_model_need_tokenizer. */
TRI_MUST_CHECK tri_status tri_model_open(tri_model **out, const char *path, tri_error *err);
/* The same of an open file, which becomes the model's, also on failure. Of a file whose tensors have no data, or only some of them
 * (engine/parts.h), shape and tokenizer are complete, and what is there of the weights can be used. text: build the
 * tokenizer, which takes a moment. */
TRI_MUST_CHECK tri_status tri_model_open_gguf(tri_model **out, tri_gguf **g, bool text, tri_error *err);
/* A model of this shape with one layer of random weights, and a head of this type (tri_matrix_is) with at most `rows` rows, for timing: it
 * takes the memory of its largest matrix. No tokenizer, no embedding to read. */
TRI_MUST_CHECK tri_status tri_model_open_phantom(tri_model **out, const tri_shape *shape, uint32_t head_type, int32_t rows, tri_error *err);
void tri_model_close(tri_model **m);

/* TRI_E_NOT_FOUND, naming the first that is missing, unless the data of these layers and ends are here. */
TRI_MUST_CHECK tri_status tri_model_check_present(const tri_model *m, int first, int last, bool embed, bool head, tri_error *err);

const tri_gguf *tri_model_gguf(const tri_model *m);
const tri_shape *tri_model_shape(const tri_model *m);
const tri_tokenizer *tri_model_tokenizer(const tri_model *m); /* NULL if there is none */
TRI_MUST_CHECK tri_status tri_model_need_tokenizer(const tri_model *m, const tri_tokenizer **out, tri_error *err);
const tri_layer_tensors *tri_model_layer(const tri_model *m, int layer);
const tri_gguf_tensor *tri_model_embedding(const tri_model *m); /* [vocab, d], of a type of matrix.h */
const tri_gguf_tensor *tri_model_head(const tri_model *m);      /* the embedding when tied */
const tri_gguf_tensor *tri_model_head_norm(const tri_model *m); /* F32 [d] */
/* The angle by which pair `pair` of a head's values, 0 <= pair < hd/2, turns from one position to the next: theta^(-2 pair/hd)
 * (Su et al. 2021, RoFormer), divided by rope_scale and by the pair's value in rope_freqs.weight where the file has that tensor
 * (Llama 3.1's scaling by frequency). Rounded to float32, as training code does. */
float tri_model_rope_step(const tri_model *m, int pair);
/* BLAKE2b-256 over the header (metadata and tensor table) and the file's size: two nodes that name the same id loaded the
 * same model by every description in the file. */
enum { TRI_MODEL_ID_BYTES = 32 };
void tri_model_id(const tri_model *m, uint8_t id[TRI_MODEL_ID_BYTES]);

/* Bytes of the head's matrix at run time: read in place from the file's mapping when it is of a float type, repacked when it is Q6_K or
 * Q8_0, and made Q8_0 of any other type. The embedding costs
 * only the rows in use. */
size_t tri_model_head_bytes(const tri_model *m);

#endif
