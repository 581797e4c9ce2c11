#!/usr/bin/env bash
# The shared library exports Kiln's public names only and needs the C and C++ run time only.
# usage: check_exports.sh LIBKILN_SO [library that may be needed too...]
set -euo pipefail
library=$1
shift
failed=0

exported=$(nm -D --defined-only "$library" | awk '{print $3}' | c++filt | sort -u)
for name in 'kiln_version' 'kiln::version()' 'typeinfo for kiln::Error'; do
  if ! grep -qxF "$name" <<<"$exported"; then
    echo "not exported: $name"
    failed=1
  fi
done
modules='base|plan|codegen|jit|cache|cuda|api|tune|cli|embedded|detail'
public='^(kiln_[a-z0-9_]+$|kiln::|(typeinfo|typeinfo name|vtable) for kiln::Error$)'
foreign=$(grep -vE "$public" <<<"$exported" || true)
internal=$(grep -E "kiln::($modules)::" <<<"$exported" | grep -vE "^kiln::((Forward|Decode)Kernel|Preparation)::" || true)
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
