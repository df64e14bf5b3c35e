/* SPDX-License-Identifier: MIT */
#include "base/toml.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/file.h"

enum { MAX_NUMBER = 64 };

typedef struct parser {
  const char *at, *end;
  const char *name;
  int line;
  json_t *root, *table; /* where keys go now */
  tri_error *err;
} parser;

static tri_status fail(const parser *p, const char *what) {
  return tri_status_fail(p->err, TRI_E_FORMAT, "%s: line %d: %s", p->name, p->line, what);
}
static tri_status refuse(const parser *p, const char *what) {
  return tri_status_fail(p->err, TRI_E_UNSUPPORTED, "%s: line %d: %s: this part of TOML is not read", p->name, p->line, what);
}
static tri_status no_memory(const parser *p) { return tri_status_fail(p->err, TRI_E_NOMEM, "%s: out of memory", p->name); }

static char peek(const parser *p) { return p->at < p->end ? *p->at : 0; }
static bool starts(const parser *p, const char *word) {
  size_t n = strlen(word);
  return (size_t)(p->end - p->at) >= n && memcmp(p->at, word, n) == 0;
}
static void blanks(parser *p) {
  while (peek(p) == ' ' || peek(p) == '\t') p->at++;
}

static tri_status comment(parser *p) {
  if (peek(p) != '#') return TRI_OK;
  for (; p->at < p->end && *p->at != '\n'; p->at++) {
    bool ends = *p->at == '\r' && p->end - p->at > 1 && p->at[1] == '\n';
    if (((uint8_t)*p->at < ' ' && *p->at != '\t' && !ends) || *p->at == 0x7f) return fail(p, "a control character in a comment");
  }
  return TRI_OK;
}
/* Blanks and a comment, then the line's end or the text's. */
static tri_status line_end(parser *p) {
  blanks(p);
  tri_status status = comment(p);
  if (status != TRI_OK || p->at == p->end) return status;
  if (starts(p, "\r\n")) p->at++;
  if (peek(p) != '\n') return fail(p, "more than one thing on a line");
  return p->at++, p->line++, TRI_OK;
}
/* Blanks, comments and lines' ends, as between an array's values. */
static tri_status space(parser *p) {
  for (;;) {
    blanks(p);
    if (peek(p) != '#' && peek(p) != '\n' && !starts(p, "\r\n")) return TRI_OK;
    tri_status status = line_end(p);
    if (status != TRI_OK) return status;
  }
}

/* --- strings and keys --- */

static void put_utf8(tri_buf *out, uint32_t c) {
  if (c < 0x80) return tri_buf_byte(out, (uint8_t)c);
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
  tri_buf_byte(out, (uint8_t)(lead[more] | c >> 6 * more));
  while (more--) tri_buf_byte(out, (uint8_t)(0x80 | (c >> 6 * more & 0x3f)));
}

static tri_status escape(parser *p, tri_buf *out) {
  static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
  char letter = peek(p);
  const char *known = letter ? strchr(from, letter) : NULL;
  if (known) return p->at++, tri_buf_byte(out, (uint8_t)to[known - from]), TRI_OK;
  int digits = letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
  if (!digits || p->end - ++p->at < digits) return fail(p, "an escape that TOML doesn't have");
  uint32_t c = 0;
  for (int i = 0; i < digits; i++, p->at++) {
    if (!isxdigit((uint8_t)*p->at)) return fail(p, "an escape that TOML doesn't have");
    c = c << 4 | (uint32_t)(isdigit((uint8_t)*p->at) ? *p->at - '0' : (*p->at | 0x20) - 'a' + 10);
  }
  if (c == 0) return refuse(p, "a character NUL");
  if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return fail(p, "an escape that is no character");
  return put_utf8(out, c), TRI_OK;
}

/* Also checks that it is UTF-8, as jansson does for its strings. */
static tri_status finish_text(const parser *p, tri_buf *text, json_t **out) {
  if (!tri_buf_ok(text)) return no_memory(p);
  *out = json_stringn(text->data ? (const char *)text->data : "", text->len);
  return *out ? TRI_OK : fail(p, "a string that is not UTF-8");
}

static tri_status string(parser *p, json_t **out) {
  if (starts(p, "\"\"\"") || starts(p, "'''")) return refuse(p, "a string over several lines");
  char quote = *p->at++;
  tri_buf text = {0};
  tri_status status = TRI_OK;
  while (status == TRI_OK && peek(p) != quote) {
    uint8_t c = (uint8_t)peek(p);
    if (p->at == p->end || c == '\n') status = fail(p, "a string without an end");
    else if ((c < ' ' && c != '\t') || c == 0x7f) status = fail(p, "a control character in a string");
    else if (p->at++, c == '\\' && quote == '"') status = escape(p, &text);
    else tri_buf_byte(&text, c);
  }
  if (status == TRI_OK) p->at++, status = finish_text(p, &text, out);
  tri_buf_free(&text);
  return status;
}

static bool is_bare(char c) { return isalnum((uint8_t)c) || c == '_' || c == '-'; }

static tri_status key(parser *p, json_t **out) {
  blanks(p);
  if (peek(p) == '"' || peek(p) == '\'') return string(p, out);
  const char *from = p->at;
  while (is_bare(peek(p))) p->at++;
  if (p->at == from) return fail(p, "a key is expected, of letters, digits, _ and -, or in quotes");
  *out = json_stringn(from, (size_t)(p->at - from));
  return *out ? TRI_OK : no_memory(p);
}

/* --- values --- */

static bool is_number(char c) { return isalnum((uint8_t)c) || c == '_' || c == '.' || c == '+' || c == '-' || c == ':'; }

/* TOML's grammar: [+-] digits [. digits] [e [+-] digits], an underscore only between digits, no leading zeros. */
static bool plain_number(const char *s, char out[MAX_NUMBER], bool *is_float) {
  size_t n = 0;
  *is_float = false;
  if (*s == '+' || *s == '-') out[n++] = *s++;
  if (s[0] == '0' && (isdigit((uint8_t)s[1]) || s[1] == '_')) return false;
  for (char before = 0; *s; before = *s++) {
    bool digit = isdigit((uint8_t)*s), near = isdigit((uint8_t)before) && isdigit((uint8_t)s[1]);
    bool exponent = (*s | 0x20) == 'e' && isdigit((uint8_t)before) && !strpbrk(out + 1, "eE");
    bool sign = (*s == '+' || *s == '-') && (before | 0x20) == 'e' && isdigit((uint8_t)s[1]);
    bool point = *s == '.' && near && !strpbrk(out, ".eE");
    if (!digit && !exponent && !sign && !point && !(*s == '_' && near)) return false;
    *is_float |= exponent || point;
    if (*s != '_') out[n++] = *s, out[n] = 0;
  }
  return n && isdigit((uint8_t)out[n - 1]);
}

static tri_status number(parser *p, json_t **out) {
  char word[MAX_NUMBER] = {0}, plain[MAX_NUMBER] = {0};
  size_t n = 0;
  bool is_float;
  for (; is_number(peek(p)); p->at++)
    if (n++ < MAX_NUMBER - 1) word[n - 1] = *p->at;
  if (!n || n >= MAX_NUMBER) return fail(p, n ? "a number of too many digits" : "a value is expected");
  const char *digits = word + (word[0] == '+' || word[0] == '-');
  if (strcmp(digits, "inf") == 0 || strcmp(digits, "nan") == 0) return refuse(p, "inf and nan");
  if (digits[0] == '0' && digits[1] && strchr("xob", digits[1])) return refuse(p, "an integer that is not decimal");
  if (n > 4 && (strchr(word, ':') || (isdigit((uint8_t)word[0]) && word[4] == '-'))) return refuse(p, "a date or time");
  if (!plain_number(word, plain, &is_float)) return fail(p, "a value that is no string, number, true, false or array");
  errno = 0;
  if (is_float) {
    double v = strtod(plain, NULL);
    if (!isfinite(v)) return fail(p, "a number out of range");
    *out = json_real(v);
  } else {
    long long v = strtoll(plain, NULL, 10);
    if (errno) return fail(p, "an integer beyond 64 bits");
    *out = json_integer(v);
  }
  return *out ? TRI_OK : no_memory(p);
}

static tri_status value(parser *p, int depth, json_t **out);

static tri_status array(parser *p, int depth, json_t **out) {
  if (depth == TRI_TOML_DEPTH) return tri_status_fail(p->err, TRI_E_LIMIT, "%s: line %d: arrays %d deep", p->name, p->line, depth + 1);
  json_t *list = json_array(), *item;
  tri_status status = list ? TRI_OK : no_memory(p);
  p->at++;
  while (status == TRI_OK && (status = space(p)) == TRI_OK && peek(p) != ']') {
    status = value(p, depth + 1, &item);
    if (status == TRI_OK && json_array_append_new(list, item) != 0) status = no_memory(p);
    if (status == TRI_OK) status = space(p);
    if (status == TRI_OK && peek(p) != ']' && peek(p) != ',') status = fail(p, "a comma or ] is expected in an array");
    if (status == TRI_OK && peek(p) == ',') p->at++;
  }
  if (status != TRI_OK) return json_decref(list), status;
  return p->at++, *out = list, TRI_OK;
}

static tri_status value(parser *p, int depth, json_t **out) {
  char c = peek(p);
  if (c == '"' || c == '\'') return string(p, out);
  if (c == '[') return array(p, depth, out);
  if (c == '{') return refuse(p, "an inline table");
  bool yes = starts(p, "true"), no = starts(p, "false");
  const char *after = p->at + (yes ? 4 : 5);
  if ((yes || no) && (after == p->end || !is_number(*after))) return p->at = after, *out = json_boolean(yes), TRI_OK;
  return number(p, out);
}

/* --- lines --- */

static tri_status taken(const parser *p, const char *what, const char *name) {
  return tri_status_fail(p->err, TRI_E_FORMAT, "%s: line %d: %s '%.100s' is already there", p->name, p->line, what, name);
}

static tri_status assignment(parser *p) {
  json_t *name = NULL, *v = NULL;
  tri_status status = key(p, &name);
  if (status == TRI_OK) blanks(p);
  if (status == TRI_OK && peek(p) == '.') status = refuse(p, "a dotted key");
  else if (status == TRI_OK && peek(p) != '=') status = fail(p, "an = is expected after the key");
  if (status == TRI_OK && json_object_get(p->table, json_string_value(name))) status = taken(p, "key", json_string_value(name));
  if (status == TRI_OK) p->at++, blanks(p), status = value(p, 0, &v);
  if (status == TRI_OK && json_object_set(p->table, json_string_value(name), v) != 0) status = no_memory(p);
  json_decref(v);
  json_decref(name);
  return status == TRI_OK ? line_end(p) : status;
}

/* A table inside *table; an array of tables stands for its last one. */
static tri_status enter(parser *p, json_t **table, const char *name) {
  json_t *next = json_object_get(*table, name);
  if (json_is_array(next) && json_array_size(next)) next = json_array_get(next, json_array_size(next) - 1);
  if (next && !json_is_object(next)) return taken(p, "a value", name);
  if (!next && json_object_set_new(*table, name, next = json_object()) != 0) return no_memory(p);
  return *table = next, TRI_OK;
}
static tri_status new_table(parser *p, json_t *in, const char *name, bool in_array) {
  json_t *old = json_object_get(in, name), *list = old;
  if (old && !(in_array && json_is_object(json_array_get(old, 0)))) return taken(p, "table", name);
  p->table = json_object();
  if (!in_array) return json_object_set_new(in, name, p->table) == 0 ? TRI_OK : no_memory(p);
  if (!list && json_object_set_new(in, name, list = json_array()) != 0) return json_decref(p->table), no_memory(p);
  return json_array_append_new(list, p->table) == 0 ? TRI_OK : no_memory(p);
}

static tri_status header(parser *p) {
  bool in_array = starts(p, "[[");
  json_t *name = NULL, *in = p->root;
  p->at += in_array ? 2 : 1;
  tri_status status = key(p, &name);
  for (int depth = 1; status == TRI_OK && (blanks(p), peek(p) == '.'); depth++) {
    if (depth == TRI_TOML_DEPTH) status = tri_status_fail(p->err, TRI_E_LIMIT, "%s: line %d: tables %d deep", p->name, p->line, depth + 1);
    if (status == TRI_OK) status = enter(p, &in, json_string_value(name));
    json_decref(name), name = NULL, p->at++;
    if (status == TRI_OK) status = key(p, &name);
  }
  if (status == TRI_OK && !starts(p, in_array ? "]]" : "]")) status = fail(p, in_array ? "]] is expected" : "] is expected");
  if (status == TRI_OK) p->at += in_array ? 2 : 1, status = new_table(p, in, json_string_value(name), in_array);
  json_decref(name);
  return status == TRI_OK ? line_end(p) : status;
}

tri_status tri_toml_parse(json_t **out, const char *text, size_t len, const char *name, tri_error *err) {
  if (len > TRI_TOML_BYTES) return tri_status_fail(err, TRI_E_LIMIT, "%s: more than %d bytes", name, TRI_TOML_BYTES);
  parser p = {.at = text, .end = text + len, .name = name, .line = 1, .err = err};
  p.root = p.table = json_object();
  tri_status status = p.root ? space(&p) : no_memory(&p);
  while (status == TRI_OK && p.at < p.end) {
    status = peek(&p) == '[' ? header(&p) : assignment(&p);
    if (status == TRI_OK) status = space(&p);
  }
  if (status != TRI_OK) return json_decref(p.root), status;
  return *out = p.root, TRI_OK;
}

tri_status tri_toml_read(json_t **out, const char *path, tri_error *err) {
  tri_buf text = {0};
  tri_status status = tri_file_read(&text, path, TRI_TOML_BYTES, err);
  if (status == TRI_OK) status = tri_toml_parse(out, (const char *)text.data, text.len, path, err);
  tri_buf_free(&text);
  return status;
}
