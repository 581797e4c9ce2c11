// Finds accesses of two threads to the same memory, one of them a write, with no barrier between: what
// the host's fibers happen to do in a harmless order, but a GPU's threads may not.
//
// Every load and store of a kernel's source comes here, since those files are compiled with the calls of
// -fsanitize=thread (access_hooks.cpp answers them in place of that sanitizer's runtime). Barriers are the
// only order there is: __syncthreads among the threads of a block, __syncwarp among those of a warp, and
// an atomic's release and acquire between blocks. Shuffles, ldmatrix and mma order no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace emulator {

/// When and by whom something is done.
struct Moment {
  std::int64_t block = -1;
  int thread = 0;
  int block_barriers = 0;  // that the thread has passed
  int warp_barriers = 0;   // those of its warp and of its block
  std::uint64_t step = 0;  // grows all the time
};

class RaceDetector {
 public:
  RaceDetector(const unsigned char* shared, std::size_t shared_bytes);

  void start_launch();

  void read(const void* address, std::size_t bytes, const Moment& now);
  void write(const void* address, std::size_t bytes, const Moment& now);

  /// An asynchronous copy to shared memory may write at any time between these two.
  void copy_starts(const void* to, std::size_t bytes, const Moment& now);
  void copy_lands(const void* to, std::size_t bytes, const Moment& now);

  void release_and_acquire(const Moment& now);

  /// The first race since the launch began; empty: none.
  [[nodiscard]] const std::string& found() const { return found_; }

 private:
  /// What happened to kCellBytes of shared memory in a block. A block's first access finds another's and
  /// begins anew.
  struct Cell {
    std::int64_t block = -1;
    Moment write;
    bool copying = false;
    // The reads since the last block barrier; those before are over for everybody.
    int read_block_barriers = -1;
    std::uint32_t read_warps = 0;
    // Of these, the lanes of the last warp since its last barrier.
    int read_warp_barriers = -1;
    std::uint32_t read_lanes = 0;
  };
  static constexpr std::size_t kCellBytes = 2;

  template <class Shared, class Global>
  void for_cells(const void* address, std::size_t bytes, Shared shared, Global global);
  Cell& cell(std::size_t index, const Moment& now);
  void read_shared(std::size_t index, const Moment& now);
  void write_shared(std::size_t index, const Moment& now);
  void check_write(const Cell& cell, std::size_t index, const Moment& now);
  [[nodiscard]] bool ordered(const Moment& before, const Moment& now) const;
  void report_shared(const char* what, std::size_t index, const Moment& now);
  void report_global(const char* what, const Moment& write, const Moment& now);

  const unsigned char* shared_;
  std::vector<Cell> cells_;
  std::unordered_map<std::uintptr_t, Moment> global_writes_;  // by address / kCellBytes
  std::unordered_map<std::int64_t, Moment> atomics_;          // the last one of each block
  std::string found_;
};

/// What instrumented code calls; the machine's part.
void on_access(const void* address, std::size_t bytes, bool write);

}  // namespace emulator
