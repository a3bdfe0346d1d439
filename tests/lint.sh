#!/usr/bin/env bash
# Rules that no compiler checks. Prints every breach; the exit code says whether there was one.
set -u
cd "$(dirname "$0")/.."
bad=0
complain() { echo "$1"; bad=1; }

# Includes go through rooms only: a relative path would walk around the build's layer rules.
out=$(grep -rn '#include "\.\./' src tests bench --include='*.[ch]')
[ -z "$out" ] || complain "relative include:
$out"

# The heap has one door, and system calls one room.
out=$(grep -rnE '\b(malloc|calloc|realloc|strdup|strndup)\(' src --include='*.[ch]' | grep -v '^src/base/mem\.')
[ -z "$out" ] || complain "allocation outside base/mem:
$out"
out=$(grep -rnE '#include <(sys/socket|netinet/|arpa/inet|fcntl|poll|netdb)' src --include='*.[ch]' |
  grep -vE '^src/(sys|base/ip)')
[ -z "$out" ] || complain "system call headers outside sys/:
$out"

# Every source says its licence.
for file in $(git ls-files '*.c' '*.h' '*.def'); do
  head -n 1 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "no licence line: $file"
done

# Files stay readable.
for file in $(git ls-files 'src/*.c' 'src/*.h'); do
  lines=$(wc -l <"$file")
  [ "$lines" -le 800 ] || complain "$file has $lines lines; split it"
done
[ "$bad" = 0 ] && echo "fine"
exit "$bad"
