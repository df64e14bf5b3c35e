/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_DRAW_H
#define TRI_ENGINE_DRAW_H
#include "base/buf.h"
#include "engine/constraint.h"
#include "engine/sampler.h"

/* One sequence's answer, token by token: what `trireme run` and the last stage of a cluster both do with a row of logits. */

typedef struct tri_draw {
  tri_sampler_params params;
  uint32_t prompt;            /* tokens before the answer */
  tri_constraint *constraint; /* NULL: no grammar */
  tri_error trouble;          /* why there should be one and is none: told with the first token */
} tri_draw;

/* The GBNF text for a grammar in one of its languages, appended to *gbnf and checked. TRI_LANG_NONE: nothing. */
TRI_MUST_CHECK tri_status tri_draw_grammar(tri_lang lang, const void *text, size_t len, tri_buf *gbnf, tri_error *err);

/* Begin a sequence, in place of the one there ({0} is none). params have passed tri_sampler_check. With a grammar (len > 0, GBNF)
 * *lexicon is made if it is NULL, and stays the caller's for all that follow. `sequences` is how many the caller holds at once: what
 * the states of all their grammars may take, TRI_DRAW_GRAMMARS, is shared out among them. */
enum { TRI_DRAW_GRAMMARS = 64 << 20 };
void tri_draw_begin(tri_draw *d, const tri_sampler_params *params, uint32_t prompt, const char *gbnf, size_t len, tri_lexicon **lexicon,
                    const tri_tokenizer *t, size_t vocab, size_t sequences);
/* The token after history [n], and if the parameters ask for them the likeliest beside it: top [TRI_SAMPLER_TOP], *n_top of them.
 * Errors are the grammar's: this sequence can't go on. */
TRI_MUST_CHECK tri_status tri_draw_next(tri_draw *d, tri_sampler *s, size_t vocab, const float *logits, const int32_t *history, size_t n,
                                        tri_sample *out, tri_sample *top, size_t *n_top, tri_error *err);
void tri_draw_end(tri_draw *d); /* frees its grammar */

#endif
