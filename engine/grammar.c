/* SPDX-License-Identifier: MIT */
#include "engine/grammar_impl.h"

#include <stdlib.h>
#include <string.h>
#include "engine/utf8.h"

enum { NESTING = 64, NO_LIMIT = -1 };

/* The text, and what is made of it. */
typedef struct parser {
  grammar_builder b;
  const uint8_t *at, *end;
  uint32_t line;
} parser;

/* --- building --- */

static tri_status no_memory(const grammar_builder *b) { return tri_status_fail(b->err, TRI_E_NOMEM, "out of memory for the grammar"); }
static tri_status built(const grammar_builder *b, const tri_buf *buf) { return tri_buf_ok(buf) ? TRI_OK : no_memory(b); }

tri_status grammar_add_rule(grammar_builder *b, uint32_t *rule) {
  grammar_rule r = {.name = b->name, .line = b->line, .defined = true};
  *rule = (uint32_t)(b->rules.len / sizeof r);
  if (*rule >= TRI_GRAMMAR_SYMBOLS)
    return GRAMMAR_FAIL(b, TRI_E_LIMIT, "more than %d rules, groups and repetitions", TRI_GRAMMAR_SYMBOLS);
  tri_buf_append(&b->rules, &r, sizeof r);
  return built(b, &b->rules);
}

tri_status grammar_push(const grammar_builder *b, tri_buf *sequence, uint32_t symbol) {
  if (sequence->len / sizeof symbol >= TRI_GRAMMAR_SYMBOLS)
    return GRAMMAR_FAIL(b, TRI_E_LIMIT, "more than %d symbols, with repetitions written out", TRI_GRAMMAR_SYMBOLS);
  tri_buf_append(sequence, &symbol, sizeof symbol);
  return built(b, sequence);
}

tri_status grammar_add_alt(grammar_builder *b, uint32_t rule, const tri_buf *sequence) {
  grammar_alt alt = {rule, (uint32_t)(b->symbols.len / sizeof(uint32_t))};
  tri_buf_append(&b->alts, &alt, sizeof alt);
  if (sequence) tri_buf_append(&b->symbols, sequence->data, sequence->len);
  tri_status status = built(b, &b->alts);
  return status == TRI_OK ? grammar_push(b, &b->symbols, grammar_symbol(TRI_SYMBOL_END, 0)) : status;
}

/* The rule of a name, made when it first comes. */
static tri_status rule_named(parser *p, const uint8_t *name, size_t len, uint32_t *rule) {
  bool fresh;
  grammar_builder *b = &p->b;
  uint32_t id = tri_interner_put(b->names, name, len, &fresh);
  if (id == TRI_INTERNER_NONE) return no_memory(b);
  if (!fresh) return memcpy(rule, b->name_rules.data + id * sizeof *rule, sizeof *rule), TRI_OK;
  tri_status status = grammar_add_rule(b, rule);
  if (status != TRI_OK) return status;
  grammar_rule *r = (grammar_rule *)(void *)b->rules.data + *rule;
  r->defined = false, r->name = id, r->line = p->line;
  tri_buf_append(&b->name_rules, rule, sizeof *rule);
  return built(b, &b->name_rules);
}

/* --- repetition: rules of their own, so that a copy costs one symbol --- */

static tri_status add_two_alts(grammar_builder *b, uint32_t rule, const uint32_t *symbols, uint32_t n) {
  tri_buf sequence = {0};
  tri_buf_append(&sequence, symbols, n * sizeof *symbols);
  tri_status status = built(b, &sequence);
  if (status == TRI_OK) status = grammar_add_alt(b, rule, &sequence);
  if (status == TRI_OK) status = grammar_add_alt(b, rule, NULL);
  tri_buf_free(&sequence);
  return status;
}

/* One symbol for the end of the sequence from `start` on, which is taken off. */
static tri_status wrap(grammar_builder *b, tri_buf *sequence, size_t start, uint32_t *symbol) {
  uint32_t rule;
  if (sequence->len - start == sizeof *symbol) {
    memcpy(symbol, sequence->data + start, sizeof *symbol);
    sequence->len = start;
    return TRI_OK;
  }
  tri_buf part = {.data = sequence->data + start, .len = sequence->len - start};
  tri_status status = grammar_add_rule(b, &rule);
  if (status == TRI_OK) status = grammar_add_alt(b, rule, &part);
  sequence->len = start;
  *symbol = grammar_symbol(TRI_SYMBOL_CALL, rule);
  return status;
}

/* loop ::= x loop | (nothing) */
static tri_status push_loop(grammar_builder *b, tri_buf *sequence, uint32_t x) {
  uint32_t rule;
  tri_status status = grammar_add_rule(b, &rule);
  uint32_t loop = grammar_symbol(TRI_SYMBOL_CALL, rule);
  if (status == TRI_OK) status = add_two_alts(b, rule, (const uint32_t[]){x, loop}, 2);
  return status == TRI_OK ? grammar_push(b, sequence, loop) : status;
}

/* most1 ::= x | (nothing); most2 ::= x most1 | (nothing); … */
static tri_status push_at_most(grammar_builder *b, tri_buf *sequence, uint32_t x, long most) {
  uint32_t rule = 0, before = 0;
  tri_status status = TRI_OK;
  for (long i = 0; i < most && status == TRI_OK; i++, before = grammar_symbol(TRI_SYMBOL_CALL, rule)) {
    status = grammar_add_rule(b, &rule);
    if (status == TRI_OK) status = add_two_alts(b, rule, (const uint32_t[]){x, before}, i ? 2 : 1);
  }
  return status == TRI_OK && most ? grammar_push(b, sequence, before) : status;
}

static tri_status repeat(grammar_builder *b, tri_buf *sequence, size_t start, long least, long most) {
  uint32_t x;
  if (sequence->len == start) return TRI_OK; /* the empty literal */
  tri_status status = wrap(b, sequence, start, &x);
  for (long i = 0; i < least && status == TRI_OK; i++) status = grammar_push(b, sequence, x);
  if (status != TRI_OK) return status;
  return most == NO_LIMIT ? push_loop(b, sequence, x) : push_at_most(b, sequence, x, most - least);
}

/* --- reading --- */

static int peek(const parser *p) { return p->at < p->end ? *p->at : -1; }

/* Blanks and comments, and with `lines` the ends of lines. */
static void skip(parser *p, bool lines) {
  for (; p->at < p->end; p->at++) {
    if (*p->at == '#')
      while (p->at < p->end && *p->at != '\n') p->at++;
    if (peek(p) == '\n' && lines) p->line++;
    else if (peek(p) != ' ' && peek(p) != '\t' && peek(p) != '\r') return;
  }
}

/* After a symbol: over the line's end too if the next line goes on with an alternative. */
static void skip_after(parser *p, int depth) {
  skip(p, depth > 0);
  if (peek(p) != '\n') return;
  parser ahead = *p;
  skip(&ahead, true);
  if (peek(&ahead) == '|') p->at = ahead.at, p->line = ahead.line;
}

static bool is_word(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static tri_status read_hex(parser *p, int digits, uint32_t *out) {
  *out = 0;
  for (int i = 0; i < digits; i++, p->at++) {
    int c = peek(p), v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (v < 0) return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "an escape needs %d hexadecimal digits", digits);
    *out = *out * 16 + (uint32_t)v;
  }
  if (*out > GRAMMAR_MOST_CHAR || (*out >= 0xd800 && *out <= 0xdfff))
    return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "U+%04X is no character", *out);
  return TRI_OK;
}

static tri_status read_escape(parser *p, uint32_t *out) {
  int c = peek(p);
  p->at += c >= 0;
  switch (c) {
  case 'n': return *out = '\n', TRI_OK;
  case 'r': return *out = '\r', TRI_OK;
  case 't': return *out = '\t', TRI_OK;
  case '\\': case '"': case '[': case ']': case '-': case '^': return *out = (uint32_t)c, TRI_OK;
  case 'x': return read_hex(p, 2, out);
  case 'u': return read_hex(p, 4, out);
  case 'U': return read_hex(p, 8, out);
  default: return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "an escape that is none of \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\x \\u \\U");
  }
}

static tri_status read_char(parser *p, uint32_t *out) {
  if (p->at == p->end || *p->at == '\n') return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "a literal or class without its end");
  if (*p->at == '\\') return p->at++, read_escape(p, out);
  int n = tri_utf8_next(p->at, (size_t)(p->end - p->at));
  if (n <= 0) return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "bytes that are not UTF-8");
  *out = n == 1 ? *p->at : *p->at & (0xffu >> (n + 1));
  for (int i = 1; i < n; i++) *out = *out << 6 | (p->at[i] & 0x3f);
  p->at += n;
  return TRI_OK;
}

static tri_status read_literal(parser *p, tri_buf *sequence) {
  tri_status status = TRI_OK;
  for (p->at++; status == TRI_OK && peek(p) != '"';) {
    uint32_t c;
    status = read_char(p, &c);
    if (status == TRI_OK) status = grammar_push_char(&p->b, sequence, c);
  }
  p->at += status == TRI_OK;
  return status;
}

static tri_status read_range(parser *p, tri_buf *ranges) {
  grammar_range r;
  tri_status status = read_char(p, &r.lo);
  r.hi = r.lo;
  if (status == TRI_OK && p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') p->at++, status = read_char(p, &r.hi);
  if (status == TRI_OK && r.hi < r.lo) return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "a class has a range that goes down");
  tri_buf_append(ranges, &r, sizeof r);
  return status;
}

static tri_status read_class(parser *p, tri_buf *sequence) {
  tri_buf ranges = {0};
  tri_status status = TRI_OK;
  p->at++;
  bool negated = peek(p) == '^';
  p->at += negated;
  while (status == TRI_OK && peek(p) != ']') status = read_range(p, &ranges);
  p->at += status == TRI_OK;
  if (status == TRI_OK) status = built(&p->b, &ranges);
  if (status == TRI_OK && !ranges.len && !negated) status = GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "a class without characters");
  if (status == TRI_OK)
    status = grammar_push_class(&p->b, sequence, (grammar_range *)(void *)ranges.data, ranges.len / sizeof(grammar_range), negated);
  tri_buf_free(&ranges);
  return status;
}

static tri_status read_alternatives(parser *p, uint32_t rule, int depth);

static tri_status read_group(parser *p, tri_buf *sequence, int depth) {
  uint32_t rule;
  if (depth == NESTING) return GRAMMAR_FAIL(&p->b, TRI_E_LIMIT, "groups nested more than %d deep", NESTING);
  tri_status status = grammar_add_rule(&p->b, &rule);
  p->at++;
  if (status == TRI_OK) status = read_alternatives(p, rule, depth + 1);
  if (status == TRI_OK && peek(p) != ')') status = GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "a group without its )");
  p->at += status == TRI_OK;
  return status == TRI_OK ? grammar_push(&p->b, sequence, grammar_symbol(TRI_SYMBOL_CALL, rule)) : status;
}

static tri_status read_name(parser *p, tri_buf *sequence) {
  uint32_t rule;
  const uint8_t *start = p->at;
  while (is_word(peek(p))) p->at++;
  tri_status status = rule_named(p, start, (size_t)(p->at - start), &rule);
  return status == TRI_OK ? grammar_push(&p->b, sequence, grammar_symbol(TRI_SYMBOL_CALL, rule)) : status;
}

static tri_status read_symbol(parser *p, tri_buf *sequence, int depth) {
  int c = peek(p);
  if (c == '"') return read_literal(p, sequence);
  if (c == '[') return read_class(p, sequence);
  if (c == '(') return read_group(p, sequence, depth);
  if (c == '.') return p->at++, grammar_push_class(&p->b, sequence, NULL, 0, true);
  if (is_word(c)) return read_name(p, sequence);
  if (c > ' ' && c < 0x7f) return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "'%c' is not expected here", c);
  return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "byte 0x%02x is not expected here", (unsigned)c);
}

static bool read_count(parser *p, long *out) {
  *out = 0;
  if (!(peek(p) >= '0' && peek(p) <= '9')) return false;
  for (; peek(p) >= '0' && peek(p) <= '9' && *out <= TRI_GRAMMAR_REPEATS; p->at++) *out = *out * 10 + (peek(p) - '0');
  return *out <= TRI_GRAMMAR_REPEATS;
}

/* {m} {m,} {m,n} */
static tri_status read_counts(parser *p, long *least, long *most) {
  p->at++;
  bool ok = read_count(p, least);
  *most = *least;
  if (ok && peek(p) == ',') p->at++, *most = peek(p) == '}' ? NO_LIMIT : 0, ok = *most == NO_LIMIT || read_count(p, most);
  if (!ok || peek(p) != '}' || (*most != NO_LIMIT && *most < *least))
    return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "{m}, {m,} or {m,n} with m <= n <= %d is expected", TRI_GRAMMAR_REPEATS);
  p->at++;
  return TRI_OK;
}

/* What stands after a symbol that begins at `start` of the sequence. */
static tri_status read_repeats(parser *p, tri_buf *sequence, size_t start, int depth) {
  tri_status status = TRI_OK;
  for (; status == TRI_OK; skip_after(p, depth)) {
    int c = peek(p);
    long least = c == '+', most = c == '?' ? 1 : NO_LIMIT;
    if (c == '{') status = read_counts(p, &least, &most);
    else if (c == '*' || c == '+' || c == '?') p->at++;
    else break;
    if (status == TRI_OK) status = repeat(&p->b, sequence, start, least, most);
  }
  return status;
}

static tri_status read_sequence(parser *p, uint32_t rule, int depth) {
  tri_buf sequence = {0};
  tri_status status = TRI_OK;
  for (int c; status == TRI_OK && (c = peek(p)) >= 0 && c != '|' && c != '\n' && !(c == ')' && depth);) {
    size_t start = sequence.len;
    status = read_symbol(p, &sequence, depth);
    skip_after(p, depth);
    if (status == TRI_OK) status = read_repeats(p, &sequence, start, depth);
  }
  if (status == TRI_OK) status = grammar_add_alt(&p->b, rule, &sequence);
  tri_buf_free(&sequence);
  return status;
}

static tri_status read_alternatives(parser *p, uint32_t rule, int depth) {
  for (;;) {
    skip(p, true);
    p->b.line = p->line;
    tri_status status = read_sequence(p, rule, depth);
    if (status != TRI_OK || peek(p) != '|') return status;
    p->at++;
  }
}

static tri_status read_rule(parser *p) {
  const uint8_t *name = p->at;
  uint32_t rule;
  while (is_word(peek(p))) p->at++;
  size_t len = (size_t)(p->at - name);
  skip(p, false);
  if (!len || p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0)
    return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "a rule is expected: name ::= …");
  p->at += 3;
  tri_status status = rule_named(p, name, len, &rule);
  if (status != TRI_OK) return status;
  grammar_rule *r = (grammar_rule *)(void *)p->b.rules.data + rule;
  if (r->defined) return GRAMMAR_FAIL(&p->b, TRI_E_INVALID, "rule '%.*s' is defined twice", (int)(len < 64 ? len : 64), (const char *)name);
  r->defined = true, r->line = p->line;
  p->b.name = r->name;
  return read_alternatives(p, rule, 0);
}

static tri_status read_rules(parser *p) {
  for (skip(p, true); p->at < p->end; skip(p, true)) {
    p->b.line = p->line;
    tri_status status = read_rule(p);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

tri_status tri_grammar_parse(tri_grammar **out, const char *text, size_t len, tri_error *err) {
  if (len > TRI_GRAMMAR_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "the grammar has %zu bytes, more than the limit of %d", len, TRI_GRAMMAR_BYTES);
  parser p = {.b = {.err = err, .name = GRAMMAR_NO_NAME, .line = 1}, .at = (const uint8_t *)text, .line = 1};
  p.end = p.at + len;
  tri_status status = tri_interner_create(&p.b.names, err);
  if (status == TRI_OK) status = tri_interner_create(&p.b.sets, err);
  if (status == TRI_OK) status = tri_interner_create(&p.b.classes, err);
  if (status == TRI_OK) status = read_rules(&p);
  if (status == TRI_OK) status = grammar_finish(&p.b, out);
  tri_buf *const bufs[] = {&p.b.symbols, &p.b.alts, &p.b.rules, &p.b.name_rules, &p.b.class_rules};
  for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) tri_buf_free(bufs[i]);
  tri_interner_destroy(&p.b.names), tri_interner_destroy(&p.b.sets), tri_interner_destroy(&p.b.classes);
  return status;
}

void tri_grammar_free(tri_grammar **grammar) {
  tri_grammar *g = *grammar;
  if (!g) return;
  free(g->symbols), free(g->starts), free(g->first), free(g->nullable), free(g->rank), free(g->by_rank), free(g->sets);
  free(g);
  *grammar = NULL;
}
