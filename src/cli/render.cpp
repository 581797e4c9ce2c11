#include "codegen/render.hpp"

#include "base/files.hpp"
#include "cli/commands.hpp"
#include "cli/planning.hpp"
#include "cli/report.hpp"

namespace kiln::cli {

ExitCode render(const Common& common, const RenderArguments& arguments) {
  const auto requests = parse_requests(arguments.kernel);
  const auto configs = planned(on_architectures(requests, arguments.arch, false), arguments.tile, common.options);
  const codegen::Renderer renderer(codegen::TemplateStore(common.options.template_dir));

  base::Json::Array shown;
  for (const plan::KernelConfig& config : configs) {
    const codegen::Source source = renderer.render(config);
    if (arguments.output) {
      std::filesystem::create_directories(*arguments.output);
      base::write_file_atomic(*arguments.output / source.name, source.text());
    }
    if (common.json) {
      shown.emplace_back(base::Json::Object{{"name", source.name}, {"entry", source.entry}, {"source", source.text()}});
    } else if (arguments.output) {
      print((*arguments.output / source.name).string() + "\n");
    } else {
      print(source.text());
    }
  }
  if (common.json) print_json(shown);
  return ExitCode::ok;
}

}  // namespace kiln::cli
