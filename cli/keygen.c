/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "cli/cli.h"
#include "cli/keys.h"

tri_status tri_cli_read_public(const char *path, uint8_t key[TRI_KEY_BYTES], char name[TRI_MAX_NAME], tri_error *err) {
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

tri_status tri_cli_trust(const char *public_path, const char *dir, tri_error *err) {
  uint8_t key[TRI_KEY_BYTES];
  char name[TRI_MAX_NAME];
  tri_status status = tri_cli_read_public(public_path, key, name, err);
  if (status == TRI_OK) status = tri_keys_save_coordinator(key, NULL, dir, err);
  if (status == TRI_OK) printf("%s now trusts the coordinator of %s\n", dir, public_path);
  return status;
}

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
    status = tri_cli_read_public(trust_path, trusted, unused, &err); /* before there is a key that a second try would find */
  if (!own_name && gethostname(host, sizeof host - 1) == 0) own_name = host;
  if (status == TRI_OK) status = tri_keys_generate(&pair, own_name, &err);
  if (status == TRI_OK) status = tri_keys_save(&pair, out_dir, &err);
  if (status == TRI_OK) {
    tri_keys_text(pair.public_key, text);
    printf("%s/public.key: %s %s\n", out_dir, text, own_name);
    if (trust_path) status = tri_cli_trust(trust_path, out_dir, &err);
  }
  tri_keys_wipe(&pair);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
