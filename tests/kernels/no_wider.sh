#!/bin/sh
# SPDX-License-Identifier: MIT
# no_wider.sh OBJDUMP LIBRARY…: no object file holds an instruction that the CPUs of its level lack. By the file's name:
# avx512 and vnni256 may hold all, avxvnni all but EVEX encodings (AVX-512's), avx2 no VNNI either, any other file nothing
# beyond SSE2: no VEX encodings. In 64-bit code the first byte after the legacy prefixes tells: 62 is EVEX, c4 and c5 VEX.
set -eu
objdump=$1
shift
for library; do
  [ -f "$library" ] || { echo "$library is missing"; exit 1; }
done
for library; do "$objdump" -dw "$library"; done | awk -F '\t' '
  / file format / { file = $1; sub(/\.o: .*/, "", file); files++; next }
  file ~ /avx512|vnni256/ { wide += $2 ~ /^62 /; next }
  {
    bytes = $2
    while (bytes ~ /^(26|2e|36|3e|64|65|67) /) bytes = substr(bytes, 4)
    evex = bytes ~ /^62 /
    vex = bytes ~ /^c[45] /
    if (evex || (vex && file !~ /avx/) || ($3 ~ /vpdp/ && file !~ /avxvnni/)) {
      print file ": " $0
      bad++
    }
  }
  END {
    if (!files || !wide) print "nothing was seen: is this objdump for x86-64?"
    else if (!bad) print files " object files hold nothing wider than their level"
    exit bad || !files || !wide
  }'
