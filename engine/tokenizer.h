/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TOKENIZER_H
#define TRI_ENGINE_TOKENIZER_H
#include "base/buf.h"
#include "engine/vocab.h"

/* Text -> ids -> bytes: byte-level BPE and SentencePiece's models. Immutable after open, so threads may share it. */

typedef struct tri_tokenizer tri_tokenizer;

enum { TRI_TOKENIZER_TEXT_BYTES = 16 << 20 }; /* longest text of one encode */

/* Copies what it needs and frees the vocab (zeroes *vocab) on success; on failure the caller still owns it. TRI_E_FORMAT:
 * a byte without a token, or a merge of tokens that don't exist. */
TRI_MUST_CHECK tri_status tri_tokenizer_open(tri_tokenizer **out, tri_vocab *vocab, tri_error *err);
/* From a model in GGUF, or from what tri_vocab_from_path takes. Messages begin with the path. */
TRI_MUST_CHECK tri_status tri_tokenizer_load(tri_tokenizer **out, const char *path, tri_error *err);
void tri_tokenizer_close(tri_tokenizer **t);

typedef struct tri_ids {
  int32_t *data;
  size_t len, cap;
} tri_ids;
void tri_ids_free(tri_ids *ids);
TRI_MUST_CHECK tri_status tri_ids_push(tri_ids *ids, int32_t id); /* TRI_E_NOMEM */

/* Append the ids of `len` bytes of UTF-8. Invalid bytes are kept byte by byte, so that the pieces always join to the same bytes,
 * unless the vocabulary changes texts itself (normal forms, SentencePiece's spaces) or has no tokens for bytes. With `special`,
 * control tokens such as <|eot_id|> in the text become their ids; without, they are plain text. User-defined tokens are found in
 * both cases. No BOS or EOS is added here. TRI_E_LIMIT: a text that is too long. */
TRI_MUST_CHECK tri_status tri_tokenizer_encode(const tri_tokenizer *t, const char *text, size_t len, bool special, tri_ids *out,
                                               tri_error *err);
/* A prompt whose parts are of two kinds (engine/template.h): control tokens are read but where a byte of one is marked in plain
 * [len]. */
TRI_MUST_CHECK tri_status tri_tokenizer_encode_prompt(const tri_tokenizer *t, const char *text, const uint8_t *plain, size_t len,
                                                      tri_ids *out, tri_error *err);
/* The bytes of one token; empty for control and unknown tokens unless `special`. Never fails: an id out of range is empty. */
tri_str tri_tokenizer_piece(const tri_tokenizer *t, int32_t id, bool special);
/* Append the pieces of a whole text, without the space that encoding put before it. */
void tri_tokenizer_decode(const tri_tokenizer *t, const int32_t *ids, size_t n, bool special, tri_buf *out);
tri_token_type tri_tokenizer_type(const tri_tokenizer *t, int32_t id); /* UNUSED out of range */
size_t tri_tokenizer_size(const tri_tokenizer *t);
int32_t tri_tokenizer_bos(const tri_tokenizer *t); /* -1: none */
const char *tri_tokenizer_chat_template(const tri_tokenizer *t); /* the model's own, or NULL */
int32_t tri_tokenizer_eos(const tri_tokenizer *t);
bool tri_tokenizer_adds_bos(const tri_tokenizer *t);
bool tri_tokenizer_adds_eos(const tri_tokenizer *t);
/* True for a token that ends generation (EOS, end of turn). */
bool tri_tokenizer_is_end(const tri_tokenizer *t, int32_t id);

#endif
