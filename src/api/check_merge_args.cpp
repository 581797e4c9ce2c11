#include "api/check_merge_args.hpp"

#include "api/check_values.hpp"
#include "base/fail.hpp"
#include "plan/kernel_config.hpp"

#include <array>

namespace kiln::api {
namespace {

struct StateNames {
  const char* out;
  const char* lse;
};
// Spelt out, so that a launch forms no strings.
constexpr std::array<StateNames, kMostMergedStates> kStates = {{{"states[0].out", "states[0].lse"},
                                                                {"states[1].out", "states[1].lse"},
                                                                {"states[2].out", "states[2].lse"},
                                                                {"states[3].out", "states[3].lse"},
                                                                {"states[4].out", "states[4].lse"},
                                                                {"states[5].out", "states[5].lse"},
                                                                {"states[6].out", "states[6].lse"},
                                                                {"states[7].out", "states[7].lse"},
                                                                {"states[8].out", "states[8].lse"},
                                                                {"states[9].out", "states[9].lse"},
                                                                {"states[10].out", "states[10].lse"},
                                                                {"states[11].out", "states[11].lse"},
                                                                {"states[12].out", "states[12].lse"},
                                                                {"states[13].out", "states[13].lse"},
                                                                {"states[14].out", "states[14].lse"},
                                                                {"states[15].out", "states[15].lse"}}};

void check_num_states(int count) {
  if (count >= 1 && count <= kMostMergedStates) return;
  base::fail(ErrorCode::invalid_argument, "num_states is {}: it must be from 1 to {}; merge more in several calls",
             count, kMostMergedStates);
}

/// The kernel counts rows in 32 bits.
void check_rows(const MergeArgs& args) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const std::int64_t tokens = std::int64_t{args.batch} * args.len;
  const std::int64_t rows = tokens < kLimit ? tokens * args.heads : tokens;
  if (rows < kLimit) return;
  base::fail(ErrorCode::invalid_argument,
             "batch {}, len {} and heads {} make {} rows or more: they must be fewer than {}", args.batch, args.len,
             args.heads, rows, kLimit);
}

}  // namespace

bool writes_nothing(const MergeArgs& args) { return args.batch == 0 || args.len == 0; }

void check(const MergeConfig& config, const MergeArgs& args) {
  check_size("batch", args.batch, 0);
  check_length("len", args.len);
  check_size("heads", args.heads, 1);
  check_num_states(args.num_states);
  check_rows(args);
  const Sizes sizes{args.batch, args.len, args.heads};
  for (int i = 0; i < args.num_states; ++i) {
    const auto& state = args.states[static_cast<std::size_t>(i)];
    const auto& names = kStates[static_cast<std::size_t>(i)];
    check_tensor(names.out, state.out.data, state.out.strides, sizes, false, plan::element_bytes(config.dtype));
    check_numbers(names.lse, state.lse.data, state.lse.strides, sizes, false, sizeof(float));
  }
  check_tensor("out", args.out.data, args.out.strides, sizes, true, plan::element_bytes(config.out_dtype));
  if (args.lse.data != nullptr) check_numbers("lse", args.lse.data, args.lse.strides, sizes, true, sizeof(float));
}

}  // namespace kiln::api
