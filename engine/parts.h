/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_PARTS_H
#define TRI_ENGINE_PARTS_H
#include "engine/gguf.h"

/* A model file as parts that travel and are kept on their own, each named by the BLAKE2b-256 of its bytes:
 *
 *   metadata   the headers (metadata and tensor table) of the file, or of each file of a split one
 *   embedding  token_embd
 *   layer N    what begins with "blk.N."
 *   head       output and output_norm
 *   other      the rest
 *
 * A tensor part's bytes are the data of its tensors in the order of their names, each followed by zeros up to a multiple of
 * TRI_PARTS_ALIGN. The metadata's are, for each file, its size and its header's as little-endian 64 bits, the header, and zeros up to such
 * a multiple. So what stands where in a part follows from the metadata alone, and equal parts of two files have equal hashes. */

enum { TRI_PARTS_HASH_BYTES = 32, TRI_PARTS_ALIGN = 64 };

typedef struct tri_part_hash {
  uint8_t bytes[TRI_PARTS_HASH_BYTES];
} tri_part_hash;

typedef struct tri_parts tri_parts;

/* A view of an open file, which must outlive it. The parts stand in the order above, those without tensors left out. */
TRI_MUST_CHECK tri_status tri_parts_open(tri_parts **out, const tri_gguf *g, tri_error *err);
void tri_parts_close(tri_parts **p);

size_t tri_parts_count(const tri_parts *p);
/* "metadata", "embedding", "layer 0", …, "head", "other" */
const char *tri_parts_name(const tri_parts *p, size_t part);
uint64_t tri_parts_bytes(const tri_parts *p, size_t part);
/* The part's index, or -1 where the model has none of the kind. */
int tri_parts_metadata(const tri_parts *p);
int tri_parts_embedding(const tri_parts *p);
int tri_parts_layer(const tri_parts *p, int layer);
int tri_parts_head(const tri_parts *p);
int tri_parts_other(const tri_parts *p);
/* The parts that layers [first, last) with these ends of the model need, metadata left out: into out [at least last - first + 4]; returns
 * how many. `tied`: the head is the embedding. */
size_t tri_parts_needs(const tri_parts *p, bool tied, uint32_t first, uint32_t last, bool embed, bool head, size_t *out);
/* Copy bytes [at, at + len) of a part that is here; they must be within it. */
void tri_parts_read(const tri_parts *p, size_t part, uint64_t at, size_t len, uint8_t *out);
/* Reads all of a part that is here, and gives its pages of the mapping back. */
void tri_parts_hash(const tri_parts *p, size_t part, tri_part_hash *out);
void tri_parts_hash_bytes(const uint8_t *bytes, size_t len, tri_part_hash *out);
void tri_parts_hex(const tri_part_hash *hash, char out[2 * TRI_PARTS_HASH_BYTES + 1]);

/* The file that a metadata part tells of, without tensor data: their `data` is NULL until tri_parts_attach. The bytes, 8-byte aligned, must
 * outlive it; `name` stands in messages. Errors as of tri_gguf_open. */
TRI_MUST_CHECK tri_status tri_parts_open_metadata(tri_gguf **out, const uint8_t *bytes, size_t len, const char *name, tri_error *err);
/* Let the tensors of a part stand in these bytes, which must outlive the file and be tri_parts_bytes long; p is a view of g. */
void tri_parts_attach(const tri_parts *p, tri_gguf *g, size_t part, const uint8_t *bytes);
/* A part of another file has the same tensors, by names and bytes, as this one. */
bool tri_parts_alike(const tri_parts *p, size_t part, const tri_parts *from, size_t from_part);
/* Let the tensors of a part stand where those of a part alike stand. */
void tri_parts_lend(const tri_parts *p, tri_gguf *g, size_t part, const tri_parts *from, size_t from_part);
bool tri_parts_present(const tri_parts *p, size_t part); /* all of its tensors have data */

#endif
