/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "engine/stream.h"
#include "tests/engine/small_vocab.h"

static tri_error err;
static tri_tokenizer *t;

static int open_all(void **state) {
  (void)state;
  t = small_tokenizer();
  return 0;
}
static int close_all(void **state) {
  (void)state;
  tri_tokenizer_close(&t);
  return 0;
}

/* --- the same, plainly: WHATWG's UTF-8 decoder over the whole text, then the stop strings --- */

/* Characters of bytes [0, len); the start of one at the end is left out unless `end`. */
static size_t plain_decode(const uint8_t *in, size_t len, bool end, uint8_t *out) {
  size_t n = 0, start = 0;
  unsigned needed = 0, seen = 0;
  uint8_t lower = 0x80, upper = 0xbf;
  for (size_t i = 0; i < len; i++) {
    uint8_t b = in[i];
    if (needed && (b < lower || b > upper)) {
      memcpy(out + n, "\xef\xbf\xbd", 3), n += 3;
      needed = seen = 0, lower = 0x80, upper = 0xbf;
      i--; /* the byte is looked at again */
      continue;
    }
    if (needed) {
      lower = 0x80, upper = 0xbf;
      if (++seen < needed) continue;
      memcpy(out + n, in + start, needed + 1), n += needed + 1;
      needed = seen = 0;
    } else if (b < 0x80)
      out[n++] = b;
    else if (b >= 0xc2 && b <= 0xf4) {
      start = i;
      needed = b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
      if (b == 0xe0) lower = 0xa0;
      if (b == 0xed) upper = 0x9f;
      if (b == 0xf0) lower = 0x90;
      if (b == 0xf4) upper = 0x8f;
    } else
      memcpy(out + n, "\xef\xbf\xbd", 3), n += 3;
  }
  if (needed && end) memcpy(out + n, "\xef\xbf\xbd", 3), n += 3;
  return n;
}

/* How much of the text may be shown; *stopped if a stop string is in it. */
static size_t plain_show(const uint8_t *text, size_t len, const char *const *stops, size_t n_stops, bool end,
                         bool *stopped) {
  *stopped = false;
  for (size_t i = 1; i <= len; i++) {
    size_t longest = 0;
    for (size_t k = 0; k < n_stops; k++) {
      size_t n = strlen(stops[k]);
      if (n <= i && n > longest && !memcmp(text + i - n, stops[k], n)) longest = n;
    }
    if (longest) return *stopped = true, i - longest;
  }
  size_t hold = 0;
  for (size_t k = 0; k < n_stops && !end; k++)
    for (size_t n = 1; n < strlen(stops[k]) && n <= len; n++)
      if (n > hold && !memcmp(text + len - n, stops[k], n)) hold = n;
  return len - hold;
}

static void assert_shows(const uint8_t *bytes, size_t len, const char *const *stops, size_t n_stops, bool end,
                         const tri_buf *got, bool got_stopped) {
  uint8_t text[4096];
  bool stopped;
  size_t n = plain_decode(bytes, len, end, text);
  n = plain_show(text, n, stops, n_stops, end, &stopped);
  assert_int_equal(got->len, n);
  if (n) assert_memory_equal(got->data, text, n);
  assert_int_equal(got_stopped, stopped);
}

/* Push ids and compare with the plain way after each of them. */
static void assert_streams(const int32_t *ids, size_t n, const char *const *stops, size_t n_stops) {
  tri_stream *s;
  tri_buf out = {0}, bytes = {0};
  bool stopped = false;
  assert_ok(tri_stream_open(&s, t, stops, n_stops, &err), err);
  for (size_t i = 0; i < n; i++) {
    tri_str piece = tri_tokenizer_piece(t, ids[i], false);
    tri_buf_append(&bytes, piece.data, piece.len);
    assert_ok(tri_stream_push(s, ids[i], &out, &stopped), err);
    assert_shows(bytes.data, bytes.len, stops, n_stops, false, &out, stopped);
  }
  assert_ok(tri_stream_finish(s, &out), err);
  bool at_end; /* finish has no way to say it, and no need to */
  uint8_t text[4096];
  plain_show(text, plain_decode(bytes.data, bytes.len, true, text), stops, n_stops, true, &at_end);
  assert_shows(bytes.data, bytes.len, stops, n_stops, true, &out, at_end);
  tri_buf_free(&out);
  tri_buf_free(&bytes);
  tri_stream_close(&s);
  assert_null(s);
}

static void random_tokens_with_random_stops(void **state) {
  (void)state;
  static const char *const some[] = {"ab",
                                     "aab",
                                     "abab",
                                     "ababa",
                                     "the",
                                     "\xe2\x82\xac",
                                     "\xef\xbf\xbd",
                                     "a",
                                     "b\xe2\x82\xac"
                                     "a",
                                     "aaaaaaab",
                                     " the the",
                                     "<user>",
                                     "\xc3\xa9\xc3\xa9\xc3\xa9x"};
  static const int32_t likely[] = {'a',  'b',  'a',  'b',  256,       257,        258,  259,
                                   260,  261,  262,  263,  264,       265,        266,  0xe2,
                                   0x82, 0xac, 0xc3, 0xa9, 0x9f,      0x98,       0x80, 0xed,
                                   0xa0, 0xf4, 0x90, 0xff, SMALL_BOS, SMALL_USER, ' ',  'x'};
  uint64_t seed = 4242;
  for (int round = 0; round < 20000; round++) {
    const char *stops[4];
    size_t n_stops = test_random(&seed) % 5;
    for (size_t i = 0; i < n_stops; i++)
      stops[i] = some[(test_random(&seed) >> 8) % (sizeof some / sizeof *some)];
    int32_t ids[40];
    size_t n = test_random(&seed) % 40, range = round % 2 ? 6 : sizeof likely / sizeof *likely;
    for (size_t i = 0; i < n; i++) ids[i] = likely[(test_random(&seed) >> 8) % range];
    assert_streams(ids, n, stops, n_stops);
  }
}

static void long_stops_are_held_whole(void **state) {
  (void)state;
  char a[TRI_STREAM_STOP_BYTES + 1], b[TRI_STREAM_STOP_BYTES + 1];
  memset(a, 'a', sizeof a), memset(b, 'a', sizeof b);
  a[TRI_STREAM_STOP_BYTES - 1] = 'b', a[TRI_STREAM_STOP_BYTES] = b[TRI_STREAM_STOP_BYTES] = 0;
  const char *stops[] = {a, b};
  int32_t ids[600];
  for (int i = 0; i < 600; i++) ids[i] = i == 255 || i == 550 ? 'b' : 'a';
  assert_streams(ids, 600, stops, 1);
  assert_streams(ids, 600, stops, 2);
  assert_streams(ids + 256, 344, stops, 1);
  assert_streams(ids + 256, 344, stops, 2);
}

static void nothing_follows_a_stop(void **state) {
  (void)state;
  tri_stream *s;
  tri_buf out = {0};
  bool stopped;
  assert_ok(tri_stream_open(&s, t, (const char *const[]){"he"}, 1, &err), err);
  assert_ok(tri_stream_push(s, 257, &out, &stopped), err); /* "the" */
  assert_true(stopped);
  assert_ok(tri_stream_push(s, 'x', &out, &stopped), err);
  assert_true(stopped);
  assert_ok(tri_stream_finish(s, &out), err);
  assert_string_equal((char *)out.data, "t");
  tri_buf_free(&out);
  tri_stream_close(&s);
}

static void stops_have_limits(void **state) {
  (void)state;
  tri_stream *s = NULL;
  char text[TRI_STREAM_STOP_BYTES + 2];
  memset(text, 'a', sizeof text), text[TRI_STREAM_STOP_BYTES + 1] = 0;
  const char *many[TRI_STREAM_STOPS + 1] = {"a", "a", "a", "a", "a", "a", "a", "a", "a"};
  assert_fails(tri_stream_open(&s, t, (const char *const[]){text}, 1, &err), TRI_E_LIMIT, err, "257 bytes");
  assert_fails(tri_stream_open(&s, t, many, TRI_STREAM_STOPS + 1, &err), TRI_E_LIMIT, err, "9 stop strings");
  assert_fails(tri_stream_open(&s, t, (const char *const[]){"a", ""}, 2, &err), TRI_E_INVALID, err, "empty");
  assert_fails(tri_stream_open(&s, t, (const char *const[]){"a\xe2\x82"}, 1, &err), TRI_E_INVALID, err,
               "byte 1");
  assert_null(s);
  assert_ok(tri_stream_open(&s, t, many, TRI_STREAM_STOPS, &err), err);
  tri_stream_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_tokens_with_random_stops),
      cmocka_unit_test(long_stops_are_held_whole),
      cmocka_unit_test(nothing_follows_a_stop),
      cmocka_unit_test(stops_have_limits),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
