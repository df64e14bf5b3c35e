/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/show.h"
#include "engine/vocab_json.h"

#define FAIL(status, ...) tri_status_fail(err, status, "tokenizer.json: " __VA_ARGS__)
#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

const char *tri_json_text(const json_t *object, const char *key) {
  const char *s = json_string_value(json_object_get(object, key));
  return s ? s : "";
}

static bool is(const json_t *object, const char *key, const char *text) { return strcmp(tri_json_text(object, key), text) == 0; }

const json_t *tri_json_step(const json_t *top, const char *list, const char *type) {
  if (is(top, "type", type)) return top;
  const json_t *steps = json_object_get(top, list);
  for (size_t i = 0; i < json_array_size(steps); i++)
    if (is(json_array_get(steps, i), "type", type)) return json_array_get(steps, i);
  return NULL;
}

/* Calls `read` for each step: of a Sequence's list, else for the one there is. Sequences in Sequences don't occur. */
static tri_status each(tri_json_steps *s, const json_t *top, const char *list,
                       tri_status (*read)(tri_json_steps *, const json_t *, tri_error *), tri_error *err) {
  if (!top || json_is_null(top)) return TRI_OK;
  if (!is(top, "type", "Sequence")) return read(s, top, err);
  const json_t *steps = json_object_get(top, list);
  tri_status status = TRI_OK;
  for (size_t i = 0; i < json_array_size(steps) && status == TRI_OK; i++) status = read(s, json_array_get(steps, i), err);
  return status;
}

/* --- normalizers --- */

static tri_status read_normalizer(tri_json_steps *s, const json_t *step, tri_error *err) {
  s->normalizes = true;
  if (is(step, "type", "NFC")) return s->composes = true, TRI_OK;
  if (is(step, "type", "Prepend") && is(step, "prepend", SPACE_MARK) && !s->spaces) return s->prefix = TRI_PREFIX_SPACE, TRI_OK;
  if (is(step, "type", "Replace") && is(json_object_get(step, "pattern"), "String", " ") && is(step, "content", SPACE_MARK))
    return s->spaces = true, TRI_OK;
  return FAIL(TRI_E_UNSUPPORTED, "normalizer \"%s\"; NFC, and Prepend and Replace as SentencePiece's models have them, are supported",
              TRI_SHOW_TEXT(tri_json_text(step, "type")));
}

/* --- pre-tokenizers --- */

static tri_status add_step(tri_json_steps *s, tri_words_step step, tri_error *err) {
  if (s->words.n == TRI_WORDS_MOST) return FAIL(TRI_E_UNSUPPORTED, "more than %d pre-tokenizers", TRI_WORDS_MOST);
  s->words.steps[s->words.n++] = step;
  return TRI_OK;
}

static tri_status read_split(tri_json_steps *s, const json_t *step, tri_error *err) {
  /* As Hugging Face and as llama.cpp's and tiktoken's converters write them. "whole": every character starts a match, so that
   * keeping the matches and removing the rest, which is nothing, isolates them too. */
#define TAIL(numbers) "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPELLED "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
  static const struct { const char *regex; tri_words_step step; bool whole; } patterns[] = {
      {FOLDED TAIL("\\p{N}{1,3}"), TRI_WORDS_LLAMA3, true},
      {SPELLED TAIL("\\p{N}{1,3}"), TRI_WORDS_LLAMA3, true},
      {FOLDED TAIL("\\p{N}"), TRI_WORDS_QWEN2, true},
      {SPELLED TAIL("\\p{N}"), TRI_WORDS_QWEN2, true},
      {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", TRI_WORDS_GPT2, true},
      {"[0-9][0-9][0-9]", TRI_WORDS_THREE_DIGITS, false},
  };
  const char *regex = tri_json_text(json_object_get(step, "pattern"), "Regex");
  size_t i = 0, n = sizeof patterns / sizeof *patterns;
  while (i < n && strcmp(regex, patterns[i].regex) != 0) i++;
  if (i == n || (s->spelled && patterns[i].whole))
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer pattern \"%s\"; those of %s are supported", TRI_SHOW_TEXT(regex), tri_words_names());
  bool invert = json_is_true(json_object_get(step, "invert"));
  if (!(is(step, "behavior", "Isolated") && !invert) && !(is(step, "behavior", "Removed") && invert && patterns[i].whole))
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer Split with behavior \"%s\"%s; \"Isolated\" is supported",
                TRI_SHOW_TEXT(tri_json_text(step, "behavior")), invert ? " and invert" : "");
  return add_step(s, patterns[i].step, err);
}

static tri_status read_bytes(tri_json_steps *s, const json_t *step, tri_error *err) {
  if (json_is_true(json_object_get(step, "add_prefix_space")) || s->spelled)
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer ByteLevel %s", s->spelled ? "twice" : "with add_prefix_space");
  s->spelled = true;
  return json_is_false(json_object_get(step, "use_regex")) ? TRI_OK : add_step(s, TRI_WORDS_GPT2, err);
}

static tri_status read_spaces(tri_json_steps *s, const json_t *step, tri_error *err) {
  const json_t *scheme = json_object_get(step, "prepend_scheme"), *split = json_object_get(step, "split");
  bool first = is(step, "prepend_scheme", "first"), never = is(step, "prepend_scheme", "never");
  if (!scheme) never = json_is_false(json_object_get(step, "add_prefix_space")); /* as older files say it */
  if (!is(step, "replacement", SPACE_MARK) || s->prefix)
    return FAIL(TRI_E_UNSUPPORTED, "pre-tokenizer Metaspace with replacement \"%s\"%s", TRI_SHOW_TEXT(tri_json_text(step, "replacement")),
                s->prefix ? " besides Prepend" : "");
  s->spaces = true, s->splits = !json_is_false(split);
  s->prefix = never ? 0 : (uint8_t)(TRI_PREFIX_SPACE | TRI_PREFIX_UNLESS_THERE | (first ? TRI_PREFIX_FIRST : 0));
  return TRI_OK;
}

static tri_status read_pre_tokenizer(tri_json_steps *s, const json_t *step, tri_error *err) {
  bool each_digit = json_is_true(json_object_get(step, "individual_digits"));
  if (is(step, "type", "Split")) return read_split(s, step, err);
  if (is(step, "type", "ByteLevel")) return read_bytes(s, step, err);
  if (is(step, "type", "Metaspace")) return read_spaces(s, step, err);
  if (is(step, "type", "Digits"))
    return add_step(s, s->spelled ? (each_digit ? TRI_WORDS_SPELLED_DIGIT : TRI_WORDS_SPELLED_DIGITS)
                                  : (each_digit ? TRI_WORDS_DIGIT : TRI_WORDS_DIGITS), err);
  if (is(step, "type", "Punctuation") && is(step, "behavior", "Contiguous") && !s->spelled)
    return add_step(s, TRI_WORDS_PUNCTUATION, err);
  return FAIL(TRI_E_UNSUPPORTED, "pre_tokenizer \"%s\"; Split, ByteLevel, Digits, Punctuation (contiguous) and Metaspace are supported",
              TRI_SHOW_TEXT(tri_json_text(step, "type")));
}

tri_status tri_json_read_steps(tri_json_steps *out, const json_t *root, tri_error *err) {
  tri_json_steps s = {0};
  tri_status status = each(&s, json_object_get(root, "normalizer"), "normalizers", read_normalizer, err);
  bool mapped = s.spaces;
  if (status == TRI_OK) status = each(&s, json_object_get(root, "pre_tokenizer"), "pretokenizers", read_pre_tokenizer, err);
  if (status != TRI_OK) return status;
  if (s.spelled ? s.spaces || s.words.n == 0 : s.words.n > 0)
    return FAIL(TRI_E_UNSUPPORTED, "pre_tokenizer \"%s\": %s", TRI_SHOW_TEXT(tri_json_text(json_object_get(root, "pre_tokenizer"), "type")),
                s.spelled ? "ByteLevel without a pattern, or with SentencePiece's spaces" : "cuts words but has no ByteLevel");
  s.normalizes = s.composes || mapped;
  *out = s;
  return TRI_OK;
}
