/* SPDX-License-Identifier: MIT */
#include "base/args.h"

#include <ctype.h>
#include <string.h>

/* --- for people --- */

/* Print `text` from column `indent`, broken at blanks to fit 100 columns; the cursor already stands there. */
static void print_wrapped(FILE *out, const char *text, int indent) {
  int column = indent;
  while (*text) {
    int len = (int)strcspn(text, " ");
    if (column > indent && column + 1 + len > 100) fprintf(out, "\n%*s", indent, ""), column = indent;
    else if (column > indent) fputc(' ', out), column++;
    fprintf(out, "%.*s", len, text);
    column += len;
    text += len;
    while (*text == ' ') text++;
  }
  fputc('\n', out);
}

void tri_args_print_help(const tri_args_spec *spec, FILE *out) {
  fprintf(out, "%s\n\nUsage: %s %s\n", spec->summary, spec->command, spec->usage);
  if (spec->count) fputs("\nOptions:\n", out);
  for (int i = 0; i < spec->count; i++) {
    const tri_arg *a = &spec->args[i];
    char left[64];
    int n = a->letter ? snprintf(left, sizeof left, "  -%c, --%s", a->letter, a->name) : snprintf(left, sizeof left, "      --%s", a->name);
    if (a->value && n < (int)sizeof left) snprintf(left + n, sizeof left - (size_t)n, " %s", a->value);
    fprintf(out, "%-30s", left);
    if (strlen(left) >= 30) fprintf(out, "\n%30s", "");
    print_wrapped(out, a->help, 30);
  }
  fprintf(out, "%-30s%s\n", "  -h, --help", "Show this help; --help=man: as a page for man.");
  if (spec->examples) fprintf(out, "\nExamples:\n%s", spec->examples);
  fputc('\n', out);
  tri_args_print_exit_codes(out);
}

void tri_args_print_exit_codes(FILE *out) { print_wrapped(out, "Exit codes: " TRI_STATUS_EXIT_CODES ".", 0); }

/* --- for man(7) --- */

/* A text of one or several lines, none of which begins with a request or ends one. */
static void man_text(FILE *out, const char *text) {
  if (*text == '.' || *text == '\'') fputs("\\&", out);
  for (; *text; text++) {
    if (*text == '\\') fputs("\\e", out);
    else if (*text == '-') fputs("\\-", out);
    else fputc(*text, out);
    if (*text == '\n' && (text[1] == '.' || text[1] == '\'')) fputs("\\&", out);
  }
}

/* "trireme run" -> "trireme-run" */
static void page_name(const char *command, char out[64]) {
  size_t i = 0;
  for (; command[i] && i < 63; i++) out[i] = command[i] == ' ' ? '-' : command[i];
  out[i] = 0;
}

/* Of a summary's beginning, what can stand in a list of pages. */
static int phrase_len(const char *summary) {
  size_t len = strcspn(summary, ".;:");
  while (summary[len] && summary[len + 1] && summary[len + 1] != ' ') len += 1 + strcspn(summary + len + 1, ".;:"); /* as in 1.58 */
  return (int)len;
}

void tri_args_print_man_head(const tri_args_spec *spec, FILE *out) {
  char name[64], title[64], phrase[256];
  page_name(spec->command, name);
  for (size_t i = 0; i < sizeof name; i++) title[i] = (char)toupper((unsigned char)name[i]);
  fprintf(out, ".TH %s 1 \"%s\" \"trireme %s\" \"Trireme\"\n.SH NAME\n", title, TRIREME_DATE, TRIREME_VERSION);
  snprintf(phrase, sizeof phrase, "%.*s", phrase_len(spec->summary), spec->summary);
  phrase[0] = (char)tolower((unsigned char)phrase[0]);
  man_text(out, name);
  fputs(" \\- ", out);
  man_text(out, phrase);
  fprintf(out, "\n.SH SYNOPSIS\n\\fB%s\\fR ", spec->command);
  man_text(out, spec->usage);
  fputs("\n.SH DESCRIPTION\n", out);
  man_text(out, spec->summary);
  fputc('\n', out);
}

void tri_args_print_man_item(const char *term, const char *value, const char *text, FILE *out) {
  fputs(".TP\n\\fB", out);
  man_text(out, term);
  fputs("\\fR", out);
  if (value) fputs(" \\fI", out), man_text(out, value), fputs("\\fR", out);
  fputc('\n', out);
  man_text(out, text);
  fputc('\n', out);
}

void tri_args_print_man_tail(const tri_args_spec *spec, FILE *out) {
  fputs(".SH OPTIONS\n", out);
  for (int i = 0; i < spec->count; i++) {
    const tri_arg *a = &spec->args[i];
    char term[64];
    if (a->letter) snprintf(term, sizeof term, "-%c, --%s", a->letter, a->name);
    else snprintf(term, sizeof term, "--%s", a->name);
    tri_args_print_man_item(term, a->value, a->help, out);
  }
  tri_args_print_man_item("-h, --help", NULL, "Show a short help.", out);
  if (spec->examples) fputs(".SH EXAMPLES\n.nf\n", out), man_text(out, spec->examples), fputs(".fi\n", out);
  fputs(".SH EXIT STATUS\n", out);
  man_text(out, TRI_STATUS_EXIT_CODES ".\n");
  fputs(".SH SEE ALSO\n\\fBtrireme\\fR(1)\n", out);
}

/* --- for shells --- */

static bool takes_folder(const tri_arg *a) { return a->value && strcmp(a->value, "DIR") == 0; }
static bool takes_file(const tri_arg *a) { return a->value && strcmp(a->value, "FILE") == 0; }

static void bash_names(const tri_arg *a, FILE *out) {
  fprintf(out, " --%s", a->name);
  if (a->letter) fprintf(out, " -%c", a->letter);
}

/* A branch of the `case` in cli/completion.c: all long options; those that take a folder; those that take what can't be guessed. */
static void print_bash(const tri_args_spec *spec, FILE *out) {
  fprintf(out, "  '%s')\n    options='", spec->command);
  for (int i = 0; i < spec->count; i++) fprintf(out, "--%s ", spec->args[i].name);
  fputs("--help'\n    folders='", out);
  for (int i = 0; i < spec->count; i++)
    if (takes_folder(&spec->args[i])) bash_names(&spec->args[i], out);
  fputs(" '\n    values='", out);
  for (int i = 0; i < spec->count; i++)
    if (spec->args[i].value && !takes_folder(&spec->args[i]) && !takes_file(&spec->args[i])) bash_names(&spec->args[i], out);
  fputs(" '\n    ;;\n", out);
}

/* Within single quotes, as a part of a specification for _arguments. */
static void zsh_text(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '\'') fputs("'\\''", out);
    else if (strchr("[]:\\", *text)) fprintf(out, "\\%c", *text);
    else fputc(*text, out);
  }
}

static void zsh_option(const tri_arg *a, FILE *out) {
  const char *equals = a->value ? "=" : "", *plus = a->value ? "+" : "", *many = a->type == TRI_ARG_MULTI ? "*" : "";
  fputs(" \\\n      ", out);
  if (a->letter && *many) fprintf(out, "'*'{-%c%s,--%s%s}'", a->letter, plus, a->name, equals);
  else if (a->letter) fprintf(out, "'(-%c --%s)'{-%c%s,--%s%s}'", a->letter, a->name, a->letter, plus, a->name, equals);
  else fprintf(out, "'%s--%s%s", many, a->name, equals);
  fputc('[', out), zsh_text(out, a->help), fputc(']', out);
  if (a->value) fputc(':', out), zsh_text(out, a->value), fputs(takes_file(a) ? ":_files" : takes_folder(a) ? ":_files -/" : ": ", out);
  fputc('\'', out);
}

static void print_zsh(const tri_args_spec *spec, FILE *out) {
  fprintf(out, "  ('%s')\n    _arguments", spec->command);
  for (int i = 0; i < spec->count; i++) zsh_option(&spec->args[i], out);
  fputs(" \\\n      '(-h --help)'{-h,--help}'[Show this help.]' '*: :_files'\n    ;;\n", out);
}

static void print_man(const tri_args_spec *spec, FILE *out) {
  tri_args_print_man_head(spec, out);
  tri_args_print_man_tail(spec, out);
}

tri_status tri_args_print_form(const tri_args_spec *spec, const char *form, FILE *out, tri_error *err) {
  static const struct {
    const char *name;
    void (*print)(const tri_args_spec *spec, FILE *out);
  } forms[] = {{"man", print_man}, {"bash", print_bash}, {"zsh", print_zsh}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (strcmp(forms[i].name, form) == 0) return forms[i].print(spec, out), TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--help=%s: known are man, bash and zsh", form);
}
