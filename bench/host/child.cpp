// What runs in a new process for process_figures().
#include "base/fail.hpp"
#include "cuda/context.hpp"
#include "cuda/device_memory.hpp"
#include "cuda/stream.hpp"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/timing.hpp"
#include "jit/compiler.hpp"

#include <cmath>
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

float bf16_value(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }

/// One head of kLength tokens with small integers, exact in bf16; the first row's answer by hand.
class SmallProblem {
 public:
  static constexpr int kLength = 64;
  static constexpr int kDim = 128;

  explicit SmallProblem(const std::shared_ptr<const cuda::Driver>& driver) {
    for (std::size_t part = 0; part < 3; ++part)
      for (int i = 0; i < kLength * kDim; ++i) {
        const auto value = static_cast<float>((i * (static_cast<int>(part) + 3) + i / kDim * 5) % 7 - 3);
        host_[part].push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U));
      }
    for (std::size_t part = 0; part < 3; ++part)
      device_[part] = cuda::DeviceBuffer::of(driver, std::span<const std::uint16_t>(host_[part]));
    device_[3] = cuda::DeviceBuffer(driver, host_[0].size() * 2);
  }

  [[nodiscard]] ForwardArgs args() const {
    const Strides strides = Strides::bshd(kLength, 1, kDim);
    return {.q = {device_[0].data(), strides},
            .k = {device_[1].data(), strides},
            .v = {device_[2].data(), strides},
            .out = {device_[3].data(), strides},
            .batch = 1,
            .len_q = kLength,
            .len_k = kLength,
            .heads_q = 1,
            .heads_kv = 1};
  }

  [[nodiscard]] bool right() const {
    std::vector<std::uint16_t> out(host_[0].size());
    device_[3].download(std::as_writable_bytes(std::span(out)));
    const auto value = [&](std::size_t part, int row, int c) {
      return bf16_value(host_[part][static_cast<std::size_t>(row) * kDim + static_cast<std::size_t>(c)]);
    };
    for (int c = 0; c < kDim; ++c) {
      double sum = 0;
      double weighted = 0;
      for (int j = 0; j < kLength; ++j) {
        double score = 0;
        for (int d = 0; d < kDim; ++d) score += value(0, 0, d) * value(1, j, d);
        const double weight = std::exp(score / std::sqrt(double{kDim}));
        sum += weight;
        weighted += weight * value(2, j, c);
      }
      if (!(std::abs(bf16_value(out[static_cast<std::size_t>(c)]) - weighted / sum) < 0.03)) return false;
    }
    return true;
  }

 private:
  std::array<std::vector<std::uint16_t>, 3> host_;
  std::array<cuda::DeviceBuffer, 4> device_;
};

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
