/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_VOCAB_JSON_H
#define TRI_ENGINE_VOCAB_JSON_H
#include <jansson.h>
#include "engine/vocab.h"

/* Engine-internal: tokenizer.json's normalizer and pre_tokenizer, understood. */

typedef struct tri_json_steps {
  bool spelled;      /* a ByteLevel step: the text is spelled in GPT-2's alphabet */
  bool spaces;       /* spaces become U+2581, as SentencePiece has it */
  bool composes;     /* NFC */
  bool normalizes;   /* the normalizer does something */
  bool splits;       /* Metaspace cuts before each space */
  uint8_t prefix;    /* tri_vocab_prefix */
  tri_words_list words;
} tri_json_steps;

/* TRI_E_UNSUPPORTED quotes the step that we lack. */
TRI_MUST_CHECK tri_status tri_json_read_steps(tri_json_steps *out, const json_t *root, tri_error *err);

/* The string under a key, or "". */
const char *tri_json_text(const json_t *object, const char *key);
/* `top` itself or the one in its array `list` that has this type, or NULL. */
const json_t *tri_json_step(const json_t *top, const char *list, const char *type);

#endif
