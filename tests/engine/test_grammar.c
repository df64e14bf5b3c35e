/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "engine/automaton.h"
#include "tests/engine/plain_grammar.h"

static tri_error err;

static tri_grammar *grammar_of(const char *text) {
  tri_grammar *g;
  assert_ok(tri_grammar_parse(&g, text, strlen(text), &err), err);
  return g;
}

/* The state after a text; DEAD as soon as it does not fit. With `compacting`, all but the state is forgotten after each byte. */
static uint32_t read_text(tri_automaton *a, const char *text, size_t len, bool compacting) {
  uint32_t state = tri_automaton_start(a);
  for (size_t i = 0; i < len && state != TRI_AUTOMATON_DEAD; i++) {
    if (compacting) state = tri_automaton_compact(a, state);
    assert_int_not_equal(state, TRI_AUTOMATON_STUCK);
    state = tri_automaton_next(a, state, (uint8_t)text[i]);
  }
  assert_int_not_equal(state, TRI_AUTOMATON_STUCK);
  return state;
}

static bool takes(const tri_grammar *g, const char *text) {
  tri_automaton *a;
  assert_ok(tri_automaton_create(&a, g, TRI_AUTOMATON_BYTES, &err), err);
  bool yes = tri_automaton_accepts(a, read_text(a, text, strlen(text), false));
  bool again = tri_automaton_accepts(a, read_text(a, text, strlen(text), true));
  assert_int_equal(yes, again);
  tri_automaton_destroy(&a);
  return yes;
}

static void texts_are_taken_or_not(void **state) {
  (void)state;
  static const struct { const char *grammar, *yes[6], *no[6]; } cases[] = {
      {"root ::= \"yes\" | \"no\" reason?  # a comment\nreason ::= \", because \" [^\\n.]{1,8} \".\"",
       {"yes", "no", "no, because x.", "no, because \xe2\x82\xac\xe2\x82\xac."},
       {"", "y", "no, because .", "no, because 123456789.", "yes\n"}},
      {"root ::= [a-c\\]] [^a-c] . [-x]", {"a]z-", "]x\xf0\x9f\x98\x80x"}, {"aa--", "]x\xf0\x9f\x98x", "a]z", "a]zy"}},
      {"root ::= \"a\"{3} \"b\"{2,} \"c\"{0,2} (\"d\" \"e\")*", {"aaabb", "aaabbbbcc", "aaabbdede"},
       {"aabb", "aaab", "aaabbccc", "aaabbd"}},
      {"root ::=\n  \"{\" (\n root\n (\",\" root)* )? \"}\"\n  | item\nitem ::= [0-9]+", {"{}", "{1,{22,{}}}", "7"},
       {"{,}", "{1", "{1,}", ""}},
      {"root ::= \"\\x41\\u00e9\\U0001F600\\\"\\\\\\t\"", {"A\xc3\xa9\xf0\x9f\x98\x80\"\\\t"}, {"A\xc3\xa9\xf0\x9f\x98\x80\"\\"}},
      {"root ::= [\\u0000-\\U0010FFFF]+", {"\x7f", "\xc2\x80\xdf\xbf", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", "\xf4\x8f\xbf\xbf"},
       {"\x80", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x9f\xbf"}},
      {"root ::= [^\\U00010000-\\U0010ffff]", {"\xef\xbf\xbf", "a"}, {"\xf0\x90\x80\x80"}},
      {"root ::= \"\" | x\nx ::= (\"a\" x \"b\")?", {"", "ab", "aaabbb"}, {"a", "abab", "aab"}},
      {"root ::= s \" \" s\ns ::= ([a-z] | \"(\" s \")\")+ \"!\"?", {"a b", "a(b)c! ((x!))"}, {"a", "() a", "a  b", "a! !"}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_grammar *g = grammar_of(cases[i].grammar);
    for (int k = 0; k < 6 && cases[i].yes[k]; k++)
      if (!takes(g, cases[i].yes[k])) fail_msg("grammar %zu refuses '%s'", i, cases[i].yes[k]);
    for (int k = 0; k < 6 && cases[i].no[k]; k++)
      if (takes(g, cases[i].no[k])) fail_msg("grammar %zu takes '%s'", i, cases[i].no[k]);
    tri_grammar_free(&g);
    assert_null(g);
  }
}

static void refusals_say_line_and_reason(void **state) {
  (void)state;
  static const struct { const char *grammar; tri_status status; const char *part; } cases[] = {
      {"", TRI_E_INVALID, "no rule 'root'"},
      {"start ::= \"a\"", TRI_E_INVALID, "no rule 'root'"},
      {"root ::= \"a\"\nroot ::= \"b\"", TRI_E_INVALID, "line 2: rule 'root' is defined twice"},
      {"root ::= \"a\"\n  other", TRI_E_INVALID, "line 2: a rule is expected"},
      {"root ::= \"a\" missing", TRI_E_INVALID, "line 1: rule 'missing' is used here, but nowhere defined"},
      {"root ::= root \"a\" | \"a\"", TRI_E_INVALID, "rule 'root' is left-recursive"},
      {"root ::= a\na ::= b? c\nb ::= \"b\"\nc ::= a \"x\" | \"c\"", TRI_E_INVALID, "is left-recursive"},
      {"root ::= (\"a\"?)*", TRI_E_INVALID, "is left-recursive"},
      {"root ::= \"a\" root", TRI_E_INVALID, "rule 'root' can never end"},
      {"root ::= \"a\" | x\nx ::= \"y\" x", TRI_E_INVALID, "line 2: rule 'x' can never end"},
      {"root ::= \"abc", TRI_E_INVALID, "without its end"},
      {"root ::= [abc", TRI_E_INVALID, "without its end"},
      {"root ::= \"a\nb\"", TRI_E_INVALID, "line 1: a literal or class without its end"},
      {"root ::= []", TRI_E_INVALID, "a class without characters"},
      {"root ::= [z-a]", TRI_E_INVALID, "goes down"},
      {"root ::= [^\\u0000-\\U0010FFFF]", TRI_E_INVALID, "no character is in"},
      {"root ::= \"\\q\"", TRI_E_INVALID, "an escape that is none of"},
      {"root ::= \"\\u12\"", TRI_E_INVALID, "4 hexadecimal digits"},
      {"root ::= \"\\ud800\"", TRI_E_INVALID, "U+D800 is no character"},
      {"root ::= \"\\U00110000\"", TRI_E_INVALID, "U+110000"},
      {"root ::= \"\xff\"", TRI_E_INVALID, "not UTF-8"},
      {"root ::= (\"a\" | \"b\"", TRI_E_INVALID, "a group without its )"},
      {"root ::= \"a\")", TRI_E_INVALID, "')' is not expected"},
      {"root ::= *", TRI_E_INVALID, "'*' is not expected"},
      {"root ::= \"a\"{2,1}", TRI_E_INVALID, "m <= n"},
      {"root ::= \"a\"{99999}", TRI_E_INVALID, "m <= n <= 10000"},
      {"root ::= <think> \"a\"", TRI_E_INVALID, "'<' is not expected"},
      {"root ::= ((((\"a\"{99}){99}){99}){99})", TRI_OK, ""}, /* copies are of rules */
      {"root ::= \"a\"{9999} \"a\"{9999} \"a\"{9999} \"a\"{9999} \"a\"{9999} \"a\"{9999} \"a\"{9999}", TRI_E_LIMIT, "symbols"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_grammar *g = NULL;
    tri_status status = tri_grammar_parse(&g, cases[i].grammar, strlen(cases[i].grammar), &err);
    if (status != cases[i].status || (status && !strstr(err.text, cases[i].part)))
      fail_msg("%s: %s, %s", cases[i].grammar, tri_status_name(status), err.text);
    tri_grammar_free(&g);
  }
  tri_grammar *g = NULL;
  char *deep = calloc(1, 1000);
  strcpy(deep, "root ::= ");
  memset(deep + 9, '(', 500);
  assert_fails(tri_grammar_parse(&g, deep, strlen(deep), &err), TRI_E_LIMIT, err, "64 deep");
  free(deep);
}

/* --- random grammars over a and b, against trying everything --- */

static void random_alternatives(uint64_t *seed, char **at, int depth) {
  static const char *const symbols[] = {"\"a\"", "\"b\"", "[ab]", "\"ab\"", "x", "y", "root", "\"\""},
                    *const repeats[] = {"", "", "", "?", "*", "+", "{2}", "{1,2}"};
  int alternatives = 1 + (int)(test_random(seed) % 3);
  for (int i = 0; i < alternatives; i++) {
    if (i) *at = stpcpy(*at, " | ");
    for (int n = (int)(test_random(seed) % 4); n-- > 0;) {
      if (depth < 2 && test_random(seed) % 5 == 0) {
        *at = stpcpy(*at, "(");
        random_alternatives(seed, at, depth + 1);
        *at = stpcpy(*at, ")");
      } else {
        *at = stpcpy(*at, symbols[test_random(seed) % 8]);
      }
      *at = stpcpy(stpcpy(*at, repeats[test_random(seed) % 8]), " ");
    }
  }
}

static void random_grammar(uint64_t *seed, char *text) {
  static const char *const names[] = {"root", "x", "y"};
  for (int i = 0; i < 3; i++) {
    text = stpcpy(stpcpy(text, names[i]), " ::= ");
    random_alternatives(seed, &text, 0);
    text = stpcpy(text, "\n");
  }
}

static void random_grammars_mean_what_trying_everything_finds(void **state) {
  (void)state;
  enum { LONGEST = 6 };
  uint64_t seed = 20250101;
  int tried = 0;
  char *text = malloc(1 << 16);
  for (int round = 0; round < 12000; round++) {
    tri_grammar *g = NULL;
    tri_automaton *a;
    random_grammar(&seed, text);
    if (tri_grammar_parse(&g, text, strlen(text), &err) != TRI_OK) continue;
    tried++;
    assert_ok(tri_automaton_create(&a, g, TRI_AUTOMATON_BYTES, &err), err);
    for (int len = 0; len <= LONGEST; len++)
      for (int bits = 0; bits < 1 << len; bits++) {
        char s[LONGEST + 1] = {0};
        for (int i = 0; i < len; i++) s[i] = (char)('a' + (bits >> i & 1));
        uint32_t at = read_text(a, s, (size_t)len, round % 8 == 0);
        bool accepts = tri_automaton_accepts(a, at), alive = at != TRI_AUTOMATON_DEAD, viable;
        if (accepts != plain_accepts(g, s, len, &viable)) fail_msg("'%s' is %staken by\n%s", s, accepts ? "" : "not ", text);
        if (alive != viable) fail_msg("'%s' is %sthe beginning of a text of\n%s", s, alive ? "" : "not ", text);
      }
    tri_automaton_destroy(&a);
    tri_grammar_free(&g);
  }
  free(text);
  print_message("%d grammars\n", tried);
  assert_true(tried > 500);
}

/* --- limits --- */

/* Feeds the text again and again, for `steps` bytes or until it is stuck or dead; states take no more than `bytes`. */
static uint32_t keep_on_in(size_t bytes, const char *grammar, const char *text, size_t steps, size_t *done, char *why) {
  tri_automaton *a;
  tri_grammar *g = grammar_of(grammar);
  assert_ok(tri_automaton_create(&a, g, bytes, &err), err);
  uint32_t at = tri_automaton_start(a);
  size_t len = strlen(text);
  for (*done = 0; *done < steps && at != TRI_AUTOMATON_STUCK && at != TRI_AUTOMATON_DEAD; ++*done)
    at = tri_automaton_next(a, at, (uint8_t)text[*done % len]);
  assert_true(tri_automaton_bytes(a) <= bytes * 3 / 2); /* what is checked is the growth of the table that finds sets too */
  strcpy(why, tri_automaton_why(a));
  tri_automaton_destroy(&a);
  tri_grammar_free(&g);
  return at;
}

static uint32_t keep_on(const char *grammar, const char *text, size_t steps, size_t *done, char *why) {
  return keep_on_in(TRI_AUTOMATON_BYTES, grammar, text, steps, done, why);
}

static void repetition_makes_no_new_states(void **state) {
  (void)state;
  size_t done;
  char why[128];
  uint32_t at = keep_on("root ::= item (\",\" item)*\nitem ::= \"[\" root? \"]\" | [0-9]+", "12,[34,5],[],", 1000000, &done, why);
  assert_int_not_equal(at, TRI_AUTOMATON_STUCK);
  assert_int_equal(done, 1000000);
  assert_true(at < 100);
}

static void what_grows_too_much_is_stopped(void **state) {
  (void)state;
  size_t done;
  char why[128];
  int64_t start = tri_clock_ms();
  /* nesting is remembered, and memory is bounded */
  static const char nesting[] = "root ::= \"(\" root \")\" | \"[\" root \"]\" | \"x\"";
  size_t less;
  assert_int_equal(keep_on(nesting, "([", 100000000, &done, why), TRI_AUTOMATON_STUCK);
  assert_true(done > 10000);
  assert_non_null(strstr(why, "memory for its states"));
  assert_int_equal(keep_on_in(TRI_AUTOMATON_BYTES / 8, nesting, "([", 100000000, &less, why), TRI_AUTOMATON_STUCK);
  assert_true(less > 1000 && less < done / 4);
  /* every way to pair what was opened is open */
  assert_int_equal(keep_on("root ::= \"a\" root? root? root?", "a", 100000, &done, why), TRI_AUTOMATON_STUCK);
  assert_true(done > 50);
  assert_non_null(strstr(why, "ways to go on"));
  assert_true(tri_clock_ms() - start < 20000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_are_taken_or_not),
      cmocka_unit_test(refusals_say_line_and_reason),
      cmocka_unit_test(random_grammars_mean_what_trying_everything_finds),
      cmocka_unit_test(repetition_makes_no_new_states),
      cmocka_unit_test(what_grows_too_much_is_stopped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
