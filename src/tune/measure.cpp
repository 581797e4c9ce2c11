#include "tune/measure.hpp"

#include <vector>

namespace kiln::tune {

Summary measure(const Gpu& gpu, Timer& timer, const KernelPtr& kernel, const Problem& problem, int samples,
                std::uint64_t seed, const std::function<void(int)>& progress) {
  const bool decode = problem.request.kind == KernelKind::decode;
  const int copies = decode ? copies_against_l2(problem, kDecodeCallsPerGraph) : 1;
  const DeviceTensors tensors(gpu, problem, copies, seed);
  const Call call(gpu, kernel, tensors);
  Stopwatch watch(gpu, timer, call, decode ? L2::cold : L2::as_it_is);
  (void)watch.sample();  // the first one pays for loading
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) {
    times.push_back(watch.sample());
    if (progress) progress(i + 1);
  }
  return summarize(times);
}

}  // namespace kiln::tune
