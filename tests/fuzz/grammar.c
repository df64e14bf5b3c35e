/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "engine/automaton.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORK = 200000 };

static bool goes_on(uint32_t state) { return state != TRI_AUTOMATON_DEAD && state != TRI_AUTOMATON_STUCK; }

/* A grammar up to the first NUL, then a text. What is forgotten on the way must not show, and from a state that is not dead some
 * byte leads on, or the text may end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_grammar *g;
  tri_error err;
  tri_automaton *a, *b;
  const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
  size_t len = nul ? (size_t)(nul - data) : size;
  if (tri_grammar_parse(&g, (const char *)data, len, &err) != TRI_OK) return 0;
  if (tri_automaton_create(&a, g, TRI_AUTOMATON_BYTES, NULL) != TRI_OK) abort();
  if (tri_automaton_create(&b, g, TRI_AUTOMATON_BYTES, NULL) != TRI_OK) abort();
  tri_automaton_allow(a, WORK), tri_automaton_allow(b, WORK);
  uint32_t state = tri_automaton_start(a), same = tri_automaton_start(b);
  for (size_t i = len; goes_on(state) && goes_on(same); i++) {
    if (tri_automaton_accepts(a, state) != tri_automaton_accepts(b, same)) abort();
    bool leads_on = tri_automaton_accepts(a, state);
    for (int c = 0; c < 256 && !leads_on; c++) leads_on = tri_automaton_next(a, state, (uint8_t)c) != TRI_AUTOMATON_DEAD;
    if (!leads_on) abort();
    if (i >= size) break;
    same = tri_automaton_compact(b, same);
    if (same == TRI_AUTOMATON_STUCK) abort();
    state = tri_automaton_next(a, state, data[i]), same = tri_automaton_next(b, same, data[i]);
    if (state != TRI_AUTOMATON_STUCK && same != TRI_AUTOMATON_STUCK && goes_on(state) != goes_on(same)) abort();
  }
  tri_automaton_destroy(&a), tri_automaton_destroy(&b);
  tri_grammar_free(&g);
  return 0;
}
