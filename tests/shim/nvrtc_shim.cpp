// A stand-in for libnvrtc.so.13 that counts, fails and dawdles on command, and can do without NVRTC.
//
// Every call reads these variables anew, so a test may change them between calls:
//
//   NVRTC_SHIM_NVRTC=path   forward to this real libnvrtc
//   NVRTC_SHIM_FAKE=1       compile nothing: the "cubin" is some KB that depend only on source and
//                          options (an ELF header for CUDA, the entry's name, noise), with a
//                          `ptxas -v` log for the entry; a source with the word #error is refused
//   NVRTC_SHIM_COUNT=file   append "<pid> <name>\n", in one write, for each nvrtcCompileProgram
//   NVRTC_SHIM_DELAY_MS=n   sleep so long in each nvrtcCompileProgram, unless its flow callback cancels it
//   NVRTC_SHIM_SPILL=n      the fake log reports n bytes of spill stores and loads
//   NVRTC_SHIM_ARCHS=a,b    the targets that the fake supports, in place of 13.0's
//   NVRTC_SHIM_FAIL=how     version   nvrtcVersion fails
//                          old       nvrtcVersion says 12.8
//                          archs     nvrtcGetSupportedArchs fails
//                          create    nvrtcCreateProgram fails
//                          compile   nvrtcCompileProgram fails, with a log
//                          memory    nvrtcCompileProgram runs out of memory, without a log
//                          cubin     nvrtcGetCUBIN fails
//                          flow      nvrtcSetFlowCallback fails
//
// A library that lacks a function is built from this file with NVRTC_SHIM_INCOMPLETE.
#include <nvrtc.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

struct ShimProgram {
  ShimProgram(std::string_view its_source, std::string_view its_name) : source(its_source), name(its_name) {}
  std::string source;
  std::string name;
  nvrtcProgram real = nullptr;
  std::string log;
  std::string image;
  int (*must_stop)(void*, void*) = nullptr;
  void* stop_payload = nullptr;

  [[nodiscard]] bool cancelled() const { return must_stop != nullptr && must_stop(stop_payload, nullptr) != 0; }
};

ShimProgram* as_shim(nvrtcProgram program) { return reinterpret_cast<ShimProgram*>(program); }

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool fake() { return variable("NVRTC_SHIM_FAKE") == "1"; }
bool must_fail(std::string_view how) { return variable("NVRTC_SHIM_FAIL") == how; }

void* open_real() {
  const std::filesystem::path path = variable("NVRTC_SHIM_NVRTC");
  if (path.empty()) return nullptr;
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  int major = 0;
  int minor = 0;
  auto* const version = reinterpret_cast<decltype(&nvrtcVersion)>(dlsym(library, "nvrtcVersion"));
  if (version != nullptr && version(&major, &minor) == NVRTC_SUCCESS) {
    // NVRTC asks for these by their bare name, and they stand beside it, not beside the shim.
    const std::string builtins = "libnvrtc-builtins.so." + std::to_string(major) + "." + std::to_string(minor);
    dlopen((path.parent_path() / builtins).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  return library;
}

void* real_library() {
  static void* const library = open_real();
  return library;
}

/// Calls the real library's function of the given one's type and name.
template <class... Parameters, class... Args>
nvrtcResult forward(nvrtcResult (* /*type*/)(Parameters...), const char* name, Args... args) {
  void* const found = real_library() != nullptr ? dlsym(real_library(), name) : nullptr;
  if (found == nullptr) return NVRTC_ERROR_INTERNAL_ERROR;
  return reinterpret_cast<nvrtcResult (*)(Parameters...)>(found)(args...);
}

void count_compile(const ShimProgram& program) {
  const std::string file = variable("NVRTC_SHIM_COUNT");
  if (file.empty()) return;
  const std::string line = std::to_string(getpid()) + " " + program.name + "\n";
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
  close(fd);
}

void dawdle(const ShimProgram& program) {
  const std::string delay = variable("NVRTC_SHIM_DELAY_MS");
  if (delay.empty()) return;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(std::stoi(delay));
  while (std::chrono::steady_clock::now() < end && !program.cancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool is_name(char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// The function declared after the last extern "C": the last name before a parenthesis that is not an
/// attribute such as __launch_bounds__(…).
std::string entry_of(std::string_view source) {
  constexpr std::string_view kMark = "extern \"C\"";
  std::size_t at = source.rfind(kMark);
  if (at == std::string_view::npos) return "kernel";
  at += kMark.size();
  for (;;) {
    const std::size_t open = source.find('(', at);
    if (open == std::string_view::npos) return "kernel";
    std::size_t end = open;
    while (end > at && source[end - 1] == ' ') --end;
    std::size_t begin = end;
    while (begin > at && is_name(source[begin - 1])) --begin;
    const std::string_view name = source.substr(begin, end - begin);
    if (!name.empty() && !name.starts_with("__")) return std::string(name);
    int depth = 0;
    for (at = open; at < source.size(); ++at) {
      if (source[at] == '(') ++depth;
      if (source[at] == ')' && --depth == 0) break;
    }
  }
}

std::string value_of(std::string_view option, int option_count, const char* const* options) {
  for (int i = 0; i < option_count; ++i) {
    const std::string_view given = options[i];
    if (given.starts_with(option)) return std::string(given.substr(option.size()));
  }
  return "sm_75";
}

std::uint64_t mix(std::uint64_t state) {  // splitmix64
  state += 0x9e3779b97f4a7c15U;
  state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
  state = (state ^ (state >> 27U)) * 0x94d049bb133111ebU;
  return state ^ (state >> 31U);
}

std::string fake_cubin(std::string_view inputs, std::string_view entry, std::string_view target) {
  std::uint64_t state = 1469598103934665603U;
  for (const char c : inputs) state = mix(state ^ static_cast<unsigned char>(c));
  std::string image(
      "\x7f"
      "ELF\x02\x01\x01\x33\x07",
      9);
  image.resize(64);
  image[16] = 2;                       // an executable
  image[18] = static_cast<char>(190);  // for CUDA
  image[48] = static_cast<char>(std::atoi(std::string(target.substr(target.find('_') + 1)).c_str()));
  image += entry;
  image += '\0';
  for (int i = 0; i < 1024; ++i) {
    state = mix(state);
    image.append(reinterpret_cast<const char*>(&state), sizeof(state));
  }
  return image;
}

nvrtcResult fake_compile(ShimProgram& program, int count, const char* const* options) {
  if (program.source.find("#error") != std::string::npos) {
    program.log = program.name + "(1): fatal error: #error directive\n\n1 error detected in the compilation of \"" +
                  program.name + "\".\n";
    return NVRTC_ERROR_COMPILATION;
  }
  std::string inputs = program.source;
  for (int i = 0; i < count; ++i) (inputs += '\0') += options[i];
  const std::string entry = entry_of(program.source);
  const std::string target = value_of("--gpu-architecture=", count, options);
  const std::string spill = variable("NVRTC_SHIM_SPILL").empty() ? "0" : variable("NVRTC_SHIM_SPILL");
  program.image = fake_cubin(inputs, entry, target);
  program.log =
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function '" +
      entry + "' for '" + target +
      "'\n"
      "ptxas info    : Function properties for " +
      entry +
      "\n"
      "ptxas         .     0 bytes stack frame, " +
      spill + " bytes spill stores, " + spill +
      " bytes spill loads\n"
      "ptxas info    : Used 96 registers, used 1 barriers\n"
      "ptxas info    : Compile time = 1.000 ms\n";
  return NVRTC_SUCCESS;
}

nvrtcResult copy_out(const std::string& text, char* to) {
  std::memcpy(to, text.c_str(), text.size() + 1);
  return NVRTC_SUCCESS;
}

std::vector<int> fake_archs() {
  std::vector<int> archs;
  const std::string list = variable("NVRTC_SHIM_ARCHS");
  std::stringstream numbers(list.empty() ? "75,80,86,87,88,89,90,100,103,110,120,121" : list);
  for (std::string number; std::getline(numbers, number, ',');) archs.push_back(std::stoi(number));
  return archs;
}

}  // namespace

const char* nvrtcGetErrorString(nvrtcResult result) {
  switch (result) {
    case NVRTC_SUCCESS:
      return "NVRTC_SUCCESS";
    case NVRTC_ERROR_OUT_OF_MEMORY:
      return "NVRTC_ERROR_OUT_OF_MEMORY";
    case NVRTC_ERROR_PROGRAM_CREATION_FAILURE:
      return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
    case NVRTC_ERROR_COMPILATION:
      return "NVRTC_ERROR_COMPILATION";
    case NVRTC_ERROR_INTERNAL_ERROR:
      return "NVRTC_ERROR_INTERNAL_ERROR";
    case NVRTC_ERROR_CANCELLED:
      return "NVRTC_ERROR_CANCELLED";
    default:
      break;
  }
  void* const found = real_library() != nullptr ? dlsym(real_library(), "nvrtcGetErrorString") : nullptr;
  return found != nullptr ? reinterpret_cast<decltype(&nvrtcGetErrorString)>(found)(result) : "NVRTC_ERROR unknown";
}
nvrtcResult nvrtcVersion(int* major, int* minor) {
  if (must_fail("version")) return NVRTC_ERROR_INTERNAL_ERROR;
  *major = must_fail("old") ? 12 : 13;
  *minor = must_fail("old") ? 8 : 0;
  if (must_fail("old") || fake()) return NVRTC_SUCCESS;
  return forward(&nvrtcVersion, "nvrtcVersion", major, minor);
}

nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
  *count = static_cast<int>(fake_archs().size());
  if (fake()) return NVRTC_SUCCESS;
  return forward(&nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs", count);
}

nvrtcResult nvrtcGetSupportedArchs(int* archs) {
  if (must_fail("archs")) return NVRTC_ERROR_INTERNAL_ERROR;
  if (fake()) {
    std::ranges::copy(fake_archs(), archs);
    return NVRTC_SUCCESS;
  }
  return forward(&nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs", archs);
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char* name, int header_count,
                               const char* const* headers, const char* const* header_names) {
  if (must_fail("create")) return NVRTC_ERROR_PROGRAM_CREATION_FAILURE;
  auto shim = std::make_unique<ShimProgram>(source, name != nullptr ? name : "default_program");
  if (!fake()) {
    const nvrtcResult result = forward(&nvrtcCreateProgram, "nvrtcCreateProgram", &shim->real, source, name,
                                       header_count, headers, header_names);
    if (result != NVRTC_SUCCESS) return result;
  }
  *program = reinterpret_cast<nvrtcProgram>(shim.release());
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  ShimProgram* const shim = as_shim(*program);
  nvrtcProgram real_program = shim->real;
  delete shim;
  *program = nullptr;
  if (real_program == nullptr) return NVRTC_SUCCESS;
  return forward(&nvrtcDestroyProgram, "nvrtcDestroyProgram", &real_program);
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int option_count, const char* const* options) {
  ShimProgram& shim = *as_shim(program);
  count_compile(shim);
  dawdle(shim);
  if (shim.cancelled()) return NVRTC_ERROR_CANCELLED;
  if (must_fail("memory")) return NVRTC_ERROR_OUT_OF_MEMORY;
  if (must_fail("compile")) {
    shim.log = shim.name + "(1): error: the shim was told to fail\n";
    return NVRTC_ERROR_COMPILATION;
  }
  if (shim.real == nullptr) return fake_compile(shim, option_count, options);
  return forward(&nvrtcCompileProgram, "nvrtcCompileProgram", shim.real, option_count, options);
}

nvrtcResult nvrtcSetFlowCallback(nvrtcProgram program, int (*callback)(void*, void*), void* payload) {
  if (must_fail("flow")) return NVRTC_ERROR_INVALID_INPUT;
  ShimProgram& shim = *as_shim(program);
  shim.must_stop = callback;
  shim.stop_payload = payload;
  if (shim.real == nullptr) return NVRTC_SUCCESS;
  return forward(&nvrtcSetFlowCallback, "nvrtcSetFlowCallback", shim.real, callback, payload);
}

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t* size) {
  ShimProgram& shim = *as_shim(program);
  *size = shim.log.size() + 1;
  if (shim.real == nullptr || !shim.log.empty()) return NVRTC_SUCCESS;
  return forward(&nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize", shim.real, size);
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log) {
  ShimProgram& shim = *as_shim(program);
  if (shim.real == nullptr || !shim.log.empty()) return copy_out(shim.log, log);
  return forward(&nvrtcGetProgramLog, "nvrtcGetProgramLog", shim.real, log);
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* size) {
  ShimProgram& shim = *as_shim(program);
  *size = shim.image.size();
  if (shim.real == nullptr) return NVRTC_SUCCESS;
  return forward(&nvrtcGetCUBINSize, "nvrtcGetCUBINSize", shim.real, size);
}

#ifndef NVRTC_SHIM_INCOMPLETE
nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* cubin) {
  ShimProgram& shim = *as_shim(program);
  if (must_fail("cubin")) return NVRTC_ERROR_INTERNAL_ERROR;
  if (shim.real == nullptr) {
    std::copy(shim.image.begin(), shim.image.end(), cubin);
    return NVRTC_SUCCESS;
  }
  return forward(&nvrtcGetCUBIN, "nvrtcGetCUBIN", shim.real, cubin);
}
#endif

nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, size_t* size) {
  ShimProgram& shim = *as_shim(program);
  *size = shim.image.size() + 1;
  if (shim.real == nullptr) return NVRTC_SUCCESS;
  return forward(&nvrtcGetPTXSize, "nvrtcGetPTXSize", shim.real, size);
}

nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* ptx) {
  ShimProgram& shim = *as_shim(program);
  if (shim.real == nullptr) return copy_out(shim.image, ptx);
  return forward(&nvrtcGetPTX, "nvrtcGetPTX", shim.real, ptx);
}
