/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <jansson.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/toml.h"

/* What each means is written down in JSON. */
static const struct { const char *text, *json; } taken[] = {
    {"", "{}"},
    {"# only this\r\n\t\n", "{}"},
    {"a = 1", "{'a':1}"},
    {"a=+12_345 # so many\nb = -0\nc = 9223372036854775807\n", "{'a':12345,'b':0,'c':9223372036854775807}"},
    {"a = 0.5\nb = -1e3\nc = 6.25E-2\nd = 1_0.2_5", "{'a':0.5,'b':-1000.0,'c':0.0625,'d':10.25}"},
    {"a = true\nb = false", "{'a':true,'b':false}"},
    {"a = \"x\\ty \\\\ \\\"q\\\" # \\u00e9 \\U0001F600\"\nb = 'as \\it is'\nc = \"\"", NULL},
    {"a = [ 1, 2,\n  # between\n  3, ]\nb = []\nc = [['x'], [true, 0.5]]", "{'a':[1,2,3],'b':[],'c':[['x'],[true,0.5]]}"},
    {"7up = 1\n-_ = 2\n\"a b.c\" = 3\n'd' = 4", "{'7up':1,'-_':2,'a b.c':3,'d':4}"},
    {"x = 1\n[a]\nx = 2\n[b.c . \"d.e\"]\nx = 3\n[b.f]", "{'x':1,'a':{'x':2},'b':{'c':{'d.e':{'x':3}},'f':{}}}"},
    {"[[n]]\nname = 'a'\n[n.link]\nms = 2\n[[n]]\n[n.link]\nms = 3\n[[n.sub]]\n[[n.sub]]\nz = 1",
     "{'n':[{'name':'a','link':{'ms':2}},{'link':{'ms':3},'sub':[{},{'z':1}]}]}"},
    {"a = 'b'", "{'a':'b'}"},
};

static void test_means_what_toml_says(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
    tri_error err = {0};
    json_t *got = NULL;
    char json[512];
    snprintf(json, sizeof json, "%s", taken[i].json ? taken[i].json : "{'a':'x\\ty \\\\ \\\"q\\\" # \u00e9 \U0001F600','b':'as \\\\it is','c':''}");
    for (char *c = json; *c; c++)
      if (*c == '\'') *c = '"';
    json_t *want = json_loads(json, 0, NULL);
    assert_non_null(want);
    assert_ok(tri_toml_parse(&got, taken[i].text, strlen(taken[i].text), "t", &err), err);
    if (!json_equal(got, want)) fail_msg("case %zu: %s is not %s", i, json_dumps(got, 0), json);
    json_decref(got);
    json_decref(want);
  }
}

static const struct { const char *text; tri_status status; const char *part; } refused[] = {
    {"a", TRI_E_FORMAT, "t: line 1: an = is expected"},
    {"\n\na = ", TRI_E_FORMAT, "line 3: a value is expected"},
    {"a = 1 b = 2", TRI_E_FORMAT, "more than one thing"},
    {"a = 1\na = 2", TRI_E_FORMAT, "line 2: key 'a' is already there"},
    {"= 1", TRI_E_FORMAT, "a key is expected"},
    {"a.b = 1", TRI_E_UNSUPPORTED, "a dotted key"},
    {"a = {b = 1}", TRI_E_UNSUPPORTED, "an inline table"},
    {"a = \"\"\"b\"\"\"", TRI_E_UNSUPPORTED, "several lines"},
    {"a = 1979-05-27", TRI_E_UNSUPPORTED, "a date"},
    {"a = 07:32:00", TRI_E_UNSUPPORTED, "a date"},
    {"a = 0x1f", TRI_E_UNSUPPORTED, "not decimal"},
    {"a = -inf", TRI_E_UNSUPPORTED, "inf and nan"},
    {"a = \"\\u0000\"", TRI_E_UNSUPPORTED, "NUL"},
    {"a = 012", TRI_E_FORMAT, "no string, number"},
    {"a = 1__2", TRI_E_FORMAT, "no string, number"},
    {"a = 1.", TRI_E_FORMAT, "no string, number"},
    {"a = .5", TRI_E_FORMAT, "no string, number"},
    {"a = 1e", TRI_E_FORMAT, "no string, number"},
    {"a = 1.2.3", TRI_E_FORMAT, "no string, number"},
    {"a = 1e5e5", TRI_E_FORMAT, "no string, number"},
    {"a = --1", TRI_E_FORMAT, "no string, number"},
    {"a = truest", TRI_E_FORMAT, "no string, number"},
    {"a = 9223372036854775808", TRI_E_FORMAT, "beyond 64 bits"},
    {"a = 1e999", TRI_E_FORMAT, "out of range"},
    {"a = \"b", TRI_E_FORMAT, "without an end"},
    {"a = \"b\nc\"", TRI_E_FORMAT, "without an end"},
    {"a = \"\\x\"", TRI_E_FORMAT, "an escape"},
    {"a = \"\\ud800\"", TRI_E_FORMAT, "no character"},
    {"a = \"\xff\"", TRI_E_FORMAT, "not UTF-8"},
    {"a = 'b\x01'", TRI_E_FORMAT, "a control character"},
    {"# \x01", TRI_E_FORMAT, "a control character in a comment"},
    {"a = [1", TRI_E_FORMAT, "a comma or ]"},
    {"a = [1 2]", TRI_E_FORMAT, "a comma or ]"},
    {"a = [,]", TRI_E_FORMAT, "a value is expected"},
    {"a = [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", TRI_E_LIMIT, "deep"},
    {"[a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a]", TRI_E_LIMIT, "deep"},
    {"[a", TRI_E_FORMAT, "] is expected"},
    {"[[a]", TRI_E_FORMAT, "]] is expected"},
    {"[]", TRI_E_FORMAT, "a key is expected"},
    {"[a]\n[a]", TRI_E_FORMAT, "table 'a' is already there"},
    {"[a]\n[[a]]", TRI_E_FORMAT, "table 'a' is already there"},
    {"[[a]]\n[a]", TRI_E_FORMAT, "table 'a' is already there"},
    {"a = []\n[[a]]", TRI_E_FORMAT, "table 'a' is already there"},
    {"a = [1]\n[a.b]", TRI_E_FORMAT, "a value 'a' is already there"},
    {"a = 1\n[a]", TRI_E_FORMAT, "table 'a' is already there"},
};

static void test_refuses_the_rest(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    tri_error err = {0};
    json_t *got = NULL;
    tri_status status = tri_toml_parse(&got, refused[i].text, strlen(refused[i].text), "t", &err);
    assert_case(i, status, refused[i].status, err, refused[i].part);
    assert_null(got);
  }
}

static void test_bytes(void **state) {
  (void)state;
  tri_error err = {0};
  json_t *got = NULL;
  assert_fails(tri_toml_parse(&got, "a = 1\0", 6, "t", &err), TRI_E_FORMAT, err, "more than one thing");
  assert_fails(tri_toml_parse(&got, "", TRI_TOML_BYTES + 1, "t", &err), TRI_E_LIMIT, err, "more than");
  assert_fails(tri_toml_read(&got, "/nowhere/at/all.toml", &err), TRI_E_NOT_FOUND, err, "/nowhere/at/all.toml");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_means_what_toml_says), cmocka_unit_test(test_refuses_the_rest),
                                     cmocka_unit_test(test_bytes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
