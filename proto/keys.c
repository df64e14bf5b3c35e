/* SPDX-License-Identifier: MIT */
#include "proto/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>
#include "proto/keyfile.h"

_Static_assert(TRI_KEY_BYTES == crypto_box_PUBLICKEYBYTES && TRI_KEY_BYTES == crypto_box_SECRETKEYBYTES, "CURVE's keys");

enum { MAX_KEY_FILE = 4096 };

void tri_keys_text(const uint8_t key[TRI_KEY_BYTES], char text[TRI_KEY_TEXT]) {
  zmq_z85_encode(text, key, TRI_KEY_BYTES);
}

tri_status tri_keys_parse(const char *text, uint8_t key[TRI_KEY_BYTES]) {
  uint8_t raw[TRI_KEY_BYTES];
  if (strnlen(text, TRI_KEY_TEXT) != TRI_KEY_TEXT - 1 || !zmq_z85_decode(raw, text)) return TRI_E_FORMAT;
  memcpy(key, raw, sizeof raw);
  return TRI_OK;
}

static tri_status write_text(const char *dir, const char *file, unsigned mode, const char *text, tri_error *err) {
  char path[PATH_MAX];
  tri_status status = tri_keyfile_path(path, dir, file, err);
  return status != TRI_OK ? status : tri_keyfile_write(path, mode, text, strlen(text), err);
}

/* A small file's text, without the blanks and line ends behind it. */
static tri_status read_text(char out[MAX_KEY_FILE + 1], const char *path, tri_error *err) {
  tri_buf b = {0};
  tri_status status = tri_file_read(&b, path, MAX_KEY_FILE, err);
  if (status == TRI_OK) {
    memcpy(out, b.data, b.len);
    while (b.len && strchr(" \t\r\n", out[b.len - 1])) b.len--;
    out[b.len] = 0;
  }
  if (b.data) sodium_memzero(b.data, b.cap); /* it may have been the secret */
  tri_buf_free(&b);
  return status;
}

tri_status tri_keys_generate(tri_keypair *out, const char *name, tri_error *err) {
  if (!tri_keyfile_is_name(name, strnlen(name, TRI_MAX_NAME)))
    return tri_status_fail(err, TRI_E_INVALID, "a key's name must be 1 to %d printable characters", TRI_MAX_NAME - 1);
  if (sodium_init() < 0) return tri_status_fail(err, TRI_E_INTERNAL, "libsodium found no source of random numbers");
  *out = (tri_keypair){0};
  crypto_box_keypair(out->public_key, out->secret_key);
  strcpy(out->name, name);
  return TRI_OK;
}

void tri_keys_wipe(tri_keypair *pair) { sodium_memzero(pair, sizeof *pair); }

tri_status tri_keys_save_name(const tri_keypair *pair, const char *dir, tri_error *err) {
  char key_text[TRI_KEY_TEXT], text[TRI_KEY_TEXT + TRI_MAX_NAME + 1];
  tri_keys_text(pair->public_key, key_text);
  snprintf(text, sizeof text, "%s %s\n", key_text, pair->name);
  return write_text(dir, "public.key", 0644, text, err);
}

tri_status tri_keys_save(const tri_keypair *pair, const char *dir, tri_error *err) {
  char path[PATH_MAX], public_text[TRI_KEY_TEXT], secret_text[TRI_KEY_TEXT], text[256];
  tri_status status = tri_keyfile_path(path, dir, "secret.key", err);
  if (status != TRI_OK) return status;
  status = tri_file_make_folder(dir, 0700, err);
  if (status != TRI_OK) return status;
  if (access(path, F_OK) == 0)
    return tri_status_fail(err, TRI_E_INVALID, "%s: a key is there already; move it away to make a new one", path);
  status = tri_keys_save_name(pair, dir, err);
  if (status != TRI_OK) return status;
  tri_keys_text(pair->public_key, public_text);
  tri_keys_text(pair->secret_key, secret_text);
  snprintf(text, sizeof text, "secret %s\npublic %s\n", secret_text, public_text);
  status = write_text(dir, "secret.key", 0600, text, err);
  sodium_memzero(secret_text, sizeof secret_text);
  sodium_memzero(text, sizeof text);
  return status;
}

/* "secret <Z85>\npublic <Z85>", and the two must belong together. */
static tri_status parse_secret(tri_keypair *out, const char *text) {
  char secret_text[TRI_KEY_TEXT], public_text[TRI_KEY_TEXT], end;
  bool ok = sscanf(text, "secret %40s public %40s %c", secret_text, public_text, &end) == 2 &&
            tri_keys_parse(secret_text, out->secret_key) == TRI_OK && tri_keys_parse(public_text, out->public_key) == TRI_OK;
  sodium_memzero(secret_text, sizeof secret_text);
  uint8_t derived[TRI_KEY_BYTES];
  if (!ok || crypto_scalarmult_base(derived, out->secret_key) != 0) return TRI_E_FORMAT;
  return sodium_memcmp(derived, out->public_key, sizeof derived) == 0 ? TRI_OK : TRI_E_FORMAT;
}

tri_status tri_keys_load(tri_keypair *out, const char *dir, tri_error *err) {
  char path[PATH_MAX], text[MAX_KEY_FILE + 1];
  tri_keypair pair = {0};
  tri_status status = tri_keyfile_path(path, dir, "secret.key", err);
  if (status == TRI_OK) status = tri_keyfile_check_secret(path, err);
  if (status == TRI_E_NOT_FOUND)
    tri_status_fail(err, status, "%s: there is no key; make one with `trireme keygen`, or join with a token", path);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_OK && parse_secret(&pair, text) != TRI_OK)
    status = tri_status_fail(err, TRI_E_FORMAT, "%s: not a secret key file, or its two keys do not belong together", path);
  sodium_memzero(text, sizeof text);
  /* The name stands beside the public key; the key itself has just been proven. */
  if (status == TRI_OK) status = tri_keyfile_path(path, dir, "public.key", err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_OK) {
    char public_text[TRI_KEY_TEXT];
    tri_keys_text(pair.public_key, public_text);
    size_t n = strlen(public_text);
    if (strncmp(text, public_text, n) == 0 && text[n] == ' ' && tri_keyfile_is_name(text + n + 1, strlen(text + n + 1)))
      strcpy(pair.name, text + n + 1);
    else
      status = tri_status_fail(err, TRI_E_FORMAT, "%s: not \"%s NAME\", as secret.key says", path, public_text);
  }
  if (status == TRI_OK) *out = pair;
  tri_keys_wipe(&pair);
  return status;
}

/* "<Z85>", or "<Z85> tcp://HOST:PORT". */
static tri_status load_trusted(uint8_t key[TRI_KEY_BYTES], char endpoint[TRI_MAX_ENDPOINT], const char *dir, tri_error *err) {
  char path[PATH_MAX], text[MAX_KEY_FILE + 1];
  tri_status status = tri_keyfile_path(path, dir, "coordinator.key", err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_E_NOT_FOUND)
    return tri_status_fail(err, status,
                           "%s: it is not known which coordinator to trust; join with a token, or `trireme keys -k %s --trust FILE`", path,
                           dir);
  if (status != TRI_OK) return status;
  char *rest = text, *word = strsep(&rest, " "), *place = rest ? rest : "";
  if (tri_keys_parse(word, key) != TRI_OK || strlen(place) >= TRI_MAX_ENDPOINT || place[strcspn(place, " \t\r\n")] ||
      (rest && strncmp(place, "tcp://", 6) != 0))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: not a public key (40 characters of Z85), perhaps with tcp://HOST:PORT after it", path);
  strcpy(endpoint, place);
  return TRI_OK;
}

tri_status tri_keys_load_coordinator(uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err) {
  char endpoint[TRI_MAX_ENDPOINT];
  uint8_t read[TRI_KEY_BYTES];
  tri_status status = load_trusted(read, endpoint, dir, err);
  if (status == TRI_OK) memcpy(key, read, TRI_KEY_BYTES);
  return status;
}

tri_status tri_keys_load_endpoint(char endpoint[TRI_MAX_ENDPOINT], const char *dir, tri_error *err) {
  char read[TRI_MAX_ENDPOINT];
  uint8_t key[TRI_KEY_BYTES];
  tri_status status = load_trusted(key, read, dir, err);
  if (status == TRI_OK) strcpy(endpoint, read);
  return status;
}

tri_status tri_keys_save_coordinator(const uint8_t key[TRI_KEY_BYTES], const char *endpoint, const char *dir, tri_error *err) {
  char key_text[TRI_KEY_TEXT], text[TRI_KEY_TEXT + TRI_MAX_ENDPOINT + 2];
  tri_keys_text(key, key_text);
  snprintf(text, sizeof text, "%s%s%s\n", key_text, endpoint ? " " : "", endpoint ? endpoint : "");
  return write_text(dir, "coordinator.key", 0644, text, err);
}

tri_status tri_keys_default_dir(char out[PATH_MAX], const char *kind, tri_error *err) {
  const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
  bool has_config = config && config[0] == '/'; /* its specification: relative ones are to be ignored */
  if (!has_config && (!home || home[0] != '/'))
    return tri_status_fail(err, TRI_E_INVALID, "there is no home folder ($HOME) for a key; give one with --key DIR");
  int n = snprintf(out, PATH_MAX, "%s%s/trireme/%s", has_config ? config : home, has_config ? "" : "/.config", kind);
  return n < PATH_MAX ? TRI_OK : tri_status_fail(err, TRI_E_INVALID, "the path of the home folder is too long");
}

tri_status tri_keys_save_listening(const char *control, const char *enrol, const char *dir, tri_error *err) {
  char text[2 * TRI_MAX_ENDPOINT + 2];
  snprintf(text, sizeof text, "%s %s\n", control, enrol[0] ? enrol : "-");
  return write_text(dir, "listening", 0644, text, err);
}

tri_status tri_keys_load_listening(char control[TRI_MAX_ENDPOINT], char enrol[TRI_MAX_ENDPOINT], const char *dir, tri_error *err) {
  char path[PATH_MAX], text[MAX_KEY_FILE + 1];
  tri_status status = tri_keyfile_path(path, dir, "listening", err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status != TRI_OK) return status;
  char *rest = text, *first = strsep(&rest, " ");
  if (!rest || strlen(first) >= TRI_MAX_ENDPOINT || strlen(rest) >= TRI_MAX_ENDPOINT)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: not two endpoints; a coordinator that starts writes it anew", path);
  strcpy(control, first);
  strcpy(enrol, strcmp(rest, "-") == 0 ? "" : rest);
  return TRI_OK;
}
