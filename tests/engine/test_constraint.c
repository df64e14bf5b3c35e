/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "engine/constraint.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/schema.h"
#include "tests/engine/plain_grammar.h"
#include "tests/engine/small_vocab.h"

static tri_error err;
static tri_tokenizer *small;
static tri_lexicon *lexicon;

static int open_small(void **state) {
  (void)state;
  small = small_tokenizer();
  return tri_lexicon_create(&lexicon, small, SMALL_TOKENS + 10, &err) == TRI_OK ? 0 : -1; /* logits without a token behind them */
}
static int close_small(void **state) {
  (void)state;
  tri_lexicon_destroy(&lexicon);
  tri_tokenizer_close(&small);
  return 0;
}

static tri_constraint *constraint_of(const char *grammar, const tri_lexicon *l) {
  tri_constraint *c;
  assert_ok(tri_constraint_create(&c, grammar, strlen(grammar), l, TRI_AUTOMATON_BYTES, &err), err);
  return c;
}
static bool is_set(const uint32_t *set, int32_t id) { return set[id / 32] >> id % 32 & 1; }

static void append_piece(tri_buf *text, const tri_tokenizer *t, int32_t id) {
  tri_str piece = tri_tokenizer_piece(t, id, false);
  tri_buf_append(text, piece.data, piece.len);
}

/* --- the sets, against trying every token --- */

static void check_sets(const char *grammar, uint64_t *seed) {
  tri_grammar *g;
  tri_constraint *c = constraint_of(grammar, lexicon);
  assert_ok(tri_grammar_parse(&g, grammar, strlen(grammar), &err), err);
  for (int walk = 0; walk < 12; walk++) {
    tri_ids ids = {0};
    tri_buf text = {0};
    for (;;) {
      const uint32_t *allowed;
      int32_t possible[SMALL_TOKENS], n = 0;
      bool viable, accepts = plain_accepts(g, text.data, (int)text.len, &viable);
      assert_ok(tri_constraint_allowed(c, ids.data, ids.len, &allowed, &err), err);
      for (int32_t id = 0; id < SMALL_TOKENS + 10; id++) {
        tri_buf longer = {0};
        tri_buf_append(&longer, text.data, text.len);
        append_piece(&longer, small, id);
        plain_accepts(g, longer.data, (int)longer.len, &viable);
        bool end = tri_tokenizer_is_end(small, id), want = end ? accepts : longer.len > text.len && viable;
        if (want != is_set(allowed, id))
          fail_msg("after '%.*s' token %d is %sallowed by %s", (int)text.len, text.data, id, want ? "not " : "", grammar);
        if (want && id < SMALL_TOKENS && !tri_tokenizer_is_end(small, id)) possible[n++] = id;
        tri_buf_free(&longer);
      }
      if (!n || text.len > 12) break;
      int32_t next = possible[test_random(seed) % (uint64_t)n];
      append_piece(&text, small, next);
      assert_ok(tri_ids_push(&ids, next), err);
    }
    tri_ids_free(&ids);
    tri_buf_free(&text);
  }
  tri_constraint_destroy(&c);
  tri_grammar_free(&g);
}

static void every_token_that_fits_is_allowed_and_no_other(void **state) {
  (void)state;
  uint64_t seed = 77;
  static const char *const grammars[] = {
      "root ::= \"the\" (\" the\")* | (\"ab\" | \"aba\")+",
      "root ::= . .? .?",                                    /* characters in pieces */
      "root ::= [\\u20a0-\\u20bf\\U0001F300-\\U0001FAFF]+",  /* with tokens of half a character */
      "root ::= \"<\" [|<>usr]* \"\\r\\n\"",                 /* tokens over several symbols */
      "root ::= p\np ::= \"(\" p? \")\" p? | \"aa\"",
      "root ::= \"a\"{2,9} | \"aab\"",
      "root ::= \"\" | \"x\"",
  };
  for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) check_sets(grammars[i], &seed);
}

static void a_shorter_answer_starts_again(void **state) {
  (void)state;
  tri_constraint *c = constraint_of("root ::= \"abc\"", lexicon);
  const int32_t ids[] = {'a', 'b', 'c'};
  const uint32_t *allowed;
  for (int round = 0; round < 2; round++) {
    assert_ok(tri_constraint_allowed(c, ids, 0, &allowed, &err), err);
    assert_true(is_set(allowed, 'a') && !is_set(allowed, 'b') && is_set(allowed, 259)); /* "ab" */
    assert_ok(tri_constraint_allowed(c, ids, 2, &allowed, &err), err);
    assert_true(is_set(allowed, 'c') && !is_set(allowed, 'a') && !is_set(allowed, SMALL_EOS));
    assert_ok(tri_constraint_allowed(c, ids, 3, &allowed, &err), err);
    assert_true(is_set(allowed, SMALL_EOS) && !is_set(allowed, 'c'));
  }
  const int32_t wrong[] = {'a', 'c'}, control[] = {SMALL_BOS};
  assert_fails(tri_constraint_allowed(c, wrong, 2, &allowed, &err), TRI_E_INVALID, err, "number 2 of the answer");
  assert_ok(tri_constraint_allowed(c, NULL, 0, &allowed, &err), err);
  assert_fails(tri_constraint_allowed(c, control, 1, &allowed, &err), TRI_E_INVALID, err, "does not follow");
  tri_constraint_destroy(&c);
}

/* The work that a token may cost counts for each of them, also when all come at once. */
static void an_answer_is_taken_up_again_wherever_it_could_go_on(void **state) {
  (void)state;
  enum { LENGTH = 1600 };
  const char *deep = "root ::= (\"a\" | \"aa\"){1,2000}"; /* the more text, the more ways there are to read it */
  tri_constraint *c = constraint_of(deep, lexicon), *again = constraint_of(deep, lexicon);
  const uint32_t *allowed, *replayed;
  int32_t ids[LENGTH];
  for (size_t n = 0; n < LENGTH; n++) {
    assert_ok(tri_constraint_allowed(c, ids, n, &allowed, &err), err);
    ids[n] = 'a';
  }
  assert_ok(tri_constraint_allowed(c, ids, LENGTH, &allowed, &err), err);
  assert_ok(tri_constraint_allowed(again, ids, LENGTH, &replayed, &err), err);
  assert_memory_equal(replayed, allowed, (SMALL_TOKENS + 10 + 31) / 32 * sizeof *allowed);
  tri_constraint_destroy(&c);
  tri_constraint_destroy(&again);
}

static void without_an_end_token_there_is_no_grammar(void **state) {
  (void)state;
  tri_lexicon none = *lexicon;
  tri_constraint *c;
  none.n_ends = 0;
  assert_fails(tri_constraint_create(&c, "root ::= \"a\"", 12, &none, TRI_AUTOMATON_BYTES, &err), TRI_E_UNSUPPORTED, err,
               "end-of-text token");
}

/* --- random walks: whatever is drawn, the text parses --- */

typedef struct walker {
  const tri_lexicon *l;
  tri_sampler *sampler;
  float *logits;
  uint64_t seed;
} walker;

/* Random logits, with a push for what closes, so that texts end. */
static void random_logits(walker *w, size_t length) {
  for (size_t i = 0; i < w->l->vocab; i++) w->logits[i] = (float)(test_random(&w->seed) >> 40) * 0x1p-22f;
  const char *const closers = "\"]}";
  for (const char *p = closers; *p; p++)
    for (size_t i = 0; i < w->l->n; i++) {
      tri_str piece = tri_tokenizer_piece(w->l->tokenizer, w->l->ids[i], false);
      if (piece.len == 1 && *piece.data == *p && (length > 60 || test_random(&w->seed) % 4 == 0)) w->logits[w->l->ids[i]] += 9;
    }
  for (size_t i = 0; i < w->l->n_ends; i++) w->logits[w->l->ends[i]] += length > 60 ? 20 : 0;
}

/* True if the text came to its end within `most` tokens. */
static bool draw_text(walker *w, tri_constraint *c, size_t most, tri_buf *text) {
  tri_ids ids = {0};
  bool ended = false;
  tri_sampler_params p = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = test_random(&w->seed)};
  while (!ended && ids.len < most) {
    const uint32_t *allowed;
    assert_ok(tri_constraint_allowed(c, ids.data, ids.len, &allowed, &err), err);
    random_logits(w, ids.len);
    tri_sample s = tri_sampler_pick(w->sampler, &p, allowed, w->logits, ids.data, ids.len, ids.len);
    ended = tri_tokenizer_is_end(w->l->tokenizer, s.token);
    if (!ended) append_piece(text, w->l->tokenizer, s.token);
    assert_ok(tri_ids_push(&ids, s.token), err);
  }
  tri_ids_free(&ids);
  return ended;
}

static const json_t *at(const json_t *doc, const char *key) { return json_object_get(doc, key); }

static void is_person(const json_t *doc) {
  assert_true(json_is_object(doc));
  assert_true(json_is_string(at(doc, "name")) && json_string_length(at(doc, "name")) >= 1);
  assert_true(json_is_integer(at(doc, "age")));
  const json_t *tags = at(doc, "tags"), *colour = at(doc, "colour"), *child = at(doc, "child");
  assert_true(json_is_array(tags) && json_array_size(tags) >= 1 && json_array_size(tags) <= 3);
  for (size_t i = 0; i < json_array_size(tags); i++)
    assert_true(json_is_boolean(json_array_get(tags, i)) || json_is_null(json_array_get(tags, i)));
  if (colour) assert_true(strcmp(json_string_value(colour), "red") == 0 || strcmp(json_string_value(colour), "gr\"\xc3\xbcn") == 0);
  if (child && !json_is_null(child)) is_person(child);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)doc, key, value) {
    const char *const known[] = {"name", "age", "tags", "colour", "child"};
    bool found = false;
    for (int i = 0; i < 5; i++) found |= strcmp(key, known[i]) == 0;
    if (!found) fail_msg("a property '%s'", key);
  }
}
static void is_anything(const json_t *doc) { assert_non_null(doc); }
static void is_map_of_numbers(const json_t *doc) {
  const char *key;
  json_t *value;
  assert_true(json_is_object(doc));
  json_object_foreach((json_t *)(uintptr_t)doc, key, value) assert_true(json_is_number(value));
}
static void is_three_or_short(const json_t *doc) {
  if (json_is_integer(doc)) assert_int_equal(json_integer_value(doc), 3);
  else if (json_is_real(doc)) assert_true(json_real_value(doc) == 0.1);
  else {
    assert_true(json_is_string(doc));
    size_t characters = 0;
    for (const char *p = json_string_value(doc), *end = p + json_string_length(doc); p < end; p++) characters += (*p & 0xc0) != 0x80;
    assert_true(characters <= 2);
  }
}
static void is_list_of_two_lists(const json_t *doc) {
  assert_int_equal(json_array_size(doc), 2);
  for (size_t i = 0; i < 2; i++) assert_true(json_is_array(json_array_get(doc, i)));
}
static void is_linked_list(const json_t *doc) {
  for (; !json_is_null(doc); doc = at(doc, "next")) assert_true(json_is_object(doc) && json_is_number(at(doc, "value")));
}

static const struct { const char *schema; void (*check)(const json_t *doc); } schemas[] = {
    {"{}", is_anything},
    {"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"minLength\": 1}, \"age\": {\"type\": \"integer\"}, "
     "\"tags\": {\"type\": \"array\", \"items\": {\"type\": [\"boolean\", \"null\"]}, \"minItems\": 1, \"maxItems\": 3}, "
     "\"colour\": {\"enum\": [\"red\", \"gr\\\"\xc3\xbcn\"]}, \"child\": {\"anyOf\": [{\"$ref\": \"#\"}, {\"type\": \"null\"}]}}, "
     "\"required\": [\"name\", \"age\", \"tags\"], \"additionalProperties\": false}", is_person},
    {"{\"type\": \"object\", \"additionalProperties\": {\"type\": \"number\"}}", is_map_of_numbers},
    {"{\"anyOf\": [{\"const\": 3}, {\"type\": \"string\", \"maxLength\": 2}, {\"enum\": [0.1, \"no\"], \"type\": \"number\"}]}",
     is_three_or_short},
    {"{\"type\": \"array\", \"items\": {\"type\": \"array\"}, \"minItems\": 2, \"maxItems\": 2}", is_list_of_two_lists},
    {"{\"$ref\": \"#/$defs/node\", \"$defs\": {\"node\": {\"anyOf\": [{\"type\": \"null\"}, {\"type\": \"object\", \"properties\": "
     "{\"value\": {\"type\": \"number\"}, \"next\": {\"$ref\": \"#/$defs/node\"}}, \"required\": [\"value\", \"next\"]}]}}}",
     is_linked_list},
};

/* Every schema, many walks each; at least half of them must come to an end. */
static void walk_schemas(const tri_lexicon *l, int walks, uint64_t seed) {
  walker w = {.l = l, .logits = malloc(l->vocab * sizeof *w.logits), .seed = seed};
  assert_ok(tri_sampler_create(&w.sampler, l->vocab, tri_kernels_get(TRI_ISA_PORTABLE), &err), err);
  for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
    tri_buf grammar = {0};
    int ended = 0;
    assert_ok(tri_schema_to_grammar(schemas[i].schema, strlen(schemas[i].schema), &grammar, &err), err);
    tri_constraint *c = constraint_of((char *)grammar.data, l);
    for (int k = 0; k < walks; k++) {
      tri_buf text = {0};
      if (draw_text(&w, c, 400, &text)) {
        json_error_t why;
        json_t *doc = json_loadb((char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        if (!doc) fail_msg("schema %zu, seed %llu: %s in %.*s", i, (unsigned long long)seed, why.text, (int)text.len, text.data);
        schemas[i].check(doc);
        json_decref(doc);
        ended++;
      }
      tri_buf_free(&text);
    }
    if (ended * 2 < walks) fail_msg("schema %zu: only %d of %d came to an end", i, ended, walks);
    tri_constraint_destroy(&c);
    tri_buf_free(&grammar);
  }
  tri_sampler_destroy(&w.sampler);
  free(w.logits);
}

static void random_texts_of_bytes_are_what_the_schema_says(void **state) {
  (void)state;
  walk_schemas(lexicon, 150, 1001);
}

static void random_texts_of_a_real_vocabulary_are_what_the_schema_says(void **state) {
  (void)state;
  tri_model *m;
  tri_lexicon *l;
  assert_ok(tri_model_open(&m, TRIREME_SOURCE "/models/story-bitnet.gguf", &err), err);
  assert_ok(tri_lexicon_create(&l, tri_model_tokenizer(m), (size_t)tri_model_shape(m)->vocab, &err), err);
  walk_schemas(l, 12, 2002);
  tri_lexicon_destroy(&l);
  tri_model_close(&m);
}

static void schemas_that_mean_more_are_refused_by_name(void **state) {
  (void)state;
  static const struct { const char *schema; tri_status status; const char *part; } cases[] = {
      {"{\"type\": \"string\", \"pattern\": \"a+\"}", TRI_E_UNSUPPORTED, "schema at #: 'pattern' is not supported"},
      {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"number\", \"minimum\": 3}}}", TRI_E_UNSUPPORTED,
       "schema at #/properties/a: 'minimum'"},
      {"{\"oneOf\": [{}]}", TRI_E_UNSUPPORTED, "'oneOf'"},
      {"{\"minLength\": 3}", TRI_E_UNSUPPORTED, "'minLength'"},
      {"{\"type\": \"object\", \"required\": [\"x\"]}", TRI_E_UNSUPPORTED, "'x' is required"},
      {"{\"type\": \"object\", \"required\": \"x\"}", TRI_E_INVALID, "'required' must be"},
      {"{\"type\": \"array\", \"items\": [{}]}", TRI_E_INVALID, "schema at #/items: a schema is an object"},
      {"{\"type\": \"array\", \"minItems\": 3, \"maxItems\": 2}", TRI_E_INVALID, "'minItems' is above"},
      {"{\"type\": \"array\", \"minItems\": -3}", TRI_E_INVALID, "'minItems' must be"},
      {"{\"type\": \"text\"}", TRI_E_INVALID, "type 'text'"},
      {"{\"type\": []}", TRI_E_INVALID, "'type' must be"},
      {"{\"enum\": []}", TRI_E_INVALID, "no value is possible"},
      {"{\"enum\": [1], \"type\": \"string\"}", TRI_E_INVALID, "no value is possible"},
      {"{\"$ref\": \"http://example.com\"}", TRI_E_UNSUPPORTED, "$ref 'http"},
      {"{\"$ref\": \"#/$defs/x\"}", TRI_E_UNSUPPORTED, "$ref"},
      {"false", TRI_E_INVALID, "a schema is an object"},
      {"{\"type\": ", TRI_E_INVALID, "no JSON: line 1"},
      {"", TRI_E_INVALID, "no JSON"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_buf out = {0};
    tri_status status = tri_schema_to_grammar(cases[i].schema, strlen(cases[i].schema), &out, &err);
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("%s: %s, %s", cases[i].schema, tri_status_name(status), err.text);
    tri_buf_free(&out);
  }
  tri_buf out = {0};
  tri_grammar *g = NULL;
  assert_ok(tri_schema_to_grammar("{\"$ref\": \"#\"}", 13, &out, &err), err); /* says nothing */
  assert_fails(tri_grammar_parse(&g, (char *)out.data, out.len, &err), TRI_E_INVALID, err, "can never end");
  tri_buf_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_token_that_fits_is_allowed_and_no_other),
      cmocka_unit_test(a_shorter_answer_starts_again),
      cmocka_unit_test(an_answer_is_taken_up_again_wherever_it_could_go_on),
      cmocka_unit_test(without_an_end_token_there_is_no_grammar),
      cmocka_unit_test(random_texts_of_bytes_are_what_the_schema_says),
      cmocka_unit_test(random_texts_of_a_real_vocabulary_are_what_the_schema_says),
      cmocka_unit_test(schemas_that_mean_more_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, open_small, close_small);
}
