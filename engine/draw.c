/* SPDX-License-Identifier: MIT */
#include "engine/draw.h"

#include "engine/schema.h"

tri_status tri_draw_grammar(tri_lang lang, const void *text, size_t len, tri_buf *gbnf, tri_error *err) {
  tri_grammar *g;
  size_t start = gbnf->len;
  tri_status status = TRI_OK;
  if (lang == TRI_LANG_NONE) return TRI_OK;
  if (lang == TRI_LANG_SCHEMA) status = tri_schema_to_grammar(text, len, gbnf, err);
  else tri_buf_append(gbnf, text, len);
  if (status == TRI_OK && !tri_buf_ok(gbnf)) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for the grammar");
  if (status == TRI_OK) status = tri_grammar_parse(&g, (const char *)gbnf->data + start, gbnf->len - start, err);
  if (status == TRI_OK) tri_grammar_free(&g);
  return status;
}

void tri_draw_begin(tri_draw *d, const tri_sampler_params *params, uint32_t prompt, const char *gbnf, size_t len, tri_lexicon **lexicon,
                    const tri_tokenizer *t, size_t vocab, size_t sequences) {
  tri_draw_end(d);
  d->params = *params, d->prompt = prompt, d->trouble.status = TRI_OK;
  if (!len) return;
  tri_status status = TRI_OK;
  size_t share = TRI_DRAW_GRAMMARS / sequences, bytes = share < TRI_AUTOMATON_BYTES ? share : TRI_AUTOMATON_BYTES;
  if (!t) status = tri_status_fail(&d->trouble, TRI_E_UNSUPPORTED, "a grammar needs a tokenizer, and the model file has none");
  else if (!*lexicon) status = tri_lexicon_create(lexicon, t, vocab, &d->trouble);
  if (status == TRI_OK) status = tri_constraint_create(&d->constraint, gbnf, len, *lexicon, bytes, &d->trouble);
  d->trouble.status = status;
}

tri_status tri_draw_next(tri_draw *d, tri_sampler *s, size_t vocab, const float *logits, const int32_t *history, size_t n, tri_sample *out,
                         tri_sample *top, size_t *n_top, tri_error *err) {
  const uint32_t *allowed = NULL;
  if (d->trouble.status != TRI_OK) return tri_status_fail(err, d->trouble.status, "%s", d->trouble.text);
  if (d->constraint && n < d->prompt)
    return tri_status_fail(err, TRI_E_PROTOCOL, "a token after %zu is asked for, but the answer begins after %u", n, d->prompt);
  if (d->constraint) {
    tri_status status = tri_constraint_allowed(d->constraint, history + d->prompt, n - d->prompt, &allowed, err);
    if (status != TRI_OK) return status;
  }
  *out = tri_sampler_pick(s, &d->params, allowed, logits, history, n, n);
  *n_top = tri_sampler_top_count(&d->params, vocab);
  tri_sampler_top(s, logits, *n_top, top);
  return TRI_OK;
}

void tri_draw_end(tri_draw *d) { tri_constraint_destroy(&d->constraint); }
