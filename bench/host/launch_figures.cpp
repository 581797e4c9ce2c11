#include "c_api/handles.hpp"
#include "cuda/context.hpp"
#include "cuda/cuda_error.hpp"
#include "cuda/device_memory.hpp"
#include "cuda/stream.hpp"
#include "device/params.cuh"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/timing.hpp"

#include <alloca.h>
#include <array>
#include <functional>

namespace kiln::bench {
namespace {

constexpr int kBatch = 100;            // launches between two looks at the clock: the driver's queue never fills
constexpr std::size_t kRounds = 1024;  // of all ways, in turn

// Where the stack lies moves the driver's own time by more than what is looked for, and each way puts it elsewhere:
// rounds put it at all places of a page in turn.
constexpr std::size_t kPlaces = 64;
constexpr std::size_t kPlaceBytes = 64;

/// Nanoseconds of a launch, with the stack `place` places deeper.
[[gnu::noinline]] double time_batch(const std::function<void()>& launch, std::size_t place) {
  auto* const deeper = static_cast<volatile char*>(alloca(kPlaceBytes * (place + 1)));
  *deeper = 0;
  const auto start = Clock::now();
  for (int i = 0; i < kBatch; ++i) launch();
  return milliseconds_since(start) * 1e6 / kBatch;
}

/// The same kernel by the driver's own call, in the same way, with nothing around it.
class RawKernel {
 public:
  RawKernel(const cuda::Driver& driver, const Setup& setup) : functions_(driver.functions()) {
    const cuda::DriverFunctions& functions = functions_;
    const auto config = config_of({KernelKind::forward, {}}, setup.capability);
    entry_ = make_builder(cold_options(setup)).compile(config);
    cuda::check(functions.cuLibraryLoadData(&library_, entry_.image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
                "loading", functions);
    cuda::check(functions.cuLibraryGetKernel(&kernel_, library_, entry_.entry.c_str()), "finding", functions);
    cuda::check(
        functions.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, config.smem_bytes, kernel_, 0),
        "setting", functions);
    launch_.gridDimX = launch_.gridDimY = launch_.gridDimZ = 1;
    launch_.blockDimX = static_cast<unsigned>(config.tiling.warps * 32);
    launch_.blockDimY = launch_.blockDimZ = 1;
    launch_.sharedMemBytes = static_cast<unsigned>(config.smem_bytes);
    overlap_.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    overlap_.value.programmaticStreamSerializationAllowed = 1;
    launch_.attrs = &overlap_;
    launch_.numAttrs = driver.overlap(true, setup.capability) == cuda::Overlap::yes ? 1 : 0;
  }
  ~RawKernel() { functions_.cuLibraryUnload(library_); }
  RawKernel(const RawKernel&) = delete;
  RawKernel& operator=(const RawKernel&) = delete;

  void launch(Stream stream, device::ForwardParams& params) {
    launch_.hStream = stream;
    void* arguments[] = {&params};
    cuda::check(functions_.cuLaunchKernelEx(&launch_, reinterpret_cast<CUfunction>(kernel_), arguments, nullptr),
                "launching", functions_);
  }

 private:
  const cuda::DriverFunctions& functions_;
  cache::Entry entry_;
  CUlibrary library_ = nullptr;
  CUkernel kernel_ = nullptr;
  CUlaunchConfig launch_{};
  CUlaunchAttribute overlap_{};
};

device::ForwardParams raw_params(const ForwardArgs& args) {
  const device::Strides strides{args.q.strides.batch, args.q.strides.row, args.q.strides.head};
  const device::AttentionParams call{.q = args.q.data,
                                     .k = args.k.data,
                                     .v = args.v.data,
                                     .o = args.out.data,
                                     .lse = nullptr,
                                     .q_strides = strides,
                                     .k_strides = strides,
                                     .v_strides = strides,
                                     .o_strides = strides,
                                     .batch = 1,
                                     .heads_q = 1,
                                     .heads_kv = 1,
                                     .group = 1,
                                     .len_q = args.len_q,
                                     .len_k = args.len_k,
                                     .window_left = -1,
                                     .window_right = -1,
                                     .scale_log2 = 0.1F};
  return {call, 1, 0};
}

/// The same handle through the C interface.
class CKernel {
 public:
  CKernel(const ForwardKernel& kernel, const ForwardArgs& args) : kernel_(kernel) {
    args_.q = {args.q.data, to_c(args.q.strides)};
    args_.k = {args.k.data, to_c(args.k.strides)};
    args_.v = {args.v.data, to_c(args.v.strides)};
    args_.out = {args.out.data, to_c(args.out.strides)};
    args_.batch = args_.heads_q = args_.heads_kv = 1;
    args_.len_q = args.len_q;
    args_.len_k = args.len_k;
  }

  void launch(Stream stream) {
    const kiln_status status = kiln_forward_launch(&kernel_, stream, &args_);
    if (status != KILN_OK) base::fail(ErrorCode::cuda, "the C interface: {}", kiln_last_error());
  }

 private:
  static kiln_strides to_c(const Strides& strides) { return {strides.batch, strides.row, strides.head}; }
  kiln_forward_kernel kernel_;
  kiln_forward_args args_ = kiln_forward_args_init();
};

}  // namespace

Figures launch_figures(const Setup& setup) {
  if (!setup.gpu && !setup.cuda_path) return {};
  const auto driver = cuda::Driver::load(setup.cuda_path);
  const cuda::Context context(driver, 0);
  const cuda::StreamHandle stream(driver);
  constexpr int kLength = 16;
  constexpr int kDim = 128;
  const cuda::DeviceBuffer memory(driver, std::size_t{4} * kLength * kDim * 2);
  const auto part = [&](int index) {
    return static_cast<std::byte*>(memory.data()) + std::ptrdiff_t{index} * kLength * kDim * 2;
  };
  const Strides strides = Strides::bshd(kLength, 1, kDim);
  const ForwardArgs args{.q = {part(0), strides},
                         .k = {part(1), strides},
                         .v = {part(2), strides},
                         .out = {part(3), strides},
                         .batch = 1,
                         .len_q = kLength,
                         .len_k = kLength,
                         .heads_q = 1,
                         .heads_kv = 1};
  const Runtime runtime(cold_options(setup));
  const ForwardKernel handle = runtime.forward({});
  RawKernel raw(*driver, setup);
  CKernel from_c(handle, args);
  device::ForwardParams params = raw_params(args);

  enum Way : std::size_t { kRaw, kHandle, kC, kConfig, kWays };
  const std::array<std::function<void()>, kWays> launches = {
      [&] { raw.launch(stream.get(), params); }, [&] { handle.launch(stream.get(), args); },
      [&] { from_c.launch(stream.get()); }, [&] { runtime.launch({}, stream.get(), args); }};
  std::array<std::vector<double>, kWays> ns;  // of each round
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t turn = 0; turn < kWays; ++turn) {
      const std::size_t way = (turn + round) % kWays;  // each as often first as last
      ns[way].push_back(time_batch(launches[way], round / kWays % kPlaces));
      stream.synchronize();
    }
  }
  // The median of how much longer one way takes than another in the same round.
  const auto over = [&](Way way, Way base) {
    std::vector<double> differences;
    for (std::size_t round = 0; round < kRounds; ++round) differences.push_back(ns[way][round] - ns[base][round]);
    return median(std::move(differences));
  };
  const base::Json::Object detail = {{"driver", setup.gpu ? "real" : "fake"}, {"raw_ns", median(ns[kRaw])}};
  return {{.what = "handle launch over the raw driver launch",
           .value = over(kHandle, kRaw),
           .unit = "ns",
           .at_most = 150,
           .detail = detail},
          {.what = "config-keyed call over the raw driver launch",
           .value = over(kConfig, kRaw),
           .unit = "ns",
           .at_most = 400,
           .detail = detail},
          {.what = "handle launch from C over the same from C++",
           .value = over(kC, kHandle),
           .unit = "ns",
           .at_most = 30,
           .detail = detail}};
}

}  // namespace kiln::bench
