/* SPDX-License-Identifier: MIT */
#include "engine/lexicon.h"

#include <stdlib.h>
#include <string.h>

static int by_bytes(const void *a, const void *b, void *tokenizer) {
  int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
  tri_str x = tri_tokenizer_piece(tokenizer, i, false), y = tri_tokenizer_piece(tokenizer, j, false);
  int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
  if (order) return order;
  if (x.len != y.len) return x.len < y.len ? -1 : 1;
  return (i > j) - (i < j);
}

static void collect(tri_lexicon *l) {
  for (size_t i = 0; i < tri_tokenizer_size(l->tokenizer) && i < l->vocab; i++) {
    size_t len = tri_tokenizer_piece(l->tokenizer, (int32_t)i, false).len;
    if (tri_tokenizer_is_end(l->tokenizer, (int32_t)i)) l->ends[l->n_ends++] = (int32_t)i;
    else if (len) l->ids[l->n++] = (int32_t)i;
    if (len > l->longest) l->longest = len;
  }
}

static void measure(tri_lexicon *l) {
  for (size_t i = 1; i < l->n; i++) {
    tri_str a = tri_tokenizer_piece(l->tokenizer, l->ids[i - 1], false), b = tri_tokenizer_piece(l->tokenizer, l->ids[i], false);
    uint16_t n = 0;
    while (n < a.len && n < b.len && a.data[n] == b.data[n]) n++;
    l->shared[i] = n;
  }
}

tri_status tri_lexicon_create(tri_lexicon **out, const tri_tokenizer *t, size_t vocab, tri_error *err) {
  tri_lexicon *l = calloc(1, sizeof *l);
  if (!l) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the vocabulary's order");
  *l = (tri_lexicon){.tokenizer = t, .vocab = vocab, .ids = malloc((vocab + 1) * sizeof *l->ids),
                     .shared = calloc(vocab + 1, sizeof *l->shared), .ends = malloc((vocab + 1) * sizeof *l->ends)};
  tri_status status = TRI_OK;
  if (!l->ids || !l->shared || !l->ends) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for the vocabulary's order");
  if (status == TRI_OK) collect(l);
  if (status == TRI_OK && l->longest > UINT16_MAX)
    status = tri_status_fail(err, TRI_E_LIMIT, "the vocabulary has a token of %zu bytes, more than the limit of %d", l->longest,
                             UINT16_MAX);
  if (status != TRI_OK) return tri_lexicon_destroy(&l), status;
  if (l->n) qsort_r(l->ids, l->n, sizeof *l->ids, by_bytes, (void *)(uintptr_t)t);
  measure(l);
  int32_t *ends = realloc(l->ends, (l->n_ends + 1) * sizeof *ends); /* there are few */
  if (ends) l->ends = ends;
  *out = l;
  return TRI_OK;
}

void tri_lexicon_destroy(tri_lexicon **lexicon) {
  tri_lexicon *l = *lexicon;
  if (!l) return;
  free(l->ids), free(l->shared), free(l->ends);
  free(l);
  *lexicon = NULL;
}
