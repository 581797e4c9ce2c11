#include "tune/timer.hpp"

#include "base/fail.hpp"
#include "codegen/template_store.hpp"
#include "jit/compiler.hpp"

#include <cstdint>

namespace kiln::tune {
namespace {

// Twice the largest L2 there is.
constexpr std::size_t kFlushBytes = std::size_t{256} << 20U;
constexpr unsigned kThreads = 512;
// A millisecond at 2 GHz; slower clocks only make it longer.
constexpr std::int64_t kSpinClocks = 2'000'000;

/// As templates/tool/spin.cu has it.
struct SpinParams {
  const void* flush;
  std::int64_t flush_vectors;
  std::int64_t clocks;
};
static_assert(sizeof(SpinParams) == 24);

cuda::Module load_spin(const Gpu& gpu, const Options& options) {
  if (!options.jit) base::fail(ErrorCode::missing_kernel, "timing compiles a small kernel of its own, and JIT is off");
  std::string searched;
  const auto file = jit::find_compiler(options.nvrtc_path, &searched);
  if (!file) base::fail(ErrorCode::compile, "timing needs NVRTC, which was not found. Looked at: {}", searched);
  const auto compiler = jit::Compiler::load(*file);
  const std::string target = jit::choose_target(gpu.info().capability, compiler->supported_capabilities());
  const std::string source = codegen::TemplateStore(options.template_dir).read("tool/spin.cu");
  const jit::Binary binary = compiler->compile(source, "spin.cu", "kiln_spin", jit::compile_options(target));
  return {gpu.driver(), binary.image, "kiln_spin", 0, gpu.ordinal()};
}

}  // namespace

Timer::Timer(const Gpu& gpu, const Options& options)
    : gpu_(gpu), spin_(load_spin(gpu, options)), begin_(gpu.driver()), end_(gpu.driver()) {}

double Timer::time(const std::function<void(Stream)>& work, L2 l2) {
  keep_busy(l2);
  begin_.record(gpu_.stream());
  work(gpu_.stream());
  end_.record(gpu_.stream());
  constexpr double kMicrosecondsPerMillisecond = 1000;
  return cuda::milliseconds_between(begin_, end_) * kMicrosecondsPerMillisecond;
}

void Timer::keep_busy(L2 l2) {
  if (l2 == L2::cold && flush_.size_bytes() == 0) {
    flush_ = cuda::DeviceBuffer(gpu_.driver(), kFlushBytes);
    flush_.fill(std::byte{0});
  }
  constexpr std::size_t kVectorBytes = 16;
  const SpinParams params{.flush = flush_.data(),
                          .flush_vectors = l2 == L2::cold ? std::int64_t{kFlushBytes / kVectorBytes} : 0,
                          .clocks = kSpinClocks};
  constexpr unsigned kBlocksPerSm = 2;
  const auto blocks = static_cast<unsigned>(gpu_.info().sm_count) * kBlocksPerSm;
  spin_.launch({.grid_x = blocks, .threads = kThreads}, gpu_.stream(), &params);
}

}  // namespace kiln::tune
