/* SPDX-License-Identifier: MIT */
#include "base/args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 64 };

static int edit_distance(const char *a, const char *b) {
  size_t la = strlen(a), lb = strlen(b);
  if (la >= MAX_WORD || lb >= MAX_WORD) return MAX_WORD;
  int row[MAX_WORD + 1];
  for (size_t j = 0; j <= lb; j++) row[j] = (int)j;
  for (size_t i = 1; i <= la; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= lb; j++) {
      int change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      int best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
      row[j] = change < best ? change : best;
    }
  }
  return row[lb];
}

const char *tri_args_nearest(const char *word, const char *const *candidates, int count) {
  const char *best = NULL;
  int best_distance = 3;
  for (int i = 0; i < count; i++) {
    int d = edit_distance(word, candidates[i]);
    /* a word that merely starts a longer name is a likely abbreviation */
    if (strlen(word) >= 3 && strncmp(word, candidates[i], strlen(word)) == 0 && d > 1) d = 1;
    if (d < best_distance && d < (int)strlen(candidates[i])) best = candidates[i], best_distance = d;
  }
  return best;
}

tri_status tri_args_parse_size(const char *text, int64_t *bytes) {
  char *end;
  errno = 0;
  double v = strtod(text, &end);
  if (end == text || errno || !isfinite(v) || v < 0) return TRI_E_INVALID;
  switch (toupper((unsigned char)*end)) {
  case 'T': v *= 1024; /* fallthrough */
  case 'G': v *= 1024; /* fallthrough */
  case 'M': v *= 1024; /* fallthrough */
  case 'K': v *= 1024, end++; break;
  default: break;
  }
  if (*end == 'i') end++;
  if (*end == 'B' || *end == 'b') end++;
  if (*end || v > 9e15) return TRI_E_INVALID;
  *bytes = (int64_t)v;
  return TRI_OK;
}

static const tri_arg *find_arg(const tri_args_spec *spec, const char *name, size_t len) {
  for (int i = 0; i < spec->count; i++)
    if (strlen(spec->args[i].name) == len && strncmp(spec->args[i].name, name, len) == 0) return &spec->args[i];
  return NULL;
}

static const tri_arg *find_letter(const tri_args_spec *spec, char letter) {
  for (int i = 0; i < spec->count; i++)
    if (spec->args[i].letter == letter) return &spec->args[i];
  return NULL;
}

static tri_status check_range(const tri_arg *a, double v, const char *text, tri_error *err) {
  if ((a->min == 0 && a->max == 0) || (v >= a->min && v <= a->max)) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--%s %s: must be between %g and %g", a->name, text, a->min, a->max);
}

static tri_status set_value(const tri_arg *a, const char *text, tri_error *err) {
  char *end;
  errno = 0;
  switch (a->type) {
  case TRI_ARG_FLAG: *(bool *)a->out = true; return TRI_OK;
  case TRI_ARG_STRING: *(const char **)a->out = text; return TRI_OK;
  case TRI_ARG_MULTI: {
    tri_args_list *list = a->out;
    if (list->count == (int)(sizeof list->items / sizeof list->items[0]))
      return tri_status_fail(err, TRI_E_LIMIT, "--%s: given more than %d times", a->name, list->count);
    list->items[list->count++] = text;
    return TRI_OK;
  }
  case TRI_ARG_INT: {
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno) return tri_status_fail(err, TRI_E_INVALID, "--%s %s: not a whole number", a->name, text);
    tri_status status = check_range(a, (double)v, text, err);
    if (status == TRI_OK) *(int64_t *)a->out = v;
    return status;
  }
  case TRI_ARG_SIZE: {
    int64_t v;
    if (tri_args_parse_size(text, &v) != TRI_OK)
      return tri_status_fail(err, TRI_E_INVALID, "--%s %s: not a size (examples: 700M, 2G)", a->name, text);
    tri_status status = check_range(a, (double)v, text, err);
    if (status == TRI_OK) *(int64_t *)a->out = v;
    return status;
  }
  case TRI_ARG_FLOAT: {
    double v = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(v)) return tri_status_fail(err, TRI_E_INVALID, "--%s %s: not a number", a->name, text);
    tri_status status = check_range(a, v, text, err);
    if (status == TRI_OK) *(double *)a->out = v;
    return status;
  }
  }
  return TRI_E_INTERNAL;
}

static tri_status unknown_option(const tri_args_spec *spec, const char *word, size_t len, tri_error *err) {
  char name[MAX_WORD];
  snprintf(name, sizeof name, "%.*s", (int)(len < MAX_WORD ? len : MAX_WORD - 1), word);
  const char *names[128];
  int n = 0;
  for (int i = 0; i < spec->count && n < 127; i++) names[n++] = spec->args[i].name;
  names[n++] = "help";
  const char *near = tri_args_nearest(name, names, n);
  if (near) return tri_status_fail(err, TRI_E_INVALID, "unknown option --%s; did you mean --%s?", name, near);
  return tri_status_fail(err, TRI_E_INVALID, "unknown option --%s; `%s --help` lists them", name, spec->command);
}

/* "-1" or "-0.5" is a value, not an option */
static bool looks_like_number(const char *s) { return s[0] == '-' && (isdigit((unsigned char)s[1]) || s[1] == '.'); }

tri_status tri_args_parse(const tri_args_spec *spec, int argc, char **argv, int *positionals, bool *helped, tri_error *err) {
  int npos = 0;
  bool options_ended = false;
  *helped = false;
  for (int i = 1; i < argc; i++) {
    char *word = argv[i];
    if (options_ended || word[0] != '-' || !word[1] || looks_like_number(word)) {
      argv[1 + npos++] = word;
      continue;
    }
    if (strcmp(word, "--") == 0) { options_ended = true; continue; }
    const char *name = word[1] == '-' ? word + 2 : word + 1;
    if (strcmp(name, "help") == 0 || strcmp(word, "-h") == 0) return tri_args_print_help(spec, stdout), *helped = true, TRI_OK;
    if (strncmp(name, "help=", 5) == 0) {
      tri_status status = tri_args_print_form(spec, name + 5, stdout, err);
      *helped = status == TRI_OK;
      return status;
    }
    const char *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const tri_arg *a = find_arg(spec, name, len);
    if (!a && word[1] != '-') {
      a = find_letter(spec, name[0]);
      if (a && len > 1 && (a->type == TRI_ARG_FLAG || isalpha((unsigned char)name[1]))) a = NULL; /* "-foo" is no "-f oo" */
      if (a && name[1]) value = name[1] == '=' ? name + 2 : name + 1;
    }
    if (!a) return unknown_option(spec, name, len, err);
    if (a->type == TRI_ARG_FLAG && value) return tri_status_fail(err, TRI_E_INVALID, "--%s takes no value", a->name);
    if (a->type != TRI_ARG_FLAG && !value) {
      if (i + 1 >= argc) return tri_status_fail(err, TRI_E_INVALID, "--%s needs a value (%s)", a->name, a->value);
      value = argv[++i];
    }
    tri_status status = set_value(a, value, err);
    if (status != TRI_OK) return status;
  }
  *positionals = npos;
  return TRI_OK;
}
