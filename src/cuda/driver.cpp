#include "cuda/driver.hpp"

#include "base/fail.hpp"
#include "cuda/cuda_error.hpp"
#include "cuda/find_driver.hpp"

#include <array>
#include <utility>

namespace kiln::cuda {

std::shared_ptr<const Driver> Driver::load(const std::optional<std::filesystem::path>& explicit_path) {
  auto functions = std::make_unique<const DriverFunctions>(open_driver(explicit_path, driver_candidates()));
  check(functions->cuInit(0), "starting the NVIDIA driver", *functions);
  return std::make_shared<const Driver>(std::move(functions));
}

Driver::Driver(std::unique_ptr<const DriverFunctions> functions) : functions_(std::move(functions)) {}
Driver::~Driver() = default;

void Driver::fail_forked() {
  base::fail(ErrorCode::cuda,
             "CUDA does not survive fork(): this process was forked after its parent made the Runtime. Fork first and "
             "make the Runtime in the child, or start the child by exec (in Python: multiprocessing's spawn)");
}

int Driver::device_count() const {
  int count = 0;
  check(functions_->cuDeviceGetCount(&count), "counting CUDA devices", *functions_);
  return count;
}

plan::DeviceInfo Driver::device_info(int ordinal) const {
  const int count = device_count();
  if (ordinal < 0 || ordinal >= count) {
    base::fail(ErrorCode::invalid_argument, "there is no CUDA device {}: this process sees {} of them, counted from 0",
               ordinal, count);
  }
  CUdevice device = 0;
  check(functions_->cuDeviceGet(&device, ordinal), "opening a CUDA device", *functions_);
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    check(functions_->cuDeviceGetAttribute(&value, which, device), "reading a device's attributes", *functions_);
    return value;
  };
  std::array<char, 256> name{};
  check(functions_->cuDeviceGetName(name.data(), static_cast<int>(name.size()), device), "reading a device's name",
        *functions_);
  return {
      .name = name.data(),
      .capability = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                    attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
      .sm_count = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
      .smem_per_block = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
      .smem_per_sm = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
  };
}

std::optional<int> Driver::current_device() const noexcept {
  CUdevice device = 0;  // a CUdevice is the device's ordinal
  if (functions_->cuCtxGetDevice(&device) != CUDA_SUCCESS) return std::nullopt;
  return device;
}

std::optional<std::uint64_t> Driver::current_context_id() const noexcept {
  unsigned long long id = 0;
  if (functions_->cuCtxGetId(nullptr, &id) != CUDA_SUCCESS) return std::nullopt;
  return id;
}

std::uint64_t Driver::stream_id(Stream stream) const {
  unsigned long long id = 0;
  check(functions_->cuStreamGetId(stream, &id), "asking for a stream's number", *functions_);
  return id;
}

bool Driver::capturing(Stream stream) const noexcept {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult result = functions_->cuStreamIsCapturing(stream, &status);
  // The default stream answers with this error while a stream that waits for it is being captured.
  if (result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) return true;
  return result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE;
}

int Driver::version() const { return functions_->version; }

Overlap Driver::overlap(bool wanted, int capability) const {
  constexpr int kOldestWithGraphs = 12030;  // older ones refuse such launches while a stream is captured
  constexpr int kHopper = 90;
  return wanted && capability >= kHopper && version() >= kOldestWithGraphs ? Overlap::yes : Overlap::no;
}

std::filesystem::path Driver::path() const { return functions_->library.path(); }

}  // namespace kiln::cuda
