/* SPDX-License-Identifier: MIT */
#include "engine/schema.h"

#include <jansson.h>
#include <stdlib.h>
#include "engine/grammar.h"

enum { NESTING = 64, PATH = 256, MOST_RULES = 20000 };

/* Rules that others are made of; `any` is any JSON value. */
static const char base_rules[] =
    "ws ::= (\" \" | \"\\n\" [ \\t]{0,20})?\n"
    "hex ::= [0-9a-fA-F]\n"
    "escape ::= \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2}))\n" /* no surrogates */
    "char ::= [^\"\\\\\\x00-\\x1f\\x7f] | escape\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "array ::= \"[\" ws (any (ws \",\" ws any)*)? ws \"]\"\n"
    "object ::= \"{\" ws (string ws \":\" ws any (ws \",\" ws string ws \":\" ws any)*)? ws \"}\"\n"
    "any ::= string | number | boolean | null | array | object\n";

typedef struct compiler {
  const json_t *root;
  tri_buf *out;     /* finished rules */
  json_t *refs;     /* pointer → its rule's number */
  int rules, depth;
  char path[PATH];  /* of the schema at hand, "#/properties/name" */
  tri_error *err;
} compiler;

/* tri_status_fail with the place in the schema. */
#define FAIL(c, status, ...) tri_status_prefix((c)->err, tri_status_fail((c)->err, status, __VA_ARGS__), "schema at %s", (c)->path)

/* --- writing --- */

/* Bytes as a literal; they are UTF-8, as jansson lets nothing else in. */
static void put_literal(tri_buf *b, const char *text, size_t len) {
  tri_buf_byte(b, '"');
  for (size_t i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte < ' ' || byte == 0x7f) tri_buf_printf(b, "\\x%02x", byte);
    else if (byte == '"' || byte == '\\') tri_buf_printf(b, "\\%c", byte);
    else tri_buf_byte(b, byte);
  }
  tri_buf_byte(b, '"');
}

/* A JSON value as a literal, numbers as short as they keep their value. */
static tri_status put_value(const compiler *c, tri_buf *b, const json_t *value) {
  const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
  char *text = json_dumps(value, flags | JSON_REAL_PRECISION(15));
  json_t *back = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  if (!json_equal(back, value)) free(text), text = json_dumps(value, flags | JSON_REAL_PRECISION(17));
  json_decref(back);
  if (!text) return FAIL(c, TRI_E_NOMEM, "out of memory");
  put_literal(b, text, strlen(text));
  free(text);
  return TRI_OK;
}

/* "r7 ::= …" among the finished rules. */
static tri_status finish_rule(compiler *c, int rule, const tri_buf *body) {
  tri_buf_printf(c->out, "r%d ::= ", rule);
  tri_buf_append(c->out, body->data, body->len);
  tri_buf_byte(c->out, '\n');
  if (!tri_buf_ok(body) || !tri_buf_ok(c->out)) return FAIL(c, TRI_E_NOMEM, "out of memory");
  return c->out->len > TRI_GRAMMAR_BYTES ? FAIL(c, TRI_E_LIMIT, "the schema's grammar is longer than %d bytes", TRI_GRAMMAR_BYTES) : TRI_OK;
}

/* --- keywords --- */

static bool is_one_of(const char *word, const char *const *words) {
  for (; *words; words++)
    if (strcmp(word, *words) == 0) return true;
  return false;
}

/* Nothing in the schema that would be passed over and mean something. `known` are the keywords of this kind of schema. */
static tri_status check_keywords(const compiler *c, const json_t *schema, const char *const *known) {
  static const char *const annotations[] = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema",
                                            "$id", "$comment", "$defs", "definitions", NULL};
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    if (!is_one_of(key, annotations) && !is_one_of(key, known))
      return FAIL(c, TRI_E_UNSUPPORTED, "'%.60s' is not supported %s", key, is_one_of("type", known) ? "here" : "beside it");
  return TRI_OK;
}

static tri_status compile(compiler *c, const json_t *schema, int *rule);

/* A schema within this one, with its path. */
static tri_status compile_at(compiler *c, const json_t *schema, const char *step, int *rule) {
  size_t len = strlen(c->path);
  snprintf(c->path + len, sizeof c->path - len, "/%s", step);
  tri_status status = c->depth == NESTING ? FAIL(c, TRI_E_LIMIT, "nested more than %d deep", NESTING) : TRI_OK;
  c->depth++;
  if (status == TRI_OK) status = compile(c, schema, rule);
  c->depth--;
  if (status == TRI_OK) c->path[len] = 0;
  return status;
}

/* A count that a keyword gives, or `otherwise`. */
static tri_status get_count(const compiler *c, const json_t *schema, const char *key, json_int_t otherwise, json_int_t *out) {
  const json_t *value = json_object_get(schema, key);
  *out = value ? json_integer_value(value) : otherwise;
  if (value && (!json_is_integer(value) || *out < 0 || *out > TRI_GRAMMAR_REPEATS))
    return FAIL(c, TRI_E_INVALID, "'%s' must be a whole number from 0 to %d", key, TRI_GRAMMAR_REPEATS);
  return TRI_OK;
}

/* {least,most}, after what is repeated; most < 0: no limit */
static void put_counts(tri_buf *b, json_int_t least, json_int_t most) {
  if (most < 0) tri_buf_printf(b, "{%lld,}", (long long)least);
  else tri_buf_printf(b, "{%lld,%lld}", (long long)least, (long long)most);
}

static tri_status get_limits(const compiler *c, const json_t *schema, const char *least_key, const char *most_key, json_int_t *least,
                             json_int_t *most) {
  tri_status status = get_count(c, schema, least_key, 0, least);
  if (status == TRI_OK) status = get_count(c, schema, most_key, -1, most);
  if (status == TRI_OK && *most >= 0 && *most < *least) status = FAIL(c, TRI_E_INVALID, "'%s' is above '%s'", least_key, most_key);
  return status;
}

/* --- kinds of schemas: each writes one alternative --- */

static tri_status put_string(compiler *c, const json_t *schema, tri_buf *b) {
  json_int_t least, most;
  tri_status status = get_limits(c, schema, "minLength", "maxLength", &least, &most);
  tri_buf_printf(b, "\"\\\"\" char");
  put_counts(b, least, most);
  tri_buf_printf(b, " \"\\\"\"");
  return status;
}

static tri_status put_array(compiler *c, const json_t *schema, tri_buf *b) {
  json_int_t least, most;
  const json_t *items = json_object_get(schema, "items");
  int item = 0;
  char name[24] = "any";
  tri_status status = get_limits(c, schema, "minItems", "maxItems", &least, &most);
  if (status == TRI_OK && items) status = compile_at(c, items, "items", &item);
  if (status != TRI_OK) return status;
  if (items) snprintf(name, sizeof name, "r%d", item);
  tri_buf_printf(b, "\"[\" ws ");
  if (most) {
    tri_buf_printf(b, "(%s (ws \",\" ws %s)", name, name);
    put_counts(b, least ? least - 1 : 0, most < 0 ? -1 : most - 1);
    tri_buf_printf(b, ")%s", least ? "" : "?");
  }
  tri_buf_printf(b, " ws \"]\"");
  return TRI_OK;
}

/* The required names, as keys of *out. */
static tri_status get_required(const compiler *c, const json_t *schema, json_t *out) {
  const json_t *list = json_object_get(schema, "required"), *properties = json_object_get(schema, "properties");
  if (list && !json_is_array(list)) return FAIL(c, TRI_E_INVALID, "'required' must be a list of names");
  for (size_t i = 0; i < json_array_size(list); i++) {
    const char *name = json_string_value(json_array_get(list, i));
    if (!name) return FAIL(c, TRI_E_INVALID, "'required' must be a list of names");
    if (!json_object_get(properties, name)) return FAIL(c, TRI_E_UNSUPPORTED, "'%.60s' is required, but not among the properties", name);
    if (json_object_set_new(out, name, json_true()) != 0) return FAIL(c, TRI_E_NOMEM, "out of memory");
  }
  return TRI_OK;
}

/* An object without properties of its own is a map. */
static tri_status put_map(compiler *c, const json_t *schema, tri_buf *b) {
  const json_t *more = json_object_get(schema, "additionalProperties");
  int value = 0;
  if (json_is_false(more)) return tri_buf_printf(b, "\"{\" ws \"}\""), TRI_OK;
  if (!more || json_is_true(more)) return tri_buf_printf(b, "object"), TRI_OK;
  tri_status status = compile_at(c, more, "additionalProperties", &value);
  tri_buf_printf(b, "\"{\" ws (string ws \":\" ws r%d (ws \",\" ws string ws \":\" ws r%d)*)? ws \"}\"", value, value);
  return status;
}

static tri_status put_member(compiler *c, const char *key, const json_t *schema, tri_buf *b) {
  int rule;
  char step[80];
  json_t *name = json_string(key);
  snprintf(step, sizeof step, "properties/%s", key);
  tri_status status = name ? put_value(c, b, name) : FAIL(c, TRI_E_NOMEM, "out of memory");
  json_decref(name);
  if (status == TRI_OK) status = compile_at(c, schema, step, &rule);
  if (status == TRI_OK) tri_buf_printf(b, " ws \":\" ws r%d", rule);
  return status;
}

/* For each property a rule for what may follow it, the last one first: two of them, as a comma is needed once there was a
 * property. `rest` is the rule after a comma's place, `start` the one at the beginning. */
static tri_status put_properties(compiler *c, const json_t *properties, const json_t *required, tri_buf *b) {
  size_t n = json_object_size(properties), i = n;
  const char **keys = malloc((n + 1) * sizeof *keys);
  int start = 0, rest = 0; /* 0: nothing */
  const char *key;
  json_t *value;
  tri_status status = keys ? TRI_OK : FAIL(c, TRI_E_NOMEM, "out of memory");
  if (keys) json_object_foreach((json_t *)(uintptr_t)properties, key, value) keys[n - i--] = key;
  for (i = n; status == TRI_OK && i--;) {
    tri_buf member = {0}, first = {0}, later = {0};
    status = put_member(c, keys[i], json_object_get(properties, keys[i]), &member);
    if (rest) tri_buf_printf(&member, " r%d", rest);
    bool may_lack = !json_object_get(required, keys[i]);
    tri_buf_append(&first, member.data, member.len);
    tri_buf_printf(&later, "ws \",\" ws ");
    tri_buf_append(&later, member.data, member.len);
    if (may_lack && i + 1 < n) tri_buf_printf(&first, " | r%d", start), tri_buf_printf(&later, " | r%d", rest);
    else if (may_lack) tri_buf_printf(&first, " | \"\""), tri_buf_printf(&later, " | \"\"");
    start = ++c->rules, rest = ++c->rules;
    if (status == TRI_OK) status = finish_rule(c, start, &first);
    if (status == TRI_OK) status = finish_rule(c, rest, &later);
    tri_buf_free(&member), tri_buf_free(&first), tri_buf_free(&later);
  }
  free(keys);
  tri_buf_printf(b, "\"{\" ws r%d ws \"}\"", start);
  return status;
}

static tri_status put_object(compiler *c, const json_t *schema, tri_buf *b) {
  const json_t *properties = json_object_get(schema, "properties"), *more = json_object_get(schema, "additionalProperties");
  if (properties && !json_is_object(properties)) return FAIL(c, TRI_E_INVALID, "'properties' must be an object");
  if (more && !json_is_boolean(more) && !json_is_object(more))
    return FAIL(c, TRI_E_INVALID, "'additionalProperties' must be true, false or a schema");
  json_t *required = json_object();
  tri_status status = required ? get_required(c, schema, required) : FAIL(c, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK) status = json_object_size(properties) ? put_properties(c, properties, required, b) : put_map(c, schema, b);
  json_decref(required);
  return status;
}

static tri_status put_type(compiler *c, const json_t *schema, const char *type, tri_buf *b) {
  static const char *const plain[] = {"number", "integer", "boolean", "null", NULL};
  if (strcmp(type, "string") == 0) return put_string(c, schema, b);
  if (strcmp(type, "array") == 0) return put_array(c, schema, b);
  if (strcmp(type, "object") == 0) return put_object(c, schema, b);
  if (is_one_of(type, plain)) return tri_buf_printf(b, "%s", type), TRI_OK;
  return FAIL(c, TRI_E_INVALID, "type '%.40s' is not one of JSON's", type);
}

/* With `type` as a list, an alternative for each. */
static tri_status put_types(compiler *c, const json_t *schema, const json_t *type, tri_buf *b) {
  static const char *const known[] = {"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
                                      "minLength", "maxLength", NULL};
  tri_status status = check_keywords(c, schema, known);
  if (status == TRI_OK && json_is_string(type)) return put_type(c, schema, json_string_value(type), b);
  if (status == TRI_OK && !json_array_size(type)) return FAIL(c, TRI_E_INVALID, "'type' must be a name or a list of names");
  for (size_t i = 0; status == TRI_OK && i < json_array_size(type); i++) {
    const char *name = json_string_value(json_array_get(type, i));
    if (!name) return FAIL(c, TRI_E_INVALID, "'type' must be a name or a list of names");
    if (i) tri_buf_printf(b, " | ");
    status = put_type(c, schema, name, b);
  }
  return status;
}

static bool has_type(const json_t *value, const char *type) {
  static const struct { const char *name; json_type a, b; } types[] = {
      {"string", JSON_STRING, JSON_STRING}, {"integer", JSON_INTEGER, JSON_INTEGER}, {"number", JSON_INTEGER, JSON_REAL},
      {"boolean", JSON_TRUE, JSON_FALSE}, {"null", JSON_NULL, JSON_NULL}, {"array", JSON_ARRAY, JSON_ARRAY},
      {"object", JSON_OBJECT, JSON_OBJECT}};
  for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, type) == 0) return json_typeof(value) == types[i].a || json_typeof(value) == types[i].b;
  return false;
}

static bool has_types(const json_t *value, const json_t *type) {
  bool any = !type || has_type(value, json_string_value(type));
  for (size_t i = 0; i < json_array_size(type); i++) any |= has_type(value, json_string_value(json_array_get(type, i)));
  return any;
}

/* Those of the values that are of the type given beside them, if there is one. */
static tri_status put_enum(compiler *c, const json_t *schema, const json_t *values, tri_buf *b) {
  static const char *const known[] = {"enum", "const", "type", NULL};
  size_t written = 0;
  tri_status status = check_keywords(c, schema, known);
  for (size_t i = 0; status == TRI_OK && i < json_array_size(values); i++) {
    const json_t *value = json_array_get(values, i);
    if (!has_types(value, json_object_get(schema, "type"))) continue;
    if (written++) tri_buf_printf(b, " | ");
    status = put_value(c, b, value);
  }
  if (status == TRI_OK && !written) return FAIL(c, TRI_E_INVALID, "no value is possible: 'enum' and 'const' need values of the type");
  return status;
}

static tri_status put_const(compiler *c, const json_t *schema, const json_t *value, tri_buf *b) {
  json_t *one = json_pack("[O]", value);
  tri_status status = one ? put_enum(c, schema, one, b) : FAIL(c, TRI_E_NOMEM, "out of memory");
  json_decref(one);
  return status;
}

static tri_status put_any_of(compiler *c, const json_t *schema, const json_t *list, tri_buf *b) {
  static const char *const known[] = {"anyOf", NULL};
  tri_status status = check_keywords(c, schema, known);
  if (status == TRI_OK && !json_array_size(list)) return FAIL(c, TRI_E_INVALID, "'anyOf' must be a list of schemas");
  for (size_t i = 0; status == TRI_OK && i < json_array_size(list); i++) {
    char step[24];
    int rule = 0;
    snprintf(step, sizeof step, "anyOf/%zu", i);
    status = compile_at(c, json_array_get(list, i), step, &rule);
    tri_buf_printf(b, "%sr%d", i ? " | " : "", rule);
  }
  return status;
}

/* What a pointer names: # or #/$defs/NAME or #/definitions/NAME. */
static const json_t *find(const compiler *c, const char *pointer) {
  static const char *const folders[] = {"$defs", "definitions"};
  if (strcmp(pointer, "#") == 0) return c->root;
  for (int i = 0; i < 2; i++) {
    size_t len = strlen(folders[i]);
    if (strncmp(pointer, "#/", 2) == 0 && strncmp(pointer + 2, folders[i], len) == 0 && pointer[2 + len] == '/')
      return json_object_get(json_object_get(c->root, folders[i]), pointer + 3 + len);
  }
  return NULL;
}

/* A schema that is named has one rule, made when it is first asked for, so that it may name itself. */
static tri_status put_ref(compiler *c, const json_t *schema, const json_t *ref, tri_buf *b) {
  static const char *const known[] = {"$ref", NULL};
  const char *pointer = json_string_value(ref);
  const json_t *target = pointer ? find(c, pointer) : NULL;
  tri_status status = check_keywords(c, schema, known);
  if (status != TRI_OK) return status;
  if (!target) return FAIL(c, TRI_E_UNSUPPORTED, "$ref '%.60s': '#' or '#/$defs/NAME' of this schema is expected", pointer ? pointer : "");
  const json_t *done = json_object_get(c->refs, pointer);
  if (done) return tri_buf_printf(b, "r%d", (int)json_integer_value(done)), TRI_OK;
  int name = ++c->rules, rule = 0;
  tri_buf body = {0};
  if (json_object_set_new(c->refs, pointer, json_integer(name)) != 0) return FAIL(c, TRI_E_NOMEM, "out of memory");
  status = compile_at(c, target, "$ref", &rule);
  tri_buf_printf(&body, "r%d", rule);
  if (status == TRI_OK) status = finish_rule(c, name, &body);
  tri_buf_free(&body);
  tri_buf_printf(b, "r%d", name);
  return status;
}

static tri_status put_schema(compiler *c, const json_t *schema, tri_buf *b) {
  static const char *const nothing[] = {"type", NULL};
  const json_t *x;
  if (json_is_true(schema)) return tri_buf_printf(b, "any"), TRI_OK;
  if (!json_is_object(schema)) return FAIL(c, TRI_E_INVALID, "a schema is an object, or true");
  if ((x = json_object_get(schema, "$ref"))) return put_ref(c, schema, x, b);
  if ((x = json_object_get(schema, "anyOf"))) return put_any_of(c, schema, x, b);
  if ((x = json_object_get(schema, "const"))) return put_const(c, schema, x, b);
  if ((x = json_object_get(schema, "enum"))) return put_enum(c, schema, x, b);
  if ((x = json_object_get(schema, "type"))) return put_types(c, schema, x, b);
  tri_status status = check_keywords(c, schema, nothing); /* without a type, the other keywords would bind only some values */
  tri_buf_printf(b, "any");
  return status;
}

static tri_status compile(compiler *c, const json_t *schema, int *rule) {
  tri_buf body = {0};
  tri_status status = c->rules > MOST_RULES ? FAIL(c, TRI_E_LIMIT, "more than %d parts", MOST_RULES) : TRI_OK;
  if (status == TRI_OK) status = put_schema(c, schema, &body);
  *rule = ++c->rules;
  if (status == TRI_OK) status = finish_rule(c, *rule, &body);
  tri_buf_free(&body);
  return status;
}

tri_status tri_schema_to_grammar(const char *json, size_t len, tri_buf *out, tri_error *err) {
  json_error_t why;
  if (len > TRI_SCHEMA_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "the schema has %zu bytes, more than the limit of %d", len, TRI_SCHEMA_BYTES);
  json_t *root = json_loadb(json, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
  if (!root) return tri_status_fail(err, TRI_E_INVALID, "the schema is no JSON: line %d: %s", why.line, why.text);
  compiler c = {.root = root, .out = out, .refs = json_object(), .path = "#", .err = err};
  int rule = 0;
  tri_buf_printf(out, "%s", base_rules);
  tri_status status = c.refs ? compile(&c, root, &rule) : FAIL(&c, TRI_E_NOMEM, "out of memory");
  tri_buf_printf(out, "root ::= r%d\n", rule);
  if (status == TRI_OK && !tri_buf_ok(out)) status = FAIL(&c, TRI_E_NOMEM, "out of memory");
  json_decref(c.refs);
  json_decref(root);
  return status;
}
