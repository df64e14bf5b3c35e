/* SPDX-License-Identifier: MIT */
#include "cli/eval.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/file.h"
#include "cli/cli.h"
#include "engine/sampler.h"

enum { FILE_BYTES = 1 << 30, MOST_CHOICES = 64 };

/* A line's question. */
typedef struct question {
  tri_buf context;
  const char *choices[MOST_CHOICES]; /* in the line's document */
  size_t n, label;
} question;

typedef struct scorer {
  tri_single *s;
  const tri_tokenizer *t;
  tri_sampler *sampler;
  float *logits;      /* [rows, vocab] */
  size_t vocab, rows;
  tri_ids context, whole;
} scorer;

/* --- reading --- */

static const char *text_of(const json_t *doc, const char *key) { return json_string_value(json_object_get(doc, key)); }

/* The right choice's number from its label: a number from 0, the same as a text, or one of `names`, which are ARC's letters or
 * numbers where there are some, else A, B, … */
static bool find_label(const json_t *label, const json_t *names, size_t n, size_t *out) {
  const char *text = json_string_value(label);
  if (json_is_integer(label)) return *out = (size_t)json_integer_value(label), *out < n;
  for (size_t i = 0; text && i < n; i++) {
    const char letter[] = {(char)('A' + i), 0}, *name = names ? json_string_value(json_array_get(names, i)) : letter;
    if (name && strcmp(text, name) == 0) return *out = i, true;
  }
  char *end;
  long value = text ? strtol(text, &end, 10) : -1;
  return text && !names && *text && !*end && value >= 0 && (size_t)value < n && (*out = (size_t)value, true);
}

static tri_status read_question(const json_t *doc, question *q, tri_error *err) {
  const json_t *choices = json_object_get(doc, "choices"), *label = json_object_get(doc, "label"), *names = NULL;
  const char *context = text_of(doc, "context"), *asked = text_of(doc, "question");
  if (!context) context = text_of(doc, "ctx");
  if (!choices) choices = json_object_get(doc, "endings");
  if (json_is_object(choices)) names = json_object_get(choices, "label"), choices = json_object_get(choices, "text");
  if (!label) label = json_object_get(doc, "answerKey");
  tri_buf_clear(&q->context);
  if (context) tri_buf_append(&q->context, context, strlen(context));
  else if (asked) tri_buf_printf(&q->context, "Question: %s\nAnswer:", asked);
  else return tri_status_fail(err, TRI_E_FORMAT, "there is no context, ctx or question");
  q->n = json_array_size(choices);
  if (q->n < 2 || q->n > MOST_CHOICES)
    return tri_status_fail(err, TRI_E_FORMAT, "%zu choices; a list of 2 to %d is expected", q->n, MOST_CHOICES);
  for (size_t i = 0; i < q->n; i++)
    if (!(q->choices[i] = json_string_value(json_array_get(choices, i))) || !*q->choices[i])
      return tri_status_fail(err, TRI_E_FORMAT, "choice %zu is no text, or empty", i);
  if (!find_label(label, names, q->n, &q->label))
    return tri_status_fail(err, TRI_E_FORMAT, "the label names none of the %zu choices", q->n);
  return tri_buf_ok(&q->context) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
}

/* --- scoring --- */

static tri_status encode(scorer *x, const char *text, size_t len, tri_ids *out, tri_error *err) {
  out->len = 0;
  tri_status status = tri_tokenizer_adds_bos(x->t) ? tri_ids_push(out, tri_tokenizer_bos(x->t)) : TRI_OK;
  return status == TRI_OK ? tri_tokenizer_encode(x->t, text, len, false, out, err) : tri_status_fail(err, status, "out of memory");
}

/* Context and choice as one text, with a blank between them unless there is one; *from is the choice's first token, where the
 * tokens stop being the context's own. */
static tri_status join(scorer *x, const question *q, size_t choice, size_t *from, tri_error *err) {
  tri_buf text = {0};
  const char *end = (const char *)q->context.data + q->context.len;
  bool apart = !q->context.len || end[-1] == ' ' || end[-1] == '\n' || q->choices[choice][0] == ' ';
  tri_buf_append(&text, q->context.data, q->context.len);
  tri_buf_printf(&text, "%s%s", apart ? "" : " ", q->choices[choice]);
  tri_status status = tri_buf_ok(&text) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = encode(x, (const char *)text.data, text.len, &x->whole, err);
  tri_buf_free(&text);
  if (status != TRI_OK) return status;
  size_t same = 0;
  while (same < x->context.len && same + 1 < x->whole.len && x->context.data[same] == x->whole.data[same]) same++;
  *from = same;
  int32_t most = tri_stage_get_spec(x->s->stage)->context;
  if (!same) return tri_status_fail(err, TRI_E_FORMAT, "nothing stands before choice %zu that it could be predicted from", choice);
  if (x->whole.len > (size_t)most)
    return tri_status_fail(err, TRI_E_LIMIT, "choice %zu and its context have %zu tokens, more than the context of %d", choice,
                           x->whole.len, most);
  return TRI_OK;
}

/* log p of the tokens from `from` on. The `there` tokens before are in the cache. */
static tri_status sum_logprobs(scorer *x, size_t there, size_t from, double *out, tri_error *err) {
  const int32_t *ids = x->whole.data;
  tri_status status = from - 1 > there ? tri_single_feed(x->s, 0, (int32_t)there, ids + there, from - 1 - there, NULL, err) : TRI_OK;
  *out = 0;
  for (size_t i = from - 1, n; status == TRI_OK && i + 1 < x->whole.len; i += n) {
    n = x->whole.len - 1 - i < x->rows ? x->whole.len - 1 - i : x->rows;
    status = tri_single_feed_all(x->s, 0, (int32_t)i, ids + i, n, x->logits, err);
    for (size_t r = 0; status == TRI_OK && r < n; r++)
      *out += (double)tri_sampler_logprob(x->sampler, x->logits + r * x->vocab, ids[i + r + 1]);
  }
  return status;
}

static size_t characters(const char *text) {
  size_t n = 0;
  for (; *text; text++) n += (*text & 0xc0) != 0x80;
  return n;
}

/* The context is computed once: a choice's tokens overwrite those of the one before. */
static tri_status score_question(scorer *x, const question *q, tri_choices *c, tri_error *err) {
  double best = -INFINITY, best_by_length = -INFINITY;
  size_t likeliest = 0, likeliest_by_length = 0, there = 0, from;
  tri_status status = encode(x, (const char *)q->context.data, q->context.len, &x->context, err);
  for (size_t i = 0; status == TRI_OK && i < q->n; i++) {
    double sum;
    status = join(x, q, i, &from, err);
    if (status == TRI_OK) status = sum_logprobs(x, there < from ? there : from - 1, from, &sum, err);
    if (status != TRI_OK) break;
    there = from - 1;
    double by_length = sum / (double)characters(q->choices[i]);
    if (sum > best) best = sum, likeliest = i;
    if (by_length > best_by_length) best_by_length = by_length, likeliest_by_length = i;
  }
  if (status != TRI_OK) return status;
  c->questions++, c->right += likeliest == q->label, c->right_by_length += likeliest_by_length == q->label;
  return TRI_OK;
}

static tri_status score_line(scorer *x, const char *line, size_t len, question *q, tri_choices *c, tri_error *err) {
  json_error_t why;
  json_t *doc = json_loadb(line, len, 0, &why);
  tri_status status = doc ? read_question(doc, q, err) : tri_status_fail(err, TRI_E_FORMAT, "no JSON: %s", why.text);
  if (status == TRI_OK) status = score_question(x, q, c, err);
  json_decref(doc);
  return status;
}

static tri_status score_lines(scorer *x, const char *path, const tri_buf *text, size_t most, tri_choices *c, void *progress,
                              tri_error *err) {
  const char *at = (const char *)text->data, *end = at + text->len;
  question q = {0};
  tri_status status = TRI_OK;
  for (size_t line = 1; status == TRI_OK && at < end && (!most || c->questions < most); line++) {
    const char *next = memchr(at, '\n', (size_t)(end - at));
    size_t len = (size_t)((next ? next : end) - at);
    if (strspn(at, " \t\r") < len) status = score_line(x, at, len, &q, c, err);
    if (status != TRI_OK) tri_status_prefix(err, status, "%s: line %zu", path, line);
    at += len + (next != NULL);
    if (most) tri_progress_update(progress, c->questions, most);
    else tri_progress_update(progress, (uint64_t)(at - (const char *)text->data), text->len);
  }
  tri_buf_free(&q.context);
  if (status == TRI_OK && !c->questions) return tri_status_fail(err, TRI_E_FORMAT, "%s: no questions", path);
  return status;
}

tri_status tri_choices_score(tri_choices *c, const char *path, size_t most, tri_single *s, const tri_tokenizer *t, void *progress,
                             tri_error *err) {
  tri_buf text = {0};
  scorer x = {.s = s, .t = t, .vocab = (size_t)tri_model_shape(s->model)->vocab, .rows = TRI_PANEL_ROWS};
  tri_status status = tri_file_read(&text, path, FILE_BYTES, err);
  if (status == TRI_OK) status = tri_sampler_create(&x.sampler, x.vocab, s->kernels, err);
  x.logits = malloc(x.rows * x.vocab * sizeof *x.logits);
  if (status == TRI_OK && !x.logits) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = score_lines(&x, path, &text, most, c, progress, err);
  tri_sampler_destroy(&x.sampler);
  tri_ids_free(&x.context), tri_ids_free(&x.whole);
  tri_buf_free(&text);
  free(x.logits);
  return status;
}
