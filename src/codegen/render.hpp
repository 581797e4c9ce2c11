#pragma once

#include "codegen/template_store.hpp"
#include "plan/kernel_config.hpp"

#include <string>

namespace kiln::codegen {

/// One self-contained CUDA translation unit.
struct Source {
  std::string name;   ///< "forward_bf16_d128_causal_sm90.cu"
  std::string text;   ///< includes nothing
  std::string entry;  ///< the extern "C" function to launch
};

/// The generated header: every compile-time fact, sorted, one a line.
std::string config_header(const plan::KernelConfig& config);

/// Generated header + template + the device headers it includes, each once.
Source render(const plan::KernelConfig& config, const TemplateStore& templates);

}  // namespace kiln::codegen
