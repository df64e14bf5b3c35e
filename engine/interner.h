/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_INTERNER_H
#define TRI_ENGINE_INTERNER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

/* Byte strings numbered 0, 1, 2, … in the order in which they first came; equal ones have one number. Whoever chooses the bytes
 * can't make it slow: the hash has a random key (SipHash), and no result depends on it. */

typedef struct tri_interner tri_interner;
enum { TRI_INTERNER_NONE = UINT32_MAX };

TRI_MUST_CHECK tri_status tri_interner_create(tri_interner **out, tri_error *err);
void tri_interner_destroy(tri_interner **in);
/* The number of these bytes; *fresh (may be NULL) tells if they are new. NONE when out of memory. */
uint32_t tri_interner_put(tri_interner *in, const void *bytes, size_t len, bool *fresh);
/* The bytes of a number, aligned for any integer; valid until the next put. */
const void *tri_interner_get(const tri_interner *in, uint32_t id, size_t *len);
uint32_t tri_interner_count(const tri_interner *in);
size_t tri_interner_bytes(const tri_interner *in); /* of the strings, and of what finds them */

#endif
