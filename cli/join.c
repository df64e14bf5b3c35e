/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "proto/enrol.h"

static const char *key_dir, *name;
static int64_t timeout_s = 20;
static const tri_arg args[] = {
    {"key", 'k', TRI_ARG_STRING, &key_dir, "DIR",
     "Key folder; a key is made there if it has none (default ~/.config/trireme/client).", 0, 0},
    {"name", 0, TRI_ARG_STRING, &name, "NAME", "Name in the coordinator's list (default: the key's, for a new one this host's).", 0, 0},
    {"timeout", 0, TRI_ARG_INT, &timeout_s, "SECONDS", "Give up after so long without an answer (default 20).", 1, 3600},
};
static const tri_args_spec spec = {
    "trireme join", "Become a coordinator's client with a token of `trireme token create --role client`.",
    "TOKEN|- [--key DIR] [--name NAME]",
    "  trireme join 'tri1:…'\n"
    "  trireme join - < token\n"
    "  trireme status\n", args, sizeof args / sizeof *args};

int tri_cli_join(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 1, 1, NULL, &code)) return code;
  tri_error err = {0};
  char own_dir[PATH_MAX];
  tri_joined joined;
  tri_status status = key_dir ? TRI_OK : tri_keys_default_dir(own_dir, "client", &err);
  const tri_join_options o = {.token = argv[1], .dir = key_dir ? key_dir : own_dir, .name = name, .role = TRI_ROLE_CLIENT,
                              .timeout_ms = timeout_s * 1000};
  if (status == TRI_OK) status = tri_enrol_join(&o, &joined, &err);
  if (status != TRI_OK) return tri_cli_fail(&err);
  printf("joined the coordinator at %s as the %s %s; the key is in %s\n", joined.endpoint, tri_keys_role_name(joined.role), joined.name,
         o.dir);
  return 0;
}
