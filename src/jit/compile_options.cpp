#include "base/fail.hpp"
#include "jit/compiler.hpp"

#include <algorithm>
#include <cstdlib>

namespace kiln::jit {

// Left out on purpose, as each makes a kernel depend on more than its source: --Ofast-compile (changes
// later compiles of the process, too), --pch (misses changed headers), --split-compile (changes bytes),
// -lineinfo (embeds the working directory), --use_fast_math (the kernels choose where to be approximate).
std::vector<std::string> compile_options(std::string_view target) {
  return {
      fmt::format("--gpu-architecture={}", target),
      "--std=c++20",
      "--no-cache",                  // the driver's hidden cache would swallow the log
      "--modify-stack-limit=false",  // else each compile calls setrlimit for the whole process
      "--ptxas-options=-v",          // registers and spills
  };
}

std::vector<std::string> environment_options() {
  std::vector<std::string> set;
  for (const char* name : {"NVRTC_APPEND_FLAGS", "NV_NVVM_VERSION"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') {
      set.push_back(fmt::format("{}={}", name, value));
    }
  }
  return set;
}

std::string choose_target(int capability, std::span<const int> supported) {
  int same_major = 0;
  int any_major = 0;
  for (const int known : supported) {
    if (known > capability) continue;
    any_major = std::max(any_major, known);
    if (known / 10 == capability / 10) same_major = std::max(same_major, known);
  }
  if (same_major > 0) return fmt::format("sm_{}", same_major);
  if (any_major > 0) return fmt::format("compute_{}", any_major);
  base::fail(ErrorCode::unsupported, "compute capability {}.{} is not among those that NVRTC can compile for: {}",
             capability / 10, capability % 10, fmt::join(supported, ", "));
}

}  // namespace kiln::jit
