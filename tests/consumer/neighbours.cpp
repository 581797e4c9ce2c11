// A program that brings its own fmt, spdlog and OpenSSL, all shared and compiled, and uses them around Kiln and inside
// its log callback. Kiln holds copies of all three; neither side may see the other's.
#include <kiln/kiln.hpp>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>

namespace {

std::string sha256(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) != 1) return {};
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

bool own_libraries_work() {
  return sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
}

}  // namespace

/// Arguments: libcuda and libnvrtc to use. Prints "ok".
int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::ostringstream lines;
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("app", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
  spdlog::set_pattern("%n says %v");
  spdlog::set_level(spdlog::level::info);  // Kiln's own level is another matter
  kiln::Options options;
  options.cuda_path = argv[1];
  options.nvrtc_path = argv[2];
  options.cache_dir = std::filesystem::path{};
  options.device = 0;
  options.log_level = kiln::LogLevel::debug;
  options.log = [](kiln::LogLevel, std::string_view line) {
    spdlog::info("{} {}", sha256(std::string(line)).substr(0, 8), line);
  };
  bool ok = own_libraries_work();
  {
    const kiln::Runtime runtime(options);
    const auto info = runtime.forward({}).info();
    ok = ok && info.kernel_id.size() == 64 && own_libraries_work();
  }
  spdlog::info("{}", "done");
  const std::string text = lines.str();
  ok = ok && text.find("app says") != std::string::npos &&
       text.find("compiled forward_bf16_d128") != std::string::npos &&
       text.find("app says done") != std::string::npos && own_libraries_work();
  fmt::print("{}\n", ok ? "ok" : "wrong:\n" + text);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
