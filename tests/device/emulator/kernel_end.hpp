#undef kiln
namespace emulator {
extern const KernelFacts EMULATED;
const KernelFacts EMULATED = {
    static_cast<Number>(::EMULATED::config::dtype()),
    EMULATED_OUTPUT,
    ::EMULATED::config::kAllowTf32,
    ::EMULATED::config::kCausal,
    ::EMULATED::config::kAlignTopLeft,
    ::EMULATED::config::kSlidingWindow,
    ::EMULATED::config::kHeadDimQk,
    ::EMULATED::config::kHeadDimV,
    ::EMULATED::config::kTileM,
    ::EMULATED::config::kTileN,
    [](const void* params, Grid grid) {
      constexpr auto kCopies = ::EMULATED::config::kCapability >= 80 ? Copies::asynchronous : Copies::at_once;
      launch(grid, ::EMULATED::device::kThreads, kCopies, [&] {
        EMULATED_JOIN(EMULATED, _entry)(*static_cast<const ::EMULATED::device::EMULATED_PARAMS*>(params));
      });
    }};
}  // namespace emulator
