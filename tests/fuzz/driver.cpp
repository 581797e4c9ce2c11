// main() of a fuzz target, where libFuzzer is not there to bring it: the same inputs on every run, made of the seeds
// by mutation, with no coverage to steer by.
//
//   fuzz_entry [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=P] [FILE or FOLDER of inputs]...
//   fuzz_entry -write_seeds=FOLDER      with libFuzzer, too
//
// Files are run as they are, then mutated like the seeds. An input that ends the program is kept as <prefix>crash.
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <unistd.h>

namespace kiln::fuzz {
namespace {

namespace fs = std::filesystem;

struct Settings {
  std::uint64_t runs = 20'000;
  double seconds = 0;  // 0: as long as the runs take
  std::uint64_t seed = 1;
  std::string artifact_prefix;
  std::string seeds_folder;
  std::vector<fs::path> inputs;
};

Settings parse(int count, char** arguments) {
  Settings settings;
  for (const std::string_view argument : std::vector<std::string_view>(arguments + 1, arguments + count)) {
    const std::string value(argument.substr(std::min(argument.find('=') + 1, argument.size())));
    if (argument.starts_with("-runs=")) {
      settings.runs = std::stoull(value);
    } else if (argument.starts_with("-max_total_time=")) {
      settings.seconds = std::stod(value);
    } else if (argument.starts_with("-seed=")) {
      settings.seed = std::stoull(value);
    } else if (argument.starts_with("-artifact_prefix=")) {
      settings.artifact_prefix = value;
    } else if (argument.starts_with("-write_seeds=")) {
      settings.seeds_folder = value;
    } else if (argument.starts_with('-')) {
      throw Error(ErrorCode::invalid_argument, std::string(argument) + " is not known");
    } else {
      settings.inputs.emplace_back(argument);
    }
  }
  return settings;
}

std::vector<std::string> own_seeds() { return seeds != nullptr ? seeds() : std::vector<std::string>(); }

void write_seeds(const fs::path& folder) {
  fs::create_directories(folder);
  int number = 0;
  for (const std::string& seed : own_seeds()) {
    std::ofstream(folder / ("seed" + std::to_string(number++)), std::ios::binary) << seed;
  }
}

}  // namespace
}  // namespace kiln::fuzz

#ifdef KILN_LIBFUZZER

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  constexpr std::string_view kOption = "-write_seeds=";
  if (*count != 2 || !std::string_view((*arguments)[1]).starts_with(kOption)) return 0;
  kiln::fuzz::write_seeds((*arguments)[1] + kOption.size());
  std::exit(0);
}

#else

extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*callback)());

namespace kiln::fuzz {
namespace {

class Mutator {
 public:
  Mutator(std::vector<std::string> pool, std::uint64_t seed) : pool_(std::move(pool)), random_(seed) {}

  std::string next() {
    constexpr std::size_t kMostBytes = 8192;
    std::string input = any();
    for (std::size_t i = 1 + below(6); i > 0; --i) mutate(input);
    if (input.size() > kMostBytes) input.resize(kMostBytes);
    return input;
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }
  const std::string& any() { return pool_[below(pool_.size())]; }

  void mutate(std::string& input) {
    static constexpr std::uint64_t kOdd[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ULL};
    const std::uint64_t number = kOdd[below(std::size(kOdd))];
    const std::size_t at = below(input.size() + 1);
    const std::size_t some = std::min(1 + below(16), input.size() - at);
    switch (below(8)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << below(8));
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(random_());
        break;
      case 2:
        input.erase(at, some);
        break;
      case 3:
        input.insert(below(input.size() + 1), input.substr(at, some));
        break;
      case 4:
        input.resize(at);
        break;
      case 5:  // as a binary format has it
        input.replace(at, some, reinterpret_cast<const char*>(&number), std::min(some, sizeof(number)));
        break;
      case 6:  // as a text has it
        input.insert(at, std::to_string(number));
        break;
      default: {
        const std::string& other = any();
        input.insert(at, other.substr(below(other.size() + 1), 1 + below(64)));
      }
    }
  }

  std::vector<std::string> pool_;
  std::mt19937_64 random_;
};

// The input under way, for the moment that ends the program.
std::string current;
std::string artifact;

void keep_current() {
  const int file = ::open(artifact.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || ::write(file, current.data(), current.size()) != static_cast<ssize_t>(current.size())) return;
  std::fprintf(stderr, "the input is kept in %s\n", artifact.c_str());
}

void run(const std::string& input) {
  current = input;
  // In memory of its exact size, so that a sanitizer sees any read beyond.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::vector<std::string> read_inputs(const std::vector<fs::path>& places) {
  std::vector<fs::path> files;
  for (const fs::path& place : places) {
    if (!fs::is_directory(place)) {
      files.push_back(place);
      continue;
    }
    for (const auto& file : fs::directory_iterator(place)) files.push_back(file.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const fs::path& path : files) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

std::uint64_t fuzz(const Settings& settings) {
  std::vector<std::string> pool = own_seeds();
  std::ranges::move(read_inputs(settings.inputs), std::back_inserter(pool));
  pool.emplace_back();
  for (const std::string& input : pool) run(input);
  std::uint64_t runs = pool.size();
  Mutator mutator(std::move(pool), settings.seed);
  const auto start = std::chrono::steady_clock::now();
  for (; runs < settings.runs; ++runs) {
    if (settings.seconds > 0 && runs % 256 == 0 &&
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() >= settings.seconds) {
      break;
    }
    run(mutator.next());
    if (runs % (1 << 18) == 0) std::fprintf(stderr, "#%llu\n", static_cast<unsigned long long>(runs));
  }
  return runs;
}

}  // namespace
}  // namespace kiln::fuzz

int main(int count, char** arguments) {
  using namespace kiln::fuzz;
  const Settings settings = parse(count, arguments);
  if (!settings.seeds_folder.empty()) {
    write_seeds(settings.seeds_folder);
    return 0;
  }
  artifact = settings.artifact_prefix + "crash";
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_current);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) {
    if (__sanitizer_set_death_callback != nullptr && signal != SIGABRT) continue;  // the sanitizer says more
    std::signal(signal, [](int caught) {
      keep_current();
      std::signal(caught, SIG_DFL);
      std::raise(caught);
    });
  }
  std::fprintf(stderr, "Done %llu runs\n", static_cast<unsigned long long>(fuzz(settings)));
  return 0;
}

#endif
