/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CHECK_H
#define TRI_ENGINE_CHECK_H
#include "engine/ternary.h"

/* A file looked at to its last byte: what each tensor holds, and a hash of each part. */

typedef struct tri_check_tensor {
  bool ternary;          /* else the rest is 0 */
  tri_ternary_form form;
  float least, most;     /* scales of the rows, those of zeros left out */
  double zeros;          /* share of the weights */
} tri_check_tensor;

/* Reads all of a tensor. TRI_E_FORMAT: codes that are no ternary weights, scales or values that are not finite; the other errors
 * of tri_ternary_open; messages name file and tensor. Types unknown here pass unread. */
TRI_MUST_CHECK tri_status tri_check_read(const tri_gguf *g, const tri_gguf_tensor *t, tri_check_tensor *out, tri_error *err);

enum { TRI_CHECK_HASH_BYTES = 32 };
typedef struct tri_check_part {
  char name[24]; /* "metadata", "embedding", "layer 0", …, "head", "other" */
  uint64_t bytes;
  uint8_t hash[TRI_CHECK_HASH_BYTES];
} tri_check_part;

/* BLAKE2b-256 of each part; *parts is malloc's, [*n]. metadata is every key; embedding is token_embd, head is output and
 * output_norm, layer N what begins with "blk.N.". Hashed are a part's keys or tensors in the order of their names, each as
 *   key:    name, type, element type, count, value;       tensor: name, type, number of dimensions, dimensions, data;
 * numbers as little-endian 64 bits, and such a number of bytes before name, value and data. So equal parts of two files have equal
 * hashes, wherever they stand in them. */
TRI_MUST_CHECK tri_status tri_check_parts(const tri_gguf *g, tri_check_part **parts, size_t *n, tri_error *err);

#endif
