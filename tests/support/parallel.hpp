#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace kiln::test {

/// body(0) … body(count − 1), on all cores, in no order.
inline void parallel_for(int count, const std::function<void(int)>& body) {
  std::atomic<int> next{0};
  const auto work = [&] {
    for (int index = next++; index < count; index = next++) body(index);
  };
  const int helpers = std::min(static_cast<int>(std::thread::hardware_concurrency()), count) - 1;
  std::vector<std::jthread> threads;
  for (int i = 0; i < helpers; ++i) threads.emplace_back(work);
  work();
}

}  // namespace kiln::test
