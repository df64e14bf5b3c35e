/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TILES_H
#define TRI_ENGINE_TILES_H
#include "engine/gguf.h"

/* The tile sizes of TL1 and TL2. The layouts depend on them, but bitnet.cpp keeps them outside of its files, in a
 * kernel_config.ini that belongs to one build of its programs. Files written here say them, in a key for each shape:
 * "trireme.tl2.MxK" = "BM,BK" and "trireme.tl1.MxK" = "BM,BK,bm". */

typedef struct tri_tiles {
  uint32_t bm, bk, sub; /* BM, BK and bm (bmm) of kernel_config.ini; TL2 has no sub: 0 */
} tri_tiles;

/* Tiles that a user states for the matrices of one shape. */
typedef struct tri_tiles_given {
  size_t m, k;
  tri_tiles tiles;
} tri_tiles_given;

/* bitnet.cpp's preset for an [m, k] matrix of the models that it has tuned kernels for; false if there is none. */
bool tri_tiles_preset(uint32_t type, size_t m, size_t k, tri_tiles *out);
/* For writing: the preset, else by rule: BM is the largest multiple of 32 up to 256 that divides m; BK of TL2 is 96; BK of
 * TL1 is the largest of 128, 64 and 32 that divides k, and bm is 32. Where nothing divides, the least: the matrix then
 * doesn't fit the type. */
tri_tiles tri_tiles_choose(uint32_t type, size_t m, size_t k);

/* "MxK=BM,BK" or "MxK=BM,BK,bm", as on the command line; TRI_E_INVALID. */
TRI_MUST_CHECK tri_status tri_tiles_parse(const char *text, tri_tiles_given *out, tri_error *err);
/* The one given for this shape, or NULL. */
const tri_tiles *tri_tiles_find(const tri_tiles_given *given, size_t n, size_t m, size_t k);

/* True if `key` is one of ours. */
bool tri_tiles_is_key(tri_str key);
/* Read a file's key for this shape: *found, else *out is unchanged. TRI_E_FORMAT if it isn't numbers. */
TRI_MUST_CHECK tri_status tri_tiles_read(const tri_gguf *g, uint32_t type, size_t m, size_t k, bool *found, tri_tiles *out,
                                         tri_error *err);
void tri_tiles_write(tri_gguf_writer *w, uint32_t type, size_t m, size_t k, tri_tiles tiles);

#endif
