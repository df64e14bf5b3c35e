/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/cli.h"
#include "proto/keys.h"

/* "<Z85> <name>", the form of public.key; the name may be missing. */
static tri_status read_public(const char *path, uint8_t key[TRI_KEY_BYTES], char name[TRI_MAX_NAME], tri_error *err) {
  enum { MAX_BYTES = 4096 };
  tri_buf text = {0};
  tri_status status = tri_file_read(&text, path, MAX_BYTES, err);
  if (status == TRI_OK) {
    char *line = text.data ? (char *)text.data : "", *rest = line;
    char *word = strsep(&rest, " \t\r\n");
    if (tri_keys_parse(word, key) != TRI_OK)
      status = tri_status_fail(err, TRI_E_FORMAT, "%s: no public key; a file like public.key is expected", path);
    char *own = rest ? strsep(&rest, "\r\n") : NULL;
    snprintf(name, TRI_MAX_NAME, "%s", own ? own : "");
  }
  tri_buf_free(&text);
  return status;
}

static tri_status trust(const char *public_path, const char *dir, tri_error *err) {
  uint8_t key[TRI_KEY_BYTES];
  char name[TRI_MAX_NAME];
  tri_status status = read_public(public_path, key, name, err);
  if (status == TRI_OK) status = tri_keys_save_coordinator(key, dir, err);
  if (status == TRI_OK) printf("%s now trusts the coordinator of %s\n", dir, public_path);
  return status;
}

/* --- keygen --- */

static const char *out_dir, *own_name, *trust_path;
static const tri_arg keygen_args[] = {
    {"out", 'o', TRI_ARG_STRING, &out_dir, "DIR", "The new key's folder.", 0, 0},
    {"name", 0, TRI_ARG_STRING, &own_name, "NAME", "Who or what it is (default: this host's name).", 0, 0},
    {"trust", 0, TRI_ARG_STRING, &trust_path, "FILE",
     "The coordinator's public.key: also writes coordinator.key, for a worker or a client.", 0, 0},
};
static const tri_args_spec keygen_spec = {
    "trireme keygen",
    "Make a key for a node, a client or a coordinator: secret.key stays where it is, public.key goes to the coordinator.",
    "-o DIR [--name NAME] [--trust COORDINATOR_PUBLIC_KEY]",
    "  trireme keygen -o keys/coordinator --name coordinator\n"
    "  trireme keygen -o keys/w1 --name w1 --trust keys/coordinator/public.key\n"
    "  trireme keys -k keys/coordinator --allow keys/w1/public.key --role worker\n",
    keygen_args, sizeof keygen_args / sizeof *keygen_args};

int tri_cli_keygen(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&keygen_spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_keypair pair = {0};
  uint8_t trusted[TRI_KEY_BYTES];
  char host[TRI_MAX_NAME] = "", text[TRI_KEY_TEXT], unused[TRI_MAX_NAME];
  tri_status status = TRI_OK;
  if (!out_dir) status = tri_status_fail(&err, TRI_E_INVALID, "a folder is needed: -o DIR");
  if (status == TRI_OK && trust_path)
    status = read_public(trust_path, trusted, unused, &err); /* before there is a key that a second try would find */
  if (!own_name && gethostname(host, sizeof host - 1) == 0) own_name = host;
  if (status == TRI_OK) status = tri_keys_generate(&pair, own_name, &err);
  if (status == TRI_OK) status = tri_keys_save(&pair, out_dir, &err);
  if (status == TRI_OK) {
    tri_keys_text(pair.public_key, text);
    printf("%s/public.key: %s %s\n", out_dir, text, own_name);
    if (trust_path) status = trust(trust_path, out_dir, &err);
  }
  tri_keys_wipe(&pair);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}

/* --- keys --- */

static const char *dir, *allow_path, *role_name = "worker", *allow_name, *keys_trust_path;
static const tri_arg keys_args[] = {
    {"key", 'k', TRI_ARG_STRING, &dir, "DIR", "The key folder: a coordinator's, or for --trust a worker's or a client's.", 0, 0},
    {"allow", 0, TRI_ARG_STRING, &allow_path, "FILE", "Let the holder of this public.key in.", 0, 0},
    {"role", 0, TRI_ARG_STRING, &role_name, "ROLE", "As a worker, a client or an admin (default worker).", 0, 0},
    {"name", 0, TRI_ARG_STRING, &allow_name, "NAME", "Under this name (default: the one in the file).", 0, 0},
    {"trust", 0, TRI_ARG_STRING, &keys_trust_path, "FILE", "Trust the coordinator of this public.key.", 0, 0},
};
static const tri_args_spec keys_spec = {
    "trireme keys",
    "List or extend a coordinator's allow-list. A running coordinator sees the change at once; to lock a key out, delete its line in "
    "allowed.keys.",
    "-k DIR [--allow FILE --role ROLE [--name NAME]] [--trust FILE]",
    "  trireme keys -k keys/coordinator\n"
    "  trireme keys -k keys/coordinator --allow alice.public.key --role client --name alice\n",
    keys_args, sizeof keys_args / sizeof *keys_args};

static tri_status parse_role(const char *name, tri_role *out, tri_error *err) {
  for (int role = TRI_ROLE_WORKER; role <= TRI_ROLE_ADMIN; role++)
    if (strcmp(name, tri_keys_role_name((tri_role)role)) == 0) return *out = (tri_role)role, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--role %s: roles are worker, client and admin", name);
}

static tri_status allow(tri_error *err) {
  tri_allowed item = {0};
  tri_status status = parse_role(role_name, &item.role, err);
  if (status == TRI_OK) status = read_public(allow_path, item.key, item.name, err);
  if (allow_name) snprintf(item.name, sizeof item.name, "%s", allow_name);
  if (status == TRI_OK) status = tri_keys_add_allowed(&item, dir, err);
  if (status == TRI_OK) printf("%s may now connect as a %s\n", item.name, role_name);
  return status;
}

static tri_status list(tri_error *err) {
  tri_allow_list allowed = {0};
  tri_status status = tri_keys_load_allowed(&allowed, dir, err);
  for (size_t i = 0; i < allowed.count && status == TRI_OK; i++) {
    char text[TRI_KEY_TEXT];
    tri_keys_text(allowed.items[i].key, text);
    printf("%s  %-6s  %s\n", text, tri_keys_role_name(allowed.items[i].role), allowed.items[i].name);
  }
  if (status == TRI_OK && allowed.count == 0) printf("nobody is allowed yet: %s/allowed.keys is empty or missing\n", dir);
  tri_keys_free_allowed(&allowed);
  return status;
}

int tri_cli_keys(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&keys_spec, argc, argv, 0, 0, NULL, &code)) return code;
  tri_error err = {0};
  tri_status status = TRI_OK;
  if (!dir) status = tri_status_fail(&err, TRI_E_INVALID, "a key folder is needed: -k DIR");
  if (status == TRI_OK && allow_path) status = allow(&err);
  if (status == TRI_OK && keys_trust_path) status = trust(keys_trust_path, dir, &err);
  if (status == TRI_OK && !allow_path && !keys_trust_path) status = list(&err);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
