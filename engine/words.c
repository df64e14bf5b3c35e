/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/words.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "engine/space.h"
#include "engine/tokenizer.h"

/* The patterns keep the originals' meaning with three changes: \s is spelled out (space.h); \s*[\r\n]+ is written without
 * backtracking, so that a long run of blanks costs linear time and no stack; and what can't give back is possessive. */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CL100K(numbers)                                                                                                          \
  CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}++|" numbers "| ?[^" TRI_SPACE "\\p{L}\\p{N}]++[\\r\\n]*+"                          \
               "|(?:[" TRI_BLANK "]*+[\\r\\n]++)++|[" TRI_SPACE "]+(?![^" TRI_SPACE "])|[" TRI_SPACE "]++"

static const struct step {
  const char *name, *pattern;
  bool covers; /* every character starts a match, so matches follow each other; else what lies between them is a word too */
  bool bytes;  /* matches bytes, not characters */
} steps[TRI_WORDS_STEPS] = {
    [TRI_WORDS_LLAMA3] = {"llama3", CL100K("\\p{N}{1,3}+"), true, false},
    [TRI_WORDS_QWEN2] = {"qwen2", CL100K("\\p{N}"), true, false},
    [TRI_WORDS_GPT2] = {"gpt2",
                        "'(?:[stmd]|re|ve|ll)| ?\\p{L}++| ?\\p{N}++| ?[^" TRI_SPACE "\\p{L}\\p{N}]++"
                        "|[" TRI_SPACE "]+(?![^" TRI_SPACE "])|[" TRI_SPACE "]++",
                        true, false},
    [TRI_WORDS_PUNCTUATION] = {"punctuation", "[\\p{P}$+<=>^`|~]++", false, false},
    [TRI_WORDS_DIGIT] = {"digit", "\\p{N}", false, false},
    [TRI_WORDS_DIGITS] = {"digits", "\\p{N}++", false, false},
    [TRI_WORDS_THREE_DIGITS] = {"3digits", "[0-9]{3}", false, true},
    [TRI_WORDS_SPELLED_DIGIT] = {"spelled-digit", "[0-9\\xb2\\xb3\\xb9\\xbc-\\xbe]", false, true},
    [TRI_WORDS_SPELLED_DIGITS] = {"spelled-digits", "[0-9\\xb2\\xb3\\xb9\\xbc-\\xbe]++", false, true},
};

static const struct known {
  const char *names; /* the first one is written. They mean the same to llama.cpp, but that it lacks falcon's third step */
  tri_words_list list;
  bool composes;
} known[] = {
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 falcon_e falcon-e", {1, {TRI_WORDS_LLAMA3}}, false},
    {"gpt-2 phi-2 mpt olmo", {1, {TRI_WORDS_GPT2}}, false},
    {"qwen2 deepseek-r1-qwen", {1, {TRI_WORDS_QWEN2}}, true},
    {"falcon",
     {4, {TRI_WORDS_PUNCTUATION, TRI_WORDS_GPT2, TRI_WORDS_SPELLED_DIGITS, TRI_WORDS_THREE_DIGITS}},
     false},
    {"starcoder refact command-r smollm", {2, {TRI_WORDS_DIGIT, TRI_WORDS_GPT2}}, false},
};
enum { KNOWN = sizeof known / sizeof *known };
#define OURS "trireme:"

/* --- names --- */

/* The next of `names`, which blanks or commas divide; false at the end. */
static bool next_name(const char **names, tri_str *out) {
  *names += strspn(*names, " ,");
  *out = (tri_str){*names, strcspn(*names, " ,")};
  *names += out->len;
  return out->len > 0;
}

static bool same(tri_str a, tri_str b) { return a.len == b.len && memcmp(a.data, b.data, a.len) == 0; }

static const struct known *find_known(tri_str name) {
  for (int i = 0; i < KNOWN; i++) {
    const char *names = known[i].names;
    for (tri_str one; next_name(&names, &one);)
      if (same(one, name)) return &known[i];
  }
  return NULL;
}

static bool add_step(tri_words_list *list, tri_str name) {
  for (int i = 0; i < TRI_WORDS_STEPS && list->n < TRI_WORDS_MOST; i++)
    if (same(name, (tri_str){steps[i].name, strlen(steps[i].name)})) return list->steps[list->n++] = (tri_words_step)i, true;
  return false;
}

bool tri_words_find(tri_words_list *out, tri_str name) {
  const struct known *k = find_known(name);
  if (k) return *out = k->list, true;
  char text[TRI_WORDS_NAME];
  size_t skip = strlen(OURS);
  if (name.len <= skip || name.len >= sizeof text || memcmp(name.data, OURS, skip) != 0) return false;
  memcpy(text, name.data, name.len), text[name.len] = 0;
  tri_words_list list = {0};
  const char *names = text + skip;
  for (tri_str one; next_name(&names, &one);)
    if (!add_step(&list, one)) return false;
  return list.n > 0 ? *out = list, true : false;
}

void tri_words_name(const tri_words_list *list, char out[TRI_WORDS_NAME]) {
  for (int i = 0; i < KNOWN; i++)
    if (known[i].list.n == list->n && memcmp(known[i].list.steps, list->steps, (size_t)list->n * sizeof *list->steps) == 0) {
      snprintf(out, TRI_WORDS_NAME, "%.*s", (int)strcspn(known[i].names, " "), known[i].names);
      return;
    }
  size_t at = (size_t)snprintf(out, TRI_WORDS_NAME, OURS);
  for (int i = 0; i < list->n; i++)
    at += (size_t)snprintf(out + at, TRI_WORDS_NAME - at, "%s%s", i ? "," : "", steps[list->steps[i]].name);
}

bool tri_words_composes(tri_str name) {
  const struct known *k = find_known(name);
  return k && k->composes;
}

const char *tri_words_names(void) { return "llama-bpe, falcon3, gpt-2, qwen2, falcon and starcoder"; }

/* --- opening --- */

struct tri_words {
  int n;
  pcre2_code *codes[TRI_WORDS_MOST];
  bool covers[TRI_WORDS_MOST];
  pcre2_match_context *limits;
};

/* Steps and heap of one match without JIT: linear in the text for these patterns, so only a fault of ours meets them. */
enum { MATCH_STEPS = 4 * TRI_TOKENIZER_TEXT_BYTES, MATCH_HEAP_KIB = 1024 };

static tri_status compile(tri_words *w, const struct step *s, tri_error *err) {
  int code;
  size_t at;
  uint32_t options = (s->bytes ? 0 : PCRE2_UTF | PCRE2_UCP) | (s->covers ? PCRE2_ANCHORED : 0);
  pcre2_code *c = pcre2_compile((PCRE2_SPTR)s->pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
  if (!c) return tri_status_fail(err, TRI_E_INTERNAL, "PCRE2 refuses the pattern of \"%s\" (error %d at %zu)", s->name, code, at);
  pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* without JIT the interpreter matches the same */
  w->covers[w->n] = s->covers, w->codes[w->n++] = c;
  return TRI_OK;
}

tri_status tri_words_open(tri_words **out, const tri_words_list *list, tri_error *err) {
  tri_words *w = calloc(1, sizeof *w);
  if (!w || !(w->limits = pcre2_match_context_create(NULL)))
    return free(w), tri_status_fail(err, TRI_E_NOMEM, "out of memory for the pre-tokenizer");
  pcre2_set_match_limit(w->limits, MATCH_STEPS);
  pcre2_set_heap_limit(w->limits, MATCH_HEAP_KIB);
  for (int i = 0; i < list->n; i++) {
    tri_status status = compile(w, &steps[list->steps[i]], err);
    if (status != TRI_OK) return tri_words_close(&w), status;
  }
  *out = w;
  return TRI_OK;
}

void tri_words_close(tri_words **w) {
  if (!*w) return;
  for (int i = 0; i < (*w)->n; i++) pcre2_code_free((*w)->codes[i]);
  pcre2_match_context_free((*w)->limits);
  free(*w);
  *w = NULL;
}

/* --- cutting --- */

typedef struct cutter {
  const tri_words *w;
  pcre2_match_data *match;
  tri_words_take take;
  void *arg;
  tri_error *err;
} cutter;

/* The next match at or after `from`. A step that covers its text and stops is a fault of ours. */
static tri_status find(const cutter *c, int step, const uint8_t *text, size_t len, size_t from, size_t *start, size_t *end) {
  int rc = pcre2_match(c->w->codes[step], text, len, from, PCRE2_NO_UTF_CHECK, c->match, c->w->limits);
  const size_t *at = pcre2_get_ovector_pointer(c->match);
  *start = *end = len;
  if (rc == PCRE2_ERROR_NOMATCH && !c->w->covers[step]) return TRI_OK;
  if (rc < 0 || at[1] == from)
    return tri_status_fail(c->err, TRI_E_INTERNAL, "the pre-tokenizer stopped at byte %zu (PCRE2 code %d)", from, rc);
  *start = at[0], *end = at[1];
  return TRI_OK;
}

/* A piece goes through the steps that are left; its end is the end of text for them. */
static tri_status cut(const cutter *c, int step, const uint8_t *text, size_t len) {
  if (step == c->w->n) return len ? c->take(c->arg, text, len) : TRI_OK;
  for (size_t from = 0, start, end; from < len; from = end) {
    tri_status status = find(c, step, text, len, from, &start, &end);
    if (status == TRI_OK) status = cut(c, step + 1, text + from, start - from);
    if (status == TRI_OK) status = cut(c, step + 1, text + start, end - start);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

tri_status tri_words_cut(const tri_words *w, const uint8_t *text, size_t len, tri_words_take take, void *arg, tri_error *err) {
  if (!len) return TRI_OK;
  cutter c = {.w = w, .match = pcre2_match_data_create(1, NULL), .take = take, .arg = arg, .err = err};
  if (!c.match) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for words");
  tri_status status = cut(&c, 0, text, len);
  pcre2_match_data_free(c.match);
  return status;
}
