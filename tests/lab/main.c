/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/args.h"
#include "base/units.h"
#include "tests/lab/bench.h"
#include "tests/lab/cage.h"
#include "tests/lab/lab.h"
#include "tests/lab/show.h"

static const char *name;
static bool as_json, of_link;
#define NAME_ARG {"name", 0, TRI_ARG_STRING, &name, "LAB", "Which lab (default: $TRI_LAB, else lab).", 0, 0}

static int fail(const tri_error *err) {
  fprintf(stderr, "trireme-lab: %s\n", err->text);
  return tri_status_exit_code(err->status);
}

/* --- commands: what they are given stands in argv[1..] --- */

static tri_status open_node(lab *l, const char *node, int *index, tri_error *err) {
  tri_status status = lab_open(l, name, err);
  if (status != TRI_OK) return status;
  *index = lab_topology_find(&l->topology, node);
  if (*index >= 0) return TRI_OK;
  return tri_status_fail(err, TRI_E_NOT_FOUND, "lab %s has no node '%s'; `trireme-lab status` lists them", name, node);
}

/* Until a child of ours ends; its exit code as a shell gives it. */
static int await(pid_t pid) {
  int status = 0;
  signal(SIGINT, SIG_IGN), signal(SIGQUIT, SIG_IGN); /* they are the child's */
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static tri_status check(char **argv, int *code, tri_error *err) {
  (void)argv, (void)code;
  tri_status status = lab_possible(err);
  if (status == TRI_OK) puts("a lab can be made here");
  return status;
}

static tri_status up(char **argv, int *code, tri_error *err) {
  (void)code;
  lab_topology t;
  lab l;
  tri_status status = lab_topology_read(&t, argv[1], err);
  if (status == TRI_OK) status = lab_up(&l, name, &t, false, err);
  if (status == TRI_OK) printf("lab %s stands: %d nodes\n", name, t.count);
  return status;
}

static tri_status down(char **argv, int *code, tri_error *err) {
  (void)argv, (void)code;
  return lab_down(name, err);
}

/* The command runs outside; $TRI_LAB tells it which lab is meant. */
static tri_status run(char **argv, int *code, tri_error *err) {
  lab_topology t;
  lab l;
  tri_status status = lab_topology_read(&t, argv[1], err);
  if (status == TRI_OK) status = lab_up(&l, name, &t, true, err);
  if (status != TRI_OK) return status;
  setenv("TRI_LAB", name, 1);
  pid_t pid = fork();
  if (pid == 0) {
    execvp(argv[2], argv + 2);
    fprintf(stderr, "trireme-lab: cannot run %s: %s\n", argv[2], strerror(errno));
    _exit(127);
  }
  *code = pid > 0 ? await(pid) : 1;
  return lab_down(name, err);
}

static tri_status exec(char **argv, int *code, tri_error *err) {
  lab l;
  int node;
  tri_status status = open_node(&l, argv[1], &node, err);
  if (status != TRI_OK) return status;
  pid_t pid = lab_spawn(&l, node, (const char *const *)argv + 2, -1, -1, err);
  return pid > 0 ? *code = await(pid), TRI_OK : err->status;
}

static tri_status cut(char **argv, int *code, tri_error *err) {
  (void)code;
  lab l;
  int node;
  tri_status status = open_node(&l, argv[1], &node, err);
  return status == TRI_OK ? lab_plug(&l, node, false, err) : status;
}

/* Each limit that the topology gives is as it says again. */
static tri_status heal(char **argv, int *code, tri_error *err) {
  (void)code;
  lab l;
  int node;
  tri_status status = open_node(&l, argv[1], &node, err);
  if (status == TRI_OK) status = lab_plug(&l, node, true, err);
  if (status == TRI_OK && l.topology.nodes[node].cpu > 0) status = lab_slow(&l, node, 1, false, err);
  if (status == TRI_OK && l.topology.nodes[node].rate > 0) status = lab_slow(&l, node, 1, true, err);
  return status;
}

static tri_status slow(char **argv, int *code, tri_error *err) {
  (void)code;
  lab l;
  int node;
  char *end;
  double factor = strtod(argv[2], &end);
  if (*end || end == argv[2] || !(factor >= 1 && factor <= 1000))
    return tri_status_fail(err, TRI_E_INVALID, "'%s' is no factor from 1 to 1000", argv[2]);
  tri_status status = open_node(&l, argv[1], &node, err);
  return status == TRI_OK ? lab_slow(&l, node, factor, of_link, err) : status;
}

static tri_status kill_node(char **argv, int *code, tri_error *err) {
  (void)code;
  lab l;
  int node;
  tri_status status = open_node(&l, argv[1], &node, err);
  if (status == TRI_OK) lab_cage_kill(name, argv[1]);
  return status;
}

static json_t *node_json(const lab *l, int i) {
  const lab_node *n = &l->topology.nodes[i];
  lab_cage_use use = lab_cage_read(l->name, n->name);
  lab_traffic traffic = lab_read_traffic(l, i);
  char address[16];
  lab_topology_address(i, address);
  return json_pack("{s:s, s:s, s:f, s:I, s:I, s:f, s:b, s:i, s:I, s:I, s:I, s:I, s:I}", "name", n->name, "address", address, "cpu", use.cpu,
                   "memory_limit_bytes", (json_int_t)n->memory, "rate", (json_int_t)n->rate, "delay_ms", n->delay_ms, "cut", traffic.cut,
                   "processes", use.processes, "cpu_us", (json_int_t)use.cpu_us, "memory_bytes", (json_int_t)use.memory, "peak_bytes",
                   (json_int_t)use.peak, "sent_bytes", (json_int_t)traffic.sent, "received_bytes", (json_int_t)traffic.received);
}

static tri_status status_of(char **argv, int *code, tri_error *err) {
  (void)argv, (void)code;
  lab l;
  tri_status status = lab_open(&l, name, err);
  if (status != TRI_OK) return status;
  json_t *nodes = json_array(), *n;
  size_t i;
  for (int k = 0; k < l.topology.count; k++) json_array_append_new(nodes, node_json(&l, k));
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:i, s:i, s:O}", "lab", l.name, "keeper", (int)l.keeper, "first", (int)l.first, "nodes", nodes);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)), putchar('\n');
    json_decref(doc), json_decref(nodes);
    return TRI_OK;
  }
  printf("%-11s %-12s %6s %10s %10s %7s %5s %9s %10s %10s %10s\n", "node", "address", "cpu %", "memory", "Mbit/s", "delay", "procs",
         "cpu s", "used", "sent", "received");
  json_array_foreach(nodes, i, n) {
    const char *node, *address;
    double cpu, delay;
    int is_cut, processes;
    json_int_t limit, rate, cpu_us, used, peak, sent, received;
    if (json_unpack(n, "{s:s, s:s, s:f, s:I, s:I, s:f, s:b, s:i, s:I, s:I, s:I, s:I, s:I}", "name", &node, "address", &address, "cpu", &cpu,
                    "memory_limit_bytes", &limit, "rate", &rate, "delay_ms", &delay, "cut", &is_cut, "processes", &processes, "cpu_us",
                    &cpu_us, "memory_bytes", &used, "peak_bytes", &peak, "sent_bytes", &sent, "received_bytes", &received) != 0)
      continue;
    printf("%-11s %-12s %6.3g %10s %10.4g %7.3g %5d %9.2f %10s %10s %10s%s\n", node, address, cpu, limit ? TRI_UNITS(limit) : "-",
           (double)rate / 1e6, delay, processes, (double)cpu_us / 1e6, TRI_UNITS(used), TRI_UNITS(sent), TRI_UNITS(received),
           is_cut ? "  cut" : "");
  }
  json_decref(nodes);
  return TRI_OK;
}

/* --- which --- */

static const tri_arg name_only[] = {NAME_ARG};
static const tri_arg with_json[] = {NAME_ARG, {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0}};
static const tri_arg with_link[] = {NAME_ARG,
                                    {"link", 0, TRI_ARG_FLAG, &of_link, NULL, "Divide the link's rate, not the share of the CPU.", 0, 0}};
#define ARGS(a) a, sizeof a / sizeof *a
static const struct command {
  const char *name;
  tri_status (*run)(char **argv, int *code, tri_error *err);
  int least, most; /* words after it */
  tri_args_spec spec;
} commands[] = {
    {"check", check, 0, 0, {"trireme-lab check", "Tell whether a lab can be made on this machine.", "", "  trireme-lab check\n",
                            ARGS(name_only)}},
    {"up", up, 1, 1, {"trireme-lab up", "Start a lab: its nodes stay until `trireme-lab down`.", "TOPOLOGY [--name LAB]",
                      "  trireme-lab up tests/lab/pi-shelf.toml\n", ARGS(name_only)}},
    {"run", run, 2, 1000, {"trireme-lab run", "Start a lab, run a command outside of it with $TRI_LAB set, and end the lab.",
                           "TOPOLOGY [--name LAB] -- COMMAND [ARGUMENTS]",
                           "  trireme-lab run tests/lab/mixed.toml -- sh -c 'trireme-lab exec far ping -c 1 10.77.0.1'\n",
                           ARGS(name_only)}},
    {"exec", exec, 2, 1000, {"trireme-lab exec", "Run a command in a node, with its network, its share of the CPU and its memory.",
                             "NODE [--name LAB] -- COMMAND [ARGUMENTS]", "  trireme-lab exec pi1 ip address\n", ARGS(name_only)}},
    {"cut", cut, 1, 1, {"trireme-lab cut", "Pull a node's cable.", "NODE [--name LAB]",
                        "  trireme-lab cut pi3\n", ARGS(name_only)}},
    {"heal", heal, 1, 1, {"trireme-lab heal", "Undo cut and slow.", "NODE [--name LAB]",
                          "  trireme-lab heal pi3\n", ARGS(name_only)}},
    {"slow", slow, 2, 2, {"trireme-lab slow", "Divide a node's speed by a factor, of what the topology gives it.",
                          "NODE FACTOR [--link] [--name LAB]", "  trireme-lab slow pi3 2\n  trireme-lab slow pi3 10 --link\n",
                          ARGS(with_link)}},
    {"kill", kill_node, 1, 1, {"trireme-lab kill", "Kill every process in a node.", "NODE [--name LAB]",
                               "  trireme-lab kill pi3\n", ARGS(name_only)}},
    {"status", status_of, 0, 0, {"trireme-lab status", "Show the nodes: their limits, and what they used and sent so far.",
                                 "[--json] [--name LAB]", "  trireme-lab status --json\n", ARGS(with_json)}},
    {"down", down, 0, 0, {"trireme-lab down", "End a lab, and remove what killed ones left.", "[--name LAB]",
                          "  trireme-lab down\n", ARGS(name_only)}},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
  fputs("A lab of network namespaces: nodes with a link, a share of the CPU and memory of their own (docs/LAB.md).\n\n"
        "Usage: trireme-lab COMMAND [options]\n\nCommands:\n", out);
  for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].spec.summary);
  fprintf(out, "  %-8s %s\n", "show", LAB_SHOW_SUMMARY);
  fprintf(out, "  %-8s %s\n\n`trireme-lab COMMAND --help` shows a command's options and examples.\n\n", "bench", LAB_BENCH_SUMMARY);
  tri_args_print_exit_codes(out);
}

static int run_command(const struct command *c, int argc, char **argv) {
  tri_error err = {0};
  int given, code = 0;
  bool helped = false;
  tri_status status = tri_args_parse(&c->spec, argc, argv, &given, &helped, &err);
  if (helped) return 0;
  if (status == TRI_OK && (given < c->least || given > c->most))
    status = tri_status_fail(&err, TRI_E_INVALID, "usage: %s %s", c->spec.command, c->spec.usage);
  if (!name) name = getenv("TRI_LAB");
  if (!name || !*name) name = "lab";
  if (status == TRI_OK) argv[given + 1] = NULL, status = c->run(argv, &code, &err);
  return status == TRI_OK ? code : fail(&err);
}

int main(int argc, char **argv) {
  const char *word = argc > 1 ? argv[1] : "";
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return print_help(stdout), 0;
  if (!*word) return print_help(stderr), 2;
  if (strcmp(word, "bench") == 0) return lab_bench(argc - 1, argv + 1);
  if (strcmp(word, "show") == 0) return lab_show(argc - 1, argv + 1);
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    names[i] = commands[i].name;
    if (strcmp(word, names[i]) == 0) return run_command(&commands[i], argc - 1, argv + 1);
  }
  const char *near = tri_args_nearest(word, names, COMMANDS);
  fprintf(stderr, "trireme-lab: unknown command '%s'%s%s%s\n", word, near ? "; did you mean '" : "; `trireme-lab --help` lists them",
          near ? near : "", near ? "'?" : "");
  return 2;
}
