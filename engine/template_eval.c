/* SPDX-License-Identifier: MIT */
#include "engine/show.h"
#include "engine/template_impl.h"

/* Expressions. */

enum { DEEPEST = 200 };

#define FAIL(r, status, n, ...) template_fail(&(r)->fail, status, (n)->line, __VA_ARGS__)

static const value undefined = {.type = V_UNDEFINED};

static value boolean(bool b) { return template_number(V_BOOL, b); }
static bool is_number(const value *v) { return v->type == V_INT || v->type == V_BOOL; }

static value look_up(const renderer *r, tri_str name) {
  for (const scope *s = r->scope; s; s = s->outer) {
    const value *v = template_get(&s->names, name);
    if (v) return *v;
  }
  return undefined;
}

/* --- comparisons --- */

static void enter(renderer *r, const node *n) {
  template_step(r, n->line);
  if (++r->depth > DEEPEST) FAIL(r, TRI_E_LIMIT, n, "more than %d levels", DEEPEST);
}

static bool equal(renderer *r, const node *n, const value *a, const value *b);

static bool equal_lists(renderer *r, const node *n, const value *a, const value *b) {
  bool same = a->n == b->n;
  enter(r, n);
  for (size_t i = 0; i < a->n && same; i++) same = equal(r, n, &a->items[i], &b->items[i]);
  r->depth--;
  return same;
}

static bool equal(renderer *r, const node *n, const value *a, const value *b) {
  template_step(r, n->line);
  if (is_number(a) && is_number(b)) return a->number == b->number;
  if (a->type != b->type) return false;
  switch (a->type) {
  case V_STRING: return a->n == b->n && (!a->n || memcmp(a->text, b->text, a->n) == 0);
  case V_LIST: return equal_lists(r, n, a, b);
  case V_DICT: return a->dict == b->dict;
  default: return true;
  }
}

static bool contains(renderer *r, const node *n, const value *what, const value *in) {
  if (in->type == V_STRING && what->type == V_STRING) return !what->n || memmem(in->text, in->n, what->text, what->n);
  if (in->type == V_DICT && what->type == V_STRING) return template_get(in->dict, (tri_str){what->text, what->n});
  if (in->type != V_LIST) FAIL(r, TRI_E_UNSUPPORTED, n, "'in' something that is no list, dict or string");
  for (size_t i = 0; i < in->n; i++)
    if (equal(r, n, what, &in->items[i])) return true;
  return false;
}

static int order(renderer *r, const node *n, const value *a, const value *b) {
  if (!is_number(a) || !is_number(b)) FAIL(r, TRI_E_UNSUPPORTED, n, "an order of things that are no numbers");
  return (a->number > b->number) - (a->number < b->number);
}

/* --- operators --- */

static value add(renderer *r, const node *n, const value *a, const value *b) {
  if (a->type == V_STRING && b->type == V_STRING) return template_concat(r, a, b, n->line);
  if (a->type != V_LIST || b->type != V_LIST)
    FAIL(r, TRI_E_FORMAT, n, "'+' of %s", a->type == V_UNDEFINED || b->type == V_UNDEFINED ? "something undefined" : "things of two kinds");
  value out = {.type = V_LIST, .n = a->n + b->n};
  out.items = template_take(r, (out.n ? out.n : 1) * sizeof(value), n->line);
  if (a->n) memcpy(out.items, a->items, a->n * sizeof(value));
  if (b->n) memcpy(out.items + a->n, b->items, b->n * sizeof(value));
  return out;
}

/* Python's, whose remainder has the divisor's sign. */
static int64_t divide(renderer *r, const node *n, int64_t a, int64_t b, bool remainder) {
  if (!b) FAIL(r, TRI_E_FORMAT, n, "a division by zero");
  if (b == -1) return remainder ? 0 : (int64_t)(0 - (uint64_t)a);
  int64_t q = a / b, rest = a % b;
  if (rest && (rest < 0) != (b < 0)) q--, rest += b;
  return remainder ? rest : q;
}

static value arithmetic(renderer *r, const node *n, const value *a, const value *b) {
  if (!is_number(a) || !is_number(b)) {
    if (n->op == OP_ADD) return add(r, n, a, b);
    FAIL(r, TRI_E_UNSUPPORTED, n, "arithmetic with things that are no numbers");
  }
  uint64_t x = (uint64_t)a->number, y = (uint64_t)b->number; /* wraps round, where Python's would grow */
  switch (n->op) {
  case OP_ADD: return template_number(V_INT, (int64_t)(x + y));
  case OP_SUB: return template_number(V_INT, (int64_t)(x - y));
  case OP_MUL: return template_number(V_INT, (int64_t)(x * y));
  default: return template_number(V_INT, divide(r, n, a->number, b->number, n->op == OP_MOD));
  }
}

static value binary(renderer *r, const node *n) {
  value a = template_eval(r, n->a);
  if (n->op == OP_OR) return template_true(&a) ? a : template_eval(r, n->b);
  if (n->op == OP_AND) return template_true(&a) ? template_eval(r, n->b) : a;
  value b = template_eval(r, n->b);
  switch (n->op) {
  case OP_EQ: return boolean(equal(r, n, &a, &b));
  case OP_NE: return boolean(!equal(r, n, &a, &b));
  case OP_LT: return boolean(order(r, n, &a, &b) < 0);
  case OP_GT: return boolean(order(r, n, &a, &b) > 0);
  case OP_LE: return boolean(order(r, n, &a, &b) <= 0);
  case OP_GE: return boolean(order(r, n, &a, &b) >= 0);
  case OP_IN: return boolean(contains(r, n, &a, &b));
  case OP_NOT_IN: return boolean(!contains(r, n, &a, &b));
  case OP_JOIN: a = template_text(r, &a, n->line), b = template_text(r, &b, n->line); return template_concat(r, &a, &b, n->line);
  default: return arithmetic(r, n, &a, &b);
  }
}

static value unary(renderer *r, const node *n) {
  value a = template_eval(r, n->a);
  if (n->op == OP_NOT) return boolean(!template_true(&a));
  if (!is_number(&a)) FAIL(r, TRI_E_UNSUPPORTED, n, "'-' of something that is no number");
  return template_number(V_INT, (int64_t)(0 - (uint64_t)a.number));
}

/* --- parts of things --- */

static value index_of(renderer *r, const node *n) {
  value of = template_eval(r, n->a), at = template_eval(r, n->b);
  if (of.type == V_DICT && at.type == V_STRING) {
    const value *v = template_get(of.dict, (tri_str){at.text, at.n});
    return v ? *v : undefined;
  }
  if (of.type != V_LIST || !is_number(&at)) FAIL(r, TRI_E_UNSUPPORTED, n, "a subscript that is neither of a list nor of a dict");
  int64_t i = at.number < 0 ? at.number + (int64_t)of.n : at.number;
  return i >= 0 && i < (int64_t)of.n ? of.items[i] : undefined;
}

/* An end of a slice, within [0, n]. */
static int64_t bound(renderer *r, const node *at, int64_t n, int64_t otherwise) {
  if (!at) return otherwise;
  value v = template_eval(r, at);
  if (!is_number(&v)) FAIL(r, TRI_E_UNSUPPORTED, at, "a slice by something that is no number");
  int64_t i = v.number < 0 ? v.number + n : v.number;
  return i < 0 ? 0 : i > n ? n : i;
}

static value slice(renderer *r, const node *n) {
  value of = template_eval(r, n->a), step = n->list ? template_eval(r, n->list) : template_number(V_INT, 1);
  bool back = is_number(&step) && step.number == -1 && !n->b && !n->c;
  if (of.type != V_LIST || !is_number(&step) || (step.number != 1 && !back))
    FAIL(r, TRI_E_UNSUPPORTED, n, "a slice that is not of a list, or in other steps than 1 or all of it backwards");
  int64_t from = bound(r, n->b, (int64_t)of.n, 0), to = bound(r, n->c, (int64_t)of.n, (int64_t)of.n);
  value out = {.type = V_LIST, .items = of.items + from, .n = from < to ? (size_t)(to - from) : 0};
  if (!back) return out;
  out.items = template_take(r, (of.n ? of.n : 1) * sizeof(value), n->line);
  for (size_t i = 0; i < of.n; i++) out.items[i] = of.items[of.n - 1 - i];
  return out;
}

/* --- calls, filters, tests --- */

enum { MOST_ARGUMENTS = 8 };

/* Those without a name; named ones go into *named, where there is one. */
static size_t arguments(renderer *r, const node *list, value out[MOST_ARGUMENTS], dict *named) {
  size_t n = 0;
  for (const node *a = list; a; a = a->next) {
    if (a->type == N_KEYWORD && named) template_set(r, named, a->text, template_eval(r, a->a), a->line);
    else if (n == MOST_ARGUMENTS) FAIL(r, TRI_E_UNSUPPORTED, a, "more than %d arguments", MOST_ARGUMENTS);
    else out[n++] = template_eval(r, a->type == N_KEYWORD ? a->a : a);
  }
  return n;
}

static value range(renderer *r, const node *n, const value *args, size_t n_args) {
  bool sound = n_args == 1 || n_args == 2;
  for (size_t i = 0; i < n_args; i++) sound = sound && is_number(&args[i]);
  int64_t from = sound && n_args == 2 ? args[0].number : 0, to = sound ? args[n_args - 1].number : 0;
  if (!sound || from < 0 || to > TRI_TEMPLATE_STEPS) FAIL(r, TRI_E_UNSUPPORTED, n, "a range that is not of one or two small numbers");
  value out = {.type = V_LIST, .n = to > from ? (size_t)(to - from) : 0};
  out.items = template_take(r, (out.n ? out.n : 1) * sizeof(value), n->line);
  for (size_t i = 0; i < out.n; i++) out.items[i] = template_number(V_INT, from + (int64_t)i);
  return out;
}

static value call(renderer *r, const node *n) {
  value args[MOST_ARGUMENTS];
  const node *what = n->a;
  if (what->type == N_ATTRIBUTE) {
    value of = template_eval(r, what->a);
    size_t n_args = arguments(r, n->list, args, NULL);
    return template_apply(r, n, what->text, of, args, n_args);
  }
  value v = {.type = V_DICT, .dict = template_take(r, sizeof(dict), n->line)};
  size_t n_args = arguments(r, n->list, args, v.dict);
  bool named = what->type == N_NAME;
  if (named && template_is(what->text, "namespace")) return v.dict->open = true, v;
  if (named && template_is(what->text, "range")) return range(r, n, args, n_args);
  if (named && template_is(what->text, "raise_exception") && n_args == 1 && args[0].type == V_STRING)
    FAIL(r, TRI_E_INVALID, n, "the template refuses these messages: %s", TRI_SHOW(((tri_str){args[0].text, args[0].n})));
  FAIL(r, TRI_E_UNSUPPORTED, n, "a call of \"%s\"", TRI_SHOW(what->text));
}

static value test(renderer *r, const node *n) {
  value v = template_eval(r, n->a);
  const struct { const char *name; bool is; } tests[] = {
      {"defined", v.type != V_UNDEFINED}, {"undefined", v.type == V_UNDEFINED}, {"none", v.type == V_NONE}, {"string", v.type == V_STRING},
      {"mapping", v.type == V_DICT}, {"iterable", v.type == V_LIST || v.type == V_STRING || v.type == V_DICT},
      {"sequence", v.type == V_LIST || v.type == V_STRING}, {"number", is_number(&v)}, {"boolean", v.type == V_BOOL},
      {"true", v.type == V_BOOL && v.number}, {"false", v.type == V_BOOL && !v.number}};
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
    if (template_is(n->text, tests[i].name)) return boolean(tests[i].is != (bool)n->number);
  FAIL(r, TRI_E_UNSUPPORTED, n, "a test \"is %s\"", TRI_SHOW(n->text));
}

/* --- all of them --- */

static value list_of(renderer *r, const node *n) {
  value out = {.type = V_LIST};
  for (const node *i = n->list; i; i = i->next) out.n++;
  out.items = template_take(r, (out.n ? out.n : 1) * sizeof(value), n->line);
  value *to = out.items;
  for (const node *i = n->list; i; i = i->next) *to++ = template_eval(r, i);
  return out;
}

static value dict_of(renderer *r, const node *n) {
  value out = {.type = V_DICT, .dict = template_take(r, sizeof(dict), n->line)};
  for (const node *i = n->list; i; i = i->next->next) {
    value key = template_eval(r, i);
    if (key.type != V_STRING) FAIL(r, TRI_E_UNSUPPORTED, i, "a key that is no string");
    template_set(r, out.dict, (tri_str){key.text, key.n}, template_eval(r, i->next), i->line);
  }
  return out;
}

static value eval(renderer *r, const node *n) {
  value a;
  value args[MOST_ARGUMENTS];
  switch (n->type) {
  case N_STRING: return template_string(n->text);
  case N_INT: return template_number(V_INT, n->number);
  case N_BOOL: return boolean(n->number);
  case N_NONE: return (value){.type = V_NONE};
  case N_NAME: return look_up(r, n->text);
  case N_LIST: return list_of(r, n);
  case N_DICT: return dict_of(r, n);
  case N_INDEX: return index_of(r, n);
  case N_SLICE: return slice(r, n);
  case N_CALL: return call(r, n);
  case N_TEST: return test(r, n);
  case N_UNARY: return unary(r, n);
  case N_BINARY: return binary(r, n);
  case N_ATTRIBUTE:
    a = template_eval(r, n->a);
    if (a.type == V_UNDEFINED) FAIL(r, TRI_E_FORMAT, n, "\"%s\" of something undefined", TRI_SHOW(n->text));
    const value *found = a.type == V_DICT ? template_get(a.dict, n->text) : NULL;
    return found ? *found : undefined;
  case N_FILTER:
    a = template_eval(r, n->a);
    size_t n_args = arguments(r, n->list, args, NULL);
    return template_apply(r, n, n->text, a, args, n_args);
  case N_CHOICE:
    a = template_eval(r, n->b);
    return template_true(&a) ? template_eval(r, n->a) : n->c ? template_eval(r, n->c) : undefined;
  default: FAIL(r, TRI_E_FORMAT, n, "a name with a value is not expected there");
  }
}

value template_eval(renderer *r, const node *n) {
  enter(r, n);
  value v = eval(r, n);
  r->depth--;
  return v;
}
