#include "base/dynamic_library.hpp"
#include "base/fail.hpp"
#include "jit/compiler.hpp"
#include "jit/elf_file.hpp"
#include "jit/log_text.hpp"

#include <nvrtc.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace kiln::jit {
namespace {

constexpr int kLeastMajor = 12;  // 12.8 refuses --no-cache
constexpr int kLeastMinor = 9;

/// The functions in use, found at run time.
struct Functions {
  decltype(&::nvrtcVersion) version;
  decltype(&::nvrtcGetErrorString) error_string;
  decltype(&::nvrtcGetNumSupportedArchs) supported_count;
  decltype(&::nvrtcGetSupportedArchs) supported;
  decltype(&::nvrtcCreateProgram) create;
  decltype(&::nvrtcDestroyProgram) destroy;
  decltype(&::nvrtcCompileProgram) compile;
  decltype(&::nvrtcGetProgramLogSize) log_size;
  decltype(&::nvrtcGetProgramLog) log;
  decltype(&::nvrtcGetCUBINSize) cubin_size;
  decltype(&::nvrtcGetCUBIN) cubin;
  decltype(&::nvrtcGetPTXSize) ptx_size;
  decltype(&::nvrtcGetPTX) ptx;
  nvrtcResult (*set_flow_callback)(nvrtcProgram, int (*)(void*, void*), void*);  ///< null where this NVRTC has none
};

template <class Function>
void find(const base::DynamicLibrary& library, const CompilerFile& file, const char* name, Function& function) {
  function = reinterpret_cast<Function>(library.symbol(name));
  if (function == nullptr) {
    base::fail(ErrorCode::compile, "{} has no function {}: it is no NVRTC {}.{} or newer", file.path.string(), name,
               kLeastMajor, kLeastMinor);
  }
}

Functions find_functions(const base::DynamicLibrary& library, const CompilerFile& file) {
  Functions nvrtc{};
  find(library, file, "nvrtcVersion", nvrtc.version);
  find(library, file, "nvrtcGetErrorString", nvrtc.error_string);
  find(library, file, "nvrtcGetNumSupportedArchs", nvrtc.supported_count);
  find(library, file, "nvrtcGetSupportedArchs", nvrtc.supported);
  find(library, file, "nvrtcCreateProgram", nvrtc.create);
  find(library, file, "nvrtcDestroyProgram", nvrtc.destroy);
  find(library, file, "nvrtcCompileProgram", nvrtc.compile);
  find(library, file, "nvrtcGetProgramLogSize", nvrtc.log_size);
  find(library, file, "nvrtcGetProgramLog", nvrtc.log);
  find(library, file, "nvrtcGetCUBINSize", nvrtc.cubin_size);
  find(library, file, "nvrtcGetCUBIN", nvrtc.cubin);
  find(library, file, "nvrtcGetPTXSize", nvrtc.ptx_size);
  find(library, file, "nvrtcGetPTX", nvrtc.ptx);
  nvrtc.set_flow_callback =
      reinterpret_cast<decltype(Functions::set_flow_callback)>(library.symbol("nvrtcSetFlowCallback"));
  return nvrtc;
}

/// What NVRTC asks now and then, from any of its threads: 1 ends the compile.
int must_stop(void* stop, void* /*reserved*/) {
  return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

/// A program that goes away with its scope.
class Program {
 public:
  Program(const Functions& nvrtc, const std::string& source, const std::string& name) : nvrtc_(nvrtc) {
    const nvrtcResult result = nvrtc_.create(&program_, source.c_str(), name.c_str(), 0, nullptr, nullptr);
    if (result != NVRTC_SUCCESS) {
      base::fail(ErrorCode::compile, "NVRTC could not begin {}: {}", name, nvrtc_.error_string(result));
    }
  }
  ~Program() { nvrtc_.destroy(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  nvrtcResult compile(const std::vector<std::string>& options, const std::stop_token& stop) {
    if (nvrtc_.set_flow_callback != nullptr && stop.stop_possible()) {
      // Refused, the compile only takes longer to cancel.
      nvrtc_.set_flow_callback(program_, must_stop, const_cast<std::stop_token*>(&stop));
    }
    std::vector<const char*> arguments;
    arguments.reserve(options.size());
    for (const std::string& option : options) arguments.push_back(option.c_str());
    return nvrtc_.compile(program_, static_cast<int>(arguments.size()), arguments.data());
  }

  /// Empty where NVRTC has none to give.
  [[nodiscard]] std::string log() const {
    std::string text(size_of(nvrtc_.log_size), '\0');
    if (text.empty() || nvrtc_.log(program_, text.data()) != NVRTC_SUCCESS) return {};
    text.resize(text.find('\0') != std::string::npos ? text.find('\0') : text.size());
    return text;
  }

  /// PTX keeps its final NUL, which the driver asks for.
  [[nodiscard]] std::vector<std::byte> image(bool ptx) const {
    std::vector<std::byte> bytes(size_of(ptx ? nvrtc_.ptx_size : nvrtc_.cubin_size));
    const auto get = ptx ? nvrtc_.ptx : nvrtc_.cubin;
    if (!bytes.empty() && get(program_, reinterpret_cast<char*>(bytes.data())) != NVRTC_SUCCESS) bytes.clear();
    return bytes;
  }

 private:
  [[nodiscard]] std::size_t size_of(decltype(Functions::log_size) ask) const {
    std::size_t size = 0;
    return ask(program_, &size) == NVRTC_SUCCESS ? size : 0;
  }

  const Functions& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

[[noreturn]] void fail_compile(const std::string& name, const std::string& reason, const std::string& log,
                               const std::vector<std::string>& options) {
  base::fail(ErrorCode::compile, "cannot compile {}: {}{}\noptions: {}", name, reason, first_errors(log),
             fmt::join(options, " "));
}

class NvrtcCompiler final : public Compiler {
 public:
  NvrtcCompiler(base::DynamicLibrary library, std::optional<base::DynamicLibrary> builtins, const Functions& nvrtc,
                std::string identity, std::string version)
      : library_(std::move(library)),
        builtins_(std::move(builtins)),
        nvrtc_(nvrtc),
        identity_(std::move(identity)),
        version_(std::move(version)) {}

  [[nodiscard]] Binary compile(const std::string& source, const std::string& name, const std::string& entry,
                               const std::vector<std::string>& options, const std::stop_token& stop) const override {
    const auto start = std::chrono::steady_clock::now();
    Program program(nvrtc_, source, name);
    const nvrtcResult result = program.compile(options, stop);
    if (result != NVRTC_SUCCESS && stop.stop_requested()) {
      base::fail(ErrorCode::cancelled, "the compile of {} was cancelled", name);
    }
    Binary binary;
    binary.log = program.log();
    if (result != NVRTC_SUCCESS) fail_compile(name, nvrtc_.error_string(result), binary.log, options);
    const bool ptx = std::any_of(options.begin(), options.end(), [](const std::string& option) {
      return option.starts_with("--gpu-architecture=compute_");
    });
    binary.image = program.image(ptx);
    if (binary.image.empty()) fail_compile(name, "NVRTC gave no code", binary.log, options);
    binary.resources = parse_log(binary.log, entry);
    binary.compile_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return binary;
  }

  [[nodiscard]] const std::string& identity() const override { return identity_; }
  [[nodiscard]] std::string version() const override { return version_; }

  [[nodiscard]] std::vector<int> supported_capabilities() const override {
    int count = 0;
    nvrtcResult result = nvrtc_.supported_count(&count);
    std::vector<int> capabilities(static_cast<std::size_t>(std::max(count, 0)));
    if (result == NVRTC_SUCCESS && count > 0) result = nvrtc_.supported(capabilities.data());
    if (result != NVRTC_SUCCESS) {
      base::fail(ErrorCode::compile, "NVRTC {} does not say what it can compile for: {}", version_,
                 nvrtc_.error_string(result));
    }
    return capabilities;
  }

 private:
  base::DynamicLibrary library_;
  std::optional<base::DynamicLibrary> builtins_;  // held only so that NVRTC finds it
  Functions nvrtc_;
  std::string identity_;
  std::string version_;
};

/// NVRTC opens libnvrtc-builtins by its bare name, which finds nothing in a wheel or an unregistered
/// toolkit, and may find another build. The one beside it, opened first, is the one that it then gets.
std::optional<base::DynamicLibrary> open_builtins(const CompilerFile& file, const std::string& version) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(file.path, error);
  std::string why;
  for (const std::filesystem::path& beside : {file.path, real}) {
    if (beside.empty()) continue;
    const std::string name = "libnvrtc-builtins.so." + version;
    if (auto builtins = base::DynamicLibrary::open(beside.parent_path() / name, why)) return builtins;
  }
  return std::nullopt;  // the loader may still know of one
}

}  // namespace

std::shared_ptr<const Compiler> Compiler::load(const CompilerFile& file) {
  // The loader would say that there is no such file.
  if (const auto elf = read_elf(file.path); elf && !elf->for_this_machine) {
    base::fail(ErrorCode::compile, "cannot load NVRTC: {} is made for another processor than this program's",
               file.path.string());
  }
  std::string why;
  auto library = base::DynamicLibrary::open(file.path, why);
  if (!library) base::fail(ErrorCode::compile, "cannot load NVRTC: {}", why);
  library->never_unload();  // it would leak 72 KB each time, and the next load takes 60 ms again
  const Functions nvrtc = find_functions(*library, file);
  int major = 0;
  int minor = 0;
  if (const nvrtcResult result = nvrtc.version(&major, &minor); result != NVRTC_SUCCESS) {
    base::fail(ErrorCode::compile, "{} does not tell its version: {}", file.path.string(), nvrtc.error_string(result));
  }
  if (std::pair(major, minor) < std::pair(kLeastMajor, kLeastMinor)) {
    base::fail(ErrorCode::compile, "{} is NVRTC {}.{}, but Kiln needs {}.{} or newer", file.path.string(), major, minor,
               kLeastMajor, kLeastMinor);
  }
  std::string version = fmt::format("{}.{}", major, minor);
  auto builtins = open_builtins(file, version);
  return std::make_shared<NvrtcCompiler>(std::move(*library), std::move(builtins), nvrtc, file.identity,
                                         std::move(version));
}

}  // namespace kiln::jit
