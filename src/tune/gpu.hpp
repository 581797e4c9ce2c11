#pragma once

#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "cuda/stream.hpp"
#include "plan/device_info.hpp"

#include <kiln/options.hpp>

#include <memory>

namespace kiln::tune {

/// The GPU that is measured: its context is current on this thread while it lives.
class Gpu {
 public:
  explicit Gpu(const Options& options);

  [[nodiscard]] const std::shared_ptr<const cuda::Driver>& driver() const { return driver_; }
  [[nodiscard]] int ordinal() const { return ordinal_; }
  [[nodiscard]] const plan::DeviceInfo& info() const { return info_; }
  [[nodiscard]] cuda::Overlap overlap() const { return overlap_; }
  [[nodiscard]] const cuda::Context& context() const { return context_; }
  [[nodiscard]] Stream stream() const { return stream_.get(); }
  void synchronize() const { stream_.synchronize(); }

 private:
  std::shared_ptr<const cuda::Driver> driver_;
  int ordinal_;
  plan::DeviceInfo info_;
  cuda::Overlap overlap_;
  cuda::Context context_;
  cuda::StreamHandle stream_;
};

}  // namespace kiln::tune
