#!/usr/bin/env bash
# Checks that each public header compiles alone, without a warning, with g++ and with clang++.
# Each header counts as one case per compiler; the last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

flags=(-std=c++20 -Wall -Wextra -Wconversion -Werror -fsyntax-only -Icore/include)
passed=0
failed=0
for header in core/include/mailrail/*.h; do
  [[ -f $header ]] || continue
  include=${header#core/include/}
  for compiler in g++ clang++; do
    if "$compiler" "${flags[@]}" -x c++ - <<<"#include \"$include\""; then
      passed=$((passed + 1))
    else
      echo "FAILED $compiler $header"
      failed=$((failed + 1))
    fi
  done
done
echo "$passed passed, $failed failed"
((failed == 0))
