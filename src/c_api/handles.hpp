#pragma once

#include "c_api/convert.hpp"

#include <kiln/kiln.h>
#include <kiln/options.hpp>
#include <kiln/runtime.hpp>
#include <kiln/shared_prefix.hpp>

#include <atomic>
#include <utility>

namespace kiln::c_api {

/// A C++ handle with a number of owners.
template <class Handle>
struct Counted {
  explicit Counted(Handle its_handle) : handle(std::move(its_handle)) {}

  void retain() noexcept { owners.fetch_add(1, std::memory_order_relaxed); }
  /// Whether nobody is left.
  [[nodiscard]] bool release() noexcept { return owners.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  const Handle handle;
  std::atomic<std::size_t> owners = 1;
};

template <class Kernel>
struct CountedKernel : Counted<Kernel> {
  explicit CountedKernel(Kernel kernel)
      : Counted<Kernel>(std::move(kernel)),
        config(to_c(this->handle.info().request.config)),
        merge_config(to_c(this->handle.info().request.merge)) {}

  const kiln_attention_config config;  ///< what kiln_kernel_info points to, as the next
  const kiln_merge_config merge_config;
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

struct kiln_shared_prefix_decode : kiln::c_api::Counted<kiln::SharedPrefixDecode> {
  using Counted::Counted;
};
