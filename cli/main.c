/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "cli/cli.h"

static const tri_cli_command commands[] = {
    {"run", tri_cli_run, "generate text in this process, without a cluster"},
    {"chat", tri_cli_chat, "talk with a model, in this process or over a cluster"},
    {"local", tri_cli_local, "generate text over a cluster of processes on this machine"},
    {"submit", tri_cli_submit, "give a prompt to a running cluster"},
    {"jobs", tri_cli_jobs, "list a cluster's jobs"},
    {"show", tri_cli_show, "show one job"},
    {"result", tri_cli_result, "print a job's answer"},
    {"follow", tri_cli_follow, "show a job's answer as it comes"},
    {"cancel", tri_cli_cancel, "end jobs"},
    {"rm", tri_cli_rm, "forget ended jobs"},
    {"batch", tri_cli_batch, "answer a file of requests, in this process or over a cluster"},
    {"status", tri_cli_status, "show a cluster's nodes, stages and jobs"},
    {"plan", tri_cli_plan, "show how a model would be shared out over nodes"},
    {"drain", tri_cli_drain, "take a worker out of a running cluster, or let it back in"},
    {"keygen", tri_cli_keygen, "make a key for a node, a client or a coordinator"},
    {"keys", tri_cli_keys, "list, revoke or rename the keys that a coordinator lets in"},
    {"token", tri_cli_token, "make, list or revoke tokens by which machines join a coordinator"},
    {"join", tri_cli_join, "become a coordinator's client with a token"},
    {"discover", tri_cli_discover, "list the coordinators on this network"},
    {"inspect", tri_cli_inspect, "show what is in a model file"},
    {"tokenize", tri_cli_tokenize, "show the tokens of a text, or the text of tokens"},
    {"convert", tri_cli_convert, "make a GGUF model from a Hugging Face folder, or change its ternary type"},
    {"make-dummy", tri_cli_make_dummy, "make a random model of a real one's shape, for speed work"},
    {"eval", tri_cli_eval, "measure a model's loss on a text, or its choices among answers"},
    {"compare", tri_cli_compare, "measure how far two models, KV types or wire types are apart"},
    {"bench", tri_cli_bench, "measure speed against the machine's limits"},
    {"completion", tri_cli_completion, "print what lets a shell complete commands and options"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const tri_args_spec spec = {
    "trireme", "Run ternary language models on one machine or on several as a pipeline.", "COMMAND [options]", NULL, NULL, 0};

const tri_cli_command *tri_cli_commands(int *n) { return *n = COMMANDS, commands; }

static void print_help(FILE *out) {
  fputs("Trireme runs ternary language models on one machine or on several as a pipeline.\n\n"
        "Usage: trireme COMMAND [options]\n\nCommands:\n", out);
  for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
  fputs("\n`trireme COMMAND --help` shows a command's options and examples. The daemons are trireme-coordinator and\n"
        "trireme-worker.\n\n", out);
  tri_args_print_exit_codes(out);
}

static void print_man(FILE *out) {
  tri_args_print_man_head(&spec, out);
  fputs(".SH COMMANDS\nEach has a page of its own, such as \\fBtrireme\\-run\\fR(1).\n", out);
  for (int i = 0; i < COMMANDS; i++) tri_args_print_man_item(commands[i].name, NULL, commands[i].summary, out);
  tri_args_print_man_tail(&spec, out);
}

int main(int argc, char **argv) {
  if (argc < 2) return print_help(stderr), 2;
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) return print_help(stdout), 0;
  if (strcmp(name, "--help=man") == 0) return print_man(stdout), 0;
  if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) return printf("trireme %s\n", TRIREME_VERSION), 0;
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    names[i] = commands[i].name;
    if (strcmp(name, names[i]) == 0) return commands[i].run(argc - 1, argv + 1);
  }
  const char *near = tri_args_nearest(name, names, COMMANDS);
  if (near) fprintf(stderr, "trireme: unknown command '%s'; did you mean '%s'?\n", name, near);
  else fprintf(stderr, "trireme: unknown command '%s'; `trireme --help` lists them\n", name);
  return 2;
}
