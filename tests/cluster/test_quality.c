/* SPDX-License-Identifier: MIT */
/* What `trireme eval` and `trireme compare` print, against sums taken here from the engine's logits by other formulas. */
#include "tests/cluster/lab.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "engine/single.h"
#include "tests/npy.h"

enum { WINDOW = 32, TEXT_BYTES = 2000 /* enough, and soon read */ };

static tri_error err;
static tri_single single;
static const tri_tokenizer *tokenizer;
static size_t vocab;
static char text_path[] = "/tmp/trireme-text-XXXXXX"; /* the beginning of the validation text */
static tri_ids ids; /* of the text */
static float *logits; /* [WINDOW, vocab] */

static int prepare(void **state) {
  tri_buf text = {0};
  if (lab_begin(state) != 0) return -1;
  tri_single_options o = {.threads = 1, .context = LAB_CONTEXT, .kv_type = TRI_F16};
  if (tri_single_open(&single, LAB_MODEL, &o, &err) != TRI_OK) return print_error("%s\n", err.text), -1;
  tokenizer = tri_model_tokenizer(single.model);
  vocab = (size_t)tri_model_shape(single.model)->vocab;
  logits = malloc(WINDOW * vocab * sizeof *logits);
  assert_ok(tri_file_read(&text, TRIREME_FIXTURES "/valid.txt", 1 << 24, &err), err);
  int fd = mkstemp(text_path);
  assert_int_equal(write(fd, text.data, TEXT_BYTES), TEXT_BYTES);
  close(fd);
  assert_ok(tri_tokenizer_encode(tokenizer, (char *)text.data, TEXT_BYTES, false, &ids, &err), err);
  tri_buf_free(&text);
  return 0;
}
static int clean_up(void **state) {
  free(logits);
  unlink(text_path);
  tri_ids_free(&ids);
  tri_single_close(&single);
  return lab_end(state);
}

static double number_of(const json_t *doc, const char *key) { return json_number_value(json_object_get(doc, key)); }
static void near(double got, double want, double within, const char *what) {
  if (!(fabs(got - want) <= within)) fail_msg("%s: %.9f, not %.9f", what, got, want);
}

/* -log softmax(z)[token], without taking the largest off first: these logits are small. */
static double loss_of(const float *z, int32_t token) {
  long double sum = 0;
  for (size_t i = 0; i < vocab; i++) sum += expl((long double)z[i]);
  return (double)(logl(sum) - (long double)z[token]);
}

/* --- eval --- */

/* The losses of a window's predictions from `from` on, appended. */
static size_t window_losses(const int32_t *text, int32_t bos, size_t from, double *out) {
  int32_t window[WINDOW];
  memcpy(window, text, sizeof window);
  if (bos >= 0) window[0] = bos;
  assert_ok(tri_single_feed_all(&single, 0, 0, window, WINDOW, logits, &err), err);
  for (size_t i = from; i + 1 < WINDOW; i++) *out++ = loss_of(logits + i * vocab, window[i + 1]);
  return WINDOW - 1 - from;
}

/* The mean and its error, in two passes. */
static void check_eval(const char *const *options, size_t n_options, const double *losses, size_t n) {
  const char *argv[32] = {"trireme", "eval", "-m", LAB_MODEL, "--text", text_path, "-c", "32", "--windows", "2", "-t", "1", "--json"};
  memcpy(argv + 13, options, n_options * sizeof *options);
  json_t *doc = lab_json(argv);
  double mean = 0, variance = 0;
  for (size_t i = 0; i < n; i++) mean += losses[i] / (double)n;
  for (size_t i = 0; i < n; i++) variance += (losses[i] - mean) * (losses[i] - mean) / (double)(n - 1);
  double error = sqrt(variance / (double)n);
  assert_int_equal(number_of(doc, "predicted_tokens"), n);
  near(number_of(doc, "nll_per_token"), mean, 1e-5, "NLL");
  near(number_of(doc, "nll_error"), error, 1e-5, "its error");
  near(number_of(doc, "perplexity"), exp(mean), 1e-3, "perplexity");
  near(number_of(doc, "perplexity_error"), error * exp(mean), 1e-3, "its error");
  json_decref(doc);
}

static void eval_counts_as_its_methods_say(void **state) {
  (void)state;
  double losses[2 * WINDOW];
  size_t n = 0;
  for (size_t w = 0; w < 2; w++) n += window_losses(ids.data + w * WINDOW, -1, 0, losses + n);
  check_eval((const char *[]){"--method", "bitnet"}, 2, losses, n);
  /* each token once, with at least 20 before it but in the first window */
  n = 0;
  for (size_t w = 0; w < 2; w++) n += window_losses(ids.data + w * 12, -1, w ? WINDOW - 1 - 12 : 0, losses + n);
  check_eval((const char *[]){"--stride", "12"}, 2, losses, n);
  check_eval((const char *[]){"--stride", "12", "-w", "2", "--wire", "f32"}, 6, losses, n);
  /* llama.cpp: BOS before the text, and then in place of each window's first token; the second half of each */
  n = 0;
  int32_t bos = tri_tokenizer_bos(tokenizer), *text = malloc((ids.len + 1) * sizeof *text);
  text[0] = bos;
  memcpy(text + 1, ids.data, ids.len * sizeof *text);
  for (size_t w = 0; w < 2; w++) n += window_losses(text + w * WINDOW, bos, WINDOW / 2, losses + n);
  assert_int_equal(n, 2 * (WINDOW - WINDOW / 2 - 1));
  check_eval((const char *[]){"--method", "llama.cpp"}, 2, losses, n);
  free(text);
}

/* The loss that another program (transformers, float32) has on its own prompts, from the logits that it left. */
static void eval_agrees_with_the_reference_logits(void **state) {
  (void)state;
  const char *folder = TRIREME_FIXTURES "/story-bitnet";
  char path[PATH_MAX], text[] = "/tmp/trireme-prompt-XXXXXX", ctx[16];
  snprintf(path, sizeof path, "%s/refs.json", folder);
  json_t *refs = json_load_file(path, JSON_ALLOW_NUL, NULL), *item;
  int fd = mkstemp(text), checked = 0;
  size_t p;
  assert_non_null(refs);
  json_array_foreach(json_object_get(refs, "prompts"), p, item) {
    const json_t *said = json_object_get(item, "text"), *tokens = json_object_get(item, "ids");
    size_t n = json_array_size(tokens), count = 0;
    if (!json_is_string(json_object_get(item, "logits"))) continue;
    snprintf(path, sizeof path, "%s/%s", folder, json_string_value(json_object_get(item, "logits")));
    float *reference = npy_load(path, &count);
    assert_int_equal(count, n * vocab);
    double want = 0;
    for (size_t i = 0; i + 1 < n; i++)
      want += loss_of(reference + i * vocab, (int32_t)json_integer_value(json_array_get(tokens, i + 1))) / (double)(n - 1);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, json_string_value(said), json_string_length(said), 0), json_string_length(said));
    snprintf(ctx, sizeof ctx, "%zu", n);
    json_t *doc = lab_json((const char *[]){"trireme", "eval", "-m", LAB_MODEL, "--text", text, "-c", ctx, "--bos", "-t", "1", "--json",
                                            NULL});
    print_message("%zu tokens: %.4f, the reference %.4f\n", n, number_of(doc, "nll_per_token"), want);
    assert_int_equal(number_of(doc, "predicted_tokens"), n - 1);
    near(number_of(doc, "nll_per_token"), want, 0.02, "NLL of a prompt");
    json_decref(doc);
    free(reference);
    checked++;
  }
  assert_int_equal(checked, 3);
  json_decref(refs);
  close(fd);
  unlink(text);
}

/* --- choices --- */

static const struct { const char *line, *context, *choices[4]; size_t n, label; } questions[] = {
    {"{\"context\": \"Once upon a\", \"choices\": [\"king\", \"time\", \"time there was a king\"], \"label\": 1}", "Once upon a",
     {"king", "time", "time there was a king"}, 3, 1},
    {"{\"ctx\": \"The old king sat on his \", \"endings\": [\"throne, and\", \"xylophone\"], \"label\": \"0\"}", "The old king sat on his ",
     {"throne, and", "xylophone"}, 2, 0},
    {"{\"question\": \"Who?\", \"choices\": {\"text\": [\"The princess of the land\", \"He\", \"\xc3\xa9t\xc3\xa9\"], "
     "\"label\": [\"A\", \"B\", \"C\"]}, \"answerKey\": \"C\"}", "Question: Who?\nAnswer:",
     {"The princess of the land", "He", "\xc3\xa9t\xc3\xa9"}, 3, 2},
    {"{\"context\": \"He said\", \"choices\": [\"no\", \" that he would go and see the king\"], \"label\": \"B\"}", "He said",
     {"no", " that he would go and see the king"}, 2, 1},
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

/* log p of the choice after the context, from one pass over both. */
static double plain_score(const char *context, const char *choice) {
  char text[256];
  tri_ids whole = {0}, alone = {0};
  double sum = 0;
  bool blank = choice[0] != ' ' && context[strlen(context) - 1] != ' ';
  snprintf(text, sizeof text, "%s%s%s", context, blank ? " " : "", choice);
  if (tri_tokenizer_adds_bos(tokenizer)) {
    assert_ok(tri_ids_push(&whole, tri_tokenizer_bos(tokenizer)), err);
    assert_ok(tri_ids_push(&alone, tri_tokenizer_bos(tokenizer)), err);
  }
  assert_ok(tri_tokenizer_encode(tokenizer, text, strlen(text), false, &whole, &err), err);
  assert_ok(tri_tokenizer_encode(tokenizer, context, strlen(context), false, &alone, &err), err);
  assert_true(whole.len <= WINDOW);
  assert_ok(tri_single_feed_all(&single, 0, 0, whole.data, whole.len, logits, &err), err);
  size_t from = 0;
  while (from < alone.len && alone.data[from] == whole.data[from]) from++;
  for (size_t i = from; i < whole.len; i++) sum -= loss_of(logits + (i - 1) * vocab, whole.data[i]);
  tri_ids_free(&whole), tri_ids_free(&alone);
  return sum;
}

static size_t length_of(const char *text) {
  size_t n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
  return n;
}

static void choices_are_those_of_the_likeliest_continuation(void **state) {
  (void)state;
  char path[] = "/tmp/trireme-choices-XXXXXX";
  int fd = mkstemp(path);
  double right = 0, right_by_length = 0;
  for (size_t q = 0; q < QUESTIONS; q++) {
    double best = -INFINITY, best_by_length = -INFINITY;
    size_t likeliest = 0, by_length = 0;
    dprintf(fd, "%s\n%s", questions[q].line, q == 1 ? "\n" : ""); /* an empty line is none */
    for (size_t i = 0; i < questions[q].n; i++) {
      double sum = plain_score(questions[q].context, questions[q].choices[i]), each = sum / (double)length_of(questions[q].choices[i]);
      if (sum > best) best = sum, likeliest = i;
      if (each > best_by_length) best_by_length = each, by_length = i;
    }
    right += likeliest == questions[q].label, right_by_length += by_length == questions[q].label;
  }
  json_t *doc = lab_json((const char *[]){"trireme", "eval", "-m", LAB_MODEL, "--choices", path, "-t", "1", "--json", NULL});
  assert_int_equal(number_of(doc, "questions"), QUESTIONS);
  near(number_of(doc, "accuracy"), right / QUESTIONS, 1e-9, "accuracy");
  near(number_of(doc, "accuracy_by_length"), right_by_length / QUESTIONS, 1e-9, "accuracy by length");
  assert_true(right != right_by_length); /* else the two could be one */
  json_decref(doc);
  static const struct { const char *line, *part; } wrong[] = {
      {"{\"context\": \"x\"", "line 5: no JSON"}, {"{}", "line 5: there is no context"},
      {"{\"context\": \"x\", \"choices\": [\"a\"], \"label\": 0}", "line 5: 1 choices"},
      {"{\"context\": \"x\", \"choices\": [\"a\", 5], \"label\": 0}", "line 5: choice 1 is no text"},
      {"{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"label\": 2}", "line 5: the label names none"}};
  off_t end = lseek(fd, 0, SEEK_CUR) - (off_t)strlen(questions[QUESTIONS - 1].line) - 1;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    tri_buf said = {0};
    assert_int_equal(ftruncate(fd, end), 0);
    assert_int_equal(lseek(fd, end, SEEK_SET), end);
    dprintf(fd, "%s\n", wrong[i].line);
    assert_int_equal(lab_program((const char *[]){"trireme", "eval", "-m", LAB_MODEL, "--choices", path, "-t", "1", NULL}, &said), 3);
    if (!strstr((char *)said.data, wrong[i].part)) fail_msg("no '%s' in: %s", wrong[i].part, (char *)said.data);
    tri_buf_free(&said);
  }
  close(fd);
  unlink(path);
}

/* --- compare --- */

static float *logits_with(tri_ftype kv) {
  tri_single s;
  tri_single_options o = {.threads = 1, .context = WINDOW, .kv_type = kv};
  float *out = malloc(WINDOW * vocab * sizeof *out);
  assert_ok(tri_single_open(&s, LAB_MODEL, &o, &err), err);
  assert_ok(tri_single_feed_all(&s, 0, 0, ids.data, WINDOW, out, &err), err);
  tri_single_close(&s);
  return out;
}

static void compare_is_what_the_logits_say(void **state) {
  (void)state;
  float *a = logits_with(TRI_F32), *b = logits_with(TRI_INT8);
  double kl = 0, most = 0, nll[2] = {0}, same = 0, n = WINDOW - 1;
  for (size_t r = 0; r < WINDOW - 1; r++) {
    const float *x = a + r * vocab, *y = b + r * vocab;
    size_t top[2] = {0};
    double p = loss_of(x, 0) + (double)x[0], q = loss_of(y, 0) + (double)y[0]; /* logs of the sums of exp */
    for (size_t k = 0; k < vocab; k++) {
      kl += exp((double)x[k] - p) * (((double)x[k] - p) - ((double)y[k] - q)) / n;
      most = fmax(most, fabs((double)x[k] - (double)y[k]));
      if (x[k] > x[top[0]]) top[0] = k;
      if (y[k] > y[top[1]]) top[1] = k;
    }
    same += (top[0] == top[1]) / n;
    nll[0] += loss_of(x, ids.data[r + 1]) / n, nll[1] += loss_of(y, ids.data[r + 1]) / n;
  }
  json_t *doc = lab_json((const char *[]){"trireme", "compare", LAB_MODEL, LAB_MODEL, "--text", text_path, "-c", "32", "--windows", "1",
                                          "-t", "1", "--a-kv", "f32", "--b-kv", "int8", "--json", NULL});
  assert_true(kl > 1e-6);
  near(number_of(doc, "mean_kl"), kl, kl * 1e-6, "KL");
  near(number_of(doc, "max_logit_difference"), most, 1e-9, "difference");
  near(number_of(doc, "same_top"), same, 1e-9, "agreement");
  near(number_of(json_object_get(doc, "a"), "nll_per_token"), nll[0], 1e-7, "NLL of A");
  near(number_of(json_object_get(doc, "b"), "nll_per_token"), nll[1], 1e-7, "NLL of B");
  assert_int_equal(number_of(doc, "predictions"), n);
  json_decref(doc);
  free(a), free(b);
}

/* Cut with float32 between the stages nothing changes, and with INT8 what a cluster's own loss says. */
static void compare_knows_what_a_wire_costs(void **state) {
  (void)state;
  const char *argv[] = {"trireme", "compare", LAB_MODEL, "--text", text_path, "-c", "32", "--windows", "1", "-t", "1", "--b-wire", "f32",
                        "--json", NULL, NULL, NULL};
  json_t *exact = lab_json(argv);
  argv[12] = "int8";
  json_t *rounded = lab_json(argv);
  json_t *cluster = lab_json((const char *[]){"trireme", "eval", "-m", LAB_MODEL, "--text", text_path, "-c", "32", "--windows", "1", "-t",
                                              "1", "-w", "3", "--wire", "int8", "--json", NULL});
  assert_true(number_of(exact, "mean_kl") == 0 && number_of(exact, "max_logit_difference") == 0 && number_of(exact, "same_top") == 1);
  assert_true(number_of(rounded, "mean_kl") > 0);
  /* the cluster may cut at other layers */
  near(number_of(json_object_get(rounded, "b"), "nll_per_token"), number_of(cluster, "nll_per_token"), 0.1, "NLL over INT8");
  json_decref(exact), json_decref(rounded), json_decref(cluster);
  tri_buf said = {0};
  argv[14] = "--stages", argv[15] = "13";
  assert_int_equal(lab_program(argv, &said), 2);
  assert_non_null(strstr((char *)said.data, "12 layers"));
  tri_buf_free(&said);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(eval_counts_as_its_methods_say),
      cmocka_unit_test(eval_agrees_with_the_reference_logits),
      cmocka_unit_test(choices_are_those_of_the_likeliest_continuation),
      cmocka_unit_test(compare_is_what_the_logits_say),
      cmocka_unit_test(compare_knows_what_a_wire_costs),
  };
  return cmocka_run_group_tests(tests, prepare, clean_up);
}
