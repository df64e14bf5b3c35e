/* SPDX-License-Identifier: MIT */
#include "cli/keys.h"

#include <jansson.h>
#include <string.h>
#include "cli/cli.h"

static const char *dir, *allow_path, *role_name = "worker", *allow_name, *trust_path;
static bool as_json;
static const tri_arg args[] = {
    {"key", 'k', TRI_ARG_STRING, &dir, "DIR",
     "The coordinator's key folder (default ~/.config/trireme/coordinator); for --trust a worker's or a client's.", 0, 0},
    {"allow", 0, TRI_ARG_STRING, &allow_path, "FILE", "Let the holder of this public.key in.", 0, 0},
    {"role", 0, TRI_ARG_STRING, &role_name, "ROLE", "As a worker, a client or an admin (default worker).", 0, 0},
    {"name", 0, TRI_ARG_STRING, &allow_name, "NAME", "Under this name (default: the one in the file).", 0, 0},
    {"trust", 0, TRI_ARG_STRING, &trust_path, "FILE", "Trust the coordinator of this public.key.", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print the list as one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme keys",
    "Show or change whom a coordinator lets in. A running coordinator sees a change at once and ends the connections of a key that was "
    "revoked.",
    "[list | revoke NAME|KEY | rename NAME|KEY NEW | --allow FILE | --trust FILE] [-k DIR]",
    "  trireme keys\n"
    "  trireme keys revoke w2\n"
    "  trireme keys rename w2 attic\n"
    "  trireme keys --allow alice.public.key --role client --name alice\n"
    "  trireme keys -k ~/trireme/w1 --trust coordinator.public.key\n",
    args, sizeof args / sizeof *args};

static tri_status allow(tri_error *err) {
  tri_allowed item = {0};
  tri_status status = tri_keys_parse_role(&item.role, role_name, err);
  if (status != TRI_OK) return tri_status_prefix(err, status, "--role");
  status = tri_cli_read_public(allow_path, item.key, item.name, err);
  if (allow_name) snprintf(item.name, sizeof item.name, "%s", allow_name);
  if (status == TRI_OK) status = tri_keys_add_allowed(&item, dir, err);
  if (status == TRI_OK) printf("%s may now connect as a %s\n", item.name, role_name);
  return status;
}

static void print_json(const tri_allow_list *list) {
  json_t *keys = json_array();
  for (size_t i = 0; i < list->count; i++) {
    char text[TRI_KEY_TEXT];
    tri_keys_text(list->items[i].key, text);
    json_array_append_new(keys, json_pack("{s:s, s:s, s:s}", "name", list->items[i].name, "role", tri_keys_role_name(list->items[i].role),
                                          "key", text));
  }
  json_t *doc = json_pack("{s:o}", "keys", keys);
  json_dumpf(doc, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(doc);
}

static void print_table(const tri_allow_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    char text[TRI_KEY_TEXT];
    tri_keys_text(list->items[i].key, text);
    printf("%s  %-6s  %s\n", text, tri_keys_role_name(list->items[i].role), list->items[i].name);
  }
  if (list->count == 0)
    printf("nobody is allowed yet: %s/allowed.keys is empty or missing; `trireme token create` lets somebody in\n", dir);
}

static tri_status list(tri_error *err) {
  tri_allow_list allowed = {0};
  tri_status status = tri_keys_load_allowed(&allowed, dir, err);
  if (status == TRI_OK && as_json) print_json(&allowed);
  else if (status == TRI_OK) print_table(&allowed);
  tri_keys_free_allowed(&allowed);
  return status;
}

static tri_status revoke(const char *who, tri_error *err) {
  tri_allowed was;
  tri_status status = tri_keys_remove_allowed(&was, who, dir, err);
  if (status == TRI_OK) printf("the %s %s may no longer connect\n", tri_keys_role_name(was.role), was.name);
  return status;
}

static tri_status rename_key(const char *who, const char *name, tri_error *err) {
  tri_status status = tri_keys_rename_allowed(who, name, dir, err);
  if (status == TRI_OK) printf("%s is now called %s\n", who, name);
  return status;
}

static tri_status act(int n, char **argv, tri_error *err) {
  const char *verb = n ? argv[1] : "";
  if (strcmp(verb, "revoke") == 0 && n == 2) return revoke(argv[2], err);
  if (strcmp(verb, "rename") == 0 && n == 3) return rename_key(argv[2], argv[3], err);
  if (n > 1 || (n == 1 && strcmp(verb, "list") != 0))
    return tri_status_fail(err, TRI_E_INVALID, "usage: %s %s", spec.command, spec.usage);
  tri_status status = allow_path ? allow(err) : TRI_OK;
  if (status == TRI_OK && trust_path) status = tri_cli_trust(trust_path, dir, err);
  return status == TRI_OK && !allow_path && !trust_path ? list(err) : status;
}

int tri_cli_keys(int argc, char **argv) {
  int code, n;
  if (!tri_cli_parse(&spec, argc, argv, 0, 3, &n, &code)) return code;
  tri_error err = {0};
  char own_dir[PATH_MAX];
  tri_status status = dir ? TRI_OK : tri_keys_default_dir(own_dir, "coordinator", &err);
  if (!dir) dir = own_dir;
  if (status == TRI_OK) status = act(n, argv, &err);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
