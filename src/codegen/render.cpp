#include "codegen/render.hpp"

#include "plan/names.hpp"

#include <fmt/format.h>

namespace kiln::codegen {
namespace {

std::string_view template_of(KernelKind kind) {
  switch (kind) {
    case KernelKind::forward:
      return "attention/forward_sm80.cu";
    case KernelKind::decode:
      return "attention/decode_sm80.cu";
    case KernelKind::merge:
      break;
  }
  return "attention/merge.cu";
}

}  // namespace

std::string Source::text() const {
  std::string out;
  out.reserve(heading.size() + config.size() + rest->text.size());
  return out.append(heading).append(rest->before_config()).append(config).append(rest->after_config());
}

Source Renderer::render(const plan::KernelConfig& config) const {
  const auto kind = config.request.kind;
  Joined& joined = joined_.at(static_cast<std::size_t>(kind));
  std::call_once(joined.once,
                 [&] { joined.text = std::make_shared<const JoinedTemplate>(join(template_of(kind), templates_)); });
  const auto name = plan::name_of(config);
  Source source{.name = name + ".cu",
                .entry = fmt::format("kiln_{}", plan::to_string(kind)),
                .heading = fmt::format("// {}: {}. Rendered by Kiln.\n", name, plan::describe(config.request)),
                .header = config_header(config),
                .config = {},
                .rest = joined.text};
  append_part(source.config, "the config: what this kernel is compiled for", source.header);
  return source;
}

}  // namespace kiln::codegen
