/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"

/* The scripts: a frame each, and in it a branch for each command, which the command's own table prints. */

static const tri_args_spec spec = {
    "trireme completion", "Print what lets a shell complete commands and options.", "bash | zsh",
    "  source <(trireme completion bash)\n"
    "  trireme completion zsh > ~/.zfunc/_trireme\n",
    NULL, 0};

static const char *const daemons[] = {"trireme-coordinator", "trireme-worker"};
enum { DAEMONS = sizeof daemons / sizeof *daemons };

/* A value after a space or an equals sign, which bash makes a word of its own. Files are what bash completes by itself. */
static const char BASH_HEAD[] =
    "_trireme() {\n"
    "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${1##*/} options= folders= values=\n"
    "  COMPREPLY=()\n"
    "  if [[ $command == trireme ]]; then\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "      mapfile -t COMPREPLY < <(compgen -W '";
static const char BASH_MIDDLE[] =
    "--help --version' -- \"$current\")\n"
    "      return\n"
    "    fi\n"
    "    command=\"trireme ${COMP_WORDS[1]}\"\n"
    "  fi\n"
    "  if [[ $current == = ]]; then current=\n"
    "  elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}\n"
    "  fi\n"
    "  case $command in\n";
static const char BASH_TAIL[] =
    "  'trireme completion')\n"
    "    options=--help\n"
    "    [[ $current == -* ]] || options='bash zsh'\n"
    "    ;;\n"
    "  esac\n"
    "  if [[ $folders == *\" $previous \"* ]]; then\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -d -- \"$current\")\n"
    "  elif [[ $values == *\" $previous \"* ]]; then\n"
    "    compopt +o default 2>/dev/null\n"
    "  elif [[ $current == -* || $command == 'trireme completion' ]]; then\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\")\n"
    "  fi\n"
    "}\n"
    "complete -o default -F _trireme trireme";

static const char ZSH_HEAD[] =
    "_trireme() {\n"
    "  local command=${words[1]:t}\n"
    "  if [[ $command == trireme ]]; then\n"
    "    if ((CURRENT == 2)); then\n"
    "      local -a commands=(";
static const char ZSH_MIDDLE[] =
    ")\n"
    "      _describe command commands\n"
    "      return\n"
    "    fi\n"
    "    command=\"trireme ${words[2]}\"\n"
    "    shift words\n"
    "    ((CURRENT--))\n"
    "  fi\n"
    "  case $command in\n"
    "  ('trireme completion')\n"
    "    _values shell bash zsh\n"
    "    ;;\n";
static const char ZSH_TAIL[] =
    "  esac\n"
    "}\n"
    "if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then _trireme \"$@\"\n"
    "else compdef _trireme trireme";

/* A daemon's branch; it stands beside this program, and what is not there is left out. */
static void print_daemon(const char *name, char *form) {
  char path[PATH_MAX];
  pid_t pid;
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return;
  path[n] = 0;
  char *slash = strrchr(path, '/');
  snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "%s", name);
  fflush(stdout);
  if (posix_spawn(&pid, path, NULL, NULL, (char *[]){path, form, NULL}, environ) == 0) waitpid(pid, NULL, 0);
}

/* `name`: of the shell, a name of the forms of tri_args_print_form too. */
static void print_branches(const char *name) {
  int n;
  const tri_cli_command *commands = tri_cli_commands(&n);
  char form[32];
  snprintf(form, sizeof form, "--help=%s", name);
  for (int i = 0; i < n; i++)
    if (commands[i].run != tri_cli_completion) commands[i].run(2, (char *[]){(char *)commands[i].name, form, NULL});
  for (int i = 0; i < DAEMONS; i++) print_daemon(daemons[i], form);
}

static void print_bash(void) {
  int n;
  const tri_cli_command *commands = tri_cli_commands(&n);
  fputs(BASH_HEAD, stdout);
  for (int i = 0; i < n; i++) printf("%s ", commands[i].name);
  fputs(BASH_MIDDLE, stdout);
  print_branches("bash");
  fputs(BASH_TAIL, stdout);
  for (int i = 0; i < DAEMONS; i++) printf(" %s", daemons[i]);
  putchar('\n');
}

static void print_zsh(void) {
  int n;
  const tri_cli_command *commands = tri_cli_commands(&n);
  fputs("#compdef trireme", stdout);
  for (int i = 0; i < DAEMONS; i++) printf(" %s", daemons[i]);
  printf("\n%s", ZSH_HEAD);
  for (int i = 0; i < n; i++) {
    printf("\n        '%s:", commands[i].name);
    for (const char *p = commands[i].summary; *p; p++) printf(*p == '\'' ? "'\\''" : "%c", *p);
    putchar('\'');
  }
  fputs(ZSH_MIDDLE, stdout);
  print_branches("zsh");
  fputs(ZSH_TAIL, stdout);
  for (int i = 0; i < DAEMONS; i++) printf(" %s", daemons[i]);
  puts("\nfi");
}

int tri_cli_completion(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 1, 1, NULL, &code)) return code;
  if (strcmp(argv[1], "bash") == 0) return print_bash(), 0;
  if (strcmp(argv[1], "zsh") == 0) return print_zsh(), 0;
  tri_error err;
  tri_status_fail(&err, TRI_E_INVALID, "%s: bash and zsh are possible", argv[1]);
  return tri_cli_fail(&err);
}
