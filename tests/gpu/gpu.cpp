#include "gpu/gpu.hpp"

namespace kiln::test {
namespace {

/// Made at the first question and kept until the process ends.
struct Found {
  Found() {
    try {
      driver = cuda::Driver::load(Options::from_environment().cuda_path);
      if (driver->device_count() == 0) {
        missing = "no GPU: the driver sees none";
        return;
      }
      info = driver->device_info(0);
      context = std::make_unique<cuda::Context>(driver, 0);
    } catch (const Error& error) {
      const std::string words = error.what();
      missing = "no GPU: " + words.substr(0, words.find("; looked at"));
    }
  }

  std::string missing;
  std::shared_ptr<const cuda::Driver> driver;
  plan::DeviceInfo info;
  std::unique_ptr<cuda::Context> context;
};

const Found& found() {
  // Never destroyed: what a driver keeps for a thread is gone before what a process keeps.
  static const Found& it = *new Found;  // NOLINT(cppcoreguidelines-owning-memory)
  return it;
}

}  // namespace

const std::string& Gpu::missing() { return found().missing; }
const std::shared_ptr<const cuda::Driver>& Gpu::driver() { return found().driver; }
const plan::DeviceInfo& Gpu::info() { return found().info; }
std::size_t Gpu::free_bytes() { return found().context->memory().free_bytes; }

void Gpu::synchronize() { found().context->synchronize(); }

const Runtime& Gpu::runtime() {
  static const Runtime it;
  return it;
}

void GpuTest::SetUp() {
  if (!Gpu::missing().empty()) GTEST_SKIP() << Gpu::missing();
  stream_ = std::make_unique<cuda::StreamHandle>(Gpu::driver());
}

void GpuTest::TearDown() {
  if (stream_) stream_->synchronize();  // a fault belongs to the test that made it
}

bool is_to_run(std::string_view test) {
  const auto* suite = ::testing::UnitTest::GetInstance()->current_test_suite();
  for (int i = 0; i < suite->total_test_count(); ++i) {
    const auto* info = suite->GetTestInfo(i);
    if (info->name() == test) return info->should_run();
  }
  return false;
}

void prepare_for_suite(const std::vector<KernelRequest>& requests) {
  if (Gpu::missing().empty()) Gpu::runtime().prepare(requests);
}

cuda::DeviceBuffer make_workspace(const DecodeKernel& kernel, DecodeArgs& args) {
  cuda::DeviceBuffer workspace(Gpu::driver(), kernel.workspace_bytes(args));
  if (workspace.size_bytes() > 0) workspace.fill(std::byte{0});
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size_bytes();
  return workspace;
}

}  // namespace kiln::test
