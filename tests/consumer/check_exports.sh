#!/usr/bin/env bash
# The shared library exports Kiln's public names only, all of C's that are listed in c_symbols.txt, and needs the C and
# C++ run time only.
# usage: check_exports.sh LIBKILN_SO [library that may be needed too...]
set -euo pipefail
library=$1
shift
failed=0

exported=$(nm -D --defined-only "$library" | awk '{print $3}' | c++filt | sort -u)
for name in 'kiln::version()' 'typeinfo for kiln::Error'; do
  if ! grep -qxF "$name" <<<"$exported"; then
    echo "not exported: $name"
    failed=1
  fi
done
# Programs already built rely on what was listed once; what is not listed is in no header yet.
if ! diff --label c_symbols.txt --label exported -U0 "$(dirname "$0")/c_symbols.txt" \
  <(grep '^kiln_[a-z0-9_]*$' <<<"$exported" | LC_ALL=C sort); then
  echo 'the C functions exported are not those of c_symbols.txt'
  failed=1
fi
modules='base|plan|codegen|jit|cache|cuda|api|c_api|tune|cli|embedded|detail'
public='^(kiln_[a-z0-9_]+$|kiln::|(typeinfo|typeinfo name|vtable) for kiln::Error$)'
foreign=$(grep -vE "$public" <<<"$exported" || true)
internal=$(grep -E "kiln::($modules)::" <<<"$exported" | grep -vE "^kiln::((Forward|Decode|Merge)Kernel|Preparation)::" || true)
if [[ -n $foreign$internal ]]; then
  printf 'exported, but not public:\n%s\n%s\n' "$foreign" "$internal"
  failed=1
fi

needed=$(LC_ALL=C readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
allowed="^(libc|libm|libdl|libpthread|libstdc\+\+|libgcc_s|ld-linux[a-z0-9-]*$(printf '|%s' "$@"))\.so\."
if unexpected=$(grep -vE "$allowed" <<<"$needed"); then
  printf 'needed, but not of the C and C++ run time:\n%s\n' "$unexpected"
  failed=1
fi
echo "$(wc -l <<<"$exported") names exported; needed: ${needed//$'\n'/ }"
exit $failed
