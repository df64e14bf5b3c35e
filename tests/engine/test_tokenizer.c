/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "engine/tokenizer.h"

/* The fixture's ids are another program's: refs.json holds what Hugging Face's tokenizers gave;
 * odd_strings.json what a plain BPE over Python's regex module gave for strings made to be awkward
 * (characters whose class is the same since Unicode 3.2, so that no version of PCRE2 differs). */
#define STORY TRIREME_FIXTURES "/story-bitnet/"

static tri_error err;
static tri_tokenizer *story;

static void read_story(tri_vocab *v) {
  tri_buf json = {0};
  assert_ok(tri_file_read(&json, STORY "tokenizer.json", 16 << 20, &err), err);
  assert_ok(tri_vocab_from_json(v, (const char *)json.data, json.len, &err), err);
  tri_buf_free(&json);
}

static int open_story(void **state) {
  (void)state;
  tri_vocab v;
  read_story(&v);
  assert_ok(tri_tokenizer_open(&story, &v, &err), err);
  assert_null(v.tokens);
  return 0;
}

static int close_story(void **state) {
  (void)state;
  tri_tokenizer_close(&story);
  assert_null(story);
  return 0;
}

static tri_ids encode(const tri_tokenizer *t, const char *text, size_t len, bool special) {
  tri_ids ids = {0};
  assert_ok(tri_tokenizer_encode(t, text, len, special, &ids, &err), err);
  return ids;
}

static tri_buf decode(const tri_tokenizer *t, const tri_ids *ids) {
  tri_buf b = {0};
  for (size_t i = 0; i < ids->len; i++) {
    tri_str piece = tri_tokenizer_piece(t, ids->data[i], true);
    tri_buf_append(&b, piece.data, piece.len);
  }
  return b;
}

static void assert_returns(const tri_tokenizer *t, const char *text, size_t len, bool special) {
  tri_ids ids = encode(t, text, len, special);
  tri_buf b = decode(t, &ids);
  assert_int_equal(b.len, len);
  if (len) assert_memory_equal(b.data, text, len);
  tri_buf_free(&b);
  tri_ids_free(&ids);
}

/* `skip` ids of the wanted ones (a BOS) are not encode's work. */
static void assert_encodes(const tri_tokenizer *t, const json_t *entry, size_t skip) {
  const json_t *text = json_object_get(entry, "text"), *want = json_object_get(entry, "ids");
  assert_true(json_is_string(text) && json_is_array(want));
  tri_ids ids = encode(t, json_string_value(text), json_string_length(text), true);
  bool same = ids.len + skip == json_array_size(want);
  for (size_t i = 0; same && i < ids.len; i++)
    same = ids.data[i] == json_integer_value(json_array_get(want, i + skip));
  if (!same) fail_msg("other ids for \"%s\"", json_string_value(text));
  tri_buf b = decode(t, &ids);
  assert_int_equal(b.len, json_string_length(text));
  if (b.len) assert_memory_equal(b.data, json_string_value(text), b.len);
  tri_buf_free(&b);
  tri_ids_free(&ids);
}

static json_t *read_json(const char *path) {
  json_error_t e;
  json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
  if (!j) fail_msg("%s: %s", path, e.text);
  return j;
}

static void ids_are_those_of_other_programs(void **state) {
  (void)state;
  json_t *refs = read_json(STORY "refs.json"), *odd = read_json(STORY "odd_strings.json"), *entry;
  size_t i;
  json_array_foreach(json_object_get(refs, "tokenizer_vectors"), i, entry) assert_encodes(story, entry, 0);
  assert_int_equal(i, 65);
  json_array_foreach(json_object_get(refs, "prompts"), i, entry) assert_encodes(story, entry, 1);
  assert_true(i > 0);
  json_array_foreach(odd, i, entry) assert_encodes(story, entry, 0);
  assert_int_equal(i, 400);
  json_decref(refs);
  json_decref(odd);
}

static void a_file_of_ours_holds_the_same_vocabulary(void **state) {
  (void)state;
  char dir[] = "/tmp/trireme-vocab-XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/v.gguf", dir);
  tri_vocab v, back;
  read_story(&v);
  v.ignore_merges = false; /* the one that no standard key says */
  tri_gguf_writer *w;
  assert_ok(tri_gguf_writer_open(&w, path, &err), err);
  tri_vocab_write(&v, w);
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  assert_ok(tri_vocab_from_gguf(&back, g, &err), err);
  assert_int_equal(back.n_tokens, v.n_tokens);
  assert_int_equal(back.n_merges, v.n_merges);
  assert_memory_equal(back.types, v.types, v.n_tokens * sizeof *v.types);
  for (size_t i = 0; i < v.n_tokens; i++) {
    assert_int_equal(back.tokens[i].len, v.tokens[i].len);
    assert_memory_equal(back.tokens[i].data, v.tokens[i].data, v.tokens[i].len);
  }
  for (size_t i = 0; i < v.n_merges; i++) {
    assert_int_equal(back.merges[i].len, v.merges[i].len);
    assert_memory_equal(back.merges[i].data, v.merges[i].data, v.merges[i].len);
  }
  assert_string_equal(back.pre, v.pre);
  assert_int_equal(back.bos, v.bos);
  assert_int_equal(back.eos, v.eos);
  assert_int_equal(back.eot, v.eot);
  assert_int_equal(back.add_bos, v.add_bos);
  assert_false(back.ignore_merges);
  assert_null(back.arena);
  tri_vocab_free(&back);
  tri_vocab_free(&v);
  tri_gguf_close(&g);
  unlink(path);
  rmdir(dir);
}

/* One key at a time is wrong or absent. */
enum fault {
  F_NONE,
  F_NO_MODEL,
  F_MODEL,
  F_NO_PRE,
  F_PRE,
  F_NO_TOKENS,
  F_EMPTY,
  F_TYPES,
  F_TYPE,
  F_NO_MERGES,
  F_BOS,
  F_NO_BOS,
  F_ALIAS
};

static tri_status read_faulty(enum fault f, tri_vocab *v) {
  static const tri_str tokens[] = {{"a", 1}, {"b", 1}}, merges[] = {{"a b", 3}};
  const int32_t types[] = {1, f == F_TYPE ? 7 : 3};
  char dir[] = "/tmp/trireme-vocab-XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/v.gguf", dir);
  tri_gguf_writer *w;
  assert_ok(tri_gguf_writer_open(&w, path, &err), err);
  if (f != F_NO_MODEL) tri_gguf_writer_str(w, "tokenizer.ggml.model", f == F_MODEL ? "bert" : "gpt2");
  if (f != F_NO_PRE)
    tri_gguf_writer_str(w, "tokenizer.ggml.pre",
                        f == F_PRE     ? "que\x1b"
                        : f == F_ALIAS ? "llama-v3"
                                       : "llama-bpe");
  if (f != F_NO_TOKENS) tri_gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, f == F_EMPTY ? 0 : 2);
  tri_gguf_writer_i32s(w, "tokenizer.ggml.token_type", types, f == F_TYPES ? 1 : 2);
  if (f != F_NO_MERGES) tri_gguf_writer_strs(w, "tokenizer.ggml.merges", merges, 1);
  if (f != F_NO_BOS) tri_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", f == F_BOS ? 2 : 1);
  tri_gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  tri_gguf *g;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  tri_status st = tri_vocab_from_gguf(v, g, &err);
  if (st == TRI_OK) tri_vocab_free(v);
  tri_gguf_close(&g);
  unlink(path);
  rmdir(dir);
  return st;
}

static void a_faulty_vocabulary_is_refused_by_name(void **state) {
  (void)state;
  tri_vocab v;
  assert_ok(read_faulty(F_NONE, &v), err);
  assert_ok(read_faulty(F_ALIAS, &v), err);
  assert_fails(read_faulty(F_NO_MODEL, &v), TRI_E_FORMAT, err, "tokenizer.ggml.model");
  assert_fails(read_faulty(F_MODEL, &v), TRI_E_UNSUPPORTED, err, "\"bert\"");
  assert_fails(read_faulty(F_NO_PRE, &v), TRI_E_UNSUPPORTED, err, "tokenizer.ggml.pre");
  assert_fails(read_faulty(F_PRE, &v), TRI_E_UNSUPPORTED, err, "\"que?\"");
  assert_fails(read_faulty(F_NO_TOKENS, &v), TRI_E_FORMAT, err, "tokenizer.ggml.tokens");
  assert_fails(read_faulty(F_EMPTY, &v), TRI_E_FORMAT, err, "is empty");
  assert_fails(read_faulty(F_TYPES, &v), TRI_E_FORMAT, err, "token_type");
  assert_fails(read_faulty(F_TYPE, &v), TRI_E_FORMAT, err, "type 7 of token 1");
  assert_fails(read_faulty(F_NO_MERGES, &v), TRI_E_FORMAT, err, "tokenizer.ggml.merges");
  assert_fails(read_faulty(F_BOS, &v), TRI_E_FORMAT, err, "bos_token_id");
  assert_fails(read_faulty(F_NO_BOS, &v), TRI_E_FORMAT, err, "add_bos_token");
}

/* As the file that is published for BitNet 2B4T has it. */
static void llama_3s_vocabulary_needs_no_name_for_its_words(void **state) {
  (void)state;
  enum { N = 128002 };
  char dir[] = "/tmp/trireme-vocab-XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/v.gguf", dir);
  tri_str *tokens = malloc(N * sizeof *tokens), merge = {"a a", 3};
  for (size_t i = 0; i < N; i++) tokens[i] = (tri_str){"a", 1};
  tokens[128000] = (tri_str){"<|begin_of_text|>", 17};
  tri_gguf_writer *w;
  assert_ok(tri_gguf_writer_open(&w, path, &err), err);
  tri_gguf_writer_str(w, "tokenizer.ggml.model", "gpt2");
  tri_gguf_writer_strs(w, "tokenizer.ggml.tokens", tokens, N);
  tri_gguf_writer_strs(w, "tokenizer.ggml.merges", &merge, 1);
  assert_ok(tri_gguf_writer_begin(w, &err), err);
  assert_ok(tri_gguf_writer_commit(&w, &err), err);
  tri_gguf *g;
  tri_vocab v;
  assert_ok(tri_gguf_open(&g, path, &err), err);
  assert_ok(tri_vocab_from_gguf(&v, g, &err), err);
  assert_string_equal(v.pre, "llama-bpe");
  assert_true(v.ignore_merges);
  tri_vocab_free(&v);
  tri_gguf_close(&g);
  free(tokens);
  unlink(path);
  rmdir(dir);
}

static void a_tokenizer_needs_sound_merges_and_every_byte(void **state) {
  (void)state;
  static const struct {
    const char *merge, *part;
  } wrong[] = {{"ab", "merge 5"}, {" b", "merge 5"},          {"a ", "merge 5"},
               {"", "merge 5"},   {"q \xc4\xa0q", "merge 5"}, {"a b c", "merge 5"}};
  tri_tokenizer *t = NULL;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    tri_vocab v;
    read_story(&v);
    v.merges[5] = (tri_str){wrong[i].merge, strlen(wrong[i].merge)};
    assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_FORMAT, err, wrong[i].part);
    assert_null(t);
    assert_non_null(v.tokens); /* still ours */
    tri_vocab_free(&v);
  }
  tri_vocab v;
  read_story(&v);
  v.n_merges = 0;
  v.types[0] = TRI_TOKEN_UNUSED; /* "!" */
  assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_FORMAT, err, "0x21");
  v.eos = (int32_t)v.n_tokens;
  assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_FORMAT, err, "EOS");
  tri_vocab_free(&v);
}

static void any_bytes_come_back(void **state) {
  (void)state;
  static const char likely[] = "\xe2\x82\xac\xf0\x9f\xc3 <|eot_id|>ab\xed\xa0\r\n\xff";
  uint64_t seed = 77;
  char text[300];
  for (int round = 0; round < 4000; round++) {
    size_t len = test_random(&seed) % sizeof text;
    for (size_t i = 0; i < len; i++) {
      uint64_t r = test_random(&seed) >> 16;
      text[i] = round % 3 == 0 ? (char)r : likely[r % (sizeof likely - 1)];
    }
    assert_returns(story, text, len, round & 1);
  }
}

static void specials_are_found_only_when_asked(void **state) {
  (void)state;
  static const char text[] = "<|eot_id|><|reserved_special_token_10|><|reserved_special_token_1";
  tri_ids ids = encode(story, text, strlen(text), true);
  assert_int_equal(ids.data[0], 8180);
  assert_int_equal(ids.data[1], 8191);
  assert_true(ids.data[2] < 8176);
  tri_ids plain = encode(story, text, strlen(text), false);
  for (size_t i = 0; i < plain.len; i++) assert_true(plain.data[i] < 8176);
  assert_returns(story, text, strlen(text), true);
  assert_returns(story, text, strlen(text), false);
  assert_int_equal(tri_tokenizer_piece(story, 8180, false).len, 0);
  assert_memory_equal(tri_tokenizer_piece(story, 8180, true).data, "<|eot_id|>", 10);
  assert_int_equal(tri_tokenizer_piece(story, -1, true).len, 0);
  assert_int_equal(tri_tokenizer_piece(story, 8192, true).len, 0);
  tri_ids_free(&ids);
  tri_ids_free(&plain);
}

static void control_tokens_are_not_read_in_plain_parts(void **state) {
  (void)state;
  static const char text[] = "<|eot_id|>a<|eot_id|>b<|eot_id|>";
  uint8_t plain[sizeof text] = {0};
  tri_ids ids = {0};
  memset(plain + 11, 1, 10); /* the second one */
  assert_ok(tri_tokenizer_encode_prompt(story, text, plain, sizeof text - 1, &ids, &err), err);
  int found = 0;
  for (size_t i = 0; i < ids.len; i++) found += ids.data[i] == 8180;
  assert_int_equal(found, 2);
  assert_true(ids.data[0] == 8180 && ids.data[ids.len - 1] == 8180);
  ids.len = 0, memset(plain, 0, sizeof plain), plain[15] = 1; /* one byte of it is enough */
  assert_ok(tri_tokenizer_encode_prompt(story, text, plain, sizeof text - 1, &ids, &err), err);
  tri_buf b = decode(story, &ids);
  assert_memory_equal(b.data, text, sizeof text - 1);
  assert_true(ids.len > 5);
  tri_buf_free(&b);
  tri_ids_free(&ids);
}

static void user_tokens_are_found_always_and_longest_first(void **state) {
  (void)state;
  tri_vocab v;
  read_story(&v);
  static const char *const texts[] = {"<x>", "<x><y>", "<x><y><z>"};
  for (int i = 0; i < 3; i++) {
    v.tokens[8185 + i] = (tri_str){texts[i], strlen(texts[i])};
    v.types[8185 + i] = i == 2 ? TRI_TOKEN_CONTROL : TRI_TOKEN_USER;
  }
  tri_tokenizer *t;
  assert_ok(tri_tokenizer_open(&t, &v, &err), err);
  tri_ids ids = encode(t, texts[2], 9, false);
  assert_int_equal(ids.data[0], 8186);
  tri_ids_free(&ids);
  ids = encode(t, texts[2], 9, true);
  assert_int_equal(ids.len, 1);
  assert_int_equal(ids.data[0], 8187);
  assert_int_equal(tri_tokenizer_piece(t, 8186, false).len, 6);
  tri_ids_free(&ids);
  tri_tokenizer_close(&t);
}

static void a_whole_word_may_pass_by_the_merges(void **state) {
  (void)state;
  tri_vocab v;
  read_story(&v);
  tri_tokenizer *t;
  v.tokens[8175] = (tri_str){"zqzq", 4}; /* no merge leads there */
  v.n_merges = 100;
  v.ignore_merges = true;
  assert_ok(tri_tokenizer_open(&t, &v, &err), err);
  tri_ids ids = encode(t, "zqzq", 4, false);
  assert_int_equal(ids.len, 1);
  assert_int_equal(ids.data[0], 8175);
  tri_ids_free(&ids);
  tri_tokenizer_close(&t);
  read_story(&v);
  v.tokens[8175] = (tri_str){"zqzq", 4};
  v.n_merges = 100;
  v.ignore_merges = false;
  assert_ok(tri_tokenizer_open(&t, &v, &err), err);
  ids = encode(t, "zqzq", 4, false);
  assert_int_equal(ids.len, 4);
  tri_ids_free(&ids);
  tri_tokenizer_close(&t);
}

static void facts(void **state) {
  (void)state;
  assert_int_equal(tri_tokenizer_size(story), 8192);
  assert_int_equal(tri_tokenizer_bos(story), 8176);
  assert_true(tri_tokenizer_adds_bos(story));
  assert_true(tri_tokenizer_is_end(story, 8177));
  assert_true(tri_tokenizer_is_end(story, 8180)); /* by its name */
  assert_false(tri_tokenizer_is_end(story, 8176));
  assert_false(tri_tokenizer_is_end(story, -1));
}

/* A unit over and over, and one byte after it. The bound is a hundred times what it takes: only growth that
 * is not (nearly) linear misses it. */
static void assert_bounded(const char *unit, char last) {
  tri_buf b = {0};
  while (b.len < 1000000) tri_buf_append(&b, unit, strlen(unit));
  tri_buf_byte(&b, (uint8_t)last);
  int64_t start = tri_clock_ms();
  tri_ids ids = encode(story, (const char *)b.data, b.len, true);
  assert_true(tri_clock_ms() - start < 20000);
  tri_buf back = decode(story, &ids);
  assert_int_equal(back.len, b.len);
  assert_memory_equal(back.data, b.data, b.len);
  tri_buf_free(&back);
  tri_buf_free(&b);
  tri_ids_free(&ids);
}

static void hostile_text_takes_bounded_time(void **state) {
  (void)state;
  static const char *const units[] = {"a",
                                      " ",
                                      "the",
                                      "\n ",
                                      " \n",
                                      "\xcc\x81",
                                      "!",
                                      "7",
                                      "\xff",
                                      "\xe2\x82",
                                      "<",
                                      "<|reserved_special_token_",
                                      "\xe3\x80\x80",
                                      "'",
                                      "\r"};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    assert_bounded(units[i], 'x');
    assert_bounded(units[i], '\n');
  }
}

static void a_text_has_a_limit(void **state) {
  (void)state;
  tri_ids ids = {0};
  assert_ok(tri_ids_push(&ids, 7), err);
  assert_fails(tri_tokenizer_encode(story, "", TRI_TOKENIZER_TEXT_BYTES + 1, true, &ids, &err), TRI_E_LIMIT,
               err, "limit");
  assert_int_equal(ids.len, 1);
  assert_ok(tri_tokenizer_encode(story, NULL, 0, true, &ids, &err), err);
  assert_int_equal(ids.len, 1);
  tri_ids_free(&ids);
}

static const char shared_text[] =
    "Once upon a time, antidisestablishmentarianism\n\n  \xe6\x9d\xb1<|eot_id|>";

static void *encode_many(void *want) {
  const tri_ids *w = want;
  for (int i = 0; i < 200; i++) {
    tri_ids ids = {0};
    if (tri_tokenizer_encode(story, shared_text, strlen(shared_text), true, &ids, NULL) != TRI_OK ||
        ids.len != w->len || memcmp(ids.data, w->data, ids.len * sizeof *ids.data) != 0)
      return NULL;
    tri_ids_free(&ids);
  }
  return want;
}

static void threads_share_one(void **state) {
  (void)state;
  tri_ids want = encode(story, shared_text, strlen(shared_text), true);
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_many, &want), 0);
  for (int i = 0; i < 8; i++) {
    void *result;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_ptr_equal(result, &want);
  }
  tri_ids_free(&want);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_are_those_of_other_programs),
      cmocka_unit_test(a_file_of_ours_holds_the_same_vocabulary),
      cmocka_unit_test(a_faulty_vocabulary_is_refused_by_name),
      cmocka_unit_test(llama_3s_vocabulary_needs_no_name_for_its_words),
      cmocka_unit_test(a_tokenizer_needs_sound_merges_and_every_byte),
      cmocka_unit_test(any_bytes_come_back),
      cmocka_unit_test(specials_are_found_only_when_asked),
      cmocka_unit_test(control_tokens_are_not_read_in_plain_parts),
      cmocka_unit_test(user_tokens_are_found_always_and_longest_first),
      cmocka_unit_test(a_whole_word_may_pass_by_the_merges),
      cmocka_unit_test(facts),
      cmocka_unit_test(hostile_text_takes_bounded_time),
      cmocka_unit_test(a_text_has_a_limit),
      cmocka_unit_test(threads_share_one),
  };
  return cmocka_run_group_tests(tests, open_story, close_story);
}
