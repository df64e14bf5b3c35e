/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "engine/vocab.h"

/* SentencePiece's tokenizer.model: the protobuf message ModelProto of sentencepiece_model.proto, of which few fields matter here.
 * Its encoding is read directly (protobuf.dev, "Encoding"): fields of a number and a value, in any order. */

#define FAIL(status, ...) tri_status_fail(err, status, "tokenizer.model: " __VA_ARGS__)

enum { PIECES = 1, TRAINER = 2, NORMALIZER = 3 }; /* of ModelProto */
enum { PIECE = 1, SCORE = 2, TYPE = 3 };          /* of SentencePiece */
enum { MODEL_TYPE = 3, UNK_ID = 40, BOS_ID = 41, EOS_ID = 42 }; /* of TrainerSpec */
enum { CHARSMAP = 2, DUMMY_PREFIX = 3, EXTRA_SPACES = 4, ESCAPE = 5 }; /* of NormalizerSpec */
enum { UNIGRAM = 1, BPE = 2 };                    /* TrainerSpec.ModelType */

typedef struct field {
  uint32_t number;
  uint64_t value; /* of a varint; of a fixed32 its bits */
  tri_str bytes;  /* of a length-delimited one */
} field;

static uint64_t varint(tri_cursor *c) {
  uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    uint8_t byte = tri_cursor_u8(c);
    v |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return v;
  }
  c->failed = true;
  return 0;
}

/* The next field; false at the end, or where what stands there is none. */
static bool next_field(tri_cursor *c, field *f) {
  enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
  if (!tri_cursor_left(c)) return false;
  uint64_t tag = varint(c), len;
  *f = (field){.number = (uint32_t)(tag >> 3)};
  switch (tag & 7) {
  case VARINT: f->value = varint(c); break;
  case FIXED64: f->value = tri_cursor_u64(c); break;
  case FIXED32: f->value = tri_cursor_u32(c); break;
  case BYTES:
    len = varint(c);
    f->bytes = (tri_str){(const char *)tri_cursor_take(c, len), len};
    break;
  default: c->failed = true;
  }
  return !c->failed;
}

static tri_cursor over(tri_str s) { return tri_cursor_over(s.data, s.len); }

static bool read_piece(tri_vocab *v, tri_str message) {
  size_t i = v->n_tokens++;
  tri_cursor c = over(message);
  v->tokens[i] = (tri_str){"", 0}, v->types[i] = TRI_TOKEN_NORMAL;
  for (field f; next_field(&c, &f);) {
    if (f.number == PIECE && f.bytes.data) v->tokens[i] = f.bytes;
    if (f.number == SCORE) memcpy(&v->scores[i], &f.value, sizeof v->scores[i]); /* little-endian, as we are */
    if (f.number == TYPE) v->types[i] = f.value < 7 ? (int32_t)f.value : 0; /* the proto's numbers are GGUF's */
  }
  return !c.failed && v->types[i] >= TRI_TOKEN_NORMAL && v->types[i] <= TRI_TOKEN_BYTE;
}

static tri_status read_trainer(tri_vocab *v, tri_str message, tri_error *err) {
  tri_cursor c = over(message);
  uint64_t type = UNIGRAM;
  for (field f; next_field(&c, &f);) {
    int32_t *const ids[] = {&v->unk, &v->bos, &v->eos};
    if (f.number == MODEL_TYPE) type = f.value;
    if (f.number >= UNK_ID && f.number <= EOS_ID) *ids[f.number - UNK_ID] = (int32_t)f.value; /* -1: none */
  }
  if (c.failed) return FAIL(TRI_E_FORMAT, "no sound trainer_spec");
  if (type != UNIGRAM && type != BPE)
    return FAIL(TRI_E_UNSUPPORTED, "model type %llu; unigram (1) and BPE (2) are supported", (unsigned long long)type);
  v->model = type == BPE ? TRI_VOCAB_PIECES : TRI_VOCAB_UNIGRAM;
  return TRI_OK;
}

static tri_status read_normalizer(tri_vocab *v, tri_str message, tri_error *err) {
  tri_cursor c = over(message);
  for (field f; next_field(&c, &f);) {
    if (f.number == CHARSMAP && f.bytes.len)
      return FAIL(TRI_E_UNSUPPORTED, "a precompiled character map (NFKC and its like); only none (\"identity\") is supported");
    if (f.number == DUMMY_PREFIX) v->prefix = f.value ? TRI_PREFIX_SPACE : 0;
    if (f.number == EXTRA_SPACES) v->squeezes = f.value;
    if (f.number == ESCAPE && !f.value) return FAIL(TRI_E_UNSUPPORTED, "escape_whitespaces is false");
  }
  return c.failed ? FAIL(TRI_E_FORMAT, "no sound normalizer_spec") : TRI_OK;
}

static tri_status read_all(tri_vocab *v, tri_str file, tri_error *err) {
  size_t n = 0;
  tri_cursor c = over(file);
  for (field f; next_field(&c, &f);) n += f.number == PIECES;
  if (c.failed || !n) return FAIL(TRI_E_FORMAT, "no SentencePiece model (its fields end at byte %zu, with %zu pieces)", c.pos, n);
  if (n > TRI_VOCAB_TOKENS) return FAIL(TRI_E_LIMIT, "%zu tokens, more than the limit of %d", n, TRI_VOCAB_TOKENS);
  v->tokens = calloc(n, sizeof *v->tokens);
  v->types = calloc(n, sizeof *v->types);
  v->scores = calloc(n, sizeof *v->scores);
  if (!v->tokens || !v->types || !v->scores) return FAIL(TRI_E_NOMEM, "out of memory");
  tri_status status = TRI_OK;
  c = over(file);
  for (field f; next_field(&c, &f) && status == TRI_OK;) {
    if (f.number == PIECES && !read_piece(v, f.bytes)) status = FAIL(TRI_E_FORMAT, "piece %zu is not sound", v->n_tokens - 1);
    if (f.number == TRAINER) status = read_trainer(v, f.bytes, err);
    if (f.number == NORMALIZER) status = read_normalizer(v, f.bytes, err);
  }
  if (status != TRI_OK) return status;
  int32_t *const ids[] = {&v->unk, &v->bos, &v->eos};
  for (int i = 0; i < 3; i++)
    if (*ids[i] < 0 || *ids[i] >= (int64_t)n) *ids[i] = -1;
  v->add_bos = v->model == TRI_VOCAB_PIECES && v->bos >= 0, v->add_eos = v->model == TRI_VOCAB_UNIGRAM && v->eos >= 0;
  return TRI_OK;
}

tri_status tri_vocab_from_sentencepiece(tri_vocab *out, const void *bytes, size_t len, tri_error *err) {
  /* the defaults of the proto */
  tri_vocab v = {.model = TRI_VOCAB_UNIGRAM, .unk = 0, .bos = 1, .eos = 2, .eot = -1, .prefix = TRI_PREFIX_SPACE, .squeezes = true};
  if (!(v.arena = malloc(len ? len : 1))) return FAIL(TRI_E_NOMEM, "out of memory");
  memcpy(v.arena, bytes, len);
  tri_status status = read_all(&v, (tri_str){v.arena, len}, err);
  if (status == TRI_OK) *out = v;
  else tri_vocab_free(&v);
  return status;
}
