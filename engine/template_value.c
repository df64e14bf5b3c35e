/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unictype.h>
#include <unistr.h>

#include "engine/show.h"
#include "engine/template_impl.h"

/* --- memory and failure --- */

struct arena_block {
  struct arena_block *next;
  size_t used, size;
  _Alignas(16) char bytes[];
};

void *arena_take(arena *a, size_t bytes) {
  enum { BLOCK = 16 << 10 };
  bytes = (bytes + 15) & ~(size_t)15;
  if (bytes > a->limit || a->used > a->limit - bytes) return NULL;
  if (!a->blocks || a->blocks->size - a->blocks->used < bytes) {
    size_t size = bytes > BLOCK ? bytes : BLOCK;
    struct arena_block *b = calloc(1, sizeof *b + size);
    if (!b) return NULL;
    b->next = a->blocks, b->size = size, a->blocks = b;
  }
  void *p = a->blocks->bytes + a->blocks->used;
  a->blocks->used += bytes, a->used += bytes;
  return p;
}

void arena_free(arena *a) {
  for (struct arena_block *b; (b = a->blocks);) a->blocks = b->next, free(b);
  a->used = 0;
}

void template_fail(failure *f, tri_status status, int line, const char *fmt, ...) {
  char text[TRI_SHOW_BYTES + 100];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  f->status = tri_status_fail(f->err, status, "chat template, line %d: %s", line, text);
  longjmp(f->out, 1);
}

void *template_take(renderer *r, size_t bytes, int line) {
  void *p = arena_take(&r->arena, bytes);
  if (!p) template_fail(&r->fail, TRI_E_LIMIT, line, "more than %d MiB are needed", TRI_TEMPLATE_MEMORY >> 20);
  return p;
}

void template_step(renderer *r, int line) {
  if (++r->steps > TRI_TEMPLATE_STEPS) template_fail(&r->fail, TRI_E_LIMIT, line, "more than %d steps are needed", TRI_TEMPLATE_STEPS);
}

/* --- values --- */

value template_string(tri_str s) { return (value){.type = V_STRING, .text = s.data, .n = s.len}; }
value template_number(value_type type, int64_t n) { return (value){.type = type, .number = n}; }

const value *template_get(const dict *d, tri_str name) {
  for (const entry *e = d->first; e; e = e->next)
    if (e->name.len == name.len && (!name.len || memcmp(e->name.data, name.data, name.len) == 0)) return &e->v;
  return NULL;
}

void template_set(renderer *r, dict *d, tri_str name, value v, int line) {
  value *known = (value *)template_get(d, name);
  if (known) {
    *known = v;
    return;
  }
  entry *e = template_take(r, sizeof *e, line);
  *e = (entry){.name = name, .v = v};
  if (d->last) d->last->next = e;
  else d->first = e;
  d->last = e;
}

bool template_true(const value *v) {
  switch (v->type) {
  case V_BOOL:
  case V_INT: return v->number != 0;
  case V_STRING:
  case V_LIST: return v->n > 0;
  case V_DICT: return v->dict->first != NULL;
  default: return false;
  }
}

value template_text(renderer *r, const value *v, int line) {
  if (v->type == V_STRING) return *v;
  if (v->type == V_UNDEFINED) return template_string((tri_str){"", 0});
  if (v->type == V_NONE) return template_string((tri_str){"None", 4});
  if (v->type == V_BOOL) return template_string(v->number ? (tri_str){"True", 4} : (tri_str){"False", 5});
  if (v->type != V_INT) template_fail(&r->fail, TRI_E_UNSUPPORTED, line, "a list or a dict as text");
  char *text = template_take(r, 24, line);
  return template_string((tri_str){text, (size_t)snprintf(text, 24, "%lld", (long long)v->number)});
}

/* --- filters and methods --- */

static value part(const value *v, size_t from, size_t to) {
  value out = *v;
  out.text += from, out.n = to - from;
  if (out.plain) out.plain += from;
  return out;
}

/* What Python's str.strip takes: Unicode's White_Space, and the separators U+001C to U+001F. */
static bool is_blank(ucs4_t c) { return uc_is_property_white_space(c) || (c >= 0x1c && c <= 0x1f); }

/* Without a set, blanks; else the characters of that string. */
static bool stripped(ucs4_t c, const value *set) {
  ucs4_t one;
  if (!set) return is_blank(c);
  for (size_t at = 0; at < set->n;) {
    at += (size_t)u8_mbtouc(&one, (const uint8_t *)set->text + at, set->n - at);
    if (one == c) return true;
  }
  return false;
}

static value strip(value v, const value *set, bool left, bool right) {
  const uint8_t *text = (const uint8_t *)v.text;
  size_t from = 0, to = v.n;
  ucs4_t c;
  while (left && from < to) {
    int n = u8_mbtouc(&c, text + from, to - from);
    if (!stripped(c, set)) break;
    from += (size_t)n;
  }
  while (right && from < to) {
    size_t start = to;
    do start--;
    while (start > from && (text[start] & 0xc0) == 0x80);
    u8_mbtouc(&c, text + start, to - start);
    if (!stripped(c, set)) break;
    to = start;
  }
  return part(&v, from, to);
}

/* A string of n bytes to be filled, of which it will be known what comes from a message. */
static value blank_string(renderer *r, size_t n, int line) {
  value v = {.type = V_STRING, .text = template_take(r, n, line), .n = n};
  v.plain = template_take(r, n, line);
  return v;
}

/* Put v at a place of such a string; the place after it. */
static size_t put(value *to, size_t at, const value *v) {
  if (v->n) memcpy((char *)to->text + at, v->text, v->n);
  if (v->n && v->plain) memcpy((uint8_t *)to->plain + at, v->plain, v->n);
  return at + v->n;
}

value template_concat(renderer *r, const value *a, const value *b, int line) {
  value out = blank_string(r, a->n + b->n, line);
  put(&out, put(&out, 0, a), b);
  return out;
}

typedef enum letters { UPPER, LOWER, CAPITAL, TITLE } letters;

/* ASCII letters alone: roles and headings are what templates change. */
static value change_case(renderer *r, value v, letters how, int line) {
  value out = blank_string(r, v.n, line);
  char *text = (char *)out.text;
  bool inside = false; /* after a letter */
  put(&out, 0, &v);
  for (size_t i = 0; i < v.n; i++) {
    bool lower = text[i] >= 'a' && text[i] <= 'z', upper = text[i] >= 'A' && text[i] <= 'Z';
    bool raise = how == UPPER || (how == CAPITAL && i == 0) || (how == TITLE && !inside);
    if (raise ? lower : upper) text[i] ^= 0x20;
    inside = lower || upper;
  }
  return out;
}

/* Where `what` stands next at or after `at`; v->n if it doesn't. */
static size_t find(const value *v, size_t at, const value *what) {
  const char *found = memmem(v->text + at, v->n - at, what->text, what->n);
  return found ? (size_t)(found - v->text) : v->n;
}

static value replace(renderer *r, const value *v, const value *from, const value *to, int line) {
  size_t count = 0, at = 0;
  if (!from->n) template_fail(&r->fail, TRI_E_UNSUPPORTED, line, "replace of an empty string");
  for (size_t next; (next = find(v, at, from)) < v->n; at = next + from->n) count++;
  if (to->n && count > TRI_TEMPLATE_MEMORY / to->n) template_fail(&r->fail, TRI_E_LIMIT, line, "replace makes too long a text");
  value out = blank_string(r, v->n - count * from->n + count * to->n, line);
  size_t end = 0;
  at = 0;
  for (size_t next; count--; at = next + from->n) {
    value between = part(v, at, next = find(v, at, from));
    end = put(&out, put(&out, end, &between), to);
  }
  value rest = part(v, at, v->n);
  return put(&out, end, &rest), out;
}

static value split(renderer *r, const value *v, const value *by, int line) {
  size_t n = 1, at = 0;
  if (!by->n) template_fail(&r->fail, TRI_E_UNSUPPORTED, line, "split without a separator");
  for (size_t next; (next = find(v, at, by)) < v->n; at = next + by->n) n++;
  value out = {.type = V_LIST, .items = template_take(r, n * sizeof(value), line), .n = n};
  at = 0;
  for (size_t i = 0; i < n; i++) {
    size_t next = i + 1 < n ? find(v, at, by) : v->n;
    out.items[i] = part(v, at, next), at = next + by->n;
  }
  return out;
}

static value join(renderer *r, const value *list, const value *between, int line) {
  value out = template_string((tri_str){"", 0});
  for (size_t i = 0; i < list->n; i++) {
    value item = template_text(r, &list->items[i], line);
    if (i) out = template_concat(r, &out, between, line);
    out = template_concat(r, &out, &item, line);
    template_step(r, line);
  }
  return out;
}

static value pairs(renderer *r, const dict *d, int line) {
  size_t n = 0;
  for (const entry *e = d->first; e; e = e->next) n++;
  value out = {.type = V_LIST, .items = template_take(r, (n ? n : 1) * sizeof(value), line), .n = n};
  value *pair = out.items;
  for (const entry *e = d->first; e; e = e->next, pair++) {
    *pair = (value){.type = V_LIST, .items = template_take(r, 2 * sizeof(value), line), .n = 2};
    pair->items[0] = template_string(e->name), pair->items[1] = e->v;
  }
  return out;
}

static size_t characters(const value *v) { return v->type == V_STRING ? u8_mbsnlen((const uint8_t *)v->text, v->n) : v->n; }

static bool is_string(const value *v) { return v && v->type == V_STRING; }

/* What works on strings alone; false: there is no such thing. */
static bool apply_to_string(renderer *r, int line, tri_str name, value v, const value *a, const value *b, value *out) {
  static const struct {
    const char *name;
    letters how;
  } cases[] = {{"upper", UPPER}, {"lower", LOWER}, {"capitalize", CAPITAL}, {"title", TITLE}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (template_is(name, cases[i].name)) return *out = change_case(r, v, cases[i].how, line), true;
  if (template_is(name, "trim") || template_is(name, "strip")) return *out = strip(v, is_string(a) ? a : NULL, true, true), true;
  if (template_is(name, "lstrip")) return *out = strip(v, is_string(a) ? a : NULL, true, false), true;
  if (template_is(name, "rstrip")) return *out = strip(v, is_string(a) ? a : NULL, false, true), true;
  if (template_is(name, "string") || template_is(name, "safe")) return *out = v, true;
  if (!is_string(a)) return false;
  if (template_is(name, "split")) return *out = split(r, &v, a, line), true;
  if (template_is(name, "replace") && is_string(b)) return *out = replace(r, &v, a, b, line), true;
  bool start = template_is(name, "startswith"), fits = v.n >= a->n;
  if (!start && !template_is(name, "endswith")) return false;
  return *out = template_number(V_BOOL, fits && memcmp(v.text + (start ? 0 : v.n - a->n), a->text, a->n) == 0), true;
}

value template_apply(renderer *r, const node *n, tri_str name, value v, const value *args, size_t n_args) {
  const value *a = n_args > 0 ? &args[0] : NULL, *b = n_args > 1 ? &args[1] : NULL;
  value out = {.type = V_UNDEFINED};
  bool list = v.type == V_LIST, first = template_is(name, "first");
  if (template_is(name, "default") || template_is(name, "d"))
    return v.type == V_UNDEFINED || (b && template_true(b) && !template_true(&v)) ? (a ? *a : template_string((tri_str){"", 0})) : v;
  if ((template_is(name, "length") || template_is(name, "count")) && (list || is_string(&v)))
    return template_number(V_INT, (int64_t)characters(&v));
  if (list && (first || template_is(name, "last"))) return v.n ? v.items[first ? 0 : v.n - 1] : out;
  if (list && template_is(name, "list")) return v;
  if (list && template_is(name, "join")) return join(r, &v, is_string(a) ? a : &(value){.type = V_STRING, .text = ""}, n->line);
  if (v.type == V_DICT && template_is(name, "items")) return pairs(r, v.dict, n->line);
  if (v.type == V_DICT && template_is(name, "get") && is_string(a)) {
    const value *found = template_get(v.dict, (tri_str){a->text, a->n});
    return found ? *found : b ? *b : (value){.type = V_NONE};
  }
  if (v.type == V_INT && template_is(name, "string")) return template_text(r, &v, n->line);
  if (v.type != V_STRING || !apply_to_string(r, n->line, name, v, a, b, &out))
    template_fail(&r->fail, TRI_E_UNSUPPORTED, n->line, "\"%s\" of %s", TRI_SHOW(name),
                  v.type == V_STRING      ? "a string"
                  : list                  ? "a list"
                  : v.type == V_DICT      ? "a dict"
                  : v.type == V_UNDEFINED ? "something undefined"
                                          : "a number");
  return out;
}
