#include "api/runtime_state.hpp"
#include "base/files.hpp"
#include "cache/disk_store.hpp"
#include "cache/pack.hpp"
#include "cache/pack_store.hpp"
#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "host/figure.hpp"
#include "host/requests.hpp"
#include "host/timing.hpp"

#include <atomic>
#include <functional>
#include <thread>

namespace kiln::bench {
namespace {

constexpr int kEach = 1000;  // lookups a call of what is timed, so that the call costs nothing
constexpr std::size_t kImageBytes = std::size_t{64} << 10;

/// `target` tells entries apart.
cache::Entry entry_of_64_kib(const std::string& target = "sm_90") {
  cache::Entry entry;
  entry.target = target;
  entry.entry = "bench";
  entry.kernel_id = cache::kernel_id({}, {}, target);
  entry.build_id = cache::build_id(entry.kernel_id, "none");
  std::vector<std::byte> image;
  for (std::size_t i = 0; i < kImageBytes; ++i) image.push_back(static_cast<std::byte>(i * 2654435761U >> 24U));
  entry.image = std::move(image);
  return entry;
}

Figure disk_hit(const Setup& setup) {
  const cache::DiskStore store(setup.scratch / "hit", cache::DiskStore::Access::read_write,
                               base::Logger(LogLevel::warning, {}));
  const cache::Entry entry = entry_of_64_kib();
  store.publish(entry);
  bool found = true;
  const double ms = time_median(500, [&] { found &= store.find_build(entry.kernel_id, entry.build_id).has_value(); });
  return {.what = "disk hit, read and verified, 64 KiB entry",
          .value = ms * 1e3,
          .unit = "us",
          .at_most = 150,
          .detail = {{"found", found}}};
}

/// From the disk to a kernel that can be launched, with the driver that is there.
Figure launchable(const Setup& setup, const std::shared_ptr<const cuda::Driver>& driver) {
  const KernelRequest request{KernelKind::forward, {}};
  Options options = cold_options(setup);
  options.cache_dir = setup.scratch / "launchable";
  const auto builder = make_builder(options);
  const auto config = config_of(request, setup.capability);
  static_cast<void>(builder.find_or_compile(config));
  const cuda::Context context(driver, 0);
  std::vector<std::unique_ptr<cuda::Module>> kept;  // unloading is not part of it
  const auto find = [&] { return builder.find_or_compile(config); };
  const double ms = time_median(50, [&] {
    const auto built = find();
    kept.push_back(
        std::make_unique<cuda::Module>(driver, built.entry.image.span(), built.entry.entry, config.smem_bytes, 0));
  });
  const double found_ms = time_median(50, [&] { static_cast<void>(find()); });
  return {.what = "disk hit to launchable, rendering and hashing included",
          .value = ms,
          .unit = "ms",
          .at_most = 0.3,
          .detail = {{"driver", setup.gpu ? "real" : "fake"}, {"until_found_ms", found_ms}}};
}

/// By the config, out of a file of a hundred kernels.
Figures packed(const Setup& setup) {
  const auto config = config_of({KernelKind::forward, {}}, setup.capability);
  std::vector<cache::Entry> entries = {make_builder(cold_options(setup)).compile(config)};
  while (entries.size() < 100) entries.push_back(entry_of_64_kib(fmt::format("other {}", entries.size())));
  const auto bytes = cache::encode_pack(entries);
  const auto file = setup.scratch / "kernels.kilnpack";
  base::write_file_atomic(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  Options options = cold_options(setup);
  options.precompiled = file;
  options.jit = false;
  const auto builder = make_builder(options);
  const double first_ms = time_once([&] { static_cast<void>(builder.find_or_compile(config)); });
  const double ms = time_median(2000, [&] { static_cast<void>(builder.find_or_compile(config)); });
  const double open_ms = time_median(20, [&] {
    const cache::PackStore store(file, cache::Trust::named, base::Logger(LogLevel::off, {}));
    static_cast<void>(store.pack());
  });
  const auto kernels = static_cast<std::int64_t>(entries.size());
  const auto pack_bytes = static_cast<std::int64_t>(bytes.size());
  return {{.what = "pack opened and verified",
           .value = open_ms,
           .unit = "ms",
           .detail = {{"kernels", kernels}, {"bytes", pack_bytes}}},
          {.what = "pack: from the config to launchable bytes",
           .value = ms * 1e3,
           .unit = "us",
           .at_most = 20,
           .detail = {{"first_ms", first_ms}}}};
}

/// Median nanoseconds of `work` while `readers` threads do the same.
double time_readers(int readers, const std::function<void(const KernelRequest&)>& work) {
  constexpr int kRounds = 400;
  std::atomic<int> ready{0};
  std::vector<double> nanoseconds(static_cast<std::size_t>(readers));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < readers; ++t)
      threads.emplace_back([&, t] {
        const KernelRequest request{KernelKind::forward, {.causal = t % 2 == 0}};
        ++ready;
        while (ready < readers) std::this_thread::yield();
        const auto start = Clock::now();
        for (int round = 0; round < kRounds; ++round) work(request);
        nanoseconds[static_cast<std::size_t>(t)] = milliseconds_since(start) * 1e6 / kRounds / kEach;
      });
  }
  return median(nanoseconds);
}

Figures memory_hits(const Setup& setup) {
  const auto state = detail::RuntimeState::make(cold_options(setup));
  const Runtime runtime(cold_options(setup));
  for (const bool causal : {false, true}) {
    static_cast<void>(state->get({KernelKind::forward, {.causal = causal}}, nullptr));
    static_cast<void>(runtime.forward({.causal = causal}));
  }
  const auto look_up = [&](const KernelRequest& request) {
    for (int i = 0; i < kEach; ++i) static_cast<void>(state->get(request, nullptr));
  };
  // Makes a handle of it, which counts references.
  const auto make_handle = [&](const KernelRequest& request) {
    for (int i = 0; i < kEach; ++i) static_cast<void>(runtime.forward(request.config));
  };
  Figures figures;
  for (const int readers : {1, 8, 16}) {
    const auto row = [&](const char* what, double value) {
      figures.push_back({.what = fmt::format("{}, {} reader{}", what, readers, readers == 1 ? "" : "s"),
                         .value = value,
                         .unit = "ns",
                         .detail = {{"cores", setup.cores}}});
    };
    row("handle by config", time_readers(readers, make_handle));
    row("memory hit by config", time_readers(readers, look_up));
    if (readers == 1) figures.back().at_most = 50;
    if (readers == 8 && setup.cores >= 16) figures.back().at_most = 100;
  }
  return figures;
}

}  // namespace

Figures cache_figures(const Setup& setup) {
  Figures figures = packed(setup);
  figures.push_back(disk_hit(setup));
  if (!setup.gpu && !setup.cuda_path) return figures;
  figures.push_back(launchable(setup, cuda::Driver::load(setup.cuda_path)));
  for (Figure& figure : memory_hits(setup)) figures.push_back(std::move(figure));
  return figures;
}

}  // namespace kiln::bench
