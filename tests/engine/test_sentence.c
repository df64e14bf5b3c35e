/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "engine/tokenizer.h"

/* SentencePiece's models on vocabularies small enough to try every way: what they should give is found here by plain searches that
 * follow their definitions. tests/tokenizers compares with other programs on real ones. */

static tri_error err;

typedef struct piece { const char *text; int32_t type; float score; } piece;
enum { N = 28 };
static const piece pieces[N] = {
    {"<unk>", TRI_TOKEN_UNKNOWN, 0}, {"<s>", TRI_TOKEN_CONTROL, 0}, {"</s>", TRI_TOKEN_CONTROL, 0}, {"<0xC3>", TRI_TOKEN_BYTE, 0},
    {"<0xBC>", TRI_TOKEN_BYTE, 0}, {"<0x0A>", TRI_TOKEN_BYTE, 0}, {"ab", 1, -1}, {"abc", 1, -2}, {"bc", 1, -3}, {"ca", 1, -3},
    {"\xe2\x96\x81" "a", 1, -4}, {"\xe2\x96\x81" "ab", 1, -2.5f}, {"bb", 1, -5}, {"\xe2\x96\x81\xe2\x96\x81", 1, -6}, {"cab", 1, -1.5f},
    {"a", 1, -9}, {"b", 1, -9.5f}, {"c", 1, -9.25f}, {"\xe2\x96\x81", 1, -8}, {"\xc3\xa9", 1, -10}, {"\xc3\xa9" "a", 1, -7},
    {"aa", 1, -5}, {"aaa", 1, -5}, {"bca", 1, -4}, {"<user>", TRI_TOKEN_USER, 0}, {"c\xc3\xa9", 1, -7}, {"abca", 1, -6.5f},
    {"[PAD]", TRI_TOKEN_UNUSED, 0}};

static tri_vocab make_vocab(tri_vocab_model model) {
  tri_vocab v = {.model = model, .n_tokens = N, .bos = 1, .eos = 2, .eot = -1, .unk = 0, .add_bos = true, .prefix = TRI_PREFIX_SPACE};
  v.tokens = calloc(N, sizeof *v.tokens), v.types = calloc(N, sizeof *v.types), v.scores = calloc(N, sizeof *v.scores);
  assert_true(v.tokens && v.types && v.scores);
  for (int i = 0; i < N; i++)
    v.tokens[i] = (tri_str){pieces[i].text, strlen(pieces[i].text)}, v.types[i] = pieces[i].type, v.scores[i] = pieces[i].score;
  return v;
}

static tri_tokenizer *open_model(tri_vocab v) {
  tri_tokenizer *t;
  assert_ok(tri_tokenizer_open(&t, &v, &err), err);
  return t;
}

static void assert_ids(const tri_tokenizer *t, const char *text, const int32_t *want, size_t n) {
  tri_ids ids = {0};
  assert_ok(tri_tokenizer_encode(t, text, strlen(text), true, &ids, &err), err);
  bool same = ids.len == n;
  for (size_t i = 0; same && i < n; i++) same = ids.data[i] == want[i];
  if (!same) {
    for (size_t i = 0; i < ids.len; i++) printf("%d ", ids.data[i]);
    fail_msg("other ids for \"%s\"", text);
  }
  tri_ids_free(&ids);
}
#define ASSERT_IDS(t, text, ...) \
  assert_ids(t, text, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* --- by definition --- */

static int32_t find_piece(const char *text, size_t len) {
  for (int i = 0; i < N; i++)
    if (pieces[i].type == TRI_TOKEN_NORMAL && strlen(pieces[i].text) == len && memcmp(pieces[i].text, text, len) == 0) return i;
  return -1;
}

static size_t char_len(const char *s) { return (*s & 0x80) == 0 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : 3; }

/* Merge the best pair of neighbours as long as one joins to a token. */
static size_t merge_plainly(const char *text, int32_t *out) {
  size_t starts[64], n = 0;
  for (size_t at = 0; text[at]; at += char_len(text + at)) starts[n++] = at;
  starts[n] = strlen(text);
  for (;;) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; i++) {
      int32_t id = find_piece(text + starts[i], starts[i + 2] - starts[i]);
      if (id < 0) continue;
      int32_t so_far = best < n ? find_piece(text + starts[best], starts[best + 2] - starts[best]) : -1;
      if (so_far < 0 || pieces[id].score > pieces[so_far].score) best = i;
    }
    if (best == n) break;
    memmove(starts + best + 1, starts + best + 2, (n - best - 1) * sizeof *starts);
    n--;
  }
  for (size_t i = 0; i < n; i++) out[i] = find_piece(text + starts[i], starts[i + 1] - starts[i]);
  return n;
}

/* The greatest sum of scores over all ways to cut the text. */
static double best_sum(const char *text) {
  if (!*text) return 0;
  double best = -1e9;
  for (int i = 0; i < N; i++) {
    size_t len = strlen(pieces[i].text);
    if (pieces[i].type != TRI_TOKEN_NORMAL || strncmp(text, pieces[i].text, len) != 0) continue;
    double sum = (double)pieces[i].score + best_sum(text + len);
    if (sum > best) best = sum;
  }
  return best;
}

/* A random text of these characters, and the same as SentencePiece writes it, with a mark for each space and one before. */
static void make_text(uint64_t *seed, char *text, char *marked) {
  static const char *const from[] = {"a", "b", "c", "a", "b", " ", "\xc3\xa9"};
  *text = 0, strcpy(marked, "\xe2\x96\x81");
  for (size_t n = 1 + test_random(seed) % 12; n; n--) {
    const char *c = from[test_random(seed) >> 16 & 7 ? (test_random(seed) >> 16) % 7 : 5];
    strcat(text, c), strcat(marked, *c == ' ' ? "\xe2\x96\x81" : c);
  }
}

static void merging_takes_the_best_pair_first(void **state) {
  (void)state;
  tri_tokenizer *t = open_model(make_vocab(TRI_VOCAB_PIECES));
  uint64_t seed = 5;
  for (int round = 0; round < 3000; round++) {
    char text[64], marked[64];
    int32_t want[64];
    make_text(&seed, text, marked);
    assert_ids(t, text, want, merge_plainly(marked, want));
  }
  tri_tokenizer_close(&t);
}

static void the_unigram_model_takes_the_best_way(void **state) {
  (void)state;
  tri_tokenizer *t = open_model(make_vocab(TRI_VOCAB_UNIGRAM));
  uint64_t seed = 6;
  for (int round = 0; round < 3000; round++) {
    char text[64], marked[64];
    tri_ids ids = {0};
    tri_buf back = {0};
    double sum = 0;
    make_text(&seed, text, marked);
    assert_ok(tri_tokenizer_encode(t, text, strlen(text), true, &ids, &err), err);
    for (size_t i = 0; i < ids.len; i++) sum += (double)pieces[ids.data[i]].score;
    tri_tokenizer_decode(t, ids.data, ids.len, true, &back);
    assert_string_equal((char *)back.data, text);
    if (sum != best_sum(marked)) fail_msg("\"%s\": %g, not %g", text, sum, best_sum(marked));
    tri_buf_free(&back);
    tri_ids_free(&ids);
  }
  tri_tokenizer_close(&t);
}

/* --- what isn't in the vocabulary, and what is added to it --- */

static void unknown_characters_are_bytes_or_one_token(void **state) {
  (void)state;
  tri_tokenizer *t = open_model(make_vocab(TRI_VOCAB_PIECES));
  ASSERT_IDS(t, "a\xc3\xbc", 10, 3, 4);   /* u with dots: its two bytes are tokens */
  ASSERT_IDS(t, "a\n", 10, 5);
  ASSERT_IDS(t, "a\xc3\xbd?zb", 10, 0, 16); /* one of these two bytes is none: unknown, once for the run */
  ASSERT_IDS(t, "a\xff" "b\xc3", 10, 0, 16, 3);
  ASSERT_IDS(t, "a<0x0A>", 10, 0);        /* as text it is text */
  tri_tokenizer_close(&t);
  tri_vocab v = make_vocab(TRI_VOCAB_UNIGRAM);
  v.unk = -1;
  t = open_model(v);
  ASSERT_IDS(t, "a?b", 10, 16);
  tri_tokenizer_close(&t);
}

static void added_tokens_begin_a_new_stretch(void **state) {
  (void)state;
  tri_tokenizer *t = open_model(make_vocab(TRI_VOCAB_PIECES));
  tri_buf text = {0};
  ASSERT_IDS(t, "<s>ab</s>", 1, 11, 2);
  ASSERT_IDS(t, "ab<user> ab", 11, 24, 18, 11);
  tri_tokenizer_decode(t, (const int32_t[]){1, 11, 2, 11}, 4, false, &text);
  assert_string_equal((char *)text.data, "ab ab");
  tri_buf_free(&text);
  tri_tokenizer_close(&t);
  tri_vocab v = make_vocab(TRI_VOCAB_PIECES);
  v.prefix |= TRI_PREFIX_FIRST | TRI_PREFIX_UNLESS_THERE;
  t = open_model(v);
  ASSERT_IDS(t, "ab<user>ab", 11, 24, 6);
  ASSERT_IDS(t, " ab", 11);
  tri_tokenizer_close(&t);
  v = make_vocab(TRI_VOCAB_PIECES);
  v.squeezes = true;
  t = open_model(v);
  ASSERT_IDS(t, "  ab   ab  ", 11, 11);
  assert_ids(t, "   ", NULL, 0);
  tri_tokenizer_close(&t);
}

static void flags_say_where_an_added_token_is(void **state) {
  (void)state;
  tri_vocab v = make_vocab(TRI_VOCAB_PIECES);
  v.prefix = 0;
  v.flags = calloc(N, sizeof *v.flags);
  v.flags[24] = TRI_TOKEN_LSTRIP | TRI_TOKEN_RSTRIP, v.flags[2] = TRI_TOKEN_SINGLE_WORD, v.flags[1] = TRI_TOKEN_NORMALIZED;
  v.composes = true;
  v.tokens[1] = (tri_str){"e\xcc\x81", 3}; /* e and an accent: found where they are one character */
  tri_tokenizer *t = open_model(v);
  ASSERT_IDS(t, "ab \n<user>\t\xc2\xa0 ab", 6, 24, 6);
  ASSERT_IDS(t, "</s> a</s>b", 2, 10, 0, 16);
  ASSERT_IDS(t, "a\xc3\xa9" "be\xcc\x81", 15, 1, 16, 1);
  tri_tokenizer_close(&t);
}

/* --- files --- */

static tri_buf protobuf(const char *charsmap) {
  tri_buf b = {0};
  for (int i = 0; i < N; i++) {
    size_t len = strlen(pieces[i].text);
    tri_buf_printf(&b, "%c%c%c%c%s%c", 0x0a, (int)(2 + len + 5 + 2), 0x0a, (int)len, pieces[i].text, 0x15);
    tri_buf_append(&b, &pieces[i].score, 4);
    tri_buf_printf(&b, "%c%c", 0x18, pieces[i].type);
  }
  tri_buf_append(&b, "\x12\x02\x18\x02", 4); /* trainer_spec: model_type BPE */
  tri_buf_printf(&b, "%c%c%c%c%s", 0x1a, (int)(4 + strlen(charsmap)), 0x12, (int)strlen(charsmap), charsmap);
  tri_buf_append(&b, "\x20", 2); /* no extra spaces removed: false */
  assert_true(tri_buf_ok(&b));
  return b;
}

static void a_sentencepiece_file_holds_the_same_model(void **state) {
  (void)state;
  tri_buf b = protobuf("");
  tri_vocab v;
  assert_ok(tri_vocab_from_sentencepiece(&v, b.data, b.len, &err), err);
  assert_true(v.model == TRI_VOCAB_PIECES && v.n_tokens == N && v.unk == 0 && v.bos == 1 && v.eos == 2 && v.add_bos && !v.squeezes);
  for (int i = 0; i < N; i++) {
    assert_int_equal(v.types[i], pieces[i].type);
    assert_true(v.scores[i] == pieces[i].score && v.tokens[i].len == strlen(pieces[i].text));
    assert_memory_equal(v.tokens[i].data, pieces[i].text, v.tokens[i].len);
  }
  tri_vocab_free(&v);
  for (size_t len = 0; len < b.len; len++) /* cut anywhere it is refused, or ends between two fields */
    if (tri_vocab_from_sentencepiece(&v, b.data, len, &err) == TRI_OK) tri_vocab_free(&v);
  tri_buf_free(&b);
  b = protobuf("nfkc");
  assert_fails(tri_vocab_from_sentencepiece(&v, b.data, b.len, &err), TRI_E_UNSUPPORTED, err, "character map");
  tri_buf_free(&b);
  assert_fails(tri_vocab_from_sentencepiece(&v, "hello", 5, &err), TRI_E_FORMAT, err, "no SentencePiece model");
}

static void gguf_carries_all_that_matters(void **state) {
  (void)state;
  char path[] = "/tmp/trireme-sentence-XXXXXX";
  close(mkstemp(path));
  for (int model = TRI_VOCAB_PIECES; model <= TRI_VOCAB_UNIGRAM; model++) {
    tri_vocab v = make_vocab((tri_vocab_model)model), back;
    v.prefix |= TRI_PREFIX_FIRST, v.squeezes = v.splits = v.composes = v.add_eos = true;
    v.flags = calloc(N, sizeof *v.flags);
    v.flags[24] = TRI_TOKEN_LSTRIP;
    tri_gguf_writer *w;
    tri_gguf *g;
    assert_ok(tri_gguf_writer_open(&w, path, &err), err);
    tri_vocab_write(&v, w);
    assert_ok(tri_gguf_writer_begin(w, &err), err);
    assert_ok(tri_gguf_writer_commit(&w, &err), err);
    assert_ok(tri_gguf_open(&g, path, &err), err);
    assert_ok(tri_vocab_from_gguf(&back, g, &err), err);
    assert_true(back.model == v.model && back.n_merges == 0 && back.prefix == v.prefix && back.squeezes && back.splits && back.composes);
    assert_true(back.bos == 1 && back.eos == 2 && back.eot == -1 && back.unk == 0 && back.add_bos && back.add_eos);
    assert_memory_equal(back.flags, v.flags, N * sizeof *v.flags);
    assert_memory_equal(back.scores, v.scores, N * sizeof *v.scores);
    assert_memory_equal(back.types, v.types, N * sizeof *v.types);
    tri_vocab_free(&back);
    tri_vocab_free(&v);
    tri_gguf_close(&g);
  }
  unlink(path);
}

/* --- bounds --- */

/* A hundred times what it takes: only growth that is not (nearly) linear misses it. */
static void hostile_text_takes_bounded_time(void **state) {
  (void)state;
  static const char *const units[] = {"a", " ", "abc", "\xc3\xa9", "\xff", "?", "<user>", "<", "e\xcc\x81", "\xcc\x81\xcc\xa3", "\xe1\x84\x92\xe1\x85\xa1"};
  for (int model = TRI_VOCAB_PIECES; model <= TRI_VOCAB_UNIGRAM; model++) {
    tri_vocab v = make_vocab((tri_vocab_model)model);
    v.composes = true;
    tri_tokenizer *t = open_model(v);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
      tri_buf b = {0};
      tri_ids ids = {0};
      while (b.len < 1000000) tri_buf_append(&b, units[i], strlen(units[i]));
      int64_t start = tri_clock_ms();
      assert_ok(tri_tokenizer_encode(t, (char *)b.data, b.len, true, &ids, &err), err);
      assert_true(tri_clock_ms() - start < 20000);
      tri_ids_free(&ids);
      tri_buf_free(&b);
    }
    tri_tokenizer_close(&t);
  }
}

static void a_faulty_model_is_refused(void **state) {
  (void)state;
  tri_tokenizer *t;
  tri_vocab v = make_vocab(TRI_VOCAB_PIECES);
  v.scores[7] = __builtin_nanf("");
  assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_FORMAT, err, "score of token 7");
  v.scores[7] = 0, v.unk = N;
  assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_FORMAT, err, "unknown token");
  char longest[200];
  memset(longest, 'a', sizeof longest);
  v.unk = 0, v.tokens[8] = (tri_str){longest, sizeof longest};
  assert_fails(tri_tokenizer_open(&t, &v, &err), TRI_E_LIMIT, err, "token 8");
  tri_vocab_free(&v);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merging_takes_the_best_pair_first),
      cmocka_unit_test(the_unigram_model_takes_the_best_way),
      cmocka_unit_test(unknown_characters_are_bytes_or_one_token),
      cmocka_unit_test(added_tokens_begin_a_new_stretch),
      cmocka_unit_test(flags_say_where_an_added_token_is),
      cmocka_unit_test(a_sentencepiece_file_holds_the_same_model),
      cmocka_unit_test(gguf_carries_all_that_matters),
      cmocka_unit_test(hostile_text_takes_bounded_time),
      cmocka_unit_test(a_faulty_model_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
