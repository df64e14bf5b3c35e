/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_SMALL_VOCAB_H
#define TRI_TESTS_SMALL_VOCAB_H
#include <stdlib.h>
#include <string.h>
#include "engine/tokenizer.h"

/* A vocabulary made in code: token b is the byte b for b < 256, then the results of the merges below, then
 * two control tokens and a user-defined one. Allocation failure aborts: it is for tests. */

enum { SMALL_MERGES = 14, SMALL_BOS = 256 + SMALL_MERGES, SMALL_EOS, SMALL_USER, SMALL_TOKENS };

static inline const char *const *small_merge(int i) {
  static const char *const pairs[SMALL_MERGES][2] = {
      {"t", "h"},       {"th", "e"},  {" ", "the"}, {"a", "b"},       {"b", "a"},
      {"ab", "ab"},     {"a", "a"},   {"aa", "aa"}, {"\xe2", "\x82"}, {"\xe2\x82", "\xac"},
      {"\xf0", "\x9f"}, {"\r", "\n"}, {" ", " "},   {"<", "|"}};
  return pairs[i];
}

/* GPT-2's character for a byte, written from its description: printable ones stand for themselves, the others
 * in order from U+0100. */
static inline char *small_spell(char *out, const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) {
    unsigned b = (unsigned char)bytes[i], c = b, others = 0;
    for (unsigned x = 0; x <= b; x++) {
      bool printable = (x > 32 && x < 127) || (x > 160 && x != 173);
      if (!printable && x == b) c = 256 + others;
      others += !printable;
    }
    if (c < 128)
      *out++ = (char)c;
    else
      *out++ = (char)(0xc0 | c >> 6), *out++ = (char)(0x80 | (c & 63));
  }
  return out;
}

static inline tri_vocab small_vocab(void) {
  tri_vocab v = {.n_tokens = SMALL_TOKENS,
                 .n_merges = SMALL_MERGES,
                 .pre = "llama-bpe",
                 .bos = SMALL_BOS,
                 .eos = SMALL_EOS,
                 .eot = -1,
                 .unk = -1,
                 .add_bos = true,
                 .ignore_merges = true};
  static const char *const added[] = {"<|begin|>", "<|end|>", "<user>"};
  char *p = v.arena = malloc(4096);
  v.tokens = calloc(SMALL_TOKENS, sizeof *v.tokens);
  v.types = calloc(SMALL_TOKENS, sizeof *v.types);
  v.merges = calloc(SMALL_MERGES, sizeof *v.merges);
  if (!p || !v.tokens || !v.types || !v.merges) abort();
  for (int id = 0; id < SMALL_TOKENS; id++) {
    char *start = p;
    v.types[id] = id < SMALL_BOS ? TRI_TOKEN_NORMAL : id < SMALL_USER ? TRI_TOKEN_CONTROL : TRI_TOKEN_USER;
    if (id < 256)
      p = small_spell(p, &(char){(char)id}, 1);
    else if (id < SMALL_BOS)
      for (int side = 0; side < 2; side++)
        p = small_spell(p, small_merge(id - 256)[side], strlen(small_merge(id - 256)[side]));
    else
      p = stpcpy(p, added[id - SMALL_BOS]);
    v.tokens[id] = (tri_str){start, (size_t)(p - start)};
  }
  for (int i = 0; i < SMALL_MERGES; i++) {
    char *start = p;
    p = small_spell(p, small_merge(i)[0], strlen(small_merge(i)[0]));
    *p++ = ' ';
    p = small_spell(p, small_merge(i)[1], strlen(small_merge(i)[1]));
    v.merges[i] = (tri_str){start, (size_t)(p - start)};
  }
  return v;
}

static inline tri_tokenizer *small_tokenizer(void) {
  tri_vocab v = small_vocab();
  tri_tokenizer *t;
  if (tri_tokenizer_open(&t, &v, NULL) != TRI_OK) abort();
  return t;
}

#endif
