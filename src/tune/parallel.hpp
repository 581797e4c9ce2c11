#pragma once

#include <cstddef>
#include <functional>

namespace kiln::tune {

/// Calls work(i) for every i below `count`, on as many threads as there are cores. The first
/// exception ends it and is thrown here.
void parallel_for(std::size_t count, const std::function<void(std::size_t)>& work);

}  // namespace kiln::tune
