#pragma once

#include "device/params.cuh"

#include <kiln/attention.hpp>

namespace kiln::detail {

/// As kernels read them.
inline device::Strides to_device(const Strides& strides) { return {strides.batch, strides.row, strides.head}; }

}  // namespace kiln::detail
