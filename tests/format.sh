#!/usr/bin/env bash
# Checks that every C++ file is formatted as .clang-format says; with --fix, formats them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=(--dry-run -Werror)
[[ ${1:-} == --fix ]] && mode=(-i)

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  list=(git ls-files -z --cached --others --exclude-standard -- '*.cc' '*.h')
else
  list=(find . -name 'bazel-*' -prune -o \( -name '*.cc' -o -name '*.h' \) -print0)
fi
# A file that is deleted but not yet committed is still listed.
"${list[@]}" | while IFS= read -r -d '' file; do
  if [[ -f $file ]]; then printf '%s\0' "$file"; fi
done | xargs -0 -r clang-format "${mode[@]}"
