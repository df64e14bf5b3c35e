/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SHOW_H
#define TRI_ENGINE_SHOW_H
#include <string.h>
#include "engine/gguf.h"

/* Texts from outside made fit for an error message (tri_str_printable), as an argument of a call: each use has its own
 * buffer, which lives as long as the enclosing block. */

enum { TRI_SHOW_BYTES = 200 };
static inline const char *tri_show(tri_str s, char out[TRI_SHOW_BYTES]) {
  tri_str_printable(s, out, TRI_SHOW_BYTES);
  return out;
}
#define TRI_SHOW(str) tri_show((str), (char[TRI_SHOW_BYTES]){0})
#define TRI_SHOW_TEXT(text) TRI_SHOW(((tri_str){(text), strlen(text)}))

#endif
