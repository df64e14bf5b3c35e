/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_ADDED_H
#define TRI_ENGINE_ADDED_H
#include "engine/normal.h"

/* Added tokens (control, user-defined and unknown ones), which are found in a text as they are: the leftmost, of several there
 * the longest. Engine-internal; immutable after open. */

enum { TRI_ADDED_BYTES = 512, TRI_ADDED_TOTAL = 64 << 20 }; /* of one, of all */

typedef struct tri_added tri_added;

/* Those with TRI_TOKEN_NORMALIZED (by `normal`), or those without. Copies what it needs. TRI_E_LIMIT, TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_added_open(tri_added **out, const tri_vocab *v, const tri_normal *normal, bool normalized, tri_error *err);
void tri_added_close(tri_added **a);
bool tri_added_any(const tri_added *a);

/* Find the first one in text[from, len): its id, and the bytes that it takes, with the white space that it asks for. With
 * `special` all kinds, but only user-defined ones where a byte of it is marked in `plain` [len] (NULL: none is); without, these
 * alone. -1: none. */
int32_t tri_added_find(const tri_added *a, const uint8_t *text, const uint8_t *plain, size_t len, size_t from, bool special,
                       size_t *start, size_t *end);

#endif
