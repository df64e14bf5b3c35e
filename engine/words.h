/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_WORDS_H
#define TRI_ENGINE_WORDS_H
#include <stdbool.h>
#include "engine/gguf.h"

/* Pre-tokenizers: how byte-level BPE cuts a text into words, inside which alone it merges. One is a list of steps, each of
 * which cuts the pieces of the step before it. Immutable after open, so threads may share it. */

typedef enum tri_words_step {
  TRI_WORDS_LLAMA3,         /* tiktoken's cl100k pattern: contractions, letters with one leading character, numbers in threes */
  TRI_WORDS_QWEN2,          /* the same with numbers digit by digit */
  TRI_WORDS_GPT2,           /* Radford et al. 2019, encoder.py */
  TRI_WORDS_PUNCTUATION,    /* runs of punctuation (Unicode's, and ASCII's symbols) stand alone */
  TRI_WORDS_DIGIT,          /* each number character stands alone */
  TRI_WORDS_DIGITS,         /* each run of them does */
  TRI_WORDS_THREE_DIGITS,   /* three ASCII digits */
  TRI_WORDS_SPELLED_DIGIT,  /* DIGIT and DIGITS where they work on bytes spelled in GPT-2's alphabet (after ByteLevel): */
  TRI_WORDS_SPELLED_DIGITS, /* the bytes 0-9 and those spelled as a superscript or a fraction */
  TRI_WORDS_STEPS
} tri_words_step;

enum { TRI_WORDS_MOST = 6, TRI_WORDS_NAME = 96 };

typedef struct tri_words_list {
  int n;
  tri_words_step steps[TRI_WORDS_MOST];
} tri_words_list;

/* By the name that tokenizer.ggml.pre gives, or by one that tri_words_name made; false if it is neither. */
bool tri_words_find(tri_words_list *out, tri_str name);
/* The name of such a list: GGUF's where there is one, else "trireme:" and its steps, which no other program mistakes. */
void tri_words_name(const tri_words_list *list, char out[TRI_WORDS_NAME]);
/* True for pre-tokenizers whose models also compose characters first (Unicode's NFC), though the name doesn't say it. */
bool tri_words_composes(tri_str name);
/* "llama-bpe, gpt-2, …", for messages; static. */
const char *tri_words_names(void);

typedef struct tri_words tri_words;

/* TRI_E_NOMEM, TRI_E_INTERNAL (PCRE2 refuses a pattern of ours). */
TRI_MUST_CHECK tri_status tri_words_open(tri_words **out, const tri_words_list *list, tri_error *err);
void tri_words_close(tri_words **w);

/* Takes one word; what it returns other than TRI_OK ends the cutting. */
typedef tri_status (*tri_words_take)(void *arg, const uint8_t *word, size_t len);
/* Cut valid UTF-8 into words, in order and without gaps; linear in the text. TRI_E_NOMEM, or what `take` returned. */
TRI_MUST_CHECK tri_status tri_words_cut(const tri_words *w, const uint8_t *text, size_t len, tri_words_take take, void *arg,
                                        tri_error *err);

#endif
