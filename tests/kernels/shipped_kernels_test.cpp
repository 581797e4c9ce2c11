// A sample of the shipped kernels against the table of all of them (scripts/kernel_table.py): a change that costs
// registers must change the table, where a reviewer sees it.
#include "api/builder.hpp"
#include "cli/selection.hpp"
#include "plan/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

namespace kiln {
namespace {

struct Row {
  int registers = 0;
  int smem_bytes = 0;
};

struct Table {
  std::string compiler;
  std::map<std::string, Row> rows;

  static Table read() {
    std::ifstream file(KILN_KERNEL_TABLE);
    Table table;
    std::string words;
    file >> words >> words >> table.compiler;  // "# NVRTC identity"
    std::getline(file, words);
    std::getline(file, words);  // the columns' names
    for (std::string name; file >> name;) file >> table.rows[name].registers >> table.rows[name].smem_bytes;
    return table;
  }
};

class ShippedKernels : public testing::TestWithParam<int> {
 protected:
  static Options jit_only() {
    Options options;
    options.cache_dir = std::filesystem::path();
    return options;
  }

  const api::Builder builder{jit_only(), base::Logger(LogLevel::off, {})};
  const Table table = Table::read();
};

TEST_P(ShippedKernels, AreAsTheTableSays) {
  if (!builder.compiler_file()) GTEST_SKIP() << "NVRTC was not found";
  constexpr std::size_t kOneOf = 29;  // of the requests, others for each architecture
  const int capability = GetParam();
  const auto known = plan::known_capabilities();
  const auto requests = cli::shipped_requests();
  for (auto i = static_cast<std::size_t>(std::ranges::find(known, capability) - known.begin()); i < requests.size();
       i += kOneOf) {
    if (!plan::has_types(capability, requests[i])) continue;
    const auto config =
        plan::plan(requests[i], plan::reference_device(capability), plan::builtin_tuned_table(capability));
    const auto entry = builder.compile(config);
    EXPECT_EQ(entry.spill_bytes, 0) << entry.name;
    const auto found = table.rows.find(entry.name);
    ASSERT_NE(found, table.rows.end()) << entry.name << " is not in the table: run scripts/kernel_table.py";
    EXPECT_EQ(found->second.smem_bytes, entry.smem_bytes) << entry.name;
    if (entry.compiler == table.compiler) {
      EXPECT_EQ(found->second.registers, entry.registers) << entry.name << ": run scripts/kernel_table.py";
    }
  }
}

TEST_P(ShippedKernels, AreAllInTheTable) {
  for (const KernelRequest& request : cli::shipped_requests()) {
    if (!plan::has_types(GetParam(), request)) continue;
    const auto config = plan::plan(request, plan::reference_device(GetParam()), plan::builtin_tuned_table(GetParam()));
    EXPECT_TRUE(table.rows.contains(plan::name_of(config))) << plan::name_of(config);
  }
}

INSTANTIATE_TEST_SUITE_P(Capabilities, ShippedKernels,
                         testing::ValuesIn(plan::known_capabilities().begin(), plan::known_capabilities().end()),
                         [](const auto& test) { return "sm_" + std::to_string(test.param); });

}  // namespace
}  // namespace kiln
