// Runs a kernel on the host: every thread of a block is a fiber, and a fiber gives way where it waits
// for others. Blocks run one after the other.
#pragma once

#include "device/emulator/kernel.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

namespace emulator {

inline constexpr int kLanes = 32;

/// The most that one lane shows to its warp in a collective operation.
using Words = std::array<std::uint32_t, 12>;

/// What the GPU has: asynchronous copies, which are done as late as the program allows, so that a missing wait
/// shows; or loads and stores, done at once.
enum class Copies { asynchronous, at_once };

/// Runs `thread_main` in `threads` fibers for each block. Throws if fibers wait for each other forever, and
/// if two of them touch the same memory and no barrier stands between (races.hpp).
void launch(Grid grid, int threads, Copies copies, const std::function<void()>& thread_main);

/// Of the fiber that runs.
int lane();

void block_barrier(const std::source_location& site);
/// Block barrier that returns whether any thread came with true.
bool block_any(bool value, const std::source_location& site);
void warp_barrier(const std::source_location& site);
/// Shows words to the warp and returns those of all its lanes; valid until the lane's next collective.
const std::array<Words, kLanes>& warp_exchange(const Words& words);

void copy(std::uint32_t dst_shared, const void* src, std::uint32_t src_bytes);
void commit_copies();
void wait_copies(int pending);

/// Returns the old value. Orders what came before it in one block before what follows it in a later one.
int atomic_add_acquire_release(int* address, int value);

std::uint32_t shared_address(const void* pointer);
unsigned char* shared_pointer(std::uint32_t address);

/// Where a kernel says __syncthreads, __syncthreads_or or __syncwarp.
struct BarrierSite {
  std::string file;
  unsigned line;
  auto operator<=>(const BarrierSite&) const = default;
};

/// All that any thread has come to since the program began.
const std::vector<BarrierSite>& barriers_met();

/// While it lives, threads pass this barrier as if it were not there.
class WithoutBarrier {
 public:
  explicit WithoutBarrier(const BarrierSite& site);
  WithoutBarrier(const WithoutBarrier&) = delete;
  WithoutBarrier& operator=(const WithoutBarrier&) = delete;
  ~WithoutBarrier();
};

}  // namespace emulator

struct EmulatedIndex {
  unsigned x;
  unsigned y;
  unsigned z;
};
extern EmulatedIndex threadIdx;
extern EmulatedIndex blockIdx;
extern EmulatedIndex gridDim;
