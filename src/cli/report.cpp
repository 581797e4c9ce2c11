#include "cli/report.hpp"

#include <fmt/format.h>

namespace kiln::cli {

void print_json(const base::Json& json) { print(json.dump() + "\n"); }

std::string bytes_text(std::uint64_t bytes) {
  constexpr double kKilo = 1e3;
  const auto size = static_cast<double>(bytes);
  if (size < kKilo) return fmt::format("{} B", bytes);
  if (size < kKilo * kKilo) return fmt::format("{:.1f} KB", size / kKilo);
  if (size < kKilo * kKilo * kKilo) return fmt::format("{:.1f} MB", size / (kKilo * kKilo));
  return fmt::format("{:.1f} GB", size / (kKilo * kKilo * kKilo));
}

base::Logger logger_of(const Common& common) { return {common.options.log_level, common.options.log}; }

base::Json::Object to_json(const cache::Entry& entry) {
  return {{"name", entry.name},
          {"target", entry.target},
          {"kernel_id", entry.kernel_id},
          {"build_id", entry.build_id},
          {"compiler", entry.compiler},
          {"registers", entry.registers},
          {"spill_bytes", entry.spill_bytes},
          {"smem_bytes", entry.smem_bytes},
          {"compile_ms", entry.compile_ms}};
}

}  // namespace kiln::cli
