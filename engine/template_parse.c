/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/show.h"
#include "engine/template_impl.h"

/* From a template's text to a tree. Blocks are read by recursive descent, with Jinja's precedence (its parser.py). */

enum { DEEPEST = 64 };

typedef enum token_type { T_END, T_NAME, T_STRING, T_INT, T_MARK } token_type;

typedef struct token {
  token_type type;
  tri_str text; /* T_STRING: what it says; T_MARK: the characters */
} token;

typedef struct parser {
  arena *arena;
  failure *fail;
  const char *at, *end; /* of the text that is left */
  token token;          /* inside a tag: the one at hand */
  const char *tag_end, *next; /* of what is in the tag, and where the text after it begins */
  const char *start;    /* of the template */
  int line, depth;
  bool trim, newline;   /* of the next text, all white space at its start goes, or one line end */
} parser;

#define FAIL(p, status, ...) template_fail((p)->fail, status, (p)->line, __VA_ARGS__)

static node *make(parser *p, node_type type) {
  node *n = arena_take(p->arena, sizeof *n);
  if (!n) FAIL(p, TRI_E_LIMIT, "the template is too large");
  n->type = type, n->line = p->line;
  return n;
}

static void enter(parser *p) {
  if (++p->depth > DEEPEST) FAIL(p, TRI_E_LIMIT, "more than %d levels", DEEPEST);
}

/* --- tokens --- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static void read_string(parser *p) {
  char quote = *p->at++, *out = arena_take(p->arena, (size_t)(p->tag_end - p->at) + 1);
  size_t n = 0;
  if (!out) FAIL(p, TRI_E_LIMIT, "the template is too large");
  while (p->at < p->tag_end && *p->at != quote) {
    char c = *p->at++;
    if (c == '\\' && p->at < p->tag_end) {
      c = *p->at++;
      c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    out[n++] = c;
  }
  if (p->at == p->tag_end) FAIL(p, TRI_E_FORMAT, "a string without an end");
  p->at++;
  p->token = (token){T_STRING, {out, n}};
}

static void advance(parser *p) {
  while (p->at < p->tag_end && is_space(*p->at)) p->line += *p->at++ == '\n';
  const char *start = p->at;
  if (start == p->tag_end) {
    p->token = (token){T_END, {"", 0}};
    return;
  }
  if (*start == '\'' || *start == '"') {
    read_string(p);
    return;
  }
  token_type type = is_letter(*start) ? T_NAME : is_digit(*start) ? T_INT : T_MARK;
  if (type == T_NAME)
    while (p->at < p->tag_end && (is_letter(*p->at) || is_digit(*p->at))) p->at++;
  else if (type == T_INT)
    while (p->at < p->tag_end && is_digit(*p->at)) p->at++;
  else
    p->at += p->tag_end - start > 1 && ((start[1] == '=' && strchr("=!<>", *start)) || (start[0] == '/' && start[1] == '/')) ? 2 : 1;
  p->token = (token){type, {start, (size_t)(p->at - start)}};
}

static bool at_mark(const parser *p, const char *text) { return p->token.type == T_MARK && template_is(p->token.text, text); }
static bool at_name(const parser *p, const char *text) { return p->token.type == T_NAME && template_is(p->token.text, text); }
static bool take_mark(parser *p, const char *text) { return at_mark(p, text) ? advance(p), true : false; }
static bool take_name(parser *p, const char *text) { return at_name(p, text) ? advance(p), true : false; }

static void expect(parser *p, const char *text) {
  if (!take_mark(p, text)) FAIL(p, TRI_E_FORMAT, "'%s' is expected before \"%s\"", text, TRI_SHOW(p->token.text));
}

static tri_str expect_name(parser *p) {
  tri_str name = p->token.text;
  if (p->token.type != T_NAME) FAIL(p, TRI_E_FORMAT, "a name is expected before \"%s\"", TRI_SHOW(name));
  return advance(p), name;
}

/* --- expressions --- */

static node *expression(parser *p);
static node *unary(parser *p);

/* Expressions with commas up to a mark; name=value where `named`. list: the elements. */
static node *elements(parser *p, const char *close, bool named) {
  node *first = NULL, **last = &first;
  while (!at_mark(p, close)) {
    node *n = expression(p);
    if (named && n->type == N_NAME && take_mark(p, "=")) {
      node *keyword = make(p, N_KEYWORD); /* text = a */
      keyword->text = n->text, keyword->a = expression(p);
      n = keyword;
    }
    *last = n, last = &n->next;
    if (!take_mark(p, ",")) break;
  }
  return expect(p, close), first;
}

static node *dict_of(parser *p) {
  node *n = make(p, N_DICT); /* list: key, value, key, value … */
  for (node **last = &n->list; !at_mark(p, "}");) {
    node *key = expression(p);
    expect(p, ":");
    *last = key, key->next = expression(p), last = &key->next->next;
    if (!take_mark(p, ",")) break;
  }
  return expect(p, "}"), n;
}

static node *primary(parser *p) {
  static const struct { const char *name; node_type type; int64_t number; } words[] = {{"true", N_BOOL, 1}, {"True", N_BOOL, 1},
      {"false", N_BOOL, 0}, {"False", N_BOOL, 0}, {"none", N_NONE, 0}, {"None", N_NONE, 0}};
  token t = p->token;
  node *n = make(p, t.type == T_STRING ? N_STRING : t.type == T_INT ? N_INT : N_NAME);
  n->text = t.text;
  switch (t.type) {
  case T_STRING: return advance(p), n;
  case T_INT:
    if (t.text.len > 9) FAIL(p, TRI_E_UNSUPPORTED, "a number of %zu digits", t.text.len);
    for (size_t i = 0; i < t.text.len; i++) n->number = n->number * 10 + (t.text.data[i] - '0');
    return advance(p), n;
  case T_NAME:
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
      if (template_is(t.text, words[i].name)) n->type = words[i].type, n->number = words[i].number;
    return advance(p), n;
  default: break;
  }
  if (take_mark(p, "[")) return n->type = N_LIST, n->list = elements(p, "]", false), n;
  if (take_mark(p, "{")) return dict_of(p);
  if (!take_mark(p, "(")) FAIL(p, TRI_E_FORMAT, "an expression is expected before \"%s\"", TRI_SHOW(t.text));
  n = expression(p);
  return expect(p, ")"), n;
}

/* [a] or [a:b:c], after the bracket */
static node *subscript(parser *p, node *of) {
  node *parts[3] = {NULL}, *n;
  int colons = 0;
  while (!at_mark(p, "]")) {
    if (take_mark(p, ":")) {
      if (++colons > 2) FAIL(p, TRI_E_FORMAT, "a slice of more than three parts");
    } else if (parts[colons]) {
      FAIL(p, TRI_E_FORMAT, "']' is expected");
    } else {
      parts[colons] = expression(p);
    }
  }
  expect(p, "]");
  if (!colons && !parts[0]) FAIL(p, TRI_E_FORMAT, "an empty subscript");
  n = make(p, colons ? N_SLICE : N_INDEX); /* N_INDEX: a[b]; N_SLICE: a[b:c:list] */
  n->a = of, n->b = parts[0], n->c = parts[1], n->list = parts[2];
  return n;
}

static node *postfix(parser *p) {
  node *n = primary(p), *outer;
  for (;;) {
    if (take_mark(p, ".")) {
      outer = make(p, N_ATTRIBUTE); /* a.text */
      outer->a = n, outer->text = expect_name(p);
    } else if (take_mark(p, "[")) {
      outer = subscript(p, n);
    } else if (take_mark(p, "(")) {
      outer = make(p, N_CALL); /* a(list) */
      outer->a = n, outer->list = elements(p, ")", true);
    } else {
      return n;
    }
    n = outer;
  }
}

/* What filters and tests make of it: they bind closer than any operator. */
static node *filtered(parser *p, node *n) {
  for (;;) {
    bool filter = take_mark(p, "|");
    if (!filter && !take_name(p, "is")) return n;
    bool negated = !filter && take_name(p, "not");
    node *outer = make(p, filter ? N_FILTER : N_TEST); /* a | text(list); a is text */
    outer->a = n, outer->text = expect_name(p), outer->number = negated;
    if (filter && take_mark(p, "(")) outer->list = elements(p, ")", true);
    n = outer;
  }
}

static node *unary(parser *p) {
  enter(p);
  node *n;
  if (take_mark(p, "-")) n = make(p, N_UNARY), n->op = OP_NEG, n->a = unary(p);
  else n = postfix(p);
  p->depth--;
  return filtered(p, n);
}

/* Levels of binary operators, from the loosest; `not` stands between and and the comparisons. */
static const struct level { const char *text; operator op; int level; } binaries[] = {
    {"or", OP_OR, 0}, {"and", OP_AND, 1}, {"==", OP_EQ, 3}, {"!=", OP_NE, 3}, {"<", OP_LT, 3}, {">", OP_GT, 3}, {"<=", OP_LE, 3},
    {">=", OP_GE, 3}, {"in", OP_IN, 3}, {"+", OP_ADD, 4}, {"-", OP_SUB, 4}, {"~", OP_JOIN, 5}, {"*", OP_MUL, 6}, {"//", OP_DIV, 6},
    {"%", OP_MOD, 6}};
enum { NOT_LEVEL = 2, COMPARISONS = 3, LEVELS = 7 };

static bool take_binary(parser *p, int level, operator *op) {
  if (level == COMPARISONS && take_name(p, "not")) {
    if (!take_name(p, "in")) FAIL(p, TRI_E_FORMAT, "'in' is expected after 'not'");
    return *op = OP_NOT_IN, true;
  }
  for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++)
    if (binaries[i].level == level && (p->token.type == T_NAME || p->token.type == T_MARK) && template_is(p->token.text, binaries[i].text))
      return *op = binaries[i].op, advance(p), true;
  return false;
}

static node *binary(parser *p, int level) {
  if (level == LEVELS) return unary(p);
  if (level == NOT_LEVEL && take_name(p, "not")) {
    enter(p);
    node *n = make(p, N_UNARY); /* op a */
    n->op = OP_NOT, n->a = binary(p, level);
    return p->depth--, n;
  }
  node *n = binary(p, level + 1);
  for (operator op; take_binary(p, level, &op);) {
    node *outer = make(p, N_BINARY); /* a op b */
    outer->op = op, outer->a = n, outer->b = binary(p, level + 1);
    n = outer;
  }
  return n;
}

static node *expression(parser *p) {
  enter(p);
  node *n = binary(p, 0);
  while (take_name(p, "if")) {
    node *outer = make(p, N_CHOICE); /* a if b else c (may be NULL) */
    outer->a = n, outer->b = binary(p, 0), outer->c = take_name(p, "else") ? expression(p) : NULL;
    n = outer;
  }
  return p->depth--, n;
}

/* --- texts and tags --- */

/* Where the tag at hand ends; strings in it may hold the same characters, comments have none. */
static const char *find_close(const parser *p, char close) {
  char quote = 0;
  for (const char *c = p->at; p->end - c > 1; c++) {
    if (quote && *c == '\\') c++;
    else if (quote) quote = *c == quote ? 0 : quote;
    else if (close != '#' && (*c == '\'' || *c == '"')) quote = *c;
    else if (c[0] == close && c[1] == '}') return c;
  }
  FAIL(p, TRI_E_FORMAT, "a tag without its end, \"%c}\"", close);
}

/* Whether only blanks stand between the start of a line and this place; *blanks is where they begin. */
static bool starts_line(const parser *p, const char *to, const char **blanks) {
  while (to > p->at && (to[-1] == ' ' || to[-1] == '\t')) to--;
  *blanks = to;
  return to == p->start || (to > p->at && to[-1] == '\n');
}

/* The text up to `to`, where a tag begins or the template ends, without what the tags around it take of it. */
static node *read_text(parser *p, const char *to) {
  const char *from = p->at, *end = to, *blanks;
  bool tag = to < p->end;
  char sign = p->end - to > 2 ? to[2] : 0;
  if (p->trim)
    while (from < end && is_space(*from)) from++;
  else if (p->newline && from < end)
    from += *from == '\n';
  if (tag && sign == '-')
    while (end > from && is_space(end[-1])) end--;
  else if (tag && to[1] != '{' && sign != '+' && starts_line(p, to, &blanks))
    end = blanks > from ? blanks : from;
  for (; p->at < to; p->at++) p->line += *p->at == '\n';
  if (end == from) return NULL;
  node *n = make(p, N_TEXT);
  n->text = (tri_str){from, (size_t)(end - from)};
  return n;
}

/* Go into the tag at hand ("{%" and so on stands there); its first token is then at hand. */
static char open_tag(parser *p) {
  char kind = p->at[1];
  char close = kind == '{' ? '}' : kind;
  p->at += 2;
  if (p->at < p->end && (*p->at == '-' || *p->at == '+')) p->at++;
  const char *end = find_close(p, close);
  char sign = end > p->at ? end[-1] : 0;
  bool keep = sign == '+' && kind != '{';
  p->trim = sign == '-', p->newline = kind != '{' && !keep;
  p->tag_end = end - (p->trim || keep), p->next = end + 2;
  if (kind == '#')
    for (; p->at < p->tag_end; p->at++) p->line += *p->at == '\n';
  else
    advance(p);
  return kind;
}

static void close_tag(parser *p) {
  if (p->token.type != T_END) FAIL(p, TRI_E_FORMAT, "\"%s\" is not expected there", TRI_SHOW(p->token.text));
  p->at = p->next;
}

static node *statements(parser *p, const char *ends, tri_str *which);

static node *read_for(parser *p) {
  node *n = make(p, N_FOR); /* for text in a if b: list, else other */
  tri_str which;
  n->text = expect_name(p);
  if (!take_name(p, "in")) FAIL(p, TRI_E_UNSUPPORTED, "a loop over more than one name");
  n->a = binary(p, 0);
  if (take_name(p, "if")) n->b = expression(p);
  close_tag(p);
  n->list = statements(p, "else endfor", &which);
  if (!template_is(which, "else")) return n;
  close_tag(p);
  return n->other = statements(p, "endfor", &which), n;
}

static node *read_if(parser *p) {
  enter(p);
  node *n = make(p, N_IF); /* if a: list, else other */
  tri_str which;
  n->a = expression(p);
  close_tag(p);
  n->list = statements(p, "elif else endif", &which);
  if (template_is(which, "elif")) n->other = read_if(p);
  else if (template_is(which, "else")) close_tag(p), n->other = statements(p, "endif", &which);
  return p->depth--, n;
}

static node *read_set(parser *p) {
  node *n = make(p, N_SET); /* text = a, or b.text = a */
  n->text = expect_name(p);
  if (take_mark(p, ".")) {
    n->b = make(p, N_NAME), n->b->text = n->text;
    n->text = expect_name(p);
  }
  if (!take_mark(p, "=")) FAIL(p, TRI_E_UNSUPPORTED, "a set without a value of its own");
  return n->a = expression(p), n;
}

/* A block's statement; NULL for what has no effect. The tag of its end is closed by the caller. */
static node *read_block(parser *p, tri_str name) {
  if (template_is(name, "for")) return read_for(p);
  if (template_is(name, "if")) return read_if(p);
  if (template_is(name, "set")) return read_set(p);
  if (template_is(name, "generation") || template_is(name, "endgeneration")) return NULL; /* marks for training */
  FAIL(p, TRI_E_UNSUPPORTED, "a block \"%s\"", TRI_SHOW(name));
}

static bool is_one_of(tri_str name, const char *names) {
  for (size_t len; *names; names += len + (names[len] == ' '))
    if ((len = strcspn(names, " ")) == name.len && memcmp(names, name.data, len) == 0) return true;
  return false;
}

/* Up to a block of one of these names, which is then at hand with its first token read; *which says which. `ends` "": the end of the
 * template. */
static node *statements(parser *p, const char *ends, tri_str *which) {
  node *first = NULL, **last = &first;
  enter(p);
  for (;;) {
    const char *to = p->at;
    while (p->end - to > 1 && !(to[0] == '{' && (to[1] == '{' || to[1] == '%' || to[1] == '#'))) to++;
    if (p->end - to < 2) to = p->end;
    node *n = read_text(p, to);
    if (n) *last = n, last = &n->next;
    if (to == p->end) break;
    char kind = open_tag(p);
    n = NULL;
    if (kind == '{') n = make(p, N_PRINT), n->a = expression(p);
    else if (kind == '%' && is_one_of(*which = expect_name(p), ends)) return p->depth--, first;
    else if (kind == '%') n = read_block(p, *which);
    else p->token.type = T_END;
    close_tag(p);
    if (n) *last = n, last = &n->next;
  }
  if (*ends) FAIL(p, TRI_E_FORMAT, "the template ends before \"%s\"", ends);
  return p->depth--, first;
}

node *template_parse(arena *a, failure *f, tri_str text) {
  tri_str which;
  if (text.len && text.data[text.len - 1] == '\n') text.len--; /* keep_trailing_newline is off */
  parser p = {.arena = a, .fail = f, .at = text.data, .end = text.data + text.len, .start = text.data, .line = 1};
  return statements(&p, "", &which);
}
