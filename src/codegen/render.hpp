#pragma once

#include "codegen/joined_template.hpp"
#include "codegen/template_store.hpp"
#include "plan/kernel_config.hpp"

#include <array>
#include <memory>
#include <mutex>
#include <string>

namespace kiln::codegen {

/// One self-contained CUDA translation unit.
struct Source {
  std::string name;     ///< "forward_bf16_d128_causal_sm90.cu"
  std::string entry;    ///< the extern "C" function to launch
  std::string heading;  ///< the first line: says what it is
  std::string header;   ///< the generated header
  std::string config;   ///< the same as it stands in the text
  std::shared_ptr<const JoinedTemplate> rest;

  /// The whole; it includes nothing.
  [[nodiscard]] std::string text() const;
};

/// The generated header: every compile-time fact, sorted, one a line.
std::string config_header(const plan::KernelConfig& config);

/// Puts generated headers into templates. Thread-safe. A template is read once, when it is first needed.
class Renderer {
 public:
  explicit Renderer(TemplateStore templates) : templates_(std::move(templates)) {}

  [[nodiscard]] Source render(const plan::KernelConfig& config) const;

 private:
  struct Joined {
    std::once_flag once;
    std::shared_ptr<const JoinedTemplate> text;
  };

  TemplateStore templates_;
  mutable std::array<Joined, 3> joined_;  ///< of each KernelKind
};

}  // namespace kiln::codegen
