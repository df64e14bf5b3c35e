/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_ARGS_H
#define TRI_BASE_ARGS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/status.h"

/* Command-line options from one table, which also makes `--help`, pages for man and what shells complete: none can drift apart.
 * Accepted forms: --name VALUE, --name=VALUE, -name VALUE (long names with one dash, as bitnet.cpp's scripts
 * write `-temp`), -n VALUE, -nVALUE for a one-letter name; `--` ends the options. */

typedef enum {
  TRI_ARG_FLAG,   /* bool *: present = true */
  TRI_ARG_STRING, /* const char **: points into argv */
  TRI_ARG_INT,    /* int64_t *, checked against [min, max] */
  TRI_ARG_SIZE,   /* int64_t *, bytes: 700M, 2G, 512K or a plain number, checked against [min, max] */
  TRI_ARG_FLOAT,  /* double *, checked against [min, max] */
  TRI_ARG_MULTI,  /* tri_args_list *: may be given several times */
} tri_arg_type;

typedef struct tri_args_list {
  const char *items[32];
  int count;
} tri_args_list;

typedef struct tri_arg {
  const char *name;   /* long name without dashes */
  char letter;        /* one-letter name or 0 */
  tri_arg_type type;
  void *out;          /* holds the default before parsing */
  const char *value;  /* the value's name in the help, e.g. "FILE"; NULL for flags */
  const char *help;   /* one sentence; the default is stated here */
  double min, max;    /* TRI_ARG_INT, _SIZE, _FLOAT; both 0: no check */
} tri_arg;

typedef struct tri_args_spec {
  const char *command;  /* "trireme run" */
  const char *summary;  /* one sentence */
  const char *usage;    /* what follows the command in the usage line, e.g. "-m FILE -p PROMPT [options]" */
  const char *examples; /* lines, each ending in \n, indented by two blanks */
  const tri_arg *args;
  int count;
} tri_args_spec;

/* Parse argv[1..argc). Positional arguments are moved to argv[1..] in order and counted in *positionals.
 * --help prints the help on stdout (--help=FORM: that form), sets *helped and returns TRI_OK; the caller then exits 0.
 * An unknown option is TRI_E_INVALID with the nearest known one in err. */
TRI_MUST_CHECK tri_status tri_args_parse(const tri_args_spec *spec, int argc, char **argv, int *positionals, bool *helped,
                                         tri_error *err);
void tri_args_print_help(const tri_args_spec *spec, FILE *out);
/* The table in another form, which --help=FORM prints likewise: "man" (a page), "bash" or "zsh" (a branch of the scripts in
 * cli/completion.c). TRI_E_INVALID: it is none of these. */
TRI_MUST_CHECK tri_status tri_args_print_form(const tri_args_spec *spec, const char *form, FILE *out, tri_error *err);
/* The parts of a page, for one that has more between them; an item is what options are shown as. value: NULL if there is none. */
void tri_args_print_man_head(const tri_args_spec *spec, FILE *out);
void tri_args_print_man_item(const char *term, const char *value, const char *text, FILE *out);
void tri_args_print_man_tail(const tri_args_spec *spec, FILE *out);
/* "Exit codes: …", which ends every help. */
void tri_args_print_exit_codes(FILE *out);
/* The candidate nearest to `word` by edit distance if it is near enough to suggest, else NULL. */
const char *tri_args_nearest(const char *word, const char *const *candidates, int count);
/* "512K", "1.5G", "1000" → bytes; powers of 1024. */
TRI_MUST_CHECK tri_status tri_args_parse_size(const char *text, int64_t *bytes);

#endif
