/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_CLI_H
#define TRI_CLI_CLI_H
#include <stdbool.h>
#include <stdio.h>
#include "base/args.h"
#include "base/status.h"
#include "base/units.h"
#include "engine/kv.h"
#include "engine/single.h"

/* One file a subcommand; each takes the arguments from its own name on and returns the process' exit code. */
int tri_cli_run(int argc, char **argv);
int tri_cli_eval(int argc, char **argv);
int tri_cli_compare(int argc, char **argv);
int tri_cli_bench(int argc, char **argv);
int tri_cli_inspect(int argc, char **argv);
int tri_cli_chat(int argc, char **argv);
int tri_cli_tokenize(int argc, char **argv);
int tri_cli_convert(int argc, char **argv);
int tri_cli_make_dummy(int argc, char **argv);
int tri_cli_keygen(int argc, char **argv);
int tri_cli_keys(int argc, char **argv);
int tri_cli_token(int argc, char **argv);
int tri_cli_join(int argc, char **argv);
int tri_cli_discover(int argc, char **argv);
int tri_cli_local(int argc, char **argv);
int tri_cli_submit(int argc, char **argv);
int tri_cli_jobs(int argc, char **argv);
int tri_cli_show(int argc, char **argv);
int tri_cli_result(int argc, char **argv);
int tri_cli_follow(int argc, char **argv);
int tri_cli_cancel(int argc, char **argv);
int tri_cli_rm(int argc, char **argv);
int tri_cli_batch(int argc, char **argv);
int tri_cli_status(int argc, char **argv);
int tri_cli_plan(int argc, char **argv);
int tri_cli_drain(int argc, char **argv);
int tri_cli_completion(int argc, char **argv);

typedef struct tri_cli_command {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *summary; /* a phrase */
} tri_cli_command;
/* All of them, *n, in the order of the help. */
const tri_cli_command *tri_cli_commands(int *n);

/* Print "trireme: TEXT" on stderr and return the exit code for the error's status. */
int tri_cli_fail(const tri_error *err);
/* Parse by the table. True: go on. False: end with *exit_code (help was shown, or an error was printed).
 * positionals: how many the command takes at least and at most; they stand in argv[1..]. */
bool tri_cli_parse(const tri_args_spec *spec, int argc, char **argv, int min_positionals, int max_positionals, int *positionals,
                   int *exit_code);

/* "f32", "f16", "bf16", "q8_0", "q6_k" → a tri_type for embeddings and heads */
TRI_MUST_CHECK tri_status tri_cli_matrix_type(const char *option, const char *name, uint32_t *out, tri_error *err);
/* "1,2,8" → numbers in [1, most]; *n of at most `cap` */
TRI_MUST_CHECK tri_status tri_cli_int_list(const char *option, const char *text, int64_t most, int64_t *out, int *n, int cap,
                                           tri_error *err);

/* A line on stderr for work that takes longer than a second: bar, amount, rate, time left. Only on a terminal. */
typedef struct tri_progress {
  const char *label;
  const char *unit; /* what is counted, such as "lines"; NULL: bytes */
  int64_t start_ms, shown_ms;
  bool drawn;
} tri_progress;
tri_progress tri_progress_begin(const char *label);
/* matches the engine's callbacks: arg is the tri_progress */
void tri_progress_update(void *arg, uint64_t done, uint64_t total);
void tri_progress_end(tri_progress *p);

/* Speeds, by one definition: the prompt's tokens over the time until the first token; the tokens after the first, which comes
 * out of the prompt, over the time after it. */
double tri_cli_prefill_rate(uint64_t prompt_tokens, uint64_t prefill_us);
double tri_cli_decode_rate(uint64_t tokens, uint64_t decode_us);
/* "prefill 12 tokens, 340.1 tokens/s; generated 50 tokens, 61.2 tokens/s after the first" */
void tri_cli_print_speed(FILE *out, uint64_t prompt_tokens, uint64_t prefill_us, uint64_t tokens, uint64_t decode_us);

#endif
