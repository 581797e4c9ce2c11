#include "support/pairwise.hpp"

#include "support/random.hpp"

#include <numeric>
#include <set>
#include <tuple>

namespace kiln::test {

namespace {

using Pair = std::tuple<int, int, int, int>;  // dimension, choice, later dimension, choice

class Cover {
 public:
  Cover(const std::vector<int>& sizes, std::uint64_t seed) : sizes_(sizes), draw_(seed) {
    const int dims = static_cast<int>(sizes.size());
    for (int a = 0; a < dims; ++a)
      for (int b = a + 1; b < dims; ++b)
        for (int x = 0; x < size(a); ++x)
          for (int y = 0; y < size(b); ++y) missing_.insert({a, x, b, y});
  }

  bool done() const { return missing_.empty(); }

  /// Starts from a missing pair and gives the other dimensions, in random order, the choice that
  /// covers most.
  std::vector<int> next_row() {
    std::vector<int> row(sizes_.size(), kOpen);
    const auto [a, x, b, y] = *missing_.begin();
    row[static_cast<std::size_t>(a)] = x;
    row[static_cast<std::size_t>(b)] = y;
    for (const int dim : shuffled_dimensions())
      if (row[static_cast<std::size_t>(dim)] == kOpen) row[static_cast<std::size_t>(dim)] = best_choice(row, dim);
    strike(row);
    return row;
  }

 private:
  static constexpr int kOpen = -1;

  int size(int dim) const { return sizes_[static_cast<std::size_t>(dim)]; }

  static Pair ordered(int a, int x, int b, int y) { return a < b ? Pair{a, x, b, y} : Pair{b, y, a, x}; }

  std::vector<int> shuffled_dimensions() {
    std::vector<int> order(sizes_.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[static_cast<std::size_t>(draw_.below(static_cast<int>(i)))]);
    return order;
  }

  int best_choice(const std::vector<int>& row, int dim) {
    int best = 0;
    int best_gain = -1;
    const int start = draw_.below(size(dim));
    for (int step = 0; step < size(dim); ++step) {
      const int choice = (start + step) % size(dim);
      int gain = 0;
      for (std::size_t other = 0; other < row.size(); ++other)
        if (row[other] != kOpen && missing_.contains(ordered(dim, choice, static_cast<int>(other), row[other]))) ++gain;
      if (gain > best_gain) {
        best = choice;
        best_gain = gain;
      }
    }
    return best;
  }

  void strike(const std::vector<int>& row) {
    for (std::size_t a = 0; a < row.size(); ++a)
      for (std::size_t b = a + 1; b < row.size(); ++b)
        missing_.erase({static_cast<int>(a), row[a], static_cast<int>(b), row[b]});
  }

  const std::vector<int>& sizes_;
  Draw draw_;
  std::set<Pair> missing_;
};

}  // namespace

std::vector<std::vector<int>> pairwise_cover(const std::vector<int>& sizes, std::uint64_t seed) {
  Cover cover(sizes, seed);
  std::vector<std::vector<int>> rows;
  while (!cover.done()) rows.push_back(cover.next_row());
  return rows;
}

}  // namespace kiln::test
