/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "engine/automaton.h"
#include "engine/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORK = 200000, LENGTH = 300 };

/* A text of the grammar, its bytes drawn from those that fit; what comes to an end must be JSON. */
static void draw(tri_automaton *a, uint64_t seed) {
  char text[LENGTH];
  size_t len = 0;
  uint32_t state = tri_automaton_start(a);
  while (state != TRI_AUTOMATON_STUCK) {
    uint8_t fit[256];
    uint32_t next[256];
    size_t n = 0;
    for (int c = 0; c < 256; c++) {
      next[n] = tri_automaton_next(a, state, (uint8_t)c);
      if (next[n] == TRI_AUTOMATON_STUCK) return;
      if (next[n] != TRI_AUTOMATON_DEAD) fit[n++] = (uint8_t)c;
    }
    if (tri_automaton_accepts(a, state)) {
      json_t *doc = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
      if (!doc) abort();
      json_decref(doc);
    } else if (!n) {
      abort();
    }
    if (!n || len == LENGTH) return;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t pick = (seed >> 33) % n;
    text[len++] = (char)fit[pick];
    state = next[pick];
  }
}

/* A schema that is taken is a grammar, but for what names itself and says nothing more. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_buf text = {0};
  tri_error err;
  tri_grammar *g;
  tri_automaton *a;
  if (tri_schema_to_grammar((const char *)data, size, &text, &err) == TRI_OK) {
    tri_status status = tri_grammar_parse(&g, (const char *)text.data, text.len, &err);
    if (status == TRI_OK) {
      if (tri_automaton_create(&a, g, TRI_AUTOMATON_BYTES, NULL) != TRI_OK) abort();
      tri_automaton_allow(a, WORK);
      for (uint64_t seed = 0; seed < 3; seed++) draw(a, seed + size);
      tri_automaton_destroy(&a);
      tri_grammar_free(&g);
    } else if (status != TRI_E_LIMIT && !strstr(err.text, "can never end") && !strstr(err.text, "left-recursive")) {
      abort();
    }
  }
  tri_buf_free(&text);
  return 0;
}
