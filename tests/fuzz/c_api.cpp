// The C interface on a fake machine: arbitrary options, struct sizes, struct contents. No call reads a struct beyond
// the size that it says it has (each lies at the end of its own memory), none fails without a text, and none finds a
// fault of Kiln's own. Device pointers are never followed.
#include "cuda/context.hpp"
#include "cuda/driver.hpp"
#include "fuzz/fuzz.hpp"

#include <kiln/kiln.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

namespace {

using namespace kiln;

constexpr std::size_t kMostStructBytes = 4096;  // above it a struct_size is refused unread

void check(kiln_status status) {
  if (status == KILN_OK) return;
  fuzz::require(*kiln_last_error() != '\0', "an error has a message");
  fuzz::require(std::strcmp(kiln_status_name(status), "unknown") != 0, "a status has a name");
  if (status == KILN_ERROR_INTERNAL) std::fprintf(stderr, "%s\n", kiln_last_error());
  fuzz::require(status != KILN_ERROR_INTERNAL, "nothing but kiln::Error is thrown inside");
}

/// Everything that calls need, made once. Kernels come from the NVRTC stand-in and stay in memory.
struct Machine {
  Machine() {
    setenv("NVRTC_SHIM_FAKE", "1", 1);
    kiln_options* options = nullptr;
    fuzz::require(kiln_options_create(&options) == KILN_OK &&
                      kiln_options_set(options, "cuda_path", KILN_FAKE_CUDA_PATH) == KILN_OK &&
                      kiln_options_set(options, "nvrtc_path", KILN_NVRTC_SHIM) == KILN_OK &&
                      kiln_options_set(options, "cache_dir", "") == KILN_OK &&
                      kiln_runtime_create(options, &runtime) == KILN_OK,
                  "there is a runtime");
    kiln_options_destroy(options);
    const kiln_attention_config config = kiln_attention_config_init();
    const kiln_merge_config merge_config = kiln_merge_config_init();
    fuzz::require(kiln_forward_get(runtime, &config, &forward) == KILN_OK &&
                      kiln_decode_get(runtime, &config, &decode) == KILN_OK &&
                      kiln_merge_get(runtime, &merge_config, &merge) == KILN_OK &&
                      kiln_shared_prefix_get(runtime, &config, &shared_prefix) == KILN_OK,
                  "there are kernels");
  }

  std::shared_ptr<const cuda::Driver> driver = cuda::Driver::load(KILN_FAKE_CUDA_PATH);
  cuda::Context context{driver, 0};
  kiln_runtime* runtime = nullptr;
  kiln_forward_kernel* forward = nullptr;
  kiln_decode_kernel* decode = nullptr;
  kiln_merge_kernel* merge = nullptr;
  kiln_shared_prefix_decode* shared_prefix = nullptr;
};

/// A struct made of input bytes, which begin with its struct_size, in memory of just that size: a sanitizer sees who
/// reads on.
template <class Struct>
class Given {
 public:
  explicit Given(std::span<const std::uint8_t> bytes) {
    std::size_t size = 0;
    std::memcpy(&size, bytes.data(), std::min(bytes.size(), sizeof(size)));
    const bool plausible = size >= sizeof(size) && size <= kMostStructBytes;
    bytes_ = plausible ? size : sizeof(size);
    memory_ = std::make_unique<std::uint8_t[]>(bytes_);
    std::copy_n(bytes.data(), std::min(bytes.size(), bytes_), memory_.get());
  }
  [[nodiscard]] Struct* get() const { return reinterpret_cast<Struct*>(memory_.get()); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
  std::unique_ptr<std::uint8_t[]> memory_;
};

void options(const std::string& text) {
  const std::string key = text.c_str();  // up to the first zero; the rest is the value
  const std::string value = text.substr(std::min(key.size() + 1, text.size()));
  kiln_options* made = nullptr;
  check(kiln_options_create(&made));
  check(kiln_options_set(made, key.c_str(), value.c_str()));
  kiln_options_destroy(made);
  check(kiln_options_from_json(key.c_str(), value.c_str(), &made));
  kiln_options_destroy(made);
}

void config(const Machine& machine, const Given<kiln_attention_config>& given) {
  char text[KILN_CONFIG_TEXT_BYTES];
  check(kiln_attention_config_text(given.get(), text, sizeof(text)));
  kiln_forward_kernel* forward = nullptr;
  const kiln_status status = kiln_forward_get(machine.runtime, given.get(), &forward);
  check(status);
  fuzz::require((status == KILN_OK) == (forward != nullptr), "there is a kernel or an error");
  kiln_forward_release(forward);
  kiln_decode_kernel* decode = nullptr;
  check(kiln_decode_get(machine.runtime, given.get(), &decode));
  kiln_decode_release(decode);
  kiln_shared_prefix_decode* shared_prefix = nullptr;
  check(kiln_shared_prefix_get(machine.runtime, given.get(), &shared_prefix));
  kiln_shared_prefix_release(shared_prefix);
}

void merge_config(const Machine& machine, const Given<kiln_merge_config>& given) {
  kiln_merge_kernel* merge = nullptr;
  const kiln_status status = kiln_merge_get(machine.runtime, given.get(), &merge);
  check(status);
  fuzz::require((status == KILN_OK) == (merge != nullptr), "there is a kernel or an error");
  kiln_merge_release(merge);
}

kiln_decode_args good_decode_args() {
  auto args = kiln_decode_args_init();
  auto* const memory = reinterpret_cast<void*>(0x10000);
  args.q = args.k_cache = args.v_cache = {memory, kiln_strides_bshd(16, 1, 128)};
  args.out = {memory, kiln_strides_bshd(16, 1, 128)};
  args.batch = args.max_len_k = args.heads_q = args.heads_kv = args.num_splits = 1;
  return args;
}

/// One new token behind an arbitrary prefix, with as much workspace as that needs.
void shared_prefix(const Machine& machine, const Given<kiln_shared_prefix>& given) {
  auto args = good_decode_args();
  args.workspace = reinterpret_cast<void*>(0x20000);
  check(kiln_shared_prefix_workspace_bytes(machine.shared_prefix, &args, given.get(), &args.workspace_bytes));
  check(kiln_shared_prefix_launch(machine.shared_prefix, nullptr, &args, given.get()));
}

void request(const Machine& machine, const Given<kiln_kernel_request>& given) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_merge_config merge = kiln_merge_config_init();
  // The pointers that the host follows.
  const auto put = [&](std::size_t offset, const void* pointer) {
    if (given.bytes() < offset + sizeof(void*)) return;
    std::memcpy(reinterpret_cast<std::uint8_t*>(given.get()) + offset, static_cast<const void*>(&pointer),
                sizeof(void*));
  };
  put(offsetof(kiln_kernel_request, config), &config);
  put(offsetof(kiln_kernel_request, merge_config), &merge);
  check(kiln_runtime_prepare(machine.runtime, given.get(), 1, nullptr, nullptr));
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  const auto seed = [](char kind, const auto& given) {
    return std::string(1, kind) + std::string(reinterpret_cast<const char*>(&given), sizeof(given));
  };
  auto forward = kiln_forward_args_init();
  auto* const memory = reinterpret_cast<void*>(0x10000);
  forward.q = forward.k = forward.v = {memory, kiln_strides_bshd(16, 1, 128)};
  forward.out = {memory, kiln_strides_bshd(16, 1, 128)};
  forward.batch = forward.len_q = forward.len_k = forward.heads_q = forward.heads_kv = 1;
  auto prefix = kiln_shared_prefix_init();
  prefix.k = prefix.v = forward.q;
  prefix.len = 16;
  auto merge = kiln_merge_args_init();
  merge.states[0] = merge.states[1] = {forward.q, {static_cast<const float*>(memory), kiln_strides_bhsd(16, 1, 1)}};
  merge.out = forward.out;
  merge.num_states = 2;
  merge.batch = merge.heads = 1;
  merge.len = 16;
  using namespace std::string_literals;
  return {"\0device\0001"s,
          "\0{\"jit\": false}\0engine.json"s,
          seed(1, kiln_attention_config_init()),
          seed(2, forward),
          seed(3, good_decode_args()),
          seed(4, kiln_kernel_request_init()),
          seed(5, kiln_stats_init()),
          seed(6, kiln_kernel_info_init()),
          seed(7, kiln_merge_config_init()),
          seed(8, merge),
          seed(9, prefix)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Machine& machine = *new Machine;  // at the process's end the fake driver is gone first
  if (size == 0) return 0;
  const std::span<const std::uint8_t> rest(data + 1, size - 1);
  switch (data[0]) {
    case 0:
      options(std::string(fuzz::as_text(rest.data(), rest.size())));
      break;
    case 1:
      config(machine, Given<kiln_attention_config>(rest));
      break;
    case 2:
      check(kiln_forward_launch(machine.forward, nullptr, Given<kiln_forward_args>(rest).get()));
      break;
    case 3: {
      const Given<kiln_decode_args> args(rest);
      std::size_t bytes = 0;
      check(kiln_decode_workspace_bytes(machine.decode, args.get(), &bytes));
      check(kiln_decode_launch(machine.decode, nullptr, args.get()));
      break;
    }
    case 4:
      request(machine, Given<kiln_kernel_request>(rest));
      break;
    case 5:
      check(kiln_runtime_stats(machine.runtime, Given<kiln_stats>(rest).get()));
      break;
    case 6:
      check(kiln_forward_info(machine.forward, Given<kiln_kernel_info>(rest).get()));
      break;
    case 7:
      merge_config(machine, Given<kiln_merge_config>(rest));
      break;
    case 8:
      check(kiln_merge_launch(machine.merge, nullptr, Given<kiln_merge_args>(rest).get()));
      break;
    case 9:
      shared_prefix(machine, Given<kiln_shared_prefix>(rest));
      break;
    default:
      break;
  }
  return 0;
}
