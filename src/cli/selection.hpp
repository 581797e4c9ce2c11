#pragma once

#include "plan/kernel_config.hpp"

#include <kiln/options.hpp>
#include <kiln/runtime.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace kiln::cli {

/// Kernels as words on the command line. Kind, dtype, head dim, decode rows and architecture may be lists with
/// commas, which stand for every combination.
struct KernelWords {
  std::string kind = "forward";
  std::string dtype = "bf16";
  std::string head_dim = "128";  ///< "128", or "192/128" for q·k and v
  bool causal = false;
  std::string align = "bottom-right";
  bool window = false;
  std::string fixed_window{};  ///< "1023/0", "open" for a side without end; empty: none
  std::string with{};          ///< other members of the config: "softcap,ragged,additive"
  std::string decode_rows = "16";
  std::string out_dtype{};  ///< a merge's; empty: as dtype
};

std::vector<KernelRequest> parse_requests(const KernelWords& words);
/// As above, where exactly one is wanted.
KernelRequest parse_request(const KernelWords& words);
/// The first of those that share a row of a tuned table. A merge, which has but one tiling, has none.
std::vector<KernelRequest> one_of_each_row(const std::vector<KernelRequest>& requests);
/// "80,90", "sm_90" or "all"; each one must be known.
std::vector<int> parse_architectures(std::string_view words);
/// "128x64,8,2,1": tile rows × keys, warps, stages, blocks an SM.
plan::Tiling parse_tiling(std::string_view words);
std::string to_string(const plan::Tiling& tiling);

/// "1024" or "16k" (× 1024), at least 1.
int parse_length(std::string_view word, std::string_view option);
std::vector<std::string> split_list(std::string_view words);

/// The kernels that a release is checked with: every combination of the features there are.
std::vector<KernelRequest> shipped_requests();

}  // namespace kiln::cli
