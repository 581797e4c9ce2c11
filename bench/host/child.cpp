// What runs in a new process for process_figures().
#include "base/fail.hpp"
#include "cuda/context.hpp"
#include "cuda/stream.hpp"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/small_problem.hpp"
#include "host/timing.hpp"
#include "jit/compiler.hpp"

#include <cstdio>
#include <string>

namespace kiln::bench {
namespace {

void print(base::Json::Object object) { std::printf("%s\n", base::Json(std::move(object)).dump(true).c_str()); }

void nvrtc(int capability) {
  const auto start = Clock::now();
  const auto compiler = load_compiler();
  const auto binary = compiler->compile("extern \"C\" __global__ void empty() {}", "empty.cu", "empty",
                                        jit::compile_options(fmt::format("sm_{}", capability)));
  print({{"ms", milliseconds_since(start)}, {"bytes", static_cast<std::int64_t>(binary.image.size())}});
}

void race(int capability, const std::string& folder) {
  Options options;
  options.cache_dir = folder;
  const auto builder = make_builder(options);
  int compiles = 0;
  for (const KernelRequest& request : usual_requests())
    compiles += builder.find_or_compile(config_of(request, capability)).origin == Origin::compiled ? 1 : 0;
  print({{"compiles", compiles}});
}

void first(const std::string& folder) {
  auto start = Clock::now();
  const auto driver = cuda::Driver::load({});
  const cuda::Context context(driver, 0);
  const cuda::StreamHandle stream(driver);
  const SmallProblem problem(driver);
  const double driver_ms = milliseconds_since(start);
  start = Clock::now();
  Options options;
  options.cache_dir = folder;
  const Runtime runtime(options);
  runtime.launch({}, stream.get(), problem.args());
  stream.synchronize();
  const double kiln_ms = milliseconds_since(start);
  print({{"driver_ms", driver_ms},
         {"kiln_ms", kiln_ms},
         {"compile_ms", runtime.stats().compile_ms},
         {"right", problem.right()}});
}

}  // namespace

int run_child(const std::vector<std::string>& arguments) {
  if (arguments.size() == 2 && arguments[0] == "nvrtc") {
    nvrtc(std::stoi(arguments[1]));
  } else if (arguments.size() == 3 && arguments[0] == "race") {
    race(std::stoi(arguments[1]), arguments[2]);
  } else if (arguments.size() == 2 && arguments[0] == "first") {
    first(arguments[1]);
  } else {
    base::fail(ErrorCode::invalid_argument, "--child takes nvrtc, race or first");
  }
  return 0;
}

}  // namespace kiln::bench
