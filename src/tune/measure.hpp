#pragma once

#include "tune/call.hpp"
#include "tune/statistics.hpp"

#include <cstdint>
#include <functional>

namespace kiln::tune {

/// Microseconds of one call on random data, over `samples` measurements. Forward calls find L2 as the
/// one before left it, as peers are measured; decode calls find nothing of theirs in it.
Summary measure(const Gpu& gpu, Timer& timer, const KernelPtr& kernel, const Problem& problem, int samples,
                std::uint64_t seed, const std::function<void(int done)>& progress = {});

}  // namespace kiln::tune
