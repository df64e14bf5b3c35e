/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_NORMAL_H
#define TRI_ENGINE_NORMAL_H
#include "base/buf.h"
#include "engine/vocab.h"

/* What a tokenizer does to a text before it looks for tokens. Engine-internal. */

typedef struct tri_normal {
  bool composes; /* Unicode's normal form C (UAX #15), by libunistring */
  bool spaces;   /* SentencePiece: U+2581 counts as a space; prefix and squeezes apply */
  uint8_t prefix; /* tri_vocab_prefix */
  bool squeezes;
} tri_normal;

tri_normal tri_normal_of(const tri_vocab *v);
/* False: the text stays as it is. */
bool tri_normal_acts(const tri_normal *n);
/* Append the normal form of a stretch of text; bytes outside of UTF-8 stay. first: it is the text's very start. TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_normal_append(const tri_normal *n, const uint8_t *text, size_t len, bool first, tri_buf *out);
/* The bytes from the start that are valid UTF-8; *bad is how many after them (1 to 3) are not, 0 at the end of the text. */
size_t tri_normal_valid(const uint8_t *text, size_t len, size_t *bad);

#endif
