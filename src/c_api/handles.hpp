#pragma once

#include "c_api/convert.hpp"

#include <kiln/kiln.h>
#include <kiln/options.hpp>
#include <kiln/runtime.hpp>

#include <atomic>
#include <utility>

namespace kiln::c_api {

/// A C++ handle with a number of owners.
template <class Kernel>
struct CountedKernel {
  explicit CountedKernel(Kernel its_kernel)
      : kernel(std::move(its_kernel)),
        config(to_c(kernel.info().request.config)),
        merge_config(to_c(kernel.info().request.merge)) {}

  void retain() noexcept { owners.fetch_add(1, std::memory_order_relaxed); }
  /// Whether nobody is left.
  [[nodiscard]] bool release() noexcept { return owners.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  const Kernel kernel;
  const kiln_attention_config config;  ///< what kiln_kernel_info points to, as the next
  const kiln_merge_config merge_config;
  std::atomic<std::size_t> owners = 1;
};

}  // namespace kiln::c_api

struct kiln_options {
  kiln::Options options;
};

struct kiln_runtime {
  kiln::Runtime runtime;
};

struct kiln_preparation {
  kiln::Preparation preparation;
};

struct kiln_forward_kernel : kiln::c_api::CountedKernel<kiln::ForwardKernel> {
  using CountedKernel::CountedKernel;
};

struct kiln_decode_kernel : kiln::c_api::CountedKernel<kiln::DecodeKernel> {
  using CountedKernel::CountedKernel;
};

struct kiln_merge_kernel : kiln::c_api::CountedKernel<kiln::MergeKernel> {
  using CountedKernel::CountedKernel;
};
