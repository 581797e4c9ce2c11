#include "suite/plain_merge.hpp"

#include "support/element.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace kiln::test {
namespace {

class Plain {
 public:
  Plain(const MergeConfig& config, const MergeArgs& args, MergeMistake mistake)
      : config_(config), args_(args), mistake_(mistake) {}

  void run() const {
    for (int b = 0; b < args_.batch; ++b)
      for (int i = 0; i < args_.len; ++i)
        for (int head = 0; head < args_.heads; ++head) row(b, i, head);
  }

 private:
  static std::int64_t at(const Strides& strides, int b, int i, int head) {
    return b * strides.batch + i * strides.row + head * strides.head;
  }
  [[nodiscard]] bool has(MergeMistake mistake) const { return mistake_ == mistake; }

  void row(int b, int i, int head) const {
    const int count = args_.num_states - (has(MergeMistake::last_state_left_out) ? 1 : 0);
    const float unit = args_.lse_base2 && !has(MergeMistake::natural_for_base2) ? std::log(2.0F) : 1.0F;
    std::vector<float> lses;
    float top = -std::numeric_limits<float>::infinity();
    for (int s = 0; s < count; ++s) {
      const LseInput& lse = args_.states[static_cast<std::size_t>(s)].lse;
      const bool other = has(MergeMistake::result_strides_for_lses);
      lses.push_back(lse.data[at(other ? Strides::bhsd(args_.len, args_.heads, 1) : lse.strides, b, i, head)]);
      top = std::max(top, lses.back());
    }
    const bool empty = std::isinf(top);
    if (has(MergeMistake::no_maximum) || empty) top = 0;
    float sum = 0;
    for (float& x : lses) sum += x = std::exp((x - top) * unit);
    const std::int64_t out = at(args_.out.strides, b, i, head);
    std::vector<float> values(static_cast<std::size_t>(config_.head_dim_v));
    for (int s = 0; s < count; ++s) {
      const float weight = lses[static_cast<std::size_t>(s)];
      if (weight == 0 && !has(MergeMistake::empty_states_count)) continue;
      const Input& state = args_.states[static_cast<std::size_t>(s)].out;
      for (int c = 0; c < config_.head_dim_v; ++c) {
        const float x = load_element(config_.dtype, state.data, at(state.strides, b, i, head) + c);
        values[static_cast<std::size_t>(c)] += weight * x / sum;
      }
    }
    for (int c = 0; c < config_.head_dim_v; ++c) {
      store_element(config_.out_dtype, args_.out.data, out + c, values[static_cast<std::size_t>(c)]);
    }
    if (args_.lse.data == nullptr) return;
    const float lse = has(MergeMistake::empty_lse_zero) && sum == 0 ? 0 : top + std::log(sum) / unit;
    args_.lse.data[at(args_.lse.strides, b, i, head)] = lse;
  }

  const MergeConfig& config_;
  const MergeArgs& args_;
  MergeMistake mistake_;
};

}  // namespace

void plain_merge(const MergeConfig& config, const MergeArgs& args, MergeMistake mistake) {
  Plain(config, args, mistake).run();
}

}  // namespace kiln::test
