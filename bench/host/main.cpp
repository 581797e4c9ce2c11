// Measures the host's side of Kiln and prints JSON; bench/run_host.py runs it and keeps the result.
#include "cuda/driver.hpp"
#include "host/figure.hpp"
#include "jit/compiler.hpp"

#include <kiln/error.hpp>
#include <kiln/version.hpp>

#include <cstdio>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): mkdtemp
#include <string>
#include <system_error>
#include <thread>

namespace kiln::bench {
namespace {

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "kiln_bench_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path path;
};

/// The real driver if it has a GPU, else the fake one if this build has it, else none.
std::string choose_driver(Setup& setup) {
  try {
    const auto driver = cuda::Driver::load({});
    if (driver->device_count() > 0) {
      const auto info = driver->device_info(0);
      setup.gpu = true;
      setup.capability = info.capability;
      return info.name;
    }
  } catch (const Error&) {
    // No driver: said by what is returned.
  }
#ifdef KILN_FAKE_CUDA_PATH
  setup.cuda_path = KILN_FAKE_CUDA_PATH;
  return "none (fake libcuda)";
#else
  return "none";
#endif
}

base::Json to_json(Figure figure) {
  base::Json::Object row = std::move(figure.detail);
  row["what"] = figure.what;
  row["kiln"] = figure.value;
  row["unit"] = figure.unit;
  if (figure.at_most) row["at_most"] = *figure.at_most;
  if (figure.at_least) row["at_least"] = *figure.at_least;
  if (figure.at_most || figure.at_least)
    row["met"] =
        (!figure.at_most || figure.value <= *figure.at_most) && (!figure.at_least || figure.value >= *figure.at_least);
  return row;
}

int run(const std::filesystem::path& self) {
  const ScratchFolder scratch;
  Setup setup{.self = std::filesystem::canonical(self), .scratch = scratch.path};
  setup.cores = static_cast<int>(std::thread::hardware_concurrency());
  base::Json::Object out;
  out["device"] = choose_driver(setup);
  const auto compiler = jit::find_compiler({});
  base::Json::Array rows;
  const auto take = [&](Figures figures) {
    for (Figure& figure : figures) rows.push_back(to_json(std::move(figure)));
  };
  if (compiler) {
    // First what forks: a process that holds NVRTC and a driver starts others more slowly.
    take(process_figures(setup));
    take(compile_figures(setup));
    take(cache_figures(setup));
    take(launch_figures(setup));
  }
  out["cores"] = setup.cores;
  out["versions"] =
      base::Json::Object{{"kiln", version()}, {"nvrtc", compiler ? jit::Compiler::load(*compiler)->version() : "none"}};
  out["rows"] = std::move(rows);
  std::printf("%s\n", base::Json(std::move(out)).dump().c_str());
  return compiler ? 0 : 1;
}

}  // namespace
}  // namespace kiln::bench

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (!arguments.empty() && arguments[0] == "--child")
      return kiln::bench::run_child({arguments.begin() + 1, arguments.end()});
    return kiln::bench::run(argv[0]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_host: %s\n", error.what());
    return 1;
  }
}
