#include "tune/gpu.hpp"

#include "base/fail.hpp"

#include <algorithm>

namespace kiln::tune {
namespace {

int checked_ordinal(const cuda::Driver& driver, int wanted) {
  const int count = driver.device_count();
  if (count == 0) base::fail(ErrorCode::unsupported, "the driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)");
  const int ordinal = std::max(wanted, 0);
  if (ordinal >= count) {
    base::fail(ErrorCode::invalid_argument, "device {} does not exist: the driver sees {}", ordinal, count);
  }
  return ordinal;
}

}  // namespace

Gpu::Gpu(const Options& options)
    : driver_(cuda::Driver::load(options.cuda_path)),
      ordinal_(checked_ordinal(*driver_, options.device)),
      info_(driver_->device_info(ordinal_)),
      overlap_(driver_->overlap(options.overlap_launches, info_.capability)),
      context_(driver_, ordinal_),
      stream_(driver_) {}

}  // namespace kiln::tune
