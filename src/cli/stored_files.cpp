#include "cli/stored_files.hpp"

#include "cli/report.hpp"
#include "cli/text_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <tuple>

namespace kiln::cli {

using cache::StoredFile;

namespace {

base::Json::Object to_json(const StoredFile& file) {
  base::Json::Object row = file.entry ? cli::to_json(*file.entry) : base::Json::Object{{"damage", file.damage}};
  row["path"] = file.path.string();
  row["bytes"] = static_cast<std::uint64_t>(file.bytes);
  return row;
}

}  // namespace

void list(const Common& common, std::vector<StoredFile> files) {
  const auto key = [](const StoredFile& file) {
    return std::tuple(!file.entry, file.entry ? file.entry->name : std::string(), file.path.string());
  };
  std::ranges::sort(files, {}, key);
  if (common.json) {
    base::Json::Array rows;
    for (const StoredFile& file : files) rows.emplace_back(to_json(file));
    print_json(rows);
    return;
  }
  using enum TextTable::Align;
  TextTable table({{"kernel", left},
                   {"target", left},
                   {"registers", right},
                   {"spills", right},
                   {"size", right},
                   {"ms", right},
                   {"kernel id", left},
                   {"compiler", left}});
  constexpr std::size_t kShort = 12;
  for (const StoredFile& file : files) {
    if (!file.entry) {
      table.add({file.path.filename().string(), {"damaged", Tone::bad}});
      continue;
    }
    const cache::Entry& entry = *file.entry;
    table.add({entry.name, entry.target, fmt::to_string(entry.registers), fmt::to_string(entry.spill_bytes),
               bytes_text(file.bytes), fmt::format("{:.0f}", entry.compile_ms), entry.kernel_id.substr(0, kShort),
               entry.compiler.substr(0, kShort)});
  }
  print(table.str(common.terminal));
}

ExitCode verify(const Common& common, const std::vector<StoredFile>& files, std::string_view noun) {
  base::Json::Array damaged;
  for (const StoredFile& file : files) {
    if (file.entry) continue;
    damaged.emplace_back(to_json(file));
    if (!common.json) print(fmt::format("{}: {}\n", file.path.string(), file.damage));
  }
  const std::size_t bad = damaged.size();
  if (common.json) {
    print_json(base::Json::Object{{"files", files.size()}, {"damaged", std::move(damaged)}});
  } else {
    const Tone tone = bad == 0 ? Tone::good : Tone::bad;
    print(common.terminal.paint(tone, fmt::format("{} of {} {} are good", files.size() - bad, files.size(), noun)) +
          "\n");
  }
  return bad == 0 ? ExitCode::ok : ExitCode::wrong;
}

}  // namespace kiln::cli
